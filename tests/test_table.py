"""The grid's tidy table against its own arrays, and what a notebook shows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

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
    whole = grid.to_dataframe().xs(taken[next(iter(taken))], level=next(iter(taken)))
    assert set(np.round(frame["probe"], 6)) <= set(np.round(whole["probe"], 6))
    assert set(frame["timestep"]) <= set(grid["timestep"].values)


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
