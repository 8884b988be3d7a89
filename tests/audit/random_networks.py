"""Random networks of one to six operations: a recipe that can be read, drawn from a seed, and its network.

Three families: `group` (group convolutions; maps with a group axis), `symmetric` (ordinary convolutions whose kernels
are symmetrised over the group) and `plain` (ordinary convolutions, which break every symmetry by their weights).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from random import Random

import torch
from torch import Tensor, nn

from eqviz.fields.field_types import FieldType, Image, Invariant, Regular, declare
from eqviz.groups.group import Group, group
from tests.audit import memory_steps as memory
from tests.audit import pointwise_steps as pointwise
from tests.audit import steps
from tests.audit import window_steps as windows
from tests.audit.measuring import Field, exact_elements, orbit_sizes
from tests.audit.steps import Arguments, Setting, Shape, Step

LARGEST, SMALLEST_IMAGE = 44, 7
Draw = Callable[[Random, Setting, Shape], Arguments]
Build = Callable[[Setting, Shape, Arguments], nn.Module]

KINDS: dict[str, tuple[int, Draw, Build]] = {  # kind: how often, its arguments, the module
    "convolution": (8, steps.draw_convolution, steps.build_convolution),
    "transposed": (3, steps.draw_transposed, steps.build_transposed),
    "im2col": (2, steps.draw_im2col, steps.build_im2col),
    "max_pool": (3, windows.draw_max_pool, windows.build_max_pool),
    "avg_pool": (3, windows.draw_avg_pool, windows.build_avg_pool),
    "lp_pool": (2, windows.draw_lp_pool, windows.build_lp_pool),
    "taps": (2, windows.draw_taps, windows.build_taps),
    "adaptive": (2, windows.draw_adaptive, windows.build_adaptive),
    "interpolation": (4, windows.draw_interpolation, windows.build_interpolation),
    "pad": (4, windows.draw_pad, windows.build_pad),
    "crop": (3, windows.draw_crop, windows.build_crop),
    "stride": (3, windows.draw_stride, windows.build_stride),
    "roll": (1, windows.draw_roll, windows.build_roll),
    "flip": (1, windows.draw_flip, windows.build_flip),
    "shuffle": (1, windows.draw_shuffle, windows.build_shuffle),
    "unshuffle": (1, windows.draw_shuffle, windows.build_unshuffle),
    "add": (2, pointwise.draw_term, pointwise.build_add),
    "multiply": (2, pointwise.draw_term, pointwise.build_multiply),
    "excitation": (3, pointwise.draw_excitation, pointwise.build_excitation),
    "normalisation": (4, pointwise.draw_normalisation, pointwise.build_normalisation),
    "activation": (8, pointwise.draw_activation, pointwise.build_activation),
    "attention": (2, memory.draw_attention, memory.build_attention),
    "written": (2, memory.draw_written, memory.build_written),
    "beside": (1, memory.draw_beside, memory.build_beside),
    "mixing": (1, pointwise.draw_nothing, pointwise.build_mixing),
    "branches": (5, None, None),  # type: ignore[dict-item]  # drawn and built below: made of steps
    "coset_max": (1, pointwise.draw_nothing, pointwise.build_coset_max),
    "reduction": (2, pointwise.draw_reduction, pointwise.build_reduction),
    "flatten": (1, pointwise.draw_flatten, pointwise.build_flatten),
    "linear": (1, pointwise.draw_linear, pointwise.build_linear),
    "lifting": (0, steps.draw_lifting, steps.build_lifting),
}
SPACELESS = ("activation", "coset_max", "linear")
"""What may still come after space is gone."""
ENDS = ("coset_max", "reduction", "flatten", "linear", "mixing")
"""What may not come before the lifting convolution."""
CUTS = ("pad", "crop", "stride", "roll", "flip", "activation")
"""What moves and cuts space and does nothing else, or nothing to space."""
IN_BRANCHES = (
    "convolution",
    "max_pool",
    "avg_pool",
    "normalisation",
    "activation",
    "stride",
    "flip",
    "roll",
    "excitation",
)


@dataclass(frozen=True)
class Recipe:
    """What a random network is: its text can be read, and `Network(recipe, draw)` builds it again."""

    seed: int
    family: str
    group: str
    measured: str
    size: tuple[int, int]
    channels: int
    steps: tuple[Step, ...]
    copied: bool = True
    declared: bool = True

    @property
    def setting(self) -> Setting:
        return Setting(self.family, group(self.group), self.copied)

    def __str__(self) -> str:
        head = (
            f"recipe {self.seed}: {self.family} network of {self.group} on {self.channels}x{self.size[0]}x"
            f"{self.size[1]}, measured by {self.measured}, {'declared' if self.declared else 'undeclared'}"
        )
        return "\n".join([head, *(f"  {i}: {step}" for i, step in enumerate(self.steps))])


@contextmanager
def double() -> Iterator[None]:
    """float64 from the start, so that a filter symmetrised by a mean is symmetric to that rounding."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


