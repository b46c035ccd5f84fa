"""What may be compared: pictures of one run, for the same wanted maps, by labels that are made alike."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import ldmscene
from ldmscene import capture
from ldmscene.calls import intervening
from ldmscene.calls.intervening import intervene_as_planned
from ldmscene.errors import FingerprintError, InputError
from ldmscene.evaluation.features import read_branch
from ldmscene.intervention.controls import controls_of
from ldmscene.intervention.effects import _mean_where
from ldmscene.intervention.runs import check_source
from ldmscene.protocols import PlannedEdit
from tests.conftest import FIRST, LAST, bare_copy


def _intervene(store, edit, root, tiny, **options):
    return ldmscene.intervene(
        store, edit, root, model=tiny, **{"batch_size": 6, "controls": (), "progress": False, **options}
    )


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.mean(2 * (a & b).sum((1, 2)) / (a.sum((1, 2)) + b.sum((1, 2)))))


def test_another_store_is_not_the_one_that_was_edited(store, edited, tiny, tmp_path):
    some = store.manifest.only(edited.manifest.frame["sample_id"].tolist())
    other = ldmscene.extract(tiny, some, tmp_path / "s", FIRST, steps=4, guidance_scale=2, batch_size=6, progress=False)
    ldmscene.label(other, "mask", "tiny-mask", progress=False)
    with pytest.raises(InputError, match=r"s isn't the store that was edited; .*: guidance_scale: 7.5 there, 2.0 here"):
        ldmscene.effect(edited, other)
    moved = [("x", *key[1:]) for key in store.manifest.keys]
    strange = SimpleNamespace(
        root="s", config=store.config, manifest=SimpleNamespace(frame=store.manifest.frame, keys=moved)
    )
    first = edited.manifest.frame["sample_id"].iloc[0]
    with pytest.raises(InputError, match=f"it has no sample {first} of the same prompt and seed"):
        check_source(edited, strange, "mask")


def test_labels_that_are_made_in_another_way_by_now_are_refused_wherever_they_are_met(
    store, grid, edit, edited, tiny, tmp_path
):
    changed = "labels 'mask' of .* are made by tiny-mask in another way than those by theirs to which the probes were"
    theirs = {"mask": {**edit.origin["labels"]["mask"], "labeler": "theirs"}}
    with pytest.raises(InputError, match=changed):
        _intervene(store, replace(edit, origin={**edit.origin, "labels": theirs}), tmp_path / "edited", tiny)
    assert not (tmp_path / "edited").exists()
    provenance = json.loads(grid.attrs["provenance"])
    old = grid.assign_attrs(provenance=json.dumps(provenance | {"labels": provenance["labels"] | theirs}))
    with pytest.raises(InputError, match=changed):
        ldmscene.Edit.of(old, "mask", wanted="swap", modules="best:1", steps=0, store=store)
    header = {**edited.config["edit"], "labels": theirs["mask"]}
    before = SimpleNamespace(config={**edited.config, "edit": header}, manifest=edited.manifest)
    with pytest.raises(InputError, match=changed):
        check_source(before, store, "mask")
    header["labels"] = {**edited.config["edit"]["labels"], "metric": "iou"}  # how labels are used may change
    check_source(before, store, "mask")


def test_labels_that_an_edit_does_not_use_may_change(store, grid, edit, tiny, tmp_path):
    theirs = {"depth": {**edit.origin["labels"]["depth"], "labeler": "theirs"}}
    labels = edit.origin["labels"] | theirs
    made = _intervene(store, replace(edit, origin={**edit.origin, "labels": labels}), tmp_path / "e", tiny, samples=1)
    assert made.manifest.frame.shape[0] == 1
    provenance = json.loads(grid.attrs["provenance"])
    old = grid.assign_attrs(provenance=json.dumps(provenance | {"labels": provenance["labels"] | theirs}))
    how = {"wanted": "shift:0,16", "modules": "best:3", "steps": range(2), "strength": 2.0, "store": store}
    assert ldmscene.Edit.of(old, "mask", **how).fingerprint == edit.fingerprint
    with pytest.raises(InputError, match=r"labels 'depth' of .* are made by tiny-depth in another way than those by"):
        ldmscene.Edit.of(old, "depth", **how)


def test_what_is_swapped_does_not_depend_on_the_order_in_which_samples_are_asked_for(store, edit, tiny, tmp_path):
    ids = store.manifest.frame.query("split == 'test'")["sample_id"].tolist()[:3]
    swap = replace(edit, wanted="swap")
    made = _intervene(store, swap, tmp_path / "edited", tiny, samples=ids)
    own = store.labels("mask", split="test", binary=True).values[:3]
    np.testing.assert_array_equal(made.info("wanted/mask").read([0, 1, 2], {}), own[[1, 2, 0]])
    asked = {"samples": [ids[1], ids[0], ids[2]], "dry_run": True}
    assert _intervene(store, swap, tmp_path / "edited", tiny, **asked)["samples"] == 0


def test_a_grid_of_another_run_makes_no_edit_of_a_store(grid, two):
    with pytest.raises(InputError, match="grid: it was made of a store of another configuration than"):
        ldmscene.Edit.of(grid, "mask", wanted="swap", modules="best:1", steps=0, store=two)


def test_an_edit_changes_the_branch_that_its_probes_read(grid, monkeypatch):
    how = {"wanted": "swap", "modules": "best:1", "steps": 0}
    assert ldmscene.Edit.of(grid, "mask", **how).branch == "cond"
    branches = [["uncond"], ["cond"], ["uncond", "cond"]]
    assert [read_branch(SimpleNamespace(config={"branches": one})) for one in branches] == ["uncond", "cond", "cond"]
    monkeypatch.setattr("ldmscene.intervention.readouts.read_branch", lambda store: "uncond")
    assert ldmscene.Edit.of(grid, "mask", **how).branch == "uncond"
    assert ldmscene.Edit.of(grid, "mask", branch="both", **how).branch == "both"


def test_a_run_whose_probes_have_changed_says_what_to_delete(store, grid, edited, tiny, tmp_path):
    shutil.copytree(edited.root, tmp_path / "s-edited" / "mask")
    planned = PlannedEdit("mask", "mask", "shift:0,16", "best:2", (0,))
    asked = SimpleNamespace(model=capture.Model.load(tiny), store=tmp_path / "s", batch_size=6, progress=False)
    with pytest.raises(FingerprintError, match=r"mask was edited by other probes .*; delete .*s-edited/mask and run"):
        intervene_as_planned(store, grid, [planned], {}, asked)


def test_a_run_whose_model_answers_otherwise_deletes_nothing(store, grid, tiny, tmp_path, monkeypatch):
    planned = PlannedEdit("mask", "mask", "shift:0,16", "best:2", (0,), controls=("none",))
    asked = SimpleNamespace(model=capture.Model.load(tiny), store=tmp_path / "s", batch_size=6, progress=False)
    (made,) = intervene_as_planned(store, grid, [planned], {}, asked)
    (again,) = intervene_as_planned(store, grid, [planned], {}, asked)
    assert again.ledger.equals(made.ledger)

    def refused(*_, **__):
        raise FingerprintError("the model answers otherwise")

    monkeypatch.setattr(intervening, "intervene", refused)
    with pytest.raises(FingerprintError, match=r"^the model answers otherwise$"):
        intervene_as_planned(store, grid, [planned], {}, asked)


def test_a_judge_has_a_threshold_of_its_own_and_labels_of_the_targets_kind(edited, store, tmp_path):
    made = ldmscene.open(shutil.copytree(edited.root, tmp_path / "edited"))
    ldmscene.label(made, "bright", lambda im: im.mean(-1) / 2550, kind="binary", threshold=0.02, progress=False)
    found = ldmscene.effect(made, store, judge="bright")
    wanted = made.info("wanted/mask").read(range(6), {}) > 0.5
    for name, one in {"edit": made, **controls_of(made)}.items():
        bright = one.images().values.astype(np.float32).mean(-1) / np.float32(2550) > np.float32(0.02)
        assert found.loc[name, "dice"]["mean"] == pytest.approx(_dice(bright, wanted), abs=1e-3)
    assert found.loc["edit", "dice"]["mean"] > 0.05
    with pytest.raises(InputError, match="judge: expected binary labels, as mask is, but 'depth' is continuous"):
        ldmscene.effect(made, store, judge="depth")


def test_other_targets_are_compared_where_labels_of_both_pictures_are_made_alike(edited, store, tmp_path):
    assert "depth outside (spearman)" in ldmscene.effect(edited, store).loc["edit"].index
    made = ldmscene.open(shutil.copytree(edited.root, tmp_path / "edited"))
    ldmscene.label(made, "shading", lambda images: -images.mean(-1) / 255.0, progress=False)
    outside = [name for name in ldmscene.effect(made, store).loc["edit"].index if "outside (" in name]
    assert outside == ["depth outside (spearman)"]


def test_where_nothing_lies_outside_there_is_no_mean():
    rng = np.random.default_rng(0)
    values, where = rng.normal(size=(3, 4, 5)), rng.random((3, 4, 5)) < 0.5
    where[1] = False
    expected = [values[0][where[0]].mean(), np.nan, values[2][where[2]].mean()]
    np.testing.assert_allclose(_mean_where(where, values), expected)


def test_one_folder_is_for_the_same_wanted_maps(store, edit, tiny, tmp_path):
    root, swap = tmp_path / "swap", replace(edit, wanted="swap")
    made = _intervene(store, swap, root, tiny, samples=2)
    before = made.ledger
    with pytest.raises(InputError, match=r"wanted: the map of sample .* for which .*swap was made; .* another folder"):
        _intervene(store, swap, root, tiny, samples=4, controls="none")
    assert ldmscene.open(root).ledger.equals(before)

    functions = tmp_path / "functions"
    _intervene(store, replace(edit, wanted=lambda own: np.roll(own, 9, 1)), functions, tiny, samples=1)
    with pytest.raises(InputError, match="a function may have changed"):
        _intervene(store, replace(edit, wanted=lambda own: np.roll(own, -9, 1)), functions, tiny, samples=2)
    more = _intervene(store, replace(edit, wanted=lambda own: np.roll(own, 9, 1)), functions, tiny, samples=2)
    own = store.labels("mask", split="test", binary=True).values[:2]
    np.testing.assert_array_equal(more.info("wanted/mask").read([0, 1], {}), np.roll(own, 9, 2))


def test_one_of_several_classes_goes_the_whole_way(store, tiny, tmp_path):
    def segments(images: np.ndarray) -> np.ndarray:
        return np.digitize(images.mean(-1), [70, 140]).astype(np.uint8)

    copy = bare_copy(store, tmp_path / "copy")
    ldmscene.label(copy, "segments", segments, kind="classes", progress=False)
    grid = ldmscene.evaluate(copy, "segments", LAST, 0, cv=3, progress=False)
    edit = ldmscene.Edit.of(grid, "segments=2", wanted="shift:0,8:cut", modules=LAST, steps=0, strength=2)
    made = _intervene(copy, edit, tmp_path / "edited", tiny, samples=2, controls=("none", "other-target"))
    assert list(controls_of(made)) == ["none", "other-target-segments=0", "other-target-segments=1"]
    ldmscene.label(made, "segments", segments, kind="classes", progress=False)
    found = ldmscene.effect(made, copy)
    own = copy.labels("segments", split="test").values[:2] == 2
    wanted = np.zeros_like(own)
    wanted[:, :, 8:] = own[:, :, :-8]
    assert found.loc["none", "dice"]["mean"] == pytest.approx(_dice(own, wanted))
    now = segments(made.images().values) == 2
    assert found.loc["edit", "dice"]["mean"] == pytest.approx(_dice(now, wanted))
    assert found.attrs["target"] == "segments=2"


def test_a_sentence_says_that_pictures_are_from_training(store, edit, tiny, tmp_path):
    ids = store.manifest.frame["sample_id"].tolist()
    some = [ids[0], ids[1], ids[-1]]
    made = _intervene(store, edit, tmp_path / "edited", tiny, split=None, samples=some, controls="none")
    ldmscene.label(made, "mask", "tiny-mask", progress=False)
    said = ldmscene.effect_sentence(ldmscene.effect(made, store))
    assert " prompts, too few for an interval, 2 of these pictures from training, judged by tiny-mask, " in said


def test_a_store_goes_on_with_readings_in_its_own_order(store, edit, tiny, tmp_path):
    """As of an edit that another version loaded from a file, in the order of names."""
    by_name, how = replace(edit, readouts=dict(sorted(edit.readouts.items()))), {"controls": "none", "batch_size": 1}
    before, now = (list(one.readouts) for one in (by_name, edit))
    assert before != now
    whole = _intervene(store, edit, tmp_path / "whole", tiny, samples=2, **how)
    _intervene(store, by_name, tmp_path / "edited", tiny, samples=1, **how)
    made = _intervene(store, edit, tmp_path / "edited", tiny, samples=2, **how)
    for one, expected in zip((made, *controls_of(made).values()), (whole, *controls_of(whole).values()), strict=True):
        assert one.info("edit/reading").attributes["positions"] == [f"{module} {step}" for module, step in before]
        readings, expected = (each.info("edit/reading").read([0, 1], {}) for each in (one, expected))
        np.testing.assert_array_equal(readings, expected[:, [now.index(position) for position in before]])
