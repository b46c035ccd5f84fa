"""Kinds of probe: logistic regressions against scikit-learn's, and one that comes from outside."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import xarray as xr
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupKFold

import ldmscene
from ldmscene.calls.report_data import report_data
from ldmscene.errors import InputError, UnknownNameError
from ldmscene.evaluation import logistic
from ldmscene.evaluation.kind import Fitted
from ldmscene.evaluation.kinds import KINDS
from ldmscene.evaluation.ridge import RIDGE
from tests.conftest import LAST, bare_copy

ALPHAS = (1e0, 1e2, 1e4)
ARGUMENTS = {"targets": "mask", "modules": LAST, "steps": [1], "cv": 3}


@pytest.fixture(scope="module")
def grid(store) -> xr.Dataset:
    return ldmscene.evaluate(store, probe="logistic", alphas=ALPHAS, **ARGUMENTS)


def _cells(store, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Features of every cell (sample, cell, channel), and the share of its pixels that are foreground."""
    maps = store.activations(LAST, 1, split).values.astype(np.float64)
    size = 64 // maps.shape[1]
    mask = store.labels("mask", split).values > 0.5
    share = mask.reshape(len(mask), maps.shape[1], size, maps.shape[2], size).mean((2, 4))
    return maps.reshape(len(maps), -1, maps.shape[-1]), share.reshape(len(share), -1)


