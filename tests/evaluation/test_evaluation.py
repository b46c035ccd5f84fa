"""The grid against explicit scikit-learn fits on upsampled features, and scipy's scores of them."""

from __future__ import annotations

import re
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from dask.system import CPU_COUNT
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import PolynomialFeatures

import ldmscene
from ldmscene import capture, conclusions
from ldmscene import grid as grids
from ldmscene.calls.report_data import report_data
from ldmscene.errors import IncompleteError, InputError, LabelWarning, UnknownNameError, WriteError
from ldmscene.evaluation import on_device
from ldmscene.evaluation import samples as sampling
from ldmscene.evaluation.features import ModuleOutput, without_gaps
from ldmscene.evaluation.predicting import bench_of
from ldmscene.evaluation.provenance import fitting_of
from ldmscene.evaluation.ridge import LADDER, pack_moments, ridge_of, unpack_moments
from ldmscene.evaluation.samples import lend, training_blocks
from ldmscene.evaluation.scope import Scope
from ldmscene.evaluation.targets import target_of, targets_of
from ldmscene.metrics import metrics_of
from ldmscene.probes import Moments, assign_folds
from ldmscene.probes.tensor_sums import working_bytes
from ldmscene.store import layout
from ldmscene.store.disk import Disk
from ldmscene.store.dropping import forget
from ldmscene.text import human_bytes
from tests.conftest import FIRST, LAST, STEPS, bare_copy, make_manifest

DEMO = Path(__file__).parents[2] / "stores" / "demo"
MODULES = [FIRST, LAST]
ALPHAS = (1e1, 1e3, 1e5)


@pytest.fixture(scope="module")
def grid(store) -> xr.Dataset:
    return ldmscene.evaluate(store, modules=MODULES, alphas=ALPHAS, cv=3)


def _pixels(store, module: str, step: int, split: str) -> np.ndarray:
    """Features of every label pixel, (sample, pixel, channel)."""
    maps = store.activations(module, step, split).values.astype(np.float64)
    factor = 64 // maps.shape[1]
    return maps.repeat(factor, 1).repeat(factor, 2).reshape(len(maps), 64 * 64, -1)


@pytest.mark.parametrize(("module", "step"), [(FIRST, 0), (LAST, 3)])
@pytest.mark.parametrize(
    ("target", "metric", "score"), [("depth", "spearman", spearmanr), ("shading", "pearson", pearsonr)]
)
def test_ridge_scores_are_those_of_scikit_learn_on_pixels(store, grid, module, step, target, metric, score):
    _check_ridge(store, grid, module, step, target, metric, score)


@pytest.mark.skipif(not (DEMO / "manifest.parquet").exists(), reason="`make demo` makes the store that this reads")
@pytest.mark.parametrize(
    ("target", "metric", "score", "step"), [("depth", "spearman", spearmanr, 2), ("shading", "pearson", pearsonr, 14)]
)
def test_the_demos_scores_are_those_of_scikit_learn_on_pixels(target, metric, score, step):
    store, control = ldmscene.open(DEMO), DEMO.with_name("demo-permuted")
    grid = ldmscene.evaluate(store, permuted=control if control.exists() else None, progress=False)
    _check_ridge(store, grid, grids.best_module(grid, target), step, target, metric, score)


def _check_ridge(store, grid, module, step, target, metric, score):
    X, held = (_pixels(store, module, step, split) for split in ("train", "test"))
    y, truth = (store.labels(target, split).values.reshape(-1, 64 * 64) for split in ("train", "test"))
    known = ~np.isnan(y)
    cell = grid.sel(target=target, module=module, step=step)
    ridge = Ridge(alpha=float(cell["alpha"])).fit(X[known], y[known])
    np.testing.assert_allclose(cell["coef"].values[: X.shape[-1]], ridge.coef_, rtol=1e-4, atol=1e-7)
    for i, image in enumerate(truth):
        seen = ~np.isnan(image)
        expected = score(ridge.predict(held[i][seen]), image[seen]).statistic
        assert float(cell["probe"].sel(metric=metric)[i]) == pytest.approx(expected, abs=1e-4)


