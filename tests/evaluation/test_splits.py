"""Probes judged by another split than "test"."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge

import ldmscene
from ldmscene.calls.report_data import report_data
from ldmscene.errors import InputError, UnknownNameError
from ldmscene.evaluation.predicting import bench_of
from ldmscene.evaluation.ridge import RIDGE
from tests.conftest import LAST, bare_copy, make_manifest

ALPHAS = (1e1, 1e3)
HOW = {"alphas": ALPHAS, "cv": 3, "progress": False}


@pytest.fixture(scope="module")
def three(tiny, tmp_path_factory) -> ldmscene.ActivationStore:
    """Six training samples, two of "test", two of "val" with previews."""
    splits = [*["train"] * 6, *["test"] * 2, *["val"] * 2]
    samples = make_manifest(6, 4).with_splits(splits)
    root = tmp_path_factory.mktemp("splits") / "store"
    made = ldmscene.extract(tiny, samples, root, modules=LAST, steps=2, batch_size=10, previews="val", progress=False)
    ldmscene.label(made, "depth", "tiny-depth", progress=False)
    return ldmscene.label(made, "depth", "tiny-depth", on="predicted", split="val", progress=False)


def test_the_split_that_judges_is_scored_as_scikit_learn_and_scipy_do(three):
    grid = ldmscene.evaluate(three, held_out="val", **HOW)
    frame = three.manifest.frame
    assert grid["sample"].values.tolist() == frame["sample_id"][frame["split"] == "val"].tolist()
    cell = grid.sel(target="depth", module=LAST, step=1)
    X, held = (three.activations(LAST, 1, split).values.repeat(4, 1).repeat(4, 2) for split in ("train", "val"))
    y, truth = (three.labels("depth", split).values for split in ("train", "val"))
    ridge = Ridge(alpha=float(cell["alpha"])).fit(X.reshape(-1, X.shape[-1]).astype(np.float64), y.ravel())
    for image, label, found in zip(held, truth, cell["probe"].sel(metric="spearman").values, strict=True):
        said = ridge.predict(image.reshape(-1, X.shape[-1]).astype(np.float64))
        assert found == pytest.approx(spearmanr(said, label.ravel()).statistic, abs=1e-4)


def test_fits_are_those_that_test_judges_and_labelers_are_compared_where_there_are_previews(three):
    test, val = (ldmscene.evaluate(three, held_out=split, **HOW) for split in ("test", "val"))
    for name in ("coef", "intercept", "alpha", "gain_cv", "cv_score"):
        np.testing.assert_array_equal(test[name], val[name])
    assert not set(test["sample"].values) & set(val["sample"].values)
    assert "labeler" not in test.dims
    assert val["labeler"].values.tolist() == ["labeler on predicted x_0"]
    assert bench_of(three, val, RIDGE).task.test_ids == val["sample"].values.tolist()


def test_a_reading_by_another_labeler_than_the_labels_is_not_compared(three, tmp_path):
    """It would stand in for the labels' own, as what that one sees."""
    store = bare_copy(three, tmp_path / "store")
    ldmscene.label(store, "redness", _redness, progress=False)
    ldmscene.label(store, "redness", _greenness, on="predicted", split="val", progress=False)
    grid = ldmscene.evaluate(store, held_out="val", **HOW)
    found = grid["baseline"].sel(reading="labeler on predicted x_0").notnull().any(("metric", "step", "sample"))
    assert found.to_series().to_dict() == {"depth": True, "redness": False}
    assert [key[1] for key in report_data(store, grid).intermediate] == ["depth"]


def _redness(images: np.ndarray) -> np.ndarray:
    return images[..., 0] / 255


def _greenness(images: np.ndarray) -> np.ndarray:
    return images[..., 1] / 255


def test_a_split_that_cannot_judge_is_refused(three, store):
    with pytest.raises(UnknownNameError, match="held_out"):
        ldmscene.evaluate(three, held_out="train", **HOW)
    with pytest.raises(InputError, match="no sample in split 'val'"):
        ldmscene.evaluate(store, held_out="val", **HOW)


def test_the_report_shows_the_samples_that_judged(three, tmp_path):
    grid = ldmscene.evaluate(three, held_out="val", **HOW)
    page = ldmscene.write_report(three, grid, tmp_path / "report")
    assert "Every number here is of 2 images of 2 prompts" in " ".join(re.sub("<[^>]*>", " ", page.read_text()).split())
    every, ids = three.images().values.astype(float), three.manifest.frame["sample_id"].tolist()
    for row, sample_id in enumerate(grid["sample"].values.tolist()):  # pictures lose something in WebP
        shown = np.asarray(Image.open(tmp_path / "report" / "samples" / f"{row:04d}" / "image.webp").convert("RGB"))
        assert np.abs(every - shown).mean((1, 2, 3)).argmin() == ids.index(sample_id)
