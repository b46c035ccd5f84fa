"""Effects as sums over pixels, against plain libraries on the pixels themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr
from sklearn.metrics import r2_score

from ldmscene.cells import Cells, spread
from ldmscene.verdicts import Residuals, by_prompt, ceiling, refit_error

SCALE = (2, 4)


def world(seed: int):
    """Residuals of pixels with holes, what two fits say of them on the grid, and both as sums."""
    rng = np.random.default_rng(seed)
    said = rng.normal(size=(2, 5, 3, 4))
    pixels = spread(said[0], SCALE) + rng.normal(size=(5, 6, 16))
    pixels[rng.random(pixels.shape) < 0.2] = np.nan
    cells = Cells.of(pixels, (3, 4))
    return pixels, said, cells, Residuals.of(cells.weight, cells.mean, said, cells.scatter.sum((1, 2)))


@given(seed=st.integers(0, 1000))
def test_effects_are_those_of_the_pixels(seed: int) -> None:
    pixels, said, _, sums = world(seed)
    for fit in range(2):
        lifted = spread(said[fit], SCALE)
        for i in range(5):
            known = ~np.isnan(pixels[i])
            r, d = pixels[i][known], lifted[i][known]
            assert sums.partial_r2[fit, i] == pytest.approx(1 - ((r - d) ** 2).sum() / (r**2).sum())
            assert sums.correlation[fit, i] == pytest.approx(pearsonr(r, d).statistic)
        known = ~np.isnan(pixels)
        whole = sums.pool()
        assert whole.correlation[fit] == pytest.approx(pearsonr(pixels[known], lifted[known]).statistic)
        centred = pixels[known] - pixels[known].mean()
        alone = Residuals(*(np.array(v) for v in (0, 0, 0, centred @ centred, centred @ lifted[known], 0)))
        assert alone.rr == pytest.approx((pixels[known].var()) * known.sum())
        assert whole.partial_r2[fit] == pytest.approx(
            1 - (1 - r2_score(pixels[known], lifted[known])) * (centred @ centred) / (pixels[known] ** 2).sum()
        )


def test_what_varies_inside_cells_counts_where_it_is_known() -> None:
    rng = np.random.default_rng(0)
    r, d = rng.normal(size=(2, 3, 8, 8))
    cells_r, cells_d = Cells.of(r, (2, 2)), Cells.of(d, (2, 2))
    inside = [a - spread(cells.mean, (4, 4)) for a, cells in ((r, cells_r), (d, cells_d))]
    rd, dd = (inside[0] * inside[1]).sum((1, 2)), (inside[1] ** 2).sum((1, 2))
    found = Residuals.of(cells_r.weight, cells_r.mean, cells_d.mean, cells_r.scatter.sum((1, 2)), rd, dd)
    np.testing.assert_allclose(found.partial_r2, 1 - ((r - d) ** 2).sum((1, 2)) / (r**2).sum((1, 2)))
    expected = [pearsonr(a.ravel(), b.ravel()).statistic for a, b in zip(r, d, strict=True)]
    np.testing.assert_allclose(found.correlation, expected)


def test_a_constant_says_nothing() -> None:
    found = Residuals.of(np.ones((1, 2, 2)), np.arange(4.0).reshape(1, 2, 2), np.full((1, 2, 2), 3.0), np.zeros(1))
    assert found.correlation[0] == 0
    assert found.partial_r2[0] == pytest.approx(1 - (9 + 4 + 1) / 14)


@given(seed=st.integers(0, 1000))
def test_values_by_prompt_have_the_pooled_ratio_as_their_mean_and_its_jackknife_error(seed: int) -> None:
    rng = np.random.default_rng(seed)
    prompt = np.repeat(np.arange(40), 2)
    whole = rng.gamma(4, size=80)
    part = 0.4 * whole + 0.2 * rng.normal(size=(3, 80))
    values = by_prompt(part, whole, prompt)
    np.testing.assert_allclose(values.mean(-1), part.sum(-1) / whole.sum())
    left_out = np.array([part[:, prompt != p].sum(-1) / whole[prompt != p].sum() for p in range(40)])
    jackknife = np.sqrt(39 / 40 * ((left_out - left_out.mean(0)) ** 2).sum(0))
    np.testing.assert_allclose(values.std(-1, ddof=1) / np.sqrt(40), jackknife, rtol=0.05)


def test_equal_images_give_each_prompts_own_mean() -> None:
    scores = np.array([1.0, 3, 5, 7])
    np.testing.assert_allclose(by_prompt(scores, np.ones(4), np.array([4, 4, 9, 9])), [2, 6])


def test_the_ceiling_is_the_score_of_the_cells_own_means() -> None:
    _, _, cells, _ = world(3)
    scatter = cells.scatter.sum((1, 2))
    best = Residuals.of(cells.weight, cells.mean, cells.mean, scatter)
    assert ceiling(scatter, best.rr) == pytest.approx(best.pool().partial_r2)
    other = Residuals.of(cells.weight, cells.mean, cells.mean + 0.1, scatter)
    assert other.pool().partial_r2 < best.pool().partial_r2 < 1


def test_the_refit_error_of_a_mean_is_its_standard_error() -> None:
    values = np.random.default_rng(0).normal(size=12)
    left_out = np.array([np.delete(values, i).mean() for i in range(12)])
    assert refit_error(left_out) == pytest.approx(values.std(ddof=1) / np.sqrt(12))
