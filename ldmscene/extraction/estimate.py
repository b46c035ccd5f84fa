"""What an extraction will take, before it starts: what the store lacks, and the time of its first batch."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ldmscene import capture
from ldmscene.capture import Plan
from ldmscene.device import peak_memory
from ldmscene.extraction.fill import Editing, array_specs, generate, memory_bound
from ldmscene.extraction.missing import Batch, Missing, existing, find_missing
from ldmscene.extraction.part import WHOLE, Part
from ldmscene.extraction.supplied import Pictures
from ldmscene.manifest import Manifest
from ldmscene.probes import SIDE, terms
from ldmscene.store import ArraySpec, Row
from ldmscene.store.compression import compress, settings
from ldmscene.store.files import write_file
from ldmscene.store.layout import LATENTS, PREVIEWS, activation_path
from ldmscene.store.places import Place
from ldmscene.store.prepare import check_fingerprint

SHORT = 60.0  # seconds; a first batch that took no longer is timed a second time, when all is warm


def estimate(
    plan: Plan,
    manifest: Manifest,
    root: Place,
    *,
    previews: bool | str,
    compression: str,
    batch_size: int,
    images: Pictures | None = None,
    part: Part = WHOLE,
    statistics: Collection[str] = (),
    folds: int = 0,
    held_out: bool = True,
    held: int = 0,
) -> dict[str, float]:
    """What it takes to fill what a store lacks: bytes, counts, and seconds after its first batch was timed.

    Memory is the host's: the most that this process has held so far, the model and that batch included. Of it, that for
    samples is bounded.

    Parameters
    ----------
    statistics
        Targets of which statistics are stored instead of training samples' activations.
    folds
        Of those statistics.
    held_out
        Whether held-out samples are stored then; nothing is stored of a control.
    held
        Bytes of samples that wait in memory then until they are summed.

    Raises
    ------
    FingerprintError
        If the store was made with another configuration.
    """
    specs = compress(array_specs(plan, previews), compression)
    check_fingerprint(root, plan.config() | settings(compression), capture.configs(plan.pipeline))
    missing = find_missing(existing(root), manifest, specs, previews, batch_size, part)
    once, each, preview = time_first(plan, missing, root, images)
    seconds = once + each * missing.samples + preview * sum(missing.lacking(path) for path in PREVIEWS.values())
    found = {
        "samples": missing.samples,
        "modules": len(plan.every),
        "height": plan.height,
        "width": plan.width,
        "denoiser_calls_per_sample": len(plan.timesteps),
        "bytes_per_sample": sum(spec.layout.shard_bytes for spec in specs if spec.path not in PREVIEWS.values()),
        **({"bytes_of_statistics_of_a_target": bytes_of_statistics(plan, 1, folds)} if folds else {}),
        "bytes": missing.bytes,
        "files": missing.files,
        **({"bytes_of_memory": peak_memory()} if missing.samples else {}),
        "bytes_of_memory_for_samples": memory_bound(plan, specs, batch_size, held),
        "seconds_per_sample": each,
        "seconds": seconds,
        "seconds_if_generated_again_for_each_module_and_step": seconds * len(plan.every) * len(plan.timesteps),
    }
    return found | (_kept(plan, missing, len(statistics), folds, held_out) if statistics else {})


def _kept(plan: Plan, missing: Missing, targets: int, folds: int, held_out: bool) -> dict[str, float]:
    """What differs where samples are dropped; statistics at most, since targets may share them."""
    paths = {activation_path(m.name) for m in plan.every}
    train = missing.manifest.frame["split"].eq("train").to_numpy()
    gone = np.outer(train, [spec.path in paths for spec in missing.specs]) if held_out else np.True_
    stored = replace(missing, lacks=missing.lacks & ~gone)
    statistics = bytes_of_statistics(plan, targets, folds) if train.any() else 0
    return {"bytes": stored.bytes + statistics, "files": stored.files, "bytes_of_statistics": statistics}


def bytes_of_statistics(plan: Plan, targets: int, folds: int) -> int:
    """Of all modules and steps: features and functions of the position, against labels and those that are lent."""
    calls = len(plan.timesteps)
    maps = [(1 if m.step is not None else calls, *m.shape) for m in plan.every if "y" in m.dims]
    lengths = [(n, c + terms((y, x), min(SIDE, max(y, x)))) for n, y, x, c in maps]
    return sum(8 * n * (c * (c + 1) // 2 + c * 3 + 5) for n, c in lengths) * folds * targets


class Timing(NamedTuple):
    """Seconds once for warming up, for each sample, and for each array of previews."""

    once: float
    each: float
    preview: float


def time_first(
    plan: Plan,
    missing: Missing,
    root: Place,
    images: Pictures | None = None,
    editing: Editing | None = None,
) -> Timing:
    """Generate the first batch that is missing, and write one sample of it beside the store; both are dropped."""
    batch = next(missing.batches(), None)
    if batch is None:
        return Timing(0.0, 0.0, 0.0)
    plain = Batch(batch.rows, (batch.wanted - {*PREVIEWS.values()} | {LATENTS},) * len(batch.rows))

    def timed() -> tuple[float, list[Row]]:
        start = time.perf_counter()
        rows = list(generate(plan, missing.manifest, plain, images, editing=editing))
        return time.perf_counter() - start, rows

    cold, rows = timed()
    seconds = cold
    if cold < SHORT:
        del rows  # a run doesn't hold two batches either
        seconds, rows = timed()
    written = _writing(rows[0], missing.specs, root)  # beside generation, so that the slower of the two counts
    start = time.perf_counter()
    if any(missing.lacking(path) for path in PREVIEWS.values()):
        capture.decode(plan.pipeline, rows[0].arrays[LATENTS])
    return Timing(max(cold - seconds, 0.0), max(seconds / len(rows), written), time.perf_counter() - start)


def _writing(row: Row, specs: Sequence[ArraySpec], root: Place) -> float:
    """Seconds to write one sample, to the store's own disk where it lies on one, and not for long."""
    above = root.absolute().parents if isinstance(root, Path) else ()
    disk = next((folder for folder in above if folder.is_dir()), None)
    with tempfile.TemporaryDirectory(dir=disk, prefix=".ldmscene-") as folder:
        start = time.perf_counter()
        for number, spec in enumerate(spec for spec in specs if spec.path in row.arrays):
            write_file(Path(folder) / str(number), spec.layout.encode(row.arrays[spec.path]))
        return time.perf_counter() - start
