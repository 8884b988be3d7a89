"""Float64 and one seed for every test here, and the breaking energy by brute force."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from eqviz.fields.field_types import FieldType, declared
from eqviz.groups.group import Group
from eqviz.groups.irreps import irreps, isotypic_projector


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(2308)
    yield
    torch.set_default_dtype(before)


@dataclass(frozen=True)
class Orbit:
    """Squared norms (|G|,) and pairwise squared distances (|G|, |G|) of an aligned orbit."""

    group: Group
    norms: np.ndarray
    distances: np.ndarray

    @property
    def breaking(self) -> float:
        return float(self.distances.sum() / (2 * self.group.order * self.norms.sum()))

    def residual(self, subgroup: Group) -> float:
        members = self.group.members(subgroup)
        moved = sum(self.distances[g, self.group.compose(h, g)] for g in range(self.group.order) for h in members)
        return float(moved / (2 * len(members) * self.norms.sum()))

    def surviving(self, floor: float = 1e-24) -> set[str]:
        return {H.name for H in self.group.subgroups if self.residual(H) < floor}

    def spectrum(self) -> dict[str, float]:
        projectors = {r.name: isotypic_projector(self.group, r) for r in irreps(self.group) if not r.trivial}
        return {name: float(-np.trace(P @ self.distances) / (2 * self.norms.sum())) for name, P in projectors.items()}


def orbit_of(network: Callable[[Tensor], Tensor], field: FieldType, images: Tensor, group: Group) -> Orbit:
    aligned = []
    with torch.no_grad():
        for element in group.elements:
            moved = torch.rot90(images, element.quarter_turns, (-2, -1))
            moved = moved.flip(-2) if element.reflected else moved
            aligned.append(field.act(network(moved), element.inverse))
    norms = np.array([float((a**2).sum()) for a in aligned])
    distances = np.array([[float(((a - b) ** 2).sum()) for b in aligned] for a in aligned])
    return Orbit(group, norms, distances)


@pytest.fixture
def orbit() -> Callable[..., Orbit]:
    """The orbit of a network's output under its declared type, or of a function under a given one."""

    def measure(
        network: nn.Module | Callable[[Tensor], Tensor], images: Tensor, group: Group, field: FieldType | None = None
    ) -> Orbit:
        if field is None:
            assert isinstance(network, nn.Module)
            field = declared(network)
            assert field is not None
        return orbit_of(network, field, images, group)

    return measure


@pytest.fixture
def outputs() -> Callable[[nn.Module, Tensor], dict[str, Tensor]]:
    """The output of every module in one forward, by name."""

    def collect(network: nn.Module, images: Tensor) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}

        def hook(name: str) -> Callable[..., None]:
            return lambda module, inputs, output: found.__setitem__(name, output.clone())

        handles = [module.register_forward_hook(hook(name)) for name, module in network.named_modules()]
        try:
            with torch.no_grad():
                network(images)
        finally:
            for handle in handles:
                handle.remove()
        return found

    return collect