class Network(nn.Module):
    """The network of a recipe in float64, with the weights of this draw; it declares the field type of its output.

    Raises RuntimeError, ValueError or TypeError (torch's) where a step does not fit its input.
    """

    def __init__(self, recipe: Recipe, draw: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(), double():
            torch.manual_seed(1000 * recipe.seed + draw)
            x = torch.zeros(1, recipe.channels, *recipe.size)
            built, x = build_steps(recipe.setting, recipe.steps, x, declared=recipe.declared)
        self.steps = nn.ModuleDict(
            {f"{i}_{step.kind}": module for i, (step, module) in enumerate(zip(recipe.steps, built, strict=True))}
        )
        declare(self.eval(), field_of(recipe.setting.group, x))

    def forward(self, x: Tensor) -> Tensor:
        for step in self.steps.values():
            x = step(x)
        return x


def field_of(G: Group, x: Tensor) -> FieldType:
    """By its axes: regular with a group axis, image with space, invariant without either."""
    if x.dim() in (3, 5):
        return Regular(G)
    return Image() if x.dim() == 4 else Invariant()


def build_steps(
    setting: Setting, wanted: tuple[Step, ...] | list[Step], x: Tensor, *, declared: bool = False
) -> tuple[list[nn.Module], Tensor]:
    """The modules of steps on an input like `x`, one image of zeros, and what they make of it."""
    built = []
    for step in wanted:
        shape = Shape.of(x)
        module = _branches(setting, step, x) if step.kind == "branches" else _one(setting, step, shape)
        with torch.no_grad():
            x = module.eval()(x.clone())
        if 0 in x.shape or max(x.shape[-2:]) > LARGEST or x[0].numel() > LARGEST**2 * 16:
            raise ValueError(f"{step} makes {tuple(x.shape)}")
        built.append(declare(module, field_of(setting.group, x)) if declared else module)
    return built, x


def _one(setting: Setting, step: Step, shape: Shape) -> nn.Module:
    if not shape.height and step.kind not in SPACELESS:
        raise ValueError(f"{step} needs space")
    if step.kind == "coset_max" and shape.fibre == 1:
        raise ValueError("no group axis left")
    if step.kind == "linear" and shape.height:
        raise ValueError("space is still there")
    return KINDS[step.kind][2](setting, shape, step.arguments)


def _branches(setting: Setting, step: Step, x: Tensor) -> nn.Module:
    if x.dim() < 4:
        raise ValueError(f"{step} needs space")
    lanes = [build_steps(setting, step.arguments[name], x)[0] for name in ("one", "other")]
    return pointwise.Branches(lanes, pointwise.JOINS[step.arguments["join"]])


# --- drawing --------------------------------------------------------------------------------------------------------


def draw_recipe(seed: int, *, largest: int = 40, most_steps: int = 6) -> Recipe:
    """The recipe of this seed.

    Some avoid steps that break by themselves, some have one such step; some mostly cut, pad and move, so that misfits
    meet and may compensate.
    """
    rng = Random(seed)
    family = rng.choice(["group", "group", "symmetric", "symmetric", "symmetric", "plain"])
    G = rng.choice(["C4", "C4", "D4"])
    size, measured = _size_and_group(rng, family, G, largest)
    recipe = Recipe(seed, family, G, measured, size, rng.choice([1, 2]), (), rng.random() < 0.5, rng.random() < 0.5)
    count, mood = rng.randint(1, most_steps), rng.choice(["wild", "tame", "one", "cuts"])
    wild = range(count) if mood in ("wild", "cuts") else [rng.randrange(count)] * (mood == "one")
    lifted_at = -1 if family != "group" else rng.choice([0, 0, 0, 1]) if count > 1 else 0
    while len(recipe.steps) < count:
        kinds = ["lifting"] if len(recipe.steps) == lifted_at else _kinds(recipe)
        kinds = [*CUTS] if mood == "cuts" and len(recipe.steps) != lifted_at and rng.random() < 0.8 else kinds
        longer = _extended(rng, recipe, kinds, tame=len(recipe.steps) not in wild)
        if longer is recipe:
            break
        recipe = longer
    return recipe


def _kinds(recipe: Recipe) -> list[str]:
    """What may come next: no lifting, no end of space before it, no unsymmetric mixing in symmetric networks."""
    unlifted = recipe.family == "group" and all(step.kind != "lifting" for step in recipe.steps)
    left_out = {"lifting"} | ({"mixing"} if recipe.family == "symmetric" else set())
    return [kind for kind in KINDS if kind not in left_out | (set(ENDS) if unlifted else set())]


def _size_and_group(rng: Random, family: str, G: str, largest: int) -> tuple[tuple[int, int], str]:
    height, width = rng.randint(SMALLEST_IMAGE, largest), rng.randint(SMALLEST_IMAGE, largest)
    if rng.random() < 0.65:
        measured = rng.choice([G] * 8 + ["D4" if family != "group" else G] + ["D2(axes)"] * (G == "D4"))
        return (height, height), measured
    keeping = ["C2"] if G == "C4" else ["D2(axes)", "D1(left-right)", "D1(up-down)", "C2"]
    return (height, width), rng.choice([*keeping, G, G] if G == "C4" else [*keeping, *[G] * 3])


def _extended(rng: Random, recipe: Recipe, kinds: list[str], *, tame: bool) -> Recipe:
    """The recipe with one more step that fits (after up to 40 trials), preferably an exact one if it is to be tame."""
    last = recipe
    for _ in range(40):
        step = _draw_step(rng, recipe, kinds)
        longer = replace(recipe, steps=(*recipe.steps, step)) if step else recipe
        if longer is recipe or not fits(longer):
            continue
        if not tame or _last_step_is_exact(longer):
            return longer
        last = longer if rng.random() < 0.03 else last
    return last


def _draw_step(rng: Random, recipe: Recipe, kinds: list[str]) -> Step | None:
    with double():
        _, x = build_steps(recipe.setting, recipe.steps, torch.zeros(1, recipe.channels, *recipe.size))
    shape = Shape.of(x)
    usable = [kind for kind in kinds if shape.height or kind in SPACELESS]
    kind = rng.choices(usable, [max(KINDS[kind][0], 1) for kind in usable])[0]
    if kind == "branches":
        return _draw_branches(rng, recipe.setting, shape)
    return Step(kind, KINDS[kind][1](rng, recipe.setting, shape))


def _draw_branches(rng: Random, setting: Setting, shape: Shape) -> Step:
    """Residual sums, concatenations and gates; half of the time with a branch that keeps the size for certain."""
    k, stride = rng.choice([1, 3, 5]), rng.choice([1, 1, 2])
    fitting = {"kernel": k, "stride": stride, "padding": k // 2, "dilation": 1, "mode": "zeros", "depthwise": False,
               "out": shape.channels, "bias": "shared", "how": rng.choice(["layer", "module"])}  # fmt: skip
    one = [Step("convolution", fitting)]
    other = [] if stride == 1 else [rng.choice([
        Step("stride", {"steps": (2, 2), "starts": (0, 0)}),
        Step("convolution", {**fitting, "kernel": 1, "padding": 0}),
        Step("avg_pool", {"kernel": 2, "stride": 2, "padding": 0, "ceil": True, "count": False, "divisor": None,
                          "how": "call"}),
    ])]  # fmt: skip
    if rng.random() < 0.5:
        kind = rng.choice(IN_BRANCHES)
        one = [Step(kind, KINDS[kind][1](rng, setting, shape))]
    if rng.random() < 0.5:
        one.append(Step("activation", {"name": "tanh", "inplace": False}))
    return Step("branches", {"join": rng.choice(["sum", "sum", "concatenate", "product"]), "one": one, "other": other})


def fits(recipe: Recipe) -> bool:
    """Whether it can be built and runs, also on the transposed size if an element of the measured group transposes."""
    try:
        network = Network(recipe)
        for size in orbit_sizes(recipe.size, group(recipe.measured)):
            with torch.no_grad():
                found = network(torch.zeros(1, recipe.channels, *size, dtype=torch.float64))
            if 0 in found.shape:
                return False
    except (RuntimeError, ValueError, TypeError):
        return False
    return True


def _last_step_is_exact(recipe: Recipe) -> bool:
    """Whether the last step by itself commutes with the measured group, on a few random inputs (brute force)."""
    network, G = Network(recipe), group(recipe.measured)
    x = torch.randn(4, recipe.channels, *recipe.size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    *before, last = network.steps.values()
    with torch.no_grad():
        for step in before:
            x = step(x)
    field = Field.of(x, recipe.group)
    return len(exact_elements(last, x, G, field, recipe.group)) == G.order
