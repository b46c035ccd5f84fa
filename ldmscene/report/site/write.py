"""From `ReportData` to a folder: pictures, then the numbers as a script, then the page around them."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import jinja2
import numpy as np
import xarray as xr
from dask.system import CPU_COUNT
from markupsafe import Markup, escape
from numpy.typing import NDArray

from ldmscene.errors import UnreachableError, WriteError
from ldmscene.progress import bar
from ldmscene.report.data import ReportData
from ldmscene.report.figures import captions
from ldmscene.report.measures import Cells, all_cells
from ldmscene.report.site import interventions, numbers, payload, sheets
from ldmscene.report.site.context import context, model_name
from ldmscene.report.site.strips import folder_name, picture_rows, write_maps, write_photographs
from ldmscene.text import counted
from ldmscene.words import capital

HERE = Path(__file__).parent
AT_ONCE = 16_000_000  # bytes of one kind of pictures that are read together


def write_site(data: ReportData, folder: str | Path, figures: Iterable[Path] = (), *, progress: bool = False) -> Path:
    """Write the report as static files that open from `file://` and ask nothing of any network.

    Parameters
    ----------
    data
        What the report is made from. `data.predict` is called once for each cell of the grid.
    folder
        Where to write; made where needed. Files of an earlier report there are replaced, others stay.
    figures
        Files in that folder for the page to link, as `write_figures` returns them; asked for last.
    progress
        Show a bar where there is a terminal.

    Returns
    -------
    Path
        The page to open, `index.html`. Beside it `scores.csv` and `scores.json` hold the numbers.

    Raises
    ------
    WriteError
        The folder can't be written to.
    """
    folder = Path(folder)
    plan = sheets.plan(data)
    cells = all_cells(data.grid)
    table = numbers.rows(data.grid, cells)
    try:
        ranges = _write_pictures(data, plan, folder, progress)
        (folder / "data.js").write_text(payload.script(data, plan, ranges), encoding="ascii")
        (folder / "scores.csv").write_text(numbers.as_csv(table), encoding="utf-8")
        scores = numbers.as_json(table, data.provenance)
        (folder / "scores.json").write_text(scores, encoding="ascii")
        (folder / "scores.js").write_text(f"window.ldmsceneScores={scores}", encoding="ascii")
        for asset in sorted((HERE / "assets").iterdir()):
            shutil.copyfile(asset, folder / asset.name)
        page = folder / "index.html"
        page.write_text(render(data, links(data, figures, folder), cells), encoding="utf-8", errors="replace")
        _write_interventions(data, folder)
    except UnreachableError:  # what is shown lies in an object store
        raise
    except OSError as error:
        raise WriteError(f"can't write the report to {folder}: {error}; choose another folder") from error
    return page


def _write_pictures(
    data: ReportData, plan: dict[str, sheets.Sheet], folder: Path, progress: bool
) -> dict[str, NDArray[np.float64]]:
    """Write all pictures; return the ranges (sample, 2) of each target's colours."""
    _clear(folder)
    everyone, rows = range(len(data.samples)), picture_rows(data)
    drawn = sheets.blank(plan, len(everyone))
    ranges = {target: np.zeros((len(everyone), 2)) for target in plan}

    def write_block(block: slice) -> list[Future[None]]:
        strips = [_values(strip[block]) for strip in data.strips().values()]
        written = []
        for i, image, *pictures in zip(everyone[block], _values(data.image[block]), *strips, strict=True):
            place = folder / folder_name(i)
            place.mkdir(parents=True, exist_ok=True)
            written.append(pool.submit(write_photographs, image, pictures, rows, place))
        for target, sheet in plan.items():
            labels, kind = _values(data.labels[target][block]), str(data.grid["kind"].sel(target=target).item())
            readings = {source: _values(data.intermediate[source, target][block]) for source in sheet.readings}
            for k, i in enumerate(everyone[block]):
                one = {source: values[k] for source, values in readings.items()}
                ranges[target][i] = sheets.draw_labels(labels[k], one, kind, sheet, drawn[target][i])
        return written

    def write(i: int) -> None:
        for k, target in enumerate(plan):
            write_maps(drawn[target][i], target, folder / folder_name(i) / f"maps-{k}.png")

    # Encoders leave Python's lock; all else is done by this thread alone, since threads that want it slow each other.
    with ThreadPoolExecutor(CPU_COUNT) as pool, bar("writing samples", len(everyone), enabled=progress) as advance:
        size = _samples_at_once(data)
        waiting: list[Future[None]] = []
        for first in everyone[::size]:
            written = write_block(slice(first, first + size))
            _finish(waiting)  # so that no more than two blocks are in memory
            waiting = written
        _finish(waiting)
        sheets.draw_probes(data, plan, ranges, drawn)
        for _ in pool.map(write, everyone):
            advance()
    return ranges


