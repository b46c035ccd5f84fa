"""From a plan and a manifest to a filled store: what is missing is generated, once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any, Protocol

import numpy as np

from ldmscene import capture
from ldmscene.capture import Plan, Trajectory
from ldmscene.extraction.missing import Batch, Missing, find_missing
from ldmscene.extraction.nonfinite import Nonfinite, refuse, sound
from ldmscene.extraction.part import WHOLE, Part
from ldmscene.extraction.supplied import Pictures
from ldmscene.extraction.training import check_training
from ldmscene.extraction.unchanged import check_unchanged, steady_answer
from ldmscene.manifest import Manifest
from ldmscene.progress import bar, say
from ldmscene.store import ActivationStore, ArraySpec, Row, StoreWriter
from ldmscene.store.compression import as_stored, compress, settings
from ldmscene.store.layout import IMAGE, LATENTS, PREVIEWS, activation_path
from ldmscene.store.metadata import read_store
from ldmscene.store.places import Place
from ldmscene.store.prepare import check_fingerprint, note_making, prepare_store
from ldmscene.store.space import check_space
from ldmscene.store.writer import WAITING
from ldmscene.text import counted, human_bytes


def array_specs(plan: Plan, previews: bool | str) -> list[ArraySpec]:
    """Every array that an extraction fills."""
    calls, (height, width) = len(plan.timesteps), (plan.height, plan.width)
    channels = capture.latent_channels(plan.pipeline)
    picture = {"long_name": "decoded by the model's own autoencoder"}
    final = {"long_name": "given"} if plan.supplied else picture
    lengths = {"step": calls, "branch": len(plan.branches)}
    specs = [
        ArraySpec(
            activation_path(m.name),
            (*m.axes, *m.dims),
            (*(lengths[axis] for axis in m.axes), *m.shape),
            plan.dtype,
            cut=len(m.axes),
            attributes={} if m.step is None else {"step": m.step},
        )
        for m in plan.every
    ]
    specs.append(ArraySpec(IMAGE, ("Y", "X", "rgb"), (height, width, 3), "uint8", attributes=final))
    specs.append(
        ArraySpec(LATENTS, ("step", "c", "latent_y", "latent_x"), (calls, channels, *plan.latent), "float32", cut=1)
    )
    if previews:
        shape = (calls, height, width, 3)
        specs += [
            ArraySpec(p, ("step", "Y", "X", "rgb"), shape, "uint8", cut=1, attributes=picture)
            for p in PREVIEWS.values()
        ]
    return specs


class Editing(Protocol):
    """Changes what modules return while samples are generated, and leaves arrays of its own beside them."""

    @property
    def config(self) -> dict[str, Any]:
        """What it adds to a store's configuration, and so to its fingerprint."""

    @property
    def specs(self) -> list[ArraySpec]:
        """Its arrays."""

    def worker(self, sample_ids: Sequence[str]) -> Any:
        """The `capture.Editor` of a batch."""

    def arrays(self, worker: Any) -> list[dict[str, np.ndarray]]:
        """What a batch's editor leaves of each sample, by path."""


class Receiver(Protocol):
    """Takes arrays of samples instead of the store."""

    @property
    def paths(self) -> Collection[str]:
        """Of those arrays."""

    def put(self, sample_id: str, path: str, array: np.ndarray) -> None:
        """One array, with the digits that the store would leave it."""


