"""What a kind of probe is: how features and labels become fits that predict.

A block of samples is reduced to a state, states are merged to one for each fold, and from these the fits are solved.
States are cached, so that features are read once. A kind that needs several passes reads the blocks again.

A new kind is one file and a value in `kinds.py`, or in another package an entry point of the group `ldmscene.probes`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ldmscene.array_types import Array
from ldmscene.cells import MapSize
from ldmscene.evaluation.targets import Response
from ldmscene.probes import Targets
from ldmscene.store.cache import Cache

State = Any
Group = tuple[Response, ...]
"""Responses with the same labelled pixels: targets, then the controls of the same targets."""


@dataclass(frozen=True)
class Fitted:
    """How one fit came about, and its coefficients where it is linear."""

    alpha: float
    """the strength that was chosen among `Training.alphas`"""
    cv_score: float
    """on held-out folds of the training samples, at most 1, 0 where it is no better than the mean; modules are ranked
    by it"""
    coef: Array | None = None
    """[channel]; of log odds for binary responses"""
    intercept: float | None = None


class Fits(Protocol):
    """All fits to one set of features. They must pickle, since they travel between processes."""

    @property
    def fitted(self) -> Mapping[Response, Fitted]: ...

    @property
    def key(self) -> str:
        """What `project` depends on, besides the features; held-out projections are cached under it.

        The kind's `key()`, `Training.key`, and `Training.alphas` where `project` depends on the choice among them.
        """

    def project(self, X: Array) -> Array:
        """What predictions need of features (sample, y, x, channel): float32 (sample, y, x, r), with r small.

        A kind without coordinates of its own returns its predictions: one channel for each response, those of the
        shuffled controls, too.
        """

    def predict(self, response: Response, projected: Array) -> Array:
        """Predictions (sample, y, x) from what `project` gives; log odds of binary responses."""


@runtime_checkable
class NestedFits(Fits, Protocol):
    """Fits of a kind that also tells what features add to what is known."""

    @property
    def nested(self) -> Mapping[Response, Nested]:
        """Empty where nested fits weren't asked for."""


@dataclass(frozen=True)
class Known:
    """What nested fits of a group's targets may use anyway."""

    terms: int
    """functions of the position, the first of those that states hold"""
    supplied: tuple[Response, ...] = ()
    """other targets"""
    products: tuple[Array, ...] = ()
    """[fold] how labels vary together over pixels, [t, t]: the group's own targets, then the supplied ones"""
    position: bool = True
    """whether the position was asked for, be it that no function of it is wanted"""
    latents: int = 0
    """channels of x_t, which come first among the features that states hold; `Fits.project` is told none of them"""


@dataclass(frozen=True)
class Nested:
    """Two fits of one target, one within the other: what is known alone, and that with features.

    The second is several: of all folds, then without each of them.
    """

    gain: float
    """partial R² on held-out folds of the training samples; modules are ranked by it"""
    alone: Array
    """[y, x] what the position predicts"""
    alone_supplied: Array
    """[g] coefficients of supplied targets, then of the latents' channels, in the first fit"""
    inside: Array
    """[fit, r] coefficients of projected features in the second"""
    offset: Array
    """[fit, y, x] what position and constants differ by in the second"""
    supplied: Array
    """[fit, g] what coefficients of supplied targets and of the latents differ by"""
    coef: Array
    """[channel] of features in the second fit of all folds"""
    apart: Array
    """[y, x] what position and constants differ by there, beside coefficients of features as they come"""
    log_odds: tuple[float, float] | None = None
    """slope and intercept from a prediction of the second fit to log odds, of binary targets"""
    alone_log_odds: tuple[float, float] | None = None

    def said(self, projected: Array) -> Array:
        """By how much the second fits differ from the first, [fit, sample, y, x], but for supplied targets' part."""
        return np.moveaxis(projected @ self.inside.T, -1, 0) + self.offset[:, None]


@dataclass(frozen=True)
class TrainingBlock:
    """Samples of one fold, to be read as often as it takes."""

    fold: int
    features: Callable[[], Array]
    """reads (sample, y, x, channel)"""
    labels: Callable[[int], Targets]
    """those of `Training.groups[i]`, by i"""


@dataclass(frozen=True)
class Training:
    """What fits are solved from: one set of features of the training samples."""

    name: str
    """of the features, for messages"""
    groups: Sequence[Group]
    folds: Sequence[Sequence[State]]
    """[fold][group]"""
    alphas: tuple[float, ...]
    """strengths to choose from, or whatever else the kind chooses by cross-validation: positive, ascending, at least
    two"""
    blocks: Sequence[TrainingBlock]
    """for kinds that read features again"""
    cache: Cache
    key: str
    """what the states depend on"""
    size: MapSize
    """y and x of the features' maps"""
    known: tuple[Known, ...] | None = None
    """of each group, where nested fits are asked for"""

    @property
    def latents(self) -> int:
        """How many channels of x_t come first among the features."""
        return self.known[0].latents if self.known else 0


@runtime_checkable
class Kind(Protocol):
    """A kind of probe. It must pickle, and so must its `Fits`, since both travel between processes.

    `ridge.py` is the model of one that takes one pass, `logistic.py` of one that takes several.
    """

    @property
    def name(self) -> str:
        """By which callers choose it; any text that no other kind has."""

    @property
    def target_kinds(self) -> tuple[str, ...]:
        """Of the targets that it can be fitted to: "continuous", "binary" or both."""

    @property
    def alphas(self) -> tuple[float, ...]:
        """Strengths to choose from where the caller names none, as `Training.alphas` has them."""

    @property
    def rereads(self) -> bool:
        """Whether `solve` reads the blocks again, so that training samples must be stored."""

    @property
    def nests(self) -> bool:
        """Whether its fits are `NestedFits` where `Training.known` is there."""

    def key(self) -> dict[str, Any]:
        """What its states and fits depend on, besides features and labels.

        It holds "probe", which is its name, a version, and its own settings.
        """

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
