"""Ridge and logistic probes on maps and tables, in every container, in Pipelines, on disk."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_info
from worlds import GRID, GROUPS, SAMPLES, SCALE, depth_world, mask_world, pixel_table

from ldmscene.cells import spread
from ldmscene.errors import InputError, ShapeError
from ldmscene.probes import AdamProbe, LogisticProbe, RidgeProbe, gather_moments, group_labels
from ldmscene.probes.bilinear import lift
from ldmscene.probes.blocks import _block_moments

ALPHAS = (0.1, 10.0, 1000.0)
SHAPE = (SAMPLES, GRID[0] * SCALE[0], GRID[1] * SCALE[1])


def containers(X: np.ndarray) -> dict[str, Any]:
    chunks = (5, 2, -1, 3)
    return {
        "dask": da.from_array(X, chunks=chunks),
        "xarray": xr.DataArray(X, dims=("sample", "y", "x", "channel")),
        "xarray of dask": xr.DataArray(da.from_array(X, chunks=chunks), dims=("sample", "y", "x", "channel")),
    }


@pytest.mark.parametrize("upsample", ["nearest", "bilinear"])
@pytest.mark.parametrize("kind", ["dask", "xarray", "xarray of dask"])
def test_ridge_on_any_container(upsample: str, kind: str) -> None:
    X, y = depth_world()
    expected = RidgeProbe(ALPHAS, cv=3, upsample=upsample).fit(X, y, groups=GROUPS)
    labels = xr.DataArray(y, dims=("sample", "Y", "X")) if kind == "xarray" else y
    other = containers(X)[kind]
    probe = RidgeProbe(ALPHAS, cv=3, upsample=upsample).fit(other, labels, groups=GROUPS)
    np.testing.assert_allclose(probe.coef_, expected.coef_, atol=1e-10)
    np.testing.assert_allclose(probe.path_, expected.path_, rtol=1e-10)
    np.testing.assert_allclose(probe.predict(other), expected.predict(X), atol=1e-9)
    np.testing.assert_allclose(probe.score(other, labels), expected.score(X, y))


@pytest.mark.parametrize("kind", ["dask", "xarray", "xarray of dask"])
def test_logistic_on_any_container(kind: str) -> None:
    X, y = mask_world()
    expected = LogisticProbe(ALPHAS, cv=3).fit(X, y, groups=GROUPS)
    other = containers(X)[kind]
    probe = LogisticProbe(ALPHAS, cv=3).fit(other, y, groups=GROUPS)
    np.testing.assert_allclose(probe.coef_, expected.coef_, atol=1e-8)
    np.testing.assert_allclose(probe.predict_proba(other), expected.predict_proba(X), atol=1e-8)


@pytest.mark.parametrize("upsample", ["nearest", "bilinear"])
@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_ridge_on_tensors(upsample: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = depth_world()
    tensor = torch.from_numpy(X).to(getattr(torch, dtype))
    X = tensor.double().numpy()
    expected = RidgeProbe(ALPHAS, cv=3, upsample=upsample).fit(X, y, groups=GROUPS)
    with monkeypatch.context() as patch:  # nothing turns the activations into numpy
        patch.setattr(torch.Tensor, "__array__", None)
        small = _small_tensors_only(torch.Tensor.numpy)
        patch.setattr(torch.Tensor, "numpy", small)
        probe = RidgeProbe(ALPHAS, cv=3, upsample=upsample).fit(tensor.clone().requires_grad_(), y, groups=GROUPS)
    np.testing.assert_allclose(probe.coef_, expected.coef_, atol=1e-10)
    np.testing.assert_allclose(probe.path_, expected.path_, rtol=1e-10)
    np.testing.assert_allclose(probe.predict(tensor), expected.predict(X), atol=1e-9)
    np.testing.assert_allclose(probe.score(tensor, torch.from_numpy(y)), expected.score(X, y))
    tensor[3, 0, 0, 0] = torch.nan
    with pytest.raises(InputError, match="X: sample 3 holds NaN"):
        probe.fit(tensor, y)


def _small_tensors_only(numpy: Any) -> Any:
    def guarded(tensor: torch.Tensor) -> np.ndarray:
        assert tensor.numel() <= 25, "more than statistics of 5 channels"
        return numpy(tensor)

    return guarded


class Elsewhere(torch.Tensor):
    """A tensor as on a GPU, which numpy can't read before it has moved."""

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor")

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.Tensor.numpy:
            args[0].__array__()
        result = super().__torch_function__(function, types, args, kwargs or {})
        return result.as_subclass(torch.Tensor) if function is torch.Tensor.cpu else result


