"""Scores of classes against scikit-learn's on explicitly upsampled predictions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, jaccard_score

from ldmscene.errors import InputError, ShapeError
from ldmscene.metrics import CLASS_METRICS, ClassTruth, Confusion

CLASSES = np.array([0, 2, 7, 9])
REFERENCES = {
    "accuracy": accuracy_score,
    "mean_iou": lambda y, p: jaccard_score(y, p, average="macro", labels=np.union1d(y, p)),
}


def _world(seed: int, holes: bool):
    rng = np.random.default_rng(seed)
    labels = rng.choice(CLASSES[: rng.integers(1, 5)], (3, 8, 12)).astype(np.float32)
    labels[rng.random(labels.shape) < 0.3 * holes] = np.nan
    labels[:, 0, 0] = CLASSES[0]
    return labels, rng.choice(CLASSES, (2, 3, 4, 6))


@given(st.integers(0, 1000), st.booleans(), st.sampled_from(sorted(CLASS_METRICS)))
def test_every_class_metric_is_scikit_learns_on_pixels(seed, holes, name):
    labels, prediction = _world(seed, holes)
    found = CLASS_METRICS[name].score(ClassTruth.of(labels, (4, 6), CLASSES), prediction)
    assert found.shape == (2, 3)
    upsampled = prediction.repeat(2, -2).repeat(2, -1)
    for step in range(2):
        for image, y in enumerate(labels):
            known = ~np.isnan(y)
            assert found[step, image] == pytest.approx(REFERENCES[name](y[known], upsampled[step, image][known]))


def test_each_has_a_reference():
    assert set(REFERENCES) == set(CLASS_METRICS)


def test_coarsening_some_images_is_preparing_them_for_the_coarser_grid():
    labels, _ = _world(0, holes=True)
    coarse = ClassTruth.of(labels, classes=CLASSES)[[2, 0]].coarsen((2, 3))
    np.testing.assert_array_equal(coarse.counts, ClassTruth.of(labels[[2, 0]], (2, 3), CLASSES).counts)
    assert len(coarse) == 2


def test_an_image_of_one_class_is_degenerate():
    labels = np.zeros((2, 4, 4))
    labels[1, 0, 0] = 1
    truth = ClassTruth.of(labels)
    degenerate = CLASS_METRICS["accuracy"].degenerate(truth, np.zeros((5, 2, 4, 4)))
    np.testing.assert_array_equal(degenerate, [[True, False]] * 5)


def test_what_does_not_fit_is_refused():
    truth = ClassTruth.of(np.ones((1, 4, 4), dtype=int), (2, 2), np.array([0, 1]))
    with pytest.raises(ShapeError, match="expected"):
        Confusion.of(truth, np.zeros((1, 4, 4)))
    with pytest.raises(InputError, match="none of the classes 0, 1"):
        Confusion.of(truth, np.full((1, 2, 2), 5))
    with pytest.raises(InputError, match="5 isn't among the classes"):
        ClassTruth.of(np.full((1, 4, 4), 5), classes=np.array([0, 1]))
    with pytest.raises(InputError, match="image 0 has no labelled pixel"):
        ClassTruth.of(np.full((1, 4, 4), np.nan), classes=np.array([0, 1]))
    with pytest.raises(ShapeError, match="multiples"):
        ClassTruth.of(np.ones((1, 4, 4)), (3, 3))
