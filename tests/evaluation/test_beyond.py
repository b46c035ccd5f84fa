"""What features add to what is known, on a real store, against explicit fits by scikit-learn on pixels."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import xarray as xr
from scipy.stats import pearsonr
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GroupKFold

import ldmscene
from ldmscene.errors import InputError
from ldmscene.evaluation import beyond
from tests.conftest import LAST, bare_copy

SMALL = "mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0"
ALPHAS = (1e0, 1e2, 1e4)
ARGUMENTS = {"modules": [LAST, SMALL], "steps": [1, 3], "cv": 3, "alphas": ALPHAS, "progress": False}


@pytest.fixture(scope="module")
def side():
    """All functions that states hold, so that small maps have indicator columns."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beyond, "choose_side", lambda folds, size: min(8, max(size)))
        yield


@pytest.fixture(scope="module")
def copy(store, side, tmp_path_factory):
    return bare_copy(store, tmp_path_factory.mktemp("beyond") / "copy")


@pytest.fixture(scope="module")
def grid(copy) -> xr.Dataset:
    return ldmscene.evaluate(copy, ["depth", "mask", "shading"], **ARGUMENTS)


def _pixels(store, module: str, step: int, target: str, given: tuple[str, ...] = ()):
    """For each split: known columns, features and labels of pixels (sample, pixel, …), the position one by one."""
    found = []
    for split in ("train", "test"):
        X = store.activations(module, step, split).values.astype(np.float64)
        n, size = len(X), X.shape[1]
        lift = 64 // size
        X = X.repeat(lift, 1).repeat(lift, 2).reshape(n, 64 * 64, -1)
        where = np.arange(size * size).reshape(size, size).repeat(lift, 0).repeat(lift, 1).ravel()
        columns = [np.broadcast_to(np.eye(size * size)[where], (n, 64 * 64, size * size))]
        columns += [_labels(store, name, split)[..., None] for name in given]
        found.append((np.concatenate(columns, -1), X, _labels(store, target, split)))
    return found


def _labels(store, target: str, split: str) -> np.ndarray:
    labels = store.labels(target, split).values.astype(np.float64)
    labels = np.where(np.isnan(labels), np.nan, labels > 0.5) if target == "mask" else labels
    return labels.reshape(len(labels), -1)


def _explicit(Z, X, y, alpha):
    """Without and with features, as functions of pixels."""
    known = ~np.isnan(y)
    Z, X, y = Z[known], X[known], y[known]
    of_x, of_y = LinearRegression().fit(Z, X), LinearRegression().fit(Z, y)
    ridge = Ridge(alpha, solver="cholesky").fit(X - of_x.predict(Z), y - of_y.predict(Z))
    return of_y.predict, lambda z, x: ridge.predict(x - of_x.predict(z))


def _chosen(store, Z, X, y) -> tuple[float, float]:
    """Strength and partial R² by cross-validation over prompts."""
    prompts = store.manifest.frame.query("split == 'train'")["prompt"].to_numpy()
    errors, alone = np.zeros((3, len(ALPHAS))), np.zeros(3)
    for k, (fit, held) in enumerate(GroupKFold(3).split(X, groups=prompts)):
        known = ~np.isnan(y[held])
        z, x, truth = Z[held][known], X[held][known], y[held][known]
        for a, alpha in enumerate(ALPHAS):
            without, adds = _explicit(Z[fit], X[fit], y[fit], alpha)
            errors[k, a] = np.mean((without(z) + adds(z, x) - truth) ** 2)
        alone[k] = np.mean((without(z) - truth) ** 2)
    mean = errors.mean(0)
    return ALPHAS[mean.argmin()], 1 - mean.min() / alone.mean()


def _compare(store, cell: xr.Dataset, target: str, given: tuple[str, ...] = ()) -> None:
    (Z, X, y), held = _pixels(store, SMALL, 3, target, given)
    alpha, gain = _chosen(store, Z, X, y)
    assert float(cell["gain_cv"]) == pytest.approx(gain, abs=1e-6)
    without, adds = _explicit(Z, X, y, alpha)
    for i, (z, x, truth) in enumerate(zip(*held, strict=True)):
        known = ~np.isnan(truth)
        r, d = truth[known] - without(z[known]), adds(z[known], x[known])
        assert float(cell["left"][i]) == pytest.approx((r**2).sum(), rel=1e-6)
        share = ((r**2).sum() - ((r - d) ** 2).sum()) / (r**2).sum()
        assert float(cell["explained"][i] / cell["left"][i]) == pytest.approx(share, abs=1e-6)
        assert float(cell["correlation"][i]) == pytest.approx(pearsonr(r, d).statistic, abs=1e-5)