def test_the_penalty_is_the_one_that_grouped_cross_validation_chooses(store, grid):
    X, y = _pixels(store, LAST, 1, "train"), store.labels("depth", "train").values.reshape(14, -1)
    prompts = store.manifest.frame.query("split == 'train'")["prompt"].to_numpy()
    errors = np.zeros((3, len(ALPHAS)))
    for k, (fit, held) in enumerate(GroupKFold(3).split(X, groups=prompts)):
        for a, alpha in enumerate(ALPHAS):
            ridge = Ridge(alpha=alpha).fit(X[fit].reshape(-1, X.shape[-1]), y[fit].ravel())
            errors[k, a] = np.mean((ridge.predict(X[held].reshape(-1, X.shape[-1])) - y[held].ravel()) ** 2)
    cell = grid.sel(target="depth", module=LAST, step=1)
    assert float(cell["alpha"]) == ALPHAS[errors.mean(0).argmin()]
    assert float(cell["cv_score"]) == pytest.approx(1 - errors.mean(0).min() / y.var(), abs=1e-6)


def test_masks_are_those_of_scikit_learns_discriminant_along_its_ridge(store, grid):
    X, held = (_pixels(store, LAST, 2, split) for split in ("train", "test"))
    y, truth = (store.labels("mask", split).values.reshape(-1, 64 * 64) > 0.5 for split in ("train", "test"))
    cell = grid.sel(target="mask", module=LAST, step=2)
    ridge = Ridge(alpha=float(cell["alpha"])).fit(X.reshape(-1, X.shape[-1]), y.ravel())
    along = ridge.predict(X.reshape(-1, X.shape[-1]))[:, None]
    fisher = LinearDiscriminantAnalysis().fit(along, y.ravel())
    expected = fisher.decision_function(ridge.predict(held.reshape(-1, X.shape[-1]))[:, None])
    found = held @ cell["coef"].values[: X.shape[-1]].astype(float) + float(cell["intercept"])
    np.testing.assert_allclose(found.ravel(), expected, rtol=1e-3, atol=1e-3)
    for i, image in enumerate(truth):
        mask = expected.reshape(truth.shape)[i] > 0
        dice = 2 * (mask & image).sum() / (mask.sum() + image.sum())
        assert float(cell["probe"].sel(metric="dice")[i]) == pytest.approx(dice, abs=1e-3)


def test_the_shuffled_control_is_a_ridge_on_other_samples_labels(store, grid):
    frame = store.manifest.frame.query("split == 'train'")
    fold = assign_folds(len(frame), 3, frame["prompt"].to_numpy())
    blocks = [block for k in range(3) for block in training_blocks(frame[fold == k])]
    lender = {own: other for block in blocks for own, other in zip(block.ids, block.lenders, strict=True)}
    X, held = (_pixels(store, LAST, 1, split).reshape(-1, 64, 64, 48) for split in ("train", "test"))
    found = grid["shuffled"].sel(target="depth", metric="spearman", module=LAST, step=1).values
    y = store.labels("depth").sel(sample=[lender[s] for s in frame["sample_id"]]).values
    assert _distance_to_a_ridge(found, X, held, store, y, LADDER) < 1e-3


@pytest.mark.parametrize(("name", "source"), [(grids.LABELER_NOISY, "noisy"), (grids.LABELER_PREDICTED, "predicted")])
def test_the_labeler_baseline_is_the_labeler_on_the_unfinished_picture(store, grid, name, source):
    read = store.intermediate(source, "depth", "test").values
    truth = store.labels("depth", "test").values
    for step in range(STEPS):
        expected = [spearmanr(r.ravel(), t.ravel()).statistic for r, t in zip(read[:, step], truth, strict=True)]
        found = grid["baseline"].sel(reading=name, target="depth", metric="spearman", step=step)
        np.testing.assert_allclose(found, np.nan_to_num(expected), atol=1e-5)


def test_the_mean_label_baseline_is_the_mean_of_the_training_labels(store, grid):
    mean = store.labels("depth", "train").values.mean(0)
    expected = [spearmanr(mean.ravel(), t.ravel()).statistic for t in store.labels("depth", "test").values]
    found = grid["baseline"].sel(reading=grids.MEAN_LABEL, target="depth", metric="spearman")
    np.testing.assert_allclose(found, np.tile(expected, (STEPS, 1)), atol=1e-5)


def test_gaps_in_a_reading_hold_its_mean():
    maps = np.array([[[1.0, np.nan], [3.0, 2.0]], [[np.nan, np.nan], [np.nan, np.nan]]])
    np.testing.assert_array_equal(without_gaps(maps), [[[1, 2], [3, 2]], [[0, 0], [0, 0]]])


