"""What a report shows of one edited store, and its figure for print."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ldmscene.report.saving import FONT, SMALL, new_figure, quiet
from ldmscene.words import capital, metric_words

EDIT, NONE = "edit", "none"
COLOURS = {"edit": "#0b5cad", "rule": "#0a7a5a", "control": "#b8500b", "donor": "#a1437f"}


@dataclass(frozen=True)
class Intervention:
    """One edit, what became of the pictures, and the same of its controls.

    Attributes
    ----------
    name : str
        Short, of its own in a report.
    said : str
        The edit in words.
    sentence : str
        The finding in words; only it may speak of causes.
    effects : pandas.DataFrame
        From `ldmscene.effect`; bounds are NaN where prompts are too few, gains where nothing was judged.
    kinds : mapping of str to str
        Variant to "edit", "none", "rule", "control" (which must not work), "donor" or "later".
    nearest : str
        Of the controls that must not work, the one whose gain reaches highest; "" where none was judged.
    later : pandas.DataFrame
        From `ldmscene.until_when`, with a row for each step at which the edit was begun.
    emergence : xarray.Dataset
        `mean`, `low`, `high` (step) of the probe's score at the best of the edit's modules.
    samples : pandas.DataFrame
        Of the pictures that are shown: index `sample_id`, column `prompt`.
    pictures : mapping of str to numpy.ndarray
        What is shown to uint8 (sample, Y, X, rgb): "original", "edit", rules, and the nearest control.
    wanted : numpy.ndarray (sample, Y, X)
        NaN where nothing is wanted.
    kind : str
        Of the target: "binary" or "continuous".
    """

    name: str
    said: str
    sentence: str
    effects: pd.DataFrame
    kinds: Mapping[str, str]
    nearest: str
    later: pd.DataFrame
    emergence: xr.Dataset
    samples: pd.DataFrame
    pictures: Mapping[str, np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]
    wanted: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
    kind: str

    @property
    def target(self) -> str:
        return str(self.effects.attrs["target"])

    @property
    def metric(self) -> str:
        """As sentences print it."""
        return metric_words(str(self.effects.attrs["metric"]))

    @property
    def gained(self) -> str:
        """What a gain is, such as "gain in Dice"; it is positive where the metric gets better."""
        fall = "" if self.effects.attrs["higher_is_better"] else " (by how much it falls)"
        return f"gain in {self.metric}{fall}"

    @property
    def gains(self) -> pd.DataFrame:
        """`gain`, `gain_low`, `gain_high` of every variant that is compared at the edit's own steps."""
        found = self.effects.xs(self.effects.attrs["metric"], level="measure")
        return found[[self.kinds[name] not in (NONE, "later") for name in found.index]]


def effects(shown: Intervention) -> Figure:
    """Gains as dots with intervals; beside them, where it was run, until when the edit works.

    Returns
    -------
    matplotlib.figure.Figure
        6.9 inches wide with the second part, 3.6 without.
    """
    gains, curve = shown.gains, len(shown.later) > 1
    figure = new_figure(6.9 if curve else 3.6, max(2.6, 0.9 + 0.24 * len(gains)))
    parts = figure.subplots(1, 2 if curve else 1, squeeze=False)[0]
    _dots(parts[0], shown, gains)
    if curve:
        above, below = _two(figure, parts[1])
        _emergence(above, shown)
        _later(below, shown)
    return figure


def _dots(ax: Axes, shown: Intervention, gains: pd.DataFrame) -> None:
    rows = np.arange(len(gains))[::-1]
    for y, (variant, row) in zip(rows, gains.iterrows(), strict=True):
        colour = COLOURS[shown.kinds[str(variant)]]
        ax.hlines(y, row["gain_low"], row["gain_high"], color=colour, linewidth=1.6)
        ax.plot(row["gain"], y, "o", color=colour, markersize=4)
    ax.axvline(0, color="#8a9099", linewidth=0.6)
    ax.set_yticks(rows, [str(name) for name in gains.index], fontsize=SMALL)
    ax.set_ylim(-0.7, len(gains) - 0.3)
    ax.set_xlabel(f"{shown.gained} over no edit", fontsize=FONT)
    ax.set_title(shown.target, fontsize=FONT, loc="left", fontweight="bold")
    ax.grid(axis="x", color="#e3e5e8", linewidth=0.5)
    quiet(ax)


def _two(figure: Figure, ax: Axes) -> tuple[Axes, Axes]:
    """The axes' room as two, one above the other, that share their steps."""
    cut = ax.get_subplotspec()
    assert cut is not None
    ax.remove()
    grid = cut.subgridspec(2, 1)
    below = figure.add_subplot(grid[1])
    return figure.add_subplot(grid[0], sharex=below), below


def _emergence(ax: Axes, shown: Intervention) -> None:
    one = shown.emergence
    ax.fill_between(one["step"], one["low"], one["high"], color=COLOURS["edit"], alpha=0.15, linewidth=0)
    ax.plot(one["step"], one["mean"], color=COLOURS["edit"], linewidth=1.6)
    ax.tick_params(labelbottom=False)
    _panel(ax, "what the probe reads", capital(shown.metric))


def _later(ax: Axes, shown: Intervention) -> None:
    steps = shown.later.index
    ax.vlines(steps, shown.later["gain_low"], shown.later["gain_high"], color=COLOURS["edit"], linewidth=1.6)
    ax.plot(steps, shown.later["gain"], "o-", color=COLOURS["edit"], markersize=4, linewidth=0.8)
    ax.axhline(0, color="#8a9099", linewidth=0.6)
    ax.set_xlabel("denoising step", fontsize=FONT)
    _panel(ax, "an edit that begins here", "gain")


def _panel(ax: Axes, title: str, label: str) -> None:
    ax.set_title(title, fontsize=SMALL, loc="left")
    ax.set_ylabel(label, fontsize=FONT)
    ax.grid(axis="y", color="#e3e5e8", linewidth=0.5)
    quiet(ax)
