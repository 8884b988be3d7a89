"""One forward pass over the orbit of the inputs, reduced inside the hooks to additive statistics."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from eqviz.capture.hooks import watching
from eqviz.capture.layers import layer_kind, resolve_field, select_layers, split_globs
from eqviz.errors import EqvizError
from eqviz.fields.field_types import FieldType, field_type
from eqviz.fields.layer_calls import OUTPUT, LayerCall, layer_names, matches, near_names, placement
from eqviz.fields.orbit import align, orbit
from eqviz.fields.samples import SampleFile
from eqviz.fields.statistics import OrbitStatistics
from eqviz.fields.sums import LayerInfo, LayerOrbit, OrbitSums, reduce_orbit
from eqviz.groups.group import Group
from eqviz.groups.group import group as named_group

Progress = Callable[[int], None]
Receiver = Callable[[LayerCall, LayerInfo, Tensor], None]
"""Called with the layer, what it is, and its aligned orbit (element, batch, ...)."""


def capture(
    model: nn.Module,
    images: Any,
    group: str | Group = "p4",
    layers: str | Iterable[str] = "*",
    fields: Mapping[str, str | FieldType] | None = None,
    batch_size: int = 64,
    *,
    mask: bool = False,
    per_sample: bool = False,
    progress: Progress | None = None,
) -> OrbitStatistics:
    """Orbit statistics of the layers of `model` on `images`.

    images      (n, channel, height, width), normalised as the model wants them: tensor, array, or an iterable of such
                batches, such as a DataLoader (of images, or of tuples with the images first)
    group       the group to measure under; its elements act on the images and on every layer's field
    layers      globs of module paths; `(output)` is what the model returns
    fields      globs to field types, where the model does not declare how the group acts
    batch_size  images in one forward pass, the elements of the group included
    mask        set everything outside the inscribed disc to 0 first (the mean of normalised images)
    per_sample  keep rows for each image too, in a temporary file
    progress    called with the number of images done after every batch

    The model runs in evaluation mode, on its own device and in its own dtype, and is left as it was. Memory does not
    grow with the number of images. It does not grow with the number of layers either, except on images that are not
    square under a group that transposes: there one batch of all layers waits for its second half.

    Raises EqvizError for unknown layers or groups, images of the wrong kind, a layer named in full that never ran, a
    field type that does not fit, or a model that fails.

    >>> statistics = capture(nn.Sequential(nn.Conv2d(1, 2, 3)), torch.rand(4, 1, 8, 8), "C4", layers="0")
    >>> statistics.equivariance()["layer"].tolist()
    ['0']
    """
    sums: dict[LayerCall, OrbitSums] = {}
    infos: dict[LayerCall, LayerInfo] = {}
    samples = SampleFile() if per_sample else None

    def receive(key: LayerCall, info: LayerInfo, aligned: Tensor) -> None:
        rows = reduce_orbit(aligned)
        if samples is not None:
            samples.append(key, rows)
        total = rows.summed()
        infos.setdefault(key, info)
        sums[key] = sums[key] + total if key in sums else total

    measured = named_group(group)
    device, dtype = placement(model)
    left_out = run_orbit(model, images, measured, layers, fields or {}, batch_size, mask, receive, progress)
    if samples is not None:
        samples.close()
    for key in left_out:
        sums.pop(key, None)  # measured in some batches only
    skipped = _by_layer(left_out)
    if not sums:
        raise EqvizError(
            "layers", expected="at least one layer that can be measured", found=_reasons(skipped),
            fix="declare field types for these layers, or choose others",
        )  # fmt: skip
    return OrbitStatistics(
        group=measured, dtype=str(dtype).removeprefix("torch."), device=str(device.type), mask=mask,
        layers={key: LayerOrbit(infos[key], total) for key, total in sums.items()}, skipped=skipped, samples=samples,
    )  # fmt: skip


def _by_layer(left_out: Mapping[LayerCall, str]) -> dict[str, str]:
    reasons: dict[str, str] = {}
    for key, reason in left_out.items():
        reasons.setdefault(key.layer, f"call {key.call}: {reason}" if key.call else reason)
    return reasons


def _reasons(skipped: Mapping[str, str]) -> str:
    shown = [f"{name}: {reason}" for name, reason in list(skipped.items())[:3]]
    return "; ".join(shown) or "none that gave a tensor"


def run_orbit(
    model: nn.Module,
    images: Any,
    group: Group,
    layers: str | Iterable[str],
    fields: Mapping[str, str | FieldType],
    batch_size: int,
    mask: bool,
    receive: Receiver,
    progress: Progress | None = None,
) -> dict[LayerCall, str]:
    """Run the model on the orbit of all images and hand every layer's aligned orbit to `receive`, batch by batch.

    Returns the layers that could not be used in some batch, with the reason. Arguments as in :func:`capture`.
    """
    device, dtype = placement(model)
    globs = split_globs(layers)
    selected = select_layers(model, globs)
    check_fields(model, fields)
    aligner = _Aligner(group, fields, receive)
    done = 0
    with watching(model, selected, aligner.watch) as watch:
        for batch in image_batches(images, max(1, batch_size // group.order)):
            for part in orbit(batch.to(device, dtype), group, mask=mask):
                aligner.expect(part.positions, len(batch))
                watch.run(part.images)
            done += len(batch)
            if progress is not None:
                progress(done)
    require_ran(globs, selected, watch.ran)
    silent = {LayerCall(name, 0): "it never ran" for name in selected if name not in watch.ran}
    return {**watch.unusable, **aligner.skipped, **silent}


def check_fields(model: nn.Module, fields: Mapping[str, str | FieldType]) -> None:
    """Every key of `fields` is a name or glob of a layer, or of an item such as `head[0]`, and every value a type."""
    known = layer_names(model)
    for glob, field in fields.items():
        field_type(field)
        layer = glob.partition("[")[0]
        if not any(matches(name, glob) or matches(name, layer) for name in known):
            raise EqvizError(
                "fields", expected="names or globs of layers in the model", found=repr(glob),
                fix=f"near names are {', '.join(near_names(glob, known))}",
            )  # fmt: skip


def require_ran(globs: Iterable[str], selected: Mapping[str, nn.Module], ran: Iterable[str]) -> None:
    """Every layer that was named in full ran, and at least one of the others."""
    silent = [name for name in globs if name in selected and name not in ran]
    if silent or not ran:
        name = silent[0] if silent else next(iter(selected))
        raise EqvizError(
            f"layer {name}", expected="a layer that runs in a forward pass", found="that it never ran",
            fix=f"layers that ran are {', '.join(near_names(name, ran or [OUTPUT]))}",
        )  # fmt: skip


def require_repeatable(images: Any) -> None:
    """Raise EqvizError for an iterator, which ends: `images` are gone through several times."""
    if isinstance(images, Iterator):
        raise EqvizError(
            "images", expected="images that can be gone through several times", found="an iterator, which ends",
            fix="give a tensor, an array, a list of batches or a DataLoader",
        )  # fmt: skip


def image_batches(images: Any, size: int) -> Iterator[Tensor]:
    """Batches (batch, channel, height, width) of at most `size` images, from a tensor, an array or an iterable."""
    whole = isinstance(images, Tensor | np.ndarray) or not isinstance(images, Iterable)
    batches = [images] if whole else images
    shape: torch.Size | None = None
    for item in batches:
        batch = _as_batch(item[0] if isinstance(item, list | tuple) and item else item)
        if not len(batch):
            continue
        shape = shape or batch.shape[1:]
        if batch.shape[1:] != shape:
            raise EqvizError(
                "images", expected=f"all of one shape, {tuple(shape)}", found=f"shape {tuple(batch.shape[1:])}",
                fix="capture each size by itself",
            )  # fmt: skip
        for start in range(0, len(batch), size):
            yield batch[start : start + size]
    if shape is None:
        raise EqvizError("images", expected="at least one image", found="none", fix="give some images")


def _as_batch(item: Any) -> Tensor:
    """Images as a tensor (n, channel, height, width) of floating-point numbers, or EqvizError."""
    if isinstance(item, np.ndarray):
        item = torch.from_numpy(np.require(item, requirements=["C", "W"])) if item.dtype.kind in "fiu" else item
    if isinstance(item, Tensor) and item.dim() == 4 and item.is_floating_point():
        if not torch.isfinite(item).all():
            raise EqvizError("images", expected="finite numbers", found="NaN or infinity", fix="take such images out")
        return item
    tensor_like = isinstance(item, Tensor | np.ndarray)
    found = f"{str(item.dtype).removeprefix('torch.')} of shape {tuple(item.shape)}" if tensor_like else repr(item)[:80]
    raise EqvizError(
        "images", expected="floating-point numbers of shape (n, channel, height, width)", found=found,
        fix="convert them and normalise them as the model wants them",
    )  # fmt: skip


class _Aligner:
    """Turns the outputs of a stacked orbit into aligned orbits, layer by layer."""

    def __init__(self, group: Group, fields: Mapping[str, str | FieldType], receive: Receiver) -> None:
        self._group = group
        self._fields = fields
        self._receive = receive
        self._positions: tuple[int, ...] = ()
        self._batch = 0
        self._waiting: dict[LayerCall, Tensor] = {}
        self._depths: dict[LayerCall, int] = {}
        self._shapes: dict[LayerCall, tuple[int, ...]] = {}
        self._untyped: set[tuple[int, ...]] = set()
        self.skipped: dict[LayerCall, str] = {}

    def expect(self, positions: tuple[int, ...], batch: int) -> None:
        """Say which elements the next forward pass stacks, and of how many images."""
        self._positions, self._batch = positions, batch
        if positions[0] == 0:
            self._waiting.clear()

    def watch(self, key: LayerCall, module: nn.Module, source: Tensor | None, output: Tensor) -> None:
        """Take one layer's output: align it, and pass it on once all elements are there."""
        depth = self._depths.setdefault(key, len(self._depths))
        if key in self.skipped:
            return
        stacked = len(self._positions) * self._batch
        if output.dim() < 2 or len(output) != stacked or not output.numel():
            self.skipped[key] = f"its output of shape {tuple(output.shape)} is no batch of {stacked} activations"
            return
        shape = tuple(output.shape)
        try:
            field, origin = resolve_field(key.layer, module, shape, self._fields)
        except EqvizError as problem:
            self._untyped.add(shape)
            self.skipped[key] = f"{problem.found}; {problem.fix}"
            return
        if origin == "by shape" and shape in self._untyped and _keeps_shape(key.layer, module, source, shape):
            self.skipped[key] = "it passes on activations of a layer before it, of which no field type is known"
            return
        aligned = self._align(key, output, field)
        if aligned is None:
            return
        info = LayerInfo(
            depth, layer_kind(key.layer, module), subsamples(module, source, output), field.name, origin,
            output[0].numel(),
        )  # fmt: skip
        self._pass_on(key, info, aligned)

    def _align(self, key: LayerCall, output: Tensor, field: FieldType) -> Tensor | None:
        elements = [self._group.elements[g] for g in self._positions]
        try:
            return align(output, elements, field)
        except EqvizError as problem:
            if problem.found.startswith("maps of"):
                self.skipped[key] = f"{problem.found}; {problem.fix}"
                return None
            raise EqvizError(
                f"layer {key.layer}", expected=problem.expected, found=problem.found, fix=problem.fix
            ) from problem

    def _pass_on(self, key: LayerCall, info: LayerInfo, aligned: Tensor) -> None:
        if len(self._positions) == self._group.order:
            self._complete(key, info, aligned)
        elif key not in self._waiting:
            self._waiting[key] = aligned
        elif self._waiting[key].shape[1:] != aligned.shape[1:]:
            shapes = f"{tuple(self._waiting.pop(key).shape[2:])} and {tuple(aligned.shape[2:])}"
            self.skipped[key] = f"maps of {shapes} for elements that keep and that exchange height and width"
        else:
            self._complete(key, info, self._merge(self._waiting.pop(key), aligned))

    def _complete(self, key: LayerCall, info: LayerInfo, aligned: Tensor) -> None:
        """Pass on a whole orbit, unless the layer gave out another shape in an earlier batch."""
        shape = tuple(aligned.shape[2:])
        known = self._shapes.setdefault(key, shape)
        if known == shape:
            self._receive(key, info, aligned)
        else:
            self.skipped[key] = f"its output changes size from batch to batch: {known} in some, {shape} in others"

    def _merge(self, first: Tensor, second: Tensor) -> Tensor:
        """Two halves of an orbit in the order of the group; `second` are the elements expected last."""
        whole = first.new_empty((self._group.order, *first.shape[1:]))
        others = [g for g in range(self._group.order) if g not in self._positions]
        whole[others], whole[list(self._positions)] = first, second
        return whole


def _keeps_shape(name: str, module: nn.Module, source: Tensor | None, shape: tuple[int, ...]) -> bool:
    """Whether a layer is an activation or a dropout, which say nothing of the axes that they work on."""
    keeping = layer_kind(name, module) in ("activation", "dropout") or isinstance(module, nn.Identity)
    return keeping and source is not None and tuple(source.shape) == shape


def subsamples(module: nn.Module, source: Tensor | None, output: Tensor) -> bool:
    """Whether a layer visits only some positions of a map: by its stride, or else if it halves the map's height.

    A transposed convolution has a stride too, and enlarges the map.
    """
    if source is None or source.dim() < 4 or output.dim() < 4 or output.shape[-2:].numel() >= source.shape[-2:].numel():
        return False
    stride = getattr(module, "stride", None)
    if isinstance(stride, int | tuple):
        return bool(max(stride if isinstance(stride, tuple) else (stride,)) > 1)
    return bool(output.shape[-2] > 1 and 2 * output.shape[-2] <= source.shape[-2] + 1)
