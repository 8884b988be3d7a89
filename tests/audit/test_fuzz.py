"""Many random networks, each predicted and then measured by brute force in float64: what `audit` says must hold.

Laws, for a network and a group:
1. predicted exact, then measured exact in every weight draw;
2. measured exact in every draw, then not predicted broken ("unknown" is allowed, and counted);
3. the subgroup predicted to survive is among the elements measured to survive, always;
4. and is all of them, where nothing is unknown.

Laws 2 and 4 do not cover, and these are the only exclusions (they are counted, and bounded below):
- dead: the output does not depend on the image at all (a ReLU that lets nothing pass);
- compensation: two steps or more break the element, each by itself, and something stands among them that mixes
  channels or both axes, so that the audit does not compose them (a flip, a convolution, the flip back);
- reduction: every step that breaks the element comes before one that subtracts or multiplies by a reduction of rows,
  columns or maps, or leaves at most two positions along an axis (or none): there, what was moved or added can be lost
  (a roll before a mean; a zero border before a maximum of positive numbers; a linear layer that adds all up).
"""

import pytest

from tests.audit.laws import Judgement, Tally, judge, shrunk
from tests.audit.random_networks import draw_recipe

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")  # torch tells that even kernels cost a copy
QUICK, CHUNK, CHUNKS = 20, 100, 7
MOST_UNKNOWN, MOST_EXCLUDED = 0.05, 0.05
"""Largest shares of a hundred networks."""


def run(seeds: range, **limits: int) -> Tally:
    tally = Tally()
    for seed in seeds:
        tally.add(judge(draw_recipe(seed, **limits)))
    return tally


def explain(failures: list[Judgement]) -> str:
    """The first failures, each shrunk to the fewest steps that still fail."""
    texts = [f"{shrunk(failure)}\n  shrunk from {failure.recipe}" for failure in failures[:5]]
    return "\n\n".join([f"{len(failures)} networks fail: {[f.recipe.seed for f in failures]}", *texts])


@pytest.mark.parametrize("part", range(3))
def test_small_random_networks(part):
    tally = run(range(part * QUICK, (part + 1) * QUICK), largest=12, most_steps=5)
    assert not tally.failures, explain(tally.failures)
    assert tally.exact > QUICK / 4, tally  # the laws say little of networks that are broken or unknown
    assert len(tally.unknown) <= MOST_UNKNOWN * QUICK, tally


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_random_networks(chunk):
    tally = run(range(1000 + chunk * CHUNK, 1000 + (chunk + 1) * CHUNK))
    assert not tally.failures, explain(tally.failures)
    assert tally.exact > CHUNK / 4, tally  # the fuzz would say little if nearly all were broken
    assert len(tally.unknown) <= MOST_UNKNOWN * CHUNK, tally
    assert sum(map(len, tally.excluded.values())) <= MOST_EXCLUDED * CHUNK, tally
