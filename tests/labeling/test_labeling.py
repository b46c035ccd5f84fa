from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

import ldmscene
from ldmscene import labeling, testbed
from ldmscene.errors import IncompleteError, InputError, LabelWarning, ShapeError, StoreError, UnknownNameError
from ldmscene.labeling import naming
from ldmscene.store.check import Fault, repair
from ldmscene.store.dropping import forget
from ldmscene.store.history import publish
from ldmscene.store.layout import intermediate_path, label_path
from tests.conftest import FIRST, bare_copy, files, make_manifest


def test_labels_are_what_the_labeler_says_of_the_stored_images(store):
    images = store.images().values
    for name, labeler in testbed.LABELERS.items():
        target = name.removeprefix("tiny-")
        np.testing.assert_array_equal(store.labels(target).values, labeler(images)[target])  # no batch is of one
        assert store.labels(target).attrs == labeler.provenance


def test_an_own_target_takes_a_function(two):
    def redness(images):
        return images[..., 0] / 255

    ldmscene.label(two, "redness", redness)
    np.testing.assert_array_equal(two.labels("redness"), (two.images().values[..., 0] / 255).astype(np.float32))
    assert two.labels("redness").attrs["labeler"].endswith("redness")


def test_a_function_that_reads_otherwise_under_the_same_name_is_refused(two):
    """As in a notebook, where a cell is mended and run again."""
    ldmscene.label(two, "own", lambda images: images[..., 0] / 255)
    ldmscene.label(two, "own", lambda images: images[..., 0] / 255)
    before = two.labels("own").values
    with pytest.raises(InputError, match=r"'own' were made by a function that reads sample .* otherwise"):
        ldmscene.label(two, "own", lambda images: images[..., 1] / 255)
    np.testing.assert_array_equal(ldmscene.open(two.root).labels("own"), before)


def test_a_function_that_rounds_otherwise_is_the_same(two):
    """As a model does in a batch of another size, where a pixel of a mask may flip, too."""
    calls = []

    def rounding(images):
        calls.append(len(images))
        maps = images[..., 0] / 255 + 1e-5 * len(calls)
        maps[:, 0, len(calls)] = 1
        return maps

    for _ in range(3):
        ldmscene.label(two, "own", rounding, batch_size=1)
    assert max(calls) == 1


def test_what_is_labelled_is_not_read_again(two):
    ldmscene.label(two, "depth", "tiny-depth")
    before = two.ledger

    class Untouchable:
        id = "tiny-depth"
        provenance = testbed.LABELERS["tiny-depth"].provenance

        def __call__(self, images):
            raise AssertionError

    ldmscene.label(two, "depth", Untouchable())
    assert two.ledger.equals(before)


@pytest.mark.parametrize("on", ["image", "noisy"])
def test_labels_that_are_made_again_are_what_they_were(store, tmp_path, on):
    """However few are missing, and in whichever order: each batch is of one size."""
    samples, calls = store.manifest.frame.query("split == 'test'")["sample_id"].tolist(), []

    def rounding(images):
        calls.append(len(images))
        return images[..., 0] / 255 + np.float32(1e-6) * len(images)

    copied = bare_copy(store, tmp_path / "copy")
    ldmscene.label(copied, "own", rounding, on=on, split="test", batch_size=8)
    path = label_path("own") if on == "image" else intermediate_path("noisy", "own")
    before = copied.checksums(path)
    forget(copied, {path: [samples[4], samples[1]]})
    ldmscene.label(copied, "own", rounding, on=on, split="test", batch_size=8)
    assert copied.checksums(path) == before
    assert set(calls) == {1, 8}  # one picture tells whether the labeler works at all