def test_every_score_that_a_metric_allows_is_there_and_no_other(grid):
    allowed = {kind: {metric.name for metric in metrics_of(kind)} for kind in ("continuous", "binary")}
    assert {"spearman", "pearson", "rmse", "r2"} <= allowed["continuous"]
    assert {"dice", "dice_background", "iou", "average_precision"} <= allowed["binary"]
    assert allowed["continuous"].isdisjoint(allowed["binary"])
    assert set(grid["metric"].values) == allowed["continuous"] | allowed["binary"]
    kinds = {"depth": "continuous", "mask": "binary", "shading": "continuous"}
    for target, kind in kinds.items():
        fits = allowed[kind]
        for metric in grid["metric"].values:
            cell = grid["probe"].sel(target=target, metric=metric)
            assert bool(cell.notnull().all()) == (metric in fits)


def test_each_activation_is_read_once_and_other_penalties_read_none(store, tmp_path, ranges):
    fresh = bare_copy(store, tmp_path / "copy")
    alphas = np.logspace(0, 5, 20)
    arguments = {"targets": ["depth", "mask", "shading"], "modules": [LAST], "cv": 5}
    first = ldmscene.evaluate(fresh, alphas=alphas, **arguments)
    chunk = fresh.info(layout.activation_path(LAST)).layout.chunk_bytes + 4
    assert ranges.count(chunk) == len(fresh.manifest) * STEPS
    ranges.clear()
    again = ldmscene.evaluate(fresh, alphas=alphas, **arguments)
    assert ranges == []
    xr.testing.assert_identical(first, again)

    others = 1.7 * alphas
    kept = ldmscene.evaluate(fresh, alphas=others, **arguments)
    assert ranges.count(chunk) == 0
    assert not np.array_equal(kept["alpha"], first["alpha"])
    anew = ldmscene.evaluate(bare_copy(store, tmp_path / "other"), alphas=others, **arguments)
    assert ranges.count(chunk) == len(fresh.manifest) * STEPS
    assert_same_but_for_order(kept, anew)


def assert_same_but_for_order(kept: xr.Dataset, anew: xr.Dataset) -> None:
    """Equal to 1e-6; two cells whose predictions are equal to that may change places, which ranks notice.

    Neighbours in order that change places move the rank correlation of n cells by 12 / n² at most: their ranks differ
    by 1, those of their labels by less than n, and the ranks' variance is n² / 12.
    """
    swap = 12 / float((kept["height"] * kept["width"]).min()) ** 2
    ranks, rest = ["spearman"], [m for m in kept["metric"].values if m != "spearman"]
    found, expected = kept.drop_attrs(), anew.drop_attrs()
    xr.testing.assert_allclose(found.sel(metric=rest), expected.sel(metric=rest), rtol=1e-6, atol=1e-6)
    xr.testing.assert_allclose(found.sel(metric=ranks), expected.sel(metric=ranks), rtol=1e-6, atol=2 * swap)
    apart = np.abs(found["probe"].sel(metric=ranks) - expected["probe"].sel(metric=ranks)) > 1e-6
    assert float(apart.mean()) < 0.02


def test_precisions_are_cached_apart_and_differ_by_rounding(store, tmp_path):
    copy = bare_copy(store, tmp_path / "copy")
    arguments = {"targets": "depth", "modules": LAST, "steps": 3, "alphas": ALPHAS, "cv": 3}
    single, double = (ldmscene.evaluate(copy, precision=one, **arguments) for one in ("float32", "float64"))
    assert (single["coef"] != double["coef"]).any()
    xr.testing.assert_identical(ldmscene.evaluate(copy, precision="float32", **arguments), single)
    assert single.attrs["provenance"] != double.attrs["provenance"]
    for name in ("probe", "cv_score", "gain_cv"):
        np.testing.assert_allclose(single[name], double[name], atol=1e-3)
    benches = [bench_of(copy, one, ridge_of(fitting_of(one).probe)) for one in (single, double)]
    assert [bench.kind.precision for bench in benches] == ["float32", "float64"]


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_a_device_gives_the_grid_of_the_processor(store, tmp_path, precision, capsys, monkeypatch):
    asked, on = [], on_device.on
    monkeypatch.setattr(on_device, "on", lambda device, X: asked.append((device, len(X))) or on(device, X))
    arguments = {"targets": ["depth", "mask"], "modules": LAST, "steps": 3, "alphas": ALPHAS, "cv": 3}
    plain, other = (bare_copy(store, tmp_path / name) for name in ("plain", "other"))
    expected = ldmscene.evaluate(plain, precision=precision, **arguments)
    found = ldmscene.evaluate(other, precision=precision, device="cpu", **arguments)
    assert re.search(r"memory on cpu: at most [\d.]+ [MG]B", capsys.readouterr().err)
    assert set(asked) == {("cpu", 4), ("cpu", 5), ("cpu", 6)}  # folds of 14 to be summed, and 6 to be projected
    tolerance = 1e-6 if precision == "float64" else 1e-3
    for name in ("probe", "shuffled", "cv_score", "gain_cv"):
        np.testing.assert_allclose(found[name], expected[name], atol=tolerance, err_msg=name)
    xr.testing.assert_equal(found["alpha"], expected["alpha"])


