"""Figures at paper size, one call each, from a store and its grid.

>>> ax = ldmscene.plot.curves(grid, "depth")  # doctest: +SKIP
>>> figure = ldmscene.plot.seven_rows(store, grid, "2e4e29579297-96000")  # doctest: +SKIP
>>> ldmscene.plot.save(ax, "figures/depth")  # doctest: +SKIP

`curves` and `heatmap` draw into an axes of yours, where given, and return matplotlib's Axes; the others return its
Figure. `save` writes PDF, SVG and PNG.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import xarray as xr
from matplotlib.figure import Figure

from ldmscene import report
from ldmscene.report import curves, heatmap, save
from ldmscene.stages.reporting import report_data
from ldmscene.store import ActivationStore
from ldmscene.store.files import naming_the_cause

__all__ = ["curves", "figures", "four_panels", "heatmap", "save", "seven_rows"]


def seven_rows(store: ActivationStore, grid: xr.Dataset, sample_id: str, compact: bool = False) -> Figure:
    """One held-out sample over its steps: the unfinished picture, then probe and labeler for each target.

    Parameters
    ----------
    store
        The store.
    grid
        What `ldmscene.evaluate` made of it.
    sample_id
        A held-out sample of the grid.
    compact
        The first five steps and the last instead of all.

    Raises
    ------
    UnknownNameError
        If no held-out sample is called so.
    IncompleteError
        If the store has no previews of held-out samples: `extract(..., previews="test")` makes them.
    """
    return report.seven_rows(report_data(store, grid, [sample_id]), sample_id, compact=compact)


def four_panels(store: ActivationStore, grid: xr.Dataset, sample_id: str) -> Figure:
    """One held-out sample's final image beside its labels.

    Parameters
    ----------
    store
        The store.
    grid
        What `ldmscene.evaluate` made of it.
    sample_id
        A held-out sample of the grid.

    Raises
    ------
    UnknownNameError
        If no held-out sample is called so.
    """
    return report.four_panels(report_data(store, grid, [sample_id]), sample_id)


def figures(
    store: ActivationStore,
    grid: xr.Dataset,
    folder: str | Path,
    samples: Sequence[str] | None = None,
    *,
    progress: bool = True,
) -> list[Path]:
    """Save every figure as PDF, SVG and PNG: curves and heat map of each target, pictures of some held-out samples.

    Parameters
    ----------
    store
        The store.
    grid
        What `ldmscene.evaluate` made of it.
    folder
        Where to save; made where needed.
    samples
        Ids; the first two held-out samples where not given.
    progress
        Show a bar where there is a terminal.

    Returns
    -------
    list of pathlib.Path

    Raises
    ------
    UnknownNameError
        If no held-out sample is called so.
    WriteError
        If the folder can't be written to.
    """
    data = report_data(store, grid, samples)
    with naming_the_cause(Path(folder)):
        return report.write_figures(data, folder, samples, progress=progress)
