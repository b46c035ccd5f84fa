"""Bilinear upsampling, without ever upsampling the activations.

U lifts a grid (y, x) to the labels' (H, W), and W holds the pixels' weights. A ridge at label resolution
needs UᵀWU X and UᵀWy only. A pixel reads at most four neighbouring grid positions, so UᵀWU is a stencil of
3 × 3 coefficients for each position, whatever the weights; with all weights equal it is separable and
constant.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from ldmscene.array_types import Array


@cache
def interpolation(out: int, size: int) -> Array:
    """The matrix (out, size) of linear interpolation with half-pixel centres.

    As torch.nn.functional.interpolate with align_corners=False; rows sum to one.
    """
    centre = np.clip((np.arange(out) + 0.5) * size / out - 0.5, 0, size - 1)
    low = np.minimum(centre.astype(int), max(size - 2, 0))
    matrix = np.zeros((out, size))
    matrix[np.arange(out), low] = 1 - (centre - low)
    matrix[np.arange(out), np.minimum(low + 1, size - 1)] += centre - low
    matrix.setflags(write=False)
    return matrix


def lift(maps: Array, shape: tuple[int, int]) -> Array:
    """U: upsample maps (..., y, x) to (..., H, W)."""
    along_y = interpolation(shape[0], maps.shape[-2])
    along_x = interpolation(shape[1], maps.shape[-1])
    return along_y @ maps @ along_x.T


def gather(pixels: Array, grid: tuple[int, int]) -> Array:
    """Uᵀ: take maps (..., H, W) back to (..., y, x)."""
    along_y = interpolation(pixels.shape[-2], grid[0])
    along_x = interpolation(pixels.shape[-1], grid[1])
    return along_y.T @ pixels @ along_x


def stencil(weight: Array, grid: tuple[int, int]) -> Array:
    """UᵀWU as coefficients (sample, 3, 3, y, x).

    Entry [s, 1 + dy, 1 + dx, j, i] couples position (j, i) to (j + dy, i + dx).
    """
    along_y = _neighbours(interpolation(weight.shape[1], grid[0]))
    along_x = _neighbours(interpolation(weight.shape[2], grid[1]))
    rows = np.einsum("dpj,spq->sdjq", along_y, weight, optimize=True)
    coefficients: Array = np.einsum("sdjq,eqi->sdeji", rows, along_x, optimize=True)
    return coefficients


def apply_stencil(coefficients: Array, X: Array) -> Array:
    """UᵀWU X for maps (sample, y, x, c), both numpy or both tensors."""
    out = coefficients[:, 1, 1, :, :, None] * X
    y, x = X.shape[1:3]
    for dy, dx in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1), (2, 2)):
        to_y, from_y = _overlap(dy - 1, y)
        to_x, from_x = _overlap(dx - 1, x)
        out[:, to_y, to_x] += coefficients[:, dy, dx, to_y, to_x, None] * X[:, from_y, from_x]
    return out


def _neighbours(matrix: Array) -> Array:
    """[3, out, size]: each column times its left neighbour, itself and its right neighbour."""
    products = np.zeros((3, *matrix.shape))
    products[1] = matrix * matrix
    products[2][:, :-1] = matrix[:, :-1] * matrix[:, 1:]
    products[0][:, 1:] = products[2][:, :-1]
    return products


def _overlap(shift: int, size: int) -> tuple[slice, slice]:
    """Positions that have a neighbour at `shift`, and those neighbours."""
    return slice(max(0, -shift), size - max(0, shift)), slice(max(0, shift), size + min(0, shift))
