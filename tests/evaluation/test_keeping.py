"""Statistics instead of activations: the same grid as from a store that keeps everything."""

from __future__ import annotations

import importlib
import os
import re
import shutil
from typing import ClassVar

import numpy as np
import pytest
import xarray as xr
from accelerate import cpu_offload_with_hook
from safetensors.numpy import load, save

import ldmscene
from ldmscene import capture, labelers, testbed
from ldmscene.calls import statistics
from ldmscene.errors import CorruptError, IncompleteError, InputError, LdmsceneError
from ldmscene.evaluation import absorbing, on_device
from ldmscene.evaluation import samples as sampling
from ldmscene.evaluation.holding import Held
from ldmscene.evaluation.on_device import DeviceRidge
from ldmscene.evaluation.ridge import unpack_moments
from ldmscene.evaluation.task import CV
from ldmscene.extraction import fill as filling
from ldmscene.extraction import unchanged
from ldmscene.store import dropping
from ldmscene.store.cache import _checksum
from ldmscene.store.check import find_faults, repair
from ldmscene.store.disk import Disk
from ldmscene.store.layout import IMAGE, LATENTS, activation_path, label_path
from tests.conftest import FIRST, LAST, files, make_manifest, overflowing
from tests.evaluation.blocks import blocks_of
from tests.test_cli import call

LABELERS = {name.removeprefix("tiny-"): name for name in testbed.LABELERS}
OPTIONS = {"modules": [FIRST, LAST], "steps": 1}
ALPHAS = (1e1, 1e3, 1e5)


@pytest.fixture(scope="module")
def samples():
    return make_manifest(7, 2)


small_blocks = blocks_of(1)  # so that seven training samples, in five folds, are two blocks in two of the folds


@pytest.fixture(scope="module")
def whole(tiny, samples, small_blocks, tmp_path_factory) -> xr.Dataset:
    """The grid of a store that keeps all activations."""
    store = ldmscene.extract(tiny, samples, tmp_path_factory.mktemp("keeping") / "whole", **OPTIONS)
    for target, labeler in LABELERS.items():
        ldmscene.label(store, target, labeler)
    return ldmscene.evaluate(store, alphas=ALPHAS)


def _keep(tiny, samples, root, **options):
    return ldmscene.extract(tiny, samples, root, **OPTIONS, keep="statistics", labelers=LABELERS, **options)


@pytest.fixture(scope="module")
def made(tiny, samples, small_blocks, tmp_path_factory):
    return _keep(tiny, samples, tmp_path_factory.mktemp("keeping") / "made")


def _states(store) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (store.root / "statistics" / "moments").iterdir()}


@pytest.fixture
def kept(made, tmp_path) -> ldmscene.ActivationStore:
    """A store that keeps statistics, for a test of its own."""
    return ldmscene.open(shutil.copytree(made.root, tmp_path / "kept"))


def _assert_same(found: xr.Dataset, expected: xr.Dataset) -> None:
    xr.testing.assert_allclose(found.drop_attrs(), expected.drop_attrs(), rtol=1e-5, atol=1e-6)


def test_the_grid_is_that_of_all_activations(whole, kept):
    store = kept
    _assert_same(ldmscene.evaluate(store, alphas=ALPHAS), whole)
    some = ldmscene.evaluate(store, ["shading", "depth"], LAST, alphas=(3.0, 300.0))
    assert np.isfinite(some["probe"].sel(target="depth", metric="spearman")).all()

    assert store.samples["complete"].all()
    assert store.samples["dropped"].tolist() == [True] * 7 + [False] * 2
    shards = [path for path in (store.root / "activations.zarr" / "activations").rglob("c.*") if path.is_file()]
    assert len(shards) == 2 * len(OPTIONS["modules"])
    assert store.activations(LAST, 0, "test").shape[0] == 2
    dropped = "dropped for their statistics; make another store with keep='activations' to read "
    with pytest.raises(IncompleteError, match=f"no sample of split 'train'.*{dropped.replace('their', 'its')}it$"):
        store.activations(LAST, 0, "train")
    with pytest.raises(IncompleteError, match=f"sample .* has no .*{dropped.replace('their', 'its')}it$"):
        store.activations(LAST, samples=store.samples["sample_id"].iloc[0])
    with pytest.raises(IncompleteError, match=f"no sample of split 'train' has activations of .*{dropped}them$"):
        store.torch_dataset(LAST)
    assert find_faults(store) == []


