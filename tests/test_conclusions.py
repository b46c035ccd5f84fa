"""What is concluded from a grid whose answer is known, from effects and from published scores."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import ldmscene
from ldmscene import conclusions, gains
from ldmscene import grid as grids
from ldmscene.errors import InputError, UnknownNameError
from ldmscene.report import marks
from ldmscene.report.site.findings import line_of_steps
from tests.test_grid import MODULES, made


def effects(curve, rival, labeler, samples: int = 24, noise: float = 0.0) -> xr.Dataset:
    """A grid whose second module explains `curve` of what position leaves; its images come in pairs."""
    rng = np.random.default_rng(0)
    grid = made([0.5] * len(curve), [0.0] * len(curve), samples=samples)
    steps = len(curve)
    left = np.broadcast_to(rng.uniform(1, 5, samples), (1, 2, steps, samples))
    share = np.stack([np.zeros((steps, samples)), np.array(curve)[:, None] + noise * rng.normal(size=(steps, samples))])
    gain = np.array([0.0, np.mean(curve)])[None, :, None].repeat(steps, 2)
    axes, other = ("target", "module", "step"), ("target", "step", "sample")

    def beside(what: str, values) -> dict:
        part = (np.array(values)[:, None] * left[:, 0])[None]
        return {f"{what}_explained": ((what, *other), part), f"{what}_left": ((what, *other), left[:, 0][None])}

    return grid.assign(
        explained=((*axes, "sample"), share[None] * left),
        left=((*axes, "sample"), left),
        correlation=((*axes, "sample"), np.full(left.shape, 0.6)),
        gain_cv=(axes, gain),
        refit=(axes, np.full(gain.shape, 0.01)),
        ceiling=(axes, np.full(gain.shape, 0.9)),
        **beside("rival", rival),
        **beside("labeler", labeler),
    ).assign_coords(
        rival=[grids.RAW_LATENT], labeler=[grids.LABELER_NOISY], prompt=("sample", np.arange(samples) // 2)
    ).assign_attrs(beyond=json.dumps(["position"]))  # fmt: skip


def test_effects_give_every_column() -> None:
    grid = effects([0.0, 0.1, 0.3, 0.48, 0.5], [0.2, 0.05, 0.05, 0.1, 0.1], [0.0, 0.0, 0.0, 0.47, 0.9])
    row = ldmscene.emergence(grid).loc["depth"]
    assert row["module"] == MODULES[1]
    assert (row["metric"], row["final"]) == ("spearman", 0.5)
    np.testing.assert_allclose([row["gain"], row["gain_low"], row["gain_high"]], 0.5)
    assert row[["first", "first_low", "first_high"]].tolist() == [2, 2, 2]  # 0.1 is less than the first noise gave
    assert row[["most", "most_low", "most_high"]].tolist() == [3, 3, 3]
    assert row["rival"] == grids.RAW_LATENT
    assert (row["correlation"], row["refit"], row["ceiling"]) == (0.6, 0.01, 0.9)
    assert row[[f"labeler on x_t {name}" for name in ("first", "most", "lead", "lead_low")]].tolist() == [3, 3, 1, 1]
    assert row["sentence"] == conclusions.sentence(grid, "depth")
    assert row["sentence"].startswith("depth: readable beyond position from step 2 of 0 to 4 (95 % interval 2 to 2)")
    assert row["sentence"].endswith("Not run, and so not excluded: shuffled labels and permuted weights.")


def test_steps_are_whole_numbers_or_missing() -> None:
    frame = ldmscene.emergence(effects([0.01, 0.01], [0.0, 0.0], [0.0, 0.0]))
    for name in ("first", "first_low", "most_high", "labeler on x_t first", "labeler on x_t lead_high"):
        assert frame[name].dtype == pd.Int64Dtype()
        assert pd.isna(frame.loc["depth", name])
    assert frame["gain"].dtype == np.float64
    assert frame.loc["depth", "rival"] == "the least effect"


def test_images_of_one_prompt_count_as_one_and_large_residuals_more() -> None:
    grid = effects([0.3, 0.3], [0.0, 0.0], [0.0, 0.0], noise=0.1)
    row = ldmscene.emergence(grid).loc["depth"]
    ours = grid.sel(module=MODULES[1]).isel(target=0, step=1)
    assert row["gain"] == pytest.approx(float(ours["explained"].sum() / ours["left"].sum()))
    assert "On 24 pictures of 12 held-out prompts: below 20" in row["sentence"]
    assert row["gain_low"] < row["gain"] < row["gain_high"]


def test_the_module_is_chosen_on_training_samples() -> None:
    grid = effects([0.3, 0.3], [0.0, 0.0], [0.0, 0.0])
    assert gains.chosen_module(grid, "depth") == MODULES[1]
    other = grid.assign(gain_cv=grid["gain_cv"].copy(data=grid["gain_cv"].values[:, ::-1]))
    assert gains.chosen_module(other, "depth") == MODULES[0]
    assert not pd.isna(ldmscene.emergence(grid).loc["depth", "first"])
    assert pd.isna(ldmscene.emergence(other).loc["depth", "first"])


def test_the_names_of_what_is_known_are_said() -> None:
    grid = effects([0.3, 0.3], [0.0, 0.0], [0.0, 0.0]).assign_attrs(beyond=json.dumps(["position", "mask"]))
    assert "beyond position and mask" in conclusions.sentence(grid, "depth")


def test_a_rival_that_was_not_run_for_a_target_is_left_out() -> None:
    grid = effects([0.3, 0.3], [0.0, 0.0], [0.0, 0.0])
    assert "labeler" in conclusions.sentence(grid, "depth")
    blank = grid.assign(labeler_explained=xr.full_like(grid["labeler_explained"], np.nan))
    assert "labeler" not in conclusions.sentence(blank, "depth")


def test_published_scores_are_compared_without_effects() -> None:
    grid = made([0.1, 0.5, 0.71, 0.73, 0.8], [0.0, 0.0, 0.1, 0.73, 1.0])
    row = ldmscene.emergence(grid).loc["depth"]
    assert (row["first"], row["most"]) == (0, 3)
    assert np.isnan(row["ceiling"])
    assert row["labeler on x_t most"] == 3
    assert "scores 0.80 in Spearman’s ρ" in row["sentence"]
    assert "The position was not taken off" in row["sentence"]
    rival = grid["baseline"].assign_coords(reading=[grids.POSITION]) * 0 + 0.6
    against = ldmscene.emergence(grid.drop_vars(["baseline", "reading"]).assign(baseline=rival)).loc["depth"]
    assert (against["first"], against["rival"]) == (2, grids.POSITION)


def test_a_mask_must_beat_its_rivals_in_average_precision_too() -> None:
    grid = made([0.8, 0.8], [0, 0]).assign_coords(metric=["dice"], primary=("target", ["dice"]))
    ranked = xr.concat([grid, grid.assign_coords(metric=["average_precision"])], "metric", data_vars="minimal")
    nothing = xr.zeros_like(ranked["probe"])
    blind = nothing.where(nothing["metric"] == "dice", 0.9)
    assert not pd.isna(ldmscene.emergence(ranked.assign(shuffled=nothing)).loc["depth", "first"])
    lost = ldmscene.emergence(ranked.assign(shuffled=blind)).loc["depth"]
    assert pd.isna(lost["first"])
    assert "than is read from shuffled labels (average precision)" in lost["sentence"]
    assert "0.00 from shuffled labels" in lost["sentence"]


def test_an_error_is_less_where_more_is_read() -> None:
    grid = made([0.9, 0.5, 0.3], [0.9, 0.9, 0.2]).assign_coords(
        metric=["rmse"], primary=("target", ["rmse"]), higher_is_better=("metric", [False])
    )
    known = (grid["baseline"] * 0 + 0.8).assign_coords(reading=[grids.POSITION])
    both = grid.drop_vars(["baseline", "reading"]).assign(baseline=xr.concat([grid["baseline"], known], "reading"))
    row = ldmscene.emergence(both).loc["depth"]
    assert (row["first"], row["rival"]) == (1, grids.POSITION)
    assert row["labeler on x_t first"] == 2
    assert pd.isna(row["most"])
    assert pd.isna(row["labeler on x_t most"])
    assert row[["gain", "gain_low", "gain_high", "gain_first"]].tolist() == pytest.approx([0.3, 0.3, 0.3, 0.5])
    found = conclusions.finding(both, "depth")
    assert marks.leads(found) == {}
    assert [one["said"] for one in line_of_steps(found)["rows"]] == ["", "1 step later (+1 to +1)"]
    assert "scores 0.30 in RMSE (95 % interval 0.30 to 0.30), against 0.80 from position only" in row["sentence"]
    worse = ldmscene.emergence(both.assign(probe=both["probe"] * 0 + 0.95)).loc["depth"]
    assert pd.isna(worse["first"])
    assert "not clearly more than is read from position only" in worse["sentence"]
    with pytest.raises(InputError, match="readings that rmse can be compared with"):
        ldmscene.emergence(grid.drop_vars(["baseline", "reading"]))


def test_some_steps_are_said_to_be_some() -> None:
    grid = effects([0.0, 0.1, 0.3, 0.48, 0.5], [0.0] * 5, [0.0, 0.0, 0.0, 0.47, 0.9]).assign_attrs(run_steps=5)
    grid = grid.assign_attrs(beyond=json.dumps(["position"]))
    some = grid.isel(step=[0, 3])
    row = ldmscene.emergence(some).loc["depth"]
    assert row[["first", "first_low", "first_high"]].tolist() == [3, 1, 3]
    assert row["sentence"].startswith("depth: at the steps looked at (0 and 3 of 0 to 4), readable beyond position")
    assert "At step 3 the probe" in row["sentence"]
    assert "not excluded: raw latent of steps that were not looked at, shuffled labels" in row["sentence"]
    assert row[["labeler on x_t lead_low", "labeler on x_t lead", "labeler on x_t lead_high"]].tolist() == [-2, 0, 2]
    assert "looked at" not in conclusions.sentence(grid, "depth")
    assert "At the last step" in conclusions.sentence(grid, "depth")


def test_steps_at_which_a_module_does_not_run_are_refused() -> None:
    grid = effects([0.3, 0.3, 0.3], [0.0] * 3, [0.0] * 3)
    some = grid.assign({name: grid[name].where(grid["step"] != 1) for name in ("explained", "left")})
    with pytest.raises(InputError, match=r"steps at which mid_block runs, \[0, 2\]"):
        conclusions.sentence(some, "depth")
    with pytest.raises(InputError, match="steps at which mid_block runs"):
        gains.of_probe(some, "depth")  # which tables and curves would show as 0 %
    assert "readable" in conclusions.sentence(some.sel(step=[0, 2]), "depth")


@pytest.mark.parametrize("what", ["rival", "labeler"])
def test_what_was_not_run_at_some_step_is_no_reading_of_nothing_there(what: str) -> None:
    """As in a grid that was joined from two, of which one has a rival that the other hasn't."""
    grid = effects([0.3, 0.3, 0.3], [0.5] * 3, [0.9] * 3)
    sums = [f"{what}_explained", f"{what}_left"]
    some = grid.assign({name: grid[name].where(grid["step"] < 2) for name in sums})
    name = str(grid[what].values[0])
    for use in (conclusions.finding, gains.compared):
        with pytest.raises(InputError, match=rf"steps at which the {name} was run, \[0, 1\]; select them by grid.sel"):
            use(some, "depth")
    assert conclusions.sentence(some.sel(step=[0, 1]), "depth") == conclusions.sentence(grid.sel(step=[0, 1]), "depth")