@pytest.mark.parametrize(("probe", "world"), [(RidgeProbe, depth_world), (LogisticProbe, mask_world)])
def test_labels_groups_and_weights_may_lie_on_another_device(probe: Any, world: Any) -> None:
    (X, y), probe = world(), probe(ALPHAS, cv=3)
    weight = np.arange(1.0, len(X) + 1)
    expected = clone(probe).fit(X, y, groups=GROUPS, sample_weight=weight)
    labels, groups, weights = (torch.as_tensor(one).as_subclass(Elsewhere) for one in (y, GROUPS, weight))
    found = clone(probe).fit(X, labels, groups=groups, sample_weight=weights)
    np.testing.assert_array_equal(found.coef_, expected.coef_)
    assert found.score(X, labels, sample_weight=weights) == expected.score(X, y, sample_weight=weight)
    if isinstance(probe, RidgeProbe):
        batches = clone(probe).partial_fit(X, y, groups=GROUPS, sample_weight=weight)
        again = clone(probe).partial_fit(X, labels, groups=groups, sample_weight=weights)
        np.testing.assert_array_equal(again.coef_, batches.coef_)


def test_tensors_as_tables_and_for_other_probes() -> None:
    X, y, _ = pixel_table(*mask_world())
    tensor = torch.from_numpy(X)
    for probe in (RidgeProbe(ALPHAS), LogisticProbe(ALPHAS)):
        expected = clone(probe).fit(X, y)
        found = clone(probe).fit(tensor, torch.from_numpy(y))
        np.testing.assert_allclose(found.coef_, expected.coef_, atol=1e-10)
        np.testing.assert_allclose(found.predict(tensor), expected.predict(X))
    maps, labels = mask_world()
    found = LogisticProbe(1.0).fit(torch.from_numpy(maps).bfloat16(), labels)
    expected = LogisticProbe(1.0).fit(torch.from_numpy(maps).bfloat16().float().numpy(), labels)
    np.testing.assert_array_equal(found.coef_, expected.coef_)


def test_chunks_send_statistics_of_their_own_folds_on_one_blas_thread() -> None:
    X, y = depth_world()
    seen: list[int] = []

    def spy(block: np.ndarray) -> np.ndarray:
        seen.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return block

    chunks = da.from_array(X, chunks=(1, -1, -1, -1)).map_blocks(spy, dtype=X.dtype, meta=X[:0])
    (targets,) = group_labels({"depth": y}, GRID)
    fold = np.arange(SAMPLES) % 5
    found = gather_moments(chunks, targets, fold, 6)
    assert seen
    assert set(seen) == {1}
    expected = gather_moments(X, targets, fold, 6)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a.cxx, b.cxx, rtol=1e-10, atol=1e-10)
    wide = np.zeros((2, 1, 1, 200))
    (targets,) = group_labels({"depth": np.arange(2.0).reshape(2, 1, 1)}, (1, 1))
    alone = pickle.dumps(_block_moments(wide[:1], targets[:1], fold[:1], 0, "float64"))
    assert len(alone) < 1.1 * 8 * 200**2


def test_tables_in_dask() -> None:
    X, y, _ = pixel_table(*depth_world())
    expected = RidgeProbe(ALPHAS).fit(X, y)
    probe = RidgeProbe(ALPHAS).fit(da.from_array(X, chunks=(100, 2)), da.from_array(y))
    np.testing.assert_allclose(probe.coef_, expected.coef_, atol=1e-10)
    np.testing.assert_allclose(probe.predict(da.from_array(X, chunks=(100, 2))), expected.predict(X))


@pytest.mark.parametrize("upsample", ["nearest", "bilinear"])
def test_ridge_predicts_at_the_labels_resolution(upsample: str) -> None:
    X, y = depth_world(mode=upsample)
    probe = RidgeProbe(ALPHAS, cv=3, upsample=upsample).fit(X, y, groups=GROUPS)
    table, labels, _ = pixel_table(X, y, upsample)
    model = Ridge(alpha=probe.alpha_, solver="svd").fit(table, labels)
    assert probe.predict(X).shape == SHAPE
    np.testing.assert_allclose(probe.predict(X)[~np.isnan(y)], model.predict(table), atol=1e-7)
    np.testing.assert_allclose(probe.score(X, y), r2_score(labels, model.predict(table)), atol=1e-9)
    cells = probe.predict_cells(X)
    assert cells.shape == (SAMPLES, *GRID)
    up = lift(cells, SHAPE[1:]) if upsample == "bilinear" else spread(cells, SCALE)
    np.testing.assert_allclose(probe.predict(X), up, atol=1e-9)
    assert probe.scale_ == SCALE


