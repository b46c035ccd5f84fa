"""What the probe of each step reads at every other step, as a matplotlib figure."""

from __future__ import annotations

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh

from ldmscene.array_types import Ints
from ldmscene.report.colours import score_colours
from ldmscene.report.saving import FONT, SMALL, new_axes
from ldmscene.words import capital

NOTHING = "#8a9099"  # of gains below 0, which mislead


def transfer(gains: xr.DataArray, target: str, ax: Axes | None = None) -> Axes:
    """Draw gains of probes that were fitted at one step and applied at another: does the code stand still?

    Rows are the steps of fitting, columns those of reading; the diagonal, where both are one, is framed. Gains below 0
    mislead and are grey. `ax.collections[0].get_array()` has the numbers.

    Parameters
    ----------
    gains
        Partial R² (fitted, applied), as `ldmscene.transfer` gives it.
    target
        For the title.
    ax
        Where to draw; a new figure of 3.4 by 3 inches by default. The colour bar takes space from it.
    """
    ax = ax if ax is not None else new_axes(3.4, 3.0)
    mesh = _cells(ax, gains)
    steps = gains["fitted"].values
    _name_steps(ax, steps)
    ax.set_title(capital(target), fontsize=FONT, loc="left")
    bar = ax.figure.colorbar(mesh, ax=ax, fraction=0.05, pad=0.02, aspect=30)
    bar.set_label("Gain (%)", fontsize=FONT)
    bar.ax.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g}")
    bar.ax.tick_params(labelsize=SMALL, width=0.6, length=2.5)
    bar.outline.set_visible(False)
    return ax


def _cells(ax: Axes, gains: xr.DataArray) -> QuadMesh:
    values = gains.transpose("fitted", "applied").values
    colours = score_colours().with_extremes(under=NOTHING)
    largest = max(float(values.max()), 1e-9)
    mesh = ax.pcolormesh(values, cmap=colours, vmin=0, vmax=largest, edgecolors="white", linewidth=0.4)
    for i in range(len(values)):
        ax.add_patch(matplotlib.patches.Rectangle((i, i), 1, 1, fill=False, edgecolor="black", linewidth=0.7, zorder=2))
    ax.set(aspect="equal", ylim=(len(values), 0))
    return mesh


def _name_steps(ax: Axes, steps: Ints) -> None:
    every = slice(None, None, max(1, len(steps) // 7))
    at, names = (np.arange(len(steps)) + 0.5)[every], [str(step) for step in steps[every]]
    ax.set_xticks(at, names, fontsize=SMALL)
    ax.set_yticks(at, names, fontsize=SMALL)
    ax.set_xlabel("Read at step", fontsize=FONT)
    ax.set_ylabel("Fitted at step", fontsize=FONT)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
