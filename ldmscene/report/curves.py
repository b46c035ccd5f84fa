"""Scores over denoising steps as a matplotlib figure."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from ldmscene import grid as grids
from ldmscene.report.colours import LINES
from ldmscene.report.saving import FONT, SMALL, new_axes, quiet
from ldmscene.report.series import Series, dodge, lone, series, span


def curves(grid: xr.Dataset, target: str, ax: Axes | None = None) -> Axes:
    """Draw a target's scores over steps: best module, permuted control, labelers and other baselines.

    The score is the target's primary metric, averaged over held-out images; bands are 95 % bootstrap
    intervals over images. Lines are labelled at their right end, and `line.get_label()` names each; a score
    without neighbours is a point.

    Parameters
    ----------
    grid
        Scores, as `ldmscene.evaluate` gives them.
    target
        One of the grid's targets.
    ax
        Where to draw; a new figure of 5 by 2.6 inches by default.

    Raises
    ------
    UnknownNameError
        The grid has no such target.

    Examples
    --------
    >>> import ldmscene
    >>> grid = ldmscene.evaluate("stores/demo", "mask", steps=[1, 3], cv=3, progress=False)
    >>> ldmscene.plot.curves(grid, "mask").get_xlabel()
    'denoising step'
    """
    found = series(grid, target)
    ax = ax if ax is not None else new_axes(5.0, 2.6)
    steps = grid["step"].values
    for one in found:
        _draw(ax, steps, one)
    low, high = span(found)
    pad = 0.04 * (high - low or 1)
    ax.set(ylim=(low - pad, high + pad), xlim=(steps[0] - 0.3, steps[-1] + 0.3))
    if found:
        _label_ends(ax, steps, found)
    else:
        ax.text(0.5, 0.5, "no scores", transform=ax.transAxes, ha="center", fontsize=FONT)
    ax.set_xlabel("denoising step", fontsize=FONT)
    ax.set_ylabel(grids.primary(grid, target).replace("_", " "), fontsize=FONT)
    ax.set_title(target, fontsize=FONT, loc="left", fontweight="bold")
    ax.set_xticks(steps[:: max(1, len(steps) // 7)])
    ax.grid(axis="y", color="#e3e5e8", linewidth=0.5)
    quiet(ax)
    return ax


def _draw(ax: Axes, steps: np.ndarray, one: Series) -> None:
    line = LINES[one.role]
    front = 3 if one.role == "probe" else 2
    ax.fill_between(steps, one.low, one.high, color=line.colour, alpha=0.15, linewidth=0, zorder=front - 1)
    points = lone(one)
    ax.vlines(steps[points], one.low[points], one.high[points], color=line.colour, alpha=0.3, linewidth=3)
    drawn = ax.plot(
        steps, one.mean, color=line.colour, linewidth=line.width, label=one.name, zorder=front,
        marker="o", markersize=3, markevery=points,
    )[0]  # fmt: skip
    if line.dash:
        drawn.set_dashes(line.dash)


def _label_ends(ax: Axes, steps: np.ndarray, found: list[Series]) -> None:
    low, high = ax.get_ylim()
    height = ax.get_position().height * ax.figure.get_figure(root=True).get_figheight() * 72
    last = [int(np.flatnonzero(np.isfinite(one.mean))[-1]) for one in found]
    wanted = np.array([one.mean[i] for one, i in zip(found, last, strict=True)])
    for one, i, y in zip(found, last, dodge(wanted, 1.35 * SMALL * (high - low) / height), strict=True):
        ax.annotate(
            one.name.replace("x_t", "$x_t$").replace("x_0", "$x_0$"),
            xy=(steps[i], one.mean[i]),
            xytext=(1.04, y),
            textcoords=ax.get_yaxis_transform(),  # beside the axes, however many steps they have
            color=LINES[one.role].colour,
            fontsize=SMALL,
            va="center",
            annotation_clip=False,
            # To the middle of the label's left side: leaders in the labels' order never cross one.
            arrowprops={
                "arrowstyle": "-", "color": LINES[one.role].colour, "linewidth": 0.4,
                "relpos": (0, 0.5), "shrinkA": 0, "shrinkB": 0,
            },
        )  # fmt: skip
