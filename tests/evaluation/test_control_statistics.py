"""A control of which nothing stays but statistics: the same grid as from one whose activations are stored."""

from __future__ import annotations

import os
import shutil
import warnings

import numpy as np
import pytest
import xarray as xr

import ldmscene
from ldmscene import capture
from ldmscene.errors import ControlWarning, CorruptError, IncompleteError, InputError, LdmsceneError, WriteError
from ldmscene.evaluation import absorbing, assembly
from ldmscene.evaluation import samples as sampling
from ldmscene.evaluation.task import CV, shared_seed
from ldmscene.extraction import fill
from ldmscene.manifest import read_manifest
from ldmscene.store.disk import Disk
from ldmscene.store.dropping import forget
from ldmscene.store.layout import activation_path
from tests.conftest import FIRST, LAST, STEPS, bare_copy, files, make_manifest, overflowing
from tests.evaluation.blocks import blocks_of
from tests.test_cli import call

HOW = {"modules": [FIRST, LAST], "steps": STEPS, "batch_size": 10, "progress": False}
MODULES = {"modules": [FIRST, LAST], "progress": False}
COMPUTED = shutil.ignore_patterns("statistics", "probes")
PARTS = ("permuted", "permuted_cv_score", "rival_explained", "rival_left")


small_blocks = blocks_of(2)  # so that folds and held-out samples are several blocks


@pytest.fixture(scope="module")
def labelled(store, small_blocks, tmp_path_factory):
    return bare_copy(store, tmp_path_factory.mktemp("controls") / "store")


@pytest.fixture(scope="module")
def stored(tiny, labelled, tmp_path_factory):
    """A control whose activations are all stored."""
    root = tmp_path_factory.mktemp("controls") / "stored"
    return ldmscene.extract(capture.permute_weights(tiny), labelled.manifest, root, **HOW)


@pytest.fixture(scope="module")
def whole(labelled, stored) -> xr.Dataset:
    return ldmscene.evaluate(labelled, permuted=stored, **MODULES)


@pytest.fixture(scope="module")
def made(tiny, labelled, stored, whole, tmp_path_factory):
    """Of the same activations, statistics alone."""
    root = shutil.copytree(stored.root, tmp_path_factory.mktemp("controls") / "made", ignore=COMPUTED)
    return ldmscene.extract(tiny, labelled.manifest, root, control=labelled, **HOW)


@pytest.fixture
def control(made, tmp_path):
    return ldmscene.open(shutil.copytree(made.root, tmp_path / "control"))


def _anew(labelled, **arguments) -> xr.Dataset:
    """Not the cached grid, which is the same: a control is known by its checksums."""
    shutil.rmtree(labelled.root / "probes")
    return ldmscene.evaluate(labelled, **arguments, **MODULES)


def _same(found: xr.Dataset, expected: xr.Dataset) -> None:
    for name in PARTS:
        xr.testing.assert_allclose(found[name].drop_attrs(), expected[name].drop_attrs(), rtol=1e-4, atol=1e-5)


def test_the_grid_is_that_of_stored_activations(labelled, made, whole):
    found = _anew(labelled, permuted=made)
    _same(found, whole)
    assert "permuted weights" in found["rival"].values
    assert "not excluded" not in ldmscene.emergence(found).loc["mask", "sentence"]


@pytest.mark.slow
def test_samples_are_generated_block_by_block_and_read_as_the_same(tiny, labelled, whole, tmp_path):
    """Batches of another size round otherwise, and a model with permuted weights makes more of it."""
    root = tmp_path / "control"
    control = ldmscene.extract(tiny, labelled.manifest, root, control=labelled, **HOW)
    assert control.samples["dropped"].all()
    found = ldmscene.evaluate(labelled, "mask", permuted=control, **MODULES)
    gain, expected = (
        (grid["rival_explained"].sum("sample") / grid["rival_left"].sum("sample")).sel(
            rival="permuted weights", target="mask"
        )
        for grid in (found, whole)
    )
    np.testing.assert_allclose(gain, expected, atol=0.01)


