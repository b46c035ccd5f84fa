"""Timing several ways to the same end, side by side in one run.

Ways take turns within a round, so that a busy machine slows all of them; what counts is the ratio of medians.
Results are printed, and kept under `.benchmarks/` with the machine that they were measured on.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
from rich.table import Table
from threadpoolctl import threadpool_info

RESULTS = Path(__file__).parents[1] / ".benchmarks"
PACKAGES = (
    "ldmscene", "numpy", "scipy", "zarr", "dask", "torch", "scikit-learn", "himalaya", "h5py", "tensorstore", "zarrs",
    "safetensors", "webdataset",
)  # fmt: skip


def measure(
    ways: Mapping[str, Callable[[], object]],
    rounds: int = 7,
    before: Callable[[], object] | None = None,
    warm: bool = True,
) -> dict[str, list[float]]:
    """Seconds of each way in each round; `before` runs untimed before each.

    A first round doesn't count, unless ways take so long that nothing is left to warm up (`warm=False`).
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(0 if warm else 1, rounds + 1):
        for name, way in ways.items():
            if before is not None:
                before()
            start = time.perf_counter()
            way()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def compare(seconds: Mapping[str, Sequence[float]], reference: str, **amount: float) -> list[dict]:
    """One row for each way: its median, its rate of `amount` (such as `GB=2.5`) and its speed against `reference`."""
    base = statistics.median(seconds[reference])
    rows = []
    for name, values in seconds.items():
        middle = statistics.median(values)
        rates = {f"{unit}/s": round(count / middle, 3) for unit, count in amount.items()}
        rows.append(
            {"way": name, "seconds": round(middle, 6), **rates, f"speed ÷ {reference}": round(base / middle, 3)}
        )
    return rows


def row(work: str, against: str, seconds: dict[str, list[float]], goal: str, note: str = "") -> dict:
    """One line of the table; the ratio says how many times faster the first way is than the second."""
    ours, theirs = (statistics.median(times) for times in seconds.values())
    return {
        "work": work,
        "against": against,
        "seconds": float(f"{ours:.3g}"),
        "theirs": float(f"{theirs:.3g}"),
        "times faster": round(theirs / ours, 2),
        "goal": goal,
        "note": note,
    }


def machine() -> dict:
    """What the numbers were measured on."""
    return {
        "processor": _processor(),
        "blas": sorted({_blas(one) for one in threadpool_info() if one["user_api"] == "blas"}),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def _blas(library: dict) -> str:
    """What multiplies matrices, with which processor's kernels, on how many threads."""
    kernels = library.get("architecture", "unknown")
    return f"{library['internal_api']} {library['version']}, {kernels}, {library['num_threads']} threads"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


def save(name: str, rows: Sequence[Mapping], folder: Path = RESULTS) -> Path:
    """Keep results as JSON, beside the machine that they came from."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), "rows": list(rows)}, indent=1) + "\n")
    return path


def table(rows: Sequence[Mapping], title: str = "") -> Table:
    """Rows of equal keys as a table for the terminal."""
    columns = list(rows[0])
    shown = Table(title=title or None, title_justify="left")
    for name in columns:
        shown.add_column(name, justify="left" if isinstance(rows[0][name], str) else "right")
    for row in rows:
        shown.add_row(*(str(row[name]) for name in columns))
    return shown
