"""Sizes of changes against scipy's Mahalanobis distance and its chi-square distribution."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from scipy.linalg import pinvh
from scipy.spatial.distance import mahalanobis
from scipy.stats import chi2

from ldmscene.edits import Readout, edited, size_of
from tests.edits.worlds import edit_of, make_world, worlds


@given(worlds())
def test_a_change_is_as_large_as_scipy_says(world):
    new = edited(edit_of(world), "m", 0, world.x, world.maps)
    size, far, beyond = size_of(new, world.x, world.readout)
    before, after = (x.double().numpy().reshape(len(world.x), -1, world.x.shape[-1]) for x in (world.x, new))
    precision, mean = pinvh(world.readout.covariance), world.readout.mean
    limit = chi2.ppf(0.999, np.linalg.matrix_rank(world.readout.covariance)) ** 0.5
    for i, (old, now) in enumerate(zip(before, after, strict=True)):
        np.testing.assert_allclose(size[i], np.linalg.norm(now - old) / np.linalg.norm(old), rtol=1e-3)
        moved = [mahalanobis(a, b, precision) for a, b in zip(now, old, strict=True)]
        np.testing.assert_allclose(far[i], np.mean(moved), rtol=1e-3, atol=1e-4)
        away = np.array([mahalanobis(a, mean, precision) for a in now])
        low, high = ((away > limit * factor).mean() for factor in (1.001, 0.999))
        assert low - 1e-6 <= beyond[i] <= high + 1e-6


def test_a_thousandth_of_normal_features_is_beyond_and_no_change_is_none():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(8, 8))
    x = torch.from_numpy(rng.normal(size=(2, 200, 200, 8)) @ mixing + 5)
    zero = np.zeros(8)
    size, far, beyond = size_of(x, x, Readout(zero, 0.0, zero + 5, mixing.T @ mixing, zero))
    assert (size == 0).all()
    assert (far == 0).all()
    np.testing.assert_allclose(beyond, 0.001, atol=4e-4)


def test_of_two_changes_with_one_reading_the_dormant_one_is_farther_from_training():
    """The least change in norm isn't the likeliest one: that is the difference between weights and pattern."""
    world = make_world(4)
    likely, near = (
        size_of(edited(edit_of(world, rule=rule), "m", 0, world.x, world.maps), world.x, world.readout)
        for rule in ("conditional", "minimum-norm")
    )
    assert (near[0] < likely[0]).all()
    assert (near[1] > likely[1]).all()
