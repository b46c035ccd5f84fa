"""xarray opens a store by its engine, and gets what `ldmscene.open` gives."""

from __future__ import annotations

from importlib import metadata

import numpy as np
import pytest
import xarray as xr

import ldmscene
from ldmscene.errors import CorruptError, StoreError, UnknownNameError
from ldmscene.store import layout
from ldmscene.store.engine import StoreBackend
from tests.conftest import FIRST
from tests.store import worlds


@pytest.fixture(scope="module")
def tree(store) -> xr.DataTree:
    return xr.open_datatree(store.root, engine=StoreBackend)


def test_the_engine_is_registered_and_xarray_finds_it(store):
    (found,) = metadata.entry_points(group="xarray.backends", name="ldmscene")
    assert found.load() is StoreBackend
    assert isinstance(xr.backends.list_engines()["ldmscene"], StoreBackend)
    assert set(xr.open_datatree(store.root, engine="ldmscene")["image"].data_vars) == {"image"}


def test_every_array_is_a_group_with_its_coordinates(store, tree):
    assert {node.path for node in tree.leaves} == {
        f"/{key.removesuffix('/activation')}" for key in store.complete_paths
    }
    for node in tree.leaves:
        (array,) = node.data_vars.values()
        assert {"sample", "sample_id", "prompt", "seed", "split"} <= set(node.coords)
        assert ("step" in array.dims) == ("timestep" in node.coords) == ("step" in node.coords)
        assert ("branch" in array.dims) == ("branch" in node.coords)
    first = tree[f"activations/{FIRST}"]
    assert first["branch"].values.tolist() == ["cond"]
    assert first["timestep"].values.tolist() == store.timesteps
    assert tree.attrs["fingerprint"] == store.fingerprint


def test_the_numbers_are_those_of_open(store, tree):
    pairs = [
        (tree[f"activations/{FIRST}/activation"].isel(branch=0), store.activations(FIRST, dtype="float16")),
        (tree["image/image"], store.images()),
        (tree["latents/latents"], store.latents()),
        (tree["labels/depth/depth"], store.labels("depth")),
        (tree["previews/noisy/noisy"], store.previews("noisy")),
        (tree["intermediate/predicted/mask/mask"], store.intermediate("predicted", "mask")),
    ]
    for theirs, ours in pairs:
        assert theirs.dims == ours.dims
        assert theirs.dtype == ours.dtype
        np.testing.assert_array_equal(theirs, ours)
        for name in ("sample", "prompt", "seed", "split"):
            assert theirs[name].values.tolist() == ours[name].values.tolist()
        assert dict(theirs.attrs) == dict(ours.attrs)
    some = tree["latents/latents"].sel(sample=store.manifest.frame["sample_id"][3], step=[2, 0])
    np.testing.assert_array_equal(some, store.latents([2, 0]).values[3])


def test_a_slice_reads_what_it_holds(store, ranges):
    array = xr.open_dataset(store.root, engine=StoreBackend, group=f"activations/{FIRST}")["activation"]
    assert not ranges
    chunk = store.info(layout.activation_path(FIRST)).layout.chunk_bytes + 4
    array.isel(sample=slice(2, 4), step=1).load()
    assert ranges == [chunk] * 2


def test_dask_takes_whole_chunks(store):
    array = xr.open_dataset(store.root, engine=StoreBackend, group="latents", chunks={})["latents"]
    assert array.data.chunks[1] == (1,) * len(store.steps)
    np.testing.assert_array_equal(array, store.latents())


def test_complete_samples_alone_are_served(tmp_path):
    root = tmp_path / "s"
    store = worlds.prepare(root, 4)
    assert list(xr.open_datatree(root, engine=StoreBackend).children) == []
    worlds.fill(store, [1, 3])
    tree = xr.open_datatree(root, engine=StoreBackend)
    ids = store.manifest.frame["sample_id"][[1, 3]].tolist()
    assert tree["image"]["sample_id"].values.tolist() == ids
    np.testing.assert_array_equal(tree["image/image"][1], worlds.values(3)[layout.IMAGE])
    with pytest.raises(UnknownNameError, match="/image"):
        xr.open_dataset(root, engine=StoreBackend, group="images")
    with pytest.raises(StoreError, match="no store at"):
        xr.open_datatree(tmp_path / "nothing", engine=StoreBackend)
    file = store.info(layout.IMAGE).file(1)
    file.write_bytes(b"\0" + file.read_bytes()[1:])
    with pytest.raises(CorruptError, match="image, row 1"):
        tree["image/image"].load()
    assert ldmscene.open(root).complete(layout.IMAGE) == set(ids)
