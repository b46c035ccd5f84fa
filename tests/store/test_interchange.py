"""A store opens without ldmscene: xarray, zarr-python, TensorStore and zarrs read what we read."""

from __future__ import annotations

import base64
import json
from functools import cache
from importlib import resources

import google_crc32c
import jsonschema
import numpy as np
import pytest
import tensorstore
import xarray as xr
import zarr
import zarrs  # noqa: F401, registers its pipeline
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ldmscene.store import layout
from ldmscene.store.compression import COMPRESSIONS
from tests.store import worlds

ACTIVATION = layout.activation_path(worlds.MODULE)


@pytest.fixture(scope="module", params=COMPRESSIONS)
def store(request, tmp_path_factory):
    return worlds.make(tmp_path_factory.mktemp("interchange") / "s", 5, request.param)


def _xarray_tree(store, path):
    tree = xr.open_datatree(store.root / layout.ZARR, engine="zarr", consolidated=False)
    assert tree.sizes["sample"] == 5
    assert tree["timestep"].values.tolist() == [9, 5, 1]
    return tree[path].values


def _xarray_group(store, path):
    group, _, name = path.rpartition("/")
    found = xr.open_zarr(store.root / layout.ZARR, group=group or None, consolidated=False)[name]
    assert found.dims == ("sample", *store.info(path).dims)
    return found.values


def _zarr(store, path):
    return zarr.open_array(store.root / layout.ZARR / path, mode="r")[:]


def _zarrs(store, path):
    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        return zarr.open_array(store.root / layout.ZARR / path, mode="r")[:]


def _tensorstore(store, path):
    place = {"driver": "file", "path": f"{store.root / layout.ZARR / path}/"}
    return tensorstore.open({"driver": "zarr3", "kvstore": place}, open=True).result().read().result()


@pytest.mark.parametrize("read", [_xarray_tree, _xarray_group, _zarr, _zarrs, _tensorstore])
@pytest.mark.parametrize("path", [ACTIVATION, layout.LATENTS, layout.IMAGE])
def test_another_reader_sees_the_same_numbers(store, path, read):
    ours = store.info(path).read(range(5), {})
    theirs = np.asarray(read(store, path))
    assert theirs.dtype == ours.dtype
    np.testing.assert_array_equal(theirs, ours)


@cache
def _schema() -> dict:
    return json.loads((resources.files("ldmscene.store") / "schema.json").read_text())


def _document(store) -> dict:
    """What the schema describes, read as it says, without ldmscene where it can be."""
    published = []
    for path in sorted((store.root / layout.LEDGER).glob("metadata-*.json")):
        body, checksum, end = path.read_bytes().rsplit(b"\n", 2)
        assert (int(checksum, 16), end) == (google_crc32c.value(body), b"")
        assert path.with_suffix(".copy").read_bytes() == path.read_bytes()
        published.append(json.loads(body))
    whole = {path: base64.b64decode(text) for documents in published for path, text in documents.items()}
    assert all((store.root / path).read_bytes() == data for path, data in whole.items())
    root = json.loads(whole[f"{layout.ZARR}/zarr.json"])
    return {"attributes": root["attributes"], "ledger": store.ledger.to_dict("records"), "metadata": published}


def test_a_store_is_what_its_schema_says(store, two):
    jsonschema.Draft202012Validator.check_schema(_schema())
    jsonschema.validate(_document(store), _schema())
    jsonschema.validate(_document(two), _schema())
    assert _schema()["properties"]["attributes"]["properties"]["format"]["enum"] == list(layout.READABLE)


NAMES = st.sampled_from(
    ["image", "labels", "depth", "activations", "a.b", "activation", "zarr.json", "previews", "noisy", "c", "0",
     "timestep", layout.ZARR, layout.MANIFEST, "..", "", "edit", "controls.json", "wanted", "size", "intermediate",
     "a\n", "statistics", "canary.json", "manifest", "000001000.parquet"]
)  # fmt: skip


@given(st.lists(NAMES, min_size=1, max_size=5).map("/".join))
@settings(max_examples=2000, deadline=None)
@example("activations.zarr/activations/a.b/activation/zarr.json")
@example("activations.zarr/timestep/c/0")
@example("intermediate/noisy/depth")
@example("manifest/000001000.parquet")
def test_the_schema_and_the_code_know_the_same_paths(path):
    row = _schema()["properties"]["ledger"]["items"]["properties"]["what"]
    names = _schema()["properties"]["metadata"]["items"]["propertyNames"]
    if not path.endswith("\n"):  # which Python's $ lets through
        assert jsonschema.Draft202012Validator(row).is_valid(path) == layout.is_key(path)
        assert jsonschema.Draft202012Validator(names).is_valid(path) == layout.is_document(path)


@pytest.mark.parametrize(
    ("where", "value"), [("format", 9), ("fingerprint", "?"), ("modules", ["a", "a"]), ("compression", "int8")]
)
def test_what_is_no_store_fails_the_schema(store, where, value):
    document = _document(store)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**document, "attributes": {**document["attributes"], where: value}}, _schema())
