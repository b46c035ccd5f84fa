"""What a stranger's store says was computed from it: grids and statistics that nobody could have computed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from safetensors.numpy import load, save

import ldmscene
from ldmscene.errors import CorruptError
from ldmscene.store import grids
from ldmscene.store.cache import _checksum
from ldmscene.store.layout import LEDGER, PROBES
from tests.store import worlds
from tests.test_cli import call

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("evaluated") / "foreign"
    worlds.make(root, 9)
    ldmscene.label(root, "depth", lambda images: images.mean(-1).astype(np.float32), progress=False)
    _evaluate(root)
    return root


@pytest.fixture
def root(evaluated: Path, tmp_path: Path) -> Path:
    return shutil.copytree(evaluated, tmp_path / "foreign")


def _evaluate(root: Path) -> xr.Dataset:
    return ldmscene.evaluate(root, alphas=[1.0, 100.0], cv=2, progress=False)


def _retell(root: Path, change: Callable[[xr.Dataset], xr.Dataset]) -> None:
    (path,) = (root / PROBES).glob("*.nc")
    path.write_bytes(grids.write(change(grids.read(path.read_bytes(), ""))))


def _filled(name: str, value: object) -> Callable[[xr.Dataset], xr.Dataset]:
    def change(grid: xr.Dataset) -> xr.Dataset:
        array = (grid[name].dims, np.full(grid[name].shape, value, object if isinstance(value, str) else np.float64))
        return grid.assign({name: array}) if name in grid.data_vars else grid.assign_coords({name: array})

    return change


@pytest.mark.parametrize(
    "change",
    [
        *(_filled(name, np.inf) for name in ("probe", "baseline", "timestep", "height", "width", "channels")),
        *(_filled(name, np.inf) for name in ("explained", "gain_map", "known_map", "gain_coef", "ceiling")),
        *(_filled(name, value) for name in ("explained", "rival_explained") for value in (1e308, -1e308)),
        *(_filled(name, np.nan) for name in ("explained", "gain_cv", "step", "prompt", "timestep")),
        _filled("rival", "\x1b[2J"),
        lambda grid: grid.drop_vars("left"),
        lambda grid: grid.drop_vars("rival"),
        lambda grid: grid.assign(gain_cv=grid["gain_cv"].isel(step=0, drop=True)),
        *(lambda grid, text=text: grid.assign_attrs(beyond=text) for text in ('["\\u001b[2J"]', "{", "1", "[1]")),
    ],
)
def test_a_grid_that_nobody_could_have_computed_is_refused(root, change):
    _retell(root, change)
    with pytest.raises(CorruptError, match="and so no grid of ldmscene's; delete it and evaluate again") as caught:
        _evaluate(root)
    assert str(caught.value).count("\n") == 0


def test_a_grid_as_it_was_written_is_read(root):
    _retell(root, lambda grid: grid)
    assert ldmscene.emergence(_evaluate(root)).index.tolist() == ["depth"]


def test_a_grid_with_a_coordinate_of_earlier_versions_is_read(root):
    expected = _evaluate(root)
    _retell(root, lambda grid: grid.assign_coords(level=("module", ["mid_block"] * grid.sizes["module"])))
    found = _evaluate(root)
    assert found["level"].values.tolist() == ["mid_block"]
    xr.testing.assert_identical(found.drop_vars("level"), expected)


def test_an_empty_array_makes_no_room_for_a_huge_one(root):
    """60,000 features of no number each would be 29 GB of products."""
    shutil.rmtree(root / PROBES)
    for path in (root / "statistics" / "moments").iterdir():
        tensors = load(path.read_bytes()) | {"mean_x": np.zeros((60_000, 0))}
        path.write_bytes(save(tensors, {"crc32c": str(_checksum(tensors))}))
    with pytest.raises(CorruptError, match=r"expected products of 60000 features, .* behind the same `extract` where"):
        _evaluate(root)


def test_no_file_name_adds_lines_or_columns_to_what_verify_says(root):
    (root / LEDGER / "a\n-\timage\tis sound\u2028\r.parquet").write_bytes(b"")
    code, out, _ = call("verify", root)
    assert code == 2
    assert [len(line.split("\t")) for line in out.splitlines()] == [3]


def test_names_that_are_no_text_are_told_of(root):
    (root / os.fsdecode(b"ledger/\xff.parquet")).write_bytes(b"")
    code, out, err = call("verify", root)
    assert code == 2
    (out + err).encode()
