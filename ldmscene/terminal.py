"""Tables for the terminal."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.table import Table

from ldmscene import gains
from ldmscene import grid as grids
from ldmscene.store import ActivationStore
from ldmscene.store.beside import sizes
from ldmscene.store.layout import Key
from ldmscene.text import human_bytes, printable

WIDTH = 110  # where the output is no terminal


def console() -> Console:
    """Results go to stdout, as wide as the terminal, or wide enough for a table in a pipe."""
    free = Console().is_terminal or "COLUMNS" in os.environ
    return Console(width=None if free else WIDTH, markup=False, highlight=False)  # names and prompts aren't markup


def show(table: Table, title: str) -> None:
    """Print a table below its title; in a pipe as wide as it is, so that a script finds names whole.

    On a terminal that is too narrow for it, each row becomes lines of its own.
    """
    ours = console()
    if not ours.is_terminal and "COLUMNS" not in os.environ:
        ours.width = max(WIDTH, _width(table))
    ours.print(printable(title), soft_wrap=True)  # paths stay whole
    if table.show_header and _width(table) > ours.width:
        ours.print(*_stacked(table, ours.width), sep="\n", soft_wrap=True)  # names stay whole, to be copied
    else:
        ours.print(table)


def _stacked(table: Table, width: int) -> Iterator[str]:
    """A table's rows as lines: what is in the first column, and below it the others by their heads."""
    names, *others = ([str(cell) for cell in column.cells] for column in table.columns)
    heads = [str(column.header) for column in table.columns[1:]]
    for name, *cells in zip(names, *others, strict=True):
        yield name
        facts = ", ".join(f"{head} {cell}" for head, cell in zip(heads, cells, strict=True) if cell)
        yield from textwrap.wrap(facts, width, initial_indent="  ", subsequent_indent="  ")


def grid_rows(grid: xr.Dataset) -> list[dict[str, Any]]:
    """The table's numbers: one row for each target and step."""
    rows = [row for target in map(str, grid["target"].values) for row in _target_rows(grid, target)]
    return [{k: round(v, 4) if isinstance(v, float) and k != "timestep" else v for k, v in row.items()} for row in rows]


def _target_rows(grid: xr.Dataset, target: str) -> list[dict[str, Any]]:
    metric, module = grids.primary(grid, target), gains.chosen_module(grid, target)
    curves = _gains(grid, target) if gains.has_gains(grid) else _scores(grid, target)
    published = grids.scores(grid, target, name=module).mean("sample").values
    return [
        {
            "target": target,
            "metric": gains.PARTIAL_R2 if gains.has_gains(grid) else metric,
            "module": module,
            "step": int(step),
            "timestep": float(grid["timestep"][i]),
            **{name: float(curve["mean"][i]) for name, curve in curves.items()},
            "low": float(curves["probe"]["low"][i]),
            "high": float(curves["probe"]["high"][i]),
            metric: float(published[i]),
        }
        for i, step in enumerate(grid["step"].values)
    ]


def _gains(grid: xr.Dataset, target: str) -> dict[str, xr.Dataset]:
    found = {"probe": gains.of_probe(grid, target), **gains.compared(grid, target)}
    return {name: gains.interval(one) for name, one in found.items()}


def _scores(grid: xr.Dataset, target: str) -> dict[str, xr.Dataset]:
    found = {"probe": grids.scores(grid, target), **grids.compared(grid, target)}
    return {name: grids.interval(one) for name, one in found.items()}


_COLUMNS = {
    "probe": "probe",
    grids.PERMUTED: "perm",
    grids.LABELER_NOISY: "x_t",
    grids.LABELER_PREDICTED: "x_0",
}
_MEANING = {
    "probe": "probe: of the module that speaks for the target, chosen on training samples",
    grids.PERMUTED: "perm: the same with permuted weights",
    grids.LABELER_NOISY: "x_t: the labeler on the decoded x_t",
    grids.LABELER_PREDICTED: "x_0: the labeler on the predicted x_0",
}


def legend(grid: xr.Dataset) -> str:
    """What the columns of a grid's tables are, of those that are there."""
    compared = gains.compared if gains.has_gains(grid) else grids.compared
    ran = {"probe"}.union(*(compared(grid, target) for target in map(str, grid["target"].values)))
    said = [words for name, words in _MEANING.items() if name in ran]
    if gains.has_gains(grid):
        leave = "leaves" if len(gains.beyond(grid)) == 1 else "leave"
        left = f"in % of what {gains.known(grid)} {leave} unexplained" if gains.known(grid) else "in % of all variance"
        said += [left, "score: the probe's published one"]
    return "; ".join(said)


def grid_tables(grid: xr.Dataset, width: int) -> list[Table]:
    """How much is read over steps: by the probe, by its rivals, and by the labeler on the unfinished pictures.

    Targets stand side by side, as many as fit the width, and the others below them.
    """
    rows = {target: _target_rows(grid, target) for target in map(str, grid["target"].values)}
    groups: list[dict[str, list[dict[str, Any]]]] = []
    for target, own in rows.items():
        if groups and _width(_side_by_side(groups[-1] | {target: own})) <= width:
            groups[-1][target] = own
        else:
            groups.append({target: own})
    return [_side_by_side(group) for group in groups]


def _width(table: Table) -> int:
    """Characters of a table that nothing confines."""
    return Console(width=10_000).measure(table).maximum


