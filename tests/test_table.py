"""The grid's tidy table against its own arrays, and what a notebook shows."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import f1_score, root_mean_squared_error

import ldmscene
from ldmscene import conclusions
from ldmscene import grid as grids
from tests.conftest import FIRST, LAST


@pytest.fixture(scope="module")
def grid(store) -> ldmscene.Grid:
    return ldmscene.evaluate(store, ["depth", "mask"], [FIRST, LAST], alphas=(1e1, 1e3), cv=3)


def test_a_row_has_the_means_of_its_cell(grid):
    frame = grid.to_dataframe()
    assert frame.index.names == ["target", "metric", "module", "step"]
    assert len(frame) == grid["probe"].mean("sample").notnull().sum()
    row, cell = frame.loc["mask", "dice", LAST, 2], grid.sel(target="mask", module=LAST, step=2)
    assert row["probe"] == pytest.approx(cell["probe"].sel(metric="dice").mean().item())
    assert row["shuffled"] == pytest.approx(cell["shuffled"].sel(metric="dice").mean().item())
    bounds = grids.interval(grid["probe"]).sel(target="mask", metric="dice", module=LAST, step=2)
    assert (row["low"], row["high"]) == pytest.approx((bounds["low"].item(), bounds["high"].item()))
    for name in ("alpha", "cv_score", "timestep"):
        assert row[name] == cell[name].item()
    for name in grids.baselines(grid, "mask"):
        assert row[name] == pytest.approx(cell["baseline"].sel(metric="dice", reading=name).mean().item())


def _pixels(store, grid, target: str) -> tuple[np.ndarray, np.ndarray]:
    """What the last module's probe predicts at step 2 for each pixel of each held-out image, and labels."""
    fit = grid.sel(target=target, module=LAST, step=2)
    X = store.activations(LAST, 2, "test").values.astype(np.float64)
    said = X @ fit["coef"].values[: X.shape[-1]] + float(fit["intercept"])
    labels = store.labels(target, "test").values.astype(np.float64)
    lift = labels.shape[1] // said.shape[1]
    return said.repeat(lift, 1).repeat(lift, 2).reshape(len(said), -1), labels.reshape(len(labels), -1)


def _mean(score, predictions, labels) -> float:
    return float(np.mean([score(label, one) for label, one in zip(labels, predictions, strict=True)]))


def test_published_scores_are_those_that_others_compute(store, grid):
    frame = grid.published()
    assert frame.index.names == ["target", "metric", "module", "step"]
    assert not frame.index.has_duplicates
    assert len(frame) == (3 + 2) * 2 * 4  # metrics of depth and of masks, modules, steps
    found = frame["probe"].xs(LAST, level="module").xs(2, level="step")
    said, depth = _pixels(store, grid, "depth")
    training = store.labels("depth", "train").values.astype(np.float64)
    mean, deviation = training.mean(), training.std()
    expected = {
        "spearman": _mean(lambda *maps: spearmanr(*maps).statistic, said, depth),
        "pearson": _mean(lambda *maps: pearsonr(*maps).statistic, said, depth),
        "rmse": _mean(root_mean_squared_error, (said - mean) / deviation, (depth - mean) / deviation),
    }
    assert found["depth"].to_dict() == pytest.approx(expected, abs=1e-5)
    odds, mask = _pixels(store, grid, "mask")
    called, mask = odds > 0, mask > 0.5
    for name, where in (("dice", True), ("dice_background", False)):
        theirs = _mean(lambda *maps, where=where: f1_score(*maps, pos_label=where, zero_division=0), called, mask)
        assert found["mask", name] == pytest.approx(theirs, abs=1e-5)


def test_published_errors_of_rivals_are_in_the_same_units(grid):
    rows = grid.published().xs("rmse", level="metric")
    plain = grid.to_dataframe().xs("rmse", level="metric")
    deviation = float(grid["deviation"].sel(target="depth"))
    for name in ("probe", "low", "high", "shuffled", "mean label", "labeler on x_t"):
        np.testing.assert_allclose(rows[name], plain[name] / deviation, rtol=1e-5)
    assert "alpha" not in rows


