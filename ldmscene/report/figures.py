"""All figures of a report as files, ready for a paper."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ldmscene.progress import bar
from ldmscene.report.curves import curves
from ldmscene.report.data import ReportData
from ldmscene.report.heatmap import heatmap
from ldmscene.report.pictures import check_sample, four_panels, seven_rows
from ldmscene.report.saving import save


def write_figures(
    data: ReportData, folder: str | Path, samples: Sequence[str] | None = None, *, progress: bool = False
) -> list[Path]:
    """Save every figure as PDF, SVG and PNG: curves and heat map of each target, pictures of some samples.

    Parameters
    ----------
    data
        What the report is made from.
    folder
        Where to save; made where needed.
    samples
        Ids of the shown samples that get the seven-row figure, its compact form and the four panels; the
        first two by default. Seven rows need `data.noisy` and are left out without it.
    progress
        Show a bar where there is a terminal.

    Returns
    -------
    list of Path
        The files, for `write_site` to link.

    Raises
    ------
    UnknownNameError
        A sample that isn't shown.
    """
    chosen = list(data.samples.index[:2]) if samples is None else list(samples)
    for sample in chosen:
        check_sample(data, sample)
    todo, paths = list(_figures(data, chosen)), []
    with bar("drawing figures", len(todo), enabled=progress) as advance:
        for stem, draw in todo:
            paths += save(draw(), Path(folder) / stem)
            advance()
    return paths


def _figures(data: ReportData, samples: Sequence[str]) -> Iterator[tuple[str, Callable[[], Figure | Axes]]]:
    for target in data.targets:
        name = re.sub(r"[^\w-]+", "-", target)
        yield f"curves-{name}", partial(curves, data.grid, target)
        yield f"heatmap-{name}", partial(heatmap, data.grid, target)
    for sample in samples:
        # Positions rather than ids, which may hold what a path can't.
        place = f"{data.samples.index.get_loc(sample):04d}"
        if data.noisy is not None:
            yield f"seven-rows-{place}", partial(seven_rows, data, sample)
            yield f"seven-rows-compact-{place}", partial(seven_rows, data, sample, compact=True)
        yield f"four-panels-{place}", partial(four_panels, data, sample)
