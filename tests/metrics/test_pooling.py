"""Sums of a batch, pooled and merged, against scores over all pixels at once."""

from __future__ import annotations

import numpy as np
from scipy.stats import pearsonr
from sklearn.metrics import f1_score, jaccard_score, r2_score, root_mean_squared_error

from ldmscene.cells import spread
from ldmscene.metrics import Overlap, Pairs, Truth


def test_pooled_masks_are_one_mask() -> None:
    rng = np.random.default_rng(0)
    labels, prediction = rng.random((5, 8, 8)) < 0.3, rng.random((5, 4, 4)) < 0.4
    parts = [Overlap.of(Truth.of(labels[s], (4, 4)), prediction[s]).pool() for s in (slice(0, 2), slice(2, 5))]
    pooled = parts[0].merge(parts[1])
    pixels = spread(prediction, (2, 2)).ravel()
    np.testing.assert_allclose(pooled.dice(), f1_score(labels.ravel(), pixels), atol=1e-9)
    np.testing.assert_allclose(pooled.iou(), jaccard_score(labels.ravel(), pixels), atol=1e-9)
    np.testing.assert_allclose(pooled.background().dice(), f1_score(~labels.ravel(), ~pixels), atol=1e-9)


def test_pooled_pairs_are_one_image() -> None:
    rng = np.random.default_rng(1)
    labels = rng.normal(1e4, 1, (5, 8, 8)) + np.arange(5)[:, None, None]
    prediction = rng.normal(1e4, 1, (2, 5, 4, 4)) + np.arange(5)[:, None, None]
    labels[3, :4] = np.nan
    parts = [Pairs.of(Truth.of(labels[s], (4, 4)), prediction[:, s]).pool() for s in (slice(0, 2), slice(2, 5))]
    pooled = parts[0].merge(parts[1])
    known = ~np.isnan(labels)
    for step in range(2):
        y, p = labels[known], spread(prediction[step], (2, 2))[known]
        np.testing.assert_allclose(pooled.pearson()[step], pearsonr(y, p).statistic, rtol=1e-9)
        np.testing.assert_allclose(pooled.rmse()[step], root_mean_squared_error(y, p), rtol=1e-9)
        np.testing.assert_allclose(pooled.r2()[step], r2_score(y, p), rtol=1e-9)