@pytest.mark.parametrize("target", ["depth", "mask", "shading"])
def test_effects_beyond_position_are_those_of_indicator_columns(copy, grid, target):
    _compare(copy, grid.sel(target=target, module=SMALL, step=3), target)


def test_effects_beyond_a_target_are_those_of_its_pixels(copy, grid):
    found = ldmscene.evaluate(copy, "depth", beyond=["position", "mask"], **ARGUMENTS)
    assert found["target"].values.tolist() == ["depth"]
    _compare(copy, found.sel(target="depth", module=SMALL, step=3), "depth", ("mask",))
    assert "beyond position and mask" in ldmscene.emergence(found).loc["depth", "sentence"]
    assert json.loads(found.attrs["beyond"]) == ["position", "mask"]
    assert (found["left"].sum("sample") < grid["left"].sel(target=["depth"]).sum("sample")).all()


def test_refits_rivals_labelers_and_ceilings_are_there(grid):
    gains = grid["explained"].sum("sample") / grid["left"].sum("sample")
    assert (grid["refit"] > 0).all()
    assert (gains <= grid["ceiling"] + 1e-6).all()
    assert (grid["ceiling"].sel(module=LAST) > grid["ceiling"].sel(module=SMALL)).all()
    assert grid["rival"].values.tolist() == ["raw latent", "shuffled labels"]
    rivals = (grid["rival_explained"].sum("sample") / grid["rival_left"].sum("sample")).isel(step=-1)
    assert (rivals.sel(rival="shuffled labels") < gains.max("module").isel(step=-1)).all()
    assert grid["labeler"].values.tolist() == ["labeler on x_t", "labeler on predicted x_0"]
    read = (grid["labeler_explained"].sum("sample") / grid["labeler_left"].sum("sample")).isel(step=-1)
    assert (read.sel(labeler="labeler on predicted x_0", target="mask") > 0.5).all()


def test_statistics_alone_give_the_same_effects(copy, grid, tmp_path):
    """From the cache, whatever else is asked of it, no activation of a training sample is read again."""
    again = ldmscene.open(shutil.copytree(copy.root, tmp_path / "again"))
    shutil.rmtree(again.root / "probes")
    found = ldmscene.evaluate(again, ["depth", "mask", "shading"], **ARGUMENTS)
    for name in ("explained", "left", "gain_cv", "rival_explained", "labeler_explained"):
        xr.testing.assert_allclose(found[name], grid[name], rtol=1e-5, atol=1e-5)


def test_what_is_known_is_checked(copy):
    with pytest.raises(InputError, match="'mask' is to be predicted, too"):
        ldmscene.evaluate(copy, ["depth", "mask"], beyond=["position", "mask"], **ARGUMENTS)
    with pytest.raises(
        InputError, match=r"expected 'position' or targets with labels in this store \(.*\), got 'place'"
    ):
        ldmscene.evaluate(copy, beyond="place", **ARGUMENTS)
    with pytest.raises(InputError, match="has holes where the other has none"):
        ldmscene.evaluate(copy, "shading", beyond=["position", "mask"], **ARGUMENTS)


def test_without_anything_known_scores_are_compared(copy):
    found = ldmscene.evaluate(copy, "mask", beyond=None, **ARGUMENTS)
    assert "explained" not in found
    assert "The position was not taken off" in ldmscene.emergence(found).loc["mask", "sentence"]


def test_a_probe_of_one_step_is_applied_at_another(copy, grid):
    found = ldmscene.transfer(copy, grid, "depth", LAST)
    gains = (grid["explained"].sum("sample") / grid["left"].sum("sample")).sel(target="depth", module=LAST)
    np.testing.assert_allclose(np.diag(found), gains, atol=1e-5)
    fit = grid.sel(target="depth", module=LAST, step=1)
    X = copy.activations(LAST, 3, "test").values.astype(np.float64)
    size = X.shape[1]
    lift = 64 // size
    said = X @ fit["gain_coef"].values[: X.shape[-1]] + fit["gain_map"].values.reshape(size, size)
    known = grid.sel(target="depth", module=LAST, step=3)["known_map"].values.reshape(size, size)
    d = said.repeat(lift, 1).repeat(lift, 2)
    r = copy.labels("depth", "test").values - known.repeat(lift, 0).repeat(lift, 1)
    assert float(found.sel(fitted=1, applied=3)) == pytest.approx(1 - ((r - d) ** 2).sum() / (r**2).sum(), abs=1e-5)


def test_transfer_needs_effects_beyond_position(copy):
    with pytest.raises(InputError, match="without effects or beyond other targets"):
        ldmscene.transfer(copy, ldmscene.evaluate(copy, "mask", beyond=None, **ARGUMENTS), "mask")