def test_logistic_predicts_at_the_labels_resolution() -> None:
    X, y = mask_world()
    probe = LogisticProbe(ALPHAS, cv=3).fit(X, y, groups=GROUPS)
    table, labels, _ = pixel_table(X, y)
    model = LogisticRegression(C=1 / probe.alpha_, tol=1e-10, max_iter=1000).fit(table, labels)
    known = ~np.isnan(y)
    np.testing.assert_allclose(probe.coef_, model.coef_, atol=1e-4)
    np.testing.assert_allclose(probe.predict_proba(X)[known], model.predict_proba(table), atol=1e-4)
    np.testing.assert_array_equal(probe.predict(X)[known], model.predict(table))
    np.testing.assert_allclose(probe.score(X, y), model.score(table, labels))
    assert probe.decision_function(X).shape == SHAPE
    assert probe.predict_cells(X).shape == (SAMPLES, *GRID, 2)
    assert 0.6 < probe.score(X, y) < 0.95


def test_classes_keep_their_names() -> None:
    X, y, _ = pixel_table(*mask_world(classes=3))
    names = np.array(["sky", "ground", "thing"])[y.astype(int)]
    probe = LogisticProbe(1.0).fit(X, names)
    assert set(probe.predict(X)) == {"sky", "ground", "thing"}
    np.testing.assert_array_equal(probe.classes_, ["ground", "sky", "thing"])
    np.testing.assert_allclose(probe.predict_proba(X).sum(1), 1)


def test_several_targets() -> None:
    X, y = depth_world(holes=False)
    both = np.stack([y, y**2], axis=-1)
    probe = RidgeProbe(ALPHAS, cv=3).fit(X, both, groups=GROUPS)
    assert probe.coef_.shape == (2, 5)
    assert probe.predict(X).shape == (*SHAPE, 2)
    assert probe.path_.shape == (3, 2)
    alone = RidgeProbe(ALPHAS, cv=3).fit(X, y, groups=GROUPS)
    np.testing.assert_allclose(probe.coef_[0], alone.coef_, atol=1e-10)
    np.testing.assert_allclose(
        probe.score(X, both),
        np.mean([alone.score(X, y), r2_score(both[..., 1].ravel(), probe.predict(X)[..., 1].ravel())]),
    )
    both[0, 0, 0, 1] = np.nan
    with pytest.raises(InputError, match="NaN; fit them one by one"):
        probe.fit(X, both)


def test_several_targets_are_scored_on_their_own_pixels() -> None:
    X, y = depth_world(holes=False)
    both = np.stack([y, y**2], axis=-1)
    probe = RidgeProbe(1.0).fit(X, both)
    both[0, :3, :, 0] = np.nan
    both[5, :, ::2, 1] = np.nan
    weight = np.arange(SAMPLES) + 1.0
    predicted, expected = probe.predict(X), []
    for t in range(2):
        known = ~np.isnan(both[..., t])
        expected.append(r2_score(both[known, t], predicted[known, t], sample_weight=weight[np.nonzero(known)[0]]))
    np.testing.assert_allclose(probe.score(X, both, weight), np.mean(expected), rtol=1e-12)
    both[..., 1] = np.nan
    with pytest.raises(InputError, match="at least one pixel with a label"):
        probe.score(X, both)


