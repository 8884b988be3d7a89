"""What is left out, told once and with its reason."""

import pandas as pd

from eqviz.errors import EqvizError, NoAnswerError
from eqviz.report.left_out import LeftOut, skipped_in_words, skipped_line, unanswered, without_accuracy
from eqviz.studies.scoring import NO_ACCURACY
from eqviz.tables import empty


def no_answer(found):
    return NoAnswerError("x", expected="a network with one", found=found, fix="add one")


def test_what_is_left_out_for_one_reason_is_one_line():
    left_out = LeftOut()
    left_out.add("table", "cka", no_answer("too few images"))
    left_out.add("figure", "cka_by_layer", no_answer("too few images"))
    left_out.add("table", "probes", EqvizError("probes", expected="a", found="b", fix="c"))
    left_out.add("table", "accuracy", no_answer(f"{NO_ACCURACY}: no labels"))
    left_out.add("table", "patching", no_answer(f"{NO_ACCURACY}: no scores"))
    assert left_out.in_words() == [
        "Left out: table cka; figure cka_by_layer (too few images)",
        "Left out: table probes (probes: expected a; found b; c)",
        "Left out: tables accuracy, patching (no network has an accuracy)",
    ]


def test_runs_are_named_by_the_reason_that_they_share():
    assert without_accuracy({}) == []
    lines = without_accuracy({"a": "no labels", "b": "no scores", "c": "no labels"})
    assert [line.partition(";")[0] for line in lines] == [
        "Without an accuracy: a, c (no labels)", "Without an accuracy: b (no scores)",
    ]  # fmt: skip


def test_runs_without_an_answer_are_named_where_others_have_one():
    reasons = {"patching": {"a": f"{NO_ACCURACY}: no labels"}, "cka": {"a": "odd", "b": "odd"}, "probes": {"a": "odd"}}
    assert unanswered(reasons, ["patching", "cka"]) == ["Not in the table cka: a, b (odd)"]
    assert unanswered(reasons, []) == []


def test_skipped_layers_are_counted_once_and_told_by_reason():
    rows = [
        ("a", 1, "x", "it never ran"), ("a", 2, "x", "it never ran"), ("b", 1, "x", "it never ran"),
        ("a", 1, "t0", "no field type for tokens; say that of t0"),
        ("a", 1, "t1", "no field type for tokens; say that of t1"),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["run", "epoch", "layer", "reason"])
    assert skipped_line(table) == ["4 layers could not be measured, for 2 reasons: see the table skipped_layers"]
    assert skipped_in_words(table) == [
        ("it never ran", "a, b: x"), ("no field type for tokens; say that of t0", "a: t0, t1"),
    ]  # fmt: skip
    assert skipped_line(empty("skipped_layers")) == skipped_in_words(empty("skipped_layers")) == []