def test_bad_labelers_and_targets_are_refused_in_one_sentence_and_leave_no_trace(two):
    before = files(two.root)
    with pytest.raises(UnknownNameError, match="tiny-depth"):
        ldmscene.label(two, "depth", "tiny-deph")
    with pytest.raises(InputError, match="gives depth, not 'mask'"):
        ldmscene.label(two, "mask", testbed.LABELERS["tiny-depth"])
    with pytest.raises(ShapeError, match=r"returned \(1, 32, 64\)"):
        ldmscene.label(two, "half", lambda images: images[:, ::2, :, 0] / 255)
    with pytest.raises(InputError, match="a scale, a mask or classes"):
        ldmscene.label(two, "grey", lambda images: images[..., 0])
    with pytest.raises(InputError, match=r"0\.\d+ as a class; expected whole numbers"):
        ldmscene.label(two, "parts", lambda images: images[..., 0] / 255, kind="classes")
    with pytest.raises(InputError, match="16777216 as a class; expected numbers below 16777216"):
        ldmscene.label(two, "parts", lambda images: images[..., 0] * 0.0 + 2**24, kind="classes")
    with pytest.raises(InputError, match="kind must be one of continuous, binary, classes"):
        ldmscene.label(two, "parts", lambda images: images[..., 0], kind="multi")
    with pytest.raises(InputError, match="only a binary target has one"):
        ldmscene.label(two, "depth", "tiny-depth", threshold=0.1)
    with pytest.raises(UnknownNameError, match="no split named 'tset'; nearest: test"):
        ldmscene.label(two, "depth", "tiny-depth", split="tset")
    with pytest.raises(InputError, match="no sample of split 'val'"):
        ldmscene.label(two, "depth", "tiny-depth", split="val")
    with pytest.raises(InputError, match="batch_size must be at least 1"):
        ldmscene.label(two, "depth", "tiny-depth", batch_size=0)
    with pytest.raises(InputError, match="image, noisy, predicted"):
        ldmscene.label(two, "depth", "tiny-depth", on="final")
    with pytest.raises((InputError, IncompleteError), match="previews"):
        ldmscene.label(two, "depth", "tiny-depth", on="noisy")
    for name in ("../x", ".", "", "a/b"):
        with pytest.raises(InputError, match="a target's name"):
            ldmscene.label(two, name, "tiny-depth")
    for name in ("position", "latent"):
        with pytest.raises(InputError, match=f"mean something else in beyond=; got '{name}'"):
            ldmscene.label(two, name, "tiny-depth")
    assert files(two.root) == before
    ldmscene.label(two, "mask", "tiny-mask")
    assert two.targets == ["mask"]


def test_a_target_is_never_mixed_from_two_labelers(two):
    ldmscene.label(two, "depth", "tiny-depth", split="test")
    with pytest.raises(
        StoreError, match=r"otherwise: labeler 'tiny-depth.*' there, .*; name the target diff"
    ) as refused:
        ldmscene.label(two, "depth", lambda images: images[..., 0] / 255)
    assert "kind" not in str(refused.value)  # which is the same


