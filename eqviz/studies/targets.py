"""What a person points the audit at: a folder of runs, or the name of a model, to networks that can be built."""

import difflib
import importlib
import inspect
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from eqviz.errors import EqvizError, told
from eqviz.fields.field_types import Regular, declared
from eqviz.fields.steerable import Steerable
from eqviz.groups.group import group as named_group
from eqviz.models.lookup import load
from eqviz.models.registry import build_model, find_model, model_names
from eqviz.studies.extensions import import_modules
from eqviz.studies.finding import find_runs
from eqviz.studies.random_weights import in_general_position
from eqviz.studies.run_folders import Run
from eqviz.studies.toml_tables import short


@dataclass(frozen=True, eq=False)
class Target:
    """One network to audit. `build` makes it, on the CPU and in eval mode.

    `input_size` (height, width) and `group` are those of the run; None and None for a model taken by its name. `twin`
    makes the same network with fresh weights; None for a model that comes built. `alike` are other runs of the same
    network at the same size, `note` is what a person should know about the choice.
    """

    name: str
    model: str
    arguments: Mapping[str, Any]
    build: Callable[[], nn.Module] = field(repr=False)
    input_size: tuple[int, int] | None = None
    group: str | None = None
    run: Run | None = None
    epoch: int | None = None
    twin: Callable[[], nn.Module] | None = field(default=None, repr=False)
    alike: tuple[str, ...] = ()
    note: str = ""

    @property
    def weights(self) -> str:
        """Which weights it has, in words."""
        if self.run is not None:
            return f"weights of epoch {self.epoch}"
        return "its own weights" if self.twin is None else "random weights"


def find_targets(
    target: str,
    *,
    arguments: Mapping[str, object] | None = None,
    channels: int | None = None,
    epoch: int | None = None,
    imports: Sequence[str] = (),
) -> tuple[Target, ...]:
    """The networks that `target` means: those of a folder of runs, or the one model of that name.

    A folder is taken before a model of the same name. Runs that share model, arguments, input size and group are one
    network, that of the first run; `epoch` chooses a saved epoch (the last one if None). A name is looked for among the
    registered models, then in the modules of `imports`: a class, a function that builds the model, or a model;
    `arguments` are keyword arguments for building it, to which `channels` is added as `in_channels` if it takes that.
    Its weights are random (:func:`eqviz.studies.random_weights.in_general_position`); those of a model stay its own.

    Raises EqvizError for a target that is neither, for runs as :func:`eqviz.studies.finding.find_runs`, and for
    options that do not fit the kind of target.

    >>> find_targets("p4cnn", arguments={"channels": 2})[0].build().conv2.weight.shape
    torch.Size([2, 2, 4, 3, 3])
    """
    import_modules(imports)
    given = dict(arguments or {})
    path = Path(target)
    if path.is_dir():
        return _of_folder(path, target, given, epoch)
    if epoch is not None:
        raise EqvizError(
            "--epoch", expected="a folder of runs as TARGET", found=f"{short(target)}, no folder", fix="leave it out"
        )
    return (_of_name(target, given, channels, imports),)


def own_group(model: nn.Module) -> str:
    """The group to audit a model under unless told otherwise: the largest that acts on all its layers, else C4.

    Layers that declare nothing, images and invariant features leave every group; on the pixel grid.

    >>> own_group(build_model("p4mcnn", channels=1)), own_group(build_model("z2cnn", channels=1))
    ('D4', 'C4')
    """
    fields = [declared(module) for module in model.modules()]
    known = [field for field in fields if isinstance(field, Regular | Steerable)]
    shared = [
        H for H in named_group("D4").subgroups if all(field.represents(g) for field in known for g in H.elements)
    ]  # fmt: skip
    return shared[-1].name if known and shared[-1].order > 1 else "C4"


def parse_arguments(pairs: Sequence[str]) -> dict[str, object]:
    """Keyword arguments written `key=value`: numbers, true, false, lists in brackets or with commas, text.

    Raises EqvizError for a pair without `=` or a key that is no Python name.

    >>> parse_arguments(["head=flatten", "classes=7", "widths=1,2,3", "dropout=0.5"])
    {'head': 'flatten', 'classes': 7, 'widths': [1, 2, 3], 'dropout': 0.5}
    """
    found: dict[str, object] = {}
    for pair in pairs:
        key, sign, text = pair.partition("=")
        if not sign or not key.strip().isidentifier():
            raise EqvizError("--set", expected="key=value", found=short(pair), fix="write, say, --set classes=7")
        found[key.strip()] = _value(text.strip())
    return found


