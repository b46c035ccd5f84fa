"""What a machine with a GPU makes of capture, statistics and `evaluate`, in one run of some minutes.

    python -m benchmarks.gpu [--device cuda] [--pictures 20] [--steps 15] [--folder DISK]
    python -m benchmarks.gpu --tiny        on the CPU, with the embedded model: whether it runs, not how fast

Stable Diffusion v1.4's classes and sizes with random weights in float16, 16 self-attention modules: the pipeline alone,
captured to the host's memory, to disk, and as statistics; `evaluate` on the device and on the CPU, and reading alone;
one picture against a hook of its own; tiny-scenes from prompts to a grid. A table is printed, and JSON lies in
`.benchmarks/gpu.json`.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from unittest.mock import patch

import click
import numpy as np
import torch
from dask.system import CPU_COUNT
from rich.console import Console

import ldmscene
from benchmarks.capture import GUIDANCE, build_v1_4, make_manifest
from benchmarks.harness import measure, save, table
from ldmscene import capture, testbed
from ldmscene.calls import statistics
from ldmscene.capture import Plan
from ldmscene.device import best_device
from ldmscene.errors import ControlWarning
from ldmscene.evaluation.features import outputs_of
from ldmscene.evaluation.samples import cut
from ldmscene.extraction import fill as extraction
from ldmscene.extraction.missing import Batch
from ldmscene.manifest import Manifest
from ldmscene.store import ActivationStore

HOW = {"previews": False, "compression": "none", "progress": False}
CV = 2


def main_plan(pipeline: object, steps: int) -> Plan:
    return capture.make_plan(
        pipeline, modules="self-attention", steps=steps, guidance_scale=GUIDANCE, negative_prompt="", height=None,
        width=None, branch="cond", dtype="float16",
    )  # fmt: skip


def brightness(images: np.ndarray) -> np.ndarray:
    """A labeler that costs nothing: random weights draw nothing that others could label."""
    return images.mean(-1).astype(np.float32) / 255


def capturing(plan: Plan, manifest: Manifest, size: int, folder: Path) -> tuple[list[dict], ActivationStore]:
    """The pipeline alone, and what three ways to capture it add."""
    rows = [tuple(range(i, min(i + size, len(manifest)))) for i in range(0, len(manifest), size)]
    specs = extraction.array_specs(plan, False)
    everything = frozenset(spec.path for spec in specs)

    def alone() -> None:
        for some in rows:
            frame = manifest.frame.iloc[list(some)]
            with torch.no_grad():
                latents = plan.pipeline(**plan.arguments(frame["prompt"].tolist(), frame["seed"].tolist()))[0]
            capture.decode(plan.pipeline, latents)

    def to_host(batches: Sequence[tuple[int, ...]] = rows) -> None:
        for some in batches:
            for row in extraction.generate(plan, manifest, Batch(some, (everything,) * len(some))):
                del row

    def to_disk() -> None:
        extraction.fill(plan, manifest, folder / "disk", batch_size=size, ask=lambda: None, **HOW)

    def to_statistics(some: Manifest = manifest, name: str = "sums") -> None:
        with patch.object(statistics, "check_unchanged"):  # as for the disk: it is once a store, of any size
            statistics.extract_statistics(
                plan, some, folder / name, {"brightness": brightness}, CV, device=None, batch_size=size, **HOW
            )

    plan.config()  # hashes of weights, which all ways share
    for name in ("disk", "sums"):
        extraction.prepare(plan, manifest, folder / name, False, "none")
    to_host(rows[:1])  # warms up, and so do sums of a few
    ids = manifest.frame["sample_id"].tolist()
    to_statistics(manifest.only([*ids[:1], *ids[2:6]]), "few")
    ways = {"pipeline alone": alone, "to host memory": to_host, "to disk": to_disk, "as statistics": to_statistics}
    seconds = {name: times[0] for name, times in measure(ways, rounds=1, warm=False).items()}
    stored = sum(spec.layout.shard_bytes for spec in specs) * len(manifest)
    found = [
        {
            "what": f"{len(manifest)} pictures × {len(plan.timesteps)} steps, {name}",
            "seconds": round(took, 2),
            "figure": f"{took / seconds['pipeline alone'] - 1:+.1%}",
            "note": "" if name == "pipeline alone" else f"{stored / took / 1e9:.2f} GB/s",
        }
        for name, took in seconds.items()
    ]
    return found, ldmscene.open(folder / "disk")


def evaluating(store: ActivationStore, device: str) -> list[dict]:
    """`evaluate` of a third of the steps, on the CPU and on a device, beside reading the same activations alone."""
    ldmscene.label(store, "brightness", brightness)
    steps, grids = store.steps[::3], {}
    read_all(store, steps)  # into the page cache, where there is room
    start = time.perf_counter()
    size = read_all(store, steps)
    seconds = {"reading": time.perf_counter() - start}
    for where in (None, device):
        ldmscene.tidy(store)
        start = time.perf_counter()
        grids[where] = ldmscene.evaluate(store, steps=steps, cv=CV, beyond=None, device=where, progress=False)
        seconds[where] = time.perf_counter() - start
    rates = {way: f"{size / took / 1e9:.2f} GB/s" for way, took in seconds.items()}
    apart = float(np.abs(grids[None]["probe"] - grids[device]["probe"]).max())
    return [
        {"what": "reading alone", "seconds": round(seconds["reading"], 2), "figure": rates["reading"], "note": ""},
        {"what": "evaluate on the CPU", "seconds": round(seconds[None], 2), "figure": rates[None], "note": ""},
        {
            "what": f"evaluate on {device}",
            "seconds": round(seconds[device], 2),
            "figure": f"{rates[device]}, × {seconds[None] / seconds[device]:.2f}",
            "note": f"scores apart by {apart:.1e} at most",
        },
    ]


def read_all(store: ActivationStore, steps: Sequence[int]) -> int:
    """Bytes of all activations at some steps, read in blocks as `evaluate` reads them, on as many threads."""
    blocks = cut(store.manifest.frame["sample_id"])
    work = itertools.product(outputs_of(store, store.modules, steps), blocks)
    with ThreadPoolExecutor(CPU_COUNT) as pool:
        return sum(pool.map(lambda one: one[0].read(store, one[1]).nbytes, work))


def equal_to_a_hook(plan: Plan, manifest: Manifest, store: ActivationStore) -> dict:
    """The first picture once more, heard by a hook that knows nothing of ldmscene; the second half is conditional."""
    module, size = plan.modules[-1].name, plan.modules[-1].shape
    heard: list[np.ndarray] = []
    handle = plan.pipeline.unet.get_submodule(module).register_forward_hook(
        lambda _module, _inputs, output: heard.append(output.chunk(2)[1].half().cpu().numpy())
    )
    first = manifest.frame.iloc[0]
    try:
        with torch.no_grad():
            plan.pipeline(**plan.arguments([first["prompt"]], [int(first["seed"])]))
    finally:
        handle.remove()
    stored = store.activations(module, prompt=first["prompt"], seed=int(first["seed"])).values
    ours, theirs = np.asarray(stored, float).ravel(), np.stack(heard).reshape(-1, *size).astype(float).ravel()
    apart = np.abs(ours - theirs).max() / np.abs(theirs).max()
    return {"what": "a picture against another hook", "seconds": "", "figure": f"{apart:.1e}", "note": "of the largest"}


def end_to_end(device: str, samples: int, steps: int, folder: Path) -> dict:
    """tiny-scenes from prompts to a grid."""
    start = time.perf_counter()
    store = ldmscene.extract(
        "tiny-scenes", make_manifest(samples), folder / "tiny", steps=steps, batch_size=8, device=device, progress=False
    )
    for target in ("depth", "mask"):
        ldmscene.label(store, target, f"tiny-{target}")
    grid = ldmscene.evaluate(store, cv=CV, device=device, progress=False)
    best = float(grid["probe"].sel(target="mask", metric="dice").mean("sample").max())
    took = time.perf_counter() - start
    note = f"{samples} pictures × {steps} steps to a grid"
    return {"what": "tiny-scenes", "seconds": round(took, 2), "figure": f"Dice {best:.3f}", "note": note}


@click.command(help=__doc__)
@click.option("--device", help="The fastest there is where not given.")
@click.option("--pictures", default=20, show_default=True)
@click.option("--steps", default=15, show_default=True)
@click.option("--batch-size", default=1, show_default=True)
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="On the disk that is to be measured.",
)
@click.option("--tiny", is_flag=True, help="The embedded model on the CPU, 6 pictures × 3 steps.")
def main(device: str | None, pictures: int, steps: int, batch_size: int, folder: Path | None, tiny: bool) -> None:
    warnings.simplefilter("ignore", ControlWarning)
    torch.manual_seed(0)
    device = "cpu" if tiny else best_device(device)
    pictures, steps, of_tiny = (6, 3, 6) if tiny else (pictures, steps, 48)
    build: Callable[[], object] = (
        partial(capture.load_pipeline, testbed.MODELS["tiny-scenes"]) if tiny else partial(build_v1_4, torch.float16)
    )
    pipeline = build().to(device)
    pipeline.set_progress_bar_config(disable=True)
    manifest = make_manifest(pictures)
    manifest = manifest.with_splits(["test" if i < 2 else "train" for i in range(pictures)])
    with tempfile.TemporaryDirectory(dir=folder) as name:
        plan = main_plan(pipeline, steps)
        rows, store = capturing(plan, manifest, batch_size, Path(name))
        rows += evaluating(store, device)
        rows.append(equal_to_a_hook(plan, manifest, store))
        rows.append(end_to_end(device, of_tiny, steps, Path(name)))
    named = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    save("gpu", [{"device": named, **row} for row in rows])
    Console(width=None if sys.stdout.isatty() else 180).print(table(rows, named))


if __name__ == "__main__":
    main()
