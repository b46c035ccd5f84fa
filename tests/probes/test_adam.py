"""The published protocol against a plain training loop."""

from __future__ import annotations

import pickle

import dask.array as da
import numpy as np
import pytest
import torch
import xarray as xr
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from worlds import GRID, SAMPLES, depth_world, mask_world, pixel_table

from ldmscene.errors import InputError
from ldmscene.probes import AdamProbe, LogisticProbe, RidgeProbe
from ldmscene.probes.huber import HuberCells
from ldmscene.probes.training import Recipe, train


def plain_loop(X: np.ndarray, y: np.ndarray, outputs: int, seed: int, epochs: int) -> np.ndarray:
    """torch's own Linear, Upsample and losses, given the same initial weights and order."""
    generator = torch.Generator().manual_seed(seed)
    layer = torch.nn.Linear(X.shape[-1], outputs, bias=False)
    bound = X.shape[-1] ** -0.5
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=generator)
    optimizer = torch.optim.Adam(layer.parameters(), lr=1e-3)
    up = torch.nn.Upsample(size=y.shape[1:], mode="nearest")
    for _ in range(epochs):
        for rows in torch.randperm(len(X), generator=generator).split(4):
            rows = rows.sort().values
            out = up(layer(torch.from_numpy(X)[rows].float()).permute(0, 3, 1, 2))
            labels = torch.from_numpy(y)[rows]
            if outputs == 1:
                loss = torch.nn.HuberLoss(delta=1)(out[:, 0], labels.float())
            else:
                loss = torch.nn.CrossEntropyLoss()(out, labels.long())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return layer.weight.detach().numpy()


@pytest.mark.parametrize(("loss", "outputs"), [("huber", 1), ("cross_entropy", 2)])
def test_training_is_the_plain_loop(loss: str, outputs: int) -> None:
    X, y = depth_world(holes=False) if outputs == 1 else mask_world(holes=False)
    labels = y.astype(np.float32) if outputs == 1 else y.astype(np.int64)
    weight, losses = train(X, labels, Recipe(loss, outputs, 1e-3, 3, 4, 1.0, 7, None))
    np.testing.assert_allclose(weight, plain_loop(X, y, outputs, 7, 3), atol=1e-6)
    assert len(losses) == 3


@pytest.mark.parametrize("delta", [0.05, 1.0, 30.0])
def test_the_huber_loss_on_cells_is_torchs_on_pixels(delta: float) -> None:
    """Of cells with pixels on both sides of δ, on one, without labels, and with scores among them and far off."""
    rng = np.random.default_rng(0)
    labels = rng.normal(size=(3, 8, 12)).astype(np.float32)
    labels[0, :2, :3], labels[1, 5], labels[2, ::2] = np.nan, np.nan, 7
    scores = torch.from_numpy(rng.normal(scale=3, size=(2, 4, 4)).astype(np.float32)).requires_grad_()
    rows = np.array([0, 2])
    loss, gradient = HuberCells.of(labels, (4, 4)).loss(scores.detach(), rows, delta)
    pixels = scores.repeat_interleave(2, 1).repeat_interleave(3, 2)
    truth = torch.from_numpy(labels[rows])
    known = ~truth.isnan()
    expected = torch.nn.functional.huber_loss(pixels[known], truth[known], delta=delta)
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(gradient, torch.autograd.grad(expected, scores)[0], rtol=1e-5, atol=1e-8)


def test_initial_weights_are_those_of_a_linear_layer() -> None:
    weights = [
        train(
            np.zeros((1, 1, 1, 64)),
            np.zeros((1, 1, 1), np.float32),
            Recipe("huber", 1, 1e-3, 0, 4, 1.0, s, None),
        )[0]
        for s in range(20)
    ]
    layers = [torch.nn.Linear(64, 1).weight.detach().numpy() for _ in range(20)]
    np.testing.assert_allclose(np.std(weights), np.std(layers), rtol=0.1)
    assert np.abs(weights).max() <= 1 / 8


def test_huber_learns_towards_the_ridge() -> None:
    X, y = depth_world(holes=True)
    X, y = (X - X.mean((0, 1, 2))) / X.std((0, 1, 2)), y - np.nanmean(y)
    probe = AdamProbe(lr=1e-2, epochs=150, random_state=0).fit(X, y)
    ridge = RidgeProbe(1.0, fit_intercept=False).fit(X, y)
    assert np.corrcoef(probe.coef_, ridge.coef_)[0, 1] > 0.98
    assert probe.score(X, y) > 0.9 * ridge.score(X, y)
    assert probe.losses_[-1] < 0.8 * probe.losses_[0]


def test_cross_entropy_learns_towards_the_logistic_regression() -> None:
    X, y = mask_world()
    X = (X - X.mean((0, 1, 2))) / X.std((0, 1, 2))
    probe = AdamProbe("cross_entropy", lr=1e-2, epochs=150, random_state=0).fit(X, y)
    logistic = LogisticProbe(1.0, fit_intercept=False).fit(X, y)
    difference = probe.coef_[1] - probe.coef_[0]
    assert np.corrcoef(difference, logistic.coef_[0])[0, 1] > 0.98
    assert probe.score(X, y) > logistic.score(X, y) - 0.03
    np.testing.assert_allclose(probe.predict_proba(X).sum(-1), 1)
    np.testing.assert_array_equal(probe.predict(X), probe.classes_[(probe.decision_function(X) > 0).astype(int)])