def _value(text: str) -> object:
    for written in (text, f"[{text}]" if "," in text else text):
        try:
            value: object = tomllib.loads(f"value = {written}")["value"]
        except (ValueError, KeyError, RecursionError):  # no TOML, or a number of thousands of digits
            continue
        return value
    return text


def _of_folder(folder: Path, target: str, arguments: Mapping[str, object], epoch: int | None) -> tuple[Target, ...]:
    hidden = f"the folder {target}, not the registered model of that name" if find_model(target) else ""
    if arguments:
        raise EqvizError(
            "--set", expected="the name of a model as TARGET", found=f"the folder {target}",
            fix="leave it out: run.toml holds the arguments",
        )  # fmt: skip
    try:
        runs = find_runs(folder)
    except EqvizError as error:
        fix = f"{error.fix}, or run from another folder to audit the model {target}" if hidden else error.fix
        raise EqvizError(error.about, expected=error.expected, found=error.found, fix=fix) from error
    alike: dict[str, list[Run]] = {}
    for run in runs:
        alike.setdefault(repr((run.model, sorted(run.arguments.items()), run.input_size, run.group)), []).append(run)
    return tuple(_of_run(first, rest, epoch, hidden) for first, *rest in alike.values())


def _of_run(run: Run, others: Sequence[Run], epoch: int | None, note: str) -> Target:
    chosen = run.epochs[-1] if epoch is None else epoch
    run.weights_path(chosen)
    return Target(
        run.name, run.model, run.arguments, lambda: run.build(chosen), run.input_size, run.group, run, chosen,
        run.untrained, tuple(other.name for other in others), note,
    )  # fmt: skip


def _of_name(name: str, arguments: dict[str, object], channels: int | None, imports: Sequence[str]) -> Target:
    where = find_model(name)
    if where is not None:
        made: Any = load(where)
    else:
        made = next((found for found in (_imported(module, name) for module in imports) if found is not None), None)
    if made is None:
        raise _unknown(name, imports)
    if isinstance(made, nn.Module):
        if arguments:
            raise EqvizError(
                "--set", expected=f"a class or function {name}", found="a model that is built", fix="leave it out"
            )
        return Target(name, name, {}, made.eval)
    if channels is not None and "in_channels" in _parameters(made):
        arguments = {"in_channels": channels, **arguments}
    build = (lambda: build_model(name, **arguments)) if where is not None else (lambda: made(**arguments))
    return Target(name, name, arguments, lambda: _random(name, build, 0), twin=lambda: _random(name, build, 1))


def _imported(module: str, name: str) -> Any:
    """What is called `name` in a module that was imported before, if it is a model or makes something."""
    found = getattr(importlib.import_module(module), name, None) if name.isidentifier() else None
    return found if callable(found) else None


def _parameters(made: Callable[..., Any]) -> Collection[str]:
    try:
        return inspect.signature(made).parameters
    except (TypeError, ValueError):
        return ()


def _unknown(name: str, imports: Sequence[str]) -> EqvizError:
    near = difflib.get_close_matches(name, model_names(), n=3, cutoff=0.5)
    looked = f", nothing in {', '.join(imports)}" if imports else ""
    found = (
        f"{short(name)}, a file" if Path(name).is_file() else f"{short(name)}, no such folder and no such model{looked}"
    )
    fix = (
        f"did you mean {' or '.join(near)}?" if near else "see `eqviz list models`; --import brings models of your own"
    )
    return EqvizError("TARGET", expected="a folder of runs, or the name of a model", found=found, fix=fix)


def _random(name: str, build: Callable[[], Any], seed: int) -> nn.Module:
    """The model that `build` makes, with random weights; whatever goes wrong in it is told in a line."""

    def checked() -> nn.Module:
        model = build()
        if isinstance(model, nn.Module):
            return model
        raise EqvizError(
            f"model {name}", expected="a torch.nn.Module", found=f"a value of type {type(model).__name__}",
            fix="name the class, or the function that builds the model",
        )  # fmt: skip

    try:
        return in_general_position(checked, seed)
    except EqvizError:
        raise
    except (Exception, SystemExit) as error:
        raise EqvizError(
            f"model {name}", expected="a model that can be built", found=told(error),
            fix="give its arguments with --set key=value, or mend the model",
        ) from error  # fmt: skip
