"""A font of few letters for figures.

A PDF holds the letters that it prints. Cutting them out of a font of 6000 takes longer than drawing them, and out of a
small one next to nothing, so that all figures share one.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib
from fontTools import subset
from matplotlib.font_manager import FontProperties, findfont, fontManager

SMALL, WHOLE = "ldmscene Sans", "DejaVu Sans"
# Latin and Greek letters, punctuation, subscripts, arrows and operators; all others still come from the whole font.
CHARACTERS = [*range(0x20, 0x180), *range(0x370, 0x400), *range(0x2010, 0x20A0), *range(0x2190, 0x2300)]
_FAMILY_NAMES = (1, 16)


def families() -> list[str]:
    """The families that figures ask for, the best first: those that are set, with a small font before matplotlib's."""
    chosen = list(matplotlib.rcParams["font.family"])
    if findfont(FontProperties(family=chosen)) != findfont(FontProperties(family=WHOLE)):
        return chosen
    _small_fonts()
    return [SMALL, *chosen]


@cache
def _small_fonts() -> TemporaryDirectory[str]:
    """The folder of the small fonts, which matplotlib knows from here on; it goes when the process ends."""
    folder = TemporaryDirectory(prefix="ldmscene-", ignore_cleanup_errors=True)
    for weight in ("normal", "bold"):
        path = Path(folder.name) / f"{weight}.ttf"
        _cut(findfont(FontProperties(family=WHOLE, weight=weight)), path)
        fontManager.addfont(path)
    return folder


def _cut(whole: str, path: Path) -> None:
    """Save some letters of a font, with their kerning, ligatures and hints, as the small font."""
    options = subset.Options(glyph_names=True, layout_features=["*"], notdef_outline=True)
    options.drop_tables += ["FFTM", "MATH"]
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=CHARACTERS)
    with subset.load_font(whole, options) as font:
        cutter.subset(font)
        for name in font["name"].names:
            if name.nameID in _FAMILY_NAMES:
                name.string = SMALL
        font.save(path)
