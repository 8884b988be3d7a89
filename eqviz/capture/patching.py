"""Running a model with the output of one layer replaced, and which layers are cuts of its graph."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from eqviz.capture.hooks import watching
from eqviz.errors import EqvizError
from eqviz.fields.geometric_tensors import is_geometric, with_tensor
from eqviz.fields.layer_calls import LayerCall, layer_names, near_names, tensors_in

CUT_IMAGES = 16
"""Images, and as many of noise, on which cuts are looked for."""


def run_patched(model: nn.Module, images: Tensor, key: LayerCall, replacement: Tensor) -> Any:
    """What the model returns for `images` (batch, ...) if that call of that layer gives out `replacement` instead.

    `key.layer` is a module path, followed by the item for a layer that gives several tensors, as in `head[0]`; other
    calls of the same module are left alone. `replacement` has the shape of what it replaces; its batch may be of
    another size (see :class:`Cut`). It is copied, so that layers that work in place cannot change it. A model that
    drops what a module returns and goes on with its input, changed in place, does not see the replacement.

    The model runs in evaluation mode, without gradients and in full precision, and is left as it was, also after an
    error. Raises EqvizError for an unknown layer, a call that does not happen, a replacement that does not fit and for
    a model that fails.

    >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    >>> run_patched(model, torch.ones(1, 2), LayerCall("0", 0), torch.tensor([[-3.0, 4.0]])).tolist()
    [[0.0, 4.0]]
    """
    module, item = _find(model, key.layer)
    calls, found = 0, False

    def replace(layer: nn.Module, inputs: Any, output: Any) -> Any:
        nonlocal calls, found
        del layer, inputs
        calls += 1
        if calls != key.call + 1:
            return None
        found = any(suffix == item for suffix, _ in tensors_in(output))
        return _put(output, item, replacement.clone(), key)

    with watching(model, {}, _ignore) as watch:
        handle = module.register_forward_hook(replace)
        try:
            returned = watch.run(images)
        finally:
            handle.remove()
    if not found:
        raise EqvizError(
            f"layer {key.layer}", expected=f"a tensor from its call {key.call}",
            found=f"{calls} calls, none with that tensor", fix="choose another layer or call",
        )  # fmt: skip
    return returned


def find_cuts(model: nn.Module, images: Tensor, keys: Iterable[LayerCall]) -> dict[LayerCall, bool]:
    """Which of these layer calls are cuts of the graph, found by experiment on a few images (batch, ...).

    The output depends on the image only through a cut. For images x and others x' the model runs on both with the
    layer's output replaced by what it is on x: at a cut, and at no other layer, the outputs are bit for bit equal
    whatever x' is. The x are the first 16 images, twice; the x' are these in another order, and noise of the same mean
    and spread. The sum of a residual block is a cut, its branches are none. Every call of a layer that runs several
    times is judged by itself.

    A way around the layer that carries nothing (a skip connection behind a dead ReLU or a zero weight, or one whose
    part is lost in rounding) on all of these images is not seen: such a layer counts as a cut, and on these images it
    acts as one. A model that is not deterministic has no cut. Raises EqvizError as :func:`run_patched`.

    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    >>> find_cuts(model, torch.rand(2, 1, 5, 5), [LayerCall("0", 0)])
    {LayerCall(layer='0', call=0): True}
    """
    shown, others = _two_batches(images[:CUT_IMAGES])
    outputs = _outputs(model, shown, keys)
    return {key: _judge(model, shown, others, key, output) for key, output in outputs.items()}


def _judge(model: nn.Module, shown: Tensor, others: Tensor, key: LayerCall, output: Tensor) -> bool:
    # both runs are patched: hooks alone make some modules of torch take another path, which rounds otherwise
    return _same(run_patched(model, shown, key, output), run_patched(model, others, key, output))


def _two_batches(images: Tensor) -> tuple[Tensor, Tensor]:
    """Images x, and x' of the same number: the same in another order, and noise; from a generator of its own."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(images.shape, generator=generator, dtype=torch.float64).to(images)
    spread = images.std(correction=0)
    noise = images.mean() + noise * torch.where(spread > 0, spread, 1)
    return torch.cat([images, images]), torch.cat([images.roll(1, dims=0), noise])