def test_partial_fit_in_any_batches_equals_fit() -> None:
    X, y = depth_world()
    whole = RidgeProbe(ALPHAS, cv=3).fit(X, y, groups=GROUPS)
    for cuts in ([0, 3, 14], [0, 1, 2, 9, 14]):
        probe = RidgeProbe(ALPHAS, cv=3)
        for a, b in pairwise(cuts):
            probe.partial_fit(X[a:b], y[a:b], groups=GROUPS[a:b])
        final = Ridge(alpha=probe.alpha_, solver="svd").fit(*pixel_table(X, y)[:2])
        np.testing.assert_allclose(probe.coef_, final.coef_, atol=1e-8)
        fold = dict(zip(GROUPS.tolist(), _dealt(cuts).tolist(), strict=True))
        of = np.array([fold[group] for group in GROUPS.tolist()])
        splits = [(np.flatnonzero(of != k), np.flatnonzero(of == k)) for k in range(3)]
        same = RidgeProbe(ALPHAS, cv=splits).fit(X, y)
        np.testing.assert_allclose(probe.errors_, same.errors_, rtol=1e-10)
        np.testing.assert_allclose(probe.path_, same.path_, rtol=1e-10)
        np.testing.assert_allclose(probe.path_, whole.path_, rtol=0.2)
    more = RidgeProbe(ALPHAS, cv=3).fit(X[:9], y[:9], groups=GROUPS[:9]).partial_fit(X[9:], y[9:], groups=GROUPS[9:])
    np.testing.assert_allclose(more.coef_, whole.coef_, atol=1e-8)
    with pytest.raises(ShapeError, match="scale"):
        more.partial_fit(X, spread(y, (2, 2)), groups=GROUPS)


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2), (2, 3), (0, 1), (1, 0), (0, 2)])
def test_partial_fit_refuses_another_number_of_targets(before: int, after: int) -> None:
    def labels(targets: int) -> np.ndarray:
        drawn = np.random.default_rng(0).normal(size=(6, max(targets, 1)))
        return drawn if targets else drawn[:, 0]

    X = np.random.default_rng(1).normal(size=(6, 3))
    probe = RidgeProbe(ALPHAS, cv=3).partial_fit(X, labels(before))
    coef = probe.coef_.copy()
    with pytest.raises(ShapeError, match=r"as before, got (one target|a last axis of \d targets)"):
        probe.partial_fit(X, labels(after))
    np.testing.assert_array_equal(probe.coef_, coef)


def _dealt(cuts: list[int]) -> np.ndarray:
    """Folds by the rule that `partial_fit` states: a new group goes to the fold with the fewest samples."""
    fold, sizes = np.full(SAMPLES, -1), [0, 0, 0]
    for a, b in pairwise(cuts):
        for i in range(a, b):
            before = np.flatnonzero(GROUPS[:i] == GROUPS[i])
            fold[i] = fold[before[0]] if len(before) else int(np.argmin(sizes))
            sizes[fold[i]] += 1
    return fold


@pytest.mark.parametrize("first", [False, True])
def test_a_call_that_fails_changes_nothing(first: bool) -> None:
    X, y = depth_world()
    bad, probe = X.copy(), RidgeProbe(ALPHAS, cv=3)
    bad[2, 0, 0, 0] = np.nan
    if not first:
        probe.partial_fit(X[:7], y[:7], groups=GROUPS[:7])
    before = dict(vars(probe))
    for one in (bad, da.from_array(bad, chunks=(4, -1, -1, -1))):
        with pytest.raises(InputError, match="X: sample 2 holds NaN"):
            probe.partial_fit(one, y)
        assert vars(probe) == before
        with pytest.raises(InputError, match="X: sample 2 holds NaN"):
            probe.fit(one[..., :3], y)
        assert vars(probe) == before
    rest = slice(0 if first else 7, None)
    probe.partial_fit(X[rest], y[rest], groups=GROUPS[rest])
    expected = Ridge(alpha=probe.alpha_, solver="svd").fit(*pixel_table(X, y)[:2])
    np.testing.assert_allclose(probe.coef_, expected.coef_, atol=1e-8)


def test_statistics_of_one_kind_only_are_added() -> None:
    X, y = depth_world()
    probe = RidgeProbe(ALPHAS, cv=KFold(3)).fit(X, y)
    with pytest.raises(InputError, match="in folds by a splitter"):
        probe.set_params(cv=3).partial_fit(X, y)
    probe.fit(X, y)
    with pytest.raises(InputError, match="are in 3 folds, got cv=5"):
        probe.set_params(cv=5).partial_fit(X, y)
    with pytest.raises(InputError, match="statistics so far are of 'nearest', got 'bilinear'"):
        probe.set_params(cv=3, upsample="bilinear").partial_fit(X, y)
    twice = probe.set_params(upsample="nearest").partial_fit(X, y)
    np.testing.assert_allclose(twice.fit(X, y).coef_, RidgeProbe(ALPHAS, cv=3).fit(X, y).coef_)


