"""Cell sums against sums over explicit pixels."""

from __future__ import annotations

import numpy as np
import pytest

from ldmscene.cells import Cells, block_sum, spread
from ldmscene.errors import ShapeError


def labels_with_holes(rng: np.random.Generator) -> np.ndarray:
    labels = rng.normal(5, 2, (3, 8, 12)).astype(np.float32)
    labels[0, :3, :5] = np.nan
    labels[2] = np.nan
    return labels


def test_cells_hold_the_sums_of_their_pixels() -> None:
    labels = labels_with_holes(np.random.default_rng(0))
    cells = Cells.of(labels, (4, 3))
    assert cells.scale == (2, 4)
    for s, j, i in np.ndindex(3, 4, 3):
        block = labels[s, 2 * j : 2 * j + 2, 4 * i : 4 * i + 4].astype(float)
        known = block[~np.isnan(block)]
        assert cells.weight[s, j, i] == known.size
        np.testing.assert_allclose(cells.total[s, j, i], known.sum())
        np.testing.assert_allclose(cells.scatter[s, j, i], known.size * np.var(known) if known.size else 0)
        np.testing.assert_allclose(cells.mean[s, j, i], known.mean() if known.size else 0)


def test_scatter_survives_a_mean_far_from_zero() -> None:
    labels = 1e9 + np.arange(16.0).reshape(1, 4, 4)
    np.testing.assert_allclose(Cells.of(labels, (1, 1)).scatter, 340.0, rtol=1e-6)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float16, np.int64])
def test_dtypes_give_the_same_cells(dtype: type) -> None:
    labels = np.random.default_rng(0).integers(0, 2, (2, 4, 4))
    expected = Cells.of(labels.astype(float), (2, 2))
    cells = Cells.of(labels.astype(dtype), (2, 2))
    np.testing.assert_array_equal(cells.total, expected.total)
    np.testing.assert_array_equal(cells.scatter, expected.scatter)


def test_coarser_cells_equal_those_of_the_pixels() -> None:
    labels = labels_with_holes(np.random.default_rng(1))
    direct, coarsened = Cells.of(labels, (2, 3)), Cells.of(labels, (4, 6)).coarsen((2, 3))
    for name in ("weight", "total", "scatter"):
        np.testing.assert_allclose(getattr(coarsened, name), getattr(direct, name), atol=1e-12)
    assert coarsened.scale == direct.scale


def test_some_samples() -> None:
    cells = Cells.of(labels_with_holes(np.random.default_rng(2)), (4, 3))
    np.testing.assert_array_equal(cells[[2, 0]].total, cells.total[[2, 0]])
    assert len(cells[1:]) == 2


def test_block_sum_and_spread_are_adjoint() -> None:
    rng = np.random.default_rng(3)
    pixels, maps = rng.normal(size=(2, 6, 8)), rng.normal(size=(2, 3, 2))
    left, right = (pixels * spread(maps, (2, 4))).sum(), (block_sum(pixels, (3, 2)) * maps).sum()
    np.testing.assert_allclose(left, right)


@pytest.mark.parametrize(("shape", "grid"), [((2, 8, 8), (3, 4)), ((2, 8, 8), (4, 16)), ((8, 8), (4, 4))])
def test_labels_that_do_not_tile_the_grid_are_refused(shape: tuple[int, ...], grid: tuple[int, int]) -> None:
    with pytest.raises(ShapeError, match="labels"):
        Cells.of(np.zeros(shape), grid)
