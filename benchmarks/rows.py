"""Batches of shuffled rows out of a store beside other formats, on activations of Stable Diffusion v1.4's shapes.

python -m benchmarks.rows            # about 5 GB of disk, a few minutes
python -m benchmarks.rows --quick    # small, untimed in spirit; a test runs it

Every way hands out batches of 4096 rows as torch tensors, from the page cache. Ours is `store.torch_dataset`, with its
checksums and provenance. The others' chunks are read in a random order into windows of the same size, whose rows numpy
shuffles: what a careful user writes. The bound is one flat file, read in order into memory that is used over and over.
"""

from __future__ import annotations

import argparse
import io
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import torch
import webdataset
from rich.console import Console
from safetensors import safe_open
from safetensors.numpy import save_file
from torch.utils.data import DataLoader

from benchmarks.harness import compare, measure, save, table
from benchmarks.store import SHAPES, made_store
from ldmscene.store import ActivationStore

BATCH, STEPS, SHARD = 4096, 5, 32  # rows, steps that are trained on, chunks of a tar file
BOUND, BUFFER = "a flat file, in order", 2**26  # bytes that are read at once
Chunks = Iterable[np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--folder", help="on the disk to be measured; a temporary folder where not said")
    options = parser.parse_args()
    rounds = 1 if options.quick else 5
    sizes = {"mid_block": 6} if options.quick else {"up_blocks.3": 64, "up_blocks.2": 128, "mid_block": 1000}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for module, samples in sizes.items():
            rows, title = benchmark_module(Path(folder) / module, module, samples, rounds)
            save(f"rows-{module}", rows)
            Console().print(table(rows, title))
    mixed = [measure_mixing(memory) for memory in ("256MB", "1GB", "2GB", "8GB")]
    save("rows-mixing", mixed)
    Console().print(table(mixed, "pairs of rows of one picture in a batch, 617 samples × 15 steps of 64 × 64 × 320"))


def benchmark_module(folder: Path, module: str, samples: int, rounds: int) -> tuple[list[dict], str]:
    """Each way's seconds for all rows once."""
    shape = SHAPES[module]
    data = np.random.default_rng(0).normal(size=(STEPS, 1, *shape)).astype(np.float16)
    store = made_store(folder / "store", module, data, samples, "none")
    gigabytes = samples * data.nbytes / 1e9
    memory = max(int(gigabytes * 1e9 / 4), 8 * BATCH * shape[-1] * 2)  # windows of an eighth, so that many are read
    chunks = data.reshape(STEPS, -1, shape[-1])
    window = max(memory // 2 // chunks[0].nbytes, 1)
    flat = folder / "flat"
    with flat.open("wb") as file:
        for _ in range(samples):
            file.write(data.tobytes())

    def peer(read: Callable[[], Chunks]) -> Callable[[], None]:
        return lambda: _use({"x": x} for x in shuffled(read(), window, chunks.shape[1]))

    ways: dict[str, Callable[[], object]] = {
        BOUND: lambda: _read_in_order(flat),
        "ldmscene": lambda: _use(_dataset(store, module, memory)),
        "ldmscene, one worker": lambda: _use(_loader(store, module, memory, 1)),
        "ldmscene, two workers": lambda: _use(_loader(store, module, memory, 2)),
        "h5py": peer(_of_hdf5(folder / "x.h5", chunks, samples)),
        "safetensors": peer(_of_safetensors(folder / "safetensors", chunks, samples)),
        "webdataset": peer(_of_webdataset(folder / "tars", chunks, samples)),
    }
    rows = compare(measure(ways, rounds), BOUND, GB=gigabytes)
    return rows, f"rows of {module} {shape}, {samples} samples × {STEPS} steps, {gigabytes:.2g} GB of float16"


def _read_in_order(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        while file.readinto(_buffer()):
            pass


@cache
def _buffer() -> bytearray:
    return bytearray(BUFFER)


def _dataset(store: ActivationStore, module: str, memory: int) -> torch.utils.data.IterableDataset:
    return store.torch_dataset(module, batch=BATCH, memory=memory, split=None)


def _loader(store: ActivationStore, module: str, memory: int, workers: int) -> DataLoader:
    return DataLoader(_dataset(store, module, memory), batch_size=None, num_workers=workers)


def _use(batches: Iterable[dict]) -> None:
    """Take each batch, and look at its first row."""
    for batch in batches:
        batch["x"][0].sum()


def shuffled(chunks: Chunks, window: int, rows: int) -> Iterator[torch.Tensor]:
    """Batches out of windows of chunks, each window's rows in a random order."""
    draw, buffer, filled = np.random.default_rng(0), None, 0
    for chunk in chunks:
        buffer = np.empty((window, *chunk.shape), chunk.dtype) if buffer is None else buffer
        buffer[filled] = chunk
        filled += 1
        if filled == window:
            yield from _cut(buffer, draw)
            filled = 0
    if buffer is not None and filled:
        yield from _cut(buffer[:filled], draw)


def _cut(buffer: np.ndarray, draw: np.random.Generator) -> Iterator[torch.Tensor]:
    flat = buffer.reshape(-1, buffer.shape[-1])
    order = draw.permutation(len(flat))
    for first in range(0, len(flat), BATCH):
        yield torch.from_numpy(flat.take(order[first : first + BATCH], axis=0, mode="clip"))


def _pairs(samples: int) -> list[tuple[int, int]]:
    draw = np.random.default_rng(1).permutation(samples * STEPS)
    return [divmod(int(one), STEPS) for one in draw]


def _of_hdf5(path: Path, chunks: np.ndarray, samples: int) -> Callable[[], Chunks]:
    with h5py.File(path, "w") as file:
        made = file.create_dataset("x", (samples, *chunks.shape), "f2", chunks=(1, 1, *chunks.shape[1:]))
        for sample in range(samples):
            made[sample] = chunks

    def read() -> Iterator[np.ndarray]:
        with h5py.File(path) as file:
            for sample, step in _pairs(samples):
                yield file["x"][sample, step]

    return read


def _of_safetensors(folder: Path, chunks: np.ndarray, samples: int) -> Callable[[], Chunks]:
    folder.mkdir()
    for sample in range(samples):
        save_file({str(step): chunk for step, chunk in enumerate(chunks)}, folder / f"{sample}.safetensors")

    def read() -> Iterator[np.ndarray]:
        for sample, step in _pairs(samples):
            with safe_open(folder / f"{sample}.safetensors", framework="np") as file:
                yield file.get_tensor(str(step))

    return read


def _of_webdataset(folder: Path, chunks: np.ndarray, samples: int) -> Callable[[], Chunks]:
    """Tar files are read from their beginning, so that only whole ones are in a random order."""
    folder.mkdir()
    pairs = _pairs(samples)
    for first in range(0, len(pairs), SHARD):
        with tarfile.open(folder / f"{first:06}.tar", "w") as file:
            for sample, step in pairs[first : first + SHARD]:
                packed = io.BytesIO()
                np.save(packed, chunks[step])
                member = tarfile.TarInfo(f"{sample}-{step}.npy")
                member.size = packed.tell()
                file.addfile(member, io.BytesIO(packed.getvalue()))
    urls = sorted(map(str, folder.glob("*.tar")))

    def read() -> Iterator[np.ndarray]:
        found = webdataset.WebDataset(urls, shardshuffle=len(urls), empty_check=False).decode()
        return (one["npy"] for one in found)

    return read


def measure_mixing(memory: str) -> dict:
    """At the published number of pictures; the order alone, so that nothing is stored or read."""
    from dask.utils import parse_bytes

    from ldmscene.rows.mixing import mixing
    from ldmscene.rows.order import Order
    from ldmscene.rows.source import Module, Source
    from ldmscene.rows.windows import window_chunks

    module = Module("up_blocks.3", None, SHAPES["up_blocks.3"][:2], SHAPES["up_blocks.3"][2], np.dtype(np.float16))
    source = Source((module,), tuple(range(617)), tuple(range(15)), (0,), (1,), ("y", "x"))
    window = window_chunks(source, parse_bytes(memory), BATCH)
    found = mixing(Order(0, 0, 617, source.strata, source.rows, window), BATCH, 64)
    return {"memory": memory, "measured": round(found.measured, 6), "ideal": round(found.ideal, 6),
            "measured ÷ ideal": round(found.ratio, 2)}  # fmt: skip


if __name__ == "__main__":
    main()
