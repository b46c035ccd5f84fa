"""Which sample is held out when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold

from ldmscene.array_types import Ints
from ldmscene.errors import InputError
from ldmscene.probes.inputs import read_groups


def assign_folds(n_samples: int, cv: Any = 5, groups: Any = None) -> Ints:
    """The fold (n_samples,) in which each sample is held out, numbered from 0.

    Parameters
    ----------
    n_samples : int
    cv : int, splitter or iterable of (train, test)
        A number of folds (at least 2); or a scikit-learn splitter; or explicit splits, whose test sets hold
        each sample once and whose training sets are all the others.
    groups : array (n_samples,), optional
        Samples of one group share a fold, for example those of one prompt. With a number of folds, groups are
        spread as scikit-learn's GroupKFold does. None: each sample is its own group, dealt out in turn.

    Raises
    ------
    InputError
        If there are fewer groups than folds, or the splits don't partition the samples.
    """
    groups = read_groups(groups, n_samples)
    if groups is not None and (nameless := pd.isna(groups)).any():
        raise InputError(f"groups: sample {int(nameless.argmax())} has none; expected the group of every sample")
    if not isinstance(cv, (int, np.integer)):
        splits = cv.split(np.zeros(n_samples), groups=groups) if hasattr(cv, "split") else cv
        return _from_splits(splits, n_samples)
    if cv < 2:
        raise InputError(f"cv: expected at least 2 folds, got {cv}")
    n_groups = n_samples if groups is None else len(np.unique(groups))
    if n_groups < cv:
        raise InputError(
            f"groups: fewer groups than folds, {n_groups} < cv={cv} (n_samples = {n_samples}); lower cv or add prompts"
        )
    if groups is None:
        return np.arange(n_samples) % cv
    return _from_splits(GroupKFold(cv).split(np.zeros(n_samples), groups=groups), n_samples)


def _from_splits(splits: Iterable[tuple[Ints, Ints]], n_samples: int) -> Ints:
    fold = np.full(n_samples, -1)
    times = np.zeros(n_samples, dtype=int)
    for number, (train, test) in enumerate(splits):
        fold[test] = number
        times[test] += 1
        if not np.array_equal(np.sort(np.concatenate([train, test])), np.arange(n_samples)):
            raise InputError(f"cv: split {number} doesn't train on just the samples that it doesn't test")
    if (times != 1).any():
        raise InputError(f"cv: sample {int(np.argmax(times != 1))} is not held out exactly once")
    return fold


@dataclass(frozen=True)
class FoldBook:
    """Folds for samples that arrive in batches: a group stays where it was first put."""

    n_folds: int
    sizes: tuple[int, ...] = ()
    """samples in each fold so far"""
    known: Mapping[Any, int] = field(default_factory=dict)
    """the fold of each group"""
    latest: Ints = field(default_factory=lambda: np.empty(0, dtype=int))
    """folds of the samples that were added last"""

    @classmethod
    def of(cls, n_folds: int, fold: Ints, groups: Any = None) -> FoldBook:
        """The book of samples whose folds are known already."""
        groups = read_groups(groups, len(fold))
        known = {} if groups is None else dict(zip(groups.tolist(), fold.tolist(), strict=True))
        return cls(n_folds, tuple(np.bincount(fold, minlength=n_folds).tolist()), known, fold)

    def add(self, n_samples: int, groups: Any = None) -> FoldBook:
        """The book with a batch added; a new group goes to the smallest fold."""
        groups = read_groups(groups, n_samples)
        sizes, known = list(self.sizes or [0] * self.n_folds), dict(self.known)
        latest = np.empty(n_samples, dtype=int)
        names = [None] * n_samples if groups is None else groups.tolist()
        for i, name in enumerate(names):
            smallest = sizes.index(min(sizes))
            latest[i] = smallest if name is None else known.setdefault(name, smallest)
            sizes[latest[i]] += 1
        return FoldBook(self.n_folds, tuple(sizes), known, latest)
