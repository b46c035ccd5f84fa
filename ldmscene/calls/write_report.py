"""From a store and its grid to pages and figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import xarray as xr

from ldmscene.calls.opening import opened as open_store
from ldmscene.calls.report_data import report_data, with_transfer
from ldmscene.calls.report_mark import check_folder, mark, unmark
from ldmscene.report import Intervention, ReportData, write_figures, write_site
from ldmscene.selection import several
from ldmscene.store import ActivationStore
from ldmscene.store.causes import naming_the_cause


def write_report(
    store: ActivationStore | str | Path,
    grid: xr.Dataset,
    folder: str | Path,
    *,
    samples: int | Sequence[str] | None = None,
    interventions: ActivationStore | str | Path | Sequence[ActivationStore | str | Path] = (),
    command: str = "",
    progress: bool = True,
) -> Path:
    """Write a folder of static pages that open from `file://`, with figures as PDF, SVG and PNG.

    Parameters
    ----------
    store
        A store, or its location.
    grid
        What `evaluate` made of that store.
    folder
        Made where needed; what an earlier report left there is replaced.
    samples
        Held-out samples to show with their pictures: ids, or how many from the first on. Where not given, all that
        fit into about 100 MB: some 250 of Stable Diffusion at 15 steps, more of smaller models. Fewer leave room for
        finer maps of all modules. The scores are always those of all held-out samples.
    interventions
        Edited stores of this one, labelled, or their paths, one or several: what they show gets a page of its own.
    command
        How the report is made again, to be shown with its provenance.
    progress
        Show a bar where there is a terminal.

    Returns
    -------
    pathlib.Path
        The page to open first.

    Raises
    ------
    UnknownNameError
        If no held-out sample is called so.
    InputError
        If the folder holds something else, such as a store.
    WriteError
        If it can't be written to.

    Examples
    --------
    >>> import ldmscene
    >>> grid = ldmscene.evaluate("stores/demo", "mask", steps=[1, 3], cv=3, progress=False)
    >>> ldmscene.write_report("stores/demo", grid, "report-depth", samples=1, progress=False).name
    'index.html'
    """
    check_folder(Path(folder))
    opened = open_store(store)
    edited = [open_store(one) for one in several(interventions)]
    shown = _shown(opened, grid, edited) if edited else []
    data = with_transfer(report_data(opened, grid, samples), opened)
    return write_pages(data, folder, edited, shown, command=command, progress=progress)


def _shown(store: ActivationStore, grid: xr.Dataset, edited: Sequence[ActivationStore]) -> Sequence[Intervention]:
    from ldmscene.calls.shown_edits import shown_edits  # which loads torch

    return shown_edits(store, grid, edited)


def write_pages(
    data: ReportData,
    folder: str | Path,
    edited: Sequence[ActivationStore],
    shown: Sequence[Intervention],
    *,
    command: str,
    progress: bool,
) -> Path:
    """Write the pages and figures of what was read already; `shown` is what there is to see of the edited stores."""
    data = replace(data, interventions=shown)
    if command:
        data = replace(data, provenance={**data.provenance, "command": command})
    with naming_the_cause(Path(folder)), ThreadPoolExecutor(1) as beside:
        unmark(Path(folder))
        # Figures are drawn while pictures are read and compressed, which leaves Python free; the page waits for both.
        drawn = beside.submit(write_figures, data, Path(folder) / "figures")
        page = write_site(data, folder, figures=_result(drawn), progress=progress)
        mark(Path(folder), data.grid, data.samples.index.tolist(), edited)
    return page


def _result(drawn: Future[list[Path]]) -> Iterator[Path]:
    yield from drawn.result()