@pytest.mark.parametrize("probe", [RidgeProbe, LogisticProbe])
def test_one_standard_error_takes_the_largest_alpha_within_it(probe: type) -> None:
    X, y = depth_world(holes=False) if probe is RidgeProbe else mask_world(holes=False)
    alphas = np.logspace(-2, 6, 33)
    best = probe(alphas, cv=7).fit(X, y, groups=GROUPS)
    simple = probe(alphas, cv=7, one_standard_error=True).fit(X, y, groups=GROUPS)
    np.testing.assert_allclose(simple.errors_, best.errors_)
    assert best.errors_.shape == (7, 33)
    mean = [np.mean(best.errors_[:, a]) for a in range(33)]
    least = int(np.argmin(mean))
    error = np.sqrt(np.sum((best.errors_[:, least] - mean[least]) ** 2) / 6 / 7)
    within = [alpha for alpha, one in zip(alphas, mean, strict=True) if one <= mean[least] + error]
    assert simple.alpha_ == max(within)
    assert simple.alpha_ > best.alpha_ == alphas[least]


def test_sample_weights_are_repetitions() -> None:
    X, y = mask_world()
    weight = np.arange(SAMPLES) % 3
    for probe in (RidgeProbe(5.0), LogisticProbe(5.0)):
        weighted = clone(probe).fit(X, y, sample_weight=weight)
        repeated = clone(probe).fit(X.repeat(weight, 0), y.repeat(weight, 0))
        np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=1e-7)
        expected = repeated.score(X.repeat(weight, 0), y.repeat(weight, 0))
        np.testing.assert_allclose(weighted.score(X, y, weight), expected, atol=1e-9)


@settings(max_examples=15)
@given(st.integers(0, 2**16), st.sampled_from([1e-8, 1 / 400, 1e5]), st.booleans(), st.sampled_from([2, 3]))
def test_only_the_ratio_of_alphas_to_weights_matters(seed: int, scale: float, standardize: bool, classes: int) -> None:
    X, y = mask_world(seed, classes=classes)
    weight = np.random.default_rng(seed).uniform(0.1, 1, SAMPLES)
    alphas = np.array(ALPHAS)
    for probe in (RidgeProbe(cv=3, standardize=standardize), LogisticProbe(cv=3, standardize=standardize)):
        whole = clone(probe).set_params(alphas=alphas).fit(X, y, groups=GROUPS, sample_weight=weight)
        scaled = clone(probe).set_params(alphas=scale * alphas).fit(X, y, groups=GROUPS, sample_weight=scale * weight)
        np.testing.assert_allclose(scaled.coef_, whole.coef_, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(scaled.path_, whole.path_, rtol=1e-7)


def test_pipeline_and_grid_search() -> None:
    X, y, _ = pixel_table(*depth_world())
    search = GridSearchCV(RidgeProbe(cv=3), {"alphas": [1e9, 1.0], "standardize": [True, False]}, cv=3).fit(X, y)
    assert search.best_params_["alphas"] == 1.0
    assert search.best_score_ > 0.3
    X, y, _ = pixel_table(*mask_world())
    pipeline = make_pipeline(StandardScaler(), LogisticProbe(ALPHAS)).fit(X, y)
    np.testing.assert_allclose(
        pipeline.predict_proba(X),
        LogisticProbe(pipeline[-1].alpha_, standardize=True).fit(X, y).predict_proba(X),
        atol=1e-6,
    )


@pytest.mark.parametrize(
    "probe", [RidgeProbe(ALPHAS, cv=3, upsample="bilinear"), LogisticProbe(ALPHAS, cv=3, max_iter=50)]
)
def test_clone_pickle_save_and_load(probe: Any, tmp_path: Path) -> None:
    X, y = mask_world()
    fitted = clone(probe).fit(X, y, groups=GROUPS)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(X), fitted.predict(X))

    path = tmp_path / "probe.safetensors"
    fitted.save(path, provenance={"store": "abc", "step": 2})
    loaded = type(probe).load(path)
    assert loaded.provenance_ == {"store": "abc", "step": 2}
    assert loaded.get_params() == probe.get_params()
    assert loaded.alpha_ == fitted.alpha_
    np.testing.assert_array_equal(loaded.predict(X), fitted.predict(X))
    np.testing.assert_array_equal(loaded.path_, fitted.path_)
    np.testing.assert_array_equal(loaded.errors_, fitted.errors_)
    with safe_open(path, framework="numpy") as file:
        meta = json.loads(file.metadata()["probe"])
    assert meta["params"]["alphas"] == list(ALPHAS)
    assert meta["dtype"] == "float64"


