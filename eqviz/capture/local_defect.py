"""By which field type does a layer fit the layers before it? Its local defect under every candidate.

The local defect of a layer l is |l(rho(g) h) - rho(g) l(h)| / |l(h)| on its actual input h: what the layer itself does
to the symmetry, whatever happened before it. It needs the field types of all tensors that go in. Where one is not
known, the aligned orbit of the whole network up to this layer takes its place.
"""

import itertools
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from eqviz.capture.field_following import FieldFollower, FollowedCall, changed
from eqviz.capture.hooks import full_precision
from eqviz.capture.precision import in_float64
from eqviz.errors import EqvizError
from eqviz.fields.field_types import FieldType
from eqviz.fields.grid_action import act_on_maps
from eqviz.fields.layer_calls import OUTPUT, LayerCall, layer_names, tensors_in
from eqviz.fields.module_states import copied
from eqviz.fields.orbit import align, check_fits
from eqviz.groups.group import Element, Group

Energies = Mapping[FieldType, float]
"""Squared defect by candidate: |A_g - A_e|^2 / |A_e|^2, its mean over generators g; NaN for a dead layer."""


@dataclass(frozen=True)
class LayerDefects:
    """One output of one layer call: its shape (batch first), and its squared defects in float32 and float64.

    `evidence` is local (the layer alone was fed its transformed input) or orbit (the network up to it was). Where a
    block gives out the very tensor of a layer within it, that layer's defects stand for it: the type is the same.
    """

    key: LayerCall
    depth: int
    shape: tuple[int, ...]
    evidence: Literal["local", "orbit"]
    single: Energies
    double: Energies


Known = Callable[[str, nn.Module], FieldType | None]
Candidates = Callable[[tuple[int, ...]], Sequence[FieldType]]
Choose = Callable[[LayerDefects], FieldType | None]


def layer_defects(
    model: nn.Module,
    images: Tensor,
    group: Group,
    layers: Iterable[str],
    known: Known,
    candidates: Candidates,
    choose: Choose,
) -> None:
    """Measure every output of every call of `layers` whose field type is not known, in the order of execution.

    images      (n, channel, height, width), square: a field of type `image`
    layers      names as `eqviz.fields.layer_calls.layer_names` gives them
    known       the field type of a layer's output, by its name and module, or None
    candidates  the field types to try on an output of this shape (batch first)
    choose      takes what was measured and says which type it is, or None: the input type of what comes next

    The elements are the generators of the group: what they keep, it keeps. Runs copies of the model, in evaluation
    mode, in float32 and then in float64, and every layer by itself; holds the activations of one forward pass of n
    images for each generator and n more. Raises EqvizError if the model fails.

    >>> from eqviz.fields.field_types import Image
    >>> layer_defects(
    ...     nn.Sequential(nn.ReLU()), torch.randn(2, 1, 5, 5), Group(4), ["0"], lambda name, module: None,
    ...     lambda shape: [Image()], lambda found: print(found.key.layer, found.evidence, found.double[Image()]),
    ... )  # the local defect of a rectifier on images is none
    0 local 0.0
    """
    names, elements = list(layers), (group.elements[0], *generators(group))
    moved = torch.cat([act_on_maps(images, element) for element in elements])
    coarse, fine = copied(model).to("cpu", torch.float32).eval(), in_float64(model).to("cpu").eval()
    first: dict[LayerCall, Energies] = {}

    def keep(call: FollowedCall, outputs: list[tuple[str, Tensor]]) -> None:
        for place, output in outputs:
            first[call.key(place)] = _defects(output, elements, candidates(tuple(output.shape)))

    with torch.no_grad(), full_precision():
        FieldFollower(len(moved), len(images)).run(coarse, moved.float(), names, keep)
        follower = FieldFollower(len(moved), len(images))
        probe = _Probe(follower, elements, layer_names(coarse), first, known, candidates, choose)
        follower.run(fine, moved.double(), names, probe.measure)


def generators(group: Group) -> tuple[Element, ...]:
    """Elements whose products are the whole group: its smallest rotation and its first reflection, as it has them.

    >>> from eqviz.groups.group import group
    >>> [str(element) for element in generators(group("D4"))]
    ['rotation 90', 'flip up-down']
    """
    rotation = group.elements[1:2] if group.rotations > 1 else ()
    return (*rotation, *group.elements[group.rotations : group.rotations + 1])


