"""The published figures of pictures: seven rows over steps, and four panels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ldmscene import gains
from ldmscene.errors import IncompleteError, unknown
from ldmscene.report.colours import colormap, limits
from ldmscene.report.data import NOISY, ReportData
from ldmscene.report.saving import FONT, SMALL, TEXT_WIDTH, new_axes

PUBLISHED_ORDER = ("mask", "depth", "shading")
TILE_GAP = 0.06  # between pictures, as a share of their width
NAMES = 0.95  # inches for the rows' names
COMPACT_STEPS = 5  # the first steps, before the dots and the last
MOST_STEPS = 15  # in a figure of the text's width


@dataclass(frozen=True)
class TileRow:
    """One row of pictures: `tiles` (step, Y, X[, rgb]), drawn in `limits` of `target`'s colours."""

    name: str
    tiles: NDArray[np.generic]
    target: str | None = None
    limits: tuple[float, float] = (0.0, 1.0)


def seven_rows(data: ReportData, sample_id: str, compact: bool = False) -> Figure:
    """One sample over its steps: the unfinished picture x_t, then probe and labeler for each target.

    Each target's two rows share the colours' range, that of the label of the final image. Probes are of the
    module that speaks for each target. A labeler's row is left out where its readings of x_t weren't stored. Of
    more than 15 steps, 15 are shown at even distances, from the first to the last, and the figure says so below.

    Parameters
    ----------
    data
        What the report is made from.
    sample_id
        One of the shown samples.
    compact
        The first five steps, dots, and the last instead of all.

    Returns
    -------
    Figure
        Of the text's width, 6.9 inches, or narrower; all pictures lie in its only axes, `figure.axes[0]`.

    Raises
    ------
    UnknownNameError
        No such sample is shown.
    IncompleteError
        The pictures of x_t weren't stored.
    """
    check_sample(data, sample_id)
    if data.noisy is None:
        raise IncompleteError("the pictures of x_t weren't stored; extract with previews=True")
    shown, columns = _columns(len(data.steps), compact)
    figure = _tiled(list(rows_over_steps(data, sample_id, shown)), columns, [str(data.steps[i]) for i in shown])
    if not compact and len(shown) < len(data.steps):
        figure.axes[0].set_xlabel(f"{len(shown)} of {len(data.steps)} steps", fontsize=SMALL)
    return figure


def _columns(count: int, compact: bool) -> tuple[list[int], NDArray[np.int_]]:
    """The steps that are shown, and the column of each: the dots take one of their own."""
    if not compact or count <= COMPACT_STEPS + 1:
        shown = np.linspace(0, count - 1, min(count, MOST_STEPS)).round().astype(int)
        return shown.tolist(), np.arange(len(shown))
    first = list(range(COMPACT_STEPS))
    return [*first, count - 1], np.array([*first, COMPACT_STEPS + 1])


def rows_over_steps(data: ReportData, sample_id: str, shown: Sequence[int]) -> Iterator[TileRow]:
    """The unfinished picture, then probe and labeler of each target, at these positions of steps."""
    assert data.noisy is not None
    yield TileRow("image xₜ", data.noisy.sel(sample=sample_id).isel(step=shown).values)
    for target in in_published_order(data.labels):
        bounds = label_limits(data, target, sample_id)
        yield TileRow(f"{target}: probe", _probe_maps(data, target, sample_id, shown), target, bounds)
        reading = data.intermediate.get((NOISY, target))
        if reading is not None:
            tiles = reading.sel(sample=sample_id).isel(step=shown).values
            yield TileRow(f"{target}: labeler", tiles, target, bounds)


def _probe_maps(data: ReportData, target: str, sample_id: str, shown: Sequence[int]) -> NDArray[np.generic]:
    module = gains.chosen_module(data.grid, target)
    steps = [data.steps[i] for i in shown]
    return np.stack([data.predict(target, module, s).sel(sample=sample_id).values for s in steps])


