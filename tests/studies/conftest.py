"""A recipe that trains in a moment, and one finished run of it."""

import copy
import tomllib
from functools import partial
from pathlib import Path

import pytest
import tomli_w
import torch

from eqviz.models.registry import build_model, model_group
from eqviz.studies.recipes import parse_recipe
from eqviz.studies.run_folders import METRIC_COLUMNS, METRICS, weights_name
from eqviz.studies.training import train_recipe
from eqviz.studies.weights import write_weights

TINY = tomllib.loads((Path(__file__).parent / "tiny.toml").read_text())


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tiny():
    """The tiny recipe as a dictionary to change."""
    return copy.deepcopy(TINY)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A folder with the runs of the tiny recipe; not to be changed."""
    folder = tmp_path_factory.mktemp("trained")
    train_recipe(parse_recipe(TINY, "tiny.toml"), folder, device="cpu")
    return folder


@pytest.fixture(scope="session")
def write_run_in():
    """Writes a run folder by hand: random weights, one epoch unless told otherwise, digits as data, some metrics."""

    def write(root, path, model="p4cnn", size=8, seed=0, epochs=(1,), arguments=None, **record):
        arguments = {"in_channels": 1, "classes": 10, "channels": 2} | (arguments or {})
        folder = root / path
        folder.mkdir(parents=True)
        for epoch in epochs:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(1000 * seed + epoch)
                write_weights(folder / weights_name(epoch), build_model(model, **arguments))
        content = {
            "format": 1, "model": model, "arguments": arguments, "input_size": size, "group": model_group(model),
            "seed": seed, "data": {"source": "digits"}, "normalisation": {"mean": [0.3], "std": [0.32]},
        }  # fmt: skip
        (folder / "run.toml").write_text(tomli_w.dumps(content | record))
        rows = [f"{epoch},{1 / (1 + epoch)},0.5,{0.5 + seed / 10},0.01,1.0" for epoch in range(epochs[-1] + 1)]
        (folder / METRICS).write_text("\n".join([",".join(METRIC_COLUMNS), *rows]) + "\n")
        return folder

    return write


@pytest.fixture
def write_run(write_run_in, tmp_path):
    """Writes a run folder below the test's own."""
    return partial(write_run_in, tmp_path)
