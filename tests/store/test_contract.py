"""What a store must do wherever it lies: a folder, a `file://` URL, an S3 bucket."""

from __future__ import annotations

import itertools
import pickle
from functools import partial, partialmethod
from pathlib import Path

import numpy as np
import pytest
import zarr

from ldmscene.errors import CorruptError, FingerprintError, IncompleteError, InputError, StoreError
from ldmscene.store import ActivationStore, history, layout
from ldmscene.store.check import find_faults, find_orphans, repair
from ldmscene.store.compression import COMPRESSIONS, round_mantissa
from ldmscene.store.files import write_file
from ldmscene.store.ledger import Entry, Ledger
from ldmscene.store.locations import Location, files_with, location
from ldmscene.store.metadata import read_store, root_document
from ldmscene.store.places import place
from tests.store import worlds
from tests.store.conftest import contents, rows_of, zarr_store

ACTIVATION = layout.activation_path(worlds.MODULE)


def test_a_run_stopped_at_any_write_goes_on_to_the_same_store(new_root, tmp_path, monkeypatch):
    whole = contents(worlds.make(tmp_path / "whole", 2).root)
    every = 1 if isinstance(place(new_root()), Path) else 4  # requests to a server take their time
    for crash in itertools.count(0, every):
        root, count = new_root(), itertools.count()

        def failing(how, where, key, data, crash=crash, count=count):
            if next(count) == crash:
                raise KeyboardInterrupt
            return how(where, key, data)

        with monkeypatch.context() as patch:
            kind = type(location(root))
            for name in ("write", "create"):
                patch.setattr(kind, name, partialmethod(partial(failing, getattr(kind, name))))
            try:
                worlds.make(root, 2)
            except KeyboardInterrupt:
                pass
            else:
                break
        resumed = worlds.fill_rest(root, 2)
        assert contents(resumed.root) == whole, f"stopped at write {crash}"
    assert crash > 20


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_what_was_written_is_read_by_us_and_by_zarr(root, compression):
    store = worlds.make(root, 4, compression)
    found = store.activations(worlds.MODULE)
    wanted = np.stack([worlds.values(i)[ACTIVATION] for i in range(4)])
    if compression == "rounded":
        np.testing.assert_allclose(found.values[:, :, None], wanted, rtol=2.0**-8)
        wanted = round_mantissa(wanted, 7)
    np.testing.assert_array_equal(found.values[:, :, None], wanted)
    group = zarr.open_group(zarr_store(store.root / layout.ZARR), mode="r")
    np.testing.assert_array_equal(group[ACTIVATION], wanted)
    np.testing.assert_array_equal(store.latents(step=[2, 0])[1], worlds.values(1)[layout.LATENTS][[2, 0]])
    np.testing.assert_array_equal(store.images("test")[0], worlds.values(2)[layout.IMAGE])
    assert store.timesteps == [9.0, 5.0, 1.0]
    assert store.samples["complete"].all()
    assert find_faults(root) == []


def test_it_says_where_it_lies(root):
    store = worlds.make(root, 2)
    where = str(place(root))
    assert where in repr(store)
    assert where in store._repr_html_()
    assert where == root
    assert store.root.name == root.rpartition("/")[2]


def test_a_store_is_extended_and_what_was_there_stays(root):
    worlds.make(root, 2)
    longer = worlds.prepare(root, 5)
    assert longer.samples["complete"].tolist() == [True, True, False, False, False]
    worlds.fill(longer, range(2, 5))
    found = longer.activations(worlds.MODULE)
    assert found.sizes["sample"] == 5
    np.testing.assert_array_equal(found.values[4][:, None], worlds.values(4)[ACTIVATION])


def test_what_the_ledger_does_not_list_is_not_served(root):
    store = worlds.prepare(root, 2)
    with pytest.raises(IncompleteError, match=ACTIVATION):
        store.activations(worlds.MODULE)
    worlds.fill(store, [1])
    assert store.activations(worlds.MODULE).sizes["sample"] == 1


