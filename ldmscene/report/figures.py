"""All figures of a report as files, ready for a paper."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ldmscene.progress import bar
from ldmscene.report.animation import animate
from ldmscene.report.curves import curves
from ldmscene.report.data import ReportData
from ldmscene.report.heatmap import heatmap
from ldmscene.report.interventions import effects
from ldmscene.report.pictures import check_sample, four_panels, seven_rows
from ldmscene.report.saving import in_small_font, save
from ldmscene.report.transfer import transfer
from ldmscene.words import capital

MOST = 80  # characters of a prompt


def write_figures(
    data: ReportData, folder: str | Path, samples: Sequence[str] | None = None, *, progress: bool = False
) -> list[Path]:
    """Save every figure as PDF, SVG and PNG: curves and heat map of each target, pictures of some samples.

    The seven rows are an animated WebP, too.

    Files are named by target and by sample_id.

    Parameters
    ----------
    data
        What the report is made from.
    folder
        Where to save; made where needed.
    samples
        Ids of the shown samples that get the seven-row figure, its compact form and the four panels; the
        first by default. Seven rows need `data.noisy` and are left out without it.
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
    chosen = list(data.samples.index[:1]) if samples is None else list(dict.fromkeys(samples))
    for sample in chosen:
        check_sample(data, sample)
    data = _mapped_once(data, chosen)
    todo, paths = list(_figures(data, chosen)), []
    with bar("drawing figures", len(todo), enabled=progress) as advance:
        for stem, draw in todo:
            with in_small_font():
                paths += save(draw(), Path(folder) / stem)
            advance()
    if data.noisy is not None:
        names = file_names(data.samples.index)
        paths += [animate(data, one, Path(folder) / f"seven-rows-{names[one]}.webp") for one in chosen]
    return paths


def _figures(data: ReportData, samples: Sequence[str]) -> Iterator[tuple[str, Callable[[], Figure | Axes]]]:
    for target, name in file_names(data.targets).items():
        yield f"curves-{name}", partial(curves, data.grid, target)
        yield f"heatmap-{name}", partial(heatmap, data.grid, target)
        if target in data.transfer:
            yield f"transfer-{name}", partial(transfer, data.transfer[target], target)
    for one in data.interventions:
        yield f"effects-{one.name}", partial(effects, one)
    names = file_names(data.samples.index)
    for sample in samples:
        if data.noisy is not None:
            yield f"seven-rows-{names[sample]}", partial(seven_rows, data, sample)
            yield f"seven-rows-compact-{names[sample]}", partial(seven_rows, data, sample, compact=True)
        yield f"four-panels-{names[sample]}", partial(four_panels, data, sample)


def _mapped_once(data: ReportData, samples: Sequence[str]) -> ReportData:
    """The same data, whose probes' maps of these samples stay in memory: three figures show the same ones."""

    @cache
    def predict(target: str, module: str, step: int) -> xr.DataArray:
        return data.predict(target, module, step).sel(sample=list(samples))

    return replace(data, predict=predict)


def file_names(names: Iterable[str]) -> dict[str, str]:
    """Each name to what a path can hold of it, and no two to the same, whatever the case."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", str(name))[:100]
        tries = (plain if i == 1 else f"{plain}-{i}" for i in range(1, len(taken) + 2))
        found[name] = next(one for one in tries if one.lower() not in taken)
        taken.add(found[name].lower())
    return found


def captions(data: ReportData) -> dict[str, str]:
    """What each figure of a report shows, by its file's name without extension."""
    found: dict[str, str] = {}
    for target, name in file_names(data.targets).items():
        said = {"curves": "over steps", "heatmap": "modules and steps", "transfer": "probes at other steps"}
        found |= {f"{kind}-{name}": f"{capital(target)}: {words}" for kind, words in said.items()}
    found |= {f"effects-{one.name}": f"{one.name}: gains of the edit and its controls" for one in data.interventions}
    for sample, name in file_names(data.samples.index).items():
        whose = f"{sample}, “{shortened(data.samples.loc[sample, 'prompt'])}”"
        found |= {
            f"seven-rows-{name}": f"Seven rows over steps of {whose}",
            f"seven-rows-compact-{name}": f"Seven rows, first steps and last, of {whose}",
            f"four-panels-{name}": f"Image and labels of {whose}",
        }
    return found


def shortened(prompt: object) -> str:
    """The beginning of a prompt on one line."""
    text = " ".join(str(prompt).split())
    return text if len(text) <= MOST else f"{text[:MOST]}…"
