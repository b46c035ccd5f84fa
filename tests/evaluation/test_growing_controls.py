"""A store and its control that grow together, and what is said before they would part."""

from __future__ import annotations

import shutil

import pytest

import ldmscene
from ldmscene.evaluation import samples as sampling
from tests.conftest import LAST, files, make_manifest

SHORT = {"modules": LAST, "steps": 1, "progress": False}


@pytest.fixture(scope="module", autouse=True)
def small_blocks():
    """So that two held-out samples are one block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "BLOCK", 2)
        yield


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
