"""verify finds what isn't as it was written; repair makes room for what is missing."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ldmscene.errors import CorruptError, StoreError
from ldmscene.evaluation import grid_file
from ldmscene.store import ActivationStore, layout
from ldmscene.store.cache import README, Cache
from ldmscene.store.check import find_faults, find_orphans, repair
from ldmscene.store.files import write_file
from ldmscene.store.history import publish
from ldmscene.store.locations import location
from tests.store import worlds
from tests.store.conftest import contents, rows_of

ACTIVATION = layout.activation_path(worlds.MODULE)


KINDS = ("chunks", "ledger", "metadata", "kept")
SUMS = {"sum": np.arange(6.0)}
GRID = {"cv": 5}


def _kind(root: Path, path: Path) -> str:
    """What a file belongs to; "" for one that holds nothing."""
    first = path.relative_to(root).parts[0]
    if first == layout.LEDGER:
        return "ledger" if path.suffix == ".parquet" else "metadata"
    if path.suffix in (".safetensors", ".nc"):
        return "kept"
    return "chunks" if path.name.startswith("c.") else "metadata" if path.name != README else ""


def _make(root: Path) -> Path:
    """A store with everything that a store can hold."""
    store = worlds.make(root, 4)
    publish(store.root, lambda _: {layout.TERMS: json.dumps({"targets": ["depth"], "cv": 5}).encode()})
    Cache.beside(store.root).write("sums", "key", SUMS)
    grid_file.keep_grid(worlds.small_grid(), grid_file.grid_file(store, GRID))
    return store.root


def _damaged(data: bytes, draw: random.Random) -> bytes:
    if draw.random() < 0.5:
        return data[: draw.randrange(len(data))]
    flipped = bytearray(data)
    flipped[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(flipped)


def _served(root: Path) -> dict[str, str]:
    """What readers get of everything, or that they are refused."""
    reads: dict[str, Callable[[ActivationStore], object]] = {
        "attributes": lambda s: (s.attributes, s.timesteps, s.terms),
        "manifest": lambda s: s.manifest.frame.to_csv(),
        "samples": lambda s: s.samples.to_csv(),
        "rows": lambda s: rows_of(s.ledger),
        "activations": lambda s: s.activations(worlds.MODULE).values.tobytes(),
        "latents": lambda s: (s.latents().values.tobytes(), dict(s.latents().attrs)),
        "images": lambda s: s.images().values.tobytes(),
        "grid": lambda s: grid_file.load_grid(grid_file.grid_file(s, GRID)).to_dict(),
        "sums": lambda _: Cache(location(root)).read("sums", "key")["sum"].tobytes(),
    }
    found = {}
    for name, read in reads.items():
        try:
            found[name] = repr(read(ActivationStore(root)))
        except CorruptError:
            found[name] = "refused"
    return found


@pytest.mark.parametrize("trials", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_every_flipped_bit_and_truncation_is_found_and_none_is_served(tmp_path, trials):
    root = _make(tmp_path / "s")
    whole = {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and _kind(root, path)}
    kinds = {path: _kind(root, path) for path in whole}
    assert find_faults(root) == []
    right = _served(root)
    assert "refused" not in right.values()
    draw, found, refused = random.Random(trials), dict.fromkeys(KINDS, 0), 0
    for trial in range(trials):
        kind = KINDS[trial % len(KINDS)]
        path = draw.choice([p for p in sorted(whole) if kinds[p] == kind])
        path.write_bytes(_damaged(whole[path], draw))
        faults = find_faults(root)
        assert any(f.what in str(path) for f in faults), f"{path}, trial {trial}: {faults}"
        served = _served(root)
        assert {k: v for k, v in served.items() if v != "refused"}.items() <= right.items(), f"{path}, trial {trial}"
        refused += "refused" in served.values()
        assert kind == "metadata" or "refused" in served.values()
        found[kind] += 1
        path.write_bytes(whole[path])
    print(
        f"{trials} flips and truncations, all found: {found}; readers were refused {refused} times, else served right"
    )
    assert find_faults(root) == []


METADATA = [
    f"{layout.ZARR}/zarr.json",
    f"{layout.ZARR}/{ACTIVATION}/zarr.json",
    f"{layout.ZARR}/activations/zarr.json",
    f"{layout.ZARR}/timestep/c/0",
    layout.MANIFEST,
    f"{layout.LEDGER}/metadata-000001.json",
]


@pytest.mark.parametrize("mend", [repair, lambda root: worlds.prepare(root, 3)], ids=["repair", "extract"])
@pytest.mark.parametrize("damage", ["flipped", "gone"])
def test_metadata_are_mended_from_their_copy_and_served_right_meanwhile(root, damage, mend):
    store = worlds.make(root, 3)
    whole = contents(store.root)
    for name in METADATA:
        path = store.root / name
        if damage == "gone":
            location(path.parent).delete(path.name)
        else:
            write_file(path, b"{" + path.read_bytes()[1:-1])
    assert {fault.what for fault in find_faults(root)} == set(METADATA)
    broken = ActivationStore(root)
    assert broken.manifest == store.manifest
    assert broken.timesteps == [9.0, 5.0, 1.0]
    np.testing.assert_array_equal(broken.activations(worlds.MODULE).values[1][:, None], worlds.values(1)[ACTIVATION])
    mend(root)
    assert find_faults(root) == []
    assert contents(store.root) == whole


@pytest.mark.parametrize("damage", ["flipped", "gone"])
def test_what_nothing_can_make_again_is_named(root, damage):
    store = worlds.make(root, 3)
    for suffix in (".json", ".copy"):
        path = store.root / layout.LEDGER / f"metadata-000001{suffix}"
        location(path.parent).delete(path.name) if damage == "gone" else write_file(path, path.read_bytes()[:-1])
    assert [f.what for f in find_faults(root)] == [f"{layout.LEDGER}/metadata-*.json"]
    for use in (repair, ActivationStore, lambda root: worlds.prepare(root, 4)):
        with pytest.raises(CorruptError, match=r"restore .* from a copy"):
            use(root)


def test_shards_of_unfinished_samples_are_orphans_and_no_faults(root):
    store = worlds.prepare(root, 3)
    worlds.fill(store, [0, 1])
    store.info(ACTIVATION).file(2).write_bytes(b"never finished")
    assert find_faults(root) == []
    assert find_orphans(ActivationStore(root)) == [store.info(ACTIVATION).file(2)]
    worlds.fill_rest(root, 3)
    assert find_orphans(ActivationStore(root)) == []


def test_values_that_are_not_finite_are_counted(tmp_path, monkeypatch):
    store, values = worlds.prepare(tmp_path / "s", 1), worlds.values

    def with_gaps(index):
        found = values(index)
        found[ACTIVATION].reshape(-1)[:3] = [np.nan, np.inf, -np.inf]
        return found

    monkeypatch.setattr(worlds, "values", with_gaps)
    worlds.fill(store, [0])
    assert store.ledger.set_index("what")["nonfinite"][ACTIVATION] == 3


def test_there_must_be_a_store(tmp_path):
    for check in (find_faults, repair):
        with pytest.raises(StoreError, match="no store at"):
            check(tmp_path / "nothing")
