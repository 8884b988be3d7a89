"""Which runs are compared with which."""

import pandas as pd

from eqviz.studies.cache import Cache
from eqviz.studies.finding import find_runs
from eqviz.studies.measuring_settings import Settings
from eqviz.studies.pairing import compare_twins, partners

SHARED = {"model": "p4cnn", "group": "C4", "data": "digits", "regime": "upright"}


def runs(*rows):
    parts = [
        {**SHARED, "run": f"{size}-{seed}{regime}", "input_size": size, "seed": seed, "regime": regime or "upright"}
        for size, seed, regime in rows
    ]
    return pd.DataFrame(parts)


def networks(**exact):
    return pd.DataFrame([{**SHARED, "input_size": int(name[1:]), "exact": answer} for name, answer in exact.items()])


def test_an_approximate_run_is_paired_with_the_exact_one_of_its_seed():
    table = runs((15, 0, ""), (15, 1, ""), (16, 0, ""), (16, 1, ""))
    assert partners(table, networks(n15="no", n16="yes")) == [
        ("15-0", "16-0"), ("15-1", "16-1"), ("16-0", "16-1"), ("16-1", "16-0"),
    ]  # fmt: skip


def test_the_nearest_exact_size_counts_and_the_next_seed_where_its_own_is_missing():
    table = runs((15, 5, ""), (28, 5, ""), (16, 3, ""), (16, 7, ""))
    assert partners(table, networks(n15="no", n16="yes", n28="yes"))[0] == ("15-5", "16-7")


def test_exact_runs_are_paired_at_their_own_size_only():
    assert partners(runs((16, 0, ""), (18, 0, "")), networks(n16="yes", n18="yes")) == []


def test_runs_in_other_regimes_and_runs_without_an_exact_twin_have_no_partner():
    table = runs((15, 0, ""), (16, 0, "uniform"))
    exact = networks(n15="no").assign(regime="upright")
    other = networks(n16="yes").assign(regime="uniform")
    assert partners(table, pd.concat([exact, other])) == []
    assert partners(table, exact) == []


def test_sizes_that_are_not_square_have_a_height():
    table = runs(("9x12", 0, ""), ("10x12", 0, ""))
    sizes = pd.DataFrame([{**SHARED, "input_size": "10x12", "exact": "yes"}])
    assert partners(table, sizes) == [("9x12-0", "10x12-0")]


def test_twins_see_the_same_pictures_whatever_images_they_were_trained_on(write_run, tmp_path):
    data = {"source": "digits", "seed": 1}
    write_run("a", size=8, seed=0)
    for name, record in (("same", {}), ("other", {"data": data})):
        write_run(name, size=8, seed=5, **record)
    by_name = {run.name: run for run in find_runs(tmp_path)}
    found = [
        compare_twins(
            by_name["a"], 1, (by_name[name], 1), Settings(limit=30, analysis_images=12), Cache.beside(tmp_path)
        )
        for name in ("same", "other")
    ]
    pd.testing.assert_frame_equal(found[0].table, found[1].table)