@pytest.mark.parametrize("probe", [RidgeProbe(ALPHAS, cv=3), LogisticProbe(ALPHAS, cv=3), AdamProbe(epochs=1)])
def test_skops_need_trust_no_type_but_the_probe(probe: Any) -> None:
    skops = pytest.importorskip("skops.io")
    X, y = mask_world() if isinstance(probe, LogisticProbe) else depth_world()
    data = skops.dumps(probe.fit(X, y))
    own = [f"{type(probe).__module__}.{type(probe).__name__}"]
    assert skops.get_untrusted_types(data=data) == own
    again = skops.loads(data, trusted=own)
    np.testing.assert_array_equal(again.predict(X), probe.predict(X))
    if isinstance(probe, RidgeProbe):  # statistics and folds, too
        np.testing.assert_array_equal(again.partial_fit(X, y).coef_, probe.partial_fit(X, y).coef_)


@pytest.mark.parametrize("probe", [RidgeProbe(1.0), LogisticProbe(1.0), AdamProbe("cross_entropy", epochs=1)])
def test_what_is_predicted_from_an_xarray_is_one(probe: Any) -> None:
    X, y = mask_world()
    names = [f"sample {i}" for i in range(len(X))]
    coords = {"sample": names, "prompt": ("sample", names[::-1]), "step": 3, "x": np.arange(X.shape[2])}
    maps = xr.DataArray(X, coords, ("sample", "y", "x", "channel"))
    probe.fit(X, np.where(np.isnan(y), 0, y))
    for method, dims in (
        ("predict", ("sample", "Y", "X")),
        ("predict_cells", ("sample", "y", "x") + (() if isinstance(probe, RidgeProbe) else ("class",))),
        ("predict_proba", ("sample", "Y", "X", "class")),
        ("decision_function", ("sample", "Y", "X")),
    ):
        if hasattr(probe, method):
            found = getattr(probe, method)(maps)
            assert found.dims == dims
            np.testing.assert_array_equal(found, getattr(probe, method)(X))
            assert found.sel(sample="sample 2")["prompt"].item() == names[::-1][2]
            assert found["step"].item() == 3
            assert ("x" in found.coords) == ("x" in dims)
    assert probe.predict(maps[:, 0, 0]).dims == ("sample",)
    cells = probe.predict_cells(maps[:, 0, 0])
    np.testing.assert_array_equal(cells, probe.predict_cells(X[:, :1, :1]))
    assert cells.dims[:3] == ("sample", "y", "x")
    assert probe.score(maps, y) == probe.score(X, y)


def test_files_that_hold_no_such_probe_are_refused(tmp_path: Path) -> None:
    X, y = mask_world()
    path = tmp_path / "probe.safetensors"
    RidgeProbe(1.0).fit(X, y).save(path)
    with pytest.raises(InputError, match="holds a RidgeProbe"):
        LogisticProbe.load(path)
    with pytest.raises(InputError, match="a loaded probe has no statistics"):
        RidgeProbe.load(path).partial_fit(X, y)
    path.write_bytes(b"not a probe")
    with pytest.raises(InputError, match="no safetensors file"):
        RidgeProbe.load(path)
    with pytest.raises(InputError, match="no file at"):
        RidgeProbe.load(tmp_path / "nothing")
    with pytest.raises(NotFittedError):
        RidgeProbe().save(path)


@pytest.mark.parametrize("probe", [RidgeProbe(ALPHAS), LogisticProbe(ALPHAS)])
def test_bad_input_is_named(probe: Any) -> None:
    X, y = mask_world(holes=False)
    bad = X.copy()
    bad[11, 2, 1, 3] = np.nan
    for one in (bad, da.from_array(bad, chunks=(4, -1, -1, -1))):
        with pytest.raises(InputError, match="X: sample 11 holds NaN or infinity"):
            probe.fit(one, y)
    for one in (X * 1j, da.from_array(X * 1j), X.astype(object)):
        with pytest.raises(InputError, match=r"expected real numbers, got an array of dtype (complex128|object)"):
            probe.fit(one, y)
    with pytest.raises(ShapeError, match="multiples of the activations' 4 × 3, got 8 × 10"):
        probe.fit(X, y[:, :, :10])
    with pytest.raises(ShapeError, match=r"labels .* for the 14 samples of X"):
        probe.fit(X, y[1:])
    with pytest.raises(InputError, match="fewer groups than folds, 2 < cv=5"):
        probe.fit(X, y, groups=GROUPS > 3)
    with pytest.raises(InputError, match="nothing to learn"):
        probe.fit(X, np.ones_like(y))
    with pytest.raises(InputError, match="alphas: expected positive numbers"):
        clone(probe).set_params(alphas=(0.0, 1.0)).fit(X, y)
    with pytest.raises(InputError, match="sample_weight"):
        probe.fit(X, y, sample_weight=-np.ones(SAMPLES))
    probe.fit(X, y)
    with pytest.raises(ShapeError, match="X has 4 features, but"):
        probe.predict(X[..., :4])
    with pytest.raises(InputError, match="X: sample 11 holds NaN or infinity"):
        probe.predict(bad)