def test_a_target_says_what_its_numbers_mean(two):
    def bright(images):
        return images.mean(-1) > 128

    def thirds(images):
        return images[..., 0] // 86

    ldmscene.label(two, "bright", bright, kind="binary")
    ldmscene.label(two, "thirds", thirds, kind="classes")
    assert two.labels("bright").attrs["kind"] == "binary"
    assert two.labels("thirds").attrs["kind"] == "classes"
    np.testing.assert_array_equal(two.labels("thirds"), two.images().values[..., 0] // 86)
    assert set(np.unique(two.labels("bright"))) <= {0, 1}
    ldmscene.label(two, "third", two.labels("thirds") == 2, kind="binary")
    np.testing.assert_array_equal(two.labels("third"), two.labels("thirds") == 2)
    X, y = two.activations(two.modules[0], 0), two.labels("thirds")
    probe = ldmscene.LogisticProbe(alphas=1.0).fit(X, y)
    assert probe.score(X, y) > 1 / 3


def _without_metric(root, target):
    """The store as it was before labels said by which metric they are judged."""

    def forgotten(now):
        (name,) = [name for name in now.documents if name.endswith(f"{label_path(target)}/zarr.json")]
        document = json.loads(now.documents[name])
        document["attributes"].pop("metric", None)
        return {name: json.dumps(document).encode()}

    publish(root, forgotten)
    return ldmscene.open(root)


def test_the_metric_lies_with_the_labels(store, tmp_path):
    copy = bare_copy(store, tmp_path / "copy")
    arguments = {"modules": copy.modules[-1], "steps": 0, "alphas": (1e1, 1e3), "cv": 3}

    def primary(target):
        return ldmscene.evaluate(copy, target, **arguments)["primary"].item()

    ldmscene.label(copy, "nearness", dict(zip(copy.samples["sample_id"], copy.labels("depth").values, strict=True)))
    assert [primary(target) for target in ("depth", "mask", "nearness")] == ["spearman", "dice", "pearson"]
    ldmscene.label(copy, "depth", "tiny-depth", metric="rmse")
    assert primary("depth") == "rmse"
    ldmscene.label(copy, "depth", "tiny-depth")
    assert primary("depth") == "rmse"
    ldmscene.label(copy, "mask", "tiny-mask", metric="iou")
    assert primary("mask") == "iou"
    assert ldmscene.verify(copy) == []
    with pytest.raises(UnknownNameError, match="no metric of binary labels named 'spearman'; nearest: "):
        ldmscene.label(copy, "mask", "tiny-mask", metric="spearman")


def test_labels_of_before_learn_their_metric_when_they_are_labelled_again(store, tmp_path):
    copy = _without_metric(bare_copy(store, tmp_path / "copy").root, "depth")
    ledger = copy.ledger
    assert "metric" not in copy.labels("depth").attrs
    ldmscene.label(copy, "depth", "tiny-depth")
    assert copy.labels("depth").attrs["metric"] == "spearman"
    assert copy.ledger.equals(ledger)


class _Late:
    """Maps as on a GPU, which are there as soon as they were asked for, and computed when they are read."""

    def __init__(self, clock, seconds):
        self.clock, self.seconds = clock, seconds

    def detach(self):
        return self

    def cpu(self):
        self.clock[0] += self.seconds
        return np.zeros(1, np.float32)


@pytest.mark.parametrize("several", [False, True])
def test_a_labelers_time_is_that_of_its_answer(monkeypatch, several):
    clock = [0.0]
    monkeypatch.setattr(naming, "time", SimpleNamespace(perf_counter=lambda: clock[0]))

    def labeler(images):
        late = _Late(clock, 3.0 * len(images))
        return {"depth": late, "mask": _Late(clock, 0.0)} if several else late

    assert labeling.seconds_per_picture(labeler, (8, 8)) == 3
    assert clock == [3 * 5]  # one picture before that isn't timed


@pytest.mark.parametrize(
    ("labeler", "kind", "told"),
    [
        (lambda images: images[..., 0] * np.nan, None, "no pixel has a label"),
        (lambda images: 0 * images[..., 0] + 3.0, None, "all labels are 3"),
        (lambda images: images[..., 0] / 2000, "binary", "all labels are 0"),
    ],
)
def test_labels_of_which_nothing_can_be_learnt_are_told(two, labeler, kind, told):
    with pytest.warns(LabelWarning, match=rf"'own': {told}, .* leave this target out with targets="):
        ldmscene.label(two, "own", labeler, kind=kind)


def test_pictures_that_are_flat_and_differ_are_learnt_from(two):
    """Warnings are errors here: each has one label, and no two the same."""
    ldmscene.label(two, "mean", lambda images: np.ones(images.shape[:3]) * images.mean((1, 2, 3))[:, None, None])


def test_a_target_is_taken_out_of_a_store(two):
    """As docs/how-to.md says."""
    ldmscene.label(two, "good", lambda images: images[..., 0] / 255)
    with pytest.warns(LabelWarning):
        ldmscene.label(two, "bad", lambda images: images[..., 0] * np.nan)
    before = two.labels("good").values
    shutil.rmtree(two.root / "activations.zarr/labels/bad")
    ldmscene.repair(two.root)
    again = ldmscene.open(two.root)
    assert (again.targets, ldmscene.verify(again, progress=False)) == (["good"], [])
    np.testing.assert_array_equal(again.labels("good"), before)

    def another(images: np.ndarray) -> np.ndarray:
        return images[..., 1] > 99

    ldmscene.label(again, "bad", another, kind="binary")
    np.testing.assert_array_equal(again.labels("bad"), again.images().values[..., 1] > 99)
    assert again.info("labels/bad").attributes["labeler"].endswith("another")
    with pytest.raises(StoreError, match="labels/bad was made otherwise"):
        ldmscene.label(again, "bad", lambda images: images[..., 1] / 255)


def test_a_target_of_which_something_is_left_is_not_free(two):
    ldmscene.label(two, "bad", lambda images: images[..., 0] / 255)
    next((two.root / "activations.zarr/labels/bad").glob("c.0*")).unlink()
    ldmscene.repair(two.root)
    with pytest.raises(StoreError, match="labels/bad was made otherwise"):
        ldmscene.label(two.root, "bad", lambda images: images[..., 1] > 99, kind="binary")


class _Channel:
    """A labeler that reads one channel."""

    def __init__(self, channel: int) -> None:
        self.channel = channel
        self.provenance = {"labeler": f"channel {channel}"}

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return images[..., self.channel] / 255


class _Brighter:
    """A classifier: is one channel brighter than the next?"""

    def __init__(self, channel: int, *classes: str) -> None:
        self.channel = channel
        self.provenance = {"labeler": f"brighter {channel}", "kind": "classification", "classes": list(classes)}

    def __call__(self, images: np.ndarray) -> np.ndarray:
        one, other = (1 + images[..., c].mean((1, 2)) for c in (self.channel, (self.channel + 1) % 3))
        shares = [one / (one + other), other / (one + other)]
        return np.stack(shares + [0 * one] * (len(self.provenance["classes"]) - 2), 1)


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("labels", _Channel(0), _Channel(1)),
        ("predictions", _Brighter(0, "red", "green"), _Brighter(1, "green", "blue", "none")),
    ],
)
def test_a_name_is_free_with_all_that_its_labeler_read(tiny, tmp_path, kind, before, after):
    store = ldmscene.extract(tiny, make_manifest(1, 1), tmp_path / "s", [FIRST], steps=2, batch_size=2, previews=True)
    ldmscene.label(store, "other", _Channel(2), on="noisy")
    others = store.intermediate("noisy", "other").values
    ldmscene.label(store, "own", before)
    ldmscene.label(store, "own", before, on="noisy", split="test")
    shutil.rmtree(store.root / f"activations.zarr/{kind}/own")
    assert Fault("", "intermediate/noisy/own", "was read by the labeler of labels that are gone") in repair(store)
    assert (ldmscene.verify(store, progress=False), repair(store)) == ([], [])
    ldmscene.label(store, "own", after)
    assert not store.complete(intermediate_path("noisy", "own"))
    ldmscene.label(store, "own", after, on="noisy")
    read = after(store.previews("noisy").values.reshape(-1, 64, 64, 3)).astype(np.float32)
    found = ldmscene.open(store.root).intermediate("noisy", "own")
    np.testing.assert_allclose(found.values.reshape(read.shape), read, rtol=1e-6)
    assert found.attrs["labeler"] == after.provenance["labeler"]
    np.testing.assert_array_equal(store.intermediate("noisy", "other"), others)
    with pytest.raises(StoreError, match=f"^{kind}/own (was made otherwise|holds .* not)"):
        ldmscene.label(store, "own", before)


def test_a_name_of_two_is_free_only_for_what_is_gone(tiny, tmp_path):
    """A classifier's readings stay, where maps of the same name are gone."""
    store = ldmscene.extract(tiny, make_manifest(1, 1), tmp_path / "s", [FIRST], steps=2, batch_size=2, previews=True)
    ldmscene.label(store, "own", _Channel(0))
    ldmscene.label(store, "own", _Brighter(0, "red", "green"))
    ldmscene.label(store, "own", _Brighter(0, "red", "green"), on="noisy")
    before = store.intermediate("noisy", "own").values
    shutil.rmtree(store.root / "activations.zarr/labels/own")
    repair(store)
    ldmscene.label(store, "own", _Channel(1))
    np.testing.assert_array_equal(ldmscene.open(store.root).intermediate("noisy", "own"), before)
    assert len(ldmscene.recognition(store, "own")) == 4


def test_a_labeler_that_cannot_read_a_blank_picture_is_asked_no_further():
    """Others it may read, so that nothing is known of what it gives."""

    def picky(images: np.ndarray) -> np.ndarray:
        if not images.any():
            raise ValueError("nothing there")
        return images[..., 0] / 255

    labeling.check_given({"own": picky}, (8, 8))
