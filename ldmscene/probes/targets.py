"""Labels, reduced to what the statistics of a ridge need of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ldmscene.array_types import Array, Bools, Ints
from ldmscene.cells import Cells, cell_size
from ldmscene.choices import Upsampling
from ldmscene.errors import InputError, ShapeError
from ldmscene.probes.bilinear import apply_stencil, gather, stencil
from ldmscene.probes.inputs import all_finite, as_numpy, is_tensor
from ldmscene.probes.stats import Moments, bad_row, from_sums, sums_over_maps
from ldmscene.probes.widening import subtract

_VALUES = 1 << 19  # of features stay in the cache between the cast and the sum


@dataclass(frozen=True)
class Targets:
    """Several labels on one grid that have the same labelled pixels, and so the same weights."""

    names: tuple[str, ...]
    weight: Array
    """[sample, y, x] UᵀW1: how much label lies over each position"""
    mean: Array
    """[sample, y, x, t] UᵀWy over UᵀW1"""
    label_mean: Array
    """[sample, t] mean over the labelled pixels of a sample"""
    scatter: Array
    """[sample, t] Σ (y − label mean)² over them"""
    stencil: Array | None = None
    """[sample, 3, 3, y, x] UᵀWU for bilinear upsampling; None: it is diagonal and equals `weight`"""

    @classmethod
    def of(cls, cells: Mapping[str, Cells]) -> Targets:
        """From labels on cells, all with the same weights; nearest upsampling."""
        first = next(iter(cells.values()))
        count = np.maximum(first.weight.sum((1, 2)), 1)
        label_mean = [one.total.sum((1, 2)) / count for one in cells.values()]
        scatter = [
            (one.scatter + one.weight * (one.mean - mean[:, None, None]) ** 2).sum((1, 2))
            for one, mean in zip(cells.values(), label_mean, strict=True)
        ]
        mean = np.stack([one.mean for one in cells.values()], -1)
        return cls(tuple(cells), first.weight, mean, np.stack(label_mean, -1), np.stack(scatter, -1))

    def __len__(self) -> int:
        return len(self.weight)

    def __getitem__(self, samples: slice | Sequence[int] | Ints | Bools) -> Targets:
        """Labels of some of the samples, chosen by a slice, indices or a mask."""
        return Targets(
            self.names,
            self.weight[samples],
            self.mean[samples],
            self.label_mean[samples],
            self.scatter[samples],
            None if self.stencil is None else self.stencil[samples],
        )


def group_targets(cells: Mapping[str, Cells]) -> list[Targets]:
    """Put targets with the same weights together: each group costs one product XᵀX.

    Nearest upsampling. Targets keep their order within a group, and groups that of their first target.
    """
    groups: list[list[str]] = []
    for name, one in cells.items():
        known = (group for group in groups if np.array_equal(cells[group[0]].weight, one.weight))
        group = next(known, None)
        groups.append([name]) if group is None else group.append(name)
    return [Targets.of({name: cells[name] for name in group}) for group in groups]


def group_labels(
    labels: Mapping[str, Array], grid: tuple[int, int], upsample: Upsampling = "nearest", weight: Array | None = None
) -> list[Targets]:
    """Targets of labels at their own resolution, one group for those with the same labelled pixels.

    Parameters
    ----------
    labels : mapping of name to array (sample, H, W)
        NaN marks a pixel without label.
    grid : (int, int)
        y and x of the activations.
    upsample : {"nearest", "bilinear"}
        How predictions reach the labels' resolution; bilinear has half-pixel centres (align_corners=False).
    weight : array (sample,), optional
        Weight of each sample, multiplied into that of its pixels.

    Raises
    ------
    ShapeError
        If labels don't tile the grid.
    InputError
        If `upsample` is neither of the two.
    """
    if upsample == "nearest":
        groups = group_targets({name: Cells.of(label, grid) for name, label in labels.items()})
    elif upsample == "bilinear":
        groups = _group_bilinear(labels, grid)
    else:
        raise InputError(f"upsample: expected 'nearest' or 'bilinear', got {upsample!r}")
    return groups if weight is None else [_reweigh(group, np.asarray(weight, float)) for group in groups]


def moments(X: Any, targets: Targets, precision: str = "float64") -> Moments:
    """Statistics of maps X (sample, y, x, c) against their targets, at label resolution.

    X is numpy or a torch.Tensor, which is reduced on its own device. `precision`, "float64" or "float32", is that of
    products of features that are float16 and upsampled by nearest; all others have those of float64.
    """
    _check_maps(X, targets)
    _, y, x, c = X.shape
    weight, mean = targets.weight.reshape(-1), targets.mean.reshape(-1, len(targets.names))
    if targets.stencil is None:
        whole = Moments.of(X.reshape(-1, c), weight, mean, rows_per_sample=y * x, precision=precision)
    else:
        whole = _moments_bilinear(X, targets)
    return _of_labels(whole, targets)


def moments_by_position(X: Any, targets: Targets, precision: str = "float64") -> tuple[Moments, Array]:
    """`moments`, and Σ over samples of UᵀWU (X − mean) at each position, [y · x, c]; of nearest both from one pass."""
    if targets.stencil is not None:
        whole = moments(X, targets, precision)
        return whole, position_sums(X, targets, whole.mean_x).reshape(-1, X.shape[-1])
    _check_maps(X, targets)
    n, y, x, c = X.shape
    t = len(targets.names)
    if not targets.weight.any():
        return Moments.empty(c, t), np.zeros((y * x, c))
    weight, mean = targets.weight.reshape(n, -1), targets.mean.reshape(n, -1, t)
    sums = sums_over_maps(X.reshape(n, -1, c), weight, mean, precision)
    if not np.isfinite(sums.mean_x).all():
        raise InputError(bad_row(X.reshape(-1, c), y * x))
    return _of_labels(from_sums(sums), targets), sums.by_position


def position_sums(X: Any, targets: Targets, about: Array) -> Array:
    """Σ over samples of UᵀWU (X − about), [y, x, c] in float64, of maps (sample, y, x, c) on any device."""
    _, y, x, c = X.shape
    total = np.zeros((y, x, c))
    samples = max(1, _VALUES // (y * x * c))
    for first in range(0, len(X), samples):
        some = targets[first : first + samples]
        maps = as_numpy(X[first : first + samples])
        about_mean = np.empty(maps.shape)
        subtract(maps, about, about_mean)
        if some.stencil is None:
            total += np.einsum("syx,syxc->yxc", some.weight, about_mean)
        else:
            total += apply_stencil(some.stencil, about_mean).sum(0)
    return total


def _check_maps(X: Any, targets: Targets) -> None:
    if X.shape[:3] != targets.weight.shape:
        raise ShapeError(f"X: expected maps (sample, y, x) of {targets.weight.shape}, got {tuple(X.shape[:3])}")


def _of_labels(whole: Moments, targets: Targets) -> Moments:
    """With the scatter of the labels' pixels instead of that of their cells."""
    return Moments(**{**vars(whole), "cyy": _label_scatter(targets, whole.mean_y)})