@pytest.mark.parametrize("probe", [RidgeProbe(ALPHAS), LogisticProbe(ALPHAS)])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_table_is_refused_as_one_of_numpy_is(probe: Any, bad: float) -> None:
    X, y, _ = pixel_table(*mask_world())
    labels = y.copy()
    labels[7] = bad
    for one in (X, da.from_array(X, chunks=(100, -1)), torch.from_numpy(X)):
        with pytest.raises(ValueError, match=r"Input y contains (NaN|infinity)"):
            probe.fit(one, da.from_array(labels) if isinstance(one, da.Array) else labels)
    X[7, 2] = bad
    named = "X: sample 7 holds NaN or infinity"
    for one, message in (
        (X, r"Input X contains (NaN|infinity)"),
        (da.from_array(X, chunks=(100, -1)), named),
        (torch.from_numpy(X), named if isinstance(probe, RidgeProbe) else r"Input X contains (NaN|infinity)"),
    ):
        with pytest.raises(ValueError, match=message):
            probe.fit(one, y)


@pytest.mark.parametrize("probe", [RidgeProbe(ALPHAS), LogisticProbe(ALPHAS), LogisticProbe(1.0)])
@pytest.mark.parametrize("why", ["no label", "no weight"])
def test_a_bad_sample_that_counts_for_nothing_is_named_too(probe: Any, why: str) -> None:
    X, y = mask_world(holes=False)
    X[11, 2, 1, 3] = np.nan
    weight = (np.arange(SAMPLES) != 11).astype(float) if why == "no weight" else None
    y[11] = np.nan if why == "no label" else y[11]
    for one in (X, da.from_array(X, chunks=(1, -1, -1, -1))):
        with pytest.raises(InputError, match="X: sample 11 holds NaN or infinity"):
            probe.fit(one, y, sample_weight=weight)


@pytest.mark.parametrize("probe", [RidgeProbe(1.0), LogisticProbe(1.0)])
def test_labels_groups_and_weights_are_of_the_same_samples(probe: Any) -> None:
    X, y = mask_world()
    names = {"sample": np.arange(SAMPLES)}
    maps = xr.DataArray(X, dims=("sample", "y", "x", "channel"), coords=names)
    labels = xr.DataArray(y, dims=("sample", "Y", "X"), coords=names)
    groups = xr.DataArray(GROUPS, dims="sample", coords=names)
    weight = xr.DataArray(np.ones(SAMPLES), dims="sample", coords=names)
    probe.fit(maps, labels, groups=groups, sample_weight=weight)
    assert probe.score(maps, labels, weight) == probe.score(X, y)
    with pytest.raises(ShapeError, match="y: its `sample`"):
        probe.fit(maps, labels[::-1])
    with pytest.raises(ShapeError, match="groups: its `sample`"):
        probe.fit(maps, labels, groups=groups[::-1])
    with pytest.raises(ShapeError, match="sample_weight: its `sample`"):
        probe.fit(maps, labels, groups=groups, sample_weight=weight[::-1])
    with pytest.raises(ShapeError, match="y: its `sample`"):
        probe.score(maps, labels[::-1])
    with pytest.raises(ShapeError, match="y: expected labels of shape"):
        probe.score(maps, y[:, :4])


@pytest.mark.parametrize("probe", [RidgeProbe(1.0), LogisticProbe(1.0), AdamProbe("cross_entropy", epochs=1)])
def test_axes_that_say_to_stand_elsewhere_are_refused(probe: Any) -> None:
    """As many channels as positions, so that the shape doesn't tell."""
    X, y = mask_world(holes=False)
    maps = xr.DataArray(X[..., : X.shape[1]], dims=("sample", "y", "x", "channel"))
    labels = xr.DataArray(y, dims=("sample", "Y", "X"))
    swapped = maps.transpose("sample", "channel", "x", "y")
    said = r"X: expected axes in the order sample, y, x, channel, got sample, channel, x, y; use X.transpose"
    with pytest.raises(ShapeError, match=said):
        probe.fit(swapped, labels)
    with pytest.raises(ShapeError, match="y: expected axes in the order sample, Y, X, got sample, X, Y"):
        probe.fit(maps, labels.transpose("sample", "X", "Y"))
    probe.fit(maps, labels)
    with pytest.raises(ShapeError, match=said):
        probe.predict(swapped)
    with pytest.raises(ShapeError, match="y: expected axes in the order"):
        probe.score(maps, labels.transpose("sample", "X", "Y"))
    assert probe.score(maps.rename(channel="feature"), labels) == probe.score(maps, labels)


