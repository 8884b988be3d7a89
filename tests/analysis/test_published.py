"""Published numbers: the file is read strictly, intervals follow from their spread, and ours stand beside them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from eqviz.analysis.published import COLUMNS, MEAN_OF_36, published_comparison, read_published
from eqviz.errors import EqvizError
from eqviz.tables import SCHEMAS

PUBLISHED = Path(__file__).parents[2] / "analyses/published/02_mnist_rotation.csv"
METRICS = ["0°", "90°", "180°", "270°", MEAN_OF_36]
ROW = ("p4cnn", "28", "upright", "90°", "0.9756", "0.0019", "10", "A paper")


def cell(table, model, size, regime, metric, seeds=10):
    rows = table[(table["model"] == model) & (table["input_size"] == str(size)) & (table["regime"] == regime)]
    (found,) = rows[(rows["metric"] == metric) & (rows["n_seeds"] == seeds)].to_dict("records")
    return found["mean"], found["std"]


def test_the_published_file_holds_every_number_once():
    table = read_published(PUBLISHED)
    ten = table[table["n_seeds"] == 10]
    networks = [("p4cnn", "27"), ("p4cnn", "28"), ("p4cnn", "29"), ("z2cnn", "28")]
    assert sorted(set(zip(ten["model"], ten["input_size"], strict=True))) == networks
    assert len(ten) == 4 * 4 * len(METRICS)
    assert set(ten["metric"]) == set(METRICS)
    hundred = table[table["n_seeds"] == 100]
    assert hundred.groupby(["regime", "metric"]).size().to_dict() == {("uniform", MEAN_OF_36): 3, ("upright", "0°"): 4}
    assert set(table["n_seeds"]) == {10, 100}


@pytest.mark.parametrize(
    ("network", "regime", "metric", "mean", "std"),
    [
        (("p4cnn", 28), "upright", "0°", 0.9756, 0.0019),
        (("p4cnn", 27), "upright", "90°", 0.7926, 0.0489),
        (("p4cnn", 29), "upright", "180°", 0.5170, 0.0432),
        (("z2cnn", 28), "upright", "270°", 0.1705, 0.0171),
        (("p4cnn", 28), "upright", MEAN_OF_36, 0.8665, 0.0120),
        (("z2cnn", 28), "N(45, 20)", "90°", 0.8839, 0.0267),
        (("p4cnn", 27), "N(45, 20)", "270°", 0.5825, 0.0387),
        (("p4cnn", 29), "N(45, 40)", "180°", 0.7792, 0.0306),
        (("p4cnn", 28), "N(45, 40)", MEAN_OF_36, 0.9659, 0.0019),
        (("p4cnn", 29), "uniform", "0°", 0.9682, 0.0034),
        (("z2cnn", 28), "uniform", MEAN_OF_36, 0.8936, 0.0134),
    ],
)
def test_cells_of_the_published_table(network, regime, metric, mean, std):
    assert cell(read_published(PUBLISHED), *network, regime, metric) == (mean, std)


def test_exact_networks_have_one_number_at_the_quarter_turns():
    table = read_published(PUBLISHED)
    for regime in set(table["regime"]):
        assert len({cell(table, "p4cnn", 28, regime, metric) for metric in METRICS[:4]}) == 1
        assert len({cell(table, "p4cnn", 27, regime, metric) for metric in METRICS[:4]}) == 4


def test_numbers_over_a_hundred_seeds():
    table = read_published(PUBLISHED)
    assert cell(table, "p4cnn", 27, "upright", "0°", 100) == (0.9852, 0.0026)
    assert cell(table, "p4cnn", 28, "uniform", MEAN_OF_36, 100) == (0.9668, 0.0020)


def test_intervals_are_those_of_a_sample_of_that_spread():
    table = read_published(PUBLISHED)
    for row in table.to_dict("records"):
        n = row["n_seeds"]
        sample = np.linspace(-1, 1, n)
        sample = row["mean"] + row["std"] * (sample - sample.mean()) / sample.std(ddof=1)
        expected = stats.ttest_1samp(sample, 0).confidence_interval(0.95)
        # the sample's moments are exact but for float64 rounding
        assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_the_published_tests_follow_from_the_published_spread():
    """The p-values that were published with these means and standard deviations, all over 100 seeds."""
    table = read_published(PUBLISHED)

    def p(regime, metric, size, other):
        (a, a_std), (b, b_std) = (cell(table, "p4cnn", n, regime, metric, 100) for n in (size, other))
        return stats.ttest_ind_from_stats(a, a_std, 100, b, b_std, 100, equal_var=False).pvalue

    assert p("upright", "0°", 28, 27) < 1e-56
    # means and deviations are rounded to 0.01%: p-values are right to about a factor of two
    assert p("uniform", MEAN_OF_36, 28, 27) == pytest.approx(2.7e-4, rel=1)
    assert p("uniform", MEAN_OF_36, 28, 29) == pytest.approx(1.2e-6, rel=1)


def write(folder, *rows, header=COLUMNS):
    path = folder / "numbers.csv"
    path.write_text("\n".join(",".join(row) for row in (header, *rows)) + "\n", encoding="utf-8")
    return path


def changed(**changes):
    return tuple(changes.get(name, value) for name, value in zip(COLUMNS, ROW, strict=True))


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ([], "at least one row"),
        ([ROW, ROW], "each number once; found more of p4cnn, 28, upright, 90°, 10"),
        ([ROW, changed(n_seeds="010")], "each number once"),
        ([ROW[:-1]], "row 1: expected 8 values; found 7"),
        ([ROW, (*changed(metric="0°"), "more")], "row 2: expected 8 values; found 9"),
        ([changed(mean="97.56")], "mean, a fraction from 0 to 1; found '97.56'"),
        ([changed(std="")], "no std"),
        ([changed(std="nan")], "std, a fraction"),
        ([changed(mean="1e400")], "mean, a fraction"),
        ([changed(n_seeds="1")], "n_seeds, a whole number of at least 2"),
        ([changed(n_seeds="9.5")], "n_seeds"),
        ([changed(metric="90")], "an angle such as 90°"),
        ([changed(metric="090°")], "an angle such as 90°"),
        ([changed(metric="360°")], "an angle such as 90°"),
        ([changed(input_size="28px")], "an input size such as 28"),
        ([changed(source=" ")], "no source"),
    ],
)
def test_bad_rows_are_refused_in_one_line(tmp_path, rows, match):
    with pytest.raises(EqvizError, match=match) as caught:
        read_published(write(tmp_path, *rows))
    assert "numbers.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(EqvizError, match="the columns model, input_size"):
        read_published(write(tmp_path, ROW[:7], header=COLUMNS[:7]))
    for name, content in (("empty", b""), ("bytes", b"\xff\xfe\x00"), ("quote", b'model,"input_size\n')):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(EqvizError, match=name):
            read_published(tmp_path / name)
    for path in (tmp_path / "missing.csv", tmp_path):
        with pytest.raises(EqvizError, match="a csv file of published numbers"):
            read_published(path)


def ours(values, angles=range(0, 360, 10), **changes):
    """The table `accuracy` of runs whose accuracy at every angle is in `values`, one value a seed."""
    rows = [
        {"run": f"p4cnn-28-seed{seed}", "model": "p4cnn", "input_size": 28, "group": "C4", "seed": seed, "epoch": 9}
        | {"data": "mnist", "regime": "upright", "angle": float(angle), "reflected": False, "grid": angle % 90 == 0}
        | {"mask": False, "fill": 0.0, "accuracy": value + angle / 1e4, "balanced_accuracy": 0.5, "n": 100}
        | changes
        for seed, value in enumerate(values)
        for angle in angles
    ]
    return pd.DataFrame(rows)


def test_our_means_stand_beside_the_published_ones():
    found = published_comparison(ours([0.90, 0.94, 0.95]), read_published(PUBLISHED))
    assert tuple(found.columns) == SCHEMAS["published_comparison"]
    assert found[["metric", "published_n_seeds"]].to_numpy().tolist() == [
        ["0°", 10], ["0°", 100], ["90°", 10], ["180°", 10], ["270°", 10], [MEAN_OF_36, 10],
    ]  # fmt: skip
    at = found.set_index(["metric", "published_n_seeds"])
    row = at.loc[("180°", 10)]
    sample = np.array([0.90, 0.94, 0.95]) + 0.018
    assert (row["mean"], row["std"], row["n_seeds"]) == pytest.approx((sample.mean(), sample.std(ddof=1), 3))
    assert (row["low"], row["high"]) == pytest.approx(tuple(stats.ttest_1samp(sample, 0).confidence_interval(0.95)))
    assert row["difference"] == pytest.approx(sample.mean() - 0.9756)
    mean = np.mean([0.93 + angle / 1e4 for angle in range(0, 360, 10)])
    assert at.loc[(MEAN_OF_36, 10), "mean"] == pytest.approx(mean)


@pytest.mark.parametrize("seeds", [10, 100])
def test_within_is_about_our_mean_and_the_published_interval(seeds):
    known = read_published(PUBLISHED)
    known = known[(known["n_seeds"] == seeds) & (known["input_size"] == "27") & (known["metric"] == "0°")]
    known = known[known["regime"] == "upright"]
    low, high = float(known["low"].iloc[0]), float(known["high"].iloc[0])
    for value, answer in ((low - 1e-6, False), (low + 1e-6, True), (high - 1e-6, True), (high + 1e-6, False)):
        found = published_comparison(ours([value], angles=[0], input_size=27), known)
        assert found["within"].tolist() == [answer]
        assert found[["std", "low", "high"]].isna().all(axis=None)  # of one seed


def test_the_mean_of_36_angles_needs_all_of_them_and_no_reflected_image():
    known = read_published(PUBLISHED)
    fewer = published_comparison(ours([0.9], angles=range(0, 350, 10)), known)
    assert MEAN_OF_36 not in set(fewer["metric"])
    mirrored = ours([0.1], angles=range(0, 360, 90), reflected=True)
    more = published_comparison(pd.concat([ours([0.9], angles=range(0, 360, 5)), mirrored]), known)
    assert MEAN_OF_36 in set(more["metric"])
    at = more.set_index(["metric", "published_n_seeds"])["mean"]
    assert at["0°", 10] == pytest.approx(0.9)
    assert at[MEAN_OF_36, 10] == pytest.approx(0.9 + 175 / 1e4)


def test_networks_of_which_nothing_was_published_are_left_out_or_refused():
    known = read_published(PUBLISHED)
    both = pd.concat([ours([0.9]), ours([0.9], regime="upright, 500 images"), ours([0.9], input_size=30)])
    found = published_comparison(both, known)
    assert set(zip(found["regime"], found["input_size"], strict=True)) == {("upright", 28)}
    with pytest.raises(EqvizError, match=r"of which the file of published numbers tells.*p4cnn, 30, upright"):
        published_comparison(ours([0.9], input_size=30), known)
