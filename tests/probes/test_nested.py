"""What features add to the position and to other targets, against explicit fits on pixels by scikit-learn."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.fft import dct
from sklearn.linear_model import LinearRegression, Ridge

from ldmscene.errors import InputError
from ldmscene.probes import Moments, assign_folds, group_labels, merge_all, moments
from ldmscene.probes.nested import Projection, solve_nested
from ldmscene.probes.position import Position, choose_side, cosines, terms
from ldmscene.probes.supplied import LabelProducts, supply
from tests.probes.test_stats import assert_same
from tests.probes.worlds import GRID, GROUPS, SAMPLES, SCALE, depth_world, upsampled

ALPHAS = np.array([0.1, 10.0, 1000.0])
FOLD = assign_folds(SAMPLES, 3, GROUPS)
WEIGHT = np.linspace(0.5, 2, SAMPLES)
HEIGHT, WIDTH = GRID[0] * SCALE[0], GRID[1] * SCALE[1]


def world(mode: str, seed: int = 0):
    """Depth with a pattern of positions, and a mask that explains part of it."""
    X, depth = depth_world(seed, mode=mode)
    rng = np.random.default_rng(seed + 1)
    mask = np.where(np.isnan(depth), np.nan, rng.random(depth.shape) < 0.4)
    pattern = 6 * rng.normal(size=(HEIGHT, WIDTH))
    X = X + 3 * rng.normal(size=(*GRID, 1))
    return X, {"depth": depth + pattern + 2 * mask, "mask": mask}


def statistics(X, labels, mode, side, given=(), weight=None):
    """One per fold, of blocks of two samples that are merged."""
    (targets,) = group_labels(labels, GRID, mode, weight)
    basis = cosines(GRID, side)
    folds = []
    for k in range(3):
        rows = np.flatnonzero(k == FOLD)
        blocks = [rows[i : i + 2] for i in range(0, len(rows), 2)]
        whole = merge_all(Position(targets[b], basis).beside(X[b]) for b in blocks)
        if given:
            some = LabelProducts.of({name: label[rows] for name, label in labels.items()})
            w = np.ones(len(rows)) if weight is None else weight[rows]
            products = LabelProducts(some.count * w, some.mean, some.scatter * w[:, None, None]).whole()
            whole = supply(whole, [list(labels).index(name) for name in given], products)
        folds.append(whole)
    return folds


def pixels(X, labels, mode, side, given=(), weight=None):
    """The table that a plain library needs: known columns, features, target, weight, fold."""
    known = ~np.isnan(labels["depth"])
    basis = np.broadcast_to(cosines(GRID, side), (SAMPLES, *GRID, terms(GRID, side)))
    if side == max(GRID) and mode == "nearest":
        basis = np.broadcast_to(np.eye(GRID[0] * GRID[1]).reshape(*GRID, -1), (SAMPLES, *GRID, GRID[0] * GRID[1]))
    columns = [labels[name][known][:, None] for name in given]
    Z = np.concatenate([np.ones((known.sum(), 1)), *columns, upsampled(basis, mode)[known]], 1)
    sample = np.nonzero(known)[0]
    w = np.ones(SAMPLES) if weight is None else weight
    return Z, upsampled(X, mode)[known], labels["depth"][known], w[sample], FOLD[sample]


def explicit(Z, X, y, w, alpha):
    """Unpenalised Z by residuals on residuals: predictions with and without X, as functions."""
    of_x, of_y = (LinearRegression().fit(Z, a, sample_weight=w) for a in (X, y))
    ridge = Ridge(alpha, solver="cholesky").fit(X - of_x.predict(Z), y - of_y.predict(Z), sample_weight=w)
    return of_y.predict, lambda z, x: of_y.predict(z) + ridge.predict(x - of_x.predict(z))


CASES = [
    (mode, side, given, weight)
    for mode in ("nearest", "bilinear")
    for side in (1, 2, 4)
    for given in ((), ("mask",))
    for weight in (None, WEIGHT)
]


@pytest.mark.parametrize(("mode", "side", "given", "weight"), CASES)
def test_gains_and_predictions_are_those_of_an_explicit_fit(mode, side, given, weight) -> None:
    X, labels = world(mode)
    folds = statistics(X, labels, mode, side, given, weight)
    known = len(given) + terms(GRID, side)
    found = solve_nested(folds, known, ALPHAS)
    target = 0
    Z, features, y, w, fold = pixels(X, labels, mode, side, given, weight)

    errors, alone = [], []
    for k in range(3):
        train, test = fold != k, fold == k
        fits = [explicit(Z[train], features[train], y[train], w[train], a) for a in ALPHAS]
        errors.append([np.average((both(Z[test], features[test]) - y[test]) ** 2, weights=w[test]) for _, both in fits])
        alone.append(np.average((fits[0][0](Z[test]) - y[test]) ** 2, weights=w[test]))
    np.testing.assert_allclose(found.errors[:, :, target], errors, rtol=1e-6)
    np.testing.assert_allclose(found.alone_errors[:, target], alone, rtol=1e-6)
    best = ALPHAS[np.mean(errors, 0).argmin()]
    assert found.alpha[target] == best
    assert found.gain[target] == pytest.approx(1 - np.mean(errors, 0).min() / np.mean(alone), abs=1e-6)
    assert found.gain[target] > 0.01

    without, both = explicit(Z, features, y, w, best)
    mine = ~np.isnan(labels["depth"])
    lifted = upsampled(np.broadcast_to(cosines(GRID, side), (SAMPLES, *GRID, terms(GRID, side))), mode)
    columns = np.concatenate([*(labels[name][mine][:, None] for name in given), lifted[mine]], 1)
    np.testing.assert_allclose(columns @ found.alone[target] + found.alone_intercept[target], without(Z), atol=1e-6)
    ours = columns @ found.known[target] + features @ found.coef[target] + found.intercept[target]
    np.testing.assert_allclose(ours, both(Z, features), atol=1e-6)


def test_fits_without_a_fold_are_those_of_the_other_folds() -> None:
    X, labels = world("nearest")
    folds = statistics(X, labels, "nearest", 2)
    found = solve_nested(folds, 3, ALPHAS)
    for k in range(3):
        alone = solve_nested([f for j, f in enumerate(folds) if j != k], 3, found.alpha[:1])
        np.testing.assert_allclose(found.fold_coef[k, 0], [*alone.known[0], *alone.coef[0]], rtol=1e-9)
        assert found.fold_intercept[k, 0] == pytest.approx(alone.intercept[0])


def test_cosines_are_scipys_transform() -> None:
    side = 3
    basis = cosines((4, 5), side)
    assert basis.shape == (4, 5, terms((4, 5), side))
    y, x = (dct(np.eye(n), axis=0)[:side] / 2 for n in (4, 5))
    expected = {tuple(np.round(np.outer(a, b).ravel(), 9)) for a in y for b in x}
    constant = tuple(np.ones(20))
    assert {tuple(np.round(basis[..., k].ravel(), 9)) for k in range(basis.shape[-1])} == expected - {constant}
    np.testing.assert_array_equal(cosines((4, 5), 2), basis[..., : terms((4, 5), 2)])


@pytest.mark.parametrize("side", [0, 6, 1.5])
def test_a_basis_that_the_grid_can_not_carry_is_refused(side) -> None:
    with pytest.raises(InputError, match="1 to 5 on a grid of 4 × 5"):
        cosines((4, 5), side)


@given(
    seed=st.integers(0, 1000),
    cuts=st.lists(st.integers(0, SAMPLES), max_size=3),
    mode=st.sampled_from(["nearest", "bilinear"]),
)
def test_any_split_into_blocks_gives_the_statistics_of_the_columns_themselves(seed, cuts, mode) -> None:
    X, labels = world(mode, seed)
    (targets,) = group_labels(labels, GRID, mode, WEIGHT)
    basis = cosines(GRID, 3)
    wide = np.concatenate([np.broadcast_to(basis, (SAMPLES, *basis.shape)), X], -1)
    edges = [0, *sorted(cuts), SAMPLES]
    parts = [slice(a, b) for a, b in pairwise(edges) if b > a]
    found = merge_all(Position(targets[p], basis).beside(X[p]) for p in parts)
    assert_same(found, moments(wide, targets))
    alone = merge_all(Position(targets[p], basis).alone for p in parts)
    k = basis.shape[-1]
    np.testing.assert_allclose(alone.cxx, found.cxx[:k, :k], atol=1e-8)
    np.testing.assert_allclose(alone.cxy, found.cxy[:k], atol=1e-7)


@given(seed=st.integers(0, 1000), known=st.integers(0, 4))
def test_residuals_are_those_of_least_squares(seed, known) -> None:
    rng = np.random.default_rng(seed)
    X, Y = rng.normal(size=(30, 6)) @ rng.normal(size=(6, 6)), rng.normal(size=(30, 2))
    w = rng.uniform(0.1, 2, 30)
    train, other = Moments.of(X, w, Y), Moments.of(X[:9] + 1, None, Y[:9])
    projection = Projection.of(train, known)
    both = np.concatenate([X[:, known:], Y], 1)
    fit = LinearRegression().fit(X[:, :known], both, sample_weight=w) if known else None

    def left(X, Y):
        rest = np.concatenate([X[:, known:], Y], 1)
        rest = rest - X[:, :known] @ fit.coef_.T if fit else rest
        return rest[:, : 6 - known], rest[:, 6 - known :]

    assert_same(projection.residuals(train), Moments.of(left(X, Y)[0], w, left(X, Y)[1]), 1e-7)
    x, y = left(X[:9] + 1, Y[:9])
    assert_same(projection.residuals(other), Moments.of(x, None, y), 1e-7)


def test_features_that_hold_the_position_alone_gain_nothing() -> None:
    X, labels = world("nearest")
    only = np.broadcast_to(X[0], X.shape)
    found = solve_nested(statistics(only, labels, "nearest", 4), terms(GRID, 4), ALPHAS)
    np.testing.assert_array_equal(found.coef, 0)
    np.testing.assert_allclose(found.gain, 0, atol=1e-12)


def test_tensors_and_halves_give_the_same() -> None:
    X, labels = world("nearest")
    X = X.astype(np.float16)
    (targets,) = group_labels(labels, GRID, "nearest")
    position = Position(targets, cosines(GRID, 3))
    expected = position.beside(X.astype(np.float64))
    for same in (X, torch.from_numpy(X)):
        assert_same(position.beside(same), expected)


def test_as_many_terms_are_chosen_as_the_labels_pattern_has() -> None:
    rng = np.random.default_rng(3)
    grid, samples = (8, 8), 60
    basis = cosines(grid, 8)
    for side in (1, 2, 4):
        pattern = basis[..., : terms(grid, side)] @ rng.normal(size=terms(grid, side))
        y = 5 * pattern + rng.normal(size=(samples, *grid))
        (targets,) = group_labels({"depth": y}, grid)
        folds = [Position(targets[k::5], basis).alone for k in range(5)]
        assert choose_side(folds, grid) == side


def test_a_target_that_is_known_is_refused() -> None:
    X, labels = world("nearest")
    labels = {"depth": labels["mask"] * 3 + 1, "mask": labels["mask"]}
    folds = statistics(X, labels, "nearest", 1, ("mask",))
    with pytest.raises(InputError, match="tell target 'depth' already"):
        solve_nested(folds, 1, ALPHAS, ["depth"])


def test_a_known_target_with_holes_is_refused() -> None:
    _, labels = world("nearest")
    holed = labels["mask"].copy()
    holed[0, 0, 0] = holed[3, 3, 3] = np.nan
    with pytest.raises(InputError, match="labels of 'mask' at just the pixels of 'depth'"):
        LabelProducts.of({"depth": labels["depth"], "mask": holed})


def test_one_fold_is_not_enough() -> None:
    X, labels = world("nearest")
    with pytest.raises(InputError, match="at least 2 folds"):
        solve_nested(statistics(X, labels, "nearest", 1)[:1], 0, ALPHAS)
