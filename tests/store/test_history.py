"""Publications: what is added to a store's metadata costs what it is, however much there is, and is never lost."""

from __future__ import annotations

import itertools
import json
import shutil
import threading
from collections.abc import Callable
from functools import partial, partialmethod
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import zarr

from ldmscene.errors import CorruptError
from ldmscene.store import ActivationStore, history, layout
from ldmscene.store.check import find_faults, repair
from ldmscene.store.disk import Disk
from ldmscene.store.history import publish
from ldmscene.store.layout import CANARY, LEDGER, MANIFEST, PARTS, ZARR
from ldmscene.store.locations import location
from ldmscene.store.metadata import read_store
from ldmscene.store.prepare import prepare_store
from tests.store import worlds
from tests.store.conftest import contents, zarr_store

RELEASED = Path(__file__).with_name("format-2.zip")  # four samples with labels, written by version 0.1.0


@pytest.fixture
def soon(monkeypatch):
    """Publications 4, 8, 12 … hold all documents."""
    monkeypatch.setattr(history, "FIRST_WHOLE", 4)
    monkeypatch.setattr(history, "APART", 4)


@pytest.fixture
def released(tmp_path: Path) -> Path:
    shutil.unpack_archive(RELEASED, tmp_path)
    return tmp_path / "store"


def _note(root: object, number: int) -> None:
    """Publish one small document."""
    publish(root, lambda _: {CANARY: json.dumps({"device": str(number), "answers": {}}).encode()})


def _samples_on_disk(root: Path) -> pa.Table:
    """As anybody reads them who knows Parquet alone."""
    parts = [root / MANIFEST, *sorted((root / PARTS).glob("*.parquet"))]
    return pa.concat_tables([pyarrow.parquet.read_table(part) for part in parts])


def test_extensions_are_parts_until_they_are_merged(soon, tmp_path):
    root, merged = tmp_path / "store", set()
    for samples in range(1, 12):
        store = worlds.prepare(root, samples)
        assert store.manifest == worlds.plan(samples)
        assert _samples_on_disk(root).equals(worlds.plan(samples).table)
        merged.add(pyarrow.parquet.read_metadata(root / MANIFEST).num_rows)
        assert find_faults(root) == []
    assert merged == {1, 4, 8}
    numbers = sorted(int(path.stem[-6:]) for path in (root / LEDGER).glob("metadata-*.json"))
    assert numbers == list(range(4, 12))


def test_a_manifest_that_changes_in_what_is_there_is_written_whole(soon, tmp_path):
    """As where nobody knows any more what the model reads of all prompts."""
    root, known = tmp_path / "store", worlds.plan(2).with_readings(["a", "b"])
    for manifest in (known, worlds.plan(5).with_readings("abcde"), worlds.plan(6)):
        prepare_store(root, worlds.CONFIG, manifest, [worlds.MODULE], [9.0, 5.0, 1.0], worlds.SPECS, sorted)
        assert ActivationStore(root).manifest == manifest
        assert _samples_on_disk(root).equals(manifest.table)
        assert find_faults(root) == []


def test_the_rows_of_samples_are_a_coordinate_that_grows_by_chunks(tmp_path, root):
    for samples in (1, 1023, 1024, 1500, 2500):
        store = worlds.prepare(root, samples)
        found = zarr.open_array(zarr_store(store.root / ZARR / "sample"), mode="r")
        np.testing.assert_array_equal(found[:], np.arange(samples))


def test_an_extension_writes_as_much_to_a_large_store_as_to_a_small_one(tmp_path, monkeypatch):
    sizes: list[int] = []
    write, create = Disk.write, Disk.create
    monkeypatch.setattr(Disk, "write", lambda self, key, data: sizes.append(len(data)) or write(self, key, data))
    monkeypatch.setattr(Disk, "create", lambda self, key, data: sizes.append(len(data)) or create(self, key, data))
    written = []
    for samples in (1500, 1510, 20_500, 20_510):
        sizes.clear()
        worlds.prepare(tmp_path / "store", samples)
        written.append(sum(sizes))
    assert abs(written[3] - written[1]) < 0.02 * written[1]


