"""What is concluded from a grid, on grids whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.stats import bootstrap

from ldmscene import grid as grids
from ldmscene.conclusions import sentence
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
            "prompt": ("sample", np.arange(samples)),
        },
    )


def test_grids_of_two_metrics_may_be_joined():
    scores, errors = (
        made([0.1, 0.9], [0, 0])
        .assign_coords(target=[target], metric=[metric], primary=("target", [metric]))
        .assign_coords(higher_is_better=("metric", [better]))
        for target, metric, better in (("depth", "spearman", True), ("shading", "rmse", False))
    )
    grid = xr.concat([scores, errors], "target", join="outer", coords="different", compat="equals")
    assert grids.higher_is_better(grid, "depth")
    assert not grids.higher_is_better(grid, "shading")


def test_images_of_one_prompt_are_resampled_together():
    scores = xr.DataArray(np.repeat(np.random.default_rng(0).normal(size=20), 5), dims="sample")
    alone = grids.interval(scores)
    together = grids.interval(scores.assign_coords(prompt=("sample", np.repeat(np.arange(20), 5))))
    ratio = float((together["high"] - together["low"]) / (alone["high"] - alone["low"]))
    assert ratio == pytest.approx(5**0.5, rel=0.15)


def test_the_module_is_chosen_by_cross_validation_and_not_by_held_out_scores():
    assert grids.best_module(made([0.1, 0.9], [0, 0], modules=(0.6, 0.3)), "depth") == MODULES[0]


def test_intervals_of_few_skewed_scores_cover_where_percentiles_do_not():
    scores = 1 - np.random.default_rng(1).exponential(size=(1000, 10))
    found = grids.interval(xr.DataArray(scores, dims=("step", "sample")))
    np.testing.assert_allclose(found["mean"], scores.mean(1))
    theirs = bootstrap((scores,), np.mean, axis=1, method="percentile", n_resamples=999, rng=2).confidence_interval
    assert np.mean((theirs.low <= 0) & (theirs.high >= 0)) < 0.9
    assert float(((found["low"] <= 0) & (found["high"] >= 0)).mean()) > 0.92


def test_intervals_of_many_scores_are_those_of_scipys_bootstrap():
    """Its BCa: of many scores all bootstraps agree but for the noise of a thousand replicates."""
    scores = xr.DataArray(np.random.default_rng(1).beta(2, 1, (3, 300)), dims=("step", "sample"))
    ours = grids.interval(scores)
    for i in range(3):
        theirs = bootstrap((scores.values[i],), np.mean, method="BCa", n_resamples=20_000, rng=2).confidence_interval
        width = theirs.high - theirs.low
        assert float(ours["low"][i]) == pytest.approx(theirs.low, abs=0.1 * width)
        assert float(ours["high"][i]) == pytest.approx(theirs.high, abs=0.1 * width)


def test_differences_are_paired():
    grid = made([0.1, 0.4, 0.8], [0, 0, 0], noise=0.0)
    grid["probe"] = grid["probe"] + xr.DataArray(np.linspace(0, 5, 30), dims="sample")  # images differ, steps don't
    found = grids.differences(grid, "depth")
    np.testing.assert_allclose(found["mean"], [0.3, 0.4])
    np.testing.assert_allclose(found["high"] - found["low"], 0, atol=1e-12)


def test_an_unknown_target_is_answered_with_those_there_are():
    with pytest.raises(UnknownNameError, match="depth"):
        grids.scores(made([0.1, 0.9], [0, 0]), "dept")


def test_short_names_keep_the_place():
    assert short_name(MODULES[0]) == "down_blocks.0.attentions.0"
    assert short_name("mid_block") == "mid_block"
    assert short_name(MODULES[0], MODULES) == "down_blocks.0.attentions.0"


def test_a_module_that_shares_its_short_name_is_named_whole():
    """As of SDXL, whose attentions have up to ten blocks, or where cross-attention was captured, too."""
    other = MODULES[0].replace("attn1", "attn2")
    grid = made([0.3, 0.9], [0, 0], modules=(0.9, 0.2))
    assert "the probe of down_blocks.0.attentions.0 scores" in sentence(grid, "depth")
    assert f"the probe of {MODULES[0]} scores" in sentence(grid.assign_coords(module=[MODULES[0], other]), "depth")


def test_a_control_is_judged_at_its_own_best_module():
    grid = made([0.5, 0.8], [0, 0])
    other = grid["probe"].copy(data=grid["probe"].values[:, :, ::-1])
    grid = grid.assign(permuted=other - 0.1, permuted_cv_score=grid["cv_score"].copy(data=grid["cv_score"][:, ::-1]))
    assert grids.best_module(grid, "depth") == MODULES[1]
    assert grids.best_module(grid, "depth", "permuted") == MODULES[0]
    np.testing.assert_allclose(grids.controls(grid, "depth")[grids.PERMUTED][-1], 0.7)


def test_a_single_prompt_has_no_interval():
    scores = xr.DataArray(np.ones((2, 3)), dims=("step", "sample"), coords={"prompt": ("sample", [4, 4, 4])})
    bounds = grids.interval(scores)
    assert (bounds["mean"] == 1).all()
    assert bounds["low"].isnull().all()
    assert bounds["high"].isnull().all()