def test_an_empty_place_a_strange_one_and_a_newer_one_are_told_apart(new_root):
    with pytest.raises(StoreError, match="no store at"):
        ActivationStore(new_root())
    strange = new_root()
    write_file(place(strange) / "notes.txt", b"mine")
    with pytest.raises(StoreError, match="not an ldmscene store"):
        worlds.prepare(strange, 2)
    with pytest.raises(StoreError, match="not an ldmscene store"):
        repair(strange)
    newer = worlds.make(new_root(), 2).root
    attributes = read_store(newer).contents.attributes | {"format": layout.FORMAT + 1, "ldmscene": "9.9"}
    write_file(newer / layout.LEDGER / "metadata-000002.json", history._encode(root_document(attributes)))
    with pytest.raises(StoreError, match=r"written by ldmscene 9\.9"):
        ActivationStore(newer)


def test_another_compression_is_another_store(new_root):
    root = new_root()
    worlds.make(root, 2)
    with pytest.raises(StoreError, match="compression='none'"):
        worlds.prepare(root, 2, "lossless")
    with pytest.raises(FingerprintError, match="kept_mantissa_bits: None in the store, 7 now"):
        worlds.prepare(root, 2, "rounded")
    prints = {c: worlds.prepare(new_root(), 2, c).fingerprint for c in COMPRESSIONS}
    assert prints["none"] == prints["lossless"] != prints["rounded"]


@pytest.mark.parametrize("compression", ["none", "lossless"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "index"])
def test_damage_is_never_served_and_repaired_by_making_it_again(root, damage, compression):
    store = worlds.make(root, 3, compression)
    path = store.info(ACTIVATION).file(1)
    data = bytearray(path.read_bytes())
    if damage == "remove":
        location(path.parent).delete(path.name)
    else:
        data[{"flip": 20, "index": -10, "cut": 0}[damage]] ^= 1
        write_file(path, bytes(data[:25] if damage == "cut" else data))
    with pytest.raises(CorruptError, match="ldmscene repair"):
        store.activations(worlds.MODULE).compute()
    (fault,) = find_faults(root)
    assert (fault.sample_id, fault.what) == (store.manifest.frame["sample_id"][1], ACTIVATION)
    assert len(repair(root)) == 1
    assert find_faults(root) == []
    mended = worlds.prepare(root, 3, compression)
    assert mended.samples["complete"].tolist() == [True, False, True]
    worlds.fill(mended, [1])
    np.testing.assert_array_equal(mended.activations(worlds.MODULE).values[1][:, None], worlds.values(1)[ACTIVATION])


@pytest.mark.parametrize("compression", ["none", "lossless"])
def test_an_unreadable_ledger_file_costs_no_finished_sample(root, compression):
    store = worlds.prepare(root, 5, compression)
    worlds.fill(store, [0, 1, 2])
    whole = contents(store.root)
    where = store.location
    damaged = files_with(where, layout.LEDGER, ".parquet")
    worlds.fill(store, [3])
    for key in damaged:
        where.write(key, where.read(key)[:50])
    write_file(store.info(ACTIVATION).file(4), store.info(ACTIVATION).file(3).read_bytes()[:-1])  # a killed writer's
    with pytest.raises(CorruptError, match="repair"):
        ActivationStore(root)
    assert len(repair(root)) == len(damaged)
    assert all(where.exists(key.replace(".parquet", ".broken")) for key in damaged)
    mended = ActivationStore(root)
    assert mended.samples["complete"].tolist() == [True] * 4 + [False]
    assert len(find_orphans(mended)) == 1
    rows = mended.ledger[mended.ledger["sample_id"].isin(mended.samples["sample_id"][:3])]
    assert rows_of(rows) == whole["rows"]
    assert find_faults(root) == []