def _defects(stacked: Tensor, elements: Sequence[Element], candidates: Iterable[FieldType]) -> dict[FieldType, float]:
    """Squared defect of an output on stacked images, under each candidate that its shape allows."""
    found = {}
    for field in candidates:
        try:
            aligned = align(stacked, elements, field)
        except EqvizError:  # elements that transpose, on maps that are not square
            continue
        energy = float(aligned[0].double().square().sum())
        moved = sum(float((part - aligned[0]).double().square().sum()) for part in aligned[1:])
        found[field] = moved / (max(1, len(elements) - 1) * energy) if energy else float("nan")
    return found


class _Probe:
    """Measures layers in float64 while the network runs, and the same calls in float32 beside it."""

    def __init__(
        self,
        follower: FieldFollower,
        elements: Sequence[Element],
        coarse: Mapping[str, nn.Module],
        orbits: Mapping[LayerCall, Energies],
        known: Known,
        candidates: Candidates,
        choose: Choose,
    ) -> None:
        self._follower = follower
        self._elements = elements
        self._coarse = coarse
        self._orbits = orbits
        self._known = known
        self._candidates = candidates
        self._choose = choose
        self._depths = itertools.count()
        self._decided: dict[int, tuple[weakref.ref[Tensor], LayerDefects]] = {}

    def measure(self, call: FollowedCall, outputs: list[tuple[str, Tensor]]) -> None:
        """Decide on the type of every output of a call, and remember it."""
        moved: list[Mapping[str, Tensor]] | None = None
        for place, output in outputs:
            depth, field = next(self._depths), self._known(call.layer + place, call.module)
            if field is None:
                found = self._of_a_child(call, output)
                if found is None:
                    moved = self._moved(call) if moved is None else moved
                    found = self._measured(call, place, output, moved)
                found = replace(found, key=call.key(place), depth=depth)
                field = self._choose(found)
                if field is not None:
                    self._decided[id(output)] = (weakref.ref(output), found)
            if field is not None or id(output) in call.sources:  # else it may be known from a child that gave it out
                self._follower.remember(output, field)

    def _of_a_child(self, call: FollowedCall, output: Tensor) -> LayerDefects | None:
        """What was measured of this very tensor, where a layer within this one gave it out."""
        known = self._decided.get(id(output))
        return known[1] if known and known[0]() is output and id(output) not in call.sources else None

    def _measured(
        self, call: FollowedCall, place: str, output: Tensor, moved: Sequence[Mapping[str, Tensor]]
    ) -> LayerDefects:
        key, shape = call.key(place), tuple(output.shape)
        tried = self._candidates(shape)
        if all(place in outputs for outputs in moved) and moved:
            single, double = (_defects(outputs[place], self._elements, tried) for outputs in moved)
            return LayerDefects(key, 0, shape, "local", single, double)
        # the whole network is local: what it was fed is all there is
        evidence: Literal["local", "orbit"] = "local" if call.layer == OUTPUT else "orbit"
        return LayerDefects(key, 0, shape, evidence, self._orbits[key], _defects(output, self._elements, tried))

    def _moved(self, call: FollowedCall) -> list[Mapping[str, Tensor]]:
        """The outputs of this layer alone, in float32 and float64, on its input moved by every element.

        Empty where a tensor among its inputs is of no known type, the layer does not run by itself, or it is the
        whole network, which just ran.
        """
        fields = {place: field for place, field in call.fields.items() if field is not None}
        if not fields or len(fields) < len(call.fields) or call.layer == OUTPUT:
            return []

        def moved(place: str, tensor: Tensor) -> Tensor:
            check_fits(fields[place], tuple(tensor.shape), self._elements)
            return torch.cat([fields[place].act(tensor, element) for element in self._elements])

        try:
            inputs, keywords = changed(call.inputs, moved)
            coarse_inputs, coarse_keywords = changed((inputs, keywords), lambda place, tensor: tensor.float())
            single = self._coarse[call.layer](*coarse_inputs, **coarse_keywords)
            double = call.module(*inputs, **keywords)
        except Exception:  # a layer that leans on what the network sets up around it
            return []
        return [dict(tensors_in(single)), dict(tensors_in(double))]
