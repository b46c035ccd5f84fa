"""How a store's ledger and manifest grow: synthetic ones, in the real format, of 18 arrays a sample.

Opening and looking for what is missing are timed in a process of their own, whose memory is measured.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from ldmscene.extraction.missing import find_missing
from ldmscene.manifest import Manifest
from ldmscene.store import ActivationStore, ArraySpec
from ldmscene.store.layout import LATENTS, activation_path
from ldmscene.store.ledger import FULL, SCHEMA, Entry, Ledger
from ldmscene.store.prepare import prepare_store

HERE = Path(__file__).parents[1]
NAMES = [f"block.{i}" for i in range(17)]
_DIMS = ("step", "branch", "y", "x", "channel")
SPECS = [
    *(ArraySpec(activation_path(name), _DIMS, (1,) * 5, "float16", cut=2) for name in NAMES),
    ArraySpec(LATENTS, ("step",), (1,), "float32"),
]


def measure_growth(root: Path, samples: int) -> dict[str, float]:
    """A store of as many finished samples: seconds to open it, to list what is there and what is missing, to append."""
    manifest = _manifest(samples)
    prepare(root, manifest)
    for table in _rows(manifest):
        Ledger(root).write(table)
    code = f"from benchmarks import ledger; print(*ledger.look({str(root.absolute())!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=HERE, capture_output=True, text=True, check=True)
    opened, listed, missing, before, after = map(float, done.stdout.split())
    begin = time.perf_counter()
    ids = manifest.table["sample_id"].slice(0, 8).to_pylist()
    Ledger(root).append(Entry(sample_id, spec.path, 1, 2, 0) for sample_id in ids for spec in SPECS)
    return {
        "samples": samples,
        "ledger rows": samples * len(SPECS),
        "open": round(opened, 3),
        "list": round(listed, 3),
        "missing of one": round(missing, 3),
        "append 8": round(time.perf_counter() - begin, 4),
        "MB before": round(before),
        "MB": round(after),
        "files": len(list((root / "ledger").iterdir())),
    }


def measure_extensions(root: Path, extensions: int, each: int = 100) -> list[dict[str, float]]:
    """A store that is extended again and again: the first, middle and last ten, each by so many samples."""
    manifest, spans, begin = _manifest(extensions * each), [], time.perf_counter()
    for n in range(1, extensions + 1):
        prepare(root, Manifest(manifest.table.slice((n - 1) * each, each)))
        spans.append(time.perf_counter() - begin)
        begin = time.perf_counter()
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    tens = {"first ten": spans[:10], "ten in the middle": spans[len(spans) // 2 :][:10], "last ten": spans[-10:]}
    rows = [{"extensions": name, "seconds each": round(float(np.median(some)), 4)} for name, some in tens.items()]
    return [*rows, {"extensions": f"bytes on disk a sample, after {extensions}", "seconds each": size // len(manifest)}]


def prepare(root: Path, manifest: Manifest) -> ActivationStore:
    return prepare_store(root, {"branches": ["cond"]}, manifest, NAMES, [0.0], SPECS, lambda names: sorted({*names}))


def look(root: str) -> tuple[float, float, float, float, float]:
    """Seconds to open, to list and to find what one sample lacks; megabytes at most, before and after."""
    times, before = [time.perf_counter()], _most()
    store = ActivationStore(root)
    times.append(time.perf_counter())
    assert store.samples["complete"].all()
    times.append(time.perf_counter())
    one = Manifest(store.manifest.table.slice(len(store.manifest) // 2, 1))
    assert find_missing(store, one, SPECS, False, 8).samples == 0
    times.append(time.perf_counter())
    opened, listed, missing = np.diff(times).tolist()
    return opened, listed, missing, before, _most()


def _most() -> float:
    """Megabytes that this program has held at most; Linux's `ru_maxrss` has those of whoever started it, too."""
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    (line,) = [one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmHWM")]
    return int(line.split()[1]) / 1e3


def _manifest(samples: int) -> Manifest:
    """Ten seeds of each prompt."""
    number = np.arange(samples)
    prompts = pa.array([f"a large red sphere left of a small blue cube, number {n}" for n in range(-(-samples // 10))])
    ids = [f"{n // 10:012x}-{n % 10}" for n in range(samples)]
    columns = {"sample_id": ids, "prompt_id": number // 10, "prompt": prompts.take(pa.array(number // 10))}
    return Manifest(pa.table(columns | {"seed": number % 10, "split": ["train"] * samples}))


def _rows(manifest: Manifest) -> Iterator[pa.Table]:
    """As writers leave them, sample by sample, in full files."""
    draw, ids = np.random.default_rng(0), manifest.table["sample_id"].combine_chunks()
    paths = pa.array([str(spec.path) for spec in SPECS])
    for begin in range(0, len(ids) * len(SPECS), FULL):
        row = np.arange(begin, min(begin + FULL, len(ids) * len(SPECS)))
        columns = {
            "sample_id": ids.take(pa.array(row // len(SPECS))),
            "what": paths.take(pa.array(row % len(SPECS))),
            "crc32": pa.array(draw.integers(0, 2**32, len(row)), pa.uint32()),
            "bytes": pa.array(np.full(len(row), 100)),
            "nonfinite": pa.array(np.zeros(len(row), np.int64)),
            "written": pa.array(1.7e9 + row // len(SPECS) * 0.5),
        }
        yield pa.table(columns, schema=SCHEMA)
