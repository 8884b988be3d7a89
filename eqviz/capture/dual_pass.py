"""One forward pass with dual numbers: how the activations of every layer change as the images begin to move.

Forward-mode differentiation carries a tangent through the network beside every activation. Started as X x, the
generator of a rotation, translation or scaling applied to the images, it arrives at a layer Phi as DPhi(x)[X x]: an
exact derivative, for the price of about two more forward passes.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from eqviz.capture.field_following import FieldFollower, FollowedCall, changed
from eqviz.capture.hooks import watching
from eqviz.capture.layers import layer_kind, resolve_field, select_layers, split_globs
from eqviz.capture.map_spacing import MapSpacing, Size
from eqviz.capture.orbit_capture import check_fields, image_batches, require_ran, subsamples
from eqviz.errors import EqvizError
from eqviz.fields.derivatives import Order
from eqviz.fields.field_types import FieldType, Image, Tokens
from eqviz.fields.generators import Spacing, generate, has_map
from eqviz.fields.geometric_tensors import tensor_of
from eqviz.fields.layer_calls import OUTPUT, LayerCall, placement, tensors_in
from eqviz.fields.orbit import check_fits
from eqviz.fields.sums import LayerInfo
from eqviz.groups.group import Group

ORDERS: tuple[Order, Order] = (4, 2)
"""Orders of the spatial derivative: the one that counts, and a coarser one that tells what it costs."""

NO_DERIVATIVE = "no derivative arrives: it does not depend on the image, or the model cuts the derivative off"


@dataclass(frozen=True, eq=False)
class LayerDerivatives:
    """One layer call on a batch of images, Phi(x), and its derivatives for every order of `ORDERS` and transformation.

    features  (image, ...)                          Phi(x)
    moved     (order, transformation, image, ...)   DPhi(x)[X x], how they change as the image moves
    expected  same shape                            X Phi(x), how they would change if the layer were equivariant
    alone     same shape, or None                   Dl(h)[X h], the layer l by itself on its actual input h; where
                                                    maxima tie, as on flat parts of h, that of the first one
    mapped    whether the last two axes are the rows and columns of a map
    note      why `alone` is None, or what else there is to say
    """

    features: Tensor
    moved: Tensor
    expected: Tensor
    alone: Tensor | None
    mapped: bool
    note: str


Receiver = Callable[[LayerCall, LayerInfo, LayerDerivatives], None]


def run_duals(
    model: nn.Module,
    images: Any,
    group: Group,
    layers: str | Iterable[str],
    fields: Mapping[str, str | FieldType],
    batch_size: int,
    transformations: Sequence[str],
    kinds: Iterable[str],
    fade: bool,
    receive: Receiver,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Run the model on all images with dual numbers and hand every chosen layer's derivatives to `receive`.

    Arguments as in :func:`eqviz.capture.capture`, but `batch_size` counts an image once for each order and
    transformation; only layers of `kinds` are handed on; `fade` makes the images vanish smoothly towards the edge of
    the inscribed disc. Layers whose field type is not known are left out. Raises EqvizError as `capture` does, and for
    a model with an operation that has no forward-mode derivative.
    """
    device, dtype = placement(model)
    globs = split_globs(layers)
    selected = select_layers(model, globs)
    check_fields(model, fields)
    ran: dict[str, None] = {}
    done = 0
    copies = len(ORDERS) * len(transformations)
    names = list(dict.fromkeys([*select_layers(model, "*"), *selected]))
    with watching(model, {}, _ignore), _plain_attention():
        for batch in image_batches(images, max(1, batch_size // copies)):
            x = batch.to(device, dtype)
            x = x * smooth_disc(*x.shape[-2:]).to(x) if fade else x
            runner = _Runner(x, group, frozenset(selected), fields, transformations, frozenset(kinds), receive, ran)
            runner.run(model, names)
            done += len(batch)
            if progress is not None:
                progress(done)
    require_ran(globs, selected, ran)


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Attention in single steps while this lasts: torch's fused ones have no forward-mode derivative."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _ignore(*_: object) -> None:
    """The context of `watching` only sets modes here: it has no hook that would keep tangents."""


def smooth_disc(height: int, width: int) -> Float[Tensor, "height width"]:
    """A window that is 1 up to half the radius of the inscribed disc and falls to 0 at its edge, as a cosine.

    >>> [round(float(value), 2) for value in smooth_disc(9, 9)[4]]
    [0.12, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 0.12]
    """
    y = torch.arange(height, dtype=torch.float64) - (height - 1) / 2
    x = torch.arange(width, dtype=torch.float64) - (width - 1) / 2
    radius = (y[:, None] ** 2 + x[None, :] ** 2).sqrt() / (min(height, width) / 2)
    fallen: Tensor = (2 * radius - 1).clamp(0, 1)
    return (1 + torch.cos(torch.pi * fallen)) / 2


class _Runner:
    """One pass over one batch: duals in, the derivatives of every layer out."""

    def __init__(
        self,
        images: Tensor,
        group: Group,
        selected: frozenset[str],
        fields: Mapping[str, str | FieldType],
        transformations: Sequence[str],
        kinds: frozenset[str],
        receive: Receiver,
        ran: dict[str, None],
    ) -> None:
        self._images = images
        self._group = group
        self._selected = selected
        self._fields = fields
        self._transformations = transformations
        self._kinds = kinds
        self._receive = receive
        self._ran = ran
        self._depths: dict[LayerCall, int] = {}
        self._spacing = MapSpacing((images.shape[-2], images.shape[-1]))
        stacked = len(ORDERS) * len(transformations) * len(images)
        self._follower = FieldFollower(stacked, stacked)

    def run(self, model: nn.Module, names: Iterable[str]) -> None:
        """Run the model. The level of dual numbers is closed in any case."""
        with forward_ad.dual_level():
            try:
                self._follower.run(model, self._dual(self._images, Image(), (1.0, 1.0)), names, self._watch)
            except EqvizError as problem:
                if "forward AD" not in problem.found and "jvp" not in problem.found:
                    raise
                raise EqvizError(
                    "model", expected="operations that all have a forward-mode derivative", found=problem.found,
                    fix="write that operation with others, or leave this analysis out",
                ) from problem  # fmt: skip

    def _generated(self, features: Tensor, field: FieldType, spacing: Spacing) -> Tensor:
        """X f, (order, transformation, image, ...)."""
        each = [generate(features, field, name, spacing, order) for order in ORDERS for name in self._transformations]
        return torch.stack(each).reshape(len(ORDERS), len(self._transformations), *features.shape)

    def _dual(self, features: Tensor, field: FieldType, spacing: Spacing) -> Tensor:
        """The features stacked, once for every order and transformation, and beside them their tangents X f."""
        tangents = self._generated(features, field, spacing).flatten(0, 2)
        copies = (len(tangents) // len(features), *(1,) * (features.dim() - 1))
        return _dual(features.repeat(copies), tangents)

    def _parts(self, output: Tensor) -> tuple[Tensor, Tensor, bool]:
        """From a stacked dual number: the features (image, ...), their tangents, and whether there were any."""
        features, tangents = _unpacked(output)
        found = torch.zeros_like(features) if tangents is None else tangents
        shape = (len(ORDERS), len(self._transformations), len(self._images))
        return features[: len(self._images)], found.reshape(*shape, *found.shape[1:]), tangents is not None

    def _watch(self, call: FollowedCall, outputs: list[tuple[str, Tensor]]) -> None:
        if call.layer in self._selected:
            self._ran[call.layer] = None
        for place, output in outputs:
            key = call.key(place)
            spacing = self._spacing_after(call, output)
            field, origin = self._field_of(key, call.module, output)
            known = self._follower.field_of(output)
            told = origin in (
                "given",
                "declared",
            )  # else a layer that passes its very input on does not change its type
            self._follower.remember(output, known if known and not told else field)
            if call.layer not in self._selected:
                continue
            depth, kind = self._depths.setdefault(key, len(self._depths)), layer_kind(key.layer, call.module)
            if field is None or kind not in self._kinds:
                continue
            halves = subsamples(call.module, _first_tensor(call), output)
            info = LayerInfo(depth, kind, halves, field.name, origin, output[0].numel())
            self._receive(key, info, self._derivatives(call, place, output, field, spacing))

    def _spacing_after(self, call: FollowedCall, output: Tensor) -> Spacing:
        source = _first_tensor(call)
        if output.dim() < 3:
            return 1.0, 1.0
        return self._spacing.after(call.module, None if source is None else _size(source), _size(output))

    def _field_of(self, key: LayerCall, module: nn.Module, output: Tensor) -> tuple[FieldType | None, str]:
        """The field type of an output and where it comes from; None where nobody says and its shape does not tell."""
        try:
            field, origin = resolve_field(key.layer, module, tuple(output.shape), self._fields)
        except EqvizError:
            return None, ""
        if isinstance(field, Tokens):
            return None, ""  # no derivative of a sequence tells how its patches move
        try:
            check_fits(field, tuple(output.shape), self._group.elements)
        except EqvizError as problem:
            raise EqvizError(
                f"layer {key.layer}", expected=problem.expected, found=problem.found, fix=problem.fix
            ) from problem
        return field, origin

    def _derivatives(
        self, call: FollowedCall, place: str, output: Tensor, field: FieldType, spacing: Spacing
    ) -> LayerDerivatives:
        features, moved, arrived = self._parts(output)
        alone, note = self._alone(call, place)
        said = "; ".join(words for words in (note, "" if arrived else NO_DERIVATIVE) if words)
        expected = self._generated(features, field, spacing)
        return LayerDerivatives(features, moved, expected, alone, has_map(field, features.dim()), said)

    def _alone(self, call: FollowedCall, place: str) -> tuple[Tensor | None, str]:
        """Dl(h)[X h] for the layer alone, or None and why."""
        tensors = dict(tensors_in(call.inputs))
        if call.layer == OUTPUT:
            return None, "no local error: it is the whole network"
        if len(tensors) != 1:
            return None, f"no local error: {len(tensors)} tensors go in"
        ((where, tensor),) = tensors.items()
        field = call.fields[where]
        if field is None:
            return None, "no local error: the field type of its input is not known"
        h = _unpacked(tensor)[0][: len(self._images)]
        spacing = self._spacing.of(_size(h)) if has_map(field, h.dim()) else (1.0, 1.0)
        dual = self._dual(h, field, spacing)
        inputs, keywords = changed(call.inputs, lambda place, tensor: dual)
        try:
            found = dict(tensors_in(call.module(*inputs, **keywords)))
        except Exception:  # a layer that leans on what the network sets up around it
            return None, "no local error: it does not run by itself"
        return self._parts(found[place])[1], ""


def _dual(primal: Tensor, tangent: Tensor) -> Tensor:
    with warnings.catch_warnings():  # torch scripts some of its own derivatives at the first call, and warns of it
        warnings.simplefilter("ignore", DeprecationWarning)
        dual: Tensor = forward_ad.make_dual(primal, tangent)  # type: ignore[no-untyped-call]  # torch types none of it
    return dual


def _unpacked(dual: Tensor) -> tuple[Tensor, Tensor | None]:
    """The number and its tangent, None for one that carries none."""
    primal, tangent = forward_ad.unpack_dual(dual)  # type: ignore[no-untyped-call]  # the same
    return primal, tangent


def _first_tensor(call: FollowedCall) -> Tensor | None:
    given = (tensor_of(item) for item in call.inputs[0])
    return next((tensor for tensor in given if tensor is not None and tensor.dim() > 2), None)


def _size(maps: Tensor) -> Size:
    return maps.shape[-2], maps.shape[-1]
