"""What a kind of probe is: how features and labels become fits that predict.

A block of samples is reduced to a state, states are merged to one for each fold, and from these the fits are solved.
States are cached, so that features are read once. A kind that needs several passes reads the blocks again.

A new kind is one file and a value in `kinds.py`, or in another package an entry point of the group `ldmscene.probes`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ldmscene.evaluation.targets import Response
from ldmscene.probes import Targets
from ldmscene.store.cache import Cache

Array = np.ndarray
State = Any
Group = tuple[Response, ...]
"""Responses with the same labelled pixels: targets, then the controls of the same targets."""


@dataclass(frozen=True)
class Fitted:
    """How one fit came about, and its coefficients where it is linear."""

    alpha: float
    """the strength that was chosen"""
    cv_score: float
    """on held-out folds of the training samples, at most 1, 0 where it is no better than the mean; modules are ranked
    by it"""
    coef: Array | None = None
    """[channel]; of log odds for binary responses"""
    intercept: float | None = None


class Fits(Protocol):
    """All fits to one set of features."""

    @property
    def fitted(self) -> Mapping[Response, Fitted]: ...

    @property
    def key(self) -> str:
        """What `project` depends on, besides the features; held-out projections are cached under it."""

    def project(self, X: Array) -> Array:
        """What predictions need of features (sample, y, x, channel): float32 (sample, y, x, r), with r small."""

    def predict(self, response: Response, projected: Array) -> Array:
        """Predictions (sample, y, x) from what `project` gives; log odds of binary responses."""


@dataclass(frozen=True)
class TrainingBlock:
    """Samples of one fold, to be read as often as it takes."""

    fold: int
    features: Callable[[], Array]
    """reads (sample, y, x, channel)"""
    labels: Callable[[int], Targets]
    """of a group, by its number"""


@dataclass(frozen=True)
class Training:
    """What fits are solved from: one set of features of the training samples."""

    name: str
    """of the features, for messages"""
    groups: Sequence[Group]
    folds: Sequence[Sequence[State]]
    """[fold][group]"""
    alphas: tuple[float, ...]
    """strengths to choose from, ascending"""
    blocks: Sequence[TrainingBlock]
    """for kinds that read features again"""
    cache: Cache
    key: str
    """what the states depend on"""


class Kind(Protocol):
    """A kind of probe. It must be a value that pickles, since it travels to other processes."""

    @property
    def name(self) -> str: ...

    @property
    def fits(self) -> tuple[str, ...]:
        """Kinds of targets: "continuous", "binary" or both."""

    @property
    def alphas(self) -> tuple[float, ...]:
        """Strengths to choose from where the caller names none."""

    @property
    def rereads(self) -> bool:
        """Whether `solve` reads the blocks again, so that training samples must be stored."""

    def key(self) -> dict:
        """What its states and fits depend on, besides features and labels: its name, a version, its own settings."""

    def reduce(self, X: Array, labels: Targets) -> State:
        """The state of a block: features (sample, y, x, channel) against labels on their grid.

        Raises
        ------
        InputError
            If X holds NaN or infinity.
        """

    def merge(self, states: Sequence[State]) -> State:
        """One state of several blocks; in any order, up to rounding."""

    def pack(self, state: State) -> dict[str, Array]:
        """A state as arrays by name, for the cache."""

    def unpack(self, arrays: Mapping[str, Array]) -> State:
        """The inverse of `pack`."""

    def solve(self, training: Training) -> Fits:
        """All fits, one for each response.

        Raises
        ------
        InputError
            If a target is constant, or labelled in fewer than two folds.
        """