def test_pixels_without_label_teach_nothing() -> None:
    X, y = depth_world()
    filled = y.copy()
    X[0] = 1e3
    y[0] = np.nan
    filled = y[1:]
    with_hole = AdamProbe(epochs=1, batch_size=SAMPLES, random_state=0).fit(X, y)
    without = AdamProbe(epochs=1, batch_size=SAMPLES, random_state=0).fit(X[1:], filled)
    np.testing.assert_allclose(with_hole.coef_, without.coef_, atol=1e-6)
    with pytest.raises(InputError, match="expected at least one pixel with a label, got none"):
        AdamProbe(epochs=2, random_state=0).fit(X, np.full_like(y, np.nan))


def test_seeds_decide() -> None:
    X, y = depth_world()
    first, same, other = (AdamProbe(epochs=1, random_state=s).fit(X, y).coef_ for s in (3, 3, 4))
    np.testing.assert_array_equal(first, same)
    assert not np.allclose(first, other)


@pytest.mark.parametrize("loss", ["huber", "cross_entropy"])
def test_save_and_load(loss: str, tmp_path) -> None:
    X, y = mask_world()
    probe = AdamProbe(loss, epochs=1, random_state=0).fit(X, y)
    probe.save(tmp_path / "p.safetensors")
    loaded = AdamProbe.load(tmp_path / "p.safetensors")
    np.testing.assert_array_equal(loaded.predict(X), probe.predict(X))
    np.testing.assert_array_equal(loaded.predict_cells(X), probe.predict_cells(X))
    assert loaded.predict_cells(X).shape[:3] == (SAMPLES, *GRID)
    assert loaded.loss == loss


@pytest.mark.parametrize("loss", ["huber", "cross_entropy"])
def test_any_container_pickle_and_clone(loss: str) -> None:
    X, y = mask_world()
    probe = AdamProbe(loss, epochs=2, random_state=0)
    expected = clone(probe).fit(X, y)
    chunked = da.from_array(X, chunks=(5, 2, -1, 3))
    dims = ("sample", "y", "x", "channel")
    for one in (chunked, xr.DataArray(X, dims=dims), xr.DataArray(chunked, dims=dims), torch.from_numpy(X)):
        found = clone(probe).fit(one, xr.DataArray(y, dims=("sample", "Y", "X")))
        np.testing.assert_array_equal(found.coef_, expected.coef_)
        np.testing.assert_allclose(found.predict_cells(one), expected.predict_cells(X), atol=1e-12)
        assert found.score(one, y) == expected.score(X, y)
    again = pickle.loads(pickle.dumps(expected))
    np.testing.assert_array_equal(again.predict(X), expected.predict(X))
    X[3, 0, 0, 0] = np.nan
    with pytest.raises(InputError, match="X: sample 3 holds NaN"):
        again.fit(X, y)
    np.testing.assert_array_equal(again.coef_, expected.coef_)


@pytest.mark.parametrize("loss", ["huber", "cross_entropy"])
def test_pipeline_and_grid_search(loss: str) -> None:
    X, y, _ = pixel_table(*(depth_world(holes=False) if loss == "huber" else mask_world(holes=False)))
    y = y - y.mean() if loss == "huber" else y
    pipeline = make_pipeline(StandardScaler(), AdamProbe(loss, epochs=3, batch_size=64, random_state=0))
    search = GridSearchCV(pipeline, {"adamprobe__lr": [1e-9, 1e-1]}, cv=2).fit(X, y)
    assert search.best_params_["adamprobe__lr"] == 1e-1
    alone = AdamProbe(loss, lr=1e-1, epochs=3, batch_size=64, random_state=0).fit(StandardScaler().fit_transform(X), y)
    np.testing.assert_allclose(search.predict(X), alone.predict(StandardScaler().fit_transform(X)))


def test_tables_and_classes() -> None:
    X, y, _ = pixel_table(*mask_world(classes=3))
    names = np.array(["a", "b", "c"])[y.astype(int)]
    probe = AdamProbe("cross_entropy", epochs=3, batch_size=64, random_state=0).fit(X, names)
    assert set(probe.predict(X)) <= {"a", "b", "c"}
    assert probe.predict_proba(X).shape == (len(X), 3)
    assert not hasattr(AdamProbe(), "predict_proba")


def test_what_cannot_be_learned_is_said() -> None:
    X, y = mask_world()
    with pytest.raises(InputError, match="loss: expected"):
        AdamProbe("hinge").fit(X, y)
    with pytest.raises(InputError, match="1 class"):
        AdamProbe("cross_entropy").fit(X, np.zeros_like(y))
    for loss in ("huber", "cross_entropy"):
        with pytest.raises(InputError, match="at least one pixel with a label, got none"):
            AdamProbe(loss).fit(X, np.full_like(y, np.nan, dtype=float))
    with pytest.raises(InputError, match=r"whole numbers as classes, got 0[.]5; threshold first"):
        AdamProbe("cross_entropy").fit(X, (y > 0) / 2)
