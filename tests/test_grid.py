"""What is concluded from a grid, on grids whose answer is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.stats import bootstrap

from ldmscene import grid as grids
from ldmscene.errors import UnknownNameError
from ldmscene.module_names import short_name

MODULES = ["down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0", "mid_block"]


def made(curve, labeler, noise=0.0, samples=30, modules=(0.2, 0.8)) -> xr.Dataset:
    """A grid of one target whose second module follows `curve` and whose labeler on x_t follows `labeler`."""
    rng = np.random.default_rng(0)
    steps = len(curve)
    probe = np.zeros((1, 1, 2, steps, samples))
    probe[0, 0, 0] = modules[0]
    probe[0, 0, 1] = np.array(curve)[:, None] + noise * rng.normal(size=(steps, samples))
    reading = np.array(labeler)[None, None, None, :, None].repeat(samples, -1)
    return xr.Dataset(
        {
            "probe": (("target", "metric", "module", "step", "sample"), probe),
            "baseline": (("reading", "target", "metric", "step", "sample"), reading),
            "cv_score": (("target", "module", "step"), np.array(modules)[None, :, None].repeat(steps, 2)),
        },
        coords={
            "target": ["depth"],
            "metric": ["spearman"],
            "module": MODULES,
            "step": np.arange(steps),
            "reading": [grids.LABELER_NOISY],
            "primary": ("target", ["spearman"]),
        },
    )


def test_emergence_is_the_first_step_whose_lower_bound_passes_nine_tenths_of_the_end():
    grid = made([0.1, 0.5, 0.71, 0.73, 0.8], [0.0, 0.0, 0.1, 0.73, 1.0])
    frame = grids.emergence(grid)
    assert {frame[name].dtype for name in ("step", "low", "high", grids.LABELER_NOISY)} == {pd.Int64Dtype()}
    assert frame["final"].dtype == np.float64
    row = frame.loc["depth"]
    assert row["module"] == "mid_block"
    assert row["final"] == pytest.approx(0.8)
    assert (row["step"], row["low"], row["high"]) == (3, 3, 3)
    assert row[grids.LABELER_NOISY] == 3
    assert "depth: readable from step 3 of 0 to 4 (95 % interval 3 to 3). " in grids.sentence(grid, "depth")
    assert "at the same step (3)" in grids.sentence(grid, "depth")


def test_a_noisy_curve_has_an_interval():
    row = grids.emergence(made([0.1, 0.68, 0.72, 0.74, 0.8], [0] * 5, noise=0.2)).loc["depth"]
    assert row["low"] < row["high"] <= row["step"]
    assert pd.isna(row[grids.LABELER_NOISY])
    assert "never reads as much" in grids.sentence(made([0.1, 0.9], [0, 0]), "depth")


def test_a_labeler_that_is_earlier_is_said_to_be():
    text = grids.sentence(made([0.1, 0.2, 0.8], [0.0, 0.9, 0.9]), "depth")
    assert "1 step earlier (1)" in text


def test_a_dip_after_the_mark_counts():
    assert grids.emergence(made([0.1, 0.79, 0.5, 0.75, 0.8], [0] * 5)).loc["depth", "step"] == 3


def test_what_ends_no_better_than_its_rivals_is_not_said_to_be_known():
    grid = made([0.5, 0.5, 0.5], [0, 0, 0])
    assert grids.emergence(grid).loc["depth", "step"] == 0
    rival = grid["baseline"].assign_coords(reading=[grids.POSITION]) + 0.6
    beaten = grid.drop_vars(["baseline", "reading"]).assign(baseline=rival)
    assert pd.isna(grids.emergence(beaten).loc["depth", "step"])
    assert "not shown to be readable, since the probe doesn't end clearly above position only." in grids.sentence(
        beaten, "depth"
    )
    assert "0.60 from position only" in grids.sentence(beaten, "depth")
    assert pd.isna(grids.emergence(made([-0.5, -0.2], [0, 0])).loc["depth", "step"])


def test_images_of_one_prompt_are_resampled_together():
    scores = xr.DataArray(np.repeat(np.random.default_rng(0).normal(size=20), 5), dims="sample")
    alone = grids.interval(scores)
    together = grids.interval(scores.assign_coords(prompt=("sample", np.repeat(np.arange(20), 5))))
    ratio = float((together["high"] - together["low"]) / (alone["high"] - alone["low"]))
    assert ratio == pytest.approx(5**0.5, rel=0.15)


def test_the_module_is_chosen_by_cross_validation_and_not_by_held_out_scores():
    assert grids.best_module(made([0.1, 0.9], [0, 0], modules=(0.6, 0.3)), "depth") == MODULES[0]


def test_intervals_are_those_of_scipys_percentile_bootstrap():
    scores = xr.DataArray(np.random.default_rng(1).beta(2, 1, (3, 48)), dims=("step", "sample"))
    ours = grids.interval(scores)
    np.testing.assert_allclose(ours["mean"], scores.values.mean(1))
    for i in range(3):
        theirs = bootstrap((scores.values[i],), np.mean, method="percentile", n_resamples=20_000, rng=2)
        width = theirs.confidence_interval.high - theirs.confidence_interval.low
        # A thousand replicates leave a quantile uncertain by a few per cent of the interval's width.
        assert float(ours["low"][i]) == pytest.approx(theirs.confidence_interval.low, abs=0.1 * width)
        assert float(ours["high"][i]) == pytest.approx(theirs.confidence_interval.high, abs=0.1 * width)


def test_differences_are_paired():
    grid = made([0.1, 0.4, 0.8], [0, 0, 0], noise=0.0)
    grid["probe"] = grid["probe"] + xr.DataArray(np.linspace(0, 5, 30), dims="sample")  # images differ, steps don't
    found = grids.differences(grid, "depth")
    np.testing.assert_allclose(found["mean"], [0.3, 0.4])
    np.testing.assert_allclose(found["high"] - found["low"], 0, atol=1e-12)


def test_an_unknown_target_is_answered_with_those_there_are():
    with pytest.raises(UnknownNameError, match="depth"):
        grids.sentence(made([0.1, 0.9], [0, 0]), "dept")


def test_short_names_keep_the_place():
    assert short_name(MODULES[0]) == "down_blocks.0.attentions.0"
    assert short_name("mid_block") == "mid_block"


def test_a_control_is_judged_at_its_own_best_module():
    grid = made([0.5, 0.8], [0, 0])
    other = grid["probe"].copy(data=grid["probe"].values[:, :, ::-1])
    grid = grid.assign(permuted=other - 0.1, permuted_cv_score=grid["cv_score"].copy(data=grid["cv_score"][:, ::-1]))
    assert grids.best_module(grid, "depth") == MODULES[1]
    assert grids.best_module(grid, "depth", "permuted") == MODULES[0]
    assert grids.controls(grid, "depth")[grids.PERMUTED] == pytest.approx(0.7)


def test_a_rival_is_beaten_image_by_image():
    """The difference is certain where every image shows it, however much images differ."""
    grid = made([0.5, 0.5], [0, 0])
    spread = xr.DataArray(np.linspace(-0.4, 0.4, 30), dims="sample")
    grid["probe"] = grid["probe"] + spread
    rival = (grid["probe"].sel(module=MODULES[1]) - 0.05).expand_dims(reading=[grids.MEAN_LABEL])
    grid = grid.drop_vars(["baseline", "reading"]).assign(baseline=rival.drop_vars("module"))
    assert float(grids.interval(grids.scores(grid, "depth"))["low"][-1]) < 0.45
    assert grids.emergence(grid).loc["depth", "step"] == 0


def test_a_mask_must_beat_its_rivals_in_average_precision_too():
    grid = made([0.8, 0.8], [0, 0]).assign_coords(metric=["dice"], primary=("target", ["dice"]))
    ranked = xr.concat([grid, grid.assign_coords(metric=["average_precision"])], "metric", data_vars="minimal")
    nothing = xr.zeros_like(ranked["probe"])
    blind = nothing.where(nothing["metric"] == "dice", 0.9)
    assert not pd.isna(grids.emergence(ranked.assign(shuffled=nothing)).loc["depth", "step"])
    assert pd.isna(grids.emergence(ranked.assign(shuffled=blind)).loc["depth", "step"])


def test_a_single_prompt_has_no_interval():
    grid = made([0.1, 0.9], [0, 0])
    grid = grid.assign_coords(prompt=("sample", np.zeros(grid.sizes["sample"], int)))
    assert "without an interval, since one prompt is held out" in grids.sentence(grid, "depth")
    scores = xr.DataArray(np.ones((2, 3)), dims=("step", "sample"), coords={"prompt": ("sample", [4, 4, 4])})
    bounds = grids.interval(scores)
    assert (bounds["mean"] == 1).all()
    assert bounds["low"].isnull().all()
    assert bounds["high"].isnull().all()
    alone = made([0.8, 0.8], [0, 0], samples=1)
    assert pd.isna(grids.emergence(alone).loc["depth", "step"])


def test_the_interval_of_emergence_covers_the_true_step():
    """Curves whose mean passes the mark for good at step 3, seen through noise, 60 times."""
    truth = np.array([0.2, 0.4, 0.6, 0.76, 0.8, 0.8])
    covered = 0
    for seed in range(60):
        grid = made(truth, [0] * 6)
        noise = np.random.default_rng(seed).normal(size=grid["probe"].shape) * 0.05
        row = grids.emergence(grid.assign(probe=grid["probe"] + noise)).loc["depth"]
        covered += row["low"] <= 3 <= row["high"]
    assert covered >= 54
