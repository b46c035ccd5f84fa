"""What is read from modules × steps as a matplotlib figure, in the denoiser's own shape."""

from __future__ import annotations

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from ldmscene import grid as grids
from ldmscene.array_types import Array, Bools
from ldmscene.axes import check_grid
from ldmscene.report.colours import score_colours
from ldmscene.report.labels import labels
from ldmscene.report.measures import measure_of
from ldmscene.report.saving import FONT, SMALL, new_axes
from ldmscene.text import number
from ldmscene.words import capital

GAP = 0.45  # between encoder, bottleneck and decoder, in rows
SHAPE = 2.6  # width of the hourglass at the left, in columns


def heatmap(grid: xr.Dataset, target: str | None = None, ax: Axes | None = None, *, measure: str | None = None) -> Axes:
    """Draw how much is read of a target from each module at each step.

    Modules run from the denoiser's input at the top to its output at the bottom, in the groups encoder,
    bottleneck and decoder; the bars at the left are their resolutions. The module that speaks for the target (chosen
    on training samples) is in bold. A cell is grey where an image has no score, or the
    module doesn't run. Gains that are not shown to be above
    2 %, by bounds that hold for all cells at once with 95 %, are hatched.
    `ax.collections[0].get_array()` has the numbers, module after module, masked where there is none.

    Parameters
    ----------
    grid
        Scores, as `ldmscene.evaluate` gives them.
    target
        One of the grid's targets; where not given, its only one.
    ax
        Where to draw; a new figure of 4.6 by 3.2 inches by default. The colour bar takes space from it.
    measure : {"gain", "score"}, optional
        Partial R² beyond what is known, or the target's published score. Gains, where the grid has them.

    Raises
    ------
    UnknownNameError
        The grid has no such target.
    InputError
        The grid has no such measure, or several targets of which none is named.

    Examples
    --------
    >>> import ldmscene
    >>> grid = ldmscene.evaluate("stores/demo", "mask", steps=[1, 3], cv=3, progress=False)
    >>> ldmscene.plot.heatmap(grid, "mask").get_xlabel()
    'Denoising step'
    """
    target = grids.only_target(grid, target)
    check_grid(grid, "block", "height")
    shown = measure_of(grid, measure)
    found = shown.cells(grid, target).transpose("module", "step")
    ax = ax if ax is not None else new_axes(4.6, 3.2)
    tops = rows(grid)
    mesh = _cells(ax, found["mean"].values, tops)
    if "stands_out" in found:
        _hatch(ax, (found["stands_out"] | found["mean"].isnull()).values, tops)
    _shape(ax, grid, tops)
    _name_rows(ax, grid, shown.module(grid, target), tops)
    _name_steps(ax, grid)
    ax.set_title(capital(target), fontsize=FONT, loc="left")
    bar = ax.figure.colorbar(mesh, ax=ax, fraction=0.05, pad=0.02, aspect=30)
    bar.set_label(shown.axis(grid, target), fontsize=FONT)
    bar.ax.yaxis.set_major_formatter(lambda value, _: number(value * shown.factor, "g"))
    bar.ax.tick_params(labelsize=SMALL, width=0.6, length=2.5)
    bar.outline.set_visible(False)
    return ax


def rows(grid: xr.Dataset) -> Array:
    """Where each module's row begins, in rows, with a gap between groups: (module,)."""
    blocks = grid["block"].values
    return np.arange(len(blocks)) + GAP * np.concatenate([[0], np.cumsum(blocks[1:] != blocks[:-1])])


def _cells(ax: Axes, means: Array, tops: Array) -> matplotlib.collections.PolyCollection:
    colours = score_colours().with_extremes(bad="#8a9099")
    # Polygons rather than an image: sharp at any scale in PDF and SVG, and rows may have gaps.
    cells = matplotlib.collections.PolyCollection(
        _corners(tops, means.shape[1]), cmap=colours, edgecolor="white", linewidth=0.4
    )
    cells.set_array(np.ma.masked_invalid(means.ravel()))
    ax.add_collection(cells, autolim=False)
    ax.set(xlim=(-SHAPE, means.shape[1]), ylim=(tops[-1] + 1, 0))
    return cells


def _hatch(ax: Axes, stands_out: Bools, tops: Array) -> None:
    corners = np.array(_corners(tops, stands_out.shape[1]))[~stands_out.ravel()]
    ax.add_collection(
        matplotlib.collections.PolyCollection(
            list(corners), facecolor="none", edgecolor="white", hatch="//////", linewidth=0, zorder=2
        ),
        autolim=False,
    )


def _corners(tops: Array, steps: int) -> list[list[tuple[float, float]]]:
    return [[(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1)] for y in tops for x in range(steps)]


def _shape(ax: Axes, grid: xr.Dataset, tops: Array) -> None:
    size = np.log2(grid["height"].values) + 1
    for y, width in zip(tops, 0.85 * SHAPE * size / size.max(), strict=True):
        corner = (-SHAPE / 2 - width / 2, y + 0.14)
        ax.add_patch(Rectangle(corner, width, 0.72, color="#c3c9d1", linewidth=0))


def _name_rows(ax: Axes, grid: xr.Dataset, best: str, tops: Array) -> None:
    modules = [str(m) for m in grid["module"].values]
    short = labels(modules)
    ax.set_yticks(tops + 0.5, [short[m] for m in modules], fontsize=SMALL)
    ax.get_yticklabels()[modules.index(best)].set_fontweight("bold")
    _name_groups(ax, grid, tops, beyond=max(map(len, short.values())))


def _name_groups(ax: Axes, grid: xr.Dataset, tops: Array, beyond: int) -> None:
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
    ax.set_xlabel("Denoising step", fontsize=FONT)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