@pytest.mark.parametrize("more", [{}, {"beyond": ["position", "latent"], "nonlinear": True}], ids=["plain", "wider"])
def test_the_memory_that_is_said_is_that_of_the_widest_block(store, tmp_path, monkeypatch, capsys, more):
    moved, on = [], on_device.on
    monkeypatch.setattr(on_device, "on", lambda device, X: moved.append(X) or on(device, X))
    arguments = {"targets": ["depth", "mask"], "modules": LAST, "steps": 3, "alphas": ALPHAS, "cv": 3, **more}
    ldmscene.evaluate(bare_copy(store, tmp_path / "copy"), device="cpu", **arguments)
    widest = max(moved, key=lambda X: X[0].nbytes)
    n, (y, x, c) = sampling.BLOCK, widest.shape[1:]
    most = n * widest[0].nbytes + working_bytes((n, y * x, c), 4)  # two targets, with their own labels and lent ones
    said = human_bytes(min(on_device.AT_ONCE, CPU_COUNT) * most)
    assert f"memory on cpu: at most {said}, beside" in capsys.readouterr().err


def test_few_blocks_are_on_a_device_at_once(monkeypatch):
    there, most, lock = 0, 0, threading.Lock()

    def stay(*_):
        nonlocal there, most
        with lock:
            there, most = there + 1, max(most, there + 1)
        time.sleep(0.02)
        with lock:
            there -= 1
        raise InputError("gone again")

    def work(number):
        kind = on_device.DeviceRidge()
        with pytest.raises(InputError, match="gone"):
            fits.project(X) if number % 2 else kind.reduce(X, None)

    monkeypatch.setattr(on_device, "on", stay)
    X, fits = np.zeros((2, 3, 3, 4)), on_device.DeviceFits({}, None, "", {}, device="cpu")
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(work, range(24)))
    assert most == on_device.AT_ONCE == 4


def test_penalties_that_kept_coordinates_cannot_serve_are_read_for_again(store, tmp_path, ranges):
    fresh = bare_copy(store, tmp_path / "copy")
    chunk = fresh.info(layout.activation_path(LAST)).layout.chunk_bytes + 4
    ldmscene.evaluate(fresh, "depth", LAST, [1], alphas=ALPHAS, cv=3)
    ranges.clear()
    ldmscene.evaluate(fresh, "depth", LAST, [1], alphas=(1e-9, 1e-8), cv=3)
    assert ranges.count(chunk) == 6  # the held-out samples


def test_the_control_is_fitted_on_its_own_activations(tiny, store, manifest, tmp_path):
    control = ldmscene.extract(
        capture.permute_weights(tiny), manifest, tmp_path / "c", [LAST], steps=STEPS, batch_size=10
    )
    grid = ldmscene.evaluate(store, ["mask", "depth"], [LAST], alphas=ALPHAS, cv=3, permuted=control)
    assert grid["permuted"].dims == grid["probe"].dims
    assert not np.allclose(grid["permuted"].sel(metric="dice"), grid["probe"].sel(metric="dice"))
    # Its own activations against the labels of the model under study.
    X, held = (_pixels(control, LAST, 3, split) for split in ("train", "test"))
    found = grid["permuted"].sel(target="depth", metric="spearman", module=LAST, step=3).values
    assert _distance_to_a_ridge(found, X, held, store) < 1e-4


def test_a_control_that_is_none_is_refused(tiny, store, manifest, tmp_path):
    arguments = {"targets": "mask", "modules": [LAST], "alphas": ALPHAS, "cv": 3}
    with pytest.raises(InputError, match="denoiser's weights alone; what differs: nothing"):
        ldmscene.evaluate(store, permuted=store, **arguments)
    control = capture.permute_weights(tiny)
    other = ldmscene.extract(control, make_manifest(2, 1), tmp_path / "o", [LAST], steps=STEPS, batch_size=4)
    with pytest.raises(InputError, match="has no sample"):
        ldmscene.evaluate(store, permuted=other, **arguments)
    shorter = ldmscene.extract(control, manifest, tmp_path / "s", [LAST], steps=1, batch_size=20)
    with pytest.raises(InputError, match="steps: 4 and 1"):
        ldmscene.evaluate(store, permuted=shorter, **arguments)
    elsewhere = ldmscene.extract(control, manifest, tmp_path / "e", [FIRST], steps=STEPS, batch_size=20)
    with pytest.raises(IncompleteError, match="20 samples lack"):
        ldmscene.evaluate(store, permuted=elsewhere, **arguments)


