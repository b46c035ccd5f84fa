"""The world's four figures, on maps whose answer is known and on renderings."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from ldmscene.testbed.drawing import draw_rooms
from ldmscene.testbed.figures import question_figures
from ldmscene.testbed.gates import LIMITS
from ldmscene.testbed.rendering import render_rooms

POSITION, MASK, WITHIN, SHADING = (
    "position reads depth, Spearman",
    "mask explains of depth beyond position, R²",
    "the same within pictures, R²",
    "position and mask explain of shading, R²",
)


def made_up(seed: int, *, ramp: float, mask: float, noise: float) -> SimpleNamespace:
    """Depth is a ramp down the picture, plus the mask, plus noise; shading is noise, NaN at the top of half of them."""
    rng = np.random.default_rng(seed)
    masks = rng.random((60, 16, 16)) < 0.3
    depth = ramp * np.linspace(0, 1, 16)[:, None] + mask * masks + noise * rng.normal(size=masks.shape)
    shading = rng.normal(size=masks.shape)
    shading[::2, :2] = np.nan
    return SimpleNamespace(depth=depth, mask=masks, shading=shading)


def test_what_position_says_alone_is_found():
    found = question_figures(*(made_up(k, ramp=1, mask=0, noise=1e-3) for k in range(2)))
    assert found[POSITION] > 0.95
    assert abs(found[MASK]) < 0.02
    assert abs(found[SHADING]) < 0.02


@pytest.mark.parametrize("noise", [0.0, 0.5, 2.0])
def test_what_the_mask_says_beyond_position_is_its_share_of_the_variance(noise):
    found = question_figures(*(made_up(k, ramp=3, mask=1, noise=noise) for k in range(2)))
    share = 0.21 / (0.21 + noise**2)  # a mask that covers .3 has a variance of .3 × .7
    assert found[MASK] == pytest.approx(share, abs=0.04)


@pytest.mark.parametrize("noise", [0.0, 0.5, 2.0])
def test_shares_of_shading_and_within_pictures_are_those_of_the_variance(noise):
    """Shading is what depth was, and each picture's depth is then scaled by a number of its own."""
    maps = [made_up(k, ramp=3, mask=1, noise=noise) for k in range(2)]
    for k, one in enumerate(maps):
        one.shading = np.where(np.isnan(one.shading), np.nan, one.depth)
        one.depth = one.depth * np.random.default_rng(9 + k).uniform(0.5, 2, 60)[:, None, None]
    found = question_figures(*maps)
    assert found[SHADING] == pytest.approx(1 - noise**2 / np.nanvar(maps[1].shading), abs=0.02)
    assert found[WITHIN] == pytest.approx(0.21 / (0.21 + noise**2), abs=0.04)


def test_depth_is_a_question_in_this_world():
    found = question_figures(*(render_rooms(draw_rooms(300, 900 + k)) for k in range(2)))
    assert found[POSITION] <= LIMITS[POSITION] == 0.6
    assert found[MASK] <= LIMITS[MASK] == 0.4
    assert found[WITHIN] <= 0.4
    assert found[SHADING] <= 0.5
