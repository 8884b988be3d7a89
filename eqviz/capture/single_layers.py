"""A single layer that runs by itself on its actual input, moved by every element of a group."""

from typing import Any

import torch
from torch import Tensor

from eqviz.capture.field_following import FollowedCall, changed
from eqviz.errors import EqvizError, told
from eqviz.fields.field_types import FieldType
from eqviz.fields.layer_calls import LayerCall, tensors_in
from eqviz.fields.orbit import align
from eqviz.groups.group import Group

Positions = tuple[int, ...]
"""Elements of a group, by their places in it."""


class LayerAlone:
    """A layer call on a batch of upright images that runs again on rho(g) h, for all elements g, h being its input.

    Tensors among its inputs that are no batch are constants and stay as they are. Gradients are not kept.
    """

    def __init__(self, call: FollowedCall, group: Group, batch: int) -> None:
        self._call = call
        self._group = group
        self._reason = self._unknown(batch)
        self._fields = {place: field for place, field in call.fields.items() if field is not None}
        self._outputs = [] if self._reason else self._run()

    def aligned(self, place: str, field: FieldType) -> tuple[Tensor | None, str]:
        """rho(g)^-1 l(rho(g) h), (element, image, ...), of the output at this place; or None, and why.

        Raises EqvizError if the field type does not fit the output, or does not know an element.
        """
        if self._reason:
            return None, self._reason
        if not all(place in outputs for _, outputs in self._outputs):
            return None, "alone on its moved input it gives out other tensors than in the network"
        parts = [(positions, outputs[place]) for positions, outputs in self._outputs]
        return aligned_parts(self._call.key(place), parts, self._group, field)

    def _unknown(self, batch: int) -> str:
        """Which tensor among the inputs has no known type, in words; tensors that are no batch are constants."""
        sources = dict(tensors_in(self._call.inputs))
        if not sources:
            return "no tensor goes into it"
        unknown = [
            place for place, field in self._call.fields.items()
            if field is None and sources[place].dim() and len(sources[place]) == batch
        ]  # fmt: skip
        if not unknown:
            return ""
        shape = tuple(sources[unknown[0]].shape[1:])
        return (
            f"its input of shape {shape} has no known field type: it is the result of no layer, or of an undeclared one"
        )

    def _run(self) -> list[tuple[Positions, dict[str, Tensor]]]:
        found = []
        for positions in self._parts():
            elements = [self._group.elements[g] for g in positions]

            def moved(place: str, tensor: Tensor, elements: Any = elements) -> Tensor:
                field = self._fields.get(place)
                return tensor.clone() if field is None else torch.cat([field.act(tensor, g) for g in elements])

            inputs, keywords = changed(self._call.inputs, moved)
            try:
                outputs = self._call.module(*inputs, **keywords)
            except (Exception, SystemExit) as error:  # a layer that leans on what the network sets up around it
                self._reason = f"alone on its moved input it raises {told(error, 120)}"
                return []
            found.append((positions, dict(tensors_in(outputs))))
        return found

    def _parts(self) -> list[Positions]:
        """Elements that can be stacked: those that transpose are apart if some map among the inputs is not square."""
        sources = dict(tensors_in(self._call.inputs))
        everything = range(self._group.order)
        transposing = [g for g in everything if self._group.elements[g].transposes]
        turned = self._group.elements[transposing[0]] if transposing else None
        if turned is None or all(
            field.act(sources[place][:1], turned).shape == sources[place][:1].shape
            for place, field in self._fields.items()
        ):
            return [tuple(everything)]
        return [tuple(g for g in everything if g not in transposing), tuple(transposing)]


def aligned_parts(
    key: LayerCall, parts: list[tuple[Positions, Tensor]], group: Group, field: FieldType
) -> tuple[Tensor | None, str]:
    """Stacked outputs of some elements, aligned and put together: (element, image, ...); or None, and why not.

    Raises EqvizError if the field type does not fit them, or does not know an element.
    """
    found = []
    for positions, stacked in parts:
        if not stacked.dim() or len(stacked) % len(positions) or not stacked.is_floating_point():
            return None, "alone on its moved input it gives out something else than in the network"
        try:
            found.append((positions, align(stacked, [group.elements[g] for g in positions], field)))
        except EqvizError as problem:
            if problem.found.startswith("maps of"):
                return None, f"{problem.found}; {problem.fix}"
            raise EqvizError(
                f"layer {key.layer}", expected=problem.expected, found=problem.found, fix=problem.fix
            ) from problem
    if not found:
        return None, "its output is empty"
    return (found[0][1], "") if len(found) == 1 else merged_parts(found, group)


def merged_parts(parts: list[tuple[Positions, Tensor]], group: Group) -> tuple[Tensor | None, str]:
    """Aligned outputs of all elements put together in the order of the group; or None, and why not."""
    shapes = {part.shape[1:] for _, part in parts}
    if len(shapes) > 1:
        shown = " and ".join(sorted(str(tuple(shape[1:])) for shape in shapes))
        return None, f"maps of {shown} for elements that keep and that exchange height and width"
    if sum(len(positions) for positions, _ in parts) < group.order:
        return None, "it did not give this for elements that exchange height and width"
    whole = parts[0][1].new_empty((group.order, *parts[0][1].shape[1:]))
    for positions, part in parts:
        whole[list(positions)] = part
    return whole, ""
