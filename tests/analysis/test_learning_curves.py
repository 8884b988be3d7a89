import pandas as pd

from eqviz.analysis.learning_curves import MEASURES, learning_curves
from eqviz.tables import SCHEMAS


def metrics(seed, epochs, size=28):
    return pd.DataFrame(
        [
            {"run": f"p4cnn-{size}-seed{seed}", "model": "p4cnn", "input_size": size, "group": "C4", "seed": seed}
            | {"epoch": epoch, "data": "mnist", "regime": "upright", "learning_rate": 0.1, "seconds": 1.0}
            | {"train_loss": seed + 1 / epoch if epoch else float("nan"), "test_accuracy": 0.1 * (seed + epoch)}
            | {"train_accuracy": 0.2 * (seed + epoch) if epoch else float("nan")}
            for epoch in epochs
        ]
    )


def test_over_the_seeds_that_have_a_value_at_an_epoch():
    found = learning_curves(pd.concat([metrics(0, range(4)), metrics(2, range(3)), metrics(0, range(2), size=27)]))
    assert tuple(found.columns) == SCHEMAS["learning_curves"]
    rows = found[found["input_size"] == 28].set_index(["measure", "epoch"])
    values = ["mean", "lowest", "highest", "n_seeds"]
    assert rows.loc[("train_loss", 2), values].tolist() == [1.5, 0.5, 2.5, 2]
    assert rows.loc[("train_loss", 3), values].tolist() == [1 / 3, 1 / 3, 1 / 3, 1]
    assert ("train_loss", 0) not in rows.index
    assert rows.loc[("test_accuracy", 0), "n_seeds"] == 2
    assert set(found["measure"]) == set(MEASURES)
    assert len(found[found["input_size"] == 27]) == 1 + 1 + 2