def test_a_shard_that_was_found_wrong_is_never_listed_again(root):
    store = worlds.make(root, 3)
    first, second = (store.info(ACTIVATION).file(row) for row in (0, 1))
    write_file(second, first.read_bytes())  # whole by itself, but another sample's
    assert len(repair(root)) == 1
    assert not second.exists()
    (key,) = files_with(store.location, layout.LEDGER, ".parquet")
    store.location.write(key, store.location.read(key)[:-1])
    assert len(repair(root)) == 1
    assert ActivationStore(root).samples["complete"].tolist() == [True, False, True]
    mended = worlds.fill_rest(root, 3)
    np.testing.assert_array_equal(mended.activations(worlds.MODULE).values[1][:, None], worlds.values(1)[ACTIVATION])


def test_many_ledger_files_become_one_and_no_row_is_lost(root, monkeypatch):
    monkeypatch.setattr("ldmscene.store.ledger.MANY", 5)
    folder = place(root)
    killed = [Ledger(folder) for _ in range(3)]
    for i, ledger in enumerate(killed * 2):
        ledger.append([Entry(f"s{i}", "image", i, 10, 0)])
    Ledger(folder).tidy()
    assert len(files_with(location(folder), layout.LEDGER, ".parquet")) == 1
    killed[0].append([Entry("late", "image", 7, 10, 0)])
    killed[0].close()  # its first files are gone, their rows aren't
    assert set(Ledger(folder).rows()["sample_id"]) == {f"s{i}" for i in range(6)} | {"late"}


def test_a_grid_is_kept_and_read_back(root):
    from ldmscene.evaluation import grid_file

    grid = worlds.small_grid()
    path = grid_file.grid_file(worlds.make(root, 2), {"cv": 5})
    grid_file.keep_grid(grid, path)
    assert path.exists()
    assert grid_file.load_grid(path).equals(grid)
    assert find_faults(root) == []
    path.write(path.read().replace(b"probe", b"prove"))
    assert [fault.what for fault in find_faults(root)] == [f"{layout.PROBES}/{path.name}"]
    with pytest.raises(CorruptError, match="delete it"):
        grid_file.load_grid(path)


def test_no_credential_is_ever_kept(s3):
    store = worlds.make(f"{s3}/secrets", 2)
    texts = list(contents(store.root).values())
    assert len(texts) > 10
    assert not any(b"somebody" in text or b"127.0.0.1" in text for text in texts)
    assert "somebody" not in repr(store.root)
    assert b"somebody" not in pickle.dumps(store.info(ACTIVATION))  # what dask sends to its workers


class Watched:
    """A location of a class of its own, around another: every call is noted."""

    def __init__(self, inner):
        self.inner, self.root, self.calls = inner, inner.root, []


def _noted(name):
    def call(self, *args):
        self.calls.append(name)
        return getattr(self.inner, name)(*args)

    return call


for _name, _member in vars(Location).items():
    if callable(_member) and not _name.startswith("_"):
        setattr(Watched, _name, _noted(_name))


def test_a_location_of_another_class_is_used_as_it_is(root):
    worlds.make(root, 2)
    watched = Watched(location(root))
    assert location(watched) is watched
    assert read_store(watched).contents == read_store(root).contents
    assert rows_of(Ledger(watched).rows()) == rows_of(Ledger(root).rows())
    assert find_faults(watched) == []
    assert {"read", "names"} <= set(watched.calls)


def test_what_is_no_location_is_refused():
    with pytest.raises(InputError, match="a folder, a URL or a Location; got 5"):
        location(5)


def test_a_file_url_is_a_folder(tmp_path):
    worlds.make(f"file://{tmp_path}/a%20store", 2)
    assert ActivationStore(tmp_path / "a store").samples["complete"].all()


@pytest.mark.parametrize("url", ["s3://", "s3://me:secret@bucket/x", "ftp://host/x"])
def test_a_url_that_is_no_place_is_refused(url):
    with pytest.raises(InputError, match=r"s3://bucket/prefix|no credentials"):
        ActivationStore(url)
