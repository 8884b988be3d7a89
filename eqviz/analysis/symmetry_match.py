"""Does the symmetry of the network match that of its data? The AUC of the data beside what each run breaks."""

import pandas as pd

from eqviz.analysis.data_symmetry import RANDOM
from eqviz.analysis.network_values import output_and_last_map, upright_and_rotated
from eqviz.tables import RUN_KEYS, concatenate

_DATA = ("auc", "low", "high", "highest")


def symmetry_match(data_symmetry: pd.DataFrame, equivariance: pd.DataFrame, accuracy: pd.DataFrame) -> pd.DataFrame:
    """The table `symmetry_match`: one row a run and epoch, the AUC of its data beside what the network breaks.

    Takes the tables `data_symmetry`, `equivariance` and `accuracy` of the same runs. `auc`, `low`, `high`, `highest`:
    all training images against their copies moved by random elements of the group. `breaking_fraction`, `floor`: at
    the output; `map_breaking_fraction`, `map_floor`: at `map_layer`, the last convolution. `accuracy_upright` is at 0
    degrees, `accuracy_rotated` the mean over the other quarter turns. What a run lacks is missing; runs that are not
    in `data_symmetry` have no row.

    A network that is only approximately equivariant can give up its symmetry where the data do not have it (Edixhoven,
    Lengyel, van Gemert 2023): one expects little breaking at an AUC near 0.5 and more where it is high.
    """
    whole = data_symmetry[(data_symmetry["label"] == "") & (data_symmetry["element"] == RANDOM)]
    data = whole[["run", *_DATA]].drop_duplicates("run")
    output, maps = output_and_last_map(equivariance)
    named = {"layer": "map_layer", "breaking_fraction": "map_breaking_fraction", "floor": "map_floor"}
    keys = list(RUN_KEYS)
    joined = (
        pd.concat([output[keys], maps[keys]])
        .drop_duplicates()
        .merge(output.drop(columns="layer"), on=keys, how="left")
        .merge(maps.rename(columns=named), on=keys, how="left")
        .merge(upright_and_rotated(accuracy), on=keys, how="left")
        .merge(data, on="run", how="inner")  # the data's group may be the exact part of the network's
    )
    return concatenate([joined.fillna({"map_layer": ""})], "symmetry_match")
