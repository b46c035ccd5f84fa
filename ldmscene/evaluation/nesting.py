"""What features add to what is known, for one module and step: from states to nested fits and their effects."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ldmscene.array_types import Array
from ldmscene.cells import MapSize
from ldmscene.errors import InputError
from ldmscene.evaluation.kind import Group, Known, Nested, Training
from ldmscene.evaluation.targets import Response
from ldmscene.probes import (
    SIDE,
    Moments,
    NestedSolution,
    Subspace,
    cosines,
    log_odds,
    merge_all,
    solve_nested,
    supply,
    terms,
)


def side_of(size: MapSize) -> int:
    return min(SIDE, max(size))


@cache
def basis_of(size: MapSize) -> Array:
    """The functions of the position [y, x, k] that stand before the features in every state."""
    basis = cosines(size, side_of(size))
    basis.setflags(write=False)
    return basis


def features_alone(state: Moments, size: MapSize, latents: int = 0) -> Moments:
    """Statistics without the position, and without the latents' channels where they hold these."""
    return _columns(state, slice(terms(size, side_of(size)) + latents, None))


def _columns(state: Moments, which: slice | Array) -> Moments:
    cxx = state.cxx[which][:, which]
    return Moments(
        state.weight, state.mean_x[which], state.mean_y, cxx, state.cxy[which], state.cyy, state.rounding[which]
    )


@dataclass(frozen=True)
class NestedGroup:
    """Nested fits of responses that share their statistics of features."""

    responses: Group
    train: Moments
    """of supplied targets, positions, latents and features, in this order"""
    solution: NestedSolution
    supplied: int
    basis: Array
    """[y, x, k]"""
    key: dict[str, Any]

    @property
    def coef(self) -> Array:
        """[response, channel]"""
        return self.solution.coef

    @property
    def alpha(self) -> Array:
        """[response]"""
        return self.solution.alpha

    @property
    def wanted(self) -> Array:
        """[n, channel] what effects use: fits of all folds, and those to targets without one fold each"""
        folds = self.solution.fold_coef[:, : self._own, -self.coef.shape[1] :]
        return np.concatenate([self.coef, *folds])

    def curves(self, alphas: Array) -> Array:
        """Coefficients [n, channel] of all targets at all strengths, and what is wanted."""
        paths = self.solution.spectrum.coef(alphas)[:, : self._own]
        return np.concatenate([paths.reshape(-1, self.coef.shape[1]), self.wanted])

    @property
    def _own(self) -> int:
        """How many are fitted to their own labels; they come first."""
        return sum(not response.shuffled for response in self.responses)

    def fits(self, space: Subspace) -> dict[Response, Nested]:
        return {response: self._fit(i, space) for i, response in enumerate(self.responses)}

    def _fit(self, i: int, space: Subspace) -> Nested:
        found, g = self.solution, self.supplied
        known, k = self.train.mean_x.shape[0] - self.coef.shape[1], self.basis.shape[-1]
        coefs = np.concatenate([[np.concatenate([found.known[i], found.coef[i]])], found.fold_coef[:, i]])
        intercepts = np.array([found.intercept[i], *found.fold_intercept[:, i]])
        features = coefs[:, known:]
        apart = coefs[:, :known] - found.alone[i]
        constant = intercepts - found.alone_intercept[i]
        position = np.einsum("yxk,fk->fyx", self.basis, apart[:, g : g + k]) + constant[:, None, None]
        alone = np.concatenate([found.alone[i], np.zeros(self.coef.shape[1])])
        binary = self.responses[i].binary
        return Nested(
            float(found.gain[i]),
            self.basis @ found.alone[i, g : g + k] + found.alone_intercept[i],
            np.delete(found.alone[i], slice(g, g + k)),
            np.stack([space.express(one) for one in features]),
            position + (features @ space.mean)[:, None, None],
            np.delete(apart, slice(g, g + k), 1),
            features[0],
            position[0],
            _to_log_odds(self.train, i, coefs[0], intercepts[0]) if binary else None,
            _to_log_odds(self.train, i, alone, found.alone_intercept[i]) if binary else None,
        )


def _to_log_odds(train: Moments, i: int, coef: Array, intercept: float) -> tuple[float, float]:
    """Slope and intercept that turn a prediction into log odds."""
    scaled, constant = log_odds(train, i, coef)
    largest = int(np.abs(coef).argmax())
    slope = float(scaled[largest] / coef[largest]) if coef.any() else 0.0
    return slope, constant - slope * intercept


def nested_groups(training: Training) -> list[NestedGroup]:
    """Nested fits of every group with a target that is not supplied; none where they weren't asked for."""
    found = [_nested_group(training, g, known) for g, known in enumerate(training.known or ())]
    return [group for group in found if group is not None]


def _nested_group(training: Training, number: int, known: Known) -> NestedGroup | None:
    """Of controls only where no target is supplied: what is lent has no products with it."""
    own = predicted(training.groups[number], known.supplied)
    if not own:
        return None
    folds = [_fold(training, number, k, known) for k in range(len(training.folds))]
    count = len(known.supplied) + known.terms + known.latents
    products = b"".join(product.tobytes() for product in known.products)
    return NestedGroup(
        own if known.supplied else training.groups[number],
        merge_all(folds),
        solve_nested(folds, count, training.alphas, [response.target for response in own]),
        len(known.supplied),
        basis_of(training.size)[..., : known.terms],
        {"terms": known.terms, "supplied": [r.target for r in known.supplied], "products": zlib.crc32(products)},
    )


def predicted(responses: Group, supplied: Sequence[Response]) -> Group:
    """Responses to their own labels, but for those that are supplied."""
    return tuple(response for response in responses if not response.shuffled and response not in supplied)


def _fold(training: Training, number: int, fold: int, known: Known) -> Moments:
    """A fold's statistics of supplied targets, positions and features."""
    state, group = training.folds[fold][number], training.groups[number]
    features = np.arange(terms(training.size, side_of(training.size)), len(state.mean_x))
    which = np.concatenate([np.arange(known.terms), features])
    moments = _columns(state, which)
    if not known.supplied:
        return moments
    own = [group.index(response) for response in predicted(group, known.supplied)]
    columns = [(moments, i) for i in own] + [_found(training, fold, one, which, moments) for one in known.supplied]
    both = Moments(
        moments.weight,
        moments.mean_x,
        np.array([whole.mean_y[i] for whole, i in columns]),
        moments.cxx,
        np.column_stack([whole.cxy[:, i] for whole, i in columns]),
        np.array([whole.cyy[i] for whole, i in columns]),
        moments.rounding,
    )
    return supply(both, range(len(own), len(columns)), known.products[fold])


def _found(training: Training, fold: int, response: Response, which: Array, moments: Moments) -> tuple[Moments, int]:
    """The statistics that a supplied target is part of, and its number there."""
    number = next(g for g, group in enumerate(training.groups) if response in group)
    other = _columns(training.folds[fold][number], which)
    if other.weight != moments.weight or not np.allclose(other.mean_x, moments.mean_x, rtol=1e-9, atol=1e-12):
        raise InputError(
            f"beyond: expected labels of {response.target!r} at just the pixels where targets have theirs, but one of "
            "them has holes where the other has none; leave it out of beyond=, or label it whole"
        )
    return other, training.groups[number].index(response)
