"""The page of interventions: pictures, then the page around them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from ldmscene.report.colours import indexed, levels, limits
from ldmscene.report.interventions import EDIT, Intervention
from ldmscene.report.site.chart import Scale
from ldmscene.report.site.room import IMAGE
from ldmscene.report.site.strips import QUALITY, shrink
from ldmscene.text import number
from ldmscene.words import capital, metric_words

WIDTH, ROW, LEFT, RIGHT = 560, 26, 150, 14
CURVE, MARGIN, TOP, GAP = (440, 100), 48, 12, 30
WORDS = {
    "edit": "the edit", "rule": "another rule", "control": "must not work", "donor": "what a perfect edit would give",
}  # fmt: skip
SHOWN = ("size", "mahalanobis", "beyond", "picture outside", "reading", "reading elsewhere")

Bytes = NDArray[np.uint8]


def context(shown: Sequence[Intervention]) -> list[dict[str, object]]:
    """Each intervention as the template prints it."""
    return [
        {
            "name": one.name,
            "said": one.said,
            "sentence": one.sentence,
            "target": one.target,
            "metric": one.metric,
            "gained": capital(one.gained),
            "judge": one.effects.attrs["judge"],
            "dots": dots(one),
            "curves": curves(one) if len(one.later) > 1 else None,
            "columns": [capital(one.metric), "gain over no edit", "the edit’s lead", *map(metric_words, SHOWN)],
            "rows": [(variant, _row(one.effects.loc[variant], one)) for variant in one.kinds],
            "samples": _samples(one, f"interventions/{at:02d}"),
        }
        for at, one in enumerate(shown)
    ]


def dots(one: Intervention) -> dict[str, object]:
    """Gains with intervals, a line for each variant that was judged."""
    gains = _bounded(one.gains.dropna(subset=["gain"]), "gain_low", "gain", "gain_high")
    low, high = min(0.0, gains["gain_low"].min()), max(0.0, gains["gain_high"].max())
    pad = 0.05 * ((high - low) or 1)
    across = Scale(low - pad, high + pad, LEFT, WIDTH - RIGHT)
    lines = [
        {
            "name": variant, "kind": one.kinds[str(variant)], "y": TOP + ROW * i + ROW // 2,
            "low": across(row["gain_low"]), "mean": across(row["gain"]), "high": across(row["gain_high"]),
            "text": f"{variant} ({WORDS[one.kinds[str(variant)]]}): {_interval(one.gains.loc[variant], 'gain')}",
        }
        for i, (variant, row) in enumerate(gains.iterrows())
    ]  # fmt: skip
    return {
        "width": WIDTH, "height": TOP + ROW * len(lines) + 34, "bottom": TOP + ROW * len(lines), "left": LEFT,
        "right": WIDTH - RIGHT, "top": TOP, "zero": across(0), "lines": lines, "ticks": _ticks(across, low, high),
    }  # fmt: skip


def curves(one: Intervention) -> dict[str, object]:
    """Until when the edit works, below what the probe reads, over the same steps."""
    width, height = CURVE
    last = float(one.emergence["step"].values[-1])
    across = Scale(0.0, last, MARGIN + 8, width - RIGHT - 8)
    emergence = one.emergence.to_dataframe()[["mean", "low", "high"]]
    later = one.later.set_axis(["mean", "low", "high", *one.later.columns[3:]], axis=1)[["mean", "low", "high"]]
    return {
        "width": width, "height": 2 * height + GAP + 34, "left": MARGIN, "right": width - RIGHT,
        "panels": [
            _panel(f"{capital(one.metric)} of what the probe reads", emergence, across, TOP, height),
            _panel("gain of an edit that begins here", later, across, TOP + height + GAP, height, zero=True),
        ],
        "bottom": TOP + 2 * height + GAP,
        "ticks": [(across(float(step)), step) for step in range(0, int(last) + 1, max(1, int(last) // 7))],
    }  # fmt: skip


def _panel(
    title: str, frame: pd.DataFrame, across: Scale, top: int, height: int, *, zero: bool = False
) -> dict[str, object]:
    drawn = _bounded(frame, "low", "mean", "high")
    low, high = float(drawn["low"].min()), float(drawn["high"].max())
    low, high = (min(low, 0.0), max(high, 0.0)) if zero else (low, high)
    pad = 0.08 * ((high - low) or 1)
    up = Scale(low - pad, high + pad, top + height, top + 16)
    points = [
        {
            "x": across(float(str(step))), "y": up(row["mean"]), "low": up(row["low"]), "high": up(row["high"]),
            "text": f"step {step}: {_said(*frame.loc[step, ['mean', 'low', 'high']])}",
        }
        for step, row in drawn.iterrows()
    ]  # fmt: skip
    path = "M" + "L".join(f"{point['x']:g},{point['y']:g}" for point in points)
    zeros = up(0) if zero else None
    return {"title": title, "top": top, "path": path, "points": points, "ticks": _ticks(up, low, high), "zero": zeros}


def _bounded(frame: pd.DataFrame, low: str, mean: str, high: str) -> pd.DataFrame:
    """With bounds that can be drawn: the mean where there is no interval."""
    return frame.assign(**{bound: frame[bound].fillna(frame[mean]) for bound in (low, high)})


def _ticks(scale: Scale, low: float, high: float) -> list[tuple[float, str]]:
    from matplotlib.ticker import MaxNLocator

    found = MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(low, high)
    return [(scale(float(tick)), number(tick, "z.2f")) for tick in found if low - 1e-9 <= tick <= high + 1e-9]


def _row(measures: pd.DataFrame, one: Intervention) -> list[str]:
    metric = one.effects.attrs["metric"]
    first = measures.loc[metric]
    others = [_mean(measures.loc[name]) if name in measures.index else "–" for name in SHOWN]
    return [_mean(first), _interval(first, "gain"), _interval(first, "lead"), *others]


def _mean(row: pd.Series) -> str:
    return "–" if np.isnan(row["mean"]) else number(row["mean"], "z.2f")


def _interval(row: pd.Series, name: str) -> str:
    if name not in row.index or np.isnan(row[name]):
        return "–"
    return _said(row[name], row[f"{name}_low"], row[f"{name}_high"], sign="+")


def _said(mean: float, low: float, high: float, sign: str = "") -> str:
    shown, least, most = (number(value, f"{sign}z.2f") for value in (mean, low, high))
    if np.isnan(low) or np.isnan(high):
        return f"{shown} (too few prompts for an interval)"
    return f"{shown} ({least} to {most})"


def _samples(one: Intervention, folder: str) -> list[dict[str, object]]:
    captions = {"original": "original", "wanted": "wanted", EDIT: "edited", one.nearest: f"control: {one.nearest}"}
    names = ["original", "wanted", *(name for name in one.pictures if name != "original")]
    return [
        {
            "id": str(sample_id),
            "prompt": str(row["prompt"]),
            "pictures": [
                (f"{folder}/{i:03d}-{k}.{'png' if name == 'wanted' else 'webp'}", captions.get(name, name))
                for k, name in enumerate(names)
            ],
        }
        for i, (sample_id, row) in enumerate(one.samples.iterrows())
    ]


def write_pictures(shown: Sequence[Intervention], folder: Path) -> None:
    """Write every picture and wanted map; those of an earlier report go."""
    for path in folder.glob("interventions/*/*"):
        if path.parent.name.isdigit() and path.suffix in (".webp", ".png"):
            path.unlink()
    for at, one in enumerate(shown):
        place = folder / f"interventions/{at:02d}"
        place.mkdir(parents=True, exist_ok=True)
        names = [name for name in one.pictures if name != "original"]
        for i in range(len(one.samples)):
            _save(one.pictures["original"][i], place / f"{i:03d}-0.webp")
            _map(one.wanted[i], one.target, one.kind).save(place / f"{i:03d}-1.png")
            for k, name in enumerate(names, 2):
                _save(one.pictures[name][i], place / f"{i:03d}-{k}.webp")


def _save(picture: Bytes, path: Path) -> None:
    Image.fromarray(shrink(picture, IMAGE)).save(path, quality=QUALITY, method=3)


def _map(wanted: NDArray[np.float32], target: str, kind: str) -> Image.Image:
    return indexed(levels(wanted, *limits(wanted, kind)), target)
