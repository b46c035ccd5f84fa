"""A store, as its readers see it: ours, xarray's, and one that was tampered with."""

from __future__ import annotations

import shutil
from functools import partial

import numpy as np
import pytest
import xarray as xr
import zarr

import ldmscene
from ldmscene.errors import IncompleteError, InputError, StoreError, UnknownNameError
from ldmscene.store import layout
from ldmscene.store.disk import Disk
from ldmscene.store.ledger import Entry, Ledger
from tests.conftest import FIRST, LAST, STEPS, make_manifest


def test_activations_are_what_zarr_reads(store):
    ours = store.activations(FIRST, split="test")
    theirs = zarr.open_array(store.root / layout.ZARR / layout.activation_path(FIRST), mode="r")
    assert ours.dims == ("sample", "step", "y", "x", "channel")
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(ours, theirs[store.rows(ours["sample"].values)][:, :, 0])
    np.testing.assert_array_equal(store.activations(FIRST, step=2, split="test"), ours.sel(step=2))
    np.testing.assert_array_equal(store.activations(FIRST, step=[3, 1], split="test"), ours.sel(step=[3, 1]))


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


def test_one_is_counted_as_one(tiny, tmp_path, capsys):
    made = ldmscene.extract(tiny, [("a red cube", 1)], tmp_path / "one", [FIRST], steps=1)
    assert "\n1 sample to generate, " in capsys.readouterr().err
    assert repr(made).endswith(": 1 of 1 sample, 1 module, 1 step>")


def test_selecting_by_prompt_and_seed(store, manifest):
    row = manifest.frame.iloc[5]
    found = store.sel(module=FIRST, prompt=row.prompt, seed=int(row.seed), step=1)
    np.testing.assert_array_equal(found[0], store.activations(FIRST, step=1).sel(sample=row.sample_id))
    with pytest.raises(InputError, match="no complete sample"):
        store.sel(module=FIRST, seed=987654321)


def test_samples_are_selected_by_name_in_the_order_of_their_names(store, manifest):
    some = manifest.frame["sample_id"].iloc[[17, 3, 15]].tolist()
    for whole, part in (
        (store.activations(FIRST, step=1), store.activations(FIRST, step=1, samples=some)),
        (store.images(), store.images(samples=some)),
        (store.latents([2, 0]), store.latents([2, 0], samples=some)),
        (store.labels("depth"), store.labels("depth", samples=some)),
    ):
        xr.testing.assert_identical(part.compute(), whole.compute().sel(sample=some))
    held_out = [some[2], some[0]]
    for read in (partial(store.previews, "noisy"), partial(store.intermediate, "predicted", "depth")):
        xr.testing.assert_identical(
            read(step=[3, 1], samples=held_out).compute(), read("test").compute().sel(step=[3, 1], sample=held_out)
        )
    assert store.images("test", samples=some)["sample"].values.tolist() == held_out[::-1]
    assert store.images(samples=some[0])["sample"].values.tolist() == some[:1]
    with pytest.raises(UnknownNameError, match=some[0]):
        store.images(samples=[some[0] + "0"])
    with pytest.raises(IncompleteError, match=f"sample {some[1]} has no previews/noisy"):
        store.previews("noisy", samples=some)


def test_what_is_selected_is_all_that_is_read(store, manifest, ranges):
    chunk = store.info(layout.activation_path(FIRST)).layout.chunk_bytes + 4
    row = manifest.frame.iloc[5]
    store.sel(module=FIRST, prompt=row.prompt, seed=int(row.seed), step=1).compute()
    assert ranges.count(chunk) == len(ranges) == 1
    ranges.clear()
    late = store.activations(FIRST).isel(step=2)
    np.testing.assert_array_equal(late, store.activations(FIRST, step=2))
    assert ranges.count(chunk) == len(ranges) == 2 * len(manifest)


def test_blocks_of_other_bytes_have_other_names(store, tmp_path):
    """A cluster takes blocks of one name for the same, also after a store was made anew in its place."""
    copied = ldmscene.open(shutil.copytree(store.root, tmp_path / "copy"))
    before = copied.images("test")
    assert before.data.name == ldmscene.open(copied.root).images("test").data.name
    sample_id = str(before["sample"].values[0])
    other = copied.checksums(layout.IMAGE)[sample_id] ^ 1
    Ledger(copied.root).append([Entry(sample_id, layout.IMAGE, other, 1, 0)])
    assert before.data.name != ldmscene.open(copied.root).images("test").data.name


def test_wrong_names_and_steps_are_answered_with_what_exists(store):
    with pytest.raises(UnknownNameError, match=FIRST):
        store.activations(FIRST.replace("attn1", "attn3"))
    with pytest.raises(InputError, match="its steps are 0 to 3"):
        store.activations(FIRST, step=15)
    with pytest.raises(UnknownNameError, match="depth"):
        store.labels("dept")
    with pytest.raises(UnknownNameError, match="no kind of unfinished pictures named 'noise'; nearest: noisy"):
        store.intermediate("noise", "depth")
    with pytest.raises(UnknownNameError, match=r"no target with readings of noisy pictures .*'dept'; nearest: depth"):
        store.intermediate("noisy", "dept")
    with pytest.raises(UnknownNameError, match=r"no target with predictions .*'\.\./depth'; nearest: there are none"):
        store.predictions("../depth")
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


def test_a_store_is_read_again_only_where_something_has_changed(two, monkeypatch):
    handle, read = ldmscene.open(two.root), []
    monkeypatch.setattr(Disk, "read", lambda self, key, *_, real=Disk.read: read.append(key) or real(self, key, *_))
    handle.refresh()
    assert read == []
    ldmscene.label(two, "redness", lambda images: images[..., 0] / 255, progress=False)
    handle.refresh()
    assert "redness" in handle.targets
    assert read


def test_a_refresh_that_fails_leaves_a_store_as_it_was(tiny, two, monkeypatch):
    handle, before = ldmscene.open(two.root), two.samples
    ldmscene.extract(tiny, make_manifest(1, 2), two.root, [FIRST], steps=2, batch_size=2, progress=False)

    def lost(_):
        raise OSError("connection reset")

    monkeypatch.setattr(Ledger, "tables", lost)
    with pytest.raises(OSError, match="connection reset"):
        handle.refresh()
    assert handle.samples.equals(before)
    monkeypatch.undo()
    handle.refresh()
    assert handle.samples["complete"].tolist() == [True] * 3


def test_opening_what_is_no_store(tmp_path):
    with pytest.raises(StoreError, match="no store at"):
        ldmscene.open(tmp_path / "nothing")
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="not an ldmscene store"):
        ldmscene.open(tmp_path)


def test_a_where_that_changes_its_table_changes_no_later_read(store):
    def spoiling(samples):
        samples["prompt"], samples.iloc[:, 3] = "another", 0
        return samples["prompt"] == "another"

    before = store.images("test")
    assert store.images("test", where=spoiling).equals(before)
    assert store.images("test").equals(before)
