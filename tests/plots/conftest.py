"""Synthetic summary tables: the networks of a small study, with numbers like those of trained ones."""

import sys

import numpy as np
import pandas as pd
import pytest

MODELS = (("p4cnn", 15), ("p4cnn", 16), ("p4cnn", 17), ("z2cnn", 16))
LAYERS = (
    "conv1", "conv2", "pool", "conv3", "conv4", "conv5", "conv6", "conv7", "group_pool", "fc", "(output)",
)  # fmt: skip
ROTATED = {
    ("p4cnn", 15): (0.99, 0.72, 0.43, 0.94),
    ("p4cnn", 16): (0.987, 0.987, 0.987, 0.987),
    ("p4cnn", 17): (0.993, 0.65, 0.475, 0.955),
    ("z2cnn", 16): (0.995, 0.10, 0.41, 0.11),
}


def run(model, size, group="C4"):
    return {"model": model, "input_size": size, "group": group, "epoch": 25, "data": "digits", "regime": "upright"}


def breaking(model, size, depth):
    if model.startswith("z2"):
        return 0.3 + 0.03 * depth
    if size == 16 or depth < 2:
        return 0.0 if depth == 0 else 10.0 ** (-14.5 + 0.1 * depth)
    return (0.09, 0.12, 0.14, 0.10, 0.09, 0.22, 0.25, 0.30, 0.31)[min(depth - 2, 8)] * (1 if size == 15 else 0.8)


