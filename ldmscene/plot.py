"""Figures at paper size, one call each, from a store and its grid.

>>> ax = ldmscene.plot.curves(grid, "depth")  # doctest: +SKIP
>>> figure = ldmscene.plot.seven_rows(store, grid, "2e4e29579297-96000")  # doctest: +SKIP
>>> ldmscene.plot.save(ax, "figures/depth")  # doctest: +SKIP

`curves` and `heatmap` draw into an axes of yours, where given, and return matplotlib's Axes. `seven_rows` and
`four_panels` return a Figure: their size follows from the number of pictures, so they fill no axes of another's.
`save` writes any of them as PDF, SVG and PNG.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ldmscene import report
from ldmscene.calls.opening import opened as open_store
from ldmscene.calls.report_data import report_data, with_transfer
from ldmscene.calls.transfer import transfer as transfer_gains
from ldmscene.report import curves, heatmap, save
from ldmscene.store import ActivationStore
from ldmscene.store.causes import naming_the_cause

__all__ = ["animate", "curves", "effects", "figures", "four_panels", "heatmap", "save", "seven_rows", "transfer"]


def seven_rows(store: ActivationStore | str | Path, grid: xr.Dataset, sample_id: str, compact: bool = False) -> Figure:
    """One held-out sample over its steps: the unfinished picture x_t, then probe and labeler for each target.

    Probes are of the module that speaks for each target, at the activation's resolution (y, x); labelers read x_t. Both
    rows of a target share the range of colours of the final image's label.

    Parameters
    ----------
    store
        What the grid was made from, or where that lies, with previews and labels of its held-out samples.
    grid
        What `evaluate` made of that store.
    sample_id
        One of the grid's held-out samples, `grid["sample"]`.
    compact
        The first five steps, dots, and the last; otherwise all, or 15 at even distances where there are more.

    Returns
    -------
    matplotlib.figure.Figure
        At most 6.9 inches wide; all pictures lie in its only axes, `figure.axes[0]`.

    Raises
    ------
    UnknownNameError
        If no held-out sample is called so.
    IncompleteError
        If the store has no previews of held-out samples: `extract(..., previews="test")` makes them.

    Examples
    --------
    >>> import ldmscene
    >>> grid = ldmscene.evaluate("stores/demo", "mask", steps=[1, 3], cv=3, progress=False)
    >>> figure = ldmscene.plot.seven_rows(ldmscene.open("stores/demo"), grid, grid["sample"].values[0])
    >>> len(figure.axes)
    1
    """
    return report.seven_rows(report_data(store, grid, [sample_id]), sample_id, compact=compact)


def animate(store: ActivationStore | str | Path, grid: xr.Dataset, sample_id: str, path: str | Path) -> Path:
    """Save the seven rows of a held-out sample as an animated WebP, a frame for each step.

    Parameters
    ----------
    store
        What the grid was made from, with previews and labels of its held-out samples.
    grid
        What `evaluate` made of that store.
    sample_id
        One of the grid's held-out samples, `grid["sample"]`.
    path
        Where to save; its folder is made where needed.

    Raises
    ------
    UnknownNameError
        If no held-out sample is called so.
    IncompleteError
        If the store has no previews of held-out samples: `extract(..., previews="test")` makes them.

    Examples
    --------
    >>> import ldmscene
    >>> grid = ldmscene.evaluate("stores/demo", "mask", steps=[1, 3], cv=3, progress=False)
    >>> ldmscene.plot.animate("stores/demo", grid, grid["sample"].values[0], "figures/sample.webp").name
    'sample.webp'
    """
    return report.animate(report_data(store, grid, [sample_id]), sample_id, path)


def transfer(store: ActivationStore | str | Path, grid: xr.Dataset, target: str, ax: Axes | None = None) -> Axes:
    """What the probe of each step reads at every other step of the module that speaks for a target.

    Parameters
    ----------
    store
        What the grid was made from.
    grid
        What `evaluate` made of that store, beyond position alone.
    target
        One of the grid's targets.
    ax
        Where to draw; a new figure of 3.4 by 3 inches by default. The colour bar takes space from it.

    Returns
    -------
    matplotlib.axes.Axes
        Rows are the steps of fitting, columns those of reading. `ax.collections[0].get_array()` has the numbers.

    Raises
    ------
    InputError
        If the grid has no effects, or they are beyond the latent or other targets, too.

    Examples
    --------
    >>> import ldmscene
    >>> grid = ldmscene.evaluate("stores/demo", "mask", steps=[1, 3], cv=3, progress=False)
    >>> ldmscene.plot.transfer(ldmscene.open("stores/demo"), grid, "mask").get_ylabel()
    'Fitted at step'
    """
    return report.transfer(transfer_gains(store, grid, target), target, ax)


def effects(edited: ActivationStore | str | Path, store: ActivationStore | str | Path, grid: xr.Dataset) -> Figure:
    """What an edit and its controls gained, as dots with intervals, which `effect` explains.

    Where the control `from` was run, a second part shows until when the edit works, below what the probe reads.

    Parameters
    ----------
    edited
        From `intervene`, labelled, or its path.
    store
        The store that was edited.
    grid
        What `evaluate` made of that store.

    Returns
    -------
    matplotlib.figure.Figure
        6.9 inches wide with both parts, 3.6 with the first.

    Raises
    ------
    InputError
        If the store isn't edited.
    IncompleteError
        If pictures or labels are missing.

    Examples
    --------
    >>> import ldmscene
    >>> grid = ldmscene.evaluate("stores/demo", "mask", steps=[1, 3], cv=3, progress=False)
    >>> figure = ldmscene.plot.effects("stores/edited", "stores/demo", grid)
    """
    from ldmscene.calls.shown_edits import shown_edits  # which loads torch

    return report.effects(shown_edits(open_store(store), grid, [edited])[0])


def four_panels(store: ActivationStore | str | Path, grid: xr.Dataset, sample_id: str) -> Figure:
    """One held-out sample's final image beside its labels: mask, depth, shading, and what else there is.

    Parameters
    ----------
    store
        What the grid was made from, or where that lies.
    grid
        What `evaluate` made of that store.
    sample_id
        One of the grid's held-out samples, `grid["sample"]`.

    Returns
    -------
    matplotlib.figure.Figure
        At most 6.9 inches wide; all pictures lie in its only axes, `figure.axes[0]`.

    Raises
    ------
    UnknownNameError
        If no held-out sample is called so.

    Examples
    --------
    >>> import ldmscene
    >>> grid = ldmscene.evaluate("stores/demo", "mask", steps=[1, 3], cv=3, progress=False)
    >>> figure = ldmscene.plot.four_panels(ldmscene.open("stores/demo"), grid, grid["sample"].values[0])
    >>> len(figure.axes)
    1
    """
    return report.four_panels(report_data(store, grid, [sample_id]), sample_id)


def figures(
    store: ActivationStore | str | Path,
    grid: xr.Dataset,
    folder: str | Path,
    samples: int | Sequence[str] | None = None,
    *,
    progress: bool = True,
) -> list[Path]:
    """Save every figure as PDF, SVG and PNG: curves and heat map of each target, pictures of some held-out samples.

    Parameters
    ----------
    store
        What the grid was made from, or where that lies.
    grid
        What `evaluate` made of that store.
    folder
        Made where needed.
    samples
        Ids of held-out samples, by which their files are named, or how many; the first where not given.
    progress
        Show a bar where there is a terminal.

    Returns
    -------
    list of pathlib.Path
        Three files for each figure.

    Raises
    ------
    InputError
        If a count is below 1.
    UnknownNameError
        If no held-out sample is called so.
    WriteError
        If the folder can't be written to.

    Examples
    --------
    >>> import ldmscene
    >>> grid = ldmscene.evaluate("stores/demo", "mask", steps=[1, 3], cv=3, progress=False)
    >>> files = ldmscene.plot.figures(ldmscene.open("stores/demo"), grid, "figures", samples=1)
    >>> "curves-mask.pdf" in {file.name for file in files}
    True
    """
    opened = open_store(store)
    data = with_transfer(report_data(opened, grid, 1 if samples is None else samples), opened)
    with naming_the_cause(Path(folder)):
        return report.write_figures(data, folder, data.samples.index.tolist(), progress=progress)