def _group_bilinear(labels: Mapping[str, Array], grid: tuple[int, int]) -> list[Targets]:
    groups: list[tuple[Array, dict[str, Array]]] = []
    for name, label in labels.items():
        cell_size(label.shape, grid)
        known = ~np.isnan(np.asarray(label, dtype=np.float64))
        group = next((members for mask, members in groups if np.array_equal(mask, known)), None)
        groups.append((known, {name: label})) if group is None else group.update({name: label})
    return [_from_pixels(members, known, grid) for known, members in groups]


def _from_pixels(labels: Mapping[str, Array], known: Array, grid: tuple[int, int]) -> Targets:
    y = np.stack([np.where(known, label, 0) for label in labels.values()], -1).astype(np.float64)
    mask = known.astype(np.float64)
    label_mean = y.sum((1, 2)) / np.maximum(mask.sum((1, 2)), 1)[:, None]
    scatter = (mask[..., None] * (y - label_mean[:, None, None]) ** 2).sum((1, 2))
    weight = gather(mask, grid)
    total = np.moveaxis(gather(np.moveaxis(y, -1, 0), grid), 0, -1)
    mean = total / np.where(weight > 0, weight, 1)[..., None]
    return Targets(tuple(labels), weight, mean, label_mean, scatter, stencil(mask, grid))


def _reweigh(targets: Targets, weight: Array) -> Targets:
    per_map = weight[:, None, None]
    coefficients = None if targets.stencil is None else targets.stencil * per_map[..., None, None]
    scatter = targets.scatter * weight[:, None]
    return Targets(targets.names, targets.weight * per_map, targets.mean, targets.label_mean, scatter, coefficients)


def _moments_bilinear(X: Any, targets: Targets) -> Moments:
    """One sample at a time, since a stencil doubles the memory of what it is applied to."""
    whole = Moments.empty(X.shape[-1], len(targets.names))
    for i in range(len(X)):
        if not all_finite(X[i]):
            raise InputError(f"X: sample {i} holds NaN or infinity")
        maps = X[i : i + 1].detach().double() if is_tensor(X) else X[i : i + 1].astype(np.float64)
        whole = whole.merge(_sample_bilinear(maps, targets[i : i + 1]))
    return whole


def _sample_bilinear(maps: Any, targets: Targets) -> Moments:
    c, t = maps.shape[-1], len(targets.names)
    total = float(targets.weight.sum())
    if not total or targets.stencil is None:
        return Moments.empty(c, t)
    known = targets.weight.reshape(-1), targets.mean.reshape(-1, t), targets.stencil
    w, mean, coefficients = (maps.new_tensor(array) for array in known) if is_tensor(maps) else known
    # Rows of U sum to one, so that the mean of UX can be taken off X.
    mean_x, mean_y = w @ maps.reshape(-1, c) / total, w @ mean / total
    maps = maps - mean_x
    flat = maps.reshape(-1, c)
    cxx = flat.T @ apply_stencil(coefficients, maps).reshape(-1, c)
    cxy = flat.T @ (w[:, None] * (mean - mean_y))
    mean_x, mean_y, cxx, cxy = (as_numpy(part) for part in (mean_x, mean_y, cxx, cxy))
    # A general product is symmetric up to rounding only.
    return Moments(total, mean_x, mean_y, (cxx + cxx.T) / 2, cxy, np.zeros(t))


def _label_scatter(targets: Targets, mean_y: Array) -> Array:
    """Σw (y − ȳ)² over pixels: X plays no part in it, nor does the upsampling."""
    count = targets.weight.sum((1, 2))
    scatter: Array = targets.scatter.sum(0) + count @ (targets.label_mean - mean_y) ** 2
    return scatter