@pytest.mark.parametrize("probe", [RidgeProbe(1.0), LogisticProbe(1.0), AdamProbe("cross_entropy", random_state=0)])
def test_what_numpy_masks_has_no_label(probe: Any) -> None:
    X, y = mask_world(holes=False)
    hidden = np.broadcast_to(np.arange(y.shape[2]) < 3, y.shape)
    expected = clone(probe).fit(X, np.where(hidden, np.nan, y))
    found = clone(probe).fit(X, np.ma.masked_array(y, hidden))
    np.testing.assert_array_equal(found.coef_, expected.coef_)
    assert found.score(X, np.ma.masked_array(y, hidden)) == expected.score(X, np.where(hidden, np.nan, y))


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64])
def test_masked_whole_numbers_are_classes_of_at_least_float32(dtype: Any) -> None:
    X, y = mask_world(holes=False)
    hidden = np.broadcast_to(np.arange(y.shape[2]) < 3, y.shape)
    found = LogisticProbe(1.0).fit(X, np.ma.masked_array(y.astype(dtype), hidden))
    assert found.classes_.dtype == (np.float64 if dtype is np.int64 else np.float32)
    assert found.classes_.tolist() == [0, 1]


@pytest.mark.parametrize("probe", [RidgeProbe(1.0), LogisticProbe(1.0), AdamProbe("cross_entropy", random_state=0)])
@pytest.mark.parametrize("dtype", [">f4", ">f2"])
def test_numbers_of_another_byte_order_are_the_same(probe: Any, dtype: str) -> None:
    X, y = mask_world()
    native = X.astype(np.dtype(dtype).newbyteorder("="))
    expected = clone(probe).fit(native, y)
    np.testing.assert_allclose(clone(probe).fit(X.astype(dtype), y).coef_, expected.coef_, rtol=1e-6)
    np.testing.assert_allclose(expected.predict_cells(X.astype(dtype)), expected.predict_cells(native))


@pytest.mark.parametrize("probe", [RidgeProbe(ALPHAS), LogisticProbe(ALPHAS)])
def test_shapes_that_are_no_maps_are_named(probe: Any) -> None:
    X, y = mask_world()
    for one in (X[..., 0], X[None]):
        with pytest.raises(ShapeError, match=r"expected a table \(n, c\) or maps \(sample, y, x, c\), got an array of"):
            probe.fit(one, y)
    with pytest.raises(ShapeError, match="X: expected at least one channel"):
        probe.fit(X[..., :0], y)
    with pytest.raises(InputError, match=rf"groups: expected one for each of the {SAMPLES} samples, got an array"):
        probe.fit(X, y, groups=GROUPS[:, None])
    probe.fit(X, y)
    with pytest.raises(ShapeError, match="expected a table"):
        probe.predict(X[..., 0])


def test_labels_that_are_no_classes_are_refused() -> None:
    X, y = depth_world()
    with pytest.raises(InputError, match=r"expected whole numbers|different values"):
        LogisticProbe().fit(X, y)
    with pytest.raises(InputError, match=r"whole numbers as classes, got 0[.]5"):
        LogisticProbe().fit(X, (y > np.nanmedian(y)) / 2)


def test_too_few_passes_warn() -> None:
    X, y = mask_world()
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        LogisticProbe(1e-3, max_iter=1).fit(X, y)


def test_more_noise_gives_a_larger_alpha_and_a_lower_score() -> None:
    X, y = depth_world(holes=False)
    noisy = y + 20 * np.random.default_rng(0).normal(size=y.shape)
    clean = RidgeProbe(cv=5).fit(X, y, groups=GROUPS)
    hard = RidgeProbe(cv=5).fit(X, noisy, groups=GROUPS)
    assert hard.alpha_ > clean.alpha_
    assert hard.score(X, noisy) < 0.2 < clean.score(X, y)


def test_importing_the_package_leaves_torch_alone() -> None:
    code = (
        "import sys, ldmscene.probes, ldmscene.metrics; assert 'torch' not in sys.modules; "
        "ldmscene.probes.AdamProbe; assert 'torch' in sys.modules"
    )
    with warnings.catch_warnings():
        subprocess.run([sys.executable, "-c", code], check=True)