def _outputs(model: nn.Module, images: Tensor, keys: Iterable[LayerCall]) -> dict[LayerCall, Tensor]:
    """What these layer calls give out on `images`."""
    wanted, found = tuple(keys), {}

    def keep(key: LayerCall, module: nn.Module, source: Tensor | None, output: Tensor) -> None:
        del module, source
        if key in wanted:
            found[key] = output.clone()

    modules = {key.layer.removesuffix(item): module for key in wanted for module, item in [_find(model, key.layer)]}
    with watching(model, modules, keep) as watch:
        watch.run(images)
    missing = next((key for key in wanted if key not in found), None)
    if missing is not None:
        raise EqvizError(
            f"layer {missing.layer}", expected=f"a tensor from its call {missing.call}", found="none",
            fix="choose another layer or call",
        )  # fmt: skip
    return {key: found[key] for key in wanted}


def _find(model: nn.Module, layer: str) -> tuple[nn.Module, str]:
    """The module of a layer and which item of its output is meant; '' where the output is one tensor."""
    known = layer_names(model)
    path = layer if layer in known else layer.partition("[")[0]
    if path not in known:
        raise EqvizError(
            "layer", expected="the name of a layer in the model", found=repr(layer),
            fix=f"near names are {', '.join(near_names(layer, known))}",
        )  # fmt: skip
    return known[path], layer.removeprefix(path)


def _put(output: Any, item: str, replacement: Tensor, key: LayerCall, suffix: str = "") -> Any:
    """`output` with its tensor at `item` replaced; what lies beside it stays the same object."""
    if isinstance(output, Tensor):
        return _checked(output, replacement, key) if suffix == item else output
    if is_geometric(output):
        return with_tensor(output, _checked(output.tensor, replacement, key)) if suffix == item else output
    if isinstance(output, Mapping):
        items = {name: _put(part, item, replacement, key, f"{suffix}[{name}]") for name, part in output.items()}
        return items if type(output) is dict else _like(output, key, **{str(name): items[name] for name in items})
    if isinstance(output, list | tuple):
        parts = [_put(part, item, replacement, key, f"{suffix}[{place}]") for place, part in enumerate(output)]
        return _like(output, key, *parts) if hasattr(output, "_fields") else _like(output, key, parts)
    return output


def _like(output: Any, key: LayerCall, *parts: Any, **items: Any) -> Any:
    """A container of the same class as `output` with these contents."""
    try:
        return type(output)(*parts, **items)
    except TypeError as error:
        raise EqvizError(
            f"layer {key.layer}", expected="a tensor, or a dict, list or tuple that can be made anew",
            found=type(output).__name__, fix="choose other layers",
        ) from error  # fmt: skip


def _checked(output: Tensor, replacement: Tensor, key: LayerCall) -> Tensor:
    if replacement.shape[1:] == output.shape[1:] and replacement.dtype == output.dtype:
        return replacement
    shown = [f"{tensor.dtype} of shape {tuple(tensor.shape)}" for tensor in (output, replacement)]
    raise EqvizError(
        f"layer {key.layer}", expected=f"a replacement for {shown[0]}", found=shown[1],
        fix="give activations as the layer makes them",
    )  # fmt: skip


def _same(first: Any, second: Any) -> bool:
    """Whether two outputs hold the same tensors, bit for bit; NaN is nothing's equal."""
    pairs = zip(tensors_in(first), tensors_in(second), strict=False)
    count = sum(1 for _ in tensors_in(first))
    return count == sum(1 for _ in tensors_in(second)) and all(torch.equal(a, b) for (_, a), (_, b) in pairs)


def _ignore(*_: object) -> None:
    """No layer is watched: the context only sets the modes of the model."""
