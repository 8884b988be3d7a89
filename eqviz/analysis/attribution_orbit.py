"""Attributions on the orbit of some images, every one moved back."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from eqviz.analysis.attribution_methods import STEPS, Asked, class_scores, input_methods, predicted
from eqviz.analysis.occlusion_windows import Windows, fitting_windows
from eqviz.errors import EqvizError
from eqviz.fields.field_types import FieldType
from eqviz.fields.grid_action import act_on_grid
from eqviz.fields.orbit import align, orbit
from eqviz.groups.group import Group
from eqviz.groups.group import group as named_group


@dataclass(frozen=True, eq=False)
class OrbitPart:
    """Some elements of the group, and what is asked about the images they moved (element outermost)."""

    positions: tuple[int, ...]
    asked: Asked
    transposed: bool

    def of_elements(self, positions: Collection[int], count: int) -> "OrbitPart":
        """The same for those of its elements that are among `positions`; each of them moved `count` images."""
        kept = [place for place, g in enumerate(self.positions) if g in positions]
        rows = [count * place + image for place in kept for image in range(count)]
        targets = None if self.asked.targets is None else self.asked.targets[rows]
        asked = replace(self.asked, images=self.asked.images[rows], targets=targets)
        return OrbitPart(tuple(self.positions[place] for place in kept), asked, self.transposed)


@dataclass(frozen=True, eq=False)
class ExplainedOrbit:
    """The orbit of a batch of upright images, and the class that is explained on all of it: that of the upright image.

    Images that are not square come in two parts under a group that exchanges height and width.
    """

    group: Group
    targets: Int[Tensor, " image"]
    parts: tuple[OrbitPart, ...]

    @classmethod
    def of(
        cls,
        run: Callable[[Tensor], Any],
        images: Float[Tensor, "image channel height width"],
        group: Group,
        baseline: Float[Tensor, "1 channel height width"],
        batch_size: int,
    ) -> "ExplainedOrbit":
        """Move the images, on the device and in the dtype of the model that `run` runs."""

        def forward(batch: Tensor) -> Tensor:
            return class_scores(run, batch)

        targets = predicted(forward, images, batch_size)
        parts = []
        for moved in orbit(images, group):
            element = group.elements[moved.positions[0]]
            asked = Asked(
                forward, moved.images, targets.repeat(len(moved.positions)), act_on_grid(baseline, element), batch_size
            )
            parts.append(OrbitPart(moved.positions, asked, moved.positions[0] != 0))
        return cls(group, targets, tuple(parts))

    def aligned(self, attributions: Sequence[Tensor], field: FieldType) -> Float[Tensor, "element image ..."]:
        """g^-1 applied to the attribution of g x, for all elements in order; `field` is how they act on it.

        `attributions` are those of the images of each part.
        """
        found: dict[int, Tensor] = {}
        for part, attribution in zip(self.parts, attributions, strict=True):
            elements = [self.group.elements[g] for g in part.positions]
            found.update(zip(part.positions, align(attribution, elements, field), strict=True))
        return torch.stack([found[g] for g in sorted(found)])

    def of_elements(self, positions: Collection[int]) -> "ExplainedOrbit":
        """The same for some elements only."""
        parts = [part.of_elements(positions, len(self.targets)) for part in self.parts]
        return ExplainedOrbit(self.group, self.targets, tuple(part for part in parts if part.positions))


@dataclass(frozen=True, eq=False)
class Instrument:
    """How pixels are explained: the baseline (1, channel, height, width), the steps on the path and the windows."""

    baseline: Tensor
    steps: int
    windows: Windows

    @classmethod
    def fitting(
        cls,
        batches: Sequence[Tensor],
        group: Group,
        baseline: float | Tensor | None = None,
        steps: int = STEPS,
        window: int | None = None,
        stride: int | None = None,
    ) -> "Instrument":
        """One that the group leaves as it is, for batches of images on the model's device; no baseline means black.

        Raises EqvizError for a baseline or windows that the group does not leave as they are, and for steps below 1.
        """
        require_steps(steps)
        height, width = batches[0].shape[-2:]
        windows = fitting_windows(height, width, window, stride)
        start = darkest(batches) if baseline is None else baseline
        return cls(invariant_baseline(batches[0], group, start), steps, windows)

    def explain(self, method: str, part: OrbitPart) -> Float[Tensor, "image channel height width"]:
        """The attribution to pixels of the images of a part, by the method of that name."""
        windows = self.windows.transposed if part.transposed else self.windows
        return input_methods(self.steps, windows)[method](part.asked)


def invariant_baseline(
    images: Float[Tensor, "image channel height width"], group: Group, baseline: float | Tensor
) -> Float[Tensor, "1 channel height width"]:
    """The baseline as an image, from a number, or a tensor (channel, height, width) or (channel, 1, 1).

    Raises EqvizError for another shape, and for an image that an element of the group moves: explanations of x and of
    g x would start from different places.
    """
    shape = tuple(images.shape[1:])
    try:
        whole = torch.as_tensor(baseline, device=images.device, dtype=images.dtype).expand(shape)
    except RuntimeError as error:
        raise EqvizError(
            "baseline", expected=f"a number, or a tensor that can be expanded to {shape}",
            found=f"shape {tuple(torch.as_tensor(baseline).shape)}", fix="give a constant image, such as 0.0",
        ) from error  # fmt: skip
    constant = bool((whole == whole[..., :1, :1]).all())
    for element in group.elements:
        moved = act_on_grid(whole, element)
        if not constant and (moved.shape != whole.shape or not torch.equal(moved, whole)):
            raise EqvizError(
                "baseline", expected="an image that the group leaves as it is", found=f"one that {element} moves",
                fix="give a constant image, such as 0.0",
            )  # fmt: skip
    return whole[None]


def darkest(batches: Sequence[Tensor]) -> Float[Tensor, "channel 1 1"]:
    """The lowest value of each channel over all the images: black, where there is black in them.

    Sundararajan et al. (ICML 2017, section 3) start from the black image for networks of objects.

    >>> darkest([torch.tensor([[[[0.5, 2.0]]]]), torch.tensor([[[[-1.0, 3.0]]]])]).flatten().tolist()
    [-1.0]
    """
    return torch.stack([batch.amin((0, 2, 3)) for batch in batches]).amin(0)[:, None, None]


def require_steps(steps: int) -> None:
    """Raise EqvizError for a path without points."""
    if steps < 1:
        raise EqvizError("steps", expected="at least 1", found=str(steps), fix="choose 32 or so")


def moving_group(name: str | Group) -> Group:
    """The exact subgroup of a group. Raises EqvizError where that moves nothing."""
    G = named_group(name).exact_subgroup
    if G.order == 1:
        raise EqvizError(
            "group", expected="a group that moves the image on its grid", found=str(name), fix="choose another group"
        )
    return G


def ignore(*_: object) -> None:
    """No layer is watched: the context only sets the modes of the model."""
