"""Prediction against measurement for one random network: which laws it breaks, and the smallest network that does."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch

from eqviz.audit.auditing import Audit, examine
from eqviz.groups.group import Element, Group, group
from tests.audit.measuring import EXACT, Field, Measurement, error, images, measure, orbit_sizes
from tests.audit.random_networks import Network, Recipe, fits
from tests.audit.steps import Shape

DRAWS = 2
LOCAL_IMAGES = 8
PER_AXIS = frozenset({"pad", "crop", "stride", "roll", "flip", "activation", "max_pool", "avg_pool", "taps"})
"""Steps that act on every channel by itself and on each axis by itself, which the audit composes."""


@dataclass(frozen=True)
class Judgement:
    """What is predicted and measured for one recipe."""

    recipe: Recipe
    audit: Audit
    measured: Measurement

    @property
    def group(self) -> Group:
        return group(self.recipe.measured)

    @property
    def predicted(self) -> frozenset[Element]:
        return frozenset(self.audit.surviving.elements)

    @property
    def unknown(self) -> bool:
        return self.audit.exact is None

    @property
    def missed(self) -> frozenset[Element]:
        """Elements measured to survive that are not predicted to."""
        return self.measured.surviving - self.predicted

    @cached_property
    def excluded(self) -> str:
        """The rule by which more may survive than is predicted, if one applies to every such element."""
        if self.measured.dead:
            return "dead"
        reasons = {exclusion(self.recipe, element) for element in self.missed}
        return "" if not reasons or "" in reasons else ", ".join(sorted(reasons))

    @cached_property
    def broken_laws(self) -> list[str]:
        found = []
        if self.measured.unclear:
            found.append(f"measurement is unclear: {self.measured.unclear}")
        if self.audit.exact is True and not self.measured.exact:
            found.append("predicted exact, measured broken")
        if self.predicted - self.measured.surviving:
            found.append("a predicted survivor is measured broken")
        if self.audit.exact is True and self.missed:
            found.append("predicted exact, but not all of the group is predicted to survive")
        if self.missed and not self.unknown and not self.excluded:
            found.append("measured exact, predicted broken" if self.measured.exact else "more survives than predicted")
        return found

    def __str__(self) -> str:
        rows = [
            f"    {o.layer}[{o.call}.{o.index}] {o.op} {o.size} grid {o.grid_exact} fibre {o.fibre_exact} "
            f"exact {o.exact}, keeps {o.surviving}: {o.why}"
            for o in self.audit.operations
        ]
        errors = ", ".join(f"{g} {e:.1e}" for g, e in self.measured.errors.items())
        return "\n".join([
            str(self.recipe), f"  laws broken: {self.broken_laws}",
            f"  predicted: exact {self.audit.exact}, {self.audit.surviving} survives", f"  measured: {errors}", *rows,
        ])  # fmt: skip


def judge(recipe: Recipe) -> Judgement:
    """Audit the first weight draw, and measure all of them."""
    networks = [Network(recipe, draw) for draw in range(DRAWS)]
    audit = examine(networks[0], recipe.size, recipe.measured, channels=recipe.channels)
    measured = measure(networks, recipe.channels, recipe.size, group(recipe.measured), recipe.group)
    return Judgement(recipe, audit, measured)


def exclusion(recipe: Recipe, element: Element) -> str:
    """The rule, if any, by which `element` may survive although it is predicted not to (see test_fuzz)."""
    broken = broken_steps(recipe, element)
    if len(broken) > 1 and any(step.kind not in PER_AXIS for step in recipe.steps[broken[0] : broken[-1] + 1]):
        return "compensation"
    later = range(broken[-1] + 1, len(recipe.steps)) if broken else range(0)
    sides = shapes(recipe)
    if any(recipe.steps[i].kind == "excitation" or min(sides[i].height, sides[i].width) <= 2 for i in later):
        return "reduction"
    return ""


def broken_steps(recipe: Recipe, element: Element) -> list[int]:
    """Which steps by themselves do not commute with the element, on what really enters them (brute force)."""
    network, found = Network(recipe), set()
    for size in orbit_sizes(recipe.size, group(recipe.measured)):
        x = images(LOCAL_IMAGES, recipe.channels, size, seed=5)
        for position, step in enumerate(network.steps.values()):
            try:
                local = error(step, x, element, Field.of(x, recipe.group), recipe.group)
            except RuntimeError:  # refuses the transposed shape
                local = float("inf")
            found |= {position} if local > EXACT else set()
            with torch.no_grad():
                x = step(x.clone())
    return sorted(found)


def shapes(recipe: Recipe) -> list[Shape]:
    """Shapes of what each step gives out."""
    x, found = images(1, recipe.channels, recipe.size, seed=0), []
    for step in Network(recipe).steps.values():
        with torch.no_grad():
            x = step(x)
        found.append(Shape.of(x))
    return found


def shrunk(judgement: Judgement) -> Judgement:
    """The same network without the steps that the failure does not need, as far as leaving out single ones leads."""
    for shorter in _shorter(judgement.recipe):
        if fits(shorter) and (found := judge(shorter)).broken_laws:
            return shrunk(found)
    return judgement


def _shorter(recipe: Recipe) -> Iterator[Recipe]:
    for left_out in reversed(range(len(recipe.steps))):
        if len(recipe.steps) > 1:
            yield replace(recipe, steps=recipe.steps[:left_out] + recipe.steps[left_out + 1 :])


@dataclass
class Tally:
    """Judgements of many networks: the failures, and how many were excluded by which rule or unknown."""

    networks: int = 0
    exact: int = 0
    failures: list[Judgement] = field(default_factory=list)
    unknown: list[int] = field(default_factory=list)
    excluded: dict[str, list[int]] = field(default_factory=dict)

    def add(self, judgement: Judgement) -> None:
        self.networks += 1
        self.exact += judgement.measured.exact
        if judgement.broken_laws:
            self.failures.append(judgement)
        if judgement.unknown:
            self.unknown.append(judgement.recipe.seed)
        if judgement.missed and judgement.excluded:
            self.excluded.setdefault(judgement.excluded, []).append(judgement.recipe.seed)

    def __str__(self) -> str:
        excluded = {rule: len(seeds) for rule, seeds in self.excluded.items()}
        return f"{self.networks} networks, {self.exact} exact, {len(self.unknown)} unknown, excluded {excluded}"
