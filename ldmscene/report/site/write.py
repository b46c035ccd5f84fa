"""From `ReportData` to a folder: pictures, then the numbers as a script, then the page around them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import jinja2
from markupsafe import Markup, escape

from ldmscene.errors import WriteError
from ldmscene.progress import bar
from ldmscene.report.data import ReportData
from ldmscene.report.site import context, payload
from ldmscene.report.site.maps import Atlas, plan, predicted_maps
from ldmscene.report.site.strips import write_sample

HERE = Path(__file__).parent
WORKERS = 4  # encoders leave Python's lock; more than this waits for the disk


def write_site(data: ReportData, folder: str | Path, figures: Sequence[Path] = (), *, progress: bool = False) -> Path:
    """Write the report as static files that open from `file://` and ask nothing of any network.

    Parameters
    ----------
    data
        What the report is made from. `data.predict` is called once for each cell of the grid.
    folder
        Where to write; made where needed. Files of an earlier report there are replaced, others stay.

    figures
        Files in that folder for the page to link, as `write_figures` returns them.
    progress
        Show a bar where there is a terminal.

    Returns
    -------
    Path
        The page to open, `index.html`.

    Raises
    ------
    WriteError
        The folder can't be written to.
    """
    folder = Path(folder)
    atlas = plan(data)
    try:
        _write_pictures(data, atlas, folder, progress)
        (folder / "data.js").write_text(payload.script(data, atlas), encoding="ascii")
        for asset in sorted((HERE / "assets").iterdir()):
            shutil.copyfile(asset, folder / asset.name)
        page = folder / "index.html"
        page.write_text(render(data, links(figures, folder)), encoding="utf-8", errors="replace")
    except OSError as error:
        raise WriteError(f"can't write the report to {folder}: {error}; choose another folder") from error
    return page


def _write_pictures(data: ReportData, atlas: Atlas, folder: Path, progress: bool) -> None:
    _clear(folder)
    maps = predicted_maps(data, atlas)
    count = len(data.samples)
    with ThreadPoolExecutor(WORKERS) as pool, bar("writing samples", count, enabled=progress) as advance:
        for _ in pool.map(lambda i: write_sample(data, atlas, maps, i, folder), range(count)):  # raises what one raised
            advance()


def _clear(folder: Path) -> None:
    """Remove an earlier report's pictures, and nothing that a report doesn't write."""
    for path in folder.glob("samples/*/*"):
        if path.parent.name.isdigit() and path.suffix in (".webp", ".png"):
            path.unlink()


def render(data: ReportData, figures: Mapping[str, object] | None = None) -> str:
    """The page as HTML; every text in it is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["subscripts"] = subscripts
    return environment.get_template("index.html").render(context.context(data), figures=figures or {})


def links(figures: Sequence[Path], folder: Path) -> dict[str, list[tuple[str, str]]]:
    """Each figure's name to the kinds of its files and where they lie, seen from the page."""
    found: dict[str, list[tuple[str, str]]] = {}
    for path in figures:
        address = quote(path.relative_to(folder).as_posix())
        found.setdefault(path.stem, []).append((path.suffix[1:].upper(), address))
    return found


def subscripts(text: str) -> Markup:
    """`x_t` and `x_0` as they are printed; a per cent sign stays with its number."""
    safe = str(escape(text)).replace(" %", "\N{NO-BREAK SPACE}%")
    return Markup(safe.replace("x_t", "<i>x<sub>t</sub></i>").replace("x_0", "<i>x</i><sub>0</sub>"))