def _doubled(X: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each cell as a foreground row and a background row, weighted by its pixels."""
    flat, pixels = X.reshape(-1, X.shape[-1]), 16 * share.ravel()
    return np.concatenate([flat, flat]), np.repeat([1, 0], len(flat)), np.concatenate([pixels, 16 - pixels])


def _fitted(X, share, alpha) -> LogisticRegression:
    rows, y, weight = _doubled(X, share)
    return LogisticRegression(C=1 / alpha, solver="newton-cholesky", tol=1e-12, max_iter=500).fit(rows, y, weight)


def test_logistic_probes_are_scikit_learns_on_pixels(store, grid):
    X, share = _cells(store, "train")
    cell = grid.isel(target=0, module=0, step=0)
    expected = _fitted(X, share, float(cell["alpha"]))
    np.testing.assert_allclose(cell["coef"], expected.coef_[0], rtol=1e-3, atol=1e-5)
    held, truth = _cells(store, "test")
    for i, image in enumerate(held):
        mask = expected.decision_function(image) > 0
        dice = 2 * (mask * truth[i]).sum() / (mask.sum() + truth[i].sum())
        assert float(cell["probe"].sel(metric="dice")[i]) == pytest.approx(dice, abs=1e-3)


def test_their_strength_is_the_one_of_the_least_held_out_loss(store, grid):
    X, share = _cells(store, "train")
    prompts = store.manifest.frame.query("split == 'train'")["prompt"].to_numpy()
    losses = np.zeros((3, len(ALPHAS)))
    for k, (fit, held) in enumerate(GroupKFold(3).split(X, groups=prompts)):
        rows, y, weight = _doubled(X[held], share[held])
        for a, alpha in enumerate(ALPHAS):
            chance = _fitted(X[fit], share[fit], alpha).predict_proba(rows)
            losses[k, a] = log_loss(y, chance, sample_weight=weight)
    mean = share.mean()
    entropy = -(mean * np.log(mean) + (1 - mean) * np.log(1 - mean))
    cell = grid.isel(target=0, module=0, step=0)
    assert float(cell["alpha"]) == ALPHAS[losses.mean(0).argmin()]
    assert float(cell["cv_score"]) == pytest.approx(1 - losses.mean(0).min() / entropy, abs=1e-4)
    assert 0.1 < float(cell["cv_score"]) < 1


def test_features_that_do_not_fit_in_memory_are_read_in_each_pass(store, grid, tmp_path, monkeypatch, ranges):
    monkeypatch.setattr(logistic, "_MEMORY", 0)
    again = ldmscene.evaluate(bare_copy(store, tmp_path / "copy"), probe="logistic", alphas=ALPHAS, **ARGUMENTS)
    np.testing.assert_allclose(again["coef"], grid["coef"], rtol=1e-5, atol=1e-7)
    assert len(ranges) > 5 * len(store.manifest)


def test_the_same_fits_are_not_solved_twice(store, grid, tmp_path, monkeypatch):
    copy = ldmscene.open(shutil.copytree(store.root, tmp_path / "copy"))
    shutil.rmtree(copy.root / "probes")
    monkeypatch.setattr(logistic, "solve_logistic", None)
    again = ldmscene.evaluate(copy, probe="logistic", alphas=ALPHAS, **ARGUMENTS)
    xr.testing.assert_equal(again["probe"], grid["probe"])


def test_a_kind_fits_the_targets_that_it_can(store):
    found = ldmscene.evaluate(store, None, LAST, [1], probe="logistic", alphas=ALPHAS, cv=3)
    assert found["target"].values.tolist() == ["mask"]
    with pytest.raises(InputError, match=r"expected binary ones, .* 'depth' is continuous"):
        ldmscene.evaluate(store, ["mask", "depth"], LAST, [1], probe="logistic", cv=3)
    with pytest.raises(UnknownNameError, match="no kind of probe named 'logit'; nearest: logistic"):
        ldmscene.evaluate(store, probe="logit")


def test_lent_labels_that_are_all_the_same_teach_a_logistic_control_nothing(store, tmp_path):
    fresh = bare_copy(store, tmp_path / "copy")
    board = (np.indices((64, 64)).sum(0) % 2).astype(float)
    ldmscene.label(fresh, "board", dict.fromkeys(fresh.manifest.frame["sample_id"], board), kind="binary")
    found = ldmscene.evaluate(fresh, "board", LAST, 0, probe="logistic", alphas=ALPHAS, cv=3)
    assert (found["shuffled"].sel(metric="average_precision") == 0.5).all()


class Quadratic:
    """A ridge on features and their squares: all that a nonlinear kind takes."""

    name, target_kinds, alphas, rereads, nests = "quadratic", ("continuous",), ALPHAS, False, False

    def key(self):
        return {"probe": self.name, "version": 1}

    def reduce(self, X, labels):
        return RIDGE.reduce(self.lift(X), labels)

    def merge(self, states):
        return RIDGE.merge(states)

    def pack(self, state):
        return RIDGE.pack(state)

    def unpack(self, arrays):
        return RIDGE.unpack(arrays)

    def solve(self, training):
        return QuadraticFits(RIDGE.solve(training), self.lift)

    @staticmethod
    def lift(X):
        return np.concatenate([X, X.astype(np.float32) ** 2], -1)


class QuadraticFits:
    def __init__(self, linear, lift):
        self.linear, self.lift = linear, lift
        self.key = linear.key
        self.fitted = {response: Fitted(fit.alpha, fit.cv_score) for response, fit in linear.fitted.items()}

    def project(self, X):
        return self.linear.project(self.lift(X))

    def predict(self, response, projected):
        return self.linear.predict(response, projected)


def test_a_kind_from_outside_is_one_file(store, monkeypatch):
    """On a store that was evaluated before, with the same targets, modules and steps."""
    arguments = {"targets": "depth", "modules": LAST, "steps": [1], "alphas": ALPHAS, "cv": 3}
    before = ldmscene.evaluate(store, **arguments)
    monkeypatch.setattr(KINDS, "_values", dict(KINDS))
    KINDS.register(Quadratic())
    found = ldmscene.evaluate(store, probe="quadratic", **arguments)
    X, held = (
        Quadratic.lift(store.activations(LAST, 1, split).values).astype(np.float64).repeat(4, 1).repeat(4, 2)
        for split in ("train", "test")
    )
    y, truth = (store.labels("depth", split).values for split in ("train", "test"))
    ridge = Ridge(float(found["alpha"].item())).fit(X.reshape(-1, X.shape[-1]), y.ravel())
    for i, image in enumerate(held):
        expected = spearmanr(ridge.predict(image.reshape(-1, X.shape[-1])), truth[i].ravel()).statistic
        assert float(found["probe"].sel(metric="spearman").values.ravel()[i]) == pytest.approx(expected, abs=1e-3)
        np.testing.assert_allclose(
            report_data(store, found).predict("depth", LAST, 1)[i].values.repeat(4, 0).repeat(4, 1).ravel(),
            ridge.predict(image.reshape(-1, X.shape[-1])),
            atol=1e-4,
        )
    assert "coef" not in found
    assert not np.allclose(found["probe"], before["probe"], equal_nan=True)
    xr.testing.assert_identical(ldmscene.evaluate(store, **arguments), before)
