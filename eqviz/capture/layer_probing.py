"""Every layer fed with its actual input, moved by each element of a group: what the layer itself does to the symmetry.

The network runs once on the orbit of the images. Beside it every layer runs alone on rho(g) h, where h is its input on
the upright image, whatever happened before it. What both give is aligned, so that the two can be compared.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from eqviz.capture.field_following import FieldFollower, FollowedCall
from eqviz.capture.hooks import watching
from eqviz.capture.layers import layer_kind, resolve_field, select_layers, split_globs
from eqviz.capture.orbit_capture import check_fields, image_batches, require_ran, subsamples
from eqviz.capture.pointwise import PointwiseFollowing
from eqviz.capture.single_layers import LayerAlone, Positions, aligned_parts, merged_parts
from eqviz.errors import EqvizError
from eqviz.fields.field_types import FieldType
from eqviz.fields.layer_calls import OUTPUT, LayerCall, layer_names, placement, tensors_in
from eqviz.fields.orbit import orbit
from eqviz.fields.sums import LayerInfo
from eqviz.groups.group import Group

Fields = Mapping[str, str | FieldType]

TYPE_KEEPING_KINDS = ("normalisation", "activation", "dropout")
"""Kinds of layers that, where nothing is declared, give out the field type that went in, if the shape stays."""


@dataclass(frozen=True, eq=False)
class Probed:
    """One output of one layer call on one batch.

    info    what the layer is; `field_source` is given, declared, kept (of its input, by a norm, an activation or a
            dropout, or by handing its input on), within (known of this very tensor from a layer or a pointwise
            operation within), by shape, or "" where no type is known
    call    the call that gave it, and `within` the calls that were running around it, outermost first
    alone   rho(g)^-1 l(rho(g) h), (element, image, ...); None where it cannot be measured
    orbit   the aligned orbit A_g of the network up to here, of the same shape; None where it cannot be measured
    why     why `alone` or else `orbit` is None; "" where neither is
    images  how many images are in the batch
    """

    key: LayerCall
    info: LayerInfo
    call: LayerCall
    within: tuple[LayerCall, ...]
    alone: Tensor | None
    orbit: Tensor | None
    why: str
    images: int


Receiver = Callable[[Probed], None]


def probe_layers(
    model: nn.Module,
    images: Any,
    group: Group,
    layers: str | Iterable[str],
    fields: Fields,
    batch_size: int,
    receive: Receiver,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Run the model on the orbit of all images, and every chosen layer alone; hand what comes out to `receive`.

    Arguments as in `eqviz.capture`, with a group on the grid; `progress` is called with the number of images done. The
    model itself, `(output)`, is not run again: alone it is the network. Holds one layer's activations at a time, and
    those of all layers on half an orbit where images are not square and some elements transpose.

    Raises EqvizError for unknown layers, a layer named in full that never ran, a field type that does not fit, or a
    model that fails.
    """
    device, dtype = placement(model)
    globs, selected = split_globs(layers), select_layers(model, layers)
    check_fields(model, fields)
    probe = _Probe(group, selected, fields, receive)
    done = 0
    with watching(model, {}, lambda *_: None):
        for batch in image_batches(images, max(1, batch_size // group.order)):
            # the part with the upright images comes last: it completes the others
            for part in reversed(orbit(batch.to(device, dtype), group)):
                probe.run(model, part.images, part.positions, len(batch))
            done += len(batch)
            if progress is not None:
                progress(done)
    require_ran(globs, selected, probe.ran)


class _Probe:
    """Takes the outputs of a stacked orbit as they come, and runs their layers alone."""

    def __init__(self, group: Group, selected: Mapping[str, nn.Module], fields: Fields, receive: Receiver) -> None:
        self._group = group
        self._selected = selected
        self._fields = fields
        self._receive = receive
        self._follower = FieldFollower(0, 0)
        self._positions: Positions = ()
        self._batch = 0
        self._depths: dict[LayerCall, int] = {}
        self._other: dict[LayerCall, tuple[Positions, Tensor]] = {}
        self.ran: dict[str, None] = {}  # an ordered set

    def run(self, model: nn.Module, images: Tensor, positions: Positions, batch: int) -> None:
        """One forward pass on some elements of the orbit of a batch; layers run alone if the upright ones are there."""
        self._positions, self._batch = positions, batch
        self._follower = FieldFollower(len(images), batch)
        with PointwiseFollowing(self._follower, len(images)):
            self._follower.run(model, images, layer_names(model), self.watch)
        if positions[0] == 0:
            self._other.clear()

    def watch(self, call: FollowedCall, outputs: list[tuple[str, Tensor]]) -> None:
        """Take what one layer call gave out."""
        alone: LayerAlone | None = None
        if call.layer in self._selected:
            self.ran[call.layer] = None
            if not outputs and self._positions[0] == 0:
                info = LayerInfo(self._depth(call.key("")), layer_kind(call.layer, call.module), False, "", "", 0)
                reason = "it gives out no batch of floating-point activations"
                self._receive(Probed(call.key(""), info, call.key(""), call.within, None, None, reason, self._batch))
        for place, output in outputs:
            field, origin = self._field(call, place, output)
            self._follower.remember(output, field)
            if call.layer not in self._selected:
                continue
            probed = self._probed(call, place, output, field, origin)
            if self._positions[0] != 0:
                if probed.orbit is not None:
                    self._other[probed.key] = self._positions, probed.orbit
            elif field is None or call.layer == OUTPUT:
                self._receive(replace(probed, alone=probed.orbit))
            else:
                alone = alone or LayerAlone(call, self._group, self._batch)
                moved, reason = alone.aligned(place, field)
                self._receive(replace(probed, alone=moved, why=reason or probed.why))

    def _field(self, call: FollowedCall, place: str, output: Tensor) -> tuple[FieldType | None, str]:
        """The field type of an output and where it comes from."""
        try:
            field, origin = resolve_field(call.layer + place, call.module, tuple(output.shape), self._fields)
        except EqvizError:
            field, origin = None, ""
        if origin in ("given", "declared"):
            return field, origin
        if layer_kind(call.layer, call.module) in TYPE_KEEPING_KINDS:
            sources = dict(tensors_in(call.inputs))
            kept = [call.fields[at] for at, source in sources.items() if source.shape[1:] == output.shape[1:]]
            if len(kept) == 1 and kept[0] is not None:
                return kept[0], "kept"
        held = self._follower.field_of(output)
        if held is not None:
            return held, "kept" if id(output) in call.sources else "within"
        return field, origin

    def _probed(self, call: FollowedCall, place: str, output: Tensor, field: FieldType | None, origin: str) -> Probed:
        key = call.key(place)
        source = next((tensor for _, tensor in tensors_in(call.inputs)), None)
        info = LayerInfo(
            self._depth(key), layer_kind(call.layer, call.module), subsamples(call.module, source, output),
            "" if field is None else field.name, origin, output[0].numel(),
        )  # fmt: skip
        if field is None:
            reason = f"no field type is known for activations of shape {tuple(output.shape[1:])}: declare one"
            return Probed(key, info, call.key(""), call.within, None, None, reason, self._batch)
        parts = [(self._positions, output)] if output.numel() else []
        aligned, reason = aligned_parts(key, parts, self._group, field)
        if aligned is not None and self._positions[0] == 0 and len(self._positions) < self._group.order:
            aligned, reason = merged_parts([(self._positions, aligned), *self._waiting(key)], self._group)
        return Probed(key, info, call.key(""), call.within, None, aligned, reason, self._batch)

    def _depth(self, key: LayerCall) -> int:
        return self._depths.setdefault(key, len(self._depths))

    def _waiting(self, key: LayerCall) -> list[tuple[Positions, Tensor]]:
        return [self._other.pop(key)] if key in self._other else []
