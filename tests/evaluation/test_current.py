"""Evaluations are of what a store holds now, whatever was opened or cached before."""

from __future__ import annotations

import shutil
from typing import ClassVar

import numpy as np
import pytest

import ldmscene
from ldmscene.axes import told
from ldmscene.errors import IncompleteError
from tests.conftest import bare_copy
from tests.store import worlds

HOW = {"steps": [0], "cv": 2, "beyond": None, "progress": False}


class Bright:
    """A labeler that says the same of itself whatever its power is."""

    provenance: ClassVar = {"labeler": "bright", "kind": "continuous"}

    def __init__(self, power: float) -> None:
        self.power = power

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return images.mean(-1, dtype=np.float32) ** self.power


def _label_anew(store: ldmscene.ActivationStore, labeler: Bright) -> None:
    """As docs/how-to.md says, by somebody else."""
    shutil.rmtree(store.root / "activations.zarr/labels/own")
    ldmscene.repair(store.root, progress=False)
    ldmscene.label(str(store.root), "own", labeler, progress=False)


def _scores(store: ldmscene.ActivationStore) -> np.ndarray:
    return ldmscene.evaluate(store, "own", **HOW)["probe"].values


@pytest.fixture
def store(tmp_path):
    return ldmscene.label(worlds.make(tmp_path / "store", 6), "own", Bright(1), progress=False)


def test_labels_that_were_replaced_leave_no_wrong_statistics(store, tmp_path):
    first = _scores(bare_copy(store, tmp_path / "first"))
    _label_anew(store, Bright(3))
    second = _scores(bare_copy(ldmscene.open(store.root), tmp_path / "second"))
    assert np.abs(first - second).max() > 0.01
    np.testing.assert_array_equal(_scores(store), second)  # which was opened before
    _label_anew(store, Bright(1))
    np.testing.assert_array_equal(_scores(ldmscene.open(store.root)), first)


def test_labels_that_somebody_took_out_are_made_again(store):
    shutil.rmtree(store.root / "activations.zarr/labels/own")
    ldmscene.repair(store.root, progress=False)
    ldmscene.label(store, "own", Bright(2), progress=False)  # which was opened before
    assert ldmscene.open(store.root).targets == ["own"]


def test_the_grid_of_a_copy_names_the_copy(store, tmp_path):
    _scores(store)
    copied = shutil.copytree(store.root, tmp_path / "copy")
    found = ldmscene.evaluate(copied, "own", **HOW)
    assert (found.attrs["store"], told(found)["store"]) == (str(copied), "copy")


def test_samples_that_a_stopped_run_left_out_are_told_though_there_is_a_grid(store):
    _scores(store)
    worlds.prepare(store.root, 8)
    with pytest.raises(IncompleteError, match=r"2 samples lack latents .* run extract again"):
        _scores(store)
