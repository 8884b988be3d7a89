"""What the demo must show, held against freshly trained networks: `pytest -m slow tests/test_demo_claims.py`."""

import pytest

from eqviz.studies.recipes import demo_recipe
from eqviz.studies.runs import open_runs
from eqviz.studies.training import train_recipe

pytestmark = pytest.mark.slow

AFTER_POOL = ["pool", "conv3", "conv4", "conv5", "conv6", "conv7", "global_pool", "coset_pool", "(output)"]
BEFORE_POOL = ["conv1", "bn1", "conv2", "bn2"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    train_recipe(demo_recipe(), folder, device="cpu", jobs=2)
    return open_runs(folder, device="cpu")


@pytest.fixture(scope="module")
def accuracy(runs):
    """Accuracy by (model, size), angle and seed, exact angles only."""
    table = runs.accuracy().query("grid and not reflected")
    return {
        key: part.pivot_table(index="seed", columns="angle", values="accuracy")
        for key, part in table.groupby(["model", "input_size"])
    }


def test_there_are_at_least_two_seeds(accuracy):
    assert len(accuracy) == 4
    assert min(len(table) for table in accuracy.values()) >= 2


def test_exact_networks_are_equally_accurate_at_the_quarter_turns_to_the_last_digit(accuracy):
    exact = accuracy["p4cnn", 16]
    assert (exact.nunique(axis=1) == 1).all()


@pytest.mark.parametrize("size", [15, 17])
def test_approximate_networks_match_upright_and_lose_rotated(accuracy, size):
    exact, approximate = accuracy["p4cnn", 16].mean(), accuracy["p4cnn", size].mean()
    assert approximate[0] >= exact[0] - 0.01
    lost_at_90, lost_at_180 = approximate[0] - approximate[90], approximate[0] - approximate[180]
    assert lost_at_90 >= 0.15
    assert lost_at_180 > lost_at_90


def test_exact_networks_break_nowhere(runs):
    table = runs.equivariance().query("model == 'p4cnn' and input_size == 16")
    assert (table["breaking_fraction"] < 1e-10).all()
    assert runs.networks().query("model == 'p4cnn' and input_size == 16")["exact"].tolist() == ["yes"]


@pytest.mark.parametrize("size", [15, 17])
def test_approximate_networks_break_from_the_pool_on(runs, size):
    table = runs.equivariance().query("model == 'p4cnn' and input_size == @size")
    assert (table[table["layer"].isin(AFTER_POOL)]["breaking_fraction"] > 1e-3).all()
    before = table[table["layer"].isin(BEFORE_POOL)]
    # two roundings of the same order: the measured fraction and the floor, each over its own images
    assert (before["breaking_fraction"] < 10 * before["floor"]).all()
    assert runs.networks().query("model == 'p4cnn' and input_size == @size")["first_broken"].tolist() == ["pool"]


def test_the_plain_network_breaks_at_once(runs):
    assert runs.networks().query("model == 'z2cnn'")["first_broken"].tolist() == ["conv1"]
