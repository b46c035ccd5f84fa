"""Everything that the template prints, as plain values."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from ldmscene import gains
from ldmscene import grid as grids
from ldmscene.axes import told_held_out, told_steps
from ldmscene.module_names import that_speak
from ldmscene.report import marks
from ldmscene.report.data import ReportData
from ldmscene.report.labels import labels
from ldmscene.report.marks import Mark
from ldmscene.report.measures import Cells, Measure, measures
from ldmscene.report.series import Series
from ldmscene.report.site.chart import chart, with_bounds
from ldmscene.report.site.facts import groups
from ldmscene.report.site.findings import card, findings, lead_sentence
from ldmscene.report.site.moves import moved
from ldmscene.report.site.tables import heat, leaderboard
from ldmscene.verdicts.draws import RESAMPLED, interval_words
from ldmscene.words import target_words


def context(data: ReportData, cells: Cells) -> dict[str, object]:
    """The template's variables; `cells` are the grid's `all_cells`."""
    grid, found = data.grid, findings(data.grid)
    had = measures(grid)
    marked = {target: marks.of_probe(one) for target, one in found.items()}
    counts = _counts(data)
    views = [_view(grid, measure, cells, marked if measure is had[0] else {}) for measure in had]
    return {
        "model": model_name(data.provenance),
        "counts": counts,
        "few": counts["prompt"] < RESAMPLED,
        "interval": interval_words(counts["prompt"]),
        "held_out": told_held_out(grid),
        "lead": lead_sentence(list(found.values())),
        "cards": [card(one) for one in found.values()],
        "errors": any(one.lower_is_better for one in found.values()),
        "known": gains.known(grid) if had[0].key == "gain" else None,
        "views": views,
        "controls": [name for name, variable in grids.PROBED_CONTROLS.items() if variable in grid],
        "rivals": sorted({name for one in found.values() for name in one.rivals}),
        "labelers": list(dict.fromkeys(name for t in data.targets for name in grids.labelers(grid, t))),
        "moves": _moves(data),
        "targets": data.targets,
        "about": {target: target_words(target) for target in data.targets},
        "steps": data.steps,
        "sources": sources(data),
        "command": str(data.provenance.get("command", "")),
        "provenance": groups(data.provenance),
        "other_parts": len(that_speak(data.grid["module"].values)) < data.grid.sizes["module"],
        "interventions": len(data.interventions),
    }


def _view(grid: xr.Dataset, measure: Measure, cells: Cells, marked: Mapping[str, list[Mark]]) -> dict[str, object]:
    """All that the page draws of one measure."""
    targets = [str(target) for target in grid["target"].values]
    curves = {target: measure.series(grid, target) for target in targets}
    charts = [chart(grid, target, measure, found, marked.get(target, ())) for target, found in curves.items()]
    return {
        "key": measure.key,
        "title": measure.title(grid),
        "charts": charts,
        "numbers": [_numbers(grid, target, measure, found) for target, found in curves.items()],
        "legend": _legend(curves),
        "heats": [heat(grid, target, measure, cells[measure.key, target]) for target in targets],
        "leaders": [leaderboard(grid, target, measure, cells[measure.key, target]) for target in targets],
    }


def _moves(data: ReportData) -> list[dict[str, object]]:
    short = labels([str(module) for module in data.grid["module"].values])
    return [moved(gain, t, short[gains.chosen_module(data.grid, t)]) for t, gain in data.transfer.items()]


def sources(data: ReportData) -> list[str]:
    """Kinds of unfinished pictures that are shown: those that are stored, or read by a labeler."""
    read = {source for source, _ in data.intermediate}
    return [source for source in ("noisy", "predicted") if source in data.strips() or source in read]


def model_name(provenance: Mapping[str, object]) -> str:
    """As the provenance has it; "" where it has none."""
    model = provenance.get("model", "")
    return str(model.get("name", "")) if isinstance(model, Mapping) else str(model)


def _counts(data: ReportData) -> dict[str, int]:
    sizes = data.grid.sizes
    prompts = len(np.unique(gains.prompts(data.grid)))
    return {k: sizes[k] for k in ("module", "step", "sample", "target")} | {
        "shown": len(data.samples),
        "prompt": prompts,
        "run": max(told_steps(data.grid), sizes["step"]),
        "finished": data.steps[-1] + 1 >= told_steps(data.grid),
    }


def _legend(curves: Mapping[str, list[Series]]) -> list[tuple[str, str]]:
    entries = {"probe": "probe of the module that speaks for the target"}
    for found in curves.values():
        for one in found:
            entries.setdefault(one.role if one.role != "other" else one.name, one.name)
    return [(role if role != name else "other", name) for role, name in entries.items()]


def _numbers(grid: xr.Dataset, target: str, measure: Measure, found: list[Series]) -> dict[str, object]:
    rows = []
    for i, step in enumerate(grid["step"].values):
        cells = [with_bounds(measure, one.mean[i], one.low[i], one.high[i]) for one in found]
        rows.append((int(step), f"{float(grid['timestep'][i]):g}", cells))
    return {"target": target, "names": [one.name for one in found], "rows": rows}