def _samples_at_once(data: ReportData) -> int:
    """Many, so that they share what asking a store costs, and few enough that their pictures stay in memory."""
    arrays = [data.image, *data.strips().values(), *data.intermediate.values()]
    return max(1, AT_ONCE // max(array.nbytes // len(array) for array in arrays))


def _finish(futures: Iterable[Future[None]]) -> None:
    """Wait, and raise what went wrong."""
    for future in futures:
        future.result()


def _values(array: xr.DataArray) -> NDArray[np.generic]:
    return array.compute(scheduler="synchronous").values


def _clear(folder: Path) -> None:
    """Remove an earlier report's pictures, and nothing that a report doesn't write."""
    for path in folder.glob("samples/*/*"):
        if path.parent.name.isdigit() and path.suffix in (".webp", ".png"):
            path.unlink()


@dataclass(frozen=True)
class Printed:
    """A figure's files: what they show, (kind, address) of each, and the address of the one that a browser shows."""

    caption: str
    files: list[tuple[str, str]]

    @property
    def picture(self) -> str:
        return next((address for kind, address in self.files if kind == "PNG"), "")


def render(data: ReportData, figures: Sequence[Printed] = (), cells: Cells | None = None) -> str:
    """The page as HTML; every text in it is escaped."""
    values = context(data, cells or all_cells(data.grid))
    return _environment().get_template("index.html").render(values, figures=figures)


def _write_interventions(data: ReportData, folder: Path) -> None:
    """The page of interventions with its pictures; an earlier one goes."""
    page = folder / "interventions.html"
    interventions.write_pictures(data.interventions, folder)
    if not data.interventions:
        page.unlink(missing_ok=True)
        return
    values = {"model": model_name(data.provenance), "interventions": interventions.context(data.interventions)}
    text = _environment().get_template("interventions.html").render(values)
    page.write_text(text, encoding="utf-8", errors="replace")


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"subscripts": subscripts, "svg_subscripts": svg_subscripts}
    environment.filters |= {"capital": capital, "counted": counted}
    return environment


def links(data: ReportData, figures: Iterable[Path], folder: Path) -> list[Printed]:
    """Each figure, and where its files lie, seen from the page."""
    shown = captions(data)
    found: dict[str, Printed] = {}
    for path in figures:
        printed = found.setdefault(path.stem, Printed(shown.get(path.stem, path.stem), []))
        printed.files.append((path.suffix[1:].upper(), quote(path.relative_to(folder).as_posix())))
    return list(found.values())


def subscripts(text: str) -> Markup:
    """`x_t` and `x_0` as they are printed; a per cent sign stays with its number."""
    safe = str(escape(text)).replace(" %", "\N{NO-BREAK SPACE}%")
    return Markup(safe.replace("x_t", "<i>x<sub>t</sub></i>").replace("x_0", "<i>x</i><sub>0</sub>"))


def svg_subscripts(text: str) -> Markup:
    """`x_t` and `x_0` with lowered letters inside a drawing, which knows no HTML."""
    safe, low = str(escape(text)), '<tspan dy="3" font-size="8">'
    for name in ("x_t", "x_0"):
        safe = safe.replace(name, f"x{low}{name[-1]}</tspan>")
    return Markup(safe)
