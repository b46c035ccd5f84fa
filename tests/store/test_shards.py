"""Shards are written and read as plain bytes; zarr-python is the judge of both."""

from __future__ import annotations

import os

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from ldmscene.errors import CorruptError, WriteError
from ldmscene.store import disk, files, layout
from ldmscene.store.layout import ArraySpec
from ldmscene.store.locations import location
from ldmscene.store.prepare import prepare_store
from ldmscene.store.reader import ShardArray
from ldmscene.store.shards import CHECKSUM
from tests.store import worlds

ACTIVATION = layout.activation_path("m")
shapes = st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(1, 4), st.integers(1, 4), st.integers(1, 5))


def _made(root, spec: ArraySpec, samples: int) -> ShardArray:
    lengths = dict(zip(spec.dims, spec.shape, strict=True))
    config = {"branches": ["cond", "uncond"][: lengths.get("branch", 1)]}
    timesteps = [float(step) for step in range(lengths["step"])]
    return prepare_store(root, config, worlds.plan(samples), ["m"], timesteps, [spec], sorted).info(spec.path)


@given(shapes, st.integers(0, 2), st.sampled_from(["float16", "float32", "uint8"]), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_zarr_reads_what_we_write_and_we_read_what_zarr_writes(tmp_path_factory, shape, cut, dtype, seed):
    root = tmp_path_factory.mktemp("shards")
    spec = ArraySpec(ACTIVATION, ("step", "branch", "y", "x", "channel"), shape, dtype, cut=cut)
    ours, theirs = (np.random.default_rng(seed + i).integers(0, 255, shape).astype(dtype) for i in range(2))
    array = _made(root, spec, 2)
    files.write_file(array.file(0), spec.layout.encode(ours))
    peer = zarr.open_array(root / layout.ZARR / ACTIVATION, mode="r+")
    peer[1] = theirs
    np.testing.assert_array_equal(peer[0], ours)
    np.testing.assert_array_equal(array.read([0, 1], {}), np.stack([ours, theirs]))
    np.testing.assert_array_equal(array.dask([1, 0], {}).compute(), np.stack([theirs, ours]))
    assert array.file(0).stat().st_size == spec.layout.shard_bytes


def test_a_selection_reads_only_its_chunks(tmp_path, monkeypatch):
    spec = ArraySpec(ACTIVATION, ("step", "branch", "y", "x", "channel"), (5, 2, 4, 4, 3), "float16", cut=2)
    data = np.random.default_rng(0).normal(size=spec.shape).astype(np.float16)
    array = _made(tmp_path / "s", spec, 1)
    files.write_file(array.file(0), spec.layout.encode(data))
    lengths: list[int] = []
    pread, preadv = os.pread, os.preadv
    monkeypatch.setattr(os, "pread", lambda *a: lengths.append(a[1]) or pread(*a))
    monkeypatch.setattr(os, "preadv", lambda *a: lengths.append(sum(map(len, a[1]))) or preadv(*a))
    found = array.read([0], {"step": [3, 1], "branch": [1]})
    np.testing.assert_array_equal(found[0], data[[3, 1]][:, [1]])
    assert lengths == [spec.layout.index_bytes] + [spec.layout.chunk_bytes + CHECKSUM] * 2


indices = st.one_of(st.integers(0, 2), st.slices(3))


@given(st.tuples(*[indices] * 6), st.integers(0, 3), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_slice_of_a_dask_array_is_that_of_numpy_and_reads_only_its_chunks(tmp_path_factory, key, cut, some):
    root = tmp_path_factory.mktemp("shards")
    spec = ArraySpec(layout.LATENTS, ("step", "half", "y", "x", "channel"), (3,) * 5, "float32", cut=cut)
    data = np.random.default_rng(0).normal(size=(3, *spec.shape)).astype(np.float32)
    array = _made(root, spec, 3)
    for i in range(3):
        files.write_file(array.file(i), spec.layout.encode(data[i]))
    select = {"step": [2, 0, 1], "half": [1, 2, 0]} if some and cut >= 2 else {}
    whole = data[:, [2, 0, 1]][:, :, [1, 2, 0]] if select else data
    with pytest.MonkeyPatch.context() as patch:
        read: list[int] = []
        patch.setattr(os, "preadv", lambda *a, f=os.preadv: read.append(a[2]) or f(*a))
        found = array.dask([0, 1, 2], select)[key].compute(scheduler="synchronous")
    np.testing.assert_array_equal(found, whole[key])
    chunks = np.prod([np.arange(3)[one].size for one in key[: 1 + cut]])
    backwards = any(isinstance(one, slice) and (one.step or 1) < 0 for one in key)  # dask hands no such slice down
    assert backwards or len(read) <= chunks, "a chunk was read that nobody asked for, or twice"


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_damage_is_never_served(tmp_path, damage):
    spec = ArraySpec(layout.LATENTS, ("step", "y"), (2, 8), "float16", cut=1)
    array = _made(tmp_path / "s", spec, 1)
    data = bytearray(spec.layout.encode(np.arange(16).reshape(2, 8)))
    data[20] ^= 1
    files.write_file(array.file(0), bytes(data if damage == "flip" else data[:25]))
    if damage == "remove":
        array.file(0).unlink()
    with pytest.raises(CorruptError, match="repair"):
        array.read([0], {"step": [1]})


def test_a_failed_write_leaves_the_old_bytes_and_no_leftover(tmp_path, monkeypatch):
    path = tmp_path / "f"
    files.write_file(path, b"old")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(WriteError, match=r"the disk is full.*same command again"):
        files.write_file(path, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["f"]
    assert path.read_bytes() == b"old"


def test_a_file_is_durable_before_it_is_seen_and_its_name_before_the_call_returns(tmp_path, monkeypatch):
    done: list[str] = []
    fsync, replace = os.fsync, os.replace
    folder = tmp_path.stat().st_ino

    def synced(handle: int) -> None:
        done.append("folder" if os.fstat(handle).st_ino == folder else "file")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", lambda *names, **folders: done.append("rename") or replace(*names, **folders))
    files.write_file(tmp_path / "f", b"data")
    assert done == ["file", "rename", "folder"]


def test_leftovers_of_a_killed_writer_are_removed(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / f"{disk.TEMPORARY}123").write_bytes(b"half")
    (tmp_path / "deep" / "whole").write_bytes(b"whole")
    assert location(tmp_path).sweep() == 1
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["whole"]
