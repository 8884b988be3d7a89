import pandas as pd
import pytest

from eqviz.errors import EqvizError
from eqviz.tables import (
    COMPARISON_KEYS,
    LAYER_KEYS,
    MODEL_KEYS,
    RUN_KEYS,
    SCHEMAS,
    columns,
    concatenate,
    conform,
    empty,
    execution_order,
    format_size,
)

RUN = dict(zip(RUN_KEYS, ("a-16-0", "a", 16, "C4", 0, 3, "digits", "upright"), strict=True))


def spectrum(run=RUN, layers=("conv", "pool"), depths=(0, 1), **changes):
    rows = [
        {**run, **changes, "layer": layer, "call": 0, "depth": depth, "irrep": "A", "energy": 1.0}
        for layer, depth in zip(layers, depths, strict=True)
    ]
    return pd.DataFrame(rows)


OF_NETWORKS = (
    "networks",
    "upright_gain",
    "significance",
    "findings",
    "benchmarks",
    "accuracy_by_images",
    "published_comparison",
    "learning_curves",
)


def test_every_table_begins_with_its_keys_and_names_no_column_twice():
    for name, schema in SCHEMAS.items():
        assert len(set(schema)) == len(schema)
        by_network = name.endswith(("summary", "overview")) or name in OF_NETWORKS
        keys = COMPARISON_KEYS if name == "comparisons" else MODEL_KEYS if by_network else RUN_KEYS
        keys = (*keys, "weights") if name == "verdict" else keys  # trained networks and untrained twins in one table
        keys = (*keys, "mask") if name.startswith("stage_errors") else keys
        assert schema[: len(keys)] == keys
        if "layer" in schema and name != "skipped_layers":  # which never ran, or never alike
            assert schema[len(keys) : len(keys) + 3] == LAYER_KEYS
        assert empty(name).columns.tolist() == list(schema)
        assert len(empty(name)) == 0


def test_unknown_tables_are_refused():
    for refused in (columns, empty, lambda name: conform(pd.DataFrame(), name)):
        with pytest.raises(EqvizError, match=r"one of runs, accuracy, .*'specter'"):
            refused("specter")


def test_conform_orders_columns_and_layers_and_drops_the_rest():
    table = spectrum(layers=("pool", "conv"), depths=(1, 0)).assign(more=1)
    found = conform(table[sorted(table.columns)], "spectrum")
    assert tuple(found.columns) == SCHEMAS["spectrum"]
    assert found["layer"].cat.ordered
    assert found["layer"].cat.categories.tolist() == ["conv", "pool"]
    assert found["layer"].tolist() == ["pool", "conv"]
    assert found.attrs["table"] == "spectrum"
    assert "more" in table
    assert table["layer"].dtype != found["layer"].dtype


def test_conform_names_what_is_missing():
    with pytest.raises(EqvizError, match="found a table without irrep, energy;") as caught:
        conform(spectrum().drop(columns=["energy", "irrep"]), "spectrum")
    assert "\n" not in str(caught.value)


def test_networks_of_different_depth_share_one_order():
    deep = spectrum(layers=("conv", "extra", "pool"), depths=(0, 1, 2))
    shallow = spectrum(layers=("conv", "pool"), depths=(0, 1))
    assert execution_order(pd.concat([shallow, deep])) == ["conv", "extra", "pool"]


def test_a_module_that_runs_twice_stands_where_its_calls_are_on_average():
    table = spectrum(layers=("relu", "conv", "relu"), depths=(0, 1, 3))
    assert execution_order(table) == ["conv", "relu"]


def test_concatenate_joins_layers_of_different_networks():
    parts = [conform(spectrum(), "spectrum"), conform(spectrum(layers=("conv", "fc"), depths=(0, 2)), "spectrum")]
    found = concatenate(parts, "spectrum")
    assert found["layer"].tolist() == ["conv", "pool", "conv", "fc"]
    assert found["layer"].cat.categories.tolist() == ["conv", "pool", "fc"]
    assert found.index.tolist() == [0, 1, 2, 3]


def test_sizes_are_numbers_unless_one_is_not_square():
    square = concatenate([spectrum(), spectrum(input_size=9)], "spectrum")
    assert square["input_size"].tolist() == [16, 16, 9, 9]
    assert square["input_size"].dtype.kind == "i"
    mixed = concatenate([spectrum(), spectrum(input_size="8x9")], "spectrum")
    assert mixed["input_size"].tolist() == ["16", "16", "8x9", "8x9"]


def test_concatenate_of_nothing_is_an_empty_table():
    for parts in ([], [empty("spectrum")], iter([empty("spectrum")])):
        found = concatenate(parts, "spectrum")
        assert tuple(found.columns) == SCHEMAS["spectrum"]
        assert len(found) == 0
    assert len(concatenate([empty("spectrum"), spectrum()], "spectrum")) == 2


@pytest.mark.parametrize(("size", "shown"), [((28, 28), 28), ((28, 32), "28x32"), ([9, 8], "9x8")])
def test_sizes_as_tables_show_them(size, shown):
    assert format_size(size) == shown