def test_training_activations_never_touch_the_disk(tiny, samples, whole, tmp_path, monkeypatch):
    written, write = [], Disk.write

    def watch(self, key, *data):
        written.append(key)
        return write(self, key, *data)

    monkeypatch.setattr(Disk, "write", watch)
    store = _keep(tiny, samples, tmp_path / "kept")
    shards = {key for key in written if key.startswith("activations.zarr/activations/") and "/c." in key}
    held_out = store.rows(store.samples.query("split != 'train'")["sample_id"])
    assert shards == {store.info(activation_path(module)).key(row) for module in OPTIONS["modules"] for row in held_out}
    _assert_same(ldmscene.evaluate(store, alphas=ALPHAS), whole)


def test_the_disk_needs_no_room_for_what_is_summed(tiny, samples, tmp_path, monkeypatch):
    asked: list[int] = []
    monkeypatch.setattr(filling, "check_space", lambda _root, size: asked.append(size))
    store = _keep(tiny, samples, tmp_path / "kept")
    summed = sum(store.info(activation_path(module)).layout.shard_bytes for module in store.modules)
    stored = sum(store.info(path).layout.shard_bytes for path in (IMAGE, LATENTS))
    assert sorted(asked) == [stored] * 7 + [stored + summed] * 2  # held-out activations alone are stored


def test_the_memory_of_samples_that_wait_is_bounded_and_said(tiny, samples, tmp_path, monkeypatch, capsys):
    def estimated(**options) -> float:
        told = ldmscene.extract(tiny, samples, tmp_path / "new", **OPTIONS, dry_run=True, **options)
        return told["bytes_of_memory_for_samples"]

    plain = estimated()
    each = (estimated(keep="statistics", labelers=LABELERS) - plain) / len(samples)
    monkeypatch.setattr(absorbing, "AT_ONCE", 3 * each)
    monkeypatch.setattr(absorbing, "BLOCK", sampling.BLOCK)
    assert estimated(keep="statistics", labelers=LABELERS) == plain + 3 * each
    most, put = [0], Held.put

    def watch(self, *what):
        put(self, *what)
        most.append(sum(array.nbytes for array in self.arrays.values()))

    monkeypatch.setattr(Held, "put", watch)
    _keep(tiny, samples, tmp_path / "kept")
    assert re.search(r"and [\d.]+ kB for those that wait to be summed", capsys.readouterr().err)
    assert 0 < max(most) <= 3 * each


def test_activations_that_are_stored_are_read_there_and_dropped(tiny, samples, whole, tmp_path):
    root = tmp_path / "kept"
    stored = ldmscene.extract(tiny, samples, root, **OPTIONS)
    calls = []
    handle = tiny.unet.register_forward_hook(lambda *_: calls.append(1))
    store = _keep(tiny, samples, root)
    handle.remove()
    assert not calls[1:]  # the canary alone, if that
    assert store.samples["dropped"].sum() == len(samples.frame.query("split == 'train'"))
    train = stored.samples.query("split == 'train'")["sample_id"]
    assert not any(store.info(activation_path(LAST)).file(row).exists() for row in store.rows(train))
    _assert_same(ldmscene.evaluate(store, alphas=ALPHAS), whole)


