"""Folds over groups."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold, KFold, LeaveOneGroupOut

from ldmscene.errors import InputError
from ldmscene.probes import assign_folds
from ldmscene.probes.folds import FoldBook


@given(st.lists(st.integers(0, 9), min_size=12, max_size=40).filter(lambda g: len(set(g)) >= 4))
def test_groups_stay_together_in_the_folds_of_scikit_learn(groups: list[int]) -> None:
    fold = assign_folds(len(groups), 4, groups)
    for k, (_, test) in enumerate(GroupKFold(4).split(np.zeros(len(groups)), groups=groups)):
        np.testing.assert_array_equal(np.flatnonzero(fold == k), test)
    assert all(len(set(fold[np.equal(groups, g)])) == 1 for g in groups)


def test_without_groups_samples_are_dealt_out() -> None:
    np.testing.assert_array_equal(assign_folds(7, 3), [0, 1, 2, 0, 1, 2, 0])


def test_splitters_and_explicit_splits() -> None:
    np.testing.assert_array_equal(assign_folds(6, KFold(3)), [0, 0, 1, 1, 2, 2])
    groups = [5, 5, 3, 3, 3, 9]
    splits = list(LeaveOneGroupOut().split(np.zeros(6), groups=groups))
    np.testing.assert_array_equal(assign_folds(6, splits), [1, 1, 0, 0, 0, 2])
    np.testing.assert_array_equal(assign_folds(6, LeaveOneGroupOut(), groups), [1, 1, 0, 0, 0, 2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((4, 5), "fewer groups than folds, 4 < cv=5"),
        ((6, 3, [0, 0, 0, 1, 1, 1]), "fewer groups than folds, 2 < cv=3"),
        ((6, 3, [0, 1]), "groups: expected one for each of the 6 samples, got 2"),
        ((6, 1), "cv: expected at least 2"),
        ((3, [([0, 1], [2]), ([1, 2], [0])]), "sample 1 is not held out exactly once"),
        ((3, [([0], [2])]), "split 0 doesn't train"),
    ],
)
def test_folds_that_cannot_be_are_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(InputError, match=message):
        assign_folds(*arguments)


def test_a_group_stays_in_its_fold_from_batch_to_batch() -> None:
    first = FoldBook(3).add(4, ["a", "b", "a", "c"])
    np.testing.assert_array_equal(first.latest, [0, 1, 0, 2])
    second = first.add(3, ["c", "d", "a"])
    assert second.latest[0] == 2
    assert second.latest[2] == 0
    assert second.latest[1] == 1
    assert sum(second.sizes) == 7


def test_a_book_starts_from_known_folds() -> None:
    book = FoldBook.of(2, np.array([1, 1, 0]), ["x", "x", "y"]).add(2, ["x", "z"])
    np.testing.assert_array_equal(book.latest, [1, 0])
