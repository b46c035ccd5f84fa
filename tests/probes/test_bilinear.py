"""Bilinear upsampling against torch and against the explicit matrix."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ldmscene.probes.bilinear import apply_stencil, gather, interpolation, lift, stencil

SIZES = [((4, 6), (8, 18)), ((3, 5), (12, 5)), ((1, 4), (4, 8)), ((2, 2), (16, 16)), ((4, 4), (4, 4))]


def explicit(grid: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    return np.kron(interpolation(shape[0], grid[0]), interpolation(shape[1], grid[1]))


@pytest.mark.parametrize(("grid", "shape"), SIZES)
def test_lift_is_torchs_interpolate(grid: tuple[int, int], shape: tuple[int, int]) -> None:
    maps = np.random.default_rng(0).normal(size=(2, 3, *grid))
    expected = torch.nn.functional.interpolate(torch.from_numpy(maps), size=shape, mode="bilinear", align_corners=False)
    np.testing.assert_allclose(lift(maps, shape), expected.numpy(), atol=1e-12)


@pytest.mark.parametrize(("grid", "shape"), SIZES)
def test_gather_is_the_adjoint(grid: tuple[int, int], shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).normal(size=(2, *shape))
    expected = pixels.reshape(2, -1) @ explicit(grid, shape)
    np.testing.assert_allclose(gather(pixels, grid).reshape(2, -1), expected, atol=1e-12)


@pytest.mark.parametrize(("grid", "shape"), SIZES)
def test_stencil_is_the_explicit_product_for_any_weights(grid: tuple[int, int], shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(2)
    weight, X = rng.integers(0, 2, (2, *shape)).astype(float), rng.normal(size=(2, *grid, 3))
    U = explicit(grid, shape)
    actual = apply_stencil(stencil(weight, grid), X)
    for s in range(2):
        expected = U.T @ (weight[s].reshape(-1, 1) * (U @ X[s].reshape(-1, 3)))
        np.testing.assert_allclose(actual[s].reshape(-1, 3), expected, atol=1e-12)
