"""What is kept comes back as it was, or not at all."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ldmscene.errors import CorruptError, WriteError
from ldmscene.store.cache import Cache, doubting
from ldmscene.store.check import find_faults, repair
from ldmscene.store.disk import Disk
from ldmscene.store.locations import location
from ldmscene.store.recent import Recent

ARRAYS = {"whole": np.arange(12.0).reshape(3, 4), "number": np.float64(2.5), "few": np.zeros((0, 2), np.float32)}


def test_arrays_come_back_under_their_key_alone(tmp_path):
    place = Cache.beside(tmp_path)
    assert not place.has("sums", {"of": 1})
    place.write("sums", {"of": 1}, ARRAYS)
    assert place.has("sums", {"of": 1})
    assert not place.has("sums", {"of": 2})
    assert not place.has("other", {"of": 1})


@given(data=arrays(np.float64, array_shapes(min_dims=0, max_dims=4, max_side=4)))
def test_any_array_keeps_its_bytes_and_shape(tmp_path_factory, data):
    place = Cache(location(tmp_path_factory.mktemp("kept")))
    place.write("a", "key", {"data": data.T})
    np.testing.assert_array_equal(place.read("a", "key")["data"], data.T)
    assert place.read("a", "key")["data"].shape == data.T.shape


@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_never_served(tmp_path_factory, where, bit):
    place = Cache(location(tmp_path_factory.mktemp("kept")))
    place.write("a", "key", ARRAYS)
    (path,) = place.location.root.rglob("*.safetensors")
    data = bytearray(path.read_bytes())
    data[int(where * len(data))] ^= 1 << bit
    path.write_bytes(data)
    with pytest.raises(CorruptError, match="delete it"):
        place.read("a", "key")


def test_a_file_cut_short_is_never_served(tmp_path):
    place = Cache(location(tmp_path))
    place.write("a", "key", ARRAYS)
    (path,) = tmp_path.rglob("*.safetensors")
    for length in (0, 7, 20, path.stat().st_size - 1):
        path.write_bytes(path.read_bytes()[:length])
        with pytest.raises(CorruptError, match="damaged"):
            place.read("a", "key")


def test_a_store_that_cannot_be_written_to_is_read_all_the_same(tmp_path, monkeypatch):
    write = Disk.write

    def refuse(disk: Disk, key: str, data: bytes) -> None:
        if disk.root == tmp_path:
            raise WriteError("the disk is read-only")
        write(disk, key, data)

    monkeypatch.setattr(Disk, "write", refuse)
    with pytest.warns(UserWarning, match="read-only"):
        place = Cache.beside(tmp_path)
    place.write("a", "key", ARRAYS)
    assert place.has("a", "key")
    assert not any(tmp_path.iterdir())


def test_verify_names_what_was_damaged_and_repair_sets_it_aside(two):
    place = Cache.beside(two.root)
    for key in range(3):
        place.write("moments", key, ARRAYS)
    assert find_faults(two) == []
    damaged = sorted((two.root / "statistics" / "moments").iterdir())[1]
    damaged.write_bytes(damaged.read_bytes()[:-9] + b"         ")
    (fault,) = find_faults(two)
    assert fault.what == f"statistics/moments/{damaged.name}"
    assert len(repair(two.root)) == 1
    assert not damaged.exists()
    assert find_faults(two) == []


@pytest.mark.parametrize("error", [KeyError("mean_x"), ValueError("shapes"), TypeError("fields"), OverflowError()])
def test_what_wrong_arrays_cause_is_blamed_on_statistics_that_are_there(two, error):
    with pytest.raises(type(error)), doubting(two):
        raise error
    Cache.beside(two.root).write("moments", 0, ARRAYS)
    with (
        pytest.raises(CorruptError, match=r"/statistics can't be used .*; delete .* the same command again$"),
        doubting(two),
    ):
        raise error


@pytest.mark.parametrize(
    "error",
    [MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("CUDA error"), OSError(24, "too many")],
)
def test_what_no_file_can_cause_is_blamed_on_none(two, error):
    Cache.beside(two.root).write("moments", 0, ARRAYS)
    with pytest.raises(type(error)) as caught, doubting(two):
        raise error
    assert caught.value is error


def test_what_is_read_often_is_read_once_and_the_latest_stays(tmp_path, monkeypatch):
    place = Cache(location(tmp_path))
    for key in range(3):
        place.write("labels", key, {"sums": np.full(100, float(key))})
    read, keys = Disk.read, []
    monkeypatch.setattr(Disk, "read", lambda disk, key, most: keys.append(key) or read(disk, key, most))
    again = pickle.loads(pickle.dumps(Cache(location(tmp_path), None, _often=Recent(1700))))
    for key in (0, 1, 0, 2, 0, 1):  # there is room for two
        assert again.read("labels", key, often=True)["sums"].tolist() == [key] * 100
    assert len(keys) == 4
    again.read("labels", 1)
    assert len(keys) == 5


def test_which_files_there_are_is_looked_up_once(tmp_path, monkeypatch):
    place, listed, names = Cache(location(tmp_path)), [], Disk.names
    monkeypatch.setattr(Disk, "names", lambda disk, folder="": listed.append(folder) or names(disk, folder))
    assert not place.has("moments", 0)
    place.write("moments", 0, ARRAYS)
    place.write("moments", 1, ARRAYS)
    place.remove("moments", 1)
    assert [place.has("moments", key) for key in range(3)] == [True, False, False]
    assert listed == ["statistics/moments"]
    assert Cache(location(tmp_path)).has("moments", 0)
