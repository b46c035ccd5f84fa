"""`evaluate` against the bounds of its machine, against itself with more samples, and on more workers.

    python -m benchmarks.evaluate [--quick]

Stores are synthetic, of the sizes of Stable Diffusion's modules; every row is a ratio from one run.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import click
import numpy as np
from dask.distributed import Client, LocalCluster
from rich.console import Console
from threadpoolctl import threadpool_limits

import ldmscene
from benchmarks.harness import measure, row, save, table
from benchmarks.synthetic import MODULE, make_store
from ldmscene.evaluation import nesting
from ldmscene.evaluation.assembly import set_up
from ldmscene.evaluation.features import ModuleOutput
from ldmscene.evaluation.fitting import fit_jobs
from ldmscene.evaluation.ridge import RIDGE
from ldmscene.evaluation.running import compute
from ldmscene.evaluation.scope import Scope
from ldmscene.evaluation.task import load_task
from ldmscene.store.cache import Cache

ALPHAS = np.logspace(-2, 6, 33)
STEPS = 2


def bounds(folder: Path, samples: int, grid: int, channels: int, side: int) -> list[dict]:
    """Fitting and scoring a module at some steps against reading its activations, and against their syrk.

    All cores multiply at once, each its own features, as they may share power or a pipeline: numpy hands a product with
    its own transpose to syrk, and lets other threads run. Labels are reduced before: that is done once, for all modules
    and steps.
    """
    store = make_store(folder / "store", samples, channels=channels, grid=grid, side=side, steps=STEPS)
    scope = Scope.of(store, "depth", None, None)
    bench = set_up(store, RIDGE, load_task(store, scope, 5, ALPHAS), scope)
    outputs = [ModuleOutput.of(store, MODULE, step) for step in store.steps]
    ids = [sample_id for block in bench.task.train for sample_id in block.ids]
    cores = len(os.sched_getaffinity(0))
    features = outputs[0].read(store, ids[:32]).reshape(-1, channels)
    ready = [features.astype(np.float64).T for _ in range(cores)]

    def fit() -> None:
        for kind in ("moments", "coordinates"):
            shutil.rmtree(store.root / "statistics" / kind, ignore_errors=True)
        again()

    def again(alphas: np.ndarray = ALPHAS) -> None:
        task = replace(bench.task, alphas=tuple(alphas))
        compute(fit_jobs(replace(bench, task=task, own=Cache.beside(store.root)), outputs))  # looks anew what there is

    def read() -> None:
        for output in outputs:
            for sample_id in store.manifest.frame["sample_id"]:
                output.read(store, [sample_id])

    with threadpool_limits(1, "blas"), ThreadPoolExecutor(cores) as pool:
        ways = {"ours": fit, "read": read, "syrk": lambda: list(pool.map(lambda one: one @ one.T, ready))}
        seconds = {name: statistics.median(times) for name, times in measure(ways, rounds=3).items()}
        kept = measure({"kept": lambda: again(np.logspace(-1, 5, 20))}, rounds=3)["kept"]
    syrk = seconds["syrk"] * len(outputs) * len(ids) * grid**2 / (cores * len(features))
    limit = max(seconds["read"] / cores, syrk)
    work = f"{len(outputs)} steps of a module, {samples} samples"
    note = f"reading {seconds['read']:.2f} s, syrk {syrk:.2f} s on {cores} cores at once; from the page cache"
    first, bound = [seconds["ours"]], [limit]
    return [
        row(work, "the larger of reading and syrk", {"a": first, "b": bound}, "0.8", note),
        row(
            "the same with other α between .01 and 1e8",
            "the first time",
            {"kept": kept, "first": first},
            "–",
            "no activation is read",
        ),
    ]


def samples_times_ten(folder: Path, samples: int, grid: int, channels: int, side: int) -> dict:
    """Ten times the samples, each run in a process of its own; enough of them that blocks are full in both."""
    seconds, memory = {}, {}
    for many in (samples, 10 * samples):
        root = make_store(folder / str(many), many, channels=channels, grid=grid, side=side).root
        done = subprocess.run([sys.executable, "-c", _PROCESS, str(root)], capture_output=True, text=True, check=True)
        seconds[many], memory[many] = map(float, done.stdout.split())
    note = f"memory {memory[samples]:.0f} MiB, then {memory[10 * samples]:.0f} MiB beyond the imports"
    times = {"few": [seconds[samples]], "many": [seconds[10 * samples]]}
    return row(f"evaluate, {samples} samples", "10 times the samples", times, "at most 11", note)


_PROCESS = """
import sys, time
import numpy as np, ldmscene, ldmscene.calls.evaluate, dask.array
from ldmscene.device import peak_memory
before, start = peak_memory(), time.perf_counter()
ldmscene.evaluate(sys.argv[1], alphas=np.logspace(-2, 6, 33))
print(time.perf_counter() - start, (peak_memory() - before) / 2**20)
"""


def workers(folder: Path, samples: int, grid: int, channels: int, side: int) -> dict:
    """One worker of a local cluster against two."""
    store = make_store(folder / "cluster", samples, channels=channels, grid=grid, side=side, steps=2)
    seconds = {}
    for count in (2, 1):
        with (
            LocalCluster(n_workers=count, threads_per_worker=1, dashboard_address=":0") as cluster,
            Client(cluster) as client,
        ):
            client.run(lambda: __import__("ldmscene.calls.evaluate"))
            for kept in ("statistics", "probes"):
                shutil.rmtree(store.root / kept, ignore_errors=True)
            start = time.perf_counter()
            ldmscene.evaluate(store, targets="depth", alphas=ALPHAS, client=client)
            seconds[str(count)] = [time.perf_counter() - start]
    return row("evaluate on 2 dask workers", "on 1", seconds, "1.9")


def beyond_position(folder: Path, samples: int, grid: int, channels: int, side: int, rounds: int) -> dict:
    """All that is said beyond the position, against plain scores from statistics without functions of it."""
    root = make_store(
        folder / f"position-{channels}", samples, channels=channels, grid=grid, side=side, steps=STEPS
    ).root
    held = {}

    def whole() -> None:
        ldmscene.evaluate(root, alphas=ALPHAS, progress=False)
        held["with"] = _megabytes(root / "statistics"), _megabytes(root / "statistics" / "moments")

    def plain() -> None:
        with patch.object(nesting, "SIDE", 1):
            ldmscene.evaluate(root, beyond=None, alphas=ALPHAS, progress=False)
        held["without"] = _megabytes(root / "statistics"), _megabytes(root / "statistics" / "moments")

    def forget() -> None:
        nesting.basis_of.cache_clear()
        for name in ("statistics", "probes"):
            shutil.rmtree(root / name, ignore_errors=True)

    seconds = measure({"whole": whole, "plain": plain}, rounds, before=forget, warm=rounds > 1)
    forget()
    note = ", ".join(f"{all_:.2f} MB {name}, {sums:.2f} of sums" for name, (all_, sums) in held.items())
    return row(f"evaluate beyond the position, {grid} × {grid} × {channels}", "plain scores", seconds, "0.9", note)


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


@click.command(help=__doc__)
@click.option("--quick", is_flag=True, help="Small sizes: whether it runs, not how fast.")
def main(quick: bool) -> None:
    samples, grid, channels, side = (30, 8, 16, 64) if quick else (369, 64, 320, 512)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = bounds(folder, samples, grid, channels, side)
        rows.append(samples_times_ten(folder, *((30, 8, 16, 64) if quick else (400, 16, 320, 128))))
        rows.append(workers(folder, samples, grid, channels, side))
        rows.append(beyond_position(folder, samples, grid, channels, side, 1 if quick else 3))
        if not quick:
            rows.append(beyond_position(folder, 150, 16, 48, 64, 3))
    if not quick:
        save("evaluate", rows)
    Console(width=None if sys.stdout.isatty() else 180).print(table(rows))


if __name__ == "__main__":
    main()
