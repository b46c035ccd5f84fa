"""Damped Newton for several penalised problems at once, which differ in the fold that each leaves out.

    minimise over θ:  loss(θ) + ½ Σ penalty θ²,      loss convex and a sum over rows

A pass for gradients serves all problems and costs little; a pass for a Hessian costs much. So Hessians are
kept as long as they are good enough, from one strength to the next too, and shared between problems: the
gradient alone decides where the steps end. When gains get small, the problems first get the Hessian of the
last problem (the one with all samples); those for which that is no help get their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from ldmscene.array_types import Array, Bools, Ints

# A step that leaves more than this of the decrement has outlived its Hessian.
_SLOW = 0.05


class Family(Protocol):
    """A loss, in passes over the data."""

    def gradient(self, theta: Array, held_out: Ints) -> Array:
        """Gradients [p, d] at theta [p, d], without the fold held_out [p] (−1: with all)."""

    def hessians(self, theta: Array) -> Array:
        """Hessians [fold, d, d] of each fold's loss at one theta [d]."""


@dataclass(frozen=True)
class Point:
    """Where the problems are, and what is known of their losses there."""

    theta: Array
    """[p, d]"""
    slope: Array
    """[p, d] gradient of the loss, without the penalty"""
    hessians: tuple[Array, ...]
    """p × [d, d] of the loss, at theta or near it"""
    converged: bool = False
    passes: int = 0
    """gradients that it took to get here"""


@dataclass
class _State:
    theta: Array
    slope: Array
    hessians: list[Array]
    factors: list[Any]
    step: Array
    decrement: Array
    fresh: Bools
    """[p] whether the Hessian was taken at theta itself"""


@dataclass(frozen=True)
class Problems:
    """What stays the same while they are minimised."""

    family: Family
    penalty: Array
    """[p, d]"""
    held_out: Ints
    """[p] the fold that each leaves out, or −1; the last problem has all samples"""

    def slope(self, theta: Array) -> Array:
        return self.family.gradient(theta, self.held_out)

    def hessians(self, theta: Array, problems: Ints) -> dict[int, Array]:
        """Hessians of some of the problems at one theta, in one pass."""
        pieces = self.family.hessians(theta)
        whole = pieces.sum(0)
        # Added from the other folds; subtracting one from the whole would leave its rounding errors.
        return {
            p: whole if self.held_out[p] < 0 else np.delete(pieces, self.held_out[p], axis=0).sum(0)
            for p in problems.tolist()
        }


def start_at(problems: Problems, theta: Array) -> Point:
    """The point theta [p, d]."""
    known = problems.hessians(theta[-1], np.arange(len(theta)))
    return Point(theta, problems.slope(theta), tuple(known.values()))


def minimise(
    problems: Problems, start: Point, limit: float | Array, max_iter: int, patience: int | None = None
) -> Point:
    """Minimise all problems.

    Stops when the Newton decrement gᵀH⁻¹g (about twice the loss still to gain) of each problem is at most its
    `limit`, or after `max_iter` passes. A step is halved until gᵀH⁻¹g falls with H kept fixed. A small enough
    step along s = −H⁻¹g always achieves that: its derivative there is −2 sᵀAs, with A the true Hessian.

    With `patience` it also stops when the decrement of a problem hasn't halved for as many passes: its gradients
    are mostly rounding then.
    """
    state = _open(problems, start)
    length = np.ones(len(state.theta))
    passes, least, since = 0, state.decrement.copy(), np.zeros(len(length), dtype=int)
    while passes < max_iter and (active := state.decrement > limit).any():
        better = state.decrement < least / 2
        least, since = np.where(better, state.decrement, least), np.where(better, 0, since + 1)
        if patience is not None and (since > patience)[active].any():
            break
        passes += 1
        accepted, slow = _advance(problems, state, length * active)
        length = np.where(accepted, np.minimum(1, 2 * length), length / 2)
        stale = (slow | ~accepted) & (state.decrement > limit)
        length[_refresh(problems, state, stale)] = 1
    converged = bool((state.decrement <= limit).all())
    return Point(state.theta, state.slope, tuple(state.hessians), converged, passes)


def _open(problems: Problems, start: Point) -> _State:
    factors = [_factor(h, pen) for h, pen in zip(start.hessians, problems.penalty, strict=True)]
    step, decrement = _newton_step(factors, start.slope + problems.penalty * start.theta)
    fresh = np.zeros(len(factors), dtype=bool)
    return _State(start.theta.copy(), start.slope.copy(), list(start.hessians), factors, step, decrement, fresh)


def _advance(problems: Problems, state: _State, length: Array) -> tuple[Bools, Bools]:
    """Move each problem by `length` of its step where that helps; say where it did, and where but little."""
    theta = state.theta + length[:, None] * state.step
    slope = problems.slope(theta)
    step, decrement = _newton_step(state.factors, slope + problems.penalty * theta)
    before = state.decrement
    accepted = (decrement < before) | (length == 0)
    moved = accepted & (length > 0)
    state.theta[moved], state.slope[moved] = theta[moved], slope[moved]
    state.step[moved], state.decrement = step[moved], np.where(moved, decrement, before)
    state.fresh &= ~moved
    return accepted, moved & (decrement > _SLOW * before)


def _refresh(problems: Problems, state: _State, stale: Bools) -> Ints:
    """Give stale problems the last one's Hessian, or their own if they have that; say which got a new one."""
    stale = stale & ~state.fresh
    new: dict[int, Array] = {}
    if stale.any() and not state.fresh[-1]:
        new = problems.hessians(state.theta[-1], np.flatnonzero(stale | (np.arange(len(stale)) == len(stale) - 1)))
        state.fresh[-1] = True
    else:
        for p in np.flatnonzero(stale).tolist():
            new |= problems.hessians(state.theta[p], np.array([p]))
            state.fresh[p] = True
    for p, hessian in new.items():
        gradient = state.slope[p] + problems.penalty[p] * state.theta[p]
        state.hessians[p], state.factors[p] = hessian, _factor(hessian, problems.penalty[p])
        step, decrement = _newton_step([state.factors[p]], gradient[None])
        state.step[p], state.decrement[p] = step[0], decrement[0]
    return np.array(list(new), dtype=int)


def _factor(hessian: Array, penalty: Array) -> Any:
    # Lifts what rounding may have pushed below zero.
    lift = 8 * np.finfo(np.float64).eps * float(np.trace(hessian))
    for _ in range(40):
        try:
            return cho_factor(hessian + np.diag(penalty + lift), lower=True, overwrite_a=True, check_finite=False)
        except np.linalg.LinAlgError:
            lift = 100 * max(lift, np.finfo(np.float64).tiny)
    raise AssertionError("a Hessian that no ridge makes positive definite")


def _newton_step(factors: list[Any], gradient: Array) -> tuple[Array, Array]:
    step = -np.stack([cho_solve(f, g, check_finite=False) for f, g in zip(factors, gradient, strict=True)])
    return step, -np.einsum("pd,pd->p", gradient, step)
