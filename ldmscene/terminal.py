"""Tables for the terminal."""

from __future__ import annotations

import os

import xarray as xr
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ldmscene import grid as grids
from ldmscene.store import ActivationStore
from ldmscene.store.summary import contents, human_bytes

WIDTH = 110  # where the output is no terminal


def console() -> Console:
    """Results go to stdout, as wide as the terminal, or wide enough for a table in a pipe."""
    free = Console().is_terminal or "COLUMNS" in os.environ
    return Console(width=None if free else WIDTH, markup=False)  # names and prompts aren't markup


def grid_rows(grid: xr.Dataset) -> list[dict]:
    """The table's numbers: one row for each target and step."""
    return [row for target in map(str, grid["target"].values) for row in _target_rows(grid, target)]


def _target_rows(grid: xr.Dataset, target: str) -> list[dict]:
    module = grids.best_module(grid, target)
    curves = {"probe": grids.interval(grids.scores(grid, target))}
    for name, variable in grids.PROBED_CONTROLS.items():
        if variable in grid:
            curves[name] = grids.interval(grids.scores(grid, target, variable=variable, name=module))
    for name in grids.baselines(grid, target):
        curves[name] = grids.interval(grids.scores(grid, target, variable="baseline", name=name))
    return [
        {
            "target": target,
            "metric": grids.primary(grid, target),
            "module": module,
            "step": int(step),
            "timestep": float(grid["timestep"][i]),
            **{name: round(float(curve["mean"][i]), 4) for name, curve in curves.items()},
            "low": round(float(curves["probe"]["low"][i]), 4),
            "high": round(float(curves["probe"]["high"][i]), 4),
        }
        for i, step in enumerate(grid["step"].values)
    ]


_COLUMNS = {
    "probe": "probe",
    grids.PERMUTED: "perm",
    grids.LABELER_NOISY: "x_t",
    grids.LABELER_PREDICTED: "x_0",
}
_LEGEND = (
    "probe: of the best module, chosen on training samples; perm: the same with permuted weights; "
    "x_t, x_0: the labeler on the decoded x_t and on the predicted x_0"
)


def grid_table(grid: xr.Dataset) -> Table:
    """Scores over steps: the best module's probe, its control, and the labeler on the unfinished pictures."""
    table = Table(box=SIMPLE_HEAD, caption=_LEGEND, caption_justify="left", padding=0)
    table.add_column("\n\nstep", justify="right", min_width=4)
    rows = {target: _target_rows(grid, target) for target in map(str, grid["target"].values)}
    shown = {t: [c for c in _COLUMNS if c in r[0]] for t, r in rows.items()}
    for target, names in shown.items():
        heads = [target, rows[target][0]["metric"], *[""] * (len(names) - 1)]
        for i, name in enumerate(names):
            head = f"{heads[0]}\n{heads[1]}\n" if i == 0 else "\n\n"
            style = "bold cyan" if name == "probe" else None
            table.add_column(
                head + _COLUMNS[name],
                justify="right",
                style=style,
                no_wrap=True,
                min_width=9 if i == 0 else 6,
            )
    for i, step in enumerate(grid["step"].values):
        cells = [f"{rows[t][i][name]:.2f}" for t, names in shown.items() for name in names]
        table.add_row(str(int(step)), *cells)
    return table


def module_table(rows: list[dict]) -> Table:
    table = Table("module", "part")
    for name in ("output", "bytes a step"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row["module"],
            row["block"],
            " × ".join(map(str, row["shape"])),
            human_bytes(row["bytes_per_step"]),
        )
    table.add_section()
    table.add_row(
        f"{len(rows)} modules, one branch, float16",
        "",
        "",
        human_bytes(sum(r["bytes_per_step"] for r in rows)),
    )
    return table


def estimate_table(estimate: dict) -> Table:
    table = Table(title="What the extraction would take", title_justify="left", show_header=False)
    for key, value in estimate.items():
        table.add_row(key.replace("_", " ").replace("seconds", "time").replace("bytes of ", ""), _plain(key, value))
    return table


def _plain(key: str, value: float | str) -> str:
    if isinstance(value, str):
        return value
    if "bytes" in key:
        return human_bytes(value)
    return human_seconds(value) if "seconds" in key else f"{value:,}"


def human_seconds(seconds: float) -> str:
    """A duration with two or three digits, in the unit that suits it."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} seconds"


def info(store: ActivationStore) -> dict:
    """A store's facts, for a script."""
    samples = store.samples
    return {
        "store": str(store.root),
        "fingerprint": store.fingerprint,
        "samples": len(samples),
        "complete": int(samples["complete"].sum()),
        "modules": store.modules,
        "steps": len(store.steps),
        "targets": store.targets,
        "bytes": int(store.ledger["bytes"].sum()),
        "arrays": contents(store).to_dict("records"),
    }


def info_table(store: ActivationStore) -> Table:
    facts = info(store)
    counts = f"{facts['complete']} of {facts['samples']} samples complete"
    title = f"{facts['store']}: {counts}, fingerprint {facts['fingerprint']}"
    table = Table("array", "one sample", title=title, title_justify="left")
    for name in ("samples", "size", "NaN or infinite"):
        table.add_column(name, justify="right")
    for row in facts["arrays"]:
        table.add_row(
            row["array"],
            row["shape"],
            str(row["samples"]),
            human_bytes(row["bytes"]),
            f"{row['nonfinite']:,}",
        )
    table.add_section()
    table.add_row("all", "", "", human_bytes(facts["bytes"]), "")
    return table