def accuracy(seeds=4, step=10):
    rows = []
    for model, size in MODELS:
        quarters = ROTATED[model, size]
        for angle in range(0, 360, step):
            before, after = quarters[angle // 90], quarters[(angle // 90 + 1) % 4]
            part = (angle % 90) / 90
            mean = (1 - part) * before + part * after - 0.22 * np.sin(np.pi * part) * before
            half = 0.01 + 0.05 * (1 - mean)
            rows.append(
                run(model, size)
                | {"angle": angle, "reflected": False, "grid": angle % 90 == 0, "mask": "disc", "fill": 0.0}
                | over_seeds(mean, half, seeds)
            )
    reflected = [row | {"reflected": True, "mean": 0.01} for row in rows[::9]]
    return pd.DataFrame(rows + reflected)


def over_seeds(mean, half, seeds):
    known = seeds > 1
    return {
        "mean": mean, "std": half if known else np.nan, "low": mean - half if known else np.nan,
        "high": min(1, mean + half) if known else np.nan, "n_seeds": seeds,
        "interval": "95% t interval" if known else None,
    }  # fmt: skip


def overview(seeds=4):
    rows = []
    for model, size in MODELS:
        quarters = ROTATED[model, size]
        cells = dict(zip(("0°", "90°", "180°", "270°"), quarters, strict=True))
        cells |= {"mean of quarter turns": np.mean(quarters), "mean of 36 angles": np.mean(quarters) - 0.08}
        rows += [
            run(model, size) | {"metric": metric} | over_seeds(mean, 0.08 * (1.02 - mean), seeds)
            for metric, mean in cells.items()
        ]
    return pd.DataFrame(rows)


def layer_rows(models=MODELS, layers=LAYERS, group="C4", seeds=4, subsampling=("pool",)):
    """(run and layer keys, breaking fraction) of every layer of every network; plain ones have no group pool."""
    for model, size in models:
        own = [layer for layer in layers if layer != "group_pool" or not model.startswith("z2")]
        for depth, layer in enumerate(own):
            keys = run(model, size, group) | {
                "layer": layer, "call": 0, "depth": depth, "kind": "Conv", "subsamples": layer in subsampling,
                "grid": True, "n_seeds": seeds,
            }  # fmt: skip
            yield keys, breaking(model, size, depth)


def equivariance(**chosen):
    rows = []
    for keys, value in layer_rows(**chosen):
        spread = 1.0 if keys["n_seeds"] == 1 else 1.5
        floor = 10.0 ** (-14.3 + 0.1 * keys["depth"])
        values = {"breaking_fraction": value, "lowest": value / spread, "highest": value * spread, "floor": floor}
        rows.append(keys | values)
    return pd.DataFrame(rows)


def spectrum(irreps=("A", "B", "E"), **chosen):
    rows = []
    for keys, value in layer_rows(**chosen):
        shares = np.array([1.0, 4.0, 2.0, 1.0, 3.0][: len(irreps) - 1])
        energies = [1 - value, *(value * shares / shares.sum())]
        rows += [keys | {"irrep": irrep, "energy": energy} for irrep, energy in zip(irreps, energies, strict=True)]
    return pd.DataFrame(rows).drop(columns="grid")


def subgroups(names=("C1", "C2", "C4"), **chosen):
    rows = []
    for keys, value in layer_rows(**chosen):
        for name in names:
            part = {"C1": 0.0, "C2": 0.8, "D1(transpose)": 1e-13}.get(name, 1.0)
            residual = part * value
            survives = pd.NA if keys["depth"] == 1 and name == "C4" else residual < 1e-9
            rows.append(keys | {"subgroup": name, "residual": residual, "survives": survives})
    return pd.DataFrame(rows).drop(columns="grid")


def verdict(seeds=2, wrong=(), **chosen):
    """Trained and untrained rows; those whose (model, size, layer) is in `wrong` disagree with what was measured."""
    rows = []
    for keys, value in layer_rows(**chosen):
        for seed in range(seeds):
            for weights, share in (("trained", 1.0 + 0.2 * seed), ("untrained", 0.5)):
                exact = value < 1e-9
                single, double = (1e-14, 0.0 if keys["depth"] == 0 else 1e-31) if exact else (share * value,) * 2
                plain = keys["model"].startswith("z2")
                agrees = "no" if (keys["model"], keys["input_size"], keys["layer"]) in wrong else "yes"
                answer = {True: "yes", False: "no"}[exact == (agrees == "yes")]
                rows.append(
                    keys
                    | {"run": f"{keys['model']}-{keys['input_size']}-seed{seed}", "seed": seed, "weights": weights}
                    | {"breaking_float32": single, "breaking_float64": double, "exact": "yes" if exact else "no"}
                    | {"surviving": "C4" if exact else "C1", "field": "regular(C4)", "field_source": "declared"}
                    | {"predicted": "unknown" if plain else answer, "agrees": "" if plain else agrees}
                    | {"predicted_surviving": "C4" if answer == "yes" else "C1"}
                )
    return pd.DataFrame(rows)


def exactness(models=("p4cnn", "z2cnn"), sizes=range(11, 26), layers=LAYERS, kept="C1", every=2, remainder=0):
    """Exact where the size leaves `remainder`; elsewhere broken from the layer at two ninths of the depth on."""
    rows = []
    for model in models:
        for size in sizes:
            for depth, layer in enumerate(layers):
                plain = model.startswith("z2")
                exact = (size % every == remainder or depth < 2 * len(layers) / 9) and not plain
                keys = run(model, size) | {"run": f"{model}-seed0", "seed": 0, "layer": layer, "call": 0}
                answer = "unknown" if plain and layer == "fc" else "yes" if exact else "no"
                rows.append(
                    keys
                    | {"depth": depth, "exact": answer, "grid_exact": "yes" if exact else "no"}
                    | {"surviving": "C4" if exact else kept}
                )
    return pd.DataFrame(rows)


@pytest.fixture
def synthetic():
    """This module: its functions make tables of other networks, layers and numbers of seeds."""
    return sys.modules[__name__]


@pytest.fixture
def accuracy_table():
    return accuracy()


@pytest.fixture
def overview_table():
    return overview()


@pytest.fixture
def equivariance_table():
    return equivariance()


@pytest.fixture
def spectrum_table():
    return spectrum()


@pytest.fixture
def subgroups_table():
    return subgroups()


@pytest.fixture
def verdict_table():
    return verdict()


@pytest.fixture
def exactness_table():
    return exactness()
