"""What is predicted of the runs of a folder: their audits, kept in the cache, and exactness over input sizes."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from eqviz.audit.auditing import Audit, Operation, examine, image_channels
from eqviz.audit.layer_predictions import LayerPrediction
from eqviz.audit.sizes import exactness_by_size
from eqviz.errors import EqvizError
from eqviz.groups.group import Group
from eqviz.groups.group import group as named_group
from eqviz.studies.cache import Cache, cache_key
from eqviz.studies.extensions import import_modules
from eqviz.studies.measuring import network_ingredients
from eqviz.studies.measuring_settings import Settings
from eqviz.studies.run_folders import Run
from eqviz.studies.sizes import LARGEST
from eqviz.tables import RUN_KEYS, columns, format_size

AUDIT = "audit"
EXACTNESS = "exactness"
MOST_SIZES = 16
_BELOW, _ABOVE = 4, 8
_PLAIN = ("input_size", "channels", "exact", "grid_exact", "fibre_exact", "notes")

Size = tuple[int, int]


@dataclass(frozen=True)
class RunAudit:
    """The audit of a run at its own input size; None, and the `reason` in one line, where it cannot be traced."""

    audit: Audit | None
    reason: str = ""

    def table(self) -> pd.DataFrame:
        """The table `audit` without its run keys; no rows where there is no audit."""
        if self.audit is None:
            return pd.DataFrame(columns=[name for name in columns(AUDIT) if name not in RUN_KEYS])
        return self.audit.table().astype({"size": str})


def audited_group(run: Run, settings: Settings) -> Group:
    """The group that a run is audited under: the exact part of the one it is measured under."""
    return named_group(settings.group or run.group).exact_subgroup


def audit_run(run: Run, epoch: int | None, settings: Settings, cache: Cache) -> RunAudit:
    """The audit of a run at a saved epoch, or of its untrained twin if `epoch` is None; from the cache if it is there.

    Raises EqvizError for weights that cannot be read. A network that cannot be traced is no error here: it has no
    audit and a reason.
    """
    import_modules(settings.imports)
    group = audited_group(run, settings)
    key = cache_key(_ingredients(run, epoch, settings) | {"input_size": list(run.input_size)})
    known = _read(cache.read_text(AUDIT, key))
    if known is not None:
        return known
    model = run.untrained() if epoch is None else run.build(epoch)
    try:
        channels = image_channels(model, len(run.normalisation.mean))
        found = RunAudit(examine(model, run.input_size, group, channels=channels))
    except EqvizError as error:
        found = RunAudit(None, str(error))
    cache.write_text(AUDIT, key, _write(found))
    return found


def run_exactness(
    run: Run,
    epoch: int,
    sizes: Sequence[Size],
    settings: Settings,
    cache: Cache,
    progress: Callable[[float], None] | None = None,
) -> pd.DataFrame:
    """Predicted exactness of every layer of a run at each of `sizes`: the table `exactness`, with the size alone.

    Sizes that the network does not take (a linear layer on flattened maps has one) are left out. `progress` is told
    the fraction done. Raises EqvizError for weights that cannot be read.
    """
    import_modules(settings.imports)
    group = audited_group(run, settings)
    key = cache_key(_ingredients(run, epoch, settings) | {"sizes": [list(size) for size in sizes]})
    known = cache.read_table(EXACTNESS, key)
    if known is not None:
        return known
    model = run.build(epoch)
    channels = image_channels(model, len(run.normalisation.mean))
    parts = []
    for place, size in enumerate(sizes, start=1):
        try:
            rows = exactness_by_size(model, [size], group, channels=channels)
        except EqvizError:
            rows = pd.DataFrame()
        if len(rows):
            parts.append(rows.assign(input_size=str(format_size(size)), layer=rows["layer"].astype(str)))
        if progress is not None:
            progress(place / len(sizes))
    wanted = ["input_size", "layer", "call", "depth", "exact", "grid_exact", "surviving"]
    table = pd.concat(parts, ignore_index=True)[wanted] if parts else pd.DataFrame(columns=wanted)
    cache.write_table(EXACTNESS, key, table)
    return table


def sizes_about(own: Iterable[Size], most: int | None = None) -> tuple[Size, ...]:
    """At most `most` (16) input sizes that show the pattern: 4 below the smallest of `own` to 8 above the largest.

    Where these are too many, as many about each of `own` as there is room for; `own` are always among them, as far as
    that goes. Sides that are not equal grow together.

    >>> [height for height, width in sizes_about([(15, 15), (17, 17)], most=16)]
    [11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25]
    >>> [height for height, width in sizes_about([(28, 28), (224, 224)], most=6)]
    [27, 28, 29, 223, 224, 225]
    >>> sizes_about([(2, 3)], most=3)
    ((1, 2), (2, 3), (3, 4))
    """
    most = MOST_SIZES if most is None else most
    trained = sorted(set(own))[:most]
    square = all(height == width for height, width in trained)
    if trained and square and trained[-1][0] - trained[0][0] + 1 + _BELOW + _ABOVE <= most:
        sides = range(trained[0][0] - _BELOW, trained[-1][0] + _ABOVE + 1)
        return tuple((side, side) for side in sides if _possible((side, side)))
    found = set(trained)
    for step in (step for away in range(1, _ABOVE + 1) for step in (away, -away) if step >= -_BELOW):
        for height, width in trained:
            size = (height + step, width + step)
            if len(found) < most and _possible(size):
                found.add(size)
    return tuple(sorted(found))


def _possible(size: Size) -> bool:
    return all(1 <= side <= LARGEST for side in size)


def _ingredients(run: Run, epoch: int | None, settings: Settings) -> dict[str, Any]:
    return {**network_ingredients(run, epoch, settings), "group": audited_group(run, settings).name}


def _write(found: RunAudit) -> str:
    audit = found.audit
    if audit is None:
        return json.dumps({"reason": found.reason})
    plain = {name: getattr(audit, name) for name in _PLAIN}
    content = {
        **plain,
        "group": audit.group.name,
        "surviving": audit.surviving.name,
        "operations": [asdict(operation) for operation in audit.operations],
        "layers": [asdict(layer) for layer in audit.layers],
        "first_fault": None if audit.first_fault is None else asdict(audit.first_fault),
    }
    return json.dumps(content)


def _read(text: str | None) -> RunAudit | None:
    """What was written, or None for what cannot be read back."""
    if text is None:
        return None
    try:
        content: dict[str, Any] = json.loads(text)
        if "reason" in content:
            return RunAudit(None, str(content["reason"]))
        height, width = content["input_size"]
        changed = {
            "input_size": (int(height), int(width)),
            "notes": tuple(map(str, content["notes"])),
            "group": named_group(content["group"]),
            "surviving": named_group(content["surviving"]),
            "operations": tuple(map(_operation, content["operations"])),
            "layers": tuple(LayerPrediction(**row | {"shape": tuple(row["shape"])}) for row in content["layers"]),
            "first_fault": None if content["first_fault"] is None else _operation(content["first_fault"]),
        }
        return RunAudit(Audit(**{**content, **changed}))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return None


def _operation(row: dict[str, Any]) -> Operation:
    size = row["size"]
    return Operation(**row | {"size": None if size is None else (int(size[0]), int(size[1]))})
