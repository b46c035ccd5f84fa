"""From a plan and a manifest to a filled store: what is missing is generated, once."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from rich.console import Console

from ldmscene import capture
from ldmscene.capture import Plan, Trajectory
from ldmscene.errors import InputError, LdmsceneError
from ldmscene.manifest import IMAGE as IMAGE_HASH
from ldmscene.manifest import Manifest
from ldmscene.progress import bar
from ldmscene.stages.given import GivenImages
from ldmscene.store import ActivationStore, ArraySpec, Row, StoreWriter
from ldmscene.store.compression import compress
from ldmscene.store.kept import TERMS
from ldmscene.store.layout import IMAGE, LATENTS, MANIFEST, PREVIEWS, activation_path
from ldmscene.store.places import Place
from ldmscene.store.prepare import prepare_store
from ldmscene.store.summary import human_bytes
from ldmscene.store.writer import WAITING


@dataclass(frozen=True)
class Batch:
    """Samples to be generated together, and what is missing of each; of some, nothing may be.

    A batch that was cut short is generated whole again: convolutions round a little differently in a batch of
    another size, and a store that was interrupted must equal one that wasn't, byte for byte.
    """

    rows: tuple[int, ...]
    missing: tuple[frozenset[str], ...]  # paths of arrays, for each row

    @property
    def wanted(self) -> frozenset[str]:
        """What is missing of at least one."""
        return frozenset().union(*self.missing)


@dataclass(frozen=True)
class Part:
    """Every `of`-th batch of a manifest, from the `index`-th on: what one of several writers does."""

    index: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Part:
        """From "1/4", counted from 1.

        Raises
        ------
        InputError
            If it is anything else.
        """
        found = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", text)
        if not found or int(found[1]) > int(found[2]):
            raise InputError(f"part must be like 1/4, for the first of four writers; got {text!r}")
        return cls(int(found[1]) - 1, int(found[2]))


WHOLE = Part(0, 1)


def array_specs(plan: Plan, previews: bool | str) -> list[ArraySpec]:
    """Every array that an extraction fills."""
    calls, (height, width) = len(plan.timesteps), (plan.height, plan.width)
    channels = capture.latent_channels(plan.pipeline)
    picture = {"long_name": "decoded by the model's own autoencoder"}
    final = {"long_name": "given"} if plan.given else picture
    specs = [
        ArraySpec(
            activation_path(m.name),
            ("step", "branch", *m.dims),
            (calls, len(plan.branches), *m.shape),
            plan.dtype,
            cut=2,
        )
        for m in plan.modules
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


def estimate(
    plan: Plan, manifest: Manifest, previews: bool | str, batch_size: int, images: GivenImages | None = None
) -> dict[str, float]:
    """What an extraction into a new store will take, in bytes, counts, and seconds after its first batch was timed."""
    always = [spec.layout.shard_bytes for spec in array_specs(plan, False)]
    extra = [spec.layout.shard_bytes for spec in array_specs(plan, previews)[len(always) :]]
    shown = sum(previews is True or split == previews for split in manifest.frame["split"])
    seconds = _seconds_per_sample(plan, manifest, batch_size, images)
    fits = len(plan.modules) * len(plan.timesteps)
    return {
        "samples": len(manifest),
        "modules": len(plan.modules),
        "height": plan.height,
        "width": plan.width,
        "denoiser_calls_per_sample": len(plan.timesteps),
        "bytes_per_sample": sum(always),
        "bytes": sum(always) * len(manifest) + sum(extra) * shown,
        "files": len(always) * len(manifest) + len(extra) * shown,
        "bytes_of_memory_for_samples": memory_bound(array_specs(plan, previews), batch_size),
        "seconds_per_sample": seconds,
        "seconds": seconds * len(manifest),
        "seconds_if_generated_again_for_each_module_and_step": seconds * len(manifest) * fits,
    }


def memory_bound(specs: Sequence[ArraySpec], batch_size: int) -> int:
    """Bytes that samples occupy at most: those being generated, those waiting, and the one being written."""
    return (batch_size + WAITING + 1) * sum(spec.layout.shard_bytes for spec in specs)


def _seconds_per_sample(plan: Plan, manifest: Manifest, batch_size: int, images: GivenImages | None) -> float:
    count = min(batch_size, len(manifest))
    everything = frozenset(spec.path for spec in array_specs(plan, False))
    start = time.perf_counter()
    for _row in generate(plan, manifest, Batch(tuple(range(count)), (everything,) * count), images):
        pass
    return (time.perf_counter() - start) / count


def fill(
    plan: Plan,
    manifest: Manifest,
    root: Place,
    *,
    previews: bool | str,
    compression: str,
    batch_size: int,
    progress: bool,
    images: GivenImages | None = None,
    part: Part = WHOLE,
) -> ActivationStore:
    """Bring a store to hold a part of a manifest's samples; a sample that is complete is left alone."""
    specs = compress(array_specs(plan, previews), compression)
    ready = {} if (root / MANIFEST).exists() else _first_rows(plan, manifest, specs, previews, batch_size, part, images)
    store = prepare(plan, manifest, root, previews, compression)
    batches = list(missing_batches(store, manifest, specs, previews, batch_size, part))
    total = sum(len(batch.rows) for batch in batches)
    if not batches:
        return store
    if progress:
        _say_bound(specs, batch_size)
    with StoreWriter(root, specs) as writer, bar("extracting", total, enabled=progress) as advance:
        for batch in batches:
            size = 0
            for row in ready.get(_content(store.manifest, batch)) or generate(plan, store.manifest, batch, images):
                writer.put(row)
                size += sum(array.nbytes for array in row.arrays.values())
            advance(len(batch.rows), size)
    store.refresh()
    return store


