"""One sample's pictures as few small files: a strip or atlas each, cut into tiles by the page.

    samples/0003/image.webp      the final image
    samples/0003/pictures.webp   a row for x_t and one for predicted x_0, a column for each step
    samples/0003/readings.webp   a row for each labeler's reading and, last, one for the labels
    samples/0003/probe-0.png     the probes' maps of the first target (see `maps`)

Photographs lose a little to compression, probes' maps nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ldmscene.report.colours import levels, palette
from ldmscene.report.data import ReportData
from ldmscene.report.pictures import label_limits
from ldmscene.report.site.maps import Atlas, Maps, reduction

IMAGE = 256  # pixels of the longer side
PICTURE = 128
READING = 64
QUALITY = 80

Bytes = NDArray[np.uint8]


def folder_name(sample: int) -> str:
    """A sample's folder, from its position: ids are the user's and may hold what a path can't."""
    return f"samples/{sample:04d}"


def write_sample(data: ReportData, atlas: Atlas, maps: Maps, sample: int, folder: Path) -> None:
    """Write every picture of the sample at this position."""
    place = folder / folder_name(sample)
    place.mkdir(parents=True, exist_ok=True)
    _save(shrink(data.image[sample].values, IMAGE), place / "image.webp")
    strips = [[shrink(one, PICTURE) for one in strip[sample].values] for strip in data.strips().values()]
    if strips:
        _save(tile(strips), place / "pictures.webp")
    ranges = {target: label_limits(data, target, data.samples.index[sample]) for target in data.targets}
    _save(_readings(data, ranges, sample), place / "readings.webp")
    for i, target in enumerate(data.targets):
        sheet = atlas_sheet(atlas, maps, target, sample, ranges[target])
        _save_indexed(sheet, target, place / f"probe-{i}.png")


def reading_rows(data: ReportData) -> list[tuple[str, str]]:
    """(source, target) of each row of `readings.webp` before the last."""
    return [key for key in data.intermediate if key[1] in data.labels]


def _readings(data: ReportData, ranges: Mapping[str, tuple[float, float]], sample: int) -> Bytes:
    rows = []
    for source, target in reading_rows(data):
        values = data.intermediate[source, target][sample].values
        rows.append([coloured(target, one, ranges[target]) for one in values])
    rows.append([coloured(t, label[sample].values, ranges[t]) for t, label in data.labels.items()])
    return tile(rows)


def coloured(target: str, values: NDArray[np.generic], limits: tuple[float, float]) -> Bytes:
    """A map (Y, X) in its target's colours (Y, X, rgb)."""
    height, width = values.shape
    factor = reduction(height, width, READING)
    blocks = values[: height // factor * factor, : width // factor * factor].astype(np.float32)
    means = blocks.reshape(height // factor, factor, width // factor, factor).mean((1, 3))
    return palette(target)[levels(means, *limits)]


def shrink(picture: Bytes, longest: int) -> Bytes:
    """A picture (Y, X, rgb) averaged down until its longer side fits."""
    height, width = picture.shape[:2]
    factor = reduction(height, width, longest)
    whole = picture[: height // factor * factor, : width // factor * factor]
    return whole if factor == 1 else np.asarray(Image.fromarray(whole).reduce(factor))


def tile(rows: Sequence[Sequence[Bytes]]) -> Bytes:
    """Tiles of one size as one picture, rows filled up with black."""
    first = rows[0][0]
    height, width = first.shape[:2]
    sheet = np.zeros((height * len(rows), width * max(map(len, rows)), *first.shape[2:]), np.uint8)
    for y, row in enumerate(rows):
        for x, one in enumerate(row):
            sheet[y * height : (y + 1) * height, x * width : (x + 1) * width] = one
    return sheet


def _save(picture: Bytes, path: Path) -> None:
    Image.fromarray(picture).save(path, quality=QUALITY, method=3)


def atlas_sheet(atlas: Atlas, maps: Maps, target: str, sample: int, limits: tuple[float, float]) -> NDArray[np.uint8]:
    """The levels (y, x) of all of a sample's maps of a target, each where the atlas has its place."""
    names = atlas.modules(target, sample)
    rows = [np.hstack(list(levels(maps[target, name][sample], *limits))) for name in names]
    sheet = np.zeros((sum(map(len, rows)), max(row.shape[1] for row in rows)), np.uint8)
    for name, row in zip(names, rows, strict=True):
        top = atlas.rows[target][name].top
        sheet[top : top + len(row), : row.shape[1]] = row
    return sheet


def _save_indexed(sheet: NDArray[np.uint8], target: str, path: Path) -> None:
    picture = Image.fromarray(sheet).convert("P")
    picture.putpalette(palette(target).tobytes())
    picture.save(path, compress_level=6)