def _tiled(rows: list[TileRow], columns: NDArray[np.int_], names: list[str]) -> Figure:
    side = (TEXT_WIDTH - NAMES) / MOST_STEPS
    wide, high = int(columns[-1]) + 1, len(rows)
    ax = new_axes(NAMES + side * wide, 0.25 + side * high)
    for y, row in enumerate(rows):
        for x, tile in zip(columns, row.tiles, strict=True):
            _picture(ax, tile, row, (x, y))
    _frame(ax, rows, columns, names)
    return _figure(ax)


def _figure(ax: Axes) -> Figure:
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure


def _picture(ax: Axes, tile: NDArray[np.generic], row: TileRow, corner: tuple[float, float]) -> None:
    x, y = corner
    low, high = row.limits
    extent = (x + TILE_GAP / 2, x + 1 - TILE_GAP / 2, y + 1 - TILE_GAP / 2, y + TILE_GAP / 2)
    colours = {} if row.target is None else {"cmap": colormap(row.target), "vmin": low, "vmax": high}
    # interpolation "none" keeps the pixels of an activation as they are, in vector formats too.
    ax.imshow(tile, extent=extent, interpolation="none", **colours)  # type: ignore[arg-type]


def _frame(ax: Axes, rows: list[TileRow], columns: NDArray[np.int_], names: list[str]) -> None:
    ax.set(xlim=(0, columns[-1] + 1), ylim=(len(rows), 0), aspect="equal")
    ax.set_xticks(columns + 0.5, names, fontsize=SMALL)
    ax.xaxis.tick_top()
    ax.set_yticks(np.arange(len(rows)) + 0.5, [row.name for row in rows], fontsize=SMALL)
    ax.tick_params(length=0, pad=2)
    ax.spines[:].set_visible(False)
    if len(rows) > 1:
        ax.annotate("step", xy=(0, 1), xytext=(-3, 3), xycoords="axes fraction", textcoords="offset points",
                    ha="right", fontsize=SMALL)  # fmt: skip
    if len(columns) <= columns[-1]:
        for y in range(len(rows)):
            ax.text(columns[-1] - 0.5, y + 0.5, "…", ha="center", va="center", fontsize=FONT)


def four_panels(data: ReportData, sample_id: str) -> Figure:
    """One sample's final image beside the labels that the labelers read from it: mask, depth, shading.

    Parameters
    ----------
    data
        What the report is made from.
    sample_id
        One of the shown samples.

    Returns
    -------
    Figure
        6.9 inches wide at most; all pictures lie in its only axes, `figure.axes[0]`.

    Raises
    ------
    UnknownNameError
        No such sample is shown.
    """
    check_sample(data, sample_id)
    rows = [TileRow("image", data.image.sel(sample=sample_id).values[None])]
    for target in in_published_order(data.labels):
        bounds = label_limits(data, target, sample_id)
        rows.append(TileRow(target, data.labels[target].sel(sample=sample_id).values[None], target, bounds))
    side = TEXT_WIDTH / max(4, len(rows))
    ax = new_axes(side * len(rows), side + 0.2)
    for x, row in enumerate(rows):
        _picture(ax, row.tiles[0], row, (x, 0))
    _frame(ax, rows[:1], np.arange(len(rows)), [row.name for row in rows])
    ax.set_yticks([])
    return _figure(ax)


def check_sample(data: ReportData, sample_id: str) -> None:
    """Raise UnknownNameError unless a sample is shown."""
    if sample_id not in data.samples.index:
        raise unknown("shown sample", str(sample_id), map(str, data.samples.index))


def in_published_order(targets: Iterable[str]) -> list[str]:
    """Mask, depth, shading as in the published figures, then what a user brought."""
    known = list(targets)
    return [t for t in PUBLISHED_ORDER if t in known] + [t for t in known if t not in PUBLISHED_ORDER]


def label_limits(data: ReportData, target: str, sample_id: str) -> tuple[float, float]:
    """The range in which a target's maps of one sample are drawn."""
    kind = str(data.grid["kind"].sel(target=target).item())
    return limits(data.labels[target].sel(sample=sample_id).values, kind)