def test_seeds_of_training_and_of_held_out_samples_are_found():
    pairs = [(f"prompt {i}", seed) for i in range(4) for seed in (3, 5 + i)]
    shared = read_manifest(pairs).with_splits(["train"] * 4 + ["test"] * 4)
    assert (shared_seed(shared, "test"), shared_seed(shared, "unseen")) == (3, None)
    assert shared_seed(read_manifest(pairs[1::2]).with_splits(["train", "train", "test", "test"]), "test") is None


def test_a_control_that_is_missing_is_told_once(labelled, made, whole):
    shutil.rmtree(labelled.root / "probes")
    with pytest.warns(ControlWarning, match=r"extract\(…, control=store\)`$"):  # no seed is of both splits
        ldmscene.evaluate(labelled, "mask", **MODULES)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ControlWarning)
        ldmscene.evaluate(labelled, "mask", **MODULES)  # from the cache
    shutil.rmtree(labelled.root / "probes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ldmscene.evaluation.task.shared_seed", lambda *_: 7)
        with pytest.warns(
            ControlWarning,
            match=r"; training and held-out samples share seed 7, .* draw held-out samples from other seeds$",
        ):
            ldmscene.evaluate(labelled, "mask", **MODULES)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ControlWarning)
        ldmscene.evaluate(labelled, "mask", permuted=made, **MODULES)


def test_wrong_arrays_may_be_the_controls(labelled, control, monkeypatch):
    def fail(*_):
        raise KeyError("mean_x")

    monkeypatch.setattr(assembly, "of_control", fail)
    with pytest.raises(CorruptError, match=f"or in {control.root}/statistics can't.* for {control.root} run the same"):
        ldmscene.evaluate(labelled, "mask", [LAST], [0], permuted=control, cv=3, progress=False)


def test_nothing_but_statistics_is_stored(made):
    arrays = ("activations/", "image/", "latents/")
    names = [name for name in files(made.root / "activations.zarr") if name.startswith(arrays)]
    assert names
    assert all(name.endswith("zarr.json") for name in names)
    assert made.ledger["bytes"].sum() == 0
    assert {name.split("/")[0] for name in files(made.root / "statistics")} >= {"moments", "held-out"}
    assert not list((made.root / "statistics").glob("coordinates/*"))
    assert made.samples["dropped"].all()
    with pytest.raises(IncompleteError, match="it was dropped for its statistics"):
        made.images()
    with pytest.raises(IncompleteError, match="a control stores none; label the store that it controls"):
        ldmscene.label(made, "redness", lambda images: images[..., 0] / 255)
    assert ldmscene.verify(made, progress=False) == []


def test_some_of_the_targets_and_other_penalties(labelled, made, whole):
    found = ldmscene.evaluate(labelled, "mask", permuted=made, **MODULES)
    expected = whole["permuted"].sel(target=["mask"], metric=found["metric"])
    xr.testing.assert_allclose(found["permuted"].drop_attrs(), expected.drop_attrs(), rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match=r"found none, .* dropped; leave alphas="):
        ldmscene.evaluate(labelled, permuted=made, alphas=(1.0, 100.0), **MODULES)


def test_other_folds_than_the_controls_are_refused_with_its_own(labelled, made):
    said = (
        r"targets or folds, or lost; evaluate with cv=5 and targets that the store had .* run the same `extract\(cont"
    )
    with pytest.raises(InputError, match=said):
        ldmscene.evaluate(labelled, "mask", [LAST], [0], permuted=made, cv=3, progress=False)


def test_a_control_is_read_beyond_the_latents_of_what_it_controls(labelled, stored):
    found = ldmscene.evaluate(labelled, "mask", permuted=stored, beyond=["position", "latent"], **MODULES)
    left = found["rival_left"].sel(rival="permuted weights").transpose("target", "step", "sample")
    expected = found["left"].sel(module=LAST).transpose("target", "step", "sample")
    np.testing.assert_allclose(left, expected, rtol=1e-5)
    assert np.isfinite(found["rival_explained"].sel(rival="permuted weights")).all()


def test_a_store_without_labels_has_no_control(tiny, two, tmp_path):
    with pytest.raises(InputError, match=r"control: .* has no labels yet; label it first"):
        ldmscene.extract(tiny, two.manifest, tmp_path / "new", control=two, steps=2)
    assert not (tmp_path / "new").exists()