def test_sums_on_the_models_device_are_those_of_the_processor(tiny, samples, whole, made, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(statistics, "ridge_on", lambda device: asked.append(device) or DeviceRidge(device=device))
    moved, on = [], on_device.on
    monkeypatch.setattr(on_device, "on", lambda device, X: moved.append(X) or on(device, X))
    store = _keep(tiny, samples, tmp_path / "kept")
    assert asked == ["cpu"]
    assert len(moved) == 7 * len(OPTIONS["modules"])  # each block once, for three targets
    found, expected = _states(store), _states(made)
    assert found.keys() == expected.keys()
    for name in found:
        ours, theirs = (unpack_moments(load(one[name])) for one in (found, expected))
        scale = np.sqrt(np.diag(theirs.cxx))
        np.testing.assert_allclose(ours.cxx, theirs.cxx, rtol=0, atol=1e-9 * np.outer(scale, scale).max())
    _assert_same(ldmscene.evaluate(store, alphas=ALPHAS), whole)


def _brightness(images):
    return images.mean(-1, dtype=np.float32)


def test_sums_run_where_an_offloaded_model_does(tiny, samples, tmp_path, monkeypatch):
    plan = capture.make_plan(
        tiny, modules=LAST, steps=1, guidance_scale=7.5, negative_prompt="", height=None, width=None, branch="cond",
        dtype="float16",
    )  # fmt: skip
    _, hook = cpu_offload_with_hook(tiny.vae, "cuda:1")  # as enable_model_cpu_offload does it

    how = {"device": None, "progress": False, "previews": False, "compression": "none", "batch_size": 1}

    def stop(device):
        raise _Stop(device)

    monkeypatch.setattr(statistics, "ridge_on", stop)
    try:
        with pytest.raises(_Stop, match="cuda:1"):
            statistics.extract_statistics(plan, samples, tmp_path / "kept", {"depth": _brightness}, 2, **how)
    finally:
        hook.remove()


def test_the_same_call_again_runs_no_model(tiny, samples, tmp_path, monkeypatch):
    hashed, module = [], importlib.import_module("ldmscene.capture.identity")
    monkeypatch.setattr(module, "weights_hash", lambda part: hashed.append(part) or "0" * 16)
    asked, canary = [], unchanged.canary
    monkeypatch.setattr(unchanged, "canary", lambda plan: asked.append(plan) or canary(plan))
    first = _keep(tiny, samples, tmp_path / "kept")
    assert first.samples["complete"].all()
    assert len(hashed) == 3  # text encoder, denoiser, autoencoder: once for all blocks
    assert len(asked) == 1

    def refuse(*_, **__):
        raise AssertionError("the denoiser ran")

    monkeypatch.setattr(tiny.unet, "forward", refuse)
    again = _keep(tiny, samples, tmp_path / "kept")
    assert again.samples.equals(first.samples)
    assert again.ledger.equals(first.ledger)


class _Stop(BaseException):
    pass


BLOCK_BY_BLOCK = 0
SLOW = [(BLOCK_BY_BLOCK, 9), (BLOCK_BY_BLOCK, 38), (BLOCK_BY_BLOCK, 61), *((absorbing.AT_ONCE, n) for n in (9, 38))]


@pytest.mark.parametrize(
    ("at_once", "at"),
    [*(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW), (BLOCK_BY_BLOCK, 90), (absorbing.AT_ONCE, 61)],
)
def test_a_run_that_was_stopped_goes_on(tiny, samples, whole, made, tmp_path, monkeypatch, at_once, at):
    monkeypatch.setattr(absorbing, "AT_ONCE", at_once)
    replace, count = os.replace, 0

    def stop(*names, **folders):
        nonlocal count
        count += 1
        if count == at:
            raise _Stop
        return replace(*names, **folders)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", stop)
        with pytest.raises(_Stop):
            _keep(tiny, samples, tmp_path / "kept")
    store = _keep(tiny, samples, tmp_path / "kept")
    assert find_faults(store) == []
    assert _states(store) == _states(made)
    _assert_same(ldmscene.evaluate(store, alphas=ALPHAS), whole)


def _two_of_a_fold(samples) -> tuple[str, ...]:
    """The training samples of the first fold that has several blocks; each is one sample."""
    folds = sampling.training_folds(samples, CV)
    return tuple(block.ids[0] for block in next(blocks for blocks in folds if len(blocks) == 2))


@pytest.mark.parametrize(
    ("at_once", "bad"),
    [
        (absorbing.AT_ONCE, 1),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in ((BLOCK_BY_BLOCK, 0), (absorbing.AT_ONCE, 0))),
    ],
)
def test_samples_that_overflow_are_named_once_all_others_are_done(
    tiny, samples, made, tmp_path, monkeypatch, at_once, bad
):
    monkeypatch.setattr(absorbing, "AT_ONCE", at_once)
    seeds, fold = samples.frame.set_index("sample_id")["seed"], _two_of_a_fold(samples)
    held_out = samples.frame["sample_id"].iloc[-1]
    unsound, lacking = {fold[bad], held_out}, {*fold[bad:], held_out}
    for _ in range(2):
        with overflowing(tiny, set(seeds[list(unsound)])), pytest.raises(LdmsceneError) as caught:
            _keep(tiny, samples, tmp_path / "kept")
        said = str(caught.value)
        assert said.startswith("values of 2 samples are infinite or NaN; these were not stored, all others were")
        assert all((f"{sample_id}: {LAST}, step 0: " in said) == (sample_id in unsound) for sample_id in seeds.index)
        assert ("in order, lack 1 of these others, too:" in said) == (bad == 0)
        assert "dtype='float32' and another store, or leave them out of another store's manifest" in said
        store = ldmscene.open(tmp_path / "kept")
        assert set(store.samples.query("not complete")["sample_id"]) == lacking
        assert all(store.complete(label_path(target)) == {*seeds.index} - unsound for target in LABELERS)
        ours, theirs = _states(store), _states(made)
        assert len(ours) == len(theirs) / CV * (CV - 1 + bad)  # bad: that fold has the state of its first block alone
        assert len(ours.items() & theirs.items()) == len(theirs) / CV * (CV - 1)
        assert find_faults(store) == []
        assert absorbing.find_lost(store) == []
    assert _states(_keep(tiny, samples, tmp_path / "kept")) == _states(made)


