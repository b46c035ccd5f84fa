"""verify finds what isn't as it was written; repair makes room for what is missing."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from ldmscene.errors import CorruptError, StoreError
from ldmscene.store import ActivationStore, layout
from ldmscene.store.check import find_faults, find_orphans, repair
from tests.store import worlds
from tests.store.conftest import contents

ACTIVATION = layout.activation_path(worlds.MODULE)


def _kind(root: Path, path: Path) -> str:
    relative = path.relative_to(root)
    if relative.parts[0] == layout.LEDGER:
        return "ledger"
    return "chunks" if path.name.startswith("c.") else "metadata"


def _damaged(data: bytes, draw: random.Random) -> bytes:
    if draw.random() < 0.5:
        return data[: draw.randrange(len(data))]
    flipped = bytearray(data)
    flipped[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(flipped)


@pytest.mark.parametrize("trials", [150, pytest.param(1000, marks=pytest.mark.slow)])
def test_verify_finds_every_flipped_bit_and_truncation(tmp_path, trials):
    root = worlds.make(tmp_path / "s", 4).root
    whole = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    kinds = {path: _kind(root, path) for path in whole}
    assert find_faults(root) == []
    draw, found = random.Random(trials), dict.fromkeys(("chunks", "ledger", "metadata"), 0)
    for trial in range(trials):
        kind = ("chunks", "ledger", "metadata")[trial % 3]
        path = draw.choice([p for p in sorted(whole) if kinds[p] == kind])
        path.write_bytes(_damaged(whole[path], draw))
        faults = find_faults(root)
        assert any(f.what in str(path) for f in faults), f"{path}, trial {trial}: {faults}"
        found[kind] += 1
        path.write_bytes(whole[path])
    print(f"{trials} flips and truncations, all found: {found}")
    assert find_faults(root) == []


def test_broken_metadata_is_set_aside_and_written_anew(tmp_path):
    root = worlds.make(tmp_path / "s", 3).root
    whole = contents(root)
    for name in (f"{ACTIVATION}/zarr.json", "activations/zarr.json", "timestep/c/0"):
        path = root / layout.ZARR / name
        path.write_bytes(b"{" + path.read_bytes()[1:-1])
    assert len(find_faults(root)) == 3
    assert repair(root) == 3
    assert worlds.fill_rest(root, 3).samples["complete"].all()
    mended = {name: data for name, data in contents(root).items() if not name.endswith(".broken")}
    assert mended == whole
    assert find_faults(root) == []


@pytest.mark.parametrize("name", [layout.MANIFEST, f"{layout.ZARR}/zarr.json"])
def test_what_nothing_can_make_again_is_named(tmp_path, name):
    root = worlds.make(tmp_path / "s", 3).root
    (root / name).write_bytes((root / name).read_bytes().replace(b"prompt", b"PROMPT").replace(b"none", b"NONE"))
    assert [f.what for f in find_faults(root)] == [name]
    with pytest.raises(CorruptError, match="restore it from a copy"):
        repair(root)


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
