"""Does the denoiser use what the probes read? The documented study on tiny-scenes, and what an edit costs.

python -m benchmarks.interventions effects [STORE] [FOLDER]   after `make demo`; edited stores go to the folder
python -m benchmarks.interventions speed [STORE]
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
from rich.console import Console

import ldmscene
from benchmarks import harness
from ldmscene import capture, edits, testbed
from ldmscene.calls.effect import effect_sentence, until_when
from ldmscene.intervention.maps import Subjects
from ldmscene.intervention.planning import plan_for
from ldmscene.intervention.readouts import Readouts
from ldmscene.intervention.running import Worker

DECODER = "up_blocks*"  # nine self-attention outputs, as published
WANTED = "shift:0,16"
NULLS = ("none", "random:3", "shuffled", "other-target", "wrong-region", "worst-module", "donor")
MOST = 1.1  # times the seconds without an edit


def studied(grid: ldmscene.Grid) -> Iterator[tuple[str, edits.Edit, tuple[str, ...]]]:
    """Name, edit and controls of each part of the study; the rules' own settings, and steps 0 to 4 where not said."""
    mask = ldmscene.Edit.of(grid, "mask", wanted=WANTED, modules=DECODER, steps=range(5))
    yield "conditional", mask, NULLS
    yield "conditional, strength 2", replace(mask, strength=2.0), ("none", "random:1", "shuffled")
    yield "minimum-norm", replace(mask, rule="minimum-norm"), ("none",)
    yield "all steps", replace(mask, **everywhen(grid, "mask")), ("none", *map(begun_at, range(2, 15, 2)))
    yield "adam", replace(mask, rule="adam"), ("none",)
    depth = ldmscene.Edit.of(grid, "depth", wanted=WANTED, modules=DECODER, steps=range(5))
    yield "depth", depth, ("none", "random:1", "shuffled")
    yield "erase", replace(mask, rule="erase"), ("none",)
    yield "both branches", replace(mask, branch="both"), ("none",)


def everywhen(grid: ldmscene.Grid, target: str) -> dict:
    """What an edit at all steps has of its own."""
    edit = ldmscene.Edit.of(grid, target, wanted=WANTED, modules=DECODER, steps=grid["step"].values.tolist())
    return {"steps": edit.steps, "readouts": edit.readouts}


def begun_at(step: int) -> Callable[[edits.Edit], edits.Edit]:
    """The same edit begun at a step, as a control; `until_when` finds it by its name."""

    def begun(edit: edits.Edit) -> edits.Edit:
        return replace(edit, steps=tuple(s for s in edit.steps if s >= step))

    begun.__name__ = f"from-{step}"
    return begun


def effects(store: str = "stores/demo", folder: str = "stores/edits") -> None:
    """Run the study, print its tables and keep them; what is there already isn't generated again."""
    opened, rows = ldmscene.open(store), []
    grid = ldmscene.evaluate(store, progress=False)
    for name, edit, controls in studied(grid):
        where = Path(folder) / name.replace(", ", "-").replace(" ", "-")
        edited = ldmscene.intervene(opened, edit, where, controls=controls, batch_size=8, progress=False)
        for target in opened.targets:
            ldmscene.label(edited, target, f"tiny-{target}", progress=False)
        found = ldmscene.effect(edited, opened)
        rows += _rows(name, found)
        print(name, "|", effect_sentence(found), flush=True)
        if name == "all steps":
            print(until_when(found).round(3).to_string(), flush=True)
    harness.save("interventions", rows)
    Console(width=160).print(harness.table(rows, f"interventions on {store}"))


def _rows(name: str, found: pd.DataFrame) -> list[dict]:
    metric = found.attrs["metric"]
    shown = {"gain": f"gain in {metric}", "gain_low": "low", "gain_high": "high"}
    rows = []
    for variant, group in found.groupby(level="variant", sort=False):
        measures = group.droplevel("variant")
        numbers = {"mean": measures.loc[metric, "mean"], **{k: measures.loc[metric, v] for v, k in shown.items()}}
        others = {key: measures.loc[key, "mean"] for key in ("size", "picture outside", "reading")}
        rows.append(
            {"edit": name, "variant": variant, **{k: round(float(v), 3) for k, v in {**numbers, **others}.items()}}
        )
    return rows


def speed(store: str = "stores/demo") -> None:
    """Seconds of eight pictures without an edit, and with each rule at nine modules and five steps."""
    opened = ldmscene.open(store)
    grid = ldmscene.evaluate(store, progress=False)
    edit = ldmscene.Edit.of(grid, "mask", wanted=WANTED, modules=DECODER, steps=range(5))
    edit = replace(edit, spare=(), readouts={at: edit.readouts[at] for at in edit.positions})
    frame = opened.manifest.frame.query("split == 'test'").head(8)
    subjects = Subjects(opened, Readouts(opened, grid, "mask").target, edit, tuple(frame["sample_id"]))
    plan = plan_for(capture.Model.load(testbed.MODELS["tiny-scenes"], "cpu"), edit)
    maps, prompts, seeds = subjects.maps(frame["sample_id"].tolist()), frame["prompt"].tolist(), frame["seed"].tolist()

    def way(rule: str | None):
        def pictures() -> None:
            editor = Worker(replace(edit, rule=rule), maps) if rule else None
            capture.run(plan, prompts, seeds, editor=editor)

        return pictures

    ways = {"without": way(None), "conditional": way("conditional"), "minimum-norm": way("minimum-norm")}
    seconds = harness.measure(ways, rounds=5) | harness.measure({"adam": way("adam")}, rounds=1, warm=False)
    rows = harness.compare(seconds, "without", pictures=len(frame))
    for row in rows:
        row["times the seconds without"] = round(1 / row.pop("speed ÷ without"), 3)
    harness.save("interventions-speed", rows)
    Console(width=120).print(harness.table(rows, f"aim: conditional at most {MOST} times"))


if __name__ == "__main__":
    {"effects": effects, "speed": speed}[sys.argv[1] if len(sys.argv) > 1 else "effects"](*sys.argv[2:])
