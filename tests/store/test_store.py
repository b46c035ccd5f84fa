"""A store, as its readers see it: ours, xarray's, and one that was tampered with."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
import xarray as xr
import zarr

import ldmscene
from ldmscene.errors import CorruptError, IncompleteError, InputError, StoreError, UnknownNameError
from ldmscene.store import layout
from ldmscene.store.check import find_faults, repair
from tests.conftest import FIRST, LAST, STEPS


def test_activations_are_what_zarr_reads(store):
    ours = store.activations(FIRST, split="test")
    theirs = zarr.open_array(store.root / layout.ZARR / layout.activation_path(FIRST), mode="r")
    assert ours.dims == ("sample", "step", "y", "x", "channel")
    assert ours.dtype == np.float16
    np.testing.assert_array_equal(ours, theirs[store.rows(ours["sample"].values)][:, :, 0])
    np.testing.assert_array_equal(store.activations(FIRST, step=2, split="test"), ours.sel(step=2))
    np.testing.assert_array_equal(store.activations(FIRST, step=[3, 1], split="test"), ours.sel(step=[3, 1]))


def test_xarray_opens_the_whole_and_a_part_without_us(store):
    tree = xr.open_datatree(store.root / layout.ZARR, engine="zarr", consolidated=False)
    assert tree["image"].dims == ("sample", "Y", "X", "rgb")
    assert tree["timestep"].values.tolist() == store.timesteps
    one = xr.open_zarr(store.root / layout.ZARR, group=f"activations/{LAST}", consolidated=False)
    np.testing.assert_array_equal(one["activation"][3, :, 0], store.activations(LAST)[3])


def test_what_the_store_says_of_itself(store, manifest):
    assert store.samples["complete"].all()
    assert store.samples["prompt"].tolist() == manifest.frame["prompt"].tolist()
    assert len(store.modules) == 16
    assert store.modules[0] == FIRST
    assert store.modules[-1] == LAST
    assert store.steps == list(range(STEPS))
    assert set(store.targets) == {"depth", "mask", "shading"}
    assert "20 of 20 samples" in repr(store)
    assert store.fingerprint in store._repr_html_()


def test_selecting_by_prompt_and_seed(store, manifest):
    row = manifest.frame.iloc[5]
    found = store.sel(module=FIRST, prompt=row.prompt, seed=int(row.seed), step=1)
    np.testing.assert_array_equal(found[0], store.activations(FIRST, step=1).sel(sample=row.sample_id))
    with pytest.raises(InputError, match="no complete sample"):
        store.sel(module=FIRST, seed=987654321)


def test_wrong_names_and_steps_are_answered_with_what_exists(store):
    with pytest.raises(UnknownNameError, match=FIRST):
        store.activations(FIRST.replace("attn1", "attn3"))
    with pytest.raises(InputError, match="its steps are 0 to 3"):
        store.activations(FIRST, step=15)
    with pytest.raises(UnknownNameError, match="depth"):
        store.labels("dept")
    with pytest.raises(UnknownNameError, match="cond"):
        store.activations(FIRST, branch="uncond")
    with pytest.raises(IncompleteError, match="'val'"):
        store.images("val")


def test_a_sample_without_its_ledger_row_is_not_served(two):
    for path in (two.root / layout.LEDGER).glob("*.parquet"):
        path.unlink()
    again = ldmscene.open(two.root)
    assert not again.samples["complete"].any()
    with pytest.raises(IncompleteError):
        again.activations(FIRST)


def test_repair_leaves_alone_what_is_no_store(tmp_path):
    (tmp_path / layout.LEDGER).mkdir()
    (tmp_path / layout.LEDGER / "mine.parquet").write_bytes(b"mine")
    with pytest.raises(StoreError, match="no store"):
        repair(tmp_path)
    assert (tmp_path / layout.LEDGER / "mine.parquet").read_bytes() == b"mine"


def test_repair_sets_an_unreadable_ledger_file_aside(two):
    (path,) = (two.root / layout.LEDGER).glob("*.parquet")
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(CorruptError, match="repair"):
        ldmscene.open(two.root)
    assert repair(two.root) == 1
    assert not ldmscene.open(two.root).samples["complete"].any()
    assert path.with_suffix(".broken").exists()


def test_opening_what_is_no_store(tmp_path):
    with pytest.raises(StoreError, match="no store at"):
        ldmscene.open(tmp_path / "nothing")
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="not an ldmscene store"):
        ldmscene.open(tmp_path)


def test_a_newer_format_is_refused_with_the_version_that_reads_it(two):
    path = two.root / layout.ZARR / "zarr.json"
    meta = json.loads(path.read_text())
    meta["attributes"] |= {"format": layout.FORMAT + 1, "ldmscene": "9.9"}
    path.write_text(json.dumps(meta))
    with pytest.raises(StoreError, match=r"written by ldmscene 9\.9"):
        ldmscene.open(two.root)


def test_damaged_root_metadata_is_named(two):
    (two.root / layout.ZARR / "zarr.json").write_text("{")
    with pytest.raises(CorruptError, match=r"zarr\.json is damaged"):
        ldmscene.open(two.root)


def test_verify_finds_every_flipped_bit_and_truncation_and_repair_drops_them(two):
    shards = [two.info(row.what).file(two.rows([row.sample_id])[0]) for row in two.ledger.itertuples()]
    whole = {path: path.read_bytes() for path in shards}
    assert len(whole) == 6
    assert find_faults(two.root) == []
    draw = random.Random(0)
    for trial in range(60):
        path = draw.choice(sorted(whole))
        data = bytearray(whole[path])
        if trial % 2:
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        else:
            del data[draw.randrange(len(data)) :]
        path.write_bytes(data)
        assert len(find_faults(two.root)) == 1, f"{path}, trial {trial}"
        path.write_bytes(whole[path])
    path.write_bytes(b"")
    assert repair(two.root) == 1
    assert find_faults(two.root) == []
    mended = ldmscene.open(two.root)
    assert len(mended.ledger) == len(two.ledger) - 1
    assert len(mended.ledger.merge(two.ledger)) == len(mended.ledger)
