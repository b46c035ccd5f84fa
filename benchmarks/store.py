"""The store's reader, writer and ledger beside other libraries, on activations of Stable Diffusion v1.4's shapes.

python -m benchmarks.store            # about 5 GB of disk, a few minutes
python -m benchmarks.store --quick    # small, untimed in spirit; a test runs it
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import tensorstore
import zarr
import zarrs  # noqa: F401, registers its pipeline
from rich.console import Console

from benchmarks import ledger
from benchmarks.harness import compare, measure, save, table
from ldmscene.manifest import read_manifest
from ldmscene.store import ActivationStore, ArraySpec, Row, StoreWriter, files
from ldmscene.store.compression import compress
from ldmscene.store.layout import LATENTS, ZARR, activation_path
from ldmscene.store.prepare import prepare_store
from ldmscene.store.reader import ShardArray

SHAPES = {"up_blocks.3": (64, 64, 320), "up_blocks.2": (32, 32, 640), "mid_block": (8, 8, 1280)}
STEPS = 15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--folder", help="on the disk to be measured; a temporary folder where not given")
    options = parser.parse_args()
    samples, rounds = (2, 1) if options.quick else (24, 7)
    sizes, extensions = ((10, 100), 20) if options.quick else ((1_000, 60_000, 1_000_000), 1000)
    shapes = {"mid_block": SHAPES["mid_block"]} if options.quick else SHAPES
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for module, shape in shapes.items():
            place = Path(folder) / module
            for name, rows in benchmark_module(place, module, shape, samples, rounds):
                save(f"store-{name}-{module}", rows)
                Console().print(table(rows, f"{name}, {module} {shape}, {samples} samples"))
        grown = [ledger.measure_growth(Path(folder) / f"ledger-{n}", n) for n in sizes]
        extended = ledger.measure_extensions(Path(folder) / "extended", extensions)
        for name, rows in (("ledger", grown), ("extensions", extended)):
            save(f"store-{name}", rows)
            Console().print(table(rows, name))


def benchmark_module(
    folder: Path, module: str, shape: tuple[int, ...], samples: int, rounds: int
) -> Iterator[tuple[str, list[dict]]]:
    """Writing one sample, then reading one step of all samples."""
    data = np.random.default_rng(0).normal(size=(STEPS, 1, *shape)).astype(np.float16)
    stores = {c: made_store(folder / c, module, data, samples, c) for c in ("none", "lossless", "rounded")}
    gigabytes = data.nbytes / 1e9
    yield "write", compare(measure(_writers(folder, stores["none"], module, data), rounds), "flat file", GB=gigabytes)
    readers = _readers(folder, stores, module, data, samples)
    gigabytes *= samples / STEPS
    yield "read-cached", compare(measure(readers, rounds), "np.fromfile", GB=gigabytes)
    if hasattr(os, "posix_fadvise"):
        cold = measure(readers, rounds, before=lambda: _evict(folder))
        yield "read-cold", compare(cold, "np.fromfile", GB=gigabytes)


def made_store(root: Path, module: str, data: np.ndarray, samples: int, compression: str) -> ActivationStore:
    """A store whose every sample holds the same data (step, branch, y, x, channel) of one module."""
    spec = ArraySpec(activation_path(module), ("step", "branch", "y", "x", "channel"), data.shape, "float16", cut=2)
    specs = compress([spec, ArraySpec(LATENTS, ("step",), data.shape[:1], "float32")], compression)
    manifest = read_manifest([("a prompt", seed) for seed in range(samples)])
    config = {"branches": ["cond"]}
    store = prepare_store(root, config, manifest, [module], range(len(data)), specs, list, compression)
    with StoreWriter(root, specs) as writer:
        for index, sample_id in enumerate(manifest.frame["sample_id"]):
            arrays = {spec.path: data, LATENTS: np.zeros(len(data), np.float32)}
            writer.put(Row(sample_id, index, arrays))
    store.refresh()
    return store


def _readers(
    folder: Path, stores: dict[str, ActivationStore], module: str, data: np.ndarray, samples: int
) -> dict[str, Callable[[], object]]:
    """Ways to read step 2 of every sample, all arrays open already; each checks what it can."""
    step, rows, path = 2, range(samples), activation_path(module)
    flat, hdf = folder / "flat", folder / "hdf5.h5"
    np.broadcast_to(data[step], (samples, *data[step].shape)).tofile(flat)
    with h5py.File(hdf, "w") as file:
        chunks = (1, 1, *data.shape[1:])
        file.create_dataset("x", (samples, *data.shape), "f2", chunks=chunks, fletcher32=True)[:] = data
    arrays = {c: store.info(path) for c, store in stores.items()}
    on_disk = stores["none"].root / ZARR / path

    def read(array: ShardArray) -> np.ndarray:
        return array.read(rows, {"step": [step]})

    def each_file() -> list[np.ndarray]:
        offset = step * (arrays["none"].layout.chunk_bytes + 4)
        return [np.fromfile(arrays["none"].file(i), np.float16, data[step].size, offset=offset) for i in rows]

    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        by_zarrs = zarr.open_array(on_disk, mode="r")
    by_zarr, by_tensorstore, by_hdf5 = (
        zarr.open_array(on_disk, mode="r"),
        _tensorstore(on_disk),
        h5py.File(hdf, rdcc_nbytes=0)["x"],
    )
    return {
        "np.fromfile": lambda: np.fromfile(flat, np.float16),
        "np.fromfile, a file each": each_file,
        "ldmscene": lambda: read(arrays["none"]),
        "ldmscene, lossless": lambda: read(arrays["lossless"]),
        "ldmscene, rounded": lambda: read(arrays["rounded"]),
        "TensorStore": lambda: by_tensorstore[:, step].read().result(),
        "h5py, fletcher32": lambda: by_hdf5[:, step],
        "zarr-python": lambda: by_zarr[:, step],
        "zarrs": lambda: by_zarrs[:, step],
    }


def _writers(folder: Path, store: ActivationStore, module: str, data: np.ndarray) -> dict[str, Callable[[], object]]:
    """Ways to write one sample, all steps, all arrays open already; all but zarr-python wait for the disk."""
    array = store.info(activation_path(module))
    copy = folder / "theirs"
    by_zarr = zarr.create_array(
        copy, shape=(1, *data.shape), chunks=(1, 1, *data.shape[1:]), shards=(1, *data.shape), dtype="float16",
        compressors=[zarr.codecs.Crc32cCodec()], filters=[], fill_value=np.nan, config={"write_empty_chunks": True},
    )  # fmt: skip

    by_tensorstore = _tensorstore(copy)

    def with_zarr() -> None:
        by_zarr[0] = data

    return {
        "flat file": lambda: files.write_file(folder / "flat-written", data.tobytes()),
        "ldmscene": lambda: files.write_file(array.file(0), array.layout.encode(data)),
        "TensorStore": lambda: by_tensorstore[0].write(data).result(),
        "zarr-python": with_zarr,
    }


def _tensorstore(folder: Path) -> tensorstore.TensorStore:
    place = {"driver": "file", "path": f"{folder}/"}
    return tensorstore.open({"driver": "zarr3", "kvstore": place}, open=True).result()


def _evict(folder: Path) -> None:
    """Ask the system to forget files, so that the next read comes from the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


if __name__ == "__main__":
    main()