def _first_rows(
    plan: Plan,
    manifest: Manifest,
    specs: Sequence[ArraySpec],
    previews: bool | str,
    size: int,
    part: Part,
    images: GivenImages | None,
) -> dict[tuple, list[Row]]:
    """The first batch of a store that isn't there yet, so that what can't be run leaves none behind."""
    some = list(manifest.frame.itertuples())[part.index * size : (part.index + 1) * size]
    if not some:
        return {}
    missing = tuple(frozenset(_needed((spec.path for spec in specs), previews, row.split)) for row in some)
    batch = Batch(tuple(row.Index for row in some), missing)
    return {_content(manifest, batch): list(generate(plan, manifest, batch, images))}


def _content(manifest: Manifest, batch: Batch) -> tuple:
    """What a batch generates, whoever else may have made the store meanwhile."""
    return batch, *(manifest.keys[row] for row in batch.rows)


def prepare(plan: Plan, manifest: Manifest, root: Place, previews: bool | str, compression: str) -> ActivationStore:
    """Make a store ready to be filled: created, or extended by samples and modules."""
    _check_training(root, manifest)
    names = [m.name for m in plan.modules]
    specs = compress(array_specs(plan, previews), compression)
    return prepare_store(root, plan.config(), manifest, names, plan.timesteps, specs, plan.in_order, compression)


def _check_training(root: Place, manifest: Manifest) -> None:
    """Refuse new training samples where others were dropped for their statistics: folds would change."""
    if not (root / TERMS).exists():
        return
    store = ActivationStore(root)
    known = {
        key for key, split in zip(store.manifest.keys, store.manifest.frame["split"], strict=True) if split == "train"
    }
    asked = {key for key, split in zip(manifest.keys, manifest.frame["split"], strict=True) if split == "train"}
    if any(store.dropped(path) for path in store.paths) and not asked <= known:
        raise InputError(
            f"{root} holds statistics of {len(known)} training samples, to which no others can be added, since folds "
            "would change; use another store"
        )