def test_a_control_of_statistics_knows_no_latent(tiny, labelled, made, tmp_path):
    with pytest.raises(InputError, match="a control's statistics hold no products with the latent"):
        ldmscene.extract(tiny, labelled.manifest, tmp_path / "new", control=labelled, beyond="latent", **HOW)
    with pytest.raises(InputError, match="'latent' needs activations"):
        ldmscene.evaluate(labelled, "mask", permuted=made, beyond="latent", **MODULES)


@pytest.mark.slow
def test_more_that_is_known_is_scored_anew(tiny, labelled, control):
    more = {"beyond": ["position", "mask"]}
    with pytest.raises(InputError, match=r"give `extract\(control=…\)` the same beyond="):
        ldmscene.evaluate(labelled, "depth", permuted=control, **more, **MODULES)
    states = files(control.root / "statistics" / "moments")
    ldmscene.extract(tiny, labelled.manifest, control.root, control=labelled, **more, **HOW)
    assert files(control.root / "statistics" / "moments") == states
    found = ldmscene.evaluate(labelled, "depth", permuted=ldmscene.open(control.root), **more, **MODULES)
    assert np.isfinite(found["rival_explained"].sel(rival="permuted weights")).all()


class _Stop(BaseException):
    pass


@pytest.mark.slow
@pytest.mark.parametrize(
    ("at_once", "at"), [(0, 60), (0, 150), (0, 300), *((absorbing.AT_ONCE, n) for n in (60, 100, 150))]
)
def test_a_run_that_was_stopped_goes_on(tiny, labelled, stored, made, whole, tmp_path, monkeypatch, at_once, at):
    monkeypatch.setattr(absorbing, "AT_ONCE", at_once)
    replace, count = os.replace, 0

    def stop(*names, **folders):
        nonlocal count
        count += 1
        if count == at:
            raise _Stop
        return replace(*names, **folders)

    root = shutil.copytree(stored.root, tmp_path / "control", ignore=COMPUTED)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", stop)
        with pytest.raises(_Stop):
            ldmscene.extract(tiny, labelled.manifest, root, control=labelled, **HOW)
    again = ldmscene.extract(tiny, labelled.manifest, root, control=labelled, **HOW)
    assert files(again.root / "statistics" / "moments") == files(made.root / "statistics" / "moments")
    _same(_anew(labelled, permuted=again), whole)


def test_samples_that_overflow_are_named_once_all_is_done_that_can_be_without_them(tiny, labelled, stored, tmp_path):
    control = ldmscene.open(shutil.copytree(stored.root, tmp_path / "control", ignore=COMPUTED))
    seeds = control.manifest.frame.set_index("sample_id")["seed"]
    first, *others = sampling.training_folds(control.manifest, CV)[0]
    held_out = seeds.index[control.manifest.frame["split"] == "test"].tolist()
    unsound = [first.ids[0], held_out[0]]
    forget(control, {activation_path(LAST): unsound})
    blocks = [*first.ids, *(sample_id for block in others for sample_id in block.ids)], held_out[: sampling.BLOCK]
    for bad, left in zip(tuple(unsound), ([*blocks[0], *held_out], blocks[1]), strict=True):
        with overflowing(tiny, set(seeds[unsound])), pytest.raises(LdmsceneError) as caught:
            ldmscene.extract(tiny, labelled.manifest, control.root, control=labelled, **HOW)
        assert f"neither summed nor scored, and {len(left) - 1} others wait for them:\n  {bad}: {LAST}" in str(
            caught.value
        )
        assert "dtype='float32' and other stores, for the control and what it controls" in str(caught.value)
        control.refresh()
        assert set(control.samples.query("not dropped")["sample_id"]) == set(left)
        unsound.remove(bad)
    ldmscene.extract(tiny, labelled.manifest, control.root, control=labelled, **HOW)
    control.refresh()
    assert control.samples["dropped"].all()


