"""Does the denoiser use what the probes read? The documented study on tiny-scenes, and what an edit costs.

python -m benchmarks.interventions study PART [STORE] [FOLDER]   after `make demo`; PART is mask, depth or guidance-7.5
python -m benchmarks.interventions speed [STORE]

Edited stores go to the folder. A study that was stopped goes on where it was.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
from rich.console import Console

import ldmscene
from benchmarks import harness
from ldmscene import capture, edits, testbed
from ldmscene.calls.effect import effect_of, interval
from ldmscene.intervention.effects import Trial
from ldmscene.intervention.maps import Subjects
from ldmscene.intervention.planning import plan_for
from ldmscene.intervention.readouts import Readouts
from ldmscene.intervention.running import Worker

DECODER = "up_blocks*"  # nine self-attention outputs, as published
FIRST, WANTED = tuple(range(5)), "shift:0,16"
NULLS = ("none", "shuffled", "random:3", "wrong-region", "worst-module", "other-target")
TWINS = ("shuffled", "random")  # a variant's own nulls: its settings, and the change along another direction
PARTS = ("mask", "depth", "guidance-7.5")
SHOWN = ("size", "picture outside", "reading", "reading elsewhere")
AT_ONCE = 8  # variants after which a study that is stopped has a table
MOST = 1.1  # times the seconds without an edit

Control = str | Callable[[edits.Edit], edits.Edit]


def base(grid: ldmscene.Grid, target: str) -> edits.Edit:
    """The edit at the published positions, with readouts at all others too, so that variants may go there."""
    steps = grid["step"].values.tolist()
    return replace(ldmscene.Edit.of(grid, target, wanted=WANTED, modules=DECODER, steps=steps), steps=FIRST)


def varied(name: str, **changes: object) -> Callable[[edits.Edit], edits.Edit]:
    """The edit with other settings, as a control of this name."""

    def make(edit: edits.Edit) -> edits.Edit:
        return replace(edit, **changes)

    make.__name__ = name
    return make


def with_twins(name: str, *twins: str, **changes: object) -> list[Control]:
    """Other settings, and the nulls that have the same ones."""
    nulls = {"shuffled": "rival:shuffled", "random": "random:0"}
    found = [varied(f"{name}-{twin}", null=nulls[twin], **changes) for twin in twins]
    return [varied(name, **changes), *found]


def variants(part: str, edit: edits.Edit) -> list[Control]:
    """Everything that is compared in a part of the study, the most important first."""
    every = tuple(sorted({step for _, step in edit.readouts}))
    strong, stronger = with_twins("strength-2", *TWINS, strength=2.0), with_twins("strength-4", *TWINS, strength=4.0)
    always = with_twins("always", *TWINS, steps=every)
    if part == "guidance-7.5":
        return [*NULLS[:3], *strong, *stronger, *always, "donor", "rule:minimum-norm"]
    everywhere = varied("all-modules", modules=(*edit.spare, *edit.modules))
    if part == "depth":
        return [*NULLS, *strong, "donor", "rule:minimum-norm", "rule:erase", everywhere, *always]
    last = tuple(module for module in edit.modules if "up_blocks.3" in module)
    return [
        *NULLS, "donor", "rule:minimum-norm", "rule:adam", "rule:erase", *strong, *stronger, *always,
        *(varied(f"always-from-{step}", steps=every[step:]) for step in range(3, len(every), 3)),
        *with_twins("both-branches", "shuffled", branch="both"), everywhere,
        varied("last-block", modules=last), varied("minimum-norm-4", rule="minimum-norm", strength=4.0),
    ]  # fmt: skip


def study(part: str, store: str = "stores/demo", folder: str = "stores/edits") -> None:
    """Run a part of the study on one held-out sample of each prompt; its table is printed and saved as it grows."""
    target = "depth" if part == "depth" else "mask"
    opened = _at_guidance_7_5(store, folder) if part == "guidance-7.5" else ldmscene.open(store)
    edit = base(ldmscene.evaluate(opened, progress=False), target)
    samples = opened.manifest.frame.query("split == 'test'").drop_duplicates("prompt_id")["sample_id"].tolist()
    controls = variants(part, edit)
    for count in range(AT_ONCE, len(controls) + AT_ONCE, AT_ONCE):
        edited = ldmscene.intervene(
            opened, edit, Path(folder) / part, samples=samples, controls=controls[:count], batch_size=8, progress=False
        )
        for name in ("mask", "depth"):
            ldmscene.label(edited, name, f"tiny-{name}", progress=False)
        rows = compared(Trial.of(edited, opened, None))
        harness.save(f"interventions-{part}", rows)
    Console(width=200).print(harness.table(rows, f"{part}: {len(samples)} held-out pictures"))


def _at_guidance_7_5(store: str, folder: str) -> ldmscene.ActivationStore:
    """The same samples at another guidance: the decoder's outputs, and labels of the mask."""
    manifest = ldmscene.open(store).manifest
    made = ldmscene.extract(
        "tiny-scenes",
        manifest,
        f"{folder}/store-guidance-7.5",
        f"{DECODER}attn1.to_out.0",
        guidance_scale=7.5,
        batch_size=8,
        progress=False,
    )
    return ldmscene.label(made, "mask", "tiny-mask", progress=False)


def compared(trial: Trial) -> list[dict]:
    """A row for each variant: score, gain over no edit, lead over its own nulls, each with its interval."""
    found = effect_of(trial)
    metric, rows = found.attrs["metric"], []
    for variant in trial.variants:
        measures = found.loc[variant]
        row = {"variant": variant, metric: round(float(measures.loc[metric, "mean"]), 3)}
        row["gain"] = _said(*measures.loc[metric, ["gain", "gain_low", "gain_high"]])
        own = "" if variant == edits.EDIT else f"{variant}-"
        for twin in TWINS:
            null = next((name for name in (f"{own}{twin}", f"{own}{twin}-0") if name in trial.variants), None)
            row[f"lead over {twin}"] = "" if null is None else _said(*_lead(trial, metric, variant, null))
        rows.append(row | {name: _rounded(measures, name) for name in SHOWN})
    return rows


def _lead(trial: Trial, metric: str, above: str, below: str) -> tuple[float, ...]:
    return tuple(interval(trial.difference(metric, above, below), trial.prompts, "mean", "low", "high").values())


def _said(mean: float, low: float, high: float) -> str:
    return f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"


def _rounded(measures: pd.DataFrame, name: str) -> float:
    return round(float(measures.loc[name, "mean"]), 3) if name in measures.index else float("nan")


def speed(store: str = "stores/demo") -> None:
    """Seconds of eight pictures without an edit, and with each rule at nine modules and five steps."""
    opened = ldmscene.open(store)
    grid = ldmscene.evaluate(store, "mask", modules=DECODER, steps=FIRST, progress=False)
    edit = ldmscene.Edit.of(grid, "mask", wanted=WANTED, modules=DECODER, steps=FIRST)
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
    seconds = harness.measure(ways, rounds=5) | harness.measure({"adam": way("adam")}, rounds=3)
    rows = harness.compare(seconds, "without", pictures=len(frame))
    for row in rows:
        row["times the seconds without"] = round(1 / row.pop("speed ÷ without"), 3)
    harness.save("interventions-speed", rows)
    Console(width=120).print(harness.table(rows, f"aim: conditional at most {MOST} times"))


if __name__ == "__main__":
    {"study": study, "speed": speed}[sys.argv[1]](*sys.argv[2:])
