"""Scores of modules × steps as a matplotlib figure, in the denoiser's own shape."""

from __future__ import annotations

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from ldmscene import grid as grids
from ldmscene.report.colours import SCORES
from ldmscene.report.labels import labels
from ldmscene.report.saving import FONT, SMALL, new_axes

GAP = 0.45  # between encoder, bottleneck and decoder, in rows
SHAPE = 2.6  # width of the hourglass at the left, in columns


def heatmap(grid: xr.Dataset, target: str, ax: Axes | None = None) -> Axes:
    """Draw a target's mean score for each module and step.

    Modules run from the denoiser's input at the top to its output at the bottom, in the groups encoder,
    bottleneck and decoder; the bars at the left are their resolutions. The best module (by
    cross-validation on training samples) is in bold. A cell is grey where an image has no score.
    `ax.collections[0].get_array()` has the numbers, module after module, masked there.

    Parameters
    ----------
    grid
        Scores, as `ldmscene.evaluate` gives them.
    target
        One of the grid's targets.
    ax
        Where to draw; a new figure of 4.6 by 3.2 inches by default. The colour bar takes space from it.

    Raises
    ------
    UnknownNameError
        The grid has no such target.

    Examples
    --------
    >>> import ldmscene
    >>> grid = ldmscene.evaluate("stores/demo", "mask", steps=[1, 3], cv=3, progress=False)
    >>> ldmscene.plot.heatmap(grid, "mask").get_xlabel()
    'denoising step'
    """
    metric = grids.primary(grid, target)
    means = grid["probe"].sel(target=target, metric=metric).mean("sample", skipna=False)
    ax = ax if ax is not None else new_axes(4.6, 3.2)
    tops = rows(grid)
    mesh = _cells(ax, means.transpose("module", "step").values, tops)
    _shape(ax, grid, tops)
    _name_rows(ax, grid, target, tops)
    _name_steps(ax, grid)
    ax.set_title(target, fontsize=FONT, loc="left", fontweight="bold")
    bar = ax.figure.colorbar(mesh, ax=ax, fraction=0.05, pad=0.02, aspect=30)
    bar.set_label(metric.replace("_", " "), fontsize=FONT)
    bar.ax.tick_params(labelsize=SMALL, width=0.6, length=2.5)
    bar.outline.set_visible(False)
    return ax


def rows(grid: xr.Dataset) -> np.ndarray:
    """Where each module's row begins, in rows, with a gap between groups: (module,)."""
    blocks = grid["block"].values
    return np.arange(len(blocks)) + GAP * np.concatenate([[0], np.cumsum(blocks[1:] != blocks[:-1])])


def _cells(ax: Axes, means: np.ndarray, tops: np.ndarray) -> matplotlib.collections.PolyCollection:
    corners = [[(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1)] for y in tops for x in range(means.shape[1])]
    colours = matplotlib.colormaps[SCORES].with_extremes(bad="#8a9099")
    # Polygons rather than an image: sharp at any scale in PDF and SVG, and rows may have gaps.
    cells = matplotlib.collections.PolyCollection(corners, cmap=colours, edgecolor="white", linewidth=0.4)
    cells.set_array(np.ma.masked_invalid(means.ravel()))
    ax.add_collection(cells, autolim=False)
    ax.set(xlim=(-SHAPE, means.shape[1]), ylim=(tops[-1] + 1, 0))
    return cells


def _shape(ax: Axes, grid: xr.Dataset, tops: np.ndarray) -> None:
    size = np.log2(grid["height"].values) + 1
    for y, width in zip(tops, 0.85 * SHAPE * size / size.max(), strict=True):
        corner = (-SHAPE / 2 - width / 2, y + 0.14)
        ax.add_patch(Rectangle(corner, width, 0.72, color="#c3c9d1", linewidth=0))


def _name_rows(ax: Axes, grid: xr.Dataset, target: str, tops: np.ndarray) -> None:
    modules = [str(m) for m in grid["module"].values]
    short = labels(modules)
    best = modules.index(grids.best_module(grid, target))
    ax.set_yticks(tops + 0.5, [short[m] for m in modules], fontsize=SMALL)
    ax.get_yticklabels()[best].set_fontweight("bold")
    _name_groups(ax, grid, tops, beyond=max(map(len, short.values())))


def _name_groups(ax: Axes, grid: xr.Dataset, tops: np.ndarray, beyond: int) -> None:
    """Write each group's name to the left of module labels that are `beyond` characters long at most."""
    blocks = grid["block"].values
    for block in dict.fromkeys(blocks):
        members = blocks == block
        ax.annotate(
            str(block), xy=(0, float(tops[members].mean()) + 0.5), xycoords=("axes fraction", "data"),
            xytext=(-(8 + 0.6 * SMALL * beyond), 0), textcoords="offset points",
            rotation=90 if members.sum() > 2 else 0,
            fontsize=SMALL, color="#5a626d", ha="right", va="center", annotation_clip=False,
        )  # fmt: skip


def _name_steps(ax: Axes, grid: xr.Dataset) -> None:
    steps = grid["step"].values
    every = slice(None, None, max(1, len(steps) // 7))
    ax.set_xticks((np.arange(len(steps)) + 0.5)[every], [str(s) for s in steps[every]], fontsize=SMALL)
    ax.set_xlabel("denoising step", fontsize=FONT)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
