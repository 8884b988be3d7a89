"""Patterns of file names: against regular expressions, which may be used here, where nobody means harm."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqviz.errors import EqvizError
from eqviz.studies.foreign.patterns import FilePattern

FORMS = {"seed": "[0-9]+", "epoch": "[0-9]+", "step": "[0-9]+", "size": "[0-9]+(?:x[0-9]+)?", "*": "[^/]*?"}
TEXT = st.text("ab1x_./", min_size=1, max_size=4)
PIECES = st.lists(
    TEXT | st.sampled_from(["{seed}", "{epoch}", "{step}", "{size}", "{label}", "{other}", "*"]), min_size=1, max_size=7
)


def reference(text):
    """The same pattern as a regular expression, with the names of its groups."""
    names, expression, stars = [], "", 0
    for piece in re.findall(r"\{\w+\}|\*|[^{}*]+", text):
        if piece[0] not in "{*":
            expression += re.escape(piece)
            continue
        stars += piece == "*"
        names.append(f"*{stars}" if piece == "*" else piece[1:-1])
        expression += f"({FORMS.get(piece.strip('{}'), '[^/]+?')})"
    return re.compile(expression), names


@given(PIECES, st.data())
def test_a_pattern_matches_what_its_regular_expression_does_and_says_the_same(pieces, data):
    text = "".join(pieces)
    try:
        pattern = FilePattern(text)
    except EqvizError:
        return
    expression, names = reference(text)
    path = data.draw(st.from_regex(expression, fullmatch=True) | st.text("ab1x_./", max_size=12))
    expected = expression.fullmatch(path)
    assert pattern.match(path) == (None if expected is None else dict(zip(names, expected.groups(), strict=True)))
    assert pattern.names == tuple(names)


@given(PIECES, st.data())
def test_what_a_pattern_says_leads_back_to_the_path(pieces, data):
    text = "".join(pieces)
    try:
        pattern = FilePattern(text)
    except EqvizError:
        return
    path = data.draw(st.from_regex(reference(text)[0], fullmatch=True))
    found = pattern.match(path)
    values = iter(found.values())
    assert re.sub(r"\{\w+\}|\*", lambda _: next(values), text) == path
    assert pattern.without([], path) == path
    kept = pattern.without(found, path)
    assert len(kept) <= len(text)


@pytest.mark.parametrize(
    ("pattern", "path", "names", "kept"),
    [
        ("p4_epoch{epoch}.pt", "p4_epoch25.pt", ["epoch"], "p4.pt"),
        ("p4_e{epoch}.pt", "p4_e25.pt", ["epoch"], "p4.pt"),
        ("cube{epoch}.pt", "cube25.pt", ["epoch"], "cube.pt"),
        ("{epoch}/model.pt", "7/model.pt", ["epoch"], "model.pt"),
        ("v{seed}/epoch={epoch}-step={step}.ckpt", "v0/epoch=3-step=9.ckpt", ["epoch", "step"], "v0/.ckpt"),
        ("a_{epoch}-val_loss=*.ckpt", "a_3-val_loss=0.5.ckpt", ["epoch", "*1"], "a.ckpt"),
        ("a_{epoch}.pt", "b_3.pt", ["epoch"], "b_3.pt"), ("a_{epoch}.pt", "a_3.pt", ["seed"], "a_3.pt"),
    ],
)  # fmt: skip
def test_a_name_without_what_counts_epochs(pattern, path, names, kept):
    assert FilePattern(pattern).without(names, path) == kept


@pytest.mark.parametrize(
    "text",
    ["", "/a.pt", "~a.pt", "../a.pt", "a/../b.pt", "./a.pt", "a{.pt", "a}.pt", "{}.pt", "{a b}.pt", "{1}.pt",
     "{a}{a}.pt", "{seed}_{seed}", "{a{b}}", "a" * 401, "*" * 41],
)  # fmt: skip
def test_patterns_that_are_refused_in_one_line(text):
    with pytest.raises(EqvizError, match=r"runs\[1\].files: expected ") as caught:
        FilePattern(text, "runs[1].files")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("pattern", ["*a" * 20 + "b", "{x}" + "*" * 39, "{size}" + "1*" * 30, "*" * 40 + "/b"])
def test_no_pattern_takes_exponential_time(pattern):
    start = time.perf_counter()
    assert FilePattern(pattern).match("1a" * 120) is None or "b" not in pattern
    assert time.perf_counter() - start < 2  # a regular expression would take years
