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


def test_the_pool_is_the_top_culprit_of_every_approximate_network_and_exact_ones_have_none(runs):
    table = runs.local_defect().query("model == 'p4cnn'")
    culprits = table[table["rank"] == 1].set_index("run")["layer"].astype(str).to_dict()
    approximate = {run.name for run in runs if run.model == "p4cnn" and run.input_size[0] != 16}
    assert culprits == dict.fromkeys(approximate, "pool")
    assert table.query("input_size == 16")["exact"].tolist() == ["yes"] * len(table.query("input_size == 16"))


@pytest.mark.parametrize("size", [15, 17])
def test_the_symmetric_component_after_the_pool_restores_rotated_accuracy(runs, size):
    table = runs.patching().query("model == 'p4cnn' and input_size == @size and scale == 0")
    after = table[table["layer"].isin(AFTER_POOL)]
    assert after["cut"].all()
    assert (after["gain_rotated"] >= 0.05).all()
    assert (after["consistency"] == 1).all()
    before = table[table["layer"].isin(BEFORE_POOL)]
    assert (before["gain_rotated"].abs() <= 1 / before["n"]).all()  # at most one image on the edge of two classes


def test_patching_changes_nothing_in_exact_networks(runs):
    table = runs.patching().query("model == 'p4cnn' and input_size == 16 and scale == 0")
    assert (table["gain_rotated"].abs() <= 1 / table["n"]).all()


def test_orientation_can_be_read_from_the_invariant_layer_of_approximate_networks_only(runs):
    table = runs.probes().query("layer == 'coset_pool' and target == 'element' and component == 'breaking'")
    read = table[(table["model"] == "p4cnn") & (table["frame"] == "aligned")].set_index("input_size")
    exact, approximate = read.loc[[16]], read.drop(16)
    assert (exact["accuracy"] == exact["chance"]).all()
    assert (approximate["accuracy"] > approximate["baseline_high"]).all()
    assert (approximate["p_value"] <= 0.05).all()


def test_explanations_of_exact_networks_turn_with_the_image(runs):
    table = runs.attribution().query("model == 'p4cnn' and layer == '(input)'")
    exact = table[table["input_size"] == 16].set_index("method")
    assert (exact.loc[["integrated_gradients"], "cosine"] > 0.999).all()
    # tied maxima of the pool send the gradient to the first of them
    assert (exact.loc[["saliency"], "cosine"] > 0.98).all()
    assert (exact["tied_windows_with_gradient"] > 0).all()
    assert (table[table["input_size"] != 16].query("method == 'saliency'")["cosine"] < 0.9).all()
