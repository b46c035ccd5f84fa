"""What an intervention has to generate: an edited store, and one for each control."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from ldmscene.capture import Plan
from ldmscene.errors import NonfiniteError
from ldmscene.extraction import fill as extraction
from ldmscene.extraction.estimate import Timing, time_first
from ldmscene.extraction.missing import Missing, existing, find_missing
from ldmscene.extraction.nonfinite import Nonfinite, refuse
from ldmscene.extraction.part import Part
from ldmscene.intervention.controls import note_controls
from ldmscene.intervention.filling import Editing
from ldmscene.intervention.options import Intervention
from ldmscene.manifest import Manifest
from ldmscene.progress import say
from ldmscene.store import ActivationStore
from ldmscene.store.layout import PREVIEWS
from ldmscene.store.metadata import read_store
from ldmscene.store.places import Place
from ldmscene.store.prepare import check_fingerprint


@dataclass(frozen=True)
class Job:
    """One store that is to be filled; `name` is the control's, "" the edit's own."""

    name: str
    root: Place
    plan: Plan
    editing: Editing
    there: ActivationStore | None = None
    """what lies there, which the job goes on with"""

    @classmethod
    def of(cls, name: str, root: Place, plan: Plan, editing: Editing) -> Job:
        there = existing(root)
        return cls(name, root, plan, editing.going_on(there) if there else editing, there)

    def check(self) -> None:
        """FingerprintError if another edit made what lies there, InputError if it was for other wanted maps."""
        check_fingerprint(self.root, self.plan.config() | self.editing.config)
        if self.there:
            self.editing.check_wanted(self.there)

    def fill(self, asked: Intervention, manifest: Manifest) -> list[Nonfinite]:
        """Generate what is missing; what can't be stored, which may be all, is returned."""
        found: list[Nonfinite] = []
        with suppress(NonfiniteError):  # of a new store no sample is sound
            extraction.fill(
                self.plan, manifest, self.root, previews=asked.previews, compression="none", editing=self.editing,
                batch_size=asked.batch_size, progress=asked.progress, part=Part.parse(asked.part), nonfinite=found,
            )  # fmt: skip
        where = f", under the control {self.name}" if self.name else ""
        return [replace(one, text=one.text + where) for one in found]

    def missing(self, asked: Intervention, manifest: Manifest) -> Missing:
        specs = extraction.array_specs(self.plan, asked.previews) + self.editing.specs
        some = Part.parse(asked.part)
        return find_missing(existing(self.root), manifest, specs, asked.previews, asked.batch_size, some)


def fill(jobs: Sequence[Job], asked: Intervention, manifest: Manifest) -> None:
    """Fill the edited store, which comes first, and then those of its controls.

    Raises
    ------
    NonfiniteError
        If values of some samples are infinite or NaN, once all else is stored.
    """
    unsound: list[Nonfinite] = []
    for job in jobs:
        if asked.progress:
            say(f"{job.name or 'edit'}: {job.editing.edit}")
        unsound += job.fill(asked, manifest)
        if job is jobs[0] and read_store(job.root) is None:
            break  # there is nothing to be controlled
    else:
        note_controls(jobs[0].root, [job.name for job in jobs if job.name and read_store(job.root)])
    refuse(
        unsound,
        jobs[0].plan.compute_dtype,
        anew="another folder",
        instead="leave these out of intervene's samples=",
        computed="The edit may be too strong: lower its strength",
    )


def estimate(jobs: Sequence[Job], asked: Intervention, manifest: Manifest) -> dict[str, float]:
    """What it takes to generate what is missing; a batch of each rule is timed."""
    timings: dict[str, Timing] = {}
    found: dict[str, float] = dict.fromkeys(("samples", "runs", "denoiser_calls", "bytes", "files", "seconds"), 0)
    for job in jobs:
        missing, rule = job.missing(asked, manifest), job.editing.edit.rule_name
        if not missing.samples:
            continue
        if rule not in timings:
            timings[rule] = time_first(job.plan, missing, job.root, editing=job.editing)
            found["seconds"] += timings[rule].once
        pictures = sum(missing.lacking(path) for path in PREVIEWS.values())
        found["samples"] = max(found["samples"], missing.samples)
        found["runs"] += missing.samples
        found["denoiser_calls"] += missing.samples * len(job.plan.timesteps)
        found["bytes"] += missing.bytes
        found["files"] += missing.files
        found["seconds"] += timings[rule].each * missing.samples + timings[rule].preview * pictures
    return found | {f"seconds_per_sample_of_{rule}": timing.each for rule, timing in timings.items()}