def test_held_out_samples_that_overflow_are_stored_where_that_is_allowed_and_training_samples_never(
    tiny, samples, tmp_path
):
    frame = samples.frame
    seeds = {frame["seed"].iloc[0], frame["seed"].iloc[-1]}
    with overflowing(tiny, seeds), pytest.raises(LdmsceneError, match="values of 1 samples are infinite") as caught:
        _keep(tiny, samples, tmp_path / "kept", allow_nonfinite=True)
    assert f"{frame['sample_id'].iloc[0]}: {LAST}, step 0" in str(caught.value)
    store = ldmscene.open(tmp_path / "kept")
    assert not np.isfinite(store.activations(LAST, 0, "test").values).all()


def test_the_command_line_keeps_statistics(samples, tmp_path):
    samples.to_csv(tmp_path / "table.csv")
    words = [
        "extract",
        "tiny-scenes",
        tmp_path / "table.csv",
        "--store",
        tmp_path / "s",
        "--steps",
        1,
        "--modules",
        LAST,
    ]
    code, _, err = call(*words, "--keep", "statistics", "--labeler", "mask=tiny-mask")
    assert code == 0, err
    assert ldmscene.open(tmp_path / "s").samples["dropped"].sum() == 7
    code, _, err = call(*words, "--keep", "statistics")
    assert code == 2
    assert "needs labelers=" in err


