"""Letters: two networks share one exactly if they do not differ. Words: what a caption has to say."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eqviz.analysis.comparisons import comparisons
from eqviz.analysis.significance import letters, significance, significance_by_metric, significance_caption
from eqviz.tables import columns


def table(values, angle=0.0, epoch=5):
    rows = []
    for (model, size), scores in values.items():
        for seed, score in enumerate(scores):
            keys = {"run": f"{model}-{size}-{seed}", "model": model, "input_size": size, "group": "C4", "seed": seed}
            keys |= {"epoch": epoch, "data": "digits", "regime": "upright"}
            rows.append(
                keys
                | {"angle": angle, "reflected": False, "grid": True, "mask": False, "fill": 0.0}
                | {"accuracy": float(score), "balanced_accuracy": float(score), "n": 100}
            )
    return pd.DataFrame(rows)


def places(n):
    return [(f"m{place}", "16") for place in range(n)]


@st.composite
def relations(draw):
    names = places(draw(st.integers(1, 8)))
    pairs = list(combinations(names, 2))
    return names, [pair for pair in pairs if draw(st.booleans())]


@given(relations())
@settings(max_examples=300, deadline=None)
def test_two_share_a_letter_exactly_if_they_do_not_differ(given_):
    names, different = given_
    found = letters(names, different)
    assert all(found[name] for name in names)
    for a, b in combinations(names, 2):
        assert bool(set(found[a]) & set(found[b])) == ((a, b) not in different)
    # no letter says what another one says already
    columns_of = [{name for name in names if letter in found[name]} for letter in sorted(set("".join(found.values())))]
    assert not any(one < other for one in columns_of for other in columns_of)


def test_the_order_of_pairs_does_not_matter_for_who_shares():
    names = places(4)
    different = [(names[0], names[2]), (names[0], names[3]), (names[1], names[3])]
    for order in (different, different[::-1]):
        assert letters(names, order) == dict(zip(names, ("a", "ab", "bc", "c"), strict=True))


def test_the_example_of_the_paper():
    """Piepho 2004, example 3: eight treatments, five pairs that differ."""
    names = [(f"T{n}", "") for n in range(1, 9)]
    pairs = [(1, 7), (1, 8), (2, 4), (2, 5), (3, 5)]
    found = letters(names, [(names[a - 1], names[b - 1]) for a, b in pairs])
    for a, b in combinations(range(1, 9), 2):
        assert bool(set(found[names[a - 1]]) & set(found[names[b - 1]])) == ((a, b) not in pairs)


def test_all_alike_all_different_and_nobody():
    names = places(30)
    assert set(letters(names, []).values()) == {"a"}
    assert list(letters(names, list(combinations(names, 2))).values()) == list("abcdefghijklmnopqrstuvwxyzABCD")
    assert letters([], []) == {}


SPREAD = np.array([-0.01, -0.005, 0.0, 0.004, 0.011])
FAR = {
    ("p4cnn", 15): 0.75 + SPREAD,
    ("p4cnn", 16): 0.98 + SPREAD,
    ("p4cnn", 18): 0.979 + SPREAD[::-1],
    ("z2cnn", 16): 0.10 + SPREAD,
}


def made(values, **options):
    accuracy = table(values)
    return significance(accuracy, comparisons(accuracy), **options)


def test_letters_follow_the_adjusted_p_values():
    found = made(FAR)
    assert tuple(found.columns) == columns("significance")
    letters_of = {(row.model, row.input_size): row.letters for row in found.itertuples()}
    assert letters_of == {("p4cnn", 16): "a", ("p4cnn", 18): "a", ("p4cnn", 15): "b", ("z2cnn", 16): "c"}
    row = found[(found["model"] == "p4cnn") & (found["input_size"] == 15)].iloc[0]
    scores = FAR["p4cnn", 15]
    assert row["mean"] == pytest.approx(scores.mean())
    assert row["std"] == pytest.approx(scores.std(ddof=1))
    assert row["text"] == f"{100 * scores.mean():.1f} ± {100 * scores.std(ddof=1):.1f} b"
    assert set(made(FAR, alpha=1e-300)["letters"]) == {"a"}


def test_fewer_than_three_seeds_have_no_letters():
    few = FAR | {("z2cnn", 16): [0.1, 0.1001], ("mine", 16): [0.5]}
    found = made(few).set_index(["model", "input_size"])
    assert found["letters"].to_dict() == {
        ("p4cnn", 15): "b", ("p4cnn", 16): "a", ("p4cnn", 18): "a", ("z2cnn", 16): "", ("mine", 16): "",
    }  # fmt: skip
    assert found.loc[("z2cnn", 16), "text"] == "10.0 ± 0.0"
    assert found.loc[("mine", 16), "text"] == "50.0"


def test_metrics_and_epochs_have_letters_of_their_own():
    swapped = dict(zip(FAR, [FAR[key] for key in reversed(FAR)], strict=True))
    accuracy = pd.concat([table(FAR), table(swapped, angle=90.0), table(swapped, epoch=9)])
    found = significance(accuracy, comparisons(accuracy))
    of_plain = found[found["model"] == "z2cnn"].set_index(["epoch", "metric"])["letters"].to_dict()
    assert of_plain == {
        (5, "accuracy at 0 degrees"): "c", (5, "accuracy at 90 degrees"): "b", (9, "accuracy at 0 degrees"): "b",
    }  # fmt: skip
    wide = significance_by_metric(found)
    assert wide.columns.tolist()[-2:] == ["accuracy at 0 degrees", "accuracy at 90 degrees"]
    assert len(wide) == 8
    assert wide[wide["epoch"] == 9]["accuracy at 90 degrees"].isna().all()


def test_captions_say_the_seeds_the_test_and_what_letters_mean():
    words = significance_caption(made(FAR))
    for part in ("over 5 seeds", "share a letter", "Welch", "Holm", "level 0.05"):
        assert part in words
    assert "fewer than 3" not in words
    mixed = significance_caption(made(FAR | {("mine", 16): [0.5]}))
    assert "1 to 5 seeds" in mixed
    assert "Networks with fewer than 3 seeds have no letter" in mixed
    single = significance_caption(made({key: values[:1] for key, values in FAR.items()}))
    assert single.startswith("Accuracy in %, mean ± standard deviation over 1 seed.")
    assert "are not compared" in single
    assert "Welch" not in single


def test_comparisons_are_made_where_they_are_not_given():
    pd.testing.assert_frame_equal(significance(table(FAR)), made(FAR))


def test_nothing_gives_an_empty_table():
    accuracy = table(FAR).iloc[:0]
    found = significance(accuracy, comparisons(accuracy))
    assert tuple(found.columns) == columns("significance")
    alone = made({("p4cnn", 16): FAR["p4cnn", 16]})
    assert alone["letters"].tolist() == ["a"]