def test_what_maps_of_a_size_can_gain_is_said_of_the_last_step() -> None:
    grid = effects([0.0, 0.0, 0.0], [0.0] * 3, [0.0] * 3)
    assert "could gain" not in conclusions.sentence(grid, "depth")
    low = grid["ceiling"].where(grid["step"] < 2, 0.17)
    assert "could gain 17 % at most" in conclusions.sentence(grid.assign(ceiling=low), "depth")


def test_a_score_that_is_missing_is_refused() -> None:
    grid = made([0.1, 0.9], [0, 0])
    holed = grid.assign(probe=grid["probe"].where(grid["probe"]["sample"] != 3))
    with pytest.raises(InputError, match="a score by spearman of every sample, got NaN of depth"):
        conclusions.sentence(holed, "depth")


def test_a_rival_of_another_module_does_not_count() -> None:
    """Shuffled labels are fitted to the module that speaks for a target, which a part of the grid may lack."""
    grid = effects([0.3, 0.3], [0.5, 0.5], [0.0, 0.0]).assign_coords(rival=[grids.SHUFFLED])
    own, other = (grid.assign_attrs(chosen=json.dumps({"depth": module})) for module in MODULES[::-1])
    assert pd.isna(ldmscene.emergence(own).loc["depth", "first"])
    found = ldmscene.emergence(other).loc["depth"]
    assert found["first"] == 0
    assert "not excluded: raw latent, shuffled labels and permuted weights" in found["sentence"]
    joined = xr.concat([own, own.assign_coords(target=["mask"])], "target")
    with pytest.raises(InputError, match="targets of one evaluation, depth, got 'mask'"):
        conclusions.sentence(joined, "mask")