def test_labels_of_the_final_images_are_enough(tiny, tmp_path):
    made = ldmscene.extract(tiny, make_manifest(4, 2), tmp_path / "s", [LAST], steps=2, batch_size=6)
    ldmscene.label(made, "mask", "tiny-mask")
    grid = ldmscene.evaluate(made, cv=2)
    assert grids.baselines(grid, "mask") == [grids.MEAN_LABEL, grids.RAW_LATENT, grids.POSITION]
    assert "mask" in conclusions.sentence(grid, "mask")


def _distance_to_a_ridge(
    found: np.ndarray, X: np.ndarray, held: np.ndarray, store, y: np.ndarray | None = None, alphas=ALPHAS
) -> float:
    """How far depth's Spearman scores are from those of scikit-learn's ridge on pixels, at the nearest alpha."""
    truth = store.labels("depth", "test").values
    y = store.labels("depth", "train").values if y is None else y
    distances = []
    for alpha in alphas:
        ridge = Ridge(alpha=alpha).fit(X.reshape(-1, X.shape[-1]), y.ravel())
        guesses = [ridge.predict(image.reshape(-1, X.shape[-1])) for image in held]
        expected = [spearmanr(guess, t.ravel()).statistic for guess, t in zip(guesses, truth, strict=True)]
        distances.append(np.abs(found - expected).max())
    return min(distances)


def test_the_raw_latent_baseline_is_a_ridge_on_the_latents(store, grid):
    X, held = (
        np.moveaxis(store.latents(1, split).values, 1, -1).repeat(4, 1).repeat(4, 2) for split in ("train", "test")
    )
    found = grid["baseline"].sel(reading=grids.RAW_LATENT, target="depth", metric="spearman", step=1).values
    assert _distance_to_a_ridge(found, X, held, store) < 1e-4


def test_the_position_baseline_is_a_ridge_on_products_of_coordinates(store, grid):
    place = np.stack(np.meshgrid(np.linspace(-1, 1, 16), np.linspace(-1, 1, 16), indexing="ij"), -1)
    features = PolynomialFeatures(3, include_bias=False).fit_transform(place.reshape(-1, 2)).reshape(16, 16, -1)
    pixels = features.repeat(4, 0).repeat(4, 1)
    X, held = (np.tile(pixels, (n, 1, 1, 1)) for n in (14, 6))
    found = grid["baseline"].sel(reading=grids.POSITION, target="depth", metric="spearman").values
    assert (found == found[0]).all()
    assert _distance_to_a_ridge(found[0], X, held, store) < 1e-4


def test_labels_of_other_samples_never_meet_activations(store):
    X, y = store.activations(LAST, 1, "train"), store.labels("depth", "train")
    probe = ldmscene.RidgeProbe(ALPHAS, cv=3).fit(X, y)
    assert probe.score(X, y) > 0
    with pytest.raises(ValueError, match="other samples' activations"):
        ldmscene.RidgeProbe(ALPHAS, cv=3).fit(X, y[::-1])


def test_predicted_maps_are_the_probes(store, grid):
    found = report_data(store, grid).predict("mask", LAST, 2)
    cell = grid.sel(target="mask", module=LAST, step=2)
    logit = store.activations(LAST, 2, "test").values.astype(float) @ cell["coef"].values + float(cell["intercept"])
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-logit)), atol=1e-6)


def test_what_cannot_be_evaluated_is_refused_with_the_reason(tiny, two, store):
    with pytest.raises(InputError, match="no labels yet"):
        ldmscene.evaluate(two)
    with pytest.raises(UnknownNameError, match="depth"):
        ldmscene.evaluate(store, targets=["dept"])
    with pytest.raises(InputError, match="fewer groups than folds"):
        ldmscene.evaluate(store, modules=[LAST], cv=99)
    with pytest.raises(InputError, match="at least two"):
        ldmscene.evaluate(store, modules=[LAST], alphas=[1.0])
    with pytest.raises(InputError, match="its steps are 0 to 3"):
        ldmscene.evaluate(store, steps=[4])
    with pytest.raises(UnknownNameError, match="module in this store"):
        ldmscene.evaluate(store, modules="up_blocks.9")
    ldmscene.label(two, "depth", "tiny-depth", split="test")
    with pytest.raises(IncompleteError, match="1 sample has no label 'depth'"):
        ldmscene.evaluate(two)
    ldmscene.extract(
        tiny, make_manifest(6, 0).with_splits(["train", "test"] * 3), two.root, [FIRST], steps=2, batch_size=8
    )
    unfinished = ldmscene.open(two.root)
    forget(unfinished, {layout.activation_path(FIRST): unfinished.manifest.frame["sample_id"][:1]})
    with pytest.raises(IncompleteError, match="1 sample lacks activations"):
        ldmscene.evaluate(unfinished, modules=[FIRST])