def test_rows_come_in_the_order_that_is_asked_for(grid):
    frame = grid.to_dataframe(["step", "module", "target", "metric"])
    assert frame.index.names == ["step", "module", "target", "metric"]
    pd.testing.assert_frame_equal(
        frame.reorder_levels([2, 3, 1, 0]).sort_index(), grid.to_dataframe().sort_index(), check_like=True
    )


@pytest.mark.parametrize(
    ("taken", "levels"),
    [
        ({"target": "depth"}, ["metric", "module", "step"]),
        ({"step": 1}, ["target", "metric", "module"]),
        ({"module": LAST, "step": [0, 1]}, ["target", "metric", "step"]),
    ],
)
def test_a_part_of_a_grid_is_a_grid(grid, taken, levels):
    part = grid.sel(taken)
    assert isinstance(part, ldmscene.Grid)
    frame = part.to_dataframe()
    assert frame.index.names == levels
    whole = grid.to_dataframe().reset_index()
    for name, values in taken.items():
        whole = whole[whole[name].isin(np.atleast_1d(values))]
    expected = whole.set_index(levels)
    assert len(frame) == len(expected) > 0
    for column in ("probe", "shuffled", "timestep", "cv_score"):
        pd.testing.assert_series_equal(frame[column].sort_index(), expected[column].sort_index(), rtol=1e-6)


def test_one_image_and_a_mean_of_images_have_tables_without_intervals(grid):
    whole = grid.to_dataframe()
    averaged = grid.mean("sample").to_dataframe()
    assert len(averaged) == len(whole)
    np.testing.assert_allclose(averaged["probe"], whole["probe"], rtol=1e-6)
    assert "low" not in averaged
    assert len(grid.isel(sample=0).to_dataframe()) == len(whole)


def test_without_scores_it_is_xarrays_own_table(grid):
    some = grid[["alpha"]]
    plain = xr.Dataset(some.data_vars, some.coords).to_dataframe()
    pd.testing.assert_frame_equal(some.to_dataframe(), plain, check_like=True)


def test_a_notebook_shows_the_findings_and_the_arrays(grid):
    shown = grid._repr_html_()
    for target in ("depth", "mask"):
        assert conclusions.sentence(grid, target).split(";")[0] in shown.replace("&#x27;", "'")
    row = ldmscene.emergence(grid).loc["mask"]
    assert f"{100 * row['gain']:.0f} % ({100 * row['gain_low']:.0f} to {100 * row['gain_high']:.0f})" in shown
    first = "–" if pd.isna(row["first"]) else f"{row['first']} ({row['first_low']} to {row['first_high']})"
    most = "–" if pd.isna(row["most"]) else f"{row['most']} ({row['most_low']} to {row['most_high']})"
    cells = re.findall(r"<td>(.*?)</td>", shown[shown.index("<th>mask</th>") :])
    assert cells[1:3] == [first, most]
    assert f"Dice {row['final']:.2f}" in cells
    assert "xr-wrap" in shown
    assert "Grid</strong>" not in grid.sel(step=1)._repr_html_()
    renamed = grid.assign_coords(target=["<script>", "mask"])
    assert "<script>:" not in renamed._repr_html_()


def test_a_grid_that_is_read_back_is_one(store, grid):
    again = ldmscene.evaluate(store, ["depth", "mask"], [FIRST, LAST], alphas=(1e1, 1e3), cv=3)
    assert isinstance(again, ldmscene.Grid)
    xr.testing.assert_identical(again.drop_attrs(), grid.drop_attrs())


def test_a_store_shows_its_first_pictures_and_escapes_what_came_from_outside(store, two, monkeypatch):
    shown = store._repr_html_()
    assert shown.count("<img") == 8
    assert "20 of 20 complete" in shown
    frame = two.manifest.frame.assign(prompt="<script>alert(1)</script>'\"")
    monkeypatch.setattr(type(two), "samples", frame.assign(complete=True, dropped=False))
    assert two._repr_html_().count("<img") == 2
    assert "<script>" not in two._repr_html_()
