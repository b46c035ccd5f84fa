"""What is read over denoising steps as a matplotlib figure."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from ldmscene import conclusions
from ldmscene import grid as grids
from ldmscene.array_types import Ints
from ldmscene.report import marks
from ldmscene.report.colours import LINES
from ldmscene.report.marks import Mark
from ldmscene.report.measures import measure_of
from ldmscene.report.saving import FONT, SMALL, TINY, new_axes, quiet
from ldmscene.report.series import Series, dodge, lone, span
from ldmscene.text import number
from ldmscene.words import capital, subscripts


def curves(grid: xr.Dataset, target: str | None = None, ax: Axes | None = None, *, measure: str | None = None) -> Axes:
    """Draw over steps how much is read of a target: by the probe, by rivals, and by labelers of unfinished pictures.

    Gains are means over held-out images, with bands that hold for all steps at once with 95 %. Marked on the probe's
    curve are the two steps of the verdict with their 95 % intervals: a ring where it is first readable, a disc where
    90 % of what it ever gains is there. Thin lines are ceilings: no map of that size could gain more. Published scores
    have 95 % intervals of each step alone.

    Lines are labelled at their right end, labelers with how much later than the probe they read as much;
    `line.get_label()` names each. A value without neighbours is a point.

    Parameters
    ----------
    grid
        Scores, as `ldmscene.evaluate` gives them.
    target
        One of the grid's targets; where not given, its only one.
    ax
        Where to draw; a new figure of 5 by 2.6 inches by default.
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
    >>> ldmscene.plot.curves(grid, "mask").get_ylabel()
    'Gain beyond position (%)'
    """
    target = grids.only_target(grid, target)
    shown = measure_of(grid, measure)
    found = shown.series(grid, target)
    ax = ax if ax is not None else new_axes(5.0, 2.6)
    steps = grid["step"].values
    for one in found:
        _draw(ax, steps, one)
    ceilings = shown.ceilings(grid, target)
    low, high = span(found)
    pad = 0.04 * (high - low or 1)
    ax.set(ylim=(low - pad, max([high, *ceilings.values()]) + pad), xlim=(steps[0] - 0.3, steps[-1] + 0.3))
    _draw_ceilings(ax, ceilings)
    judged = conclusions.finding(grid, target) if found and shown is measure_of(grid) else None
    if found:
        _label_ends(ax, steps, found, marks.leads(judged) if judged else {})
    else:
        ax.text(0.5, 0.5, "no scores", transform=ax.transAxes, ha="center", fontsize=FONT)
    if judged:
        _draw_marks(ax, steps, found[0], marks.of_probe(judged))
    _frame(ax, steps)
    ax.set_ylabel(shown.axis(grid, target), fontsize=FONT)
    ax.yaxis.set_major_formatter(lambda value, _: number(value * shown.factor, "g"))
    ax.set_title(capital(target), fontsize=FONT, loc="left")
    return ax


def _frame(ax: Axes, steps: Ints) -> None:
    ax.set_xlabel("Denoising step", fontsize=FONT)
    ax.set_xticks(steps[:: max(1, len(steps) // 7)])
    ax.grid(axis="y", color="#e3e5e8", linewidth=0.5)
    quiet(ax)


def _draw_ceilings(ax: Axes, ceilings: dict[str, float]) -> None:
    across = ax.get_yaxis_transform()
    for size, value in ceilings.items():
        ax.hlines(value, 0, 1, color="#8a9099", linewidth=0.5, zorder=1, transform=across)
        ax.text(
            0.995, value, f"most that {size} can draw", transform=across, fontsize=TINY, color="#5a626d",
            ha="right", va="bottom",
        )  # fmt: skip


def _draw_marks(ax: Axes, steps: Ints, probe: Series, found: list[Mark]) -> None:
    colour = LINES["probe"].colour
    for mark in found:
        height = probe.mean[mark.at]
        ax.hlines(height, mark.low, mark.high, color=colour, linewidth=1, zorder=4)
        ax.scatter([mark.low, mark.high], [height, height], marker="|", color=colour, s=20, linewidth=1, zorder=4)
        face = colour if mark.kind == "most" else "white"
        ax.scatter(steps[mark.at], height, color=face, edgecolor=colour, s=20, linewidth=1, zorder=5)


def _draw(ax: Axes, steps: Ints, one: Series) -> None:
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


def _label_ends(ax: Axes, steps: Ints, found: list[Series], leads: Mapping[str, str]) -> None:
    low, high = ax.get_ylim()
    height = ax.get_position().height * ax.figure.get_figure(root=True).get_figheight() * 72
    last = [int(np.flatnonzero(np.isfinite(one.mean))[-1]) for one in found]
    wanted = np.array([one.mean[i] for one, i in zip(found, last, strict=True)])
    for one, i, y in zip(found, last, dodge(wanted, 1.35 * SMALL * (high - low) / height), strict=True):
        ax.annotate(
            subscripts(", ".join(filter(None, [one.name, leads.get(one.name)]))),
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