def _say_bound(specs: Sequence[ArraySpec], batch_size: int) -> None:
    each = human_bytes(sum(spec.layout.shard_bytes for spec in specs))
    Console(stderr=True).print(
        f"memory for samples: at most ({batch_size} being generated + {WAITING} waiting + 1 being written) × {each} = "
        f"{human_bytes(memory_bound(specs, batch_size))}",
        highlight=False,
        soft_wrap=True,
    )


def missing_batches(
    store: ActivationStore,
    manifest: Manifest,
    specs: Sequence[ArraySpec],
    previews: bool | str,
    size: int,
    part: Part = WHOLE,
) -> Iterator[Batch]:
    """What is left to do for a part of a manifest, in its order."""
    done = {spec.path: store.finished(spec.path) for spec in specs}
    wanted = set(manifest.keys)

    def lacks(row) -> frozenset[str]:
        return frozenset(p for p in _needed(done, previews, row.split) if row.sample_id not in done[p])

    frame = store.manifest.frame.assign(key=store.manifest.keys)
    number = 0  # counts complete ones too, so that parts stay the same while the store fills
    for begin, end in pairwise([0, *store.attributes["segments"]]):
        asked = [row for row in frame[begin:end].itertuples() if row.key in wanted]
        for start in range(0, len(asked), size):
            some = asked[start : start + size]
            batch = Batch(tuple(row.Index for row in some), tuple(lacks(row) for row in some))
            if batch.wanted and number % part.of == part.index:
                yield batch
            number += 1


def _needed(paths: Iterable[str], previews: bool | str, split: str) -> Iterator[str]:
    """Of the arrays, those that a sample of this split shall have."""
    return (path for path in paths if path not in PREVIEWS.values() or previews in (True, split))


def generate(plan: Plan, manifest: Manifest, batch: Batch, images: GivenImages | None = None) -> Iterator[Row]:
    """Run the pipeline for one batch, along its images where they are given, and keep what is missing of it."""
    modules = tuple(m for m in plan.modules if activation_path(m.name) in batch.wanted)
    frame = manifest.frame.iloc[list(batch.rows)]
    given = images.load(frame[IMAGE_HASH].tolist()) if images else None
    trajectories = capture.run(replace(plan, modules=modules), frame["prompt"].tolist(), frame["seed"].tolist(), given)
    for index, sample_id, trajectory, missing in zip(
        batch.rows, frame["sample_id"], trajectories, batch.missing, strict=True
    ):
        refuse_overflow(plan, sample_id, trajectory)
        arrays = {path: array for path, array in _arrays(plan, trajectory, missing) if path in missing}
        if arrays:
            yield Row(sample_id, index, arrays)


def _arrays(plan: Plan, trajectory: Trajectory, missing: frozenset[str]) -> Iterator[tuple[str, np.ndarray]]:
    yield from ((activation_path(name), array) for name, array in trajectory.activations.items())
    yield IMAGE, trajectory.image
    yield LATENTS, trajectory.latents
    for source, latents in (("noisy", trajectory.latents), ("predicted", trajectory.predicted)):
        if PREVIEWS[source] in missing:
            yield PREVIEWS[source], capture.decode(plan.pipeline, latents)


def refuse_overflow(plan: Plan, sample_id: str, trajectory: Trajectory) -> None:
    """Stop before a value that doesn't fit the store's dtype is written.

    Raises
    ------
    LdmsceneError
        With the module, the step and how many values.
    """
    for name, array in trajectory.activations.items():
        bad = ~np.isfinite(array)
        if bad.any():
            step = int(bad.reshape(len(bad), -1).any(1).argmax())
            raise LdmsceneError(
                f"sample {sample_id}, {name}, step {step}: {int(bad.sum())} values are infinite or NaN in "
                f"{plan.dtype}; nothing of this sample was stored. Use dtype='float32', or check the model"
            )
