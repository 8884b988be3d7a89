"""The untrained twin of a network: the same architecture with fresh weights.

What an architecture can break shows with random weights already; what training made of it shows beside them.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from eqviz.analysis.steerable_resets import reset_steerable
from eqviz.capture.steerable_filters import expand_anew
from eqviz.errors import EqvizError
from eqviz.fields.geometric_tensors import is_steerable_module
from eqviz.fields.module_states import copied


def untrained_twin(model: nn.Module, seed: int = 0) -> nn.Module | None:
    """A copy of `model` with fresh weights and statistics, or None where some module cannot be reset.

    As :func:`rebuild`, which says which module that is.

    >>> layer = nn.Conv2d(1, 2, 3)
    >>> twin = untrained_twin(layer)
    >>> twin is not layer and not torch.equal(twin.weight, layer.weight)
    True
    >>> untrained_twin(nn.ParameterList([torch.zeros(2)])) is None
    True
    """
    try:
        return rebuild(model, seed)
    except EqvizError:
        return None


def rebuild(model: nn.Module, seed: int = 0) -> nn.Module:
    """A copy of `model` with fresh weights and statistics: every module that can be is reset, children first.

    Weights are those that the modules' own `reset_parameters()` draws, after seeding with `seed`; what the model's
    constructor did to them afterwards is not repeated. Running statistics go back to mean 0 and variance 1. Buffers
    that no reset touches (indices, masks, encodings) are constants of the architecture and stay. The copy is on the
    same device, in the same dtype and modes; `model` and torch's random state are left as they were.

    Modules of e2cnn and escnn, which have no `reset_parameters()`, are drawn as their constructors do.

    Raises EqvizError, with the name of the module, where some parameter is not drawn anew: its module has no
    `reset_parameters()`, or one that leaves it out (as with weights that are parametrised).

    >>> rebuild(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)))[1].running_var.tolist()
    [1.0, 1.0, 1.0]
    """
    try:
        twin = copied(model)
    except EqvizError as error:  # torch copies only tensors that are leaves of the graph
        raise _cannot("model", f"one that cannot be copied ({error.found})") from error
    with torch.no_grad(), seeded(twin, seed):
        _forget(twin)
        for name, module in _children_first(twin):
            _reset(name, module)
        expand_anew(twin)
    for name, module in twin.named_modules():
        for own, parameter in module.named_parameters(recurse=False):
            if parameter.is_floating_point() and bool(parameter.isnan().any()):
                raise _cannot(name, f"a {type(module).__name__} that does not reset its {own}")
    return twin


def fresh_copy(model: nn.Module, seed: int = 0) -> tuple[nn.Module, str]:
    """A copy of `model` whose numbers show what the architecture allows; and whose weights it has, fresh or given.

    The untrained twin where there is one, else a copy with the weights as they are. Scales and shifts that a reset
    makes all alike (1 and 0 in a normalisation) and running statistics are moved at random, as training would:
    a layer that has one for each orientation looks exact only until then.

    >>> copy, weights = fresh_copy(nn.BatchNorm2d(2))
    >>> weights, bool(copy.weight[0] == copy.weight[1])
    ('fresh', False)
    """
    try:
        fresh, weights = rebuild(model, seed), "fresh"
    except EqvizError:
        fresh, weights = copied(model), "given"
    with torch.no_grad(), seeded(fresh, seed):
        for parameter in fresh.parameters():
            if (
                parameter.is_floating_point()
                and parameter.numel() > 1
                and bool((parameter == parameter.flatten()[0]).all())
            ):
                parameter.add_(_SPREAD * torch.randn_like(parameter))
        for module in fresh.modules():
            if isinstance(module, _NormBase) and module.running_mean is not None and module.running_var is not None:
                module.running_mean.add_(_SPREAD * torch.randn_like(module.running_mean))
                module.running_var.mul_(1 + _SPREAD * torch.rand_like(module.running_var))
        expand_anew(fresh)
    return fresh, weights


_SPREAD = 0.3
"""How far scales, shifts and statistics are moved: far above rounding, and not so far that layers go dead."""


@contextmanager
def seeded(model: nn.Module, seed: int) -> Iterator[None]:
    """Torch's random state seeded with `seed` while this lasts, on the CPU and the model's device; then as before."""
    devices = {parameter.device.index for parameter in model.parameters() if parameter.device.type == "cuda"}
    with torch.random.fork_rng(devices=sorted(index for index in devices if index is not None)):
        torch.manual_seed(seed)
        yield


def _forget(model: nn.Module) -> None:
    """NaN for every parameter, so that one that is not drawn anew shows."""
    constants = {
        id(parameter) for module in model.modules() if is_steerable_module(module)
        for parameter in module.parameters(recurse=False) if not parameter.requires_grad
    }  # fmt: skip
    for name, parameter in model.named_parameters():
        if nn.parameter.is_lazy(parameter):
            raise _cannot(name.rpartition(".")[0], "a lazy module that has not seen an input yet")
        if id(parameter) in constants:  # what a steerable library keeps as parameters to have it moved and saved
            continue
        if parameter.is_floating_point() or parameter.is_complex():
            parameter.fill_(float("nan"))


def _children_first(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Modules by path, a parent after its children, so that what it does to their weights counts last."""
    yield from reversed(list(model.named_modules()))


def _reset(name: str, module: nn.Module) -> None:
    # reset_parameters is torch's convention, with an underscore in attention and transformers
    reset_steerable(module)
    for method in ("reset_parameters", "_reset_parameters", "reset_running_stats"):
        reset = getattr(module, method, None)
        if not callable(reset):
            continue
        try:
            reset()
        except Exception as error:
            raise _cannot(name, f"a {type(module).__name__} whose {method}() fails ({error})") from error


def _cannot(name: str, found: str) -> EqvizError:
    return EqvizError(
        f"untrained twin: module {name}" if name else "untrained twin",
        expected="modules that draw all their weights anew with reset_parameters()", found=found,
        fix="give a freshly built network as the twin, or do without",
    )  # fmt: skip