def test_stopped_at_any_write_the_next_run_finds_all(soon, tmp_path, monkeypatch):
    """Around a publication that holds all documents, and the deletions behind it."""
    before, whole = tmp_path / "before", tmp_path / "whole"
    for samples in range(1, 8):
        worlds.prepare(before, samples)
    shutil.copytree(before, whole)
    expected = contents(worlds.prepare(whole, 8).root)
    for crash in itertools.count():
        root, count = shutil.copytree(before, tmp_path / str(crash)), itertools.count()

        def failing(how: Callable, *given: object, crash: int = crash, count: itertools.count = count) -> object:
            if next(count) == crash:
                raise KeyboardInterrupt
            return how(*given)

        with monkeypatch.context() as patch:
            for name in ("write", "create", "delete"):
                patch.setattr(Disk, name, partialmethod(partial(failing, getattr(Disk, name))))
            try:
                worlds.prepare(root, 8)
                break
            except KeyboardInterrupt:
                pass
        assert len(ActivationStore(root).manifest) in (7, 8)
        assert contents(worlds.prepare(root, 8).root) == expected, f"stopped at write {crash}"
        assert find_faults(root) == []
    assert crash > 15


def test_who_reads_meanwhile_misses_nothing(soon, tmp_path):
    root, seen, failures = tmp_path / "store", [], []
    worlds.prepare(root, 2)
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            try:
                now = read_store(root)
                assert now is not None
                seen.append(now.number)
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(24):
        _note(root, number)
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(set(seen)) > 3


def test_four_at_once_publish_one_after_the_other(soon, tmp_path):
    root = tmp_path / "store"
    worlds.prepare(root, 1)

    def work(mine: int) -> None:
        for n in range(8):
            publish(root, lambda now, n=n: _longer(now, f"part {mine}, {n}"))

    threads = [threading.Thread(target=work, args=(mine,)) for mine in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers = ActivationStore(root).canary["answers"]
    assert set(answers) == {f"part {mine}, {n}" for mine in range(4) for n in range(8)}
    repair(root, progress=False)
    assert find_faults(root) == []


def _longer(now: history.Published, name: str) -> dict[str, bytes]:
    """The canary with one answer more."""
    names = [*(now.contents.canary or {"answers": {}})["answers"], name]
    return {CANARY: json.dumps({"device": "", "answers": {one: [] for one in names}}).encode()}


def test_a_publication_of_all_that_is_lost_is_named(soon, tmp_path):
    root = worlds.prepare(tmp_path / "store", 1).root
    for number in range(6):
        _note(root, number)
    for path in (root / LEDGER).glob("metadata-000004.*"):
        path.unlink()
    with pytest.raises(CorruptError, match=r"metadata-000004\.json and metadata-000004\.copy are both"):
        ActivationStore(root)


# --- the released format ---


def test_a_store_of_the_released_version_is_read_as_it_is(released):
    before = contents(released)
    store = ActivationStore(released)
    assert store.attributes["format"] == 2
    assert store.manifest == worlds.plan(4)
    for row in range(4):
        values = worlds.values(row)
        np.testing.assert_array_equal(store.info(layout.IMAGE).read([row], {})[0], values[layout.IMAGE])
        np.testing.assert_array_equal(store.latents()[row], values[layout.LATENTS])
    assert store.targets == ["depth"]
    assert find_faults(released) == []
    assert contents(released) == before


def test_a_store_of_the_released_version_grows_into_this_one(soon, released):
    for samples in (4, 5, 9):
        worlds.fill_rest(released, samples)
        store = ActivationStore(released)
        assert store.samples["complete"].tolist() == [True] * samples
        assert store.attributes["format"] == layout.FORMAT  # from the first run that may write
        assert _samples_on_disk(released).equals(worlds.plan(samples).table)
        assert find_faults(released) == []
    assert ActivationStore(released).labels("depth").sizes["sample"] == 4


def test_a_slow_writer_leaves_a_faster_ones_part_alone(tmp_path):
    root = tmp_path / "store"
    worlds.prepare(root, 2)
    slow = history.read(location(root))
    worlds.prepare(root, 3)
    (root / LEDGER / "metadata-000001.copy").unlink()  # which the slow one was about to write
    history._finish(location(root), slow)
    assert find_faults(root) == []
    assert _samples_on_disk(root).equals(worlds.plan(3).table)