def test_names_may_be_globs(store):
    last = [module for module in store.modules if module.startswith("up_blocks.3")]
    scope = Scope.of(store, ["m*", "depth"], ["up_blocks.3*", last[0]], [2])
    assert (scope.targets, scope.modules, scope.steps) == (["mask", "depth"], last, [2])
    with pytest.raises(UnknownNameError, match="module in this store"):
        Scope.of(store, None, "up_blocks.9*", None)


def test_other_directions_than_before_get_coordinates_of_their_own(store, tmp_path):
    fresh = bare_copy(store, tmp_path / "copy")
    ldmscene.evaluate(fresh, "depth", LAST, [1], alphas=ALPHAS, cv=3)
    for path in (fresh.root / "statistics" / "subspace").iterdir():
        path.unlink()
    others = (7.0, 700.0)
    again = ldmscene.evaluate(fresh, "depth", LAST, [1], alphas=others, cv=3)
    anew = ldmscene.evaluate(bare_copy(store, tmp_path / "other"), "depth", LAST, [1], alphas=others, cv=3)
    xr.testing.assert_allclose(again.drop_attrs(), anew.drop_attrs(), rtol=1e-6, atol=1e-6)


def test_penalties_may_be_whole_numbers_of_numpy(store):
    found = ldmscene.evaluate(store, "depth", LAST, [1], alphas=np.array([10, 1000, 100000]), cv=np.int64(3))
    same = ldmscene.evaluate(store, "depth", LAST, [1], alphas=ALPHAS, cv=3)
    xr.testing.assert_identical(found, same)


@given(st.lists(st.integers(0, 8), min_size=2, max_size=60))
def test_labels_are_lent_once_each_and_to_other_prompts(prompts):
    ids = [f"s{i}" for i in range(len(prompts))]
    lenders = lend(ids, map(str, prompts))
    assert sorted(lenders) == sorted(ids)
    largest = max(prompts.count(p) for p in prompts)
    own = sum(prompts[i] == prompts[int(lender[1:])] for i, lender in enumerate(lenders))
    assert own <= max(0, 2 * largest - len(prompts))
    assert not any(own_id == lender for own_id, lender in zip(ids, lenders, strict=True))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=70))
def test_every_training_sample_is_in_one_block(prompts):
    frame = pd.DataFrame({"sample_id": [f"s{i}" for i in range(len(prompts))], "prompt": list(map(str, prompts))})
    blocks = training_blocks(frame)
    assert sorted(s for block in blocks for s in block.ids) == sorted(frame["sample_id"])
    assert all(sorted(block.lenders) == sorted(block.ids) for block in blocks)


@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_statistics_are_packed_without_loss(channels, seed):
    rng = np.random.default_rng(seed)
    whole = Moments.of(rng.normal(size=(9, channels)), None, rng.normal(size=(9, 2)))
    back = unpack_moments(pack_moments(whole))
    for name, value in vars(whole).items():
        np.testing.assert_array_equal(vars(back)[name], value)


def test_classes_of_many_digits_have_names_of_their_own(two):
    ldmscene.label(two, "seg", lambda images: 1_000_001.0 + images[..., 0] // 128, kind="classes", progress=False)
    found = targets_of(two, ["seg"], two.manifest.frame["sample_id"].tolist())
    assert [(target.name, target.of_class) for target in found] == [("seg=1000001", 1000001), ("seg=1000002", 1000002)]
    assert target_of(two, "seg=1000002") == found[1]


def test_each_class_is_a_mask_of_its_own(store, tmp_path):
    copy = bare_copy(store, tmp_path / "copy")

    def thirds(images):
        return images[..., 0] // 86

    for on, split in (("image", None), ("noisy", "test")):
        ldmscene.label(copy, "thirds", thirds, kind="classes", on=on, split=split)
    ldmscene.label(copy, "third", lambda images: thirds(images) == 2, kind="binary")
    found = ldmscene.evaluate(copy, ["thirds", "third"], LAST, [1], alphas=ALPHAS, cv=3)
    assert found["target"].values.tolist() == ["thirds=0", "thirds=1", "thirds=2", "third"]
    assert found["labels"].values.tolist() == ["thirds"] * 3 + ["third"]
    assert found["of_class"].values[:3].tolist() == [0, 1, 2]
    for name in ("probe", "shuffled", "alpha", "coef"):
        one, other = (found[name].sel(target=t).values for t in ("thirds=2", "third"))
        np.testing.assert_array_equal(one, other)
    read = found["baseline"].sel(reading=grids.LABELER_NOISY, metric="dice", step=1).sel(target="thirds=2")
    images = copy.previews("noisy", "test").values[:, 1]
    labels = copy.images("test").values
    for i, score in enumerate(read.values):
        a, b = thirds(images[i]) == 2, thirds(labels[i]) == 2
        assert score == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()), abs=1e-6)

    page = ldmscene.write_report(copy, found, tmp_path / "report")
    assert "thirds=2" in page.read_text()

    ldmscene.label(copy, "brightness", lambda images: images[..., 0].astype(int), kind="classes")
    with pytest.raises(InputError, match="more than 64 classes"):
        ldmscene.evaluate(copy, "brightness", LAST, [1], alphas=ALPHAS, cv=3)


