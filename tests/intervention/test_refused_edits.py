"""What can't be done is said in one sentence, and nothing is written."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest

import ldmscene
from ldmscene import capture
from ldmscene.errors import FingerprintError, InputError, LdmsceneError, UnknownNameError
from ldmscene.intervention.choosing import rank_modules
from ldmscene.intervention.maps import Subjects
from tests.conftest import bare_copy


def _refused(store, edit, root, tiny, message: str, kind=InputError, **options) -> None:
    with pytest.raises(kind, match=message) as caught:
        ldmscene.intervene(
            store, edit, root, model=tiny, **{"controls": (), "batch_size": 6, "progress": False, **options}
        )
    assert isinstance(caught.value, LdmsceneError)
    assert not root.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"wanted": np.zeros((32, 32))}, r"expected maps of the labels' size \(64, 64\), got \(32, 32\)"),
        ({"wanted": "shift:0,64"}, "a shift of 0,64 leaves the frame of 64 × 64 pixels"),
        ({"wanted": "left"}, "expected 'shift:DY,DX'"),
        ({"rule": "donor", "wanted": np.zeros((64, 64))}, "needs a trajectory that looks as wanted"),
        ({"rule": "donor", "branch": "both"}, "rule 'donor' needs activations of the uncond branch"),
        ({"rule": lambda x, goal, readout: x[:, :1]}, "expected an activation of shape"),
    ],
)
def test_edits_that_cant_be_done(store, edit, tiny, tmp_path, change, message):
    _refused(store, replace(edit, **change), tmp_path / "edited", tiny, message)


def test_a_step_beyond_the_end(store, edit, tiny, tmp_path):
    late = {**edit.readouts, **{(module, 9): edit.readouts[module, 0] for module in edit.modules}}
    beyond = replace(edit, steps=(0, 9), readouts=late)
    _refused(store, beyond, tmp_path / "edited", tiny, "no step 9 in this run; its steps are 0 to 3")


def test_another_model(store, edit, tiny, tmp_path):
    control = capture.permute_weights(tiny)
    _refused(
        store, edit, tmp_path / "edited", control, "fitted on another model or configuration: components.unet.weights"
    )
    other = copy.deepcopy(dict(edit.origin))
    other["config"]["guidance_scale"] = 3.0
    message = "fitted on another model or configuration: guidance_scale: 3.0 then, 7.5 now"
    _refused(store, replace(edit, origin=other), tmp_path / "edited", tiny, message)


def test_an_edit_that_comes_from_nowhere(store, edit, tiny, tmp_path):
    bare = replace(edit, origin={})
    _refused(store, bare, tmp_path / "edited", tiny, r"doesn't say what its probes were fitted on; make it with")


def test_a_donor_without_its_activations(store, edit, tiny, tmp_path):
    module = edit.modules[0]
    only = replace(edit, rule="donor", modules=(module,))
    small = ldmscene.extract(tiny, store.manifest, tmp_path / "small", edit.modules[1], steps=4, batch_size=10)
    ldmscene.label(small, "mask", "tiny-mask")
    _refused(small, only, tmp_path / "edited", tiny, f"rule 'donor' needs activations of .* in {module}")


def test_what_is_no_edit(store, grid, tiny, tmp_path):
    for word, kind in (("mask", "str"), (grid, "Grid")):
        message = f"edit: expected what ldmscene.Edit.of makes, got {kind}; are the arguments in order?"
        _refused(store, word, tmp_path / "edited", tiny, message)
        with pytest.raises(InputError, match=message), ldmscene.editing(tiny, word, prompt="a red cube", seed=1):
            pass


def test_the_nine_best_modules_are_changed_or_all_of_fewer(grid, store):
    ranked = rank_modules(grid, "mask", [0])
    how = {"wanted": "swap", "steps": 0, "store": store}
    assert len(ranked) == 16
    assert ldmscene.Edit.of(grid, "mask", **how).modules == tuple(ranked[:9])
    few = grid.sel(module=ranked[5:8])
    assert ldmscene.Edit.of(few, "mask", **how).modules == tuple(ranked[5:8])


def test_names_that_arent_there(store, grid, edit, tiny, tmp_path):
    for target, modules, steps, message in (
        ("shading", "best:3", 0, "no target in this grid named 'shading'"),
        ("mask", "up_blocks.9*", 0, "no module in this grid named 'up_blocks.9"),
        ("mask", "best:17", 0, "expected best:1 to best:16 of this grid, got 'best:17'"),
        ("mask", "best:1", 4, "no step 4 in this grid; its steps are 0 to 3"),
    ):
        with pytest.raises(InputError, match=message):
            ldmscene.Edit.of(grid, target, wanted="swap", modules=modules, steps=steps)
    _refused(store, edit, tmp_path / "edited", tiny, "no split named 'valid'", UnknownNameError, split="valid")
    _refused(store, edit, tmp_path / "edited", tiny, "no sample of split 'val'", split="val")
    _refused(store, edit, tmp_path / "edited", tiny, "no sample of split 'test' in .* 'x'", samples=["x"])
    _refused(store, edit, tmp_path / "edited", tiny, "samples: expected a count of at least 1", samples=0)
    _refused(store, edit, tmp_path / "edited", tiny, "samples: expected a count of at least 1", samples=[])
    _refused(store, edit, tmp_path / "edited", tiny, "no control named 'rnd'", UnknownNameError, controls=["rnd"])


def test_labels_that_arent_there(store, edit, tiny, tmp_path):
    bare = bare_copy(store, tmp_path / "bare")
    other = replace(edit, target="sky")
    _refused(bare, other, tmp_path / "edited", tiny, "no target with labels in .* named 'sky'", UnknownNameError)
    halves = {s: np.full((64, 64), i % 2) for i, s in enumerate(bare.manifest.frame["sample_id"])}
    ldmscene.label(bare, "half", halves, kind="classes")
    other = replace(edit, target="half=7")
    message = "no target with labels in .* named 'half=7'; nearest: half=.*"
    _refused(bare, other, tmp_path / "edited", tiny, message, UnknownNameError)


def test_labels_are_read_once_for_all_controls_that_want_the_same(store, edit, tmp_path, monkeypatch):
    read, own = [], Subjects.own
    monkeypatch.setattr(Subjects, "own", lambda self, sample_id: read.append(sample_id) or own(self, sample_id))
    nowhere = tmp_path / "nowhere"
    _refused(store, edit, tmp_path / "edited", nowhere, "nowhere", controls=("none", "random:9"))
    assert sorted(read) == sorted(store.manifest.frame.query("split == 'test'")["sample_id"])


def test_maps_that_follow_from_the_edit_are_not_read_again_for_each_control(store, edit, edited, tiny, monkeypatch):
    read, wanted = [], Subjects.wanted
    monkeypatch.setattr(Subjects, "wanted", lambda self, sample_id: read.append(sample_id) or wanted(self, sample_id))
    how = {"controls": ("none", "random:2", "shuffled"), "model": tiny, "dry_run": True, "progress": False}
    assert ldmscene.intervene(store, edit, edited.root, **how)["samples"] == 0
    assert read == []


def test_another_edit_of_a_finished_store(store, edit, edited, tiny):
    before = edited.ledger
    with pytest.raises(FingerprintError, match=r"edit.strength: 2.0 in the store, 1.0 now"):
        ldmscene.intervene(store, replace(edit, strength=1.0), edited.root, controls=(), model=tiny, batch_size=6)
    assert ldmscene.open(edited.root).ledger.equals(before)


def test_the_store_itself_is_no_place_for_its_edit(store, edit, tiny):
    before = store.ledger
    with pytest.raises(InputError, match=r"edited: .* is a store without an edit; name another folder"):
        ldmscene.intervene(store, edit, store.root, controls=(), model=tiny)
    assert ldmscene.open(store.root).ledger.equals(before)


def test_a_grid_that_doesnt_know_its_store(store, grid):
    lost = grid.copy()
    del lost.attrs["store"]
    with pytest.raises(InputError, match="name it with store="):
        ldmscene.Edit.of(lost, "mask", wanted="swap", modules="best:1", steps=0)
    assert ldmscene.Edit.of(lost, "mask", wanted="swap", modules="best:1", steps=0, store=store).steps == (0,)


def test_tokens_of_text_are_refused(tiny, edit):
    from ldmscene.intervention.planning import plan_for

    text = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
    readouts = {(text, 0): edit.readouts[edit.modules[0], 0]}
    with pytest.raises(InputError, match=f"{text} returns tokens that lie on no"):
        plan_for(capture.Model.load(tiny), replace(edit, modules=(text,), steps=(0,), spare=(), readouts=readouts))
