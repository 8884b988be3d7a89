import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqviz.data.splits import check_split, held_out
from eqviz.errors import EqvizError


@given(keys=st.lists(st.text(max_size=4), max_size=60))
def test_equal_keys_share_a_side_and_neither_side_is_empty(keys):
    test = held_out(keys)
    assert test.shape == (len(keys),)
    assert not {key for key, held in zip(keys, test, strict=True) if held} & {
        key for key, held in zip(keys, test, strict=True) if not held
    }
    if len(set(keys)) > 1:
        assert test.any()
        assert not test.all()


def test_about_a_fifth_is_held_out_whatever_the_order_and_the_company():
    keys = [f"cell_{number:05d}.png" for number in range(5000)]
    test = held_out(keys)
    assert abs(test.mean() - 0.2) < 0.02
    np.testing.assert_array_equal(held_out(keys[::-1]), test[::-1])
    np.testing.assert_array_equal(held_out(keys[:2000]), test[:2000])


def test_both_ways_of_writing_an_accent_are_one_name():
    names = [f"caf\u00e9-{number}" for number in range(50)]
    np.testing.assert_array_equal(held_out(names), held_out([name.replace("\u00e9", "e\u0301") for name in names]))


def test_file_names_that_are_not_utf8_are_fine():
    assert held_out(["a\udcff.png", "b.png"]).sum() == 1


@pytest.mark.parametrize("split", ["", "Test", "val", "tests"])
def test_other_splits_are_refused(split):
    with pytest.raises(EqvizError, match="'train' or 'test'"):
        check_split(split)
