"""From statistics to probes: strengths by cross-validation, and the directions that held-out samples are kept in."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ldmscene.errors import InputError
from ldmscene.evaluation.task import Target, Task
from ldmscene.probes import Moments, Spectrum, Subspace, held_out_errors, log_odds, merge_all
from ldmscene.probes.choice import choose
from ldmscene.probes.ridge import check_targets, constant_targets
from ldmscene.store.kept import Kept
from ldmscene.store.prepare import fingerprint

SUBSPACE = "subspace"
# The space of kept coordinates is laid out for these; the control with shuffled labels chooses among them.
LADDER = np.logspace(-2, 8, 41)
# Kept coordinates serve a probe if they lose no more than this share of its prediction's deviation.
ACCURACY = 1e-6
SHUFFLED = "shuffled "


@dataclass(frozen=True)
class Probe:
    """A linear map to a target, for features and for their kept coordinates."""

    coef: np.ndarray
    intercept: float
    alpha: float
    cv_score: float
    inside: np.ndarray  # coefficients of the coordinates
    offset: float


@dataclass(frozen=True)
class Solved:
    """All probes of a place."""

    probes: Mapping[str, Probe]
    subspace: Subspace
    key: str  # of the subspace


def solve(
    kept: Kept, task: Task, columns: Sequence[Sequence[str]], key: str, folds: Sequence[Sequence[Moments]]
) -> Solved:
    """All probes of a place, from statistics [fold][group] that `key` names."""
    groups = [solve_group(task, names, [fold[g] for fold in folds]) for g, names in enumerate(columns)]
    space, space_key = _subspace(kept, task, key, groups)
    probes = {name: probe for group in groups for name, probe in group.probes(space, task.targets).items()}
    return Solved(probes, space, space_key)


@dataclass(frozen=True)
class Group:
    """The ridges of targets that share their statistics of features."""

    columns: Sequence[str]
    train: Moments
    spectrum: Spectrum
    alpha: np.ndarray  # [column]
    cv_score: np.ndarray  # [column]
    coef: np.ndarray  # [column, channel]

    def curves(self, alphas: np.ndarray) -> np.ndarray:
        """Coefficients [k, channel] of all targets at all strengths, and those of the shuffled controls."""
        n = len(self.columns) // 2
        paths = self.spectrum.coef(alphas)[:, :n].reshape(-1, self.coef.shape[1])
        return np.concatenate([paths, self.coef])

    def probes(self, space: Subspace, targets: Sequence[Target]) -> dict[str, Probe]:
        binary = {target.name for target in targets if target.kind == "binary"}
        return {
            name: self._probe(i, space, name.removeprefix(SHUFFLED) in binary) for i, name in enumerate(self.columns)
        }

    def _probe(self, i: int, space: Subspace, binary: bool) -> Probe:
        coef = self.coef[i]
        intercept = float(self.train.mean_y[i] - coef @ self.train.mean_x)
        if constant_targets(self.train)[i]:  # as labels that others lent may be
            coef, intercept = np.zeros_like(coef), float(self.train.mean_y[i])
        elif binary:
            coef, intercept = log_odds(self.train, i, coef)
        offset = float(intercept + coef @ space.mean)
        return Probe(coef, intercept, float(self.alpha[i]), float(self.cv_score[i]), space.express(coef), offset)


def solve_group(task: Task, columns: Sequence[str], folds: Sequence[Moments]) -> Group:
    """Ridges of all columns, from one eigendecomposition for each training fold and one for all of them."""
    n = len(columns) // 2
    folds = [fold for fold in folds if fold.weight]
    if len(folds) < 2:
        raise InputError(
            f"target {columns[0]!r}: expected labelled pixels in at least two folds of the training samples, found "
            f"them in {len(folds)}; label more samples, or leave it out of targets"
        )
    train = merge_all(folds)
    check_targets(train, columns[:n])
    alphas = np.unique([*task.alphas, *LADDER])
    errors = held_out_errors(folds, alphas)
    asked = np.flatnonzero(np.isin(alphas, task.alphas))
    ladder = np.flatnonzero(np.isin(alphas, LADDER))
    best = np.concatenate([asked[choose(errors[:, asked, :n])], ladder[choose(errors[:, ladder, n:])]])
    column = np.arange(len(columns))
    spectrum = Spectrum.of(train)
    return Group(
        columns,
        train,
        spectrum,
        alphas[best],
        1 - errors.mean(0)[best, column] / np.where(train.cyy > 0, train.cyy / train.weight, np.nan),
        spectrum.coef(alphas)[best, column],
    )


def _subspace(kept: Kept, task: Task, key: str, groups: Sequence[Group]) -> tuple[Subspace, str]:
    """Directions that serve all probes: those kept before, or else new ones with room for the strengths asked for."""
    first = groups[0]
    for alphas in (LADDER, np.unique([*LADDER, *task.alphas])):
        made_from = fingerprint({"moments": key, "alphas": alphas.tolist()})
        if kept.has(SUBSPACE, made_from):
            space = Subspace(**kept.read(SUBSPACE, made_from))
        else:
            curves = np.concatenate([group.curves(alphas) for group in groups])
            space = Subspace.of(first.train, first.spectrum, curves)
            kept.write(SUBSPACE, made_from, vars(space))
        if max(space.lost(first.train, coef) for group in groups for coef in group.coef) <= ACCURACY:
            break
    # Coordinates belong to these very directions, which a second computation need not find again.
    return space, fingerprint({"from": made_from, "directions": zlib.crc32(space.directions.tobytes())})
