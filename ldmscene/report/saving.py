"""Figures without pyplot, and the same bytes whenever the same figure is saved."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from ldmscene.report.fonts import families

FONT = 8.0  # points, at the size at which figures are printed
SMALL = 7.0
TINY = 6.0
TEXT_WIDTH = 6.9  # inches
DPI = 300
PASSES = 3  # of the layout: pictures keep their shape, so that each moves what the one before has placed

# Type 42 keeps text in PDF as embedded TrueType, which publishers ask for; a fixed salt keeps SVG's ids.
# matplotlib 3.11 asks PostScript's setting how many letters fit a font in a PDF, and embeds another where they don't.
_SETTINGS: Any = {"pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "ldmscene"}
_settings_are_global = threading.RLock()


@contextmanager
def in_small_font() -> Iterator[None]:
    """Draw and save figures of which each embeds its font at once; they look the same."""
    with _settings_are_global, matplotlib.rc_context({"font.family": families()}):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure in inches that belongs to no window and no global list."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def new_axes(width: float, height: float) -> Axes:
    """The only axes of a new figure, in inches."""
    return new_figure(width, height).add_subplot()


def quiet(ax: Axes) -> None:
    """Leave of an axes' frame just what is read."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color("#8a9099")
    ax.tick_params(labelsize=SMALL, color="#8a9099", width=0.6, length=2.5)


def save(figure: Figure | Axes, stem: str | Path) -> list[Path]:
    """Save a figure as PDF, SVG and PNG (300 dots an inch) at its own size.

    Parameters
    ----------
    figure
        A figure, or any axes of it.
    stem
        The path, of which .pdf, .svg and .png are left off; its folder is made where needed.

    Returns
    -------
    list of Path
        The three files. The same figure gives the same bytes.

    Examples
    --------
    >>> import ldmscene
    >>> grid = ldmscene.evaluate("stores/demo", "mask", steps=[1, 3], cv=3, progress=False)
    >>> files = ldmscene.plot.save(ldmscene.plot.curves(grid, "mask"), "figures/mask")
    >>> sorted(file.name for file in files)
    ['mask.pdf', 'mask.png', 'mask.svg']
    """
    whole = figure.get_figure(root=True) if isinstance(figure, Axes) else figure
    assert whole is not None
    stem = Path(stem)
    stem = stem.with_suffix("") if stem.suffix.lower() in (".pdf", ".svg", ".png") else stem
    stem.parent.mkdir(parents=True, exist_ok=True)
    pdf, svg, png = paths = [stem.with_name(f"{stem.name}.{kind}") for kind in ("pdf", "svg", "png")]
    with _settings_are_global, matplotlib.rc_context(_SETTINGS), _laid_out(whole):
        # Not `savefig`, which lays the figure out and draws it twice for each kind.
        FigureCanvasAgg(whole).print_png(png)  # first: the others set the figure to 72 dots an inch
        FigureCanvasPdf(whole).print_pdf(pdf, metadata={"CreationDate": None, "ModDate": None})
        FigureCanvasSVG(whole).print_svg(svg, metadata={"Date": None})
    return paths


@contextmanager
def _laid_out(figure: Figure) -> Iterator[None]:
    """A figure at printing resolution whose layout is computed once; afterwards it is as it was."""
    canvas, engine, dpi = figure.canvas, figure.get_layout_engine(), figure.dpi
    try:
        FigureCanvasAgg(figure)
        figure.set_dpi(DPI)
        if engine is not None:
            pictures = any(ax.get_aspect() != "auto" for ax in figure.axes)
            for _ in range(PASSES if pictures else 1):
                engine.execute(figure)
        figure.set_layout_engine("none")
        yield
    finally:
        figure.set_layout_engine(engine)
        figure.set_dpi(dpi)
        figure.set_canvas(canvas)
