"""The audit of a target with all that goes beside it: safe sizes near by, advice, a fix, and the measurement."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd
import torch
from torch import Tensor, nn

from eqviz.analysis.field_inference import fields_from, infer_fields
from eqviz.analysis.verdicts import verdict
from eqviz.audit.advice import advice
from eqviz.audit.auditing import Audit, examine, image_channels
from eqviz.audit.fixes import Kind, fitted_input, fitting_size
from eqviz.audit.sizes import exact_sizes, nearest_sizes
from eqviz.errors import EqvizError
from eqviz.groups.group import group as named_group
from eqviz.studies.devices import choose_device
from eqviz.studies.measuring import test_images
from eqviz.studies.measuring_settings import Settings
from eqviz.studies.sizes import LARGEST, parse_size
from eqviz.studies.targets import Target, own_group
from eqviz.studies.toml_tables import short

Size = tuple[int, int]
Part = Literal["exact", "grid"]
Verdict = Literal["exact", "approximate", "undecided"]

IMAGES = 32
"""How many images a measurement takes: fewer can make a misfitting maximum pool look exact by luck."""


_REACH = 12
"""How far to look for safe sizes of images that are not square, whose sides change by themselves."""


@dataclass(frozen=True)
class SafeSizes:
    """Which square sizes from `first` to `last`, both included, are safe."""

    first: int
    last: int
    safe: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Fix:
    """The model with its input brought to `size`, and the audit of that."""

    kind: Kind
    size: Size
    audit: Audit


@dataclass(frozen=True, eq=False)
class Measurement:
    """The verdict table, on how many images, and where these came from, in words."""

    table: pd.DataFrame
    images: int
    source: str

    @property
    def exact(self) -> bool | None:
        """Whether the output was measured exact, with the weights as they were given."""
        exact: bool | None = self.table.attrs["exact"]
        return exact

    @property
    def disagreements(self) -> tuple[str, ...]:
        """A line for every layer in which prediction and measurement contradict each other."""
        return tuple(self.table.attrs["disagreements"])


@dataclass(frozen=True, eq=False)
class TargetAudit:
    """What `eqviz audit` has to say of one network.

    `below` and `above` are the nearest safe sizes; `part` says what safe means: `exact`, or `grid` where the filters
    or the fibre break the symmetry (or may do) at every size, so that only the sampling grids can be asked about.
    """

    target: Target
    audit: Audit
    part: Part
    below: Size | None
    above: Size | None
    advice: tuple[str, ...]
    sizes: SafeSizes | None = None
    fix: Fix | None = None
    fix_asked: Kind | None = None
    measured: Measurement | None = None
    inferred: pd.DataFrame | None = None

    @property
    def verdict(self) -> Verdict:
        """The prediction; the measurement where nothing was predicted; undecided where the two contradict."""
        exact = self.audit.exact
        if self.measured is not None:
            if self.measured.disagreements:
                return "undecided"
            exact = self.measured.exact if exact is None else exact
        return "undecided" if exact is None else "exact" if exact else "approximate"


def audit_target(
    target: Target,
    *,
    input_size: Size | None = None,
    group: str | None = None,
    channels: int | None = None,
    sizes: range | None = None,
    fix: Kind | None = None,
    verify: bool = False,
    infer: bool = False,
    device: str = "auto",
    progress: Callable[[str], None] | None = None,
) -> TargetAudit:
    """The audit of `target` at its own size and group, or at those given.

    `sizes` asks for the safe square sizes in a range, `fix` for the audit with the input padded or resized, `verify`
    for a measurement: on test images of a run at its own size, on random images otherwise; with `infer` field types
    are found by evidence for layers that declare none (square sizes only), and used. `progress` is told in a few
    words what is being done.

    Raises EqvizError where no input size is known, and as :func:`eqviz.audit.auditing.examine` does.
    """
    size = input_size or target.input_size
    if size is None:
        raise EqvizError(
            f"model {target.name}", expected="--input-size N or HxW", found="none", fix="give the size of your images"
        )
    place = choose_device(device)
    tell = progress or (lambda work: None)
    tell(f"auditing {target.name}")
    model = target.build()
    wanted = group or target.group or own_group(model)
    if channels is None and target.run is not None:  # a network without filters does not say it, its run does
        channels = image_channels(model, len(target.run.normalisation.mean))
    inferred = None
    try:
        if infer:
            tell(f"finding field types of {target.name}")
            inferred = infer_fields(model, size, named_group(wanted).exact_subgroup, channels=channels)
        fields = None if inferred is None else fields_from(inferred)
        found = examine(model, size, wanted, channels=channels, fields=fields)
    except EqvizError as error:
        about = f"{target.name}, {error.about}"
        raise EqvizError(about, expected=error.expected, found=error.found, fix=error.fix) from error
    part: Part = "exact" if found.fibre_exact else "grid"
    tell(f"looking for safe sizes of {target.name}")
    below, above = _nearest(model, found, part)
    safe = None
    if sizes is not None:
        tell(f"auditing {target.name} at {len(sizes)} sizes")
        fitting = exact_sizes(model, sizes, wanted, part=part, channels=found.channels)
        safe = SafeSizes(sizes[0], sizes[-1], tuple(fitting))
    repaired = _repair(model, found, fix, part, below, above) if fix is not None and not found.exact else None
    measured = None
    if verify:
        tell(f"measuring {target.name}")
        measured = _measure(target, model, found, place)
    lines = tuple(advice(found, below, above))
    return TargetAudit(target, found, part, below, above, lines, safe, repaired, fix, measured, inferred)


def read_options(input_size: str | None, group: str | None, sizes: str | None, **others: object) -> dict[str, object]:
    """The options of :func:`audit_target` from their text; those that are no text pass as they are.

    Raises EqvizError for a size, a group or a range of sizes that cannot be.

    >>> read_options("28", "p4", "20:24")
    {'input_size': (28, 28), 'group': 'C4', 'sizes': range(20, 25)}
    """
    return {
        "input_size": None if input_size is None else parse_size(input_size, "--input-size"),
        "group": None if group is None else named_group(group).name,
        "sizes": None if sizes is None else parse_range(sizes),
        **others,
    }


def parse_range(text: str) -> range:
    """The sizes in `a:b`, both included.

    Raises EqvizError for anything else, sides below 1 and above 4096, and b below a.

    >>> parse_range("20:24")
    range(20, 25)
    """
    match = re.fullmatch(r"\s*([0-9]{1,5})\s*:\s*([0-9]{1,5})\s*", text)
    first, last = (int(side) for side in match.groups()) if match else (0, 0)
    if not 1 <= first <= last <= LARGEST:
        raise EqvizError(
            "--sizes", expected=f"a:b with 1 <= a <= b <= {LARGEST}", found=short(text), fix="write, say, 20:40"
        )
    return range(first, last + 1)


def _nearest(model: nn.Module, found: Audit, part: Part) -> tuple[Size | None, Size | None]:
    """The nearest safe sizes below and above: square ones for square images, else with both sides free."""
    height, width = found.input_size
    if height != width:
        return nearest_sizes(
            model, (height, width), found.group, part=part, channels=found.channels, reach=_REACH, known=found
        )
    below, above = nearest_sizes(model, height, found.group, part=part, channels=found.channels, known=found)
    return (None if below is None else (below, below)), (None if above is None else (above, above))


def _repair(
    model: nn.Module, found: Audit, kind: Kind, part: Part, below: Size | None, above: Size | None
) -> Fix | None:
    """The audit of the model with its input brought to the nearest safe size, if there is one in reach."""

    def is_safe(size: Size) -> bool:
        try:
            return bool(exact_sizes(model, [size], found.group, part=part, channels=found.channels))
        except EqvizError:  # the network does not run at this size
            return False

    size = fitting_size(kind, found.input_size, below, above, is_safe)
    if size is None:
        return None
    fitted = fitted_input(model, kind, size)
    return Fix(kind, size, examine(fitted, found.input_size, found.group, channels=found.channels))


def _measure(target: Target, model: nn.Module, found: Audit, place: str) -> Measurement:
    images, source = _images(target, found)
    twin = True if target.twin is None else target.twin().to(place)
    table = verdict(model.to(place), images, found.group, twin=twin)
    return Measurement(table, len(images), source)


def _images(target: Target, found: Audit) -> tuple[Tensor, str]:
    run = target.run
    if run is not None and run.input_size == found.input_size:
        try:
            chosen = test_images(run, Settings(limit=IMAGES)).images
            return run.normalisation.apply(torch.from_numpy(chosen)), f"test images of {run.data.source}"
        except (EqvizError, OSError) as error:
            why = f"random images, as its test images cannot be had ({error})"
    else:
        why = "random images"
    noise = torch.Generator().manual_seed(0)
    return torch.randn(IMAGES, found.channels, *found.input_size, generator=noise), why


def audit_targets(targets: Sequence[Target], **options: object) -> tuple[TargetAudit, ...]:
    """The audits of several targets, one after the other, with the options of :func:`audit_target`."""
    return tuple(audit_target(target, **options) for target in targets)  # type: ignore[arg-type]  # by names
