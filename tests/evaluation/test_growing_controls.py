"""A store and its control that grow together, and what is said before they would part."""

from __future__ import annotations

import shutil

import pytest

import ldmscene
from ldmscene import capture
from ldmscene.errors import InputError
from tests.conftest import FIRST, LAST, files, make_manifest
from tests.evaluation.blocks import blocks_of

SHORT = {"modules": LAST, "steps": 1, "progress": False}


small_blocks = blocks_of(2)  # so that two held-out samples are one block


@pytest.fixture(scope="module")
def growing(tiny, small_blocks, tmp_path_factory):
    """A labelled store of six samples, its manifest with a seventh, and a control of those six."""
    folder = tmp_path_factory.mktemp("growing")
    more = make_manifest(5, 2)
    store = ldmscene.extract(tiny, more.only(more.table["sample_id"].to_pylist()[:6]), folder / "store", **SHORT)
    ldmscene.label(store, "depth", "tiny-depth", progress=False)
    ldmscene.extract(tiny, store.manifest, folder / "store-permuted", control=store, **SHORT)
    return store, more


@pytest.fixture
def grown(growing, tmp_path):
    """The six samples' stores to break, and all seven."""
    store, more = growing
    for name in ("store", "store-permuted"):
        shutil.copytree(store.root.with_name(name), tmp_path / name)
    return ldmscene.open(tmp_path / "store"), ldmscene.open(tmp_path / "store-permuted"), more


def test_a_control_grows_with_held_out_samples(tiny, grown):
    """The last block of six samples is one of other samples among seven."""
    store, control, more = grown
    store = ldmscene.extract(tiny, more, store.root, **SHORT)
    ldmscene.label(store, "depth", "tiny-depth", progress=False)
    again = ldmscene.extract(tiny, more, control.root, control=store, **SHORT)
    anew = ldmscene.extract(tiny, more, control.root.with_name("anew"), control=store, **SHORT)
    assert anew.samples["dropped"].all()
    for part in ("moments", "held-out"):
        found, expected = (files(one.root / "statistics" / part) for one in (again, anew))
        assert expected.items() <= found.items()


def test_no_training_samples_are_added_to_a_store_whose_control_cannot_take_them(growing):
    store, _ = growing
    more = make_manifest(5, 3).with_splits([*["train"] * 5, "test", "test", "train"])
    before = files(store.root)
    for dry in (True, False):
        with pytest.raises(InputError, match=f"delete {store.root}-permuted, or run without .*--no-control"):
            ldmscene.run(more, store=store.root, report=store.root.with_name("report"), dry_run=dry)
    assert files(store.root) == before
    assert not store.root.with_name("report").exists()


def test_a_control_is_of_its_stores_modules_and_samples(tiny, growing, tmp_path):
    store, more = growing
    longer = ldmscene.extract(tiny, more, shutil.copytree(store.root, tmp_path / "longer"), **SHORT)
    ldmscene.label(longer, "depth", "tiny-depth", progress=False)
    own = f"{longer.root}/manifest.parquet"
    assert ldmscene.estimate(tiny, own, tmp_path / "made", control=longer.root, steps=1)["samples"] == 7
    assert not (tmp_path / "made").exists()
    made = ldmscene.extract(tiny, longer.root, tmp_path / "made", control=longer.root, steps=1, progress=False)
    assert (made.modules, len(made.manifest)) == ([LAST], 7)


def test_modules_that_its_store_lacks_are_refused_before_a_control_is_made(tiny, growing, tmp_path):
    store, _ = growing
    how = {"control": store, "steps": 1, "progress": False}
    root = tmp_path / "control"
    with pytest.raises(InputError, match=f"modules of {store.root}, which lacks 1, {FIRST} among them; leave modules="):
        ldmscene.extract(tiny, store.root, root, modules=[FIRST, LAST], **how)
    assert not root.exists()
    some = store.manifest.only([store.manifest.frame["sample_id"][0]])
    ldmscene.extract(capture.permute_weights(tiny), some, root, modules=[FIRST, LAST], steps=1, progress=False)
    with pytest.raises(InputError, match=f"{root} has them, so use another store for the control"):
        ldmscene.extract(tiny, store.root, root, **how)


def test_too_few_training_prompts_are_told_where_no_folds_can_be_asked_for(tiny, tmp_path):
    few = make_manifest(4, 1)
    for call in (
        lambda: ldmscene.extract(
            tiny, few, tmp_path / "s", keep="statistics", labelers={"depth": "tiny-depth"}, **SHORT
        ),
        lambda: ldmscene.run(few, store=tmp_path / "s", report=tmp_path / "r"),
    ):
        with pytest.raises(InputError, match="4 training prompts, and cross-validation needs 5; add prompts, or store"):
            call()
    assert not list(tmp_path.iterdir())
