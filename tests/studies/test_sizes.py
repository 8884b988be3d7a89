import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqviz.errors import EqvizError
from eqviz.studies.sizes import parse_size
from eqviz.tables import format_size

SIDES = st.integers(1, 4096)


@given(SIDES, SIDES)
def test_is_the_inverse_of_format_size(height, width):
    for written in (format_size((height, width)), str(format_size((height, width))), [height, width], (height, width)):
        assert parse_size(written) == (height, width)


@pytest.mark.parametrize("written", [np.int64(7), " 7 ", "7X7", "7 x 7", "7×7"])
def test_other_ways_to_write_seven(written):
    assert parse_size(written) == (7, 7)


BAD = [
    0,
    -3,
    4097,
    True,
    2.0,
    "",
    "x",
    "16x",
    "x16",
    "1x2x3",
    "-4",
    "16.5",
    [],
    [1],
    [1, 2, 3],
    [1, "2"],
    None,
    {},
    "9" * 9,
    10**6000,
]


@pytest.mark.parametrize("written", BAD, ids=lambda written: str(written)[:9] if not isinstance(written, int) else "")
def test_anything_else_is_one_line(written):
    with pytest.raises(EqvizError, match="N, HxW or") as caught:
        parse_size(written)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=12))
def test_text_is_a_size_or_an_eqviz_error(text):
    try:
        height, width = parse_size(text)
    except EqvizError:
        return
    assert 1 <= height <= 4096
    assert 1 <= width <= 4096
