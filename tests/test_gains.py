"""Gains as they are drawn: ratios of sums, bands over all steps, and what stands out among all cells."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from ldmscene import gains
from ldmscene import grid as grids
from ldmscene.errors import InputError
from tests.test_conclusions import effects
from tests.test_grid import MODULES


def grid_of(truth: np.ndarray, rng: np.random.Generator, samples: int = 24, *, skewed: bool = False) -> xr.Dataset:
    """Whose cells (module, step) truly gain `truth`, with errors that all cells of an image share in part."""
    sizes = (*truth.shape, samples), samples
    own, common = (1 - rng.exponential(size=s) if skewed else rng.normal(size=s) for s in sizes)
    noise = 0.1 * own + 0.1 * common
    cells = ("target", "module", "step", "sample")
    sums = {"explained": truth[..., None] + noise, "left": np.ones(noise.shape)}
    coords = {"target": ["depth"], "prompt": ("sample", np.arange(samples))}
    return xr.Dataset({name: (cells, one[None]) for name, one in sums.items()}, coords)


def test_curves_are_ratios_of_sums_of_images() -> None:
    grid = effects([0.1, 0.3, 0.5], [0.0, 0.02, 0.1], [0.0, 0.3, 0.4], noise=0.05)
    ours = grid.sel(module=MODULES[1]).isel(target=0)
    expected = (ours["explained"].sum("sample") / ours["left"].sum("sample")).values
    found = gains.band(gains.of_probe(grid, "depth"))
    np.testing.assert_allclose(found["mean"], expected)
    np.testing.assert_allclose(gains.of_modules(grid, "depth")["mean"][1], expected)
    assert gains.of_rivals(grid, "depth").keys() == {grids.RAW_LATENT}
    np.testing.assert_allclose(gains.of_labelers(grid, "depth")[grids.LABELER_NOISY].mean(-1), [0, 0.3, 0.4])


@pytest.mark.parametrize("samples", [5, 8])
def test_of_few_cells_and_skewed_prompts_few_stand_out_by_chance(samples: int) -> None:
    """Nor does one stand out whose own interval, which is printed beside it, says that it may not."""
    rng, wrong, n = np.random.default_rng(0), 0, 200
    for _ in range(n):
        found = gains.of_modules(grid_of(np.full((1, 1), 0.02), rng, samples, skewed=True), "depth")
        wrong += bool(found["stands_out"])
        assert not (found["stands_out"] & (found["low"] <= 0.02))
    assert wrong / n <= 0.06


def test_what_stands_out_is_wrong_in_few_grids_and_finds_what_is_there() -> None:
    rng = np.random.default_rng(0)
    truth = np.full((4, 6), 0.02)  # just the least that counts, so that none may stand out
    truth[3, 3:] = 0.4
    wrong, found, alone = 0, 0, 0
    for _ in range(60):
        cells = gains.of_modules(grid_of(truth, rng), "depth")
        wrong += bool(cells["stands_out"].values[truth < 0.1].any())
        found += bool(cells["stands_out"].values[truth > 0.1].all())
        alone += bool((cells["low"].values[truth < 0.1] > 0.02).any())
    assert wrong <= 6  # 5 % of 60, and its 98th percentile
    assert found == 60
    assert alone > wrong  # an interval of its own for each cell is wrong more often


def test_images_of_one_prompt_are_one_piece_of_evidence() -> None:
    rng = np.random.default_rng(0)
    one = grid_of(np.full((1, 3), 0.3), rng, samples=8)
    twice = xr.concat([one, one], "sample")
    again = gains.of_modules(twice.assign_coords(prompt=("sample", [*range(8), *range(8)])), "depth")
    xr.testing.assert_allclose(again, gains.of_modules(one, "depth"))


def test_what_is_missing_of_some_samples_is_refused() -> None:
    """A mean would go on without them, or be NaN, which is above nothing and below nothing."""
    grid = effects([0.1, 0.3], [0.0, 0.1], [0.0, 0.3])
    for name, read in (
        ("explained", gains.of_probe), ("rival_left", gains.of_rivals), ("labeler_explained", gains.of_labelers)
    ):  # fmt: skip
        holed = grid.assign({name: grid[name].where(grid["sample"] != 3)})
        with pytest.raises(InputError, match="of every sample, got NaN"):
            read(holed, "depth")
    with pytest.raises(InputError, match="prompt along sample, got none"):
        gains.of_probe(grid.drop_vars("prompt"), "depth")


@pytest.mark.parametrize(("steps", "prompts"), [(1, 5), (1, 24), (2, 4), (3, 9), (15, 24)])
def test_a_band_of_all_steps_encloses_each_steps_interval(steps: int, prompts: int) -> None:
    values = 0.3 + 0.1 * np.random.default_rng(0).exponential(size=(steps, prompts))
    all_at_once, each = gains.band(values), gains.interval(values)
    assert (all_at_once["low"] <= each["low"]).all()
    assert (all_at_once["high"] >= each["high"]).all()


def test_no_bound_of_a_share_is_above_the_whole() -> None:
    effects = np.array([[0.99, 0.99, 0.99, 0.7]])
    for found in (gains.band(effects), gains.interval(effects)):
        assert found["high"].item() == 1
    sums = {"explained": effects[None, None], "left": np.ones((1, 1, 1, 4))}
    dims = ("target", "module", "step", "sample")
    coords = {"target": ["depth"], "prompt": ("sample", np.arange(4))}
    grid = xr.Dataset({name: (dims, one) for name, one in sums.items()}, coords)
    assert gains.of_modules(grid, "depth")["high"].item() == 1


@pytest.mark.parametrize("samples", [3, 8])
def test_below_four_prompts_there_are_no_bounds(samples: int) -> None:
    cells = gains.of_modules(grid_of(np.full((1, 3), 0.5), np.random.default_rng(0), samples), "depth")
    assert bool(np.isfinite(cells["low"]).all()) == (samples > 3)
    assert bool(cells["stands_out"].all()) == (samples > 3)
