"""Painted maps as text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ldmscene.errors import InputError
from ldmscene.painting import runs


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2), elements=st.sampled_from([0, 17, 254, 255])))
def test_levels_come_back_as_they_were(levels):
    np.testing.assert_array_equal(runs.decode(runs.encode(levels), levels.shape), levels)


def test_the_text_is_what_the_page_says_it_is():
    levels = np.zeros((50, 40), np.uint8)
    levels.flat[1768:1773] = 254
    assert runs.encode(levels) == "1d4-0.5-72.6b-0"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "6",
        "6-",
        "-0",
        "6-0",
        "c-74",
        "c-zz",
        "c-0.",
        "1_2-0",
        " c-0",
        "C-0",
        "+c-0",
        "١-0",
        "zzzzzz-0",
        "c-0" * 9,
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(InputError, match="expected"):
        runs.decode(text, (3, 4))


def test_levels_stand_for_values_and_unpainted_for_nothing():
    levels = np.array([[0, 127, 254, 255]], np.uint8)
    np.testing.assert_allclose(runs.values(levels, 2.0, 4.0), [[2, 3, 4, np.nan]])
    assert runs.as_levels(np.array([[0, 1, np.nan]])).tolist() == [[0, 254, 0]]
