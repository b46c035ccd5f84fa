"""The rows of the published figure as an animation: one frame for each step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ldmscene.errors import IncompleteError
from ldmscene.report.colours import levels, palette
from ldmscene.report.data import ReportData
from ldmscene.report.pictures import TileRow, check_sample, rows_over_steps

TILE, GAP, HEAD, FOOT = 144, 4, 18, 20  # pixels
FONT = 12
FRAME, LAST = 350, 1800  # milliseconds
INK, BAR = "#1c2024", "#0b5cad"


def animate(data: ReportData, sample_id: str, path: str | Path) -> Path:
    """Save a sample over its steps as an animated WebP: the unfinished picture, then probe and labeler for each target.

    Parameters
    ----------
    data
        What the report is made from.
    sample_id
        One of the shown samples.
    path
        Where to save; its folder is made where needed.

    Raises
    ------
    UnknownNameError
        No such sample is shown.
    IncompleteError
        There are no pictures of x_t.
    """
    check_sample(data, sample_id)
    if data.noisy is None:
        raise IncompleteError("there are no pictures of x_t; extract with previews=True")
    first, *others = frames(data, sample_id)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lasting = [FRAME] * len(others) + [LAST]
    first.save(path, save_all=True, append_images=others, duration=lasting, loop=0, quality=85, method=2)
    return path


def frames(data: ReportData, sample_id: str) -> Iterator[Image.Image]:
    """One picture for each step: tiles side by side under their names, above a line that says how far it is."""
    rows = list(rows_over_steps(data, sample_id, range(len(data.steps))))
    for i, step in enumerate(data.steps):
        yield _frame([(row.name, tile(row, i)) for row in rows], step, (i + 1) / len(data.steps))


def tile(row: TileRow, i: int) -> Image.Image:
    """A row's picture of one step in its colours, large enough, its pixels left as they are."""
    values: NDArray[np.generic] = row.tiles[i]
    coloured = values if row.target is None else palette(row.target)[levels(values, *row.limits)]
    smooth = Image.Resampling.BICUBIC if row.target is None else Image.Resampling.NEAREST
    return Image.fromarray(np.asarray(coloured, np.uint8)).resize((TILE, TILE), smooth)


def _frame(tiles: list[tuple[str, Image.Image]], step: int, share: float) -> Image.Image:
    width = len(tiles) * (TILE + GAP) - GAP
    frame = Image.new("RGB", (width, HEAD + TILE + FOOT), "white")
    draw, font = ImageDraw.Draw(frame), ImageFont.load_default(FONT)
    for k, (name, picture) in enumerate(tiles):
        draw.text((k * (TILE + GAP), 2), name.replace("xₜ", "x_t"), fill=INK, font=font)
        frame.paste(picture, (k * (TILE + GAP), HEAD))
    draw.text((0, HEAD + TILE + 3), f"step {step}", fill=INK, font=font)
    draw.rectangle((60, HEAD + TILE + 9, 60 + share * (width - 61), HEAD + TILE + 12), fill=BAR)
    return frame
