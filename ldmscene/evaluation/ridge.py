"""Ridges from one pass, with log odds for masks by the linear discriminant of the same statistics."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from ldmscene.array_types import Array
from ldmscene.errors import CorruptError, InputError
from ldmscene.evaluation.kind import Fitted, Group, Kind, Nested, Training
from ldmscene.evaluation.nesting import NestedGroup, basis_of, features_alone, nested_groups
from ldmscene.evaluation.targets import Response
from ldmscene.probes import (
    Moments,
    Position,
    Spectrum,
    Subspace,
    Targets,
    held_out_errors,
    log_odds,
    merge_all,
)
from ldmscene.probes.choice import choose
from ldmscene.probes.ridge import check_targets, constant_targets
from ldmscene.probes.ridge_probe import ALPHAS
from ldmscene.store import ActivationStore
from ldmscene.store.fingerprints import fingerprint

SUBSPACE = "subspace"
PRECISIONS = ("float64", "float32")  # of products of float16 features
# The space of cached coordinates is laid out for these; the control with shuffled labels chooses among them.
LADDER = np.logspace(-2, 8, 41)
# Cached coordinates serve a fit if they lose no more than this share of its prediction's deviation.
ACCURACY = 1e-6


@dataclass(frozen=True)
class LinearFit:
    """A linear map to a response, for features and for their coordinates."""

    fitted: Fitted
    inside: Array
    """[r] coefficients of the coordinates"""
    offset: float


@dataclass(frozen=True)
class RidgeFits:
    """All ridges on one set of features, and the directions in which they predict."""

    linear: Mapping[Response, LinearFit]
    subspace: Subspace
    key: str
    nested: Mapping[Response, Nested]

    @property
    def fitted(self) -> dict[Response, Fitted]:
        return {response: fit.fitted for response, fit in self.linear.items()}

    def project(self, X: Array) -> Array:
        return self.subspace.project(X)

    def predict(self, response: Response, projected: Array) -> Array:
        fit = self.linear[response]
        predicted: Array = projected @ fit.inside + fit.offset
        return predicted


@dataclass(frozen=True)
class Ridge:
    """The kind of probe that one pass and one eigendecomposition give.

    Parameters
    ----------
    precision : {"float64", "float32"}
        Of products of features that are stored as float16; all others have those of float64.
    """

    precision: str = "float64"
    name = "ridge"
    target_kinds = ("continuous", "binary")
    alphas = ALPHAS
    rereads = False
    nests = True

    def key(self) -> dict[str, Any]:
        return {"probe": self.name, "version": 2} | (
            {} if self.precision == "float64" else {"precision": self.precision}
        )

    def reduce(self, X: np.ndarray, labels: Targets) -> Moments:
        """Of functions of the position, which nested fits may use anyway, and of the features."""
        return Position(labels, basis_of(X.shape[1:3])).beside(X, self.precision)

    def merge(self, states: Sequence[Moments]) -> Moments:
        return merge_all(states)

    def pack(self, state: Moments) -> dict[str, np.ndarray]:
        return pack_moments(state)

    def unpack(self, arrays: Mapping[str, np.ndarray]) -> Moments:
        return unpack_moments(arrays)

    def solve(self, training: Training) -> RidgeFits:
        def plain(g: int) -> list[Moments]:
            return [features_alone(fold[g], training.size, training.latents) for fold in training.folds]

        groups = [solve_group(group, plain(g), training.alphas) for g, group in enumerate(training.groups)]
        nested = nested_groups(training)
        space, key = _subspace(training, groups, nested)
        linear = {r: fit for group in groups for r, fit in group.fits(space).items()}
        return RidgeFits(linear, space, key, {r: fit for group in nested for r, fit in group.fits(space).items()})


RIDGE = Ridge()


def ridge_of(key: Mapping[str, Any]) -> Ridge:
    """The ridge whose `key()` this is; of the key of another kind, the usual one."""
    return replace(RIDGE, precision=key.get("precision", "float64")) if key["probe"] == RIDGE.name else RIDGE


def for_store(kind: Kind, store: ActivationStore) -> Kind:
    """A kind as a store wants it: what statistics stand in for activations are never made again, and so in float64."""
    if isinstance(kind, Ridge) and store.terms is not None:
        return replace(kind, precision="float64")
    return kind


def pack_moments(moments: Moments) -> dict[str, np.ndarray]:
    """All fields by name; of the symmetric matrix, one triangle."""
    changed = {"weight": np.float64(moments.weight), "cxx": moments.cxx[np.triu_indices(len(moments.cxx))]}
    return {name: np.asarray(array) for name, array in (vars(moments) | changed).items()}


def unpack_moments(packed: Mapping[str, np.ndarray]) -> Moments:
    """The inverse of `pack_moments`; CorruptError where the matrix isn't of as many features as there are means."""
    weight, mean_x, mean_y, triangle, cxy, cyy = (packed[field.name] for field in fields(Moments)[:-1])
    if triangle.shape != (len(mean_x) * (len(mean_x) + 1) // 2,):  # an empty array may be as long as it likes
        raise CorruptError(
            f"statistics: expected products of {len(mean_x)} features, got {triangle.size}; delete the store's folder "
            "statistics and run the same command again, behind the same `extract` where it stands in for dropped "
            "activations"
        )
    cxx = np.empty((len(mean_x), len(mean_x)))
    rows, columns = np.triu_indices(len(cxx))
    cxx[rows, columns] = cxx[columns, rows] = triangle
    rounding = packed.get("rounding", np.zeros(()))  # which files of earlier versions lack
    return Moments(float(weight), mean_x, mean_y, cxx, cxy, cyy, rounding)


@dataclass(frozen=True)
class SolvedGroup:
    """The ridges of responses that share their statistics of features."""

    responses: Group
    train: Moments
    spectrum: Spectrum
    alpha: np.ndarray
    """[response]"""
    cv_score: np.ndarray
    """[response]"""
    coef: np.ndarray
    """[response, channel]"""

    @property
    def wanted(self) -> np.ndarray:
        """[k, channel] what predictions use"""
        return self.coef

    def curves(self, alphas: np.ndarray) -> np.ndarray:
        """Coefficients [k, channel] of all targets at all strengths, and what is wanted."""
        paths = self.spectrum.coef(alphas)[:, : _own(self.responses)].reshape(-1, self.coef.shape[1])
        return np.concatenate([paths, self.wanted])

    def fits(self, space: Subspace) -> dict[Response, LinearFit]:
        return {response: self._fit(i, space) for i, response in enumerate(self.responses)}

    def _fit(self, i: int, space: Subspace) -> LinearFit:
        coef = self.coef[i]
        intercept = float(self.train.mean_y[i] - coef @ self.train.mean_x)
        if constant_targets(self.train)[i]:  # as labels that others lent may be
            coef, intercept = np.zeros_like(coef), float(self.train.mean_y[i])
        elif self.responses[i].binary:
            coef, intercept = log_odds(self.train, i, coef)
        fitted = Fitted(float(self.alpha[i]), float(self.cv_score[i]), coef, intercept)
        return LinearFit(fitted, space.express(coef), float(intercept + coef @ space.mean))


def solve_group(responses: Group, folds: Sequence[Moments], alphas: Sequence[float]) -> SolvedGroup:
    """Ridges of all responses, from one eigendecomposition for each training fold and one for all of them."""
    n = _own(responses)
    folds = [fold for fold in folds if fold.weight]
    if len(folds) < 2:
        raise InputError(
            f"target {responses[0].target!r}: expected labelled pixels in at least two folds of the training samples, "
            f"found them in {len(folds)}; label more samples, or leave it out with targets=…"
        )
    train = merge_all(folds)
    check_targets(train, [response.target for response in responses[:n]], "; leave it out with targets=…")
    every = np.unique([*alphas, *LADDER])
    errors = held_out_errors(folds, every)
    asked = np.flatnonzero(np.isin(every, alphas))
    ladder = np.flatnonzero(np.isin(every, LADDER))
    best = np.concatenate([asked[choose(errors[:, asked, :n])], ladder[choose(errors[:, ladder, n:])]])
    column = np.arange(len(responses))
    spectrum = Spectrum.of(train)
    return SolvedGroup(
        responses,
        train,
        spectrum,
        every[best],
        1 - errors.mean(0)[best, column] / np.where(train.cyy > 0, train.cyy / train.weight, np.nan),
        spectrum.coef(every)[best, column],
    )


def _own(responses: Group) -> int:
    """How many are fitted to their own labels; they come first."""
    return sum(not response.shuffled for response in responses)


def _subspace(training: Training, groups: Sequence[SolvedGroup], nested: Sequence[NestedGroup]) -> tuple[Subspace, str]:
    """Directions that serve all fits: cached ones, or where these lose something, others for just these fits."""
    first = groups[0]
    all_groups: list[SolvedGroup | NestedGroup] = [*groups, *nested]
    wanted = np.concatenate([group.wanted for group in all_groups])
    anyway = {"moments": training.key, "alphas": LADDER.tolist(), "beyond": [group.key for group in nested]}
    chosen = [group.alpha.tolist() for group in all_groups]
    for made_from in map(fingerprint, (anyway, {**anyway, "chosen": chosen})):
        if training.cache.has(SUBSPACE, made_from):
            space = Subspace(**training.cache.read(SUBSPACE, made_from))
        else:
            curves = np.concatenate([group.curves(LADDER) for group in all_groups])
            space = Subspace.of(first.train, first.spectrum, curves)
            training.cache.write(SUBSPACE, made_from, vars(space))
        if max(space.lost(first.train, coef) for coef in wanted) <= ACCURACY:
            break
    # Coordinates belong to these very directions, which a second computation need not find again.
    return space, fingerprint({"from": made_from, "directions": zlib.crc32(space.directions.tobytes())})