def test_what_the_statistics_cannot_answer_is_refused(tiny, samples, kept, tmp_path):
    root = tmp_path / "new"
    with pytest.raises(InputError, match="needs labelers="):
        ldmscene.extract(tiny, samples, root, **OPTIONS, keep="statistics")
    with pytest.raises(InputError, match="keep must be"):
        ldmscene.extract(tiny, samples, root, **OPTIONS, keep="everything")
    assert not root.exists()
    store, root = kept, kept.root
    with pytest.raises(InputError, match="cv of the extraction"):
        ldmscene.evaluate(store, alphas=ALPHAS, cv=2)
    with pytest.raises(InputError, match=r"'latent' needs activations, and .* has statistics instead"):
        ldmscene.evaluate(store, alphas=ALPHAS, beyond=["position", "latent"])
    before = files(root)
    with pytest.raises(InputError, match=r"nonlinear: it reads .* training samples, and .* has statistics instead"):
        ldmscene.evaluate(store, alphas=ALPHAS, nonlinear=True)
    assert files(root) == before
    ldmscene.label(store, "redness", lambda images: images[..., 0] / 255)
    with pytest.raises(InputError, match=rf"other targets or folds, .* extraction \({', '.join(LABELERS)}; cv=5\)"):
        ldmscene.evaluate(store, "redness", alphas=ALPHAS)
    with pytest.raises(InputError, match=r"can't become those of this call: targets .* then, \['mask'\] now"):
        ldmscene.extract(tiny, samples, root, **OPTIONS, keep="statistics", labelers={"mask": "tiny-mask"})
    for more in ({}, {"keep": "statistics", "labelers": LABELERS}):
        with pytest.raises(InputError, match="no others can be added"):
            ldmscene.extract(tiny, make_manifest(9, 2), root, **OPTIONS, **more)
    assert len(ldmscene.open(root).manifest) == len(samples)
    assert store.info(activation_path(LAST)).layout.shape[0] == 1


def test_shards_that_a_stopped_run_left_of_dropped_samples_are_removed(tiny, samples, kept):
    dropped = kept.samples.query("dropped")["sample_id"].iloc[0]
    left = kept.info(activation_path(LAST)).file(kept.rows([dropped])[0])
    assert not left.exists()
    left.write_bytes(b"as it was")
    _keep(tiny, samples, kept.root)
    assert not left.exists()


def test_modules_can_be_added(tiny, samples, whole, tmp_path):
    for modules in ([FIRST], [LAST]):
        store = ldmscene.extract(
            tiny, samples, tmp_path / "kept", modules, steps=1, keep="statistics", labelers=LABELERS
        )
    assert store.samples["dropped"].sum() == 7
    _assert_same(ldmscene.evaluate(store, alphas=ALPHAS), whole)


@pytest.mark.parametrize("how", ["gone", "damaged"])
def test_statistics_that_were_lost_are_made_again(tiny, samples, whole, kept, how):
    store = kept
    assert absorbing.find_lost(store) == []
    states = sorted((store.root / "statistics" / "moments").iterdir())
    victim = max(states, key=lambda path: unpack_moments(load(path.read_bytes())).weight)  # of a fold of two samples
    before = victim.read_bytes()
    if how == "gone":
        victim.unlink()
    else:
        victim.write_bytes(before[:-9] + bytes([before[-9] ^ 1]) + before[-8:])
        assert [fault.what for fault in ldmscene.verify(store)] == [f"statistics/moments/{victim.name}"]
        assert len(repair(store.root)) == 1
    assert "samples that were dropped" in str(*ldmscene.verify(store))
    code, out, err = call("verify", store.root)
    assert code == 2
    assert "of 2 samples that were dropped" in out, err
    with pytest.raises(InputError, match="or lost; evaluate"):
        ldmscene.evaluate(store, alphas=ALPHAS)
    again = _keep(tiny, samples, store.root)
    assert ldmscene.verify(again) == []
    assert unpack_moments(load(victim.read_bytes())).weight == unpack_moments(load(before)).weight
    _assert_same(ldmscene.evaluate(again, alphas=ALPHAS), whole)


def test_a_flipped_bit_hides_no_statistics_that_were_lost(kept):
    sorted((kept.root / "statistics" / "moments").iterdir())[0].unlink()
    image = kept.info(IMAGE).file(0)
    data = image.read_bytes()
    image.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    flipped, lost = ldmscene.verify(kept.root)
    assert (flipped.sample_id, flipped.what) == (kept.manifest.frame["sample_id"][0], "image")
    assert "samples that were dropped" in str(lost)


