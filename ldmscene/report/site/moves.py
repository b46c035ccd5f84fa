"""What the probe of each step reads at every other step, as rows of plain values."""

from __future__ import annotations

import xarray as xr
from matplotlib.colors import to_hex, to_rgb

from ldmscene.report.colours import ink_on, ramp, score_colours
from ldmscene.report.measures import GAIN, MEASURES
from ldmscene.report.transfer import NOTHING


def moved(gains: xr.DataArray, target: str, module: str) -> dict[str, object]:
    """Cells (fitted, applied) with their colours, from nothing to the largest gain, and how far the code moves."""
    values = gains.transpose("fitted", "applied").values
    largest = max(float(values.max()), 1e-9)
    rows = zip(gains["fitted"].values.tolist(), values.tolist(), strict=True)
    return {
        "target": target,
        "module": module,
        "steps": gains["applied"].values.tolist(),
        "rows": [(step, [_cell(value, largest) for value in row]) for step, row in rows],
        "high": MEASURES[GAIN].text(largest),
        "ramp": ramp(),
        "early": MEASURES[GAIN].text(float(values[0, -1])),
        "own": MEASURES[GAIN].text(float(values[-1, -1])),
    }


def _cell(value: float, largest: float) -> dict[str, str]:
    colour = to_hex(score_colours()(value / largest)) if value >= 0 else NOTHING
    ink = ink_on(to_rgb(colour))
    return {"text": MEASURES[GAIN].short(value), "colour": colour, "ink": ink}
