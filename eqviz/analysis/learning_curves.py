"""Loss and accuracy while a network learns, as its runs recorded them, over seeds."""

import pandas as pd

from eqviz.tables import MODEL_KEYS, RUN_KEYS, conform

MEASURES = ("train_loss", "train_accuracy", "test_accuracy")
"""The loss in nats and two fractions; those of training are means over the batches of an epoch."""


def learning_curves(metrics: pd.DataFrame) -> pd.DataFrame:
    """The table `learning_curves`: a row a network, epoch and measure, over seeds.

    `metrics` has RUN_KEYS and the columns `MEASURES`, a row a run and epoch (epoch 0 is the untrained network, of which
    only the accuracy on test images is known). `mean`, `lowest` and `highest` are over the seeds that have a value at
    that epoch, `n_seeds` counts these; runs may have stopped at different epochs. Accuracies are of upright images.

    >>> run = dict(run="a", model="p4cnn", input_size=28, group="C4", seed=0, epoch=1, data="mnist", regime="upright")
    >>> rows = [dict(run, seed=s, train_loss=l, train_accuracy=0.9, test_accuracy=0.9) for s, l in ((0, 0.2), (1, 0.4))]
    >>> learning_curves(pd.DataFrame(rows))[["measure", "lowest", "highest"]].to_numpy().tolist()[0]
    ['train_loss', 0.2, 0.4]
    """
    long = metrics.melt(list(RUN_KEYS), list(MEASURES), var_name="measure", value_name="value").dropna(subset="value")
    grouped = long.groupby([*MODEL_KEYS, "measure"], sort=False, observed=True, dropna=False)["value"]
    summary = grouped.agg(mean="mean", lowest="min", highest="max", n_seeds="count").reset_index()
    return conform(summary, "learning_curves")
