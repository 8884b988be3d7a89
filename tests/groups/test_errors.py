"""What a person reads is one line, whatever went into it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eqviz.errors import EqvizError


@settings(max_examples=50, deadline=None)
@given(st.text(), st.text(), st.text(), st.text())
def test_the_message_is_always_one_line(about, expected, found, fix):
    error = EqvizError(about, expected=expected, found=found, fix=fix)
    assert len(str(error).splitlines()) == 1
    assert (error.about, error.expected, error.found, error.fix) == (about, expected, found, fix)


def test_it_is_a_value_error():
    with pytest.raises(ValueError, match=r"^size: expected 3; found 4; use 3$"):
        raise EqvizError("size", expected="3", found="4", fix="use 3")