def test_training_samples_without_labels_weigh_nothing_and_held_out_ones_are_refused(store, tmp_path):
    copy = bare_copy(store, tmp_path / "copy")
    frame = copy.manifest.frame
    depth = store.labels("depth").load()
    blank, held_out = (frame["sample_id"][frame["split"] == split].iloc[0] for split in ("train", "test"))
    ldmscene.label(copy, "some", depth.where(depth["sample"] != blank))
    found = ldmscene.evaluate(copy, "some", LAST, [1], alphas=ALPHAS, cv=3)
    X, y = copy.activations(LAST, 1, "train"), depth.sel(sample=frame["sample_id"][frame["split"] == "train"].tolist())
    seen = y["sample"].values != blank
    ridge = ldmscene.RidgeProbe(alphas=[found["alpha"].item()]).fit(X[seen].values, y[seen].values)
    np.testing.assert_allclose(found["coef"].values.ravel(), ridge.coef_.ravel(), rtol=1e-4, atol=1e-7)

    ldmscene.label(copy, "fewer", depth.where(depth["sample"] != held_out))
    with pytest.raises(InputError, match=f"held-out sample {held_out} has no labelled pixel for 'fewer'"):
        ldmscene.evaluate(copy, "fewer", LAST, [1], alphas=ALPHAS, cv=3)


def test_nothing_is_evaluated_twice(store):
    found = ldmscene.evaluate(store, ["depth", "depth"], [LAST, LAST], [1, 1, np.int64(1)], alphas=ALPHAS, cv=3)
    assert (found.sizes["target"], found.sizes["module"], found.sizes["step"]) == (1, 1, 1)
    assert found["cv_score"].notnull().all()


def test_a_store_that_cannot_be_written_to_lends_what_it_keeps(store, grid, tmp_path, monkeypatch):
    copy = ldmscene.open(shutil.copytree(store.root, tmp_path / "copy"))
    shutil.rmtree(copy.root / "probes")

    write = Disk.write

    def refuse(disk, key, data):
        if disk.root == copy.root:
            raise WriteError(f"can't write {key}: the disk is read-only")
        write(disk, key, data)

    def unread(*_):
        raise AssertionError("activations were read")

    monkeypatch.setattr(Disk, "write", refuse)
    monkeypatch.setattr(ModuleOutput, "read", unread)
    with pytest.warns(UserWarning, match="n't cached"):
        again = ldmscene.evaluate(copy, modules=MODULES, alphas=ALPHAS, cv=3)
    xr.testing.assert_allclose(again.drop_attrs(), grid.drop_attrs(), rtol=1e-6)  # merged in another order


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"alphas": 5.0}, "alphas: expected at least two"),
        ({"alphas": "x"}, "alphas: expected positive numbers"),
        ({"alphas": [1.0, -1.0]}, "alphas: expected positive numbers"),
        ({"device": "gpu9"}, "device: expected one that is here and has float64, of cpu.*got 'gpu9'"),
        ({"device": "meta:7"}, "device: expected one that is here"),
        ({"device": "cpu", "probe": "logistic"}, "device: expected none with probe='logistic'"),
        (
            {"precision": "float32", "probe": "logistic"},
            "precision: leave it out with probe='logistic': .* ridge's products alone, got 'float32'$",
        ),
        ({"beyond": ["latent"], "probe": "logistic"}, "beyond: expected None with probe='logistic'.* got ..latent"),
        ({"precision": "half"}, "precision: expected one of float64, float32, got 'half'"),
        ({"cv": 2.7}, "cv: expected a whole number"),
        ({"cv": 1}, "cv: expected a whole number"),
        ({"targets": []}, "targets: expected at least one"),
        ({"modules": []}, "modules: expected at least one"),
        ({"steps": []}, "steps: expected at least one"),
        ({"steps": 99}, "no step 99"),
        ({"steps": [0, 1.5]}, "steps: expected whole numbers"),
    ],
)
def test_arguments_that_cannot_be_used_are_named(store, wrong, said):
    with pytest.raises(InputError, match=said):
        ldmscene.evaluate(store, **{"modules": [LAST], **wrong})


