"""One sample's pictures as few small files, cut into tiles by the page.

    samples/0003/image.webp      the final image
    samples/0003/pictures.webp   a row for x_t and one for predicted x_0, a tile for each step
    samples/0003/maps-0.png      label, readings and probes of the first target (see `sheets`)

Photographs lose a little to compression, maps nothing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ldmscene.report.colours import indexed
from ldmscene.report.data import ReportData
from ldmscene.report.site.room import IMAGE, PICTURE, reduction, shrunk
from ldmscene.report.site.sheets import SheetRow

QUALITY = 80

Bytes = NDArray[np.uint8]


def folder_name(sample: int) -> str:
    """A sample's folder, from its position: ids are the user's and may hold what a path can't."""
    return f"samples/{sample:04d}"


def write_photographs(image: Bytes, strips: list[Bytes], rows: list[SheetRow], place: Path) -> None:
    """Write a sample's final image (Y, X, rgb), and its unfinished pictures (step, Y, X, rgb) each in its row."""
    _save(shrink(image, IMAGE), place / "image.webp")
    if strips:
        _save(tiled(strips, rows), place / "pictures.webp")


def picture_rows(data: ReportData) -> list[SheetRow]:
    """Where the unfinished pictures of each source lie in their strip."""
    height, width = shrunk(data.image.sizes["Y"], data.image.sizes["X"], PICTURE)
    rows, top = [], 0
    for _ in data.strips():
        rows.append(SheetRow.below(top, height, width, len(data.steps)))
        top = rows[-1].bottom(len(data.steps))
    return rows


def tiled(strips: list[Bytes], rows: list[SheetRow]) -> Bytes:
    """Pictures (step, Y, X, rgb) of each source, made small, as one picture."""
    count = len(strips[0])
    sheet = np.zeros((rows[-1].bottom(count), rows[0].width * rows[0].columns, 3), np.uint8)
    for strip, row in zip(strips, rows, strict=True):
        for i, one in enumerate(strip):
            sheet[row.place(i)] = shrink(one, PICTURE)
    return sheet


def shrink(picture: Bytes, longest: int) -> Bytes:
    """A picture (Y, X, rgb) averaged down until its longer side fits."""
    height, width = picture.shape[:2]
    factor = reduction(height, width, longest)
    whole = picture[: height // factor * factor, : width // factor * factor]
    return whole if factor == 1 else np.asarray(Image.fromarray(whole).reduce(factor))


def _save(picture: Bytes, path: Path) -> None:
    Image.fromarray(picture).save(path, quality=QUALITY, method=3)


def write_maps(sheet: Bytes, target: str, path: Path) -> None:
    """Write a sheet of levels as an indexed picture in its target's colours."""
    indexed(sheet, target).save(path, compress_level=6)
