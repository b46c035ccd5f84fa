"""Logistic regressions for masks, which Newton's method solves in several passes over the features.

The first pass gathers what the features are shifted and scaled by. Those that follow read the training samples again,
from memory where all of them fit there.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import xlogy

from ldmscene.array_types import Array, Ints
from ldmscene.errors import InputError
from ldmscene.evaluation.kind import Fitted, Training, TrainingBlock
from ldmscene.evaluation.targets import Response
from ldmscene.probes import Targets
from ldmscene.probes.logistic import solve_logistic
from ldmscene.probes.logistic_probe import ALPHAS
from ldmscene.probes.rows import Rows, column_moments
from ldmscene.store.fingerprints import fingerprint

FITS = "fits"
_MEMORY = 1 << 28  # bytes of features that are read once and stay; more are read in each pass


@dataclass(frozen=True)
class Columns:
    """Of each feature by itself, and of each response its share."""

    weight: float
    """Σw over labelled pixels"""
    mean: Array
    """[channel]"""
    square: Array
    """[channel] Σw (x − mean)²"""
    total: Array
    """[response] Σ of labels"""


@dataclass(frozen=True)
class LogisticFits:
    """Log odds (sample, y, x) of every response, linear in the features."""

    fitted: Mapping[Response, Fitted]
    key: str

    def project(self, X: Array) -> Array:
        coef = np.stack([fit.coef for fit in self.fitted.values() if fit.coef is not None])
        return (X.astype(np.float64) @ coef.T + [fit.intercept for fit in self.fitted.values()]).astype(np.float32)

    def predict(self, response: Response, projected: Array) -> Array:
        return projected[..., list(self.fitted).index(response)]


class Logistic:
    """The kind of probe that maximises the likelihood of masks."""

    name = "logistic"
    target_kinds = ("binary",)
    alphas = ALPHAS
    rereads = True
    nests = False

    def key(self) -> dict[str, Any]:
        return {"probe": self.name, "version": 1}

    def reduce(self, X: Array, labels: Targets) -> Columns:
        rows = _rows(X, labels.weight, labels.mean[..., :1], np.zeros(len(X), dtype=int))
        (weight,), (mean,), (variance,) = column_moments(rows)
        if not np.isfinite(mean).all():
            raise InputError("X: expected numbers, got NaN or infinity; run `ldmscene verify` on the store")
        total = np.einsum("syx,syxt->t", labels.weight, labels.mean)
        return Columns(float(weight), mean, variance * weight, total)

    def merge(self, states: Sequence[Columns]) -> Columns:
        weight = sum(state.weight for state in states)
        if not weight:
            return states[0]
        mean = sum(state.weight * state.mean for state in states) / weight
        square = sum(state.square + state.weight * (state.mean - mean) ** 2 for state in states)
        return Columns(weight, np.asarray(mean), np.asarray(square), np.sum([state.total for state in states], axis=0))

    def pack(self, state: Columns) -> dict[str, Array]:
        return {name: np.asarray(value) for name, value in vars(state).items()}

    def unpack(self, arrays: Mapping[str, Array]) -> Columns:
        return Columns(float(arrays["weight"]), arrays["mean"], arrays["square"], arrays["total"])

    def solve(self, training: Training) -> LogisticFits:
        under = {"fits": self.key(), "states": training.key, "alphas": list(training.alphas)}
        names = [response for group in training.groups for response in group]
        if not training.cache.has(FITS, under):
            X = read_again(training.blocks)
            found = [fit for g in range(len(training.groups)) for fit in _solve_group(training, g, X)]
            training.cache.write(FITS, under, {k: np.stack([vars(f)[k] for f in found]) for k in vars(found[0])})
        cached = training.cache.read(FITS, under)
        rows = [dict(zip(cached, row, strict=True)) for row in zip(*cached.values(), strict=True)]
        fitted = {
            name: Fitted(float(one["alpha"]), float(one["cv_score"]), one["coef"], float(one["intercept"]))
            for name, one in zip(names, rows, strict=True)
        }
        # Two computations of one solution round otherwise.
        return LogisticFits(fitted, fingerprint({**under, "coef": zlib.crc32(cached["coef"].tobytes())}))


def _solve_group(training: Training, number: int, X: Any) -> list[Fitted]:
    states: list[Columns] = [fold[number] for fold in training.folds]
    labelled = sum(state.weight > 0 for state in states)
    if labelled < 2:
        raise InputError(
            f"target {training.groups[number][0].target!r}: expected labelled pixels in at least two folds of the "
            f"training samples, found them in {labelled}; label more samples, or leave it out with targets=…"
        )
    weight, mean, square = (np.stack([vars(state)[name] for state in states]) for name in ("weight", "mean", "square"))
    moments = weight, mean, square / np.where(weight > 0, weight, 1)[:, None]
    labels = [block.labels(number) for block in training.blocks]
    fold = np.concatenate([np.full(len(one), b.fold) for one, b in zip(labels, training.blocks, strict=True)])
    pixels, shares = (np.concatenate([vars(one)[name] for one in labels]) for name in ("weight", "mean"))
    found = []
    for i, response in enumerate(training.groups[number]):
        share = sum(state.total[i] for state in states) / weight.sum()
        if 0 < share < 1:
            rows = _rows(X, pixels, shares[..., i : i + 1], fold)
            found.append(_fit(training, response, rows, moments, float(share)))
        elif response.shuffled:  # as labels that others lent may be
            found.append(Fitted(training.alphas[-1], 0.0, np.zeros(mean.shape[1]), _log_odds(share, weight.sum())))
        else:
            raise InputError(
                f"y: {response.target} is constant ({share:g}): there is nothing to learn; leave it out with targets=…"
            )
    return found


def _fit(
    training: Training, response: Response, rows: Rows, moments: tuple[Array, Array, Array], share: float
) -> Fitted:
    solution = solve_logistic(rows, moments, training.alphas)
    if not solution.converged:
        warnings.warn(
            f"{training.name}: the logistic regression of {response.name} didn't converge; raise the least of alphas",
            stacklevel=2,
        )
    least = solution.path.min()
    entropy = -float(xlogy(share, share) + xlogy(1 - share, 1 - share))
    return Fitted(solution.alpha, float(1 - least / entropy), solution.coef[0], float(solution.intercept[0]))


def _log_odds(share: float, pixels: float) -> float:
    """Of a class that every pixel has or none, as if one pixel more were half of it."""
    count = share * pixels
    return float(np.log((count + 0.5) / (pixels - count + 0.5)))


def _rows(X: Any, pixels: Array, shares: Array, fold: Ints) -> Rows:
    weight = pixels.reshape(len(pixels), -1)
    counts = weight[..., None] * shares.reshape(*weight.shape, shares.shape[-1])
    return Rows(X.reshape(len(weight), weight.shape[1], -1), weight, counts, fold)


@dataclass(frozen=True)
class Reread:
    """Features (sample, y, x, channel) that are read when they are asked for, block by block."""

    blocks: Sequence[TrainingBlock]
    chunks: tuple[tuple[int, ...], ...]
    """sizes of the blocks, as dask has them"""
    shape: tuple[int, ...]
    dtype: np.dtype

    def reshape(self, *shape: int) -> Reread:
        size = int(np.prod(self.shape[1:])) // shape[1]
        return Reread(self.blocks, self.chunks, (shape[0], shape[1], size), self.dtype)

    def __getitem__(self, samples: slice) -> Array:
        number = np.cumsum((0, *self.chunks[0])).tolist().index(samples.start)
        features: Array = self.blocks[number].features()
        return features.reshape(-1, *self.shape[1:])


def read_again(blocks: Sequence[TrainingBlock]) -> Array | Reread:
    """All training features: in memory where they fit there."""
    first = blocks[0].features()
    sizes = tuple(len(block.labels(0)) for block in blocks)
    if first[:1].nbytes * sum(sizes) <= _MEMORY:
        return np.concatenate([first, *(block.features() for block in blocks[1:])])
    return Reread(blocks, (sizes,), (sum(sizes), *first.shape[1:]), first.dtype)