def test_statistics_that_stand_in_for_activations_are_not_lightly_deleted(kept):
    _rename_a_field(kept)
    with pytest.raises(
        CorruptError, match=f"for {kept.root} run the same `extract` in between: .* generated once more"
    ):
        ldmscene.evaluate(kept, alphas=ALPHAS)


def _rename_a_field(store) -> None:
    for path in (store.root / "statistics" / "moments").iterdir():
        arrays = load(path.read_bytes())
        arrays["mean"] = arrays.pop("mean_x")
        path.write_bytes(save(arrays, {"crc32c": str(_checksum(arrays))}))


def test_labels_that_were_lost_are_made_again_alone(tiny, samples, whole, kept, monkeypatch):
    store = kept
    dropped = store.samples.query("dropped")["sample_id"].iloc[0]
    store.info(label_path("depth")).file(store.rows([dropped])[0]).unlink()
    assert len(repair(store.root)) == 1
    with monkeypatch.context() as patch:
        patch.setattr(tiny.unet, "forward", None)
        again = _keep(tiny, samples, store.root)
    assert ldmscene.verify(again) == []
    _assert_same(ldmscene.evaluate(again, alphas=ALPHAS), whole)


def test_a_picture_that_was_lost_is_made_again(tiny, samples, kept):
    dropped = kept.samples.query("dropped")["sample_id"].iloc[0]
    picture = kept.info(IMAGE).file(kept.rows([dropped])[0])
    before, states = picture.read_bytes(), _states(kept)
    picture.unlink()
    assert len(repair(kept.root)) == 1
    again = _keep(tiny, samples, kept.root)
    assert picture.read_bytes() == before
    assert dropped in again.complete(IMAGE)
    assert _states(again) == states


def test_a_clock_that_was_set_back_brings_nothing_dropped_back(tiny, samples, tmp_path, monkeypatch):
    store = ldmscene.extract(tiny, samples, tmp_path / "all", **OPTIONS)
    some = store.samples["sample_id"].iloc[:2].tolist()
    monkeypatch.setattr("time.time", lambda: 0.0)
    dropping.drop(store, some, [activation_path(LAST)])
    assert ldmscene.open(store.root).dropped(activation_path(LAST)) == set(some)


def test_labelers_that_are_named_run_on_the_device_that_is_asked_for(tiny, samples, tmp_path, monkeypatch):
    asked = []

    class Parts:
        provenance: ClassVar[dict] = {"labeler": "parts", "kind": "classes"}

    monkeypatch.setattr(labelers.LABELERS, "_values", dict(labelers.LABELERS))
    labelers.LABELERS.register(
        labelers.LabelerEntry("parts", lambda _argument, device: asked.append(device) or Parts())
    )
    for device in ("cpu", None):
        with pytest.raises(InputError, match="'parts' holds classes"):  # and nothing is generated
            ldmscene.extract(
                tiny,
                samples,
                tmp_path / "kept",
                **OPTIONS,
                keep="statistics",
                labelers={"parts": "parts"},
                device=device,
            )
    assert asked == ["cpu", None]


def test_statistics_of_classes_are_refused_before_anything_is_generated(tiny, samples, tmp_path):
    class Parts:
        provenance: ClassVar[dict] = {"labeler": "parts", "kind": "classes"}

    with pytest.raises(InputError, match="'parts' holds classes"):
        ldmscene.extract(
            tiny, samples, tmp_path / "kept", **OPTIONS, keep="statistics", labelers={"parts": Parts(), **LABELERS}
        )
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize(("name", "why"), [("latent", "something else in beyond="), ("a/b", "letters, digits")])
def test_names_of_no_target_are_refused_before_anything_is_generated(tiny, samples, tmp_path, name, why):
    with pytest.raises(InputError, match=f"a target's name is .*{why}"):
        ldmscene.extract(
            tiny, samples, tmp_path / "kept", **OPTIONS, keep="statistics", labelers={name: "tiny-depth", **LABELERS}
        )
    assert not (tmp_path / "kept").exists()