def test_a_store_that_cannot_be_written_to_gets_its_control(tiny, labelled, stored, made, tmp_path, monkeypatch):
    locked = bare_copy(labelled, tmp_path / "locked")
    root = shutil.copytree(stored.root, tmp_path / "control", ignore=COMPUTED)
    before, write = files(locked.root), Disk.write

    def refuse(disk, key, data):
        if disk.root == locked.root:
            raise WriteError("read-only")
        write(disk, key, data)

    monkeypatch.setattr(Disk, "write", refuse)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = ldmscene.extract(tiny, locked.manifest, root, control=locked, **HOW)
    assert files(found.root / "statistics" / "moments") == files(made.root / "statistics" / "moments")
    assert files(locked.root) == before
    assert any("new statistics aren't cached" in str(one.message) for one in caught)


def test_the_same_call_again_generates_nothing(tiny, labelled, control, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a sample was generated")

    monkeypatch.setattr(fill, "generate", refuse)
    before = control.ledger
    again = ldmscene.extract(tiny, labelled.manifest, control.root, control=labelled, **HOW)
    assert again.ledger.equals(before)


def test_another_run_is_no_control(tiny, labelled, tmp_path):
    root = tmp_path / "control"
    with pytest.raises(InputError, match="the manifest has others"):
        ldmscene.extract(tiny, make_manifest(2, 1), root, control=labelled, **HOW)
    with pytest.raises(InputError, match=r"weights alone; what differs: .*steps"):
        ldmscene.extract(tiny, labelled.manifest, root, control=labelled, **HOW | {"steps": 3})
    with pytest.raises(InputError, match="takes no client="):
        ldmscene.extract(tiny, labelled.manifest, root, control=labelled, keep="statistics", labelers={"a": "b"}, **HOW)
    assert not root.exists()


@pytest.mark.slow
def test_a_control_of_statistics_has_the_test_split_alone(tiny, tmp_path):
    how = {"modules": LAST, "steps": 1, "progress": False}
    samples = make_manifest(5, 2).with_splits([*["train"] * 5, "test", "val"])
    store = ldmscene.extract(tiny, samples, tmp_path / "store", **how)
    ldmscene.label(store, "depth", "tiny-depth", progress=False)
    control = ldmscene.extract(tiny, samples, tmp_path / "control", control=store, **how)
    with pytest.raises(InputError, match=r"samples of split 'val', but .* has those of split 'test'"):
        ldmscene.evaluate(store, permuted=control, held_out="val", progress=False)
    stored = ldmscene.extract(capture.permute_weights(tiny), samples, tmp_path / "stored", **how)
    judged = ldmscene.evaluate(store, permuted=stored, held_out="val", progress=False)
    assert judged["permuted"].sizes["sample"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "test"])
def test_samples_that_were_forgotten_in_part_are_brought_in_again(tiny, labelled, control, made, split):
    frame = labelled.manifest.frame
    some = frame["sample_id"][frame["split"] == split].iloc[1:4]
    forget(control, {activation_path(LAST): some})
    again = ldmscene.extract(tiny, labelled.manifest, control.root, control=labelled, **HOW)
    assert again.samples["dropped"].all()
    ldmscene.evaluate(labelled, "mask", permuted=again, **MODULES)


@pytest.mark.slow
def test_what_a_control_takes_is_foretold(tiny, labelled, made, tmp_path):
    found = ldmscene.estimate(tiny, labelled.manifest, tmp_path / "control", control=labelled, **HOW)
    moments = sum(map(len, files(made.root / "statistics" / "moments").values()))
    assert found["bytes"] == found["bytes_of_statistics"]
    assert found["bytes"] == pytest.approx(moments, rel=0.2)


@pytest.mark.slow
def test_the_command_line_makes_one(labelled, stored, made, tmp_path):
    root = shutil.copytree(stored.root, tmp_path / "control", ignore=COMPUTED)
    assert ldmscene.open(root).ledger["bytes"].sum() > 0
    code, _, err = call(
        "extract", "tiny-scenes", labelled.root / "manifest.parquet", "--store", root, "--control", labelled.root,
        "--modules", FIRST, "--modules", LAST, "--steps", STEPS, "--batch-size", 10,
    )  # fmt: skip
    assert code == 0, err
    assert ldmscene.open(root).ledger["bytes"].sum() == 0
    for part in ("moments", "held-out"):
        assert files(root / "statistics" / part) == files(made.root / "statistics" / part) != {}
