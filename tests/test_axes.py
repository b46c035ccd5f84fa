"""Grids that a stranger made, an older version saved or a selection took apart are refused in one sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

import ldmscene
from ldmscene.calls.report_data import report_data
from ldmscene.errors import InputError, UnknownNameError
from ldmscene.painting.offer import Offer
from tests.conftest import FIRST, LAST

Call = Callable[[Any, ldmscene.Grid], object]


@pytest.fixture(scope="module")
def grid(store) -> ldmscene.Grid:
    return ldmscene.evaluate(store, ["depth", "mask"], [FIRST, LAST], alphas=(1e2, 1e3), cv=3)


def _edit(store, grid):
    return ldmscene.Edit.of(grid, "mask", wanted="shift:0,4", modules="best:1", steps=[1], store=store)


def _solved(store, grid):
    """What a report draws of probes without coefficients, which are solved again as the grid says."""
    return report_data(store, grid.drop_vars(["coef", "intercept"]), 1).predict("mask", LAST, 1)


CALLS: dict[str, Call] = {
    "emergence": lambda _, grid: ldmscene.emergence(grid),
    "report": lambda store, grid: report_data(store, grid, 1),
    "transfer": lambda store, grid: ldmscene.transfer(store, grid, "mask"),
    "edit": _edit,
    "paint": lambda store, grid: Offer.of(store, grid),
    "curves": lambda _, grid: ldmscene.plot.curves(grid, "mask"),
    "heatmap": lambda _, grid: ldmscene.plot.heatmap(grid, "mask"),
    "published": lambda _, grid: grid.published(),
}


def _refused(store, grid, call: str, told: str) -> None:
    with pytest.raises(InputError, match=re.escape(told)) as error:
        CALLS.get(call, _solved)(store, grid)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 250


def _told(grid, **attributes: Any) -> ldmscene.Grid:
    found = grid.copy()
    found.attrs = {**grid.attrs, **attributes}
    return found


@pytest.mark.parametrize("call", ["solved", "edit"])
@pytest.mark.parametrize(
    ("name", "wrong", "expected"),
    [
        ("probe", "ridge", "the key of a kind of probe, got 'ridge'"),
        ("probe", {"precision": "float64"}, "the key of a kind of probe, got {'precision': 'float64'}"),
        ("probe", {"probe": ["ridge"]}, "the key of a kind of probe, got {'probe': ['ridge']}"),
        ("probe", {"probe": "ridge", "precision": "float8"}, "the key of a kind of probe, got {'probe': 'ridge', "),
        ("cross_validation_folds", "five", "a whole number of at least 2, got 'five'"),
        ("cross_validation_folds", 1, "a whole number of at least 2, got 1"),
        ("cross_validation_folds", True, "a whole number of at least 2, got True"),
        ("alphas", 3, "at least two numbers above 0, got 3"),
        ("alphas", [1.0], "at least two numbers above 0, got [1.0]"),
        ("alphas", [-1.0, 1.0], "at least two numbers above 0, got [-1.0, 1.0]"),
        ("alphas", [None, 1.0], "at least two numbers above 0, got [None, 1.0]"),
        ("held_out", "holdout", "one of test, val, unseen, got 'holdout'"),
        ("held_out", ["test"], "one of test, val, unseen, got ['test']"),
    ],
)
def test_how_probes_were_fitted_is_checked_before_they_are_solved_again(store, grid, call, name, wrong, expected):
    said = json.loads(grid.attrs["provenance"])
    other = _told(grid, provenance=json.dumps({**said, name: wrong}))
    _refused(store, other, call, f"grid: expected its provenance to say {name}, {expected}")
    without = _told(grid, provenance=json.dumps({key: value for key, value in said.items() if key != name}))
    expected = expected.split(", got ")[0]
    _refused(store, without, call, f"say {name}, {expected}, got none; evaluate the store again")


@pytest.mark.parametrize("call", ["report", "edit"])
@pytest.mark.parametrize(("wrong", "got"), [("hm", "'hm'"), (3, "3"), ("[]", "'[]'"), (None, "None")])
def test_provenance_is_an_object(store, grid, call, wrong, got):
    told = "grid: expected its attribute provenance to be a JSON object, got "
    _refused(store, _told(grid, provenance=wrong), call, told + got)
    alone = _told(grid)
    del alone.attrs["provenance"]
    _refused(store, alone, call, f"{told}none; evaluate the store again")


@pytest.mark.parametrize("call", ["emergence", "transfer", "curves", "heatmap"])
@pytest.mark.parametrize("wrong", ["hm", "3", "[3]", 3, None])
def test_what_was_known_anyway_is_a_list_of_names(store, grid, call, wrong):
    told = "grid: expected its attribute beyond to be a list of names as JSON, got "
    _refused(store, _told(grid, beyond=wrong), call, f"{told}{wrong!r}; evaluate the store again")
    alone = _told(grid)
    del alone.attrs["beyond"]
    _refused(store, alone, call, f"{told}none")


@pytest.mark.parametrize(
    ("name", "calls"),
    [
        ("probe", [*CALLS]),
        ("primary", [call for call in CALLS if call != "published"]),
        ("labels", ["report", "transfer", "edit", "paint"]),
        ("kind", ["report", "paint"]),
        ("of_class", ["report"]),
        ("timestep", ["report"]),
        ("cv_score", ["edit", "paint"]),
        ("alpha", ["edit"]),
        ("channels", ["transfer", "paint"]),
        ("height", ["report", "curves", "heatmap"]),
        ("block", ["report", "heatmap"]),
        ("gain_cv", ["emergence", "transfer", "curves", "heatmap"]),
        ("left", ["emergence", "transfer", "curves", "heatmap"]),
        ("rival_left", ["emergence", "curves"]),
        ("ceiling", ["curves"]),
        ("gain_map", ["transfer"]),
        ("deviation", ["published"]),
    ],
)
def test_a_variable_that_is_missing_is_named(store, grid, name, calls):
    for call in calls:
        _refused(store, grid.drop_vars(name), call, f"grid: expected a variable {name} along ")


@pytest.mark.parametrize("call", [call for call in CALLS if call != "published"])
def test_a_grid_that_is_no_whole_one_is_refused(store, grid, call):
    for dim in ("target", "metric", "module", "step", "sample"):
        _refused(store, grid.isel({dim: []}), call, f"grid: expected at least one {dim}, got none")
    for part in (grid.isel(step=0), grid.isel(target=0), grid.isel(module=0), grid.mean("sample")):
        with pytest.raises(InputError, match=r"select with lists, such as grid.sel\(step=\[3\]\)|got none"):
            CALLS[call](store, part)
    _refused(store, ldmscene.Grid({}), call, "grid: expected a variable probe along ")
    strange = grid.assign_coords(primary=("target", ["spearman", "elo"]))
    _refused(store, strange, call, "grid: expected scores by its own metric 'elo', got ['spearman', ")


def test_a_grid_without_linear_probes_edits_nothing(store, grid):
    for call in ("edit", "paint"):
        _refused(store, grid.drop_vars("coef"), call, "edits need linear probes, and this grid has none; evaluate the")


@pytest.mark.parametrize("call", ["report", "transfer"])
def test_a_grid_of_another_store_is_told_by_its_samples(store, grid, call):
    other = grid.assign_coords(sample=[f"another-{i}" for i in range(grid.sizes["sample"])])
    with pytest.raises(UnknownNameError, match="no sample in this store named 'another-0'; nearest: "):
        CALLS[call](store, other)


def test_of_a_part_a_notebook_shows_the_arrays_and_a_table_its_means(grid):
    for part in (grid.isel(step=0), grid.drop_vars("cv_score").drop_vars("gain_cv"), _told(grid, beyond="hm")):
        assert "Grid</strong>" not in part._repr_html_()
        assert "xr-wrap" in part._repr_html_()
    assert len(grid.isel(step=0).published()) == len(grid.published()) / grid.sizes["step"]
    with pytest.raises(InputError, match=r"expected metric along metric, got one alone; select with lists"):
        grid.sel(metric="spearman").published()
    with pytest.raises(InputError, match="scores: expected at least one, got none along target, metric, module, step"):
        grid.isel(target=[]).to_dataframe()
