"""What features add to what is known, on a real store, against explicit fits by scikit-learn on pixels."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import xarray as xr
from scipy.stats import pearsonr, spearmanr
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GroupKFold

import ldmscene
from ldmscene.errors import InputError
from ldmscene.evaluation import beyond
from ldmscene.probes import FourierFeatures, Moments, cosines
from ldmscene.store.reader import ShardArray
from tests.conftest import LAST, bare_copy

SMALL = "mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0"
MIDDLE = "up_blocks.2.attentions.0.transformer_blocks.0.attn1.to_out.0"
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
    """For each split: known columns, features and labels of pixels (sample, pixel, …).

    The position is a column for each, or on maps larger than 8 × 8 the cosines that statistics hold.
    """
    found = []
    for split in ("train", "test"):
        X = store.activations(module, step, split).values.astype(np.float64)
        n, size = len(X), X.shape[1]
        lift = 64 // size
        X = X.repeat(lift, 1).repeat(lift, 2).reshape(n, 64 * 64, -1)
        where = np.arange(size * size).reshape(size, size).repeat(lift, 0).repeat(lift, 1).ravel()
        position = np.eye(size * size) if size <= 8 else cosines((size, size), 8).reshape(size * size, -1)
        columns = [np.broadcast_to(position[where], (n, 64 * 64, position.shape[1]))]
        columns += [_of_known(store, name, step, split, size) for name in given]
        found.append((np.concatenate(columns, -1), X, _labels(store, target, split)))
    return found


def _of_known(store, name: str, step: int, split: str, size: int) -> np.ndarray:
    """Labels, or x_t averaged over each position's cell, as columns (sample, pixel, …)."""
    if name != "latent":
        return _labels(store, name, split)[..., None]
    x = store.latents(step, split).values.astype(np.float64)
    n, c, side, _ = x.shape
    means = x.reshape(n, c, size, side // size, size, side // size).mean((3, 5))
    return np.moveaxis(means.repeat(64 // size, 2).repeat(64 // size, 3).reshape(n, c, -1), 1, -1)


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


def _compare(store, cell: xr.Dataset, target: str, given: tuple[str, ...] = (), module: str = SMALL) -> None:
    (Z, X, y), held = _pixels(store, module, 3, target, given)
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


@pytest.mark.parametrize(("target", "metric"), [("depth", spearmanr), ("shading", pearsonr)])
def test_scores_without_and_with_features_are_those_of_both_explicit_fits(copy, grid, target, metric):
    (Z, X, y), held = _pixels(copy, SMALL, 3, target)
    cell = grid.sel(target=target, module=SMALL, step=3)
    without, adds = _explicit(Z, X, y, _chosen(copy, Z, X, y)[0])
    for i, (z, x, truth) in enumerate(zip(*held, strict=True)):
        known = ~np.isnan(truth)
        alone = without(z[known])
        both = alone + adds(z[known], x[known])
        expected = [metric(truth[known], np.round(one, 9)).statistic for one in (alone, both)]
        np.testing.assert_allclose([cell["score_known"][i], cell["score_both"][i]], expected, atol=1e-5)


def test_scores_of_masks_are_higher_with_features(grid):
    means = grid.sel(target="mask", module=LAST, step=3)[["score_known", "score_both"]].mean("sample")
    assert 0 < means["score_known"] < means["score_both"] < 1


@pytest.mark.parametrize("target", ["depth", "mask", pytest.param("shading", marks=pytest.mark.slow)])
def test_effects_beyond_position_are_those_of_indicator_columns(copy, grid, target):
    _compare(copy, grid.sel(target=target, module=SMALL, step=3), target)


@pytest.mark.slow
@pytest.mark.parametrize("module", [MIDDLE, LAST])
@pytest.mark.parametrize("target", ["depth", "shading"])
def test_effects_on_larger_maps_are_those_of_explicit_columns(copy, module, target):
    found = ldmscene.evaluate(copy, target, **ARGUMENTS | {"modules": [module], "steps": [3]})
    _compare(copy, found.sel(target=target, module=module, step=3), target, module=module)


def test_effects_beyond_a_target_are_those_of_its_pixels(copy, grid):
    found = ldmscene.evaluate(copy, "depth", beyond=["position", "mask"], **ARGUMENTS)
    assert found["target"].values.tolist() == ["depth"]
    _compare(copy, found.sel(target="depth", module=SMALL, step=3), "depth", ("mask",))
    assert "beyond position and mask" in ldmscene.emergence(found).loc["depth", "sentence"]
    assert json.loads(found.attrs["beyond"]) == ["position", "mask"]
    assert found["score_both"].isnull().all()
    assert (found["left"].sum("sample") < grid["left"].sel(target=["depth"]).sum("sample")).all()


def test_readings_are_of_what_is_predicted_whatever_is_known(copy, grid):
    """What is known has a name that comes before."""
    found = ldmscene.evaluate(copy, "mask", beyond=["position", "depth"], **ARGUMENTS)
    of_mask = grid["baseline"].sel(target=["mask"], metric=found["metric"])
    np.testing.assert_array_equal(found["baseline"].sel(reading=of_mask["reading"]), of_mask)
    assert np.isfinite(found["baseline"]).all()


@pytest.mark.parametrize(
    ("known", "target", "said"),
    [
        pytest.param(("latent",), "shading", "position and latent", marks=pytest.mark.slow),
        (("latent", "mask"), "depth", "position, latent and mask"),
    ],
)
def test_effects_beyond_the_latent_are_those_of_its_channels(copy, grid, known, target, said):
    found = ldmscene.evaluate(copy, target, beyond=["position", *known], **ARGUMENTS)
    ours = found.sel(target=target)
    _compare(copy, ours.sel(module=SMALL, step=3), target, known)
    assert f"beyond {said}" in ldmscene.emergence(found).loc[target, "sentence"]
    assert found["rival"].values.tolist() == ["shuffled labels"]
    at = {"module": LAST, "step": 3}
    assert ours["left"].sel(at).sum() < grid["left"].sel(target=target, **at).sum()
    plain = grid["probe"].sel(target=target, metric=ours["metric"])
    np.testing.assert_allclose(ours["probe"], plain, rtol=1e-4, atol=1e-5)


def test_scores_beyond_the_latent_are_those_of_both_explicit_fits(copy):
    found = ldmscene.evaluate(copy, "shading", beyond=["position", "latent"], **ARGUMENTS)
    cell = found.sel(target="shading", module=SMALL, step=3)
    (Z, X, y), held = _pixels(copy, SMALL, 3, "shading", ("latent",))
    without, adds = _explicit(Z, X, y, _chosen(copy, Z, X, y)[0])
    for i, (z, x, truth) in enumerate(zip(*held, strict=True)):
        known = ~np.isnan(truth)
        alone = without(z[known])
        expected = [pearsonr(truth[known], one).statistic for one in (alone, alone + adds(z[known], x[known]))]
        np.testing.assert_allclose([cell["score_known"][i], cell["score_both"][i]], expected, atol=1e-5)


def test_a_nonlinear_reading_is_that_of_its_explicit_columns(copy):
    found = ldmscene.evaluate(copy, "depth", nonlinear=True, **ARGUMENTS | {"modules": [SMALL], "steps": [3]})
    functions = FourierFeatures.of(Moments.of(*_flat(copy)))
    (Z, X, y), held = _pixels(copy, SMALL, 3, "depth")
    alpha, _ = _chosen(copy, Z, functions(X), y)
    without, adds = _explicit(Z, functions(X), y, alpha)
    cell = found.sel(target="depth", step=3)
    for i, (z, x, truth) in enumerate(zip(*held, strict=True)):
        r, d = truth - without(z), adds(z, functions(x))
        share = ((r**2).sum() - ((r - d) ** 2).sum()) / (r**2).sum()
        assert float(cell["nonlinear_explained"][i] / cell["nonlinear_left"][i]) == pytest.approx(share, abs=1e-5)
    gain = float(found["nonlinear_explained"].sum() / found["nonlinear_left"].sum())
    assert ldmscene.emergence(found).loc["depth", "nonlinear"] == pytest.approx(gain)


def test_a_nonlinear_reading_is_the_same_whatever_else_is_read(copy):
    """Shading has holes, and so pixels of its own, by which its functions are scaled."""
    how = ARGUMENTS | {"modules": [SMALL], "steps": [3], "nonlinear": True}
    both, alone = (ldmscene.evaluate(copy, targets, **how) for targets in (["depth", "shading"], ["shading"]))
    for name in ("nonlinear_explained", "nonlinear_left"):
        np.testing.assert_allclose(both[name].sel(target=["shading"]), alone[name], rtol=1e-5)


def _flat(store) -> tuple[np.ndarray, None, np.ndarray]:
    X = store.activations(SMALL, 3, "train").values.astype(np.float64)
    return X.reshape(-1, X.shape[-1]), None, np.zeros(X[..., 0].size)


def test_a_nonlinear_reading_needs_effects_and_activations(copy):
    with pytest.raises(InputError, match="nonlinear: expected something in beyond="):
        ldmscene.evaluate(copy, "depth", nonlinear=True, beyond=None, **ARGUMENTS)


@pytest.mark.parametrize("target", ["depth", "shading"])
def test_the_refit_error_is_the_jackknifes_of_explicit_fits_without_a_fold(copy, grid, target):
    (Z, X, y), held = _pixels(copy, SMALL, 3, target)
    alpha, _ = _chosen(copy, Z, X, y)
    z, x, truth = (np.concatenate(list(part)) for part in held)
    known = ~np.isnan(truth)
    left = ((truth - _explicit(Z, X, y, alpha)[0](z))[known] ** 2).sum()
    shares = []
    for fit, _ in GroupKFold(3).split(X, groups=copy.manifest.frame.query("split == 'train'")["prompt"]):
        without, adds = _explicit(Z[fit], X[fit], y[fit], alpha)
        shares.append(1 - ((truth - without(z) - adds(z, x))[known] ** 2).sum() / left)
    error = np.std(shares) * 2**0.5  # of three folds: √(2/3 · Σ (share − mean)²)
    assert float(grid["refit"].sel(target=target, module=SMALL, step=3)) == pytest.approx(error, rel=1e-4)


def test_rivals_labelers_and_ceilings_are_there(grid):
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


def test_statistics_alone_give_the_same_effects(copy, grid, tmp_path, monkeypatch):
    """From the cache, with other penalties too, no activation is read again."""
    again = ldmscene.open(shutil.copytree(copy.root, tmp_path / "again"))
    shutil.rmtree(again.root / "probes")
    read, rows = ShardArray.read, set()

    def watched(array, samples, *more):
        rows.update(samples if array.path.startswith("activations/") else ())
        return read(array, samples, *more)

    monkeypatch.setattr(ShardArray, "read", watched)
    found = ldmscene.evaluate(again, ["depth", "mask", "shading"], **ARGUMENTS)
    for name in ("explained", "left", "gain_cv", "rival_explained", "labeler_explained"):
        xr.testing.assert_allclose(found[name], grid[name], rtol=1e-5, atol=1e-5)
    ldmscene.evaluate(again, ["depth", "mask", "shading"], **ARGUMENTS | {"alphas": ALPHAS[:2]})
    assert rows == set()
    ldmscene.evaluate(again, "mask", **ARGUMENTS)  # whose labels' holes are others
    assert rows == set(range(len(copy.samples)))


def test_a_grid_does_not_depend_on_penalties_that_were_tried_before(store, side, tmp_path):
    arguments = ARGUMENTS | {"modules": SMALL, "steps": [3]}
    one = bare_copy(store, tmp_path / "one")
    ldmscene.evaluate(one, "depth", **arguments)
    for n, alphas in enumerate([(1e4, 1e5), (3.0, 300.0)]):  # among those that directions are laid out for, and between
        found = ldmscene.evaluate(one, "depth", **arguments | {"alphas": alphas})
        anew = ldmscene.evaluate(bare_copy(store, tmp_path / str(n)), "depth", **arguments | {"alphas": alphas})
        for name in ("refit", "explained", "rival_explained", "correlation", "coef", "probe"):
            largest = float(np.abs(anew[name]).max())
            np.testing.assert_allclose(found[name], anew[name], atol=1e-5 * largest, rtol=0, err_msg=name)


def test_what_is_known_is_checked(copy):
    with pytest.raises(InputError, match="'mask' is to be predicted, too"):
        ldmscene.evaluate(copy, ["depth", "mask"], beyond=["position", "mask"], **ARGUMENTS)
    with pytest.raises(
        InputError, match=r"expected 'position', 'latent' or targets with labels in this store \(.*\), got 'place'"
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
    expected = r"expected one of `evaluate\(beyond='position'\)`, got one"
    with pytest.raises(InputError, match=f"{expected} without effects; evaluate again"):
        ldmscene.transfer(copy, ldmscene.evaluate(copy, "mask", beyond=None, **ARGUMENTS), "mask")
    for known, said in ((["position", "latent"], "position and latent"), (["position", "mask"], "position and mask")):
        grid = ldmscene.evaluate(copy, "depth", beyond=known, **ARGUMENTS)
        with pytest.raises(InputError, match=f"{expected} beyond {said}; evaluate again"):
            ldmscene.transfer(copy, grid, "depth")