def fill(
    plan: Plan,
    manifest: Manifest,
    root: Place,
    *,
    previews: bool | str,
    compression: str,
    batch_size: int,
    progress: bool,
    allow_nonfinite: bool = False,
    images: Pictures | None = None,
    part: Part = WHOLE,
    editing: Editing | None = None,
    ask: Callable[[], None] | None = None,
    receiver: Receiver | None = None,
    nonfinite: list[Nonfinite] | None = None,
) -> ActivationStore:
    """Bring a store to hold a part of a manifest's samples; a sample that is complete is left alone.

    `ask` refuses a model that answers otherwise than when the store was begun, `check_unchanged` where not given: for
    those who fill a store piece by piece with one model. `receiver` takes some of the arrays that are generated;
    they aren't stored, and stay missing. `nonfinite` takes what is infinite or NaN, for those who refuse that later.

    Raises
    ------
    NonfiniteError
        If values of some samples are infinite or NaN, once all others are stored; unless that is allowed, or
        `nonfinite` takes them. Of a new store also if no sample is sound.
    """
    refuses = nonfinite is None
    nonfinite = [] if nonfinite is None else nonfinite
    specs = _specs(plan, previews, compression, editing)
    ready: dict[tuple[Any, ...], list[Row]] = {}
    new = read_store(root) is None
    answer: dict[str, Any] | None = None
    made_with: dict[str, str] | None = None
    if new:
        if compression == "none":  # what compression saves isn't known before
            everything = sum(spec.layout.shard_bytes for spec in array_specs(plan, False)) * len(manifest)
            check_space(root, everything // part.of)
        missing = find_missing(None, manifest, specs, previews, batch_size, part)
        if progress:
            _say(plan, specs, missing, root, check_space(root, 0), batch_size, compression)
        answer = steady_answer(plan) if missing.samples else None
        ready = _first_rows(plan, missing, images, editing, nonfinite, allow_nonfinite)
    else:  # before the store is extended
        check_training(root, manifest)
        check_fingerprint(root, _config(plan, editing) | settings(compression), capture.configs(plan.pipeline))
        there = ActivationStore(root)
        missing = find_missing(there, manifest, specs, previews, batch_size, part)
        if missing.samples:
            (ask or partial(check_unchanged, there, plan))()
    if missing.samples:
        made_with = capture.environment(plan.pipeline)
    store = _prepared(plan, manifest, root, specs, compression, editing, answer, made_with)
    missing = find_missing(store, manifest, specs, previews, batch_size, part)
    if not missing.samples:
        return store
    if new:
        check_unchanged(store, plan, answer)
    if made_with is None:  # others took away meanwhile what was finished
        note_making(root, capture.environment(plan.pipeline))
    stored = missing.without(receiver.paths) if receiver else missing
    free = check_space(root, stored.bytes if compression == "none" else 0)
    if progress and not new:
        _say(plan, specs, missing, root, free, batch_size, compression)
    with StoreWriter(root, specs) as writer, bar("extracting", missing.samples, enabled=progress) as advance:
        for batch in missing.batches():
            size = 0
            rows: Iterable[Row] | None = ready.pop(_content(missing, batch), None) if ready else None
            if rows is None:
                rows = generate(plan, missing.manifest, batch, images, writer.check, editing)
                rows = sound(rows, nonfinite, allow=allow_nonfinite, summed=receiver.paths if receiver else ())
            for row in rows:
                size += sum(array.nbytes for array in row.arrays.values())
                writer.put(_hand_over(row, specs, receiver) if receiver else row)
                del row  # it would stay in memory while the next batch is generated
            advance(len(batch.rows), size)
    store.refresh()
    if refuses:
        refuse(nonfinite, plan.compute_dtype)
    return store


def _hand_over(row: Row, specs: Sequence[ArraySpec], receiver: Receiver) -> Row:
    """What is left of a row for the store."""
    for spec in specs:
        if spec.path in receiver.paths and spec.path in row.arrays:
            receiver.put(row.sample_id, spec.path, as_stored(row.arrays[spec.path], spec))
    return replace(row, arrays={path: array for path, array in row.arrays.items() if path not in receiver.paths})


def _say(
    plan: Plan,
    specs: list[ArraySpec],
    missing: Missing,
    root: Place,
    free: int | None,
    batch_size: int,
    compression: str,
) -> None:
    """What is to be expected, before the denoiser runs."""
    say_bound(plan, specs, batch_size)
    room = "" if free is None else f"; {human_bytes(free)} free"
    most = "" if compression == "none" else "at most "
    say(
        f"{counted(missing.samples, 'sample')} to generate, {most}{human_bytes(missing.bytes)} to write to {root}{room}"
    )


def _first_rows(
    plan: Plan,
    missing: Missing,
    images: Pictures | None,
    editing: Editing | None,
    nonfinite: list[Nonfinite],
    allow_nonfinite: bool,
) -> dict[tuple[Any, ...], list[Row]]:
    """Batches of a store that isn't there yet, up to the first with a sound sample: what can't be run leaves no store.

    Raises
    ------
    NonfiniteError
        If there are batches, and no sample of them all is sound.
    """
    ready: dict[tuple[Any, ...], list[Row]] = {}
    for batch in missing.batches():
        made = generate(plan, missing.manifest, batch, images, editing=editing)
        rows = ready[_content(missing, batch)] = list(sound(made, nonfinite, allow=allow_nonfinite))
        if rows:
            return ready
    refuse(nonfinite, plan.compute_dtype)
    return ready


def _content(missing: Missing, batch: Batch) -> tuple[Any, ...]:
    """What a batch generates, whoever else may have made the store meanwhile."""
    keys = missing.manifest.keys
    return batch, *(keys[row] for row in batch.rows)


def prepare(
    plan: Plan,
    manifest: Manifest,
    root: Place,
    previews: bool | str,
    compression: str,
) -> ActivationStore:
    """Make a store ready to be filled: created, or extended by samples and modules."""
    check_training(root, manifest)
    return _prepared(plan, manifest, root, _specs(plan, previews, compression, None), compression, None)


def _specs(plan: Plan, previews: bool | str, compression: str, editing: Editing | None) -> list[ArraySpec]:
    return compress(array_specs(plan, previews), compression) + (editing.specs if editing else [])


def _prepared(
    plan: Plan,
    manifest: Manifest,
    root: Place,
    specs: list[ArraySpec],
    compression: str,
    editing: Editing | None,
    answer: Mapping[str, Any] | None = None,
    made_with: Mapping[str, str] | None = None,
) -> ActivationStore:
    """`answer` is what the model of a new store answers, `made_with` the libraries and the device that will fill it."""
    names = [m.name for m in plan.every]
    return prepare_store(
        root, _config(plan, editing), manifest, names, plan.timesteps, specs, plan.in_order, compression,
        details=capture.configs(plan.pipeline), model=capture.name_of(plan.pipeline), canary=answer,
        made_with=made_with,
    )  # fmt: skip


def _config(plan: Plan, editing: Editing | None) -> dict[str, Any]:
    return plan.config() | (editing.config if editing else {})


def memory_bound(plan: Plan, specs: Sequence[ArraySpec], batch_size: int, held: int = 0) -> int:
    """Bytes that samples occupy at most outside the model: those being generated, and those waiting or being written.

    `held` are those of samples that wait to be summed.

    Beside them one step's outputs and latents for each sample being generated, and copies of what is being encoded.
    First steps whose branches can't be told apart are held on top, which most models have none of.
    """
    sizes = {spec.path: spec.layout.shard_bytes for spec in specs}
    step = plan.step_bytes + 3 * sizes[LATENTS]  # predictions, and a list of each before it is stacked
    encoding = max(spec.layout.shard_bytes * _copies(spec) for spec in specs)
    decoding = 3 * 4 * sizes[IMAGE] * min(len(plan.timesteps), capture.at_once(plan.height, plan.width))  # as floats
    return held + (batch_size + WAITING) * sum(sizes.values()) + batch_size * step + encoding + decoding


def _copies(spec: ArraySpec) -> int:
    """How often an array lies in memory while it is encoded, beside itself."""
    return 6 if spec.kept_bits is not None else 2 if spec.compressed else 1


def say_bound(plan: Plan, specs: Sequence[ArraySpec], batch_size: int, held: int = 0) -> None:
    """Tell how much memory samples will take; `held` is as `memory_bound` has it."""
    summed = f", and {human_bytes(held)} for those that wait to be summed" if held else ""
    each = human_bytes(sum(spec.layout.shard_bytes for spec in specs))
    most = human_bytes(memory_bound(plan, specs, batch_size, held))
    say(
        f"memory for samples: at most {most}, mostly {each} for each of "
        f"{batch_size} being generated and {WAITING} waiting or being written{summed}"
    )


def generate(
    plan: Plan,
    manifest: Manifest,
    batch: Batch,
    images: Pictures | None = None,
    check: Callable[[], None] | None = None,
    editing: Editing | None = None,
) -> Iterator[Row]:
    """Run the pipeline for one batch, with its pictures where it has any, and keep what is missing of it.

    `check` is called at each step, to stop the run by raising.
    """
    wanted = plan.only({m.name for m in plan.every if activation_path(m.name) in batch.wanted})
    frame = manifest.table.take(list(batch.rows)).to_pandas(ignore_metadata=True)
    handed = images.batch(frame) if images else {}
    prompts, seeds = frame["prompt"].tolist(), frame["seed"].tolist()
    worker = editing.worker(frame["sample_id"].tolist()) if editing else None
    stop = None if check is None else lambda _shown: check()
    trajectories = capture.run(wanted, prompts, seeds, **handed, editor=worker, on_step=stop)
    left = editing.arrays(worker) if editing else [{} for _ in trajectories]
    for index, sample_id, trajectory, beside, missing in zip(
        batch.rows, frame["sample_id"], trajectories, left, batch.missing, strict=True
    ):
        lost: dict[str, int] = {IMAGE: trajectory.lost}
        found = chain(_arrays(plan, trajectory, missing, lost), beside.items())
        arrays = {path: array for path, array in found if path in missing}
        if arrays:
            yield Row(sample_id, index, arrays, {path: lost[path] for path in lost if path in arrays})


def _arrays(
    plan: Plan, trajectory: Trajectory, missing: frozenset[str], lost: dict[str, int]
) -> Iterator[tuple[str, np.ndarray]]:
    yield from ((activation_path(name), array) for name, array in trajectory.activations.items())
    yield IMAGE, trajectory.image
    yield LATENTS, trajectory.latents
    there: dict[str, list[tuple[np.ndarray, int]]] = {"noisy": [], "predicted": trajectory.previews}
    for source, latents in (("noisy", trajectory.latents), ("predicted", trajectory.predicted)):
        if (path := PREVIEWS[source]) in missing:
            drawn = there[source]
            rest = capture.decode_counting(plan.pipeline, latents[len(drawn) :])
            lost[path] = sum(count for _, count in (*drawn, rest))
            yield path, np.concatenate([pictures for pictures, _ in (*drawn, rest)])