def test_one_step_may_be_given_by_itself(store, grid):
    one = ldmscene.evaluate(store, "depth", LAST, 2, alphas=ALPHAS, cv=3)
    same = {"target": ["depth"], "module": [LAST], "metric": one["metric"], "step": [2]}
    np.testing.assert_allclose(one["probe"], grid["probe"].sel(same), atol=1e-6)


def test_targets_without_enough_labels_are_named(store, tmp_path):
    fresh = bare_copy(store, tmp_path / "copy")
    frame = fresh.manifest.frame
    maps = np.random.default_rng(0).normal(size=(len(frame), 64, 64))
    train = frame["split"].eq("train").to_numpy()
    some = dict(zip(frame["sample_id"], np.where(train[:, None, None], np.nan, maps), strict=True))
    ldmscene.label(fresh, "nowhere", some)
    with pytest.raises(InputError, match=r"target 'nowhere': expected labelled pixels in at least two folds .* in 0"):
        ldmscene.evaluate(fresh, "nowhere", LAST, 0, cv=3)
    with pytest.warns(LabelWarning, match="'flat': all labels are 2.5"):
        ldmscene.label(fresh, "flat", {sample_id: np.full((64, 64), 2.5) for sample_id in some})
    with pytest.raises(InputError, match=r"flat is constant .* leave it out with targets="):
        ldmscene.evaluate(fresh, "flat", LAST, 0, cv=3)
    blank = np.where(train[:, None, None], maps, np.nan)
    ldmscene.label(fresh, "trained", dict(zip(frame["sample_id"], blank, strict=True)))
    with pytest.raises(InputError, match=r"no labelled pixel for 'trained', .* leave it out with targets="):
        ldmscene.evaluate(fresh, "trained", LAST, 0, cv=3)


def test_lent_labels_that_are_all_the_same_teach_the_control_nothing(store, tmp_path):
    """A checkerboard that is finer than the cells: to the samples that borrow it, it is the same everywhere."""
    fresh = bare_copy(store, tmp_path / "copy")
    board = np.indices((64, 64)).sum(0) % 2
    ldmscene.label(fresh, "board", {s: board.astype(float) for s in fresh.manifest.frame["sample_id"]}, kind="binary")
    grid = ldmscene.evaluate(fresh, "board", FIRST, 0, cv=3)
    assert (grid["shuffled"].sel(metric="average_precision") == 0.5).all()


def _with_nan(store, root):
    """A copy with a NaN in step 1 of a training sample, and the sample's name."""
    fresh = bare_copy(store, root)
    sample_id = fresh.manifest.frame["sample_id"][3]
    info = fresh.info(layout.activation_path(LAST))
    row = fresh.rows([sample_id])
    values = info.read(row, {})[0]
    values[1, 0, 2, 3, 4] = np.nan
    info.file(row[0]).write_bytes(info.layout.encode(values))
    return fresh, sample_id


def test_a_sample_with_nan_is_named(store, tmp_path):
    fresh, sample_id = _with_nan(store, tmp_path / "copy")
    with pytest.raises(InputError, match=f"step 1: sample {sample_id} of {fresh.root} holds NaN"):
        ldmscene.evaluate(fresh, "depth", LAST, cv=3)


def test_a_sample_of_the_control_with_nan_is_named_with_its_store(tiny, store, manifest, tmp_path):
    control = ldmscene.extract(
        capture.permute_weights(tiny), manifest, tmp_path / "c", [LAST], steps=STEPS, batch_size=10
    )
    broken, sample_id = _with_nan(control, tmp_path / "broken")
    with pytest.raises(InputError, match=f"step 1: sample {sample_id} of {broken.root} holds NaN"):
        ldmscene.evaluate(bare_copy(store, tmp_path / "s"), "depth", LAST, cv=3, permuted=broken)


def test_the_grid_says_where_the_penalty_lies_at_an_end(grid):
    ends = grid["alpha"].isin([min(ALPHAS), max(ALPHAS)])
    xr.testing.assert_equal(grid["at_edge"], ends.rename("at_edge"))