def test_the_split_and_the_pictures_that_judge_are_said() -> None:
    grid = effects([0.3, 0.3], [0.0, 0.0], [0.0, 0.0])
    told = grid.assign_attrs(provenance=json.dumps({"held_out": "unseen"}))
    assert "On 24 pictures of 12 held-out prompts, of the split unseen" in conclusions.sentence(told, "depth")


def test_beyond_the_latent_its_earlier_steps_are_not_excluded() -> None:
    grid = effects([0.3, 0.3], [0.0, 0.0], [0.0, 0.0]).assign_attrs(beyond=json.dumps(["position", "latent"]))
    assert "raw latent of earlier steps" in conclusions.sentence(grid.assign_coords(rival=["other"]), "depth")


@pytest.mark.parametrize("steps", [[1, 0], [0, 0], [0, 1, 1]])
def test_steps_out_of_order_are_refused(steps: list[int]) -> None:
    grid = effects([0.3, 0.3], [0.0, 0.0], [0.0, 0.0])
    with pytest.raises(InputError, match="steps in order, each once"):
        ldmscene.emergence(grid.isel(step=steps))


def test_the_same_pictures_again_are_refused() -> None:
    grid = effects([0.3, 0.3], [0.0, 0.0], [0.0, 0.0]).assign_coords(sample=[f"s{i}" for i in range(24)])
    with pytest.raises(InputError, match="each sample once"):
        ldmscene.emergence(grid.isel(sample=[0, 1, 2, 3] * 6))


def test_an_unknown_target_is_answered_with_those_there_are() -> None:
    with pytest.raises(UnknownNameError, match="depth"):
        conclusions.sentence(made([0.1, 0.9], [0, 0]), "dept")


def test_what_is_no_grid_is_told():
    with pytest.raises(InputError, match=r"grid: expected what ldmscene.evaluate returns, got str"):
        ldmscene.emergence("stores/demo")