def _side_by_side(rows: dict[str, list[dict[str, Any]]]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=0)
    table.add_column("\n\nstep", justify="right", min_width=4)
    shown = {target: _columns(target, own[0]) for target, own in rows.items()}
    for columns in shown.values():
        for name, head in columns.items():
            first = name == "probe"
            style = "bold cyan" if first else None
            table.add_column(head, justify="right", style=style, overflow="fold", min_width=8 if first else 5)
    for each in zip(*rows.values(), strict=True):
        cells = [_cell(row, name) for row, names in zip(each, shown.values(), strict=True) for name in names]
        table.add_row(str(each[0]["step"]), *cells)
    return table


def _columns(target: str, row: dict[str, Any]) -> dict[str, str]:
    """What is shown of a row to its head: what is compared, and beside gains the published score."""
    metric, published = row["metric"], list(row)[-1]
    found = {name: f"\n\n{title}" for name, title in _COLUMNS.items() if name in row}
    found["probe"] = f"{target}\n{'gain, %' if metric == gains.PARTIAL_R2 else metric}\nprobe"
    return found if metric == published else found | {published: f"\n{published}\nscore"}


def _cell(row: dict[str, Any], name: str) -> str:
    return (
        f"{round(100 * row[name]):d}" if row["metric"] == gains.PARTIAL_R2 and name in _COLUMNS else f"{row[name]:z.2f}"
    )


def _listing(name: str, *others: tuple[str, JustifyMethod]) -> Table:
    """A table of names that can be copied: whole where they fit, folded and never shortened where they don't."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column(name, overflow="fold")
    for head, justify in others:
        table.add_column(head, justify=justify, no_wrap=True)
    return table


def module_table(rows: list[dict[str, Any]]) -> Table:
    table = _listing("module", ("part", "left"), ("output", "right"), ("a step", "right"))
    for row in rows:
        table.add_row(row["module"], row["block"], "×".join(map(str, row["shape"])), human_bytes(row["bytes_per_step"]))
    table.add_row()
    whole = human_bytes(sum(r["bytes_per_step"] for r in rows))
    table.add_row(f"{len(rows)} modules, one branch, float16", "", "", whole)
    return table


def estimate_table(estimate: dict[str, Any]) -> Table:
    table = Table(show_header=False)
    for key, value in estimate.items():
        table.add_row(key.replace("_", " ").replace("seconds", "time").replace("bytes of ", ""), _plain(key, value))
    return table


def _plain(key: str, value: float | str) -> str:
    if isinstance(value, str):
        return value
    if "bytes" in key:
        return human_bytes(value)
    return human_seconds(value) if "seconds" in key else f"{value:,}"


def effect_table(effect: pd.DataFrame) -> Table:
    """What `ldmscene.effect` found, a row for each variant and measure, each number with its interval."""
    table = _listing("variant", ("measure", "left"), ("mean", "right"), ("gain", "right"), ("the edit's lead", "right"))
    for (variant, measure), row in effect.iterrows():
        gain, lead = (_bounded(row, name, f"{name}_low", f"{name}_high", sign="+") for name in ("gain", "lead"))
        table.add_row(variant, measure, _bounded(row, "mean", "low", "high"), gain, lead)
    return table


def _bounded(row: pd.Series, *names: str, sign: str = "") -> str:
    """A mean and its interval, by these three names; "" where there is none, the mean alone without an interval."""
    mean, low, high = (row.get(name, np.nan) for name in names)
    if np.isnan(mean):
        return ""
    return f"{mean:{sign}z.3f}" + (
        f" ({low:{sign}z.3f} to {high:{sign}z.3f})" if np.isfinite([low, high]).all() else ""
    )


def human_seconds(seconds: float) -> str:
    """A duration with two or three digits, in the unit that suits it."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} seconds"


def info(store: ActivationStore) -> dict[str, Any]:
    """A store's facts, for a script."""
    samples, arrays, beside = store.samples, store.contents.to_dict("records"), sizes(store.location)
    return {
        "store": str(store.root),
        "fingerprint": store.fingerprint,
        "samples": len(samples),
        "complete": int(samples["complete"].sum()),
        "modules": store.modules,
        "steps": len(store.steps),
        "targets": store.targets,
        "bytes": sum(beside.values()) + sum(row["bytes"] for row in arrays),
        "arrays": arrays,
        "beside": beside,
    }


def info_title(store: ActivationStore) -> str:
    samples = store.samples
    counts = f"{int(samples['complete'].sum())} of {len(samples)} samples complete"
    return f"{store.root}: {counts}, fingerprint {store.fingerprint}"


def info_table(store: ActivationStore) -> Table:
    facts = info(store)
    table = _listing(
        "module, or other array", ("one sample", "right"), ("done", "right"), ("size", "right"), ("NaN or inf", "right")
    )
    for row in facts["arrays"]:
        key = Key(row["array"])
        once = store.info(key).attributes.get("step") if key.module else None
        table.add_row(
            key.module or key,
            row["shape"].replace(" ", "") + ("" if once is None else f" at step {once}"),
            str(row["samples"]),
            human_bytes(row["bytes"]),
            f"{row['nonfinite']:,}",
        )
    table.add_row()
    for kind, size in facts["beside"].items():
        if size:
            table.add_row(kind, "", "", human_bytes(size), "")
    table.add_row("all", "", "", human_bytes(facts["bytes"]), "")
    return table
