"""Extraction does what is missing, once, and loses nothing whenever it is stopped."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from diffusers import UNet2DConditionModel

import ldmscene
from ldmscene import capture, testbed
from ldmscene.errors import (
    CorruptError,
    FingerprintError,
    InputError,
    LdmsceneError,
    ManifestError,
    UnknownNameError,
    WriteError,
)
from ldmscene.extraction import estimate, fill, unchanged
from ldmscene.extraction.missing import find_missing
from ldmscene.store import files as store_files
from ldmscene.store import layout, writer
from ldmscene.store.disk import Disk
from tests.conftest import FIRST, LAST, STEPS, files, make_manifest, overflowing


def _extract(pipeline, manifest, root, modules=(FIRST,), **options):
    return ldmscene.extract(pipeline, manifest, root, list(modules), **({"steps": 2, "batch_size": 2} | options))


def _arrays(root: Path) -> dict[str, bytes]:
    """Everything but the ledger, whose rows hold the time."""
    return {name: data for name, data in files(root).items() if not name.startswith(layout.LEDGER)}


@pytest.fixture
def unasked(monkeypatch):
    """The model isn't asked what it answers, so that calls can be counted."""
    monkeypatch.setattr(unchanged, "canary", lambda plan: {})


@pytest.fixture
def calls(tiny, unasked):
    """Counts the denoiser's calls."""
    made = []
    handle = tiny.unet.register_forward_hook(lambda *_: made.append(1))
    yield made
    handle.remove()


def test_the_denoiser_is_called_just_as_often_as_the_scheduler_says(tiny, tmp_path, calls):
    _extract(tiny, make_manifest(3, 1), tmp_path / "s", steps=3)
    assert len(calls) == 2 * 3  # two batches


def test_what_cannot_be_run_leaves_nothing_that_stands_in_the_way(tiny, tmp_path):
    failing = tiny.unet.register_forward_hook(_fail)
    try:
        with pytest.raises(RuntimeError, match="out of memory"):
            _extract(tiny, make_manifest(2, 1), tmp_path / "s", previews="test")
    finally:
        failing.remove()
    assert not (tmp_path / "s").exists()
    again = _extract(tiny, make_manifest(2, 1), tmp_path / "s", guidance_scale=2.0, previews="test")
    plain = _extract(tiny, make_manifest(2, 1), tmp_path / "plain", guidance_scale=2.0, previews="test")
    assert again.samples["complete"].all()
    assert _arrays(again.root) == _arrays(plain.root)


def _fail(*_):
    raise RuntimeError("out of memory")


def test_the_same_call_on_a_finished_store_runs_nothing_and_changes_no_byte(tiny, two, calls):
    before = files(two.root)
    again = _extract(tiny, make_manifest(1, 1), two.root)
    assert calls == []
    assert files(two.root) == before
    assert again.samples["complete"].all()


def test_more_samples_and_modules_extend_a_store_and_compute_what_is_missing(tiny, two, tmp_path, calls):
    longer = make_manifest(3, 0).with_splits(["train", "test", "train"])
    _extract(tiny, longer, two.root)
    new = len(longer) - 2
    assert len(calls) == 2 * -(-new // 2)
    _extract(tiny, longer, two.root, [FIRST, LAST])
    direct = _extract(tiny, longer, tmp_path / "direct", [FIRST, LAST], batch_size=1)
    extended = ldmscene.open(two.root)
    assert extended.modules == [FIRST, LAST]
    for module in (FIRST, LAST):
        found, wanted = extended.activations(module), direct.activations(module)
        assert found["sample"].values.tolist() == wanted["sample"].values.tolist()
        # Batches of two and of one round differently; noise is the same.
        np.testing.assert_allclose(found.values.astype(float), wanted.values.astype(float), atol=2e-2)


def test_previews_are_added_for_the_split_that_was_asked_for(tiny, two, unasked):
    decoded = []
    handle = tiny.vae.decoder.register_forward_hook(lambda _m, args, _out: decoded.append(len(args[0])))
    again = _extract(tiny, make_manifest(1, 1), two.root, previews="test")
    handle.remove()
    assert decoded == [1, 1, 2, 2]  # each final picture alone; of both steps, what x_t and then predicted x_0 decode to
    assert capture.at_once(512, 512) == capture.at_once(1024, 1024) == 1
    held_out = again.manifest.frame.query("split == 'test'")["sample_id"].tolist()
    for source, latents in (("noisy", again.latents(split="test").values),):
        found = again.previews(source)
        assert found["sample"].values.tolist() == held_out
        np.testing.assert_array_equal(found[0], capture.decode(tiny, latents[0]))
    last = again.previews("predicted")[0, -1].values.astype(int)
    assert np.abs(last - again.images("test")[0].values).mean() < 8


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"guidance_scale": 3.0}, r"guidance_scale: 7\.5 in the store, 3\.0 now"),
        ({"steps": 3}, r"steps: 2 in the store, 3 now"),
        ({"negative_prompt": "a red cube"}, "negative_prompt:"),
        ({"scheduler": "DDIM"}, r"scheduler\.class: DPMSolverMultistepScheduler in the store, DDIMScheduler now"),
        ({"branch": "both"}, "branches:"),
        ({"dtype": "float32"}, "dtype: float16 in the store, float32 now"),
    ],
)
def test_another_configuration_is_refused_with_what_differs(tiny, two, change, path, calls):
    before = files(two.root)
    with pytest.raises(FingerprintError, match=path):
        _extract(tiny, make_manifest(1, 1), two.root, **change)
    assert files(two.root) == before
    assert calls == []


def test_other_weights_are_another_configuration(tiny, two):
    with pytest.raises(FingerprintError, match=r"components\.unet\.weights"):
        _extract(capture.permute_weights(tiny), make_manifest(1, 1), two.root)


def test_a_switch_that_stands_in_no_config_is_another_configuration(two):
    pipeline = capture.load_pipeline(testbed.MODELS["tiny-scenes"], "cpu")
    pipeline.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4)
    with pytest.raises(FingerprintError, match=r"switches: None in the store, .*'freeu'.*'b1': 1\.2"):
        _extract(pipeline, make_manifest(2, 1), two.root)


def test_another_config_is_refused_with_the_keys_that_differ(two):
    pipeline = capture.load_pipeline(testbed.MODELS["tiny-scenes"], "cpu")
    pipeline.unet.register_to_config(norm_eps=1e-3)
    with pytest.raises(
        FingerprintError, match=r"\n  components\.unet\.config\.norm_eps: 1e-05 in the store, 0\.001 now\n"
    ):
        _extract(pipeline, make_manifest(1, 1), two.root)


def test_what_filled_a_store_is_noted_and_no_part_of_its_fingerprint(tiny, two, monkeypatch):
    now = capture.environment(tiny)
    assert now["device"] == "cpu"
    assert two.attributes["made_with"] == [now]
    upgraded = {**now, "diffusers": "99.0"}
    monkeypatch.setattr(capture, "environment", lambda _pipeline: upgraded)
    same = _extract(tiny, make_manifest(1, 1), two.root)
    assert same.attributes["made_with"] == [now]  # nothing was computed
    longer = make_manifest(3, 0).with_splits(["train", "test", "train"])
    more = _extract(tiny, longer, two.root)
    assert more.attributes["made_with"] == [now, upgraded]
    assert more.fingerprint == two.fingerprint


def test_the_fingerprint_does_not_depend_on_where_the_weights_lie(tiny, two, tmp_path):
    tiny.save_pretrained(tmp_path / "copy")
    again = ldmscene.extract(tmp_path / "copy", make_manifest(1, 1), two.root, [FIRST], steps=2)
    assert again.fingerprint == two.fingerprint


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"modules": ["nothing.like.it"]}, UnknownNameError, "nearest"),
        ({"manifest": []}, ManifestError, "empty"),
        ({"manifest": [("a", 1), ("a", 1)]}, ManifestError, "same prompt and seed"),
        ({"batch_size": 0}, InputError, "at least 1"),
        ({"steps": 0}, InputError, "at least 1"),
        ({"scheduler": "Nope"}, UnknownNameError, "scheduler"),
    ],
)
def test_bad_input_writes_nothing(tiny, tmp_path, arguments, error, message):
    given = {"manifest": make_manifest(1, 1), "modules": [FIRST]} | arguments
    manifest, modules = given.pop("manifest"), given.pop("modules")
    with pytest.raises(error, match=message):
        ldmscene.extract(tiny, manifest, tmp_path / "s", modules, **given)
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_foretells_the_bytes_and_writes_nothing(tiny, tmp_path):
    manifest = make_manifest(2, 1)
    told = _extract(tiny, manifest, tmp_path / "s", [FIRST, LAST], dry_run=True, previews="test")
    assert list(tmp_path.iterdir()) == []
    store = _extract(tiny, manifest, tmp_path / "s", [FIRST, LAST], previews="test")
    assert told["bytes"] == store.ledger["bytes"].sum()
    assert told["files"] == len(store.ledger)
    assert told["samples"] == 3
    assert told["denoiser_calls_per_sample"] == 2
    assert "bytes_of_memory" not in _extract(tiny, manifest, store.root, [FIRST, LAST], dry_run=True, previews="test")


_MEMORY = """
import sys
import ldmscene
from ldmscene.device import peak_memory
pairs, dry = [(f"a large red sphere {i}", i) for i in range(32)], sys.argv[2] == "dry"
told = ldmscene.extract(
    "tiny-scenes", pairs, sys.argv[1], "all-blocks", steps=5, dtype="float32", batch_size=16, dry_run=dry,
    progress=False,
)
print(told["bytes_of_memory"] if dry else peak_memory())
"""


@pytest.mark.slow
def test_a_dry_run_foretells_the_memory(tmp_path):
    def peak(how: str) -> int:
        command = [sys.executable, "-c", _MEMORY, str(tmp_path / "s"), how]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    # Of some 760 MB, a batch of 16 with its 14 MB of activations is 70.
    assert peak("dry") == pytest.approx(peak("run"), rel=0.03)


@pytest.mark.parametrize("compression", ["none", "lossless"])
def test_a_dry_run_foretells_what_is_missing(tiny, tmp_path, compression):
    options, manifest, root = {"previews": "test", "compression": compression}, make_manifest(3, 1), tmp_path / "s"
    half = _extract(tiny, manifest.only([manifest.frame["sample_id"][3]]), root, **options)
    before = files(root)
    told = _extract(tiny, manifest, root, [FIRST, LAST], dry_run=True, **options)
    assert files(root) == before
    store = _extract(tiny, manifest, root, [FIRST, LAST], **options)
    assert told["samples"] == 4  # of one, a module
    assert told["files"] == len(store.ledger) - len(half.ledger)
    written = store.ledger["bytes"].sum() - half.ledger["bytes"].sum()
    assert told["bytes"] == written if compression == "none" else told["bytes"] > written
    done = _extract(tiny, manifest, root, [FIRST, LAST], dry_run=True, **options)
    assert [done[name] for name in ("samples", "bytes", "files", "seconds", "seconds_per_sample")] == [0] * 5
    with pytest.raises(FingerprintError, match="steps"):
        _extract(tiny, manifest, root, dry_run=True, steps=3, **options)


def test_a_dry_runs_time_is_that_of_warm_batches_with_previews_and_of_warming_up_once(tiny, tmp_path, monkeypatch):
    """On a clock that the denoiser, the decoder and the disk move: the first call is slow, as on a cold machine."""
    now, calls = [0.0], []

    def passing(seconds, work=lambda *_: None):
        def timed(*arguments):
            now[0] += seconds[0]
            return work(*arguments)

        return timed

    def denoised(*_):
        calls.append(1)
        now[0] += 30.0 if len(calls) == 1 else 1.0

    disk = [0.0]
    monkeypatch.setattr(estimate, "write_file", passing(disk, store_files.write_file))
    monkeypatch.setattr(capture, "decode", passing([0.25], capture.decode))
    monkeypatch.setattr(estimate.time, "perf_counter", lambda: now[0])
    handle = tiny.unet.register_forward_hook(denoised)
    try:
        for disk[0], each in ((0.0, 3 / 2), (2.0, 3 * 2.0)):  # the slower of generating, and of writing three arrays
            calls.clear()
            told = _extract(tiny, make_manifest(4, 2), tmp_path / "s", steps=3, previews="test", dry_run=True)
            assert len(calls) == 2 * 3
            assert told["seconds_per_sample"] == each
            assert told["seconds"] == 29 + 6 * each + 2 * 2 * 0.25
    finally:
        handle.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("keep", ["activations", "statistics"])
def test_the_memory_bound_is_said_once_before_the_run(tiny, tmp_path, capsys, keep):
    options = {"keep": keep, "labelers": {"mask": "tiny-mask"} if keep == "statistics" else None}
    told: list[str] = []
    handle = tiny.unet.register_forward_hook(lambda *_: told.append(capsys.readouterr().err))
    try:
        _extract(tiny, make_manifest(10, 1), tmp_path / "s", steps=1, batch_size=4, **options)
    finally:
        handle.remove()
    assert "memory for samples" in told[0], "it must be said before the denoiser runs"
    said = " ".join("".join([*told, capsys.readouterr().err]).split())
    assert said.count("memory for samples: at most") == 1
    assert f"for each of 4 being generated and {writer.WAITING} waiting or being written" in said
    _extract(tiny, make_manifest(10, 1), tmp_path / "s", steps=1, batch_size=4, **options)
    assert capsys.readouterr().err == ""


def test_no_more_samples_are_in_memory_than_the_bound_counts(tiny, tmp_path, monkeypatch):
    """With a disk that is much slower than the denoiser."""
    alive, counts, write, run = [], [], Disk.write, capture.run

    def slow(disk, key, data):
        time.sleep(0.05)
        write(disk, key, data)

    def tracked(*arguments, **named):
        found = run(*arguments, **named)
        alive.extend(weakref.ref(trajectory.activations[FIRST]) for trajectory in found)
        return found

    monkeypatch.setattr(Disk, "write", slow)
    monkeypatch.setattr(capture, "run", tracked)
    handle = tiny.unet.register_forward_hook(lambda *_: counts.append(sum(one() is not None for one in alive)))
    try:
        _extract(tiny, make_manifest(8, 0), tmp_path / "s", batch_size=2)
    finally:
        handle.remove()
    assert len(alive) == 8
    assert max(counts) == writer.WAITING  # beside the two that are then being generated


def test_the_memory_bound_is_below_a_gibibyte_at_stable_diffusions_size(tiny):
    """16 self-attention outputs at 512 × 512, 15 steps, one branch: the design's figures."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768)
    shapes = capture.outline_shapes(unet, capture.find_modules(unet, "self-attention"))
    plan = capture.make_plan(
        tiny, modules=[FIRST], steps=15, guidance_scale=7.5, negative_prompt="", height=64, width=64,
        branch="cond", dtype="float16",
    )  # fmt: skip
    plan = replace(plan, modules=tuple(shapes), height=512, width=512, folding=replace(plan.folding, latent=(64, 64)))
    bound = fill.memory_bound(plan, fill.array_specs(plan, previews=False), batch_size=1)
    assert 2 * 346e6 < bound < 2**30


@pytest.mark.parametrize("crash", range(11))
def test_a_run_stopped_at_any_write_goes_on_to_the_same_store(tiny, tmp_path, monkeypatch, crash):
    manifest = make_manifest(1, 1)
    write, count = Disk.write, iter(range(1000))

    def failing(disk, key, data):
        if next(count) == crash:
            raise KeyboardInterrupt
        write(disk, key, data)

    monkeypatch.setattr(Disk, "write", failing)
    stopped = False
    try:
        _extract(tiny, manifest, tmp_path / "stopped")
    except KeyboardInterrupt:
        stopped = True
    assert stopped
    monkeypatch.undo()
    resumed = _extract(tiny, manifest, tmp_path / "stopped")
    whole = _extract(tiny, manifest, tmp_path / "whole")
    assert _arrays(resumed.root) == _arrays(whole.root)
    columns = ["sample_id", "what", "crc32", "bytes", "nonfinite"]
    order = ["sample_id", "what"]
    left, right = (s.ledger[columns].sort_values(order).reset_index(drop=True) for s in (resumed, whole))
    assert left.equals(right)


@pytest.mark.parametrize(("code", "cause"), [(28, "disk is full"), (30, "read-only"), (13, "permission was denied")])
def test_a_failing_disk_stops_the_run_with_its_cause_and_keeps_what_is_finished(
    tiny, tmp_path, monkeypatch, code, cause
):
    sync, count = os.fsync, iter(range(10_000))

    def failing(handle):
        if next(count) > 80:  # the first fifty or so make the store
            raise OSError(code, os.strerror(code))
        sync(handle)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(WriteError, match=f"{cause}.*same command again"):
        _extract(tiny, make_manifest(8, 2), tmp_path / "s", batch_size=1)
    monkeypatch.undo()
    kept = ldmscene.open(tmp_path / "s").samples["complete"].sum()
    assert 0 < kept < 10
    assert _extract(tiny, make_manifest(8, 2), tmp_path / "s").samples["complete"].all()


def test_a_failing_disk_stops_the_run_at_the_next_step(tiny, tmp_path, monkeypatch, unasked):
    write, failed, steps, calls = Disk.write, threading.Event(), 5, []

    def failing(disk, key, data):
        if "/c." not in key:  # no shard
            return write(disk, key, data)
        failed.set()
        raise WriteError("the disk is gone")

    def denoised(*_):
        calls.append(1)
        if len(calls) == steps:  # from here on only samples are written
            monkeypatch.setattr(Disk, "write", failing)
        if len(calls) == steps + 2:
            assert failed.wait(60)
            time.sleep(0.5)  # for the writer's thread to end

    handle = tiny.unet.register_forward_hook(denoised)
    try:
        with pytest.raises(WriteError, match="the disk is gone"):
            _extract(tiny, make_manifest(4, 0), tmp_path / "s", steps=steps, batch_size=1)
    finally:
        handle.remove()
    assert steps < len(calls) <= steps + 2
    monkeypatch.setattr(Disk, "write", write)
    assert _extract(tiny, make_manifest(4, 0), tmp_path / "s", steps=steps, batch_size=1).samples["complete"].all()


def test_a_manifest_that_was_lost_is_written_anew_and_a_store_that_lost_all_metadata_is_refused(tiny, two, calls):
    before = files(two.root)
    (two.root / layout.MANIFEST).unlink()
    _extract(tiny, make_manifest(1, 1), two.root)
    assert files(two.root) == before
    assert calls == []
    for path in (two.root / layout.LEDGER).glob("metadata-*"):
        path.unlink()
    with pytest.raises(CorruptError, match="nobody knows which sample"):
        _extract(tiny, make_manifest(1, 1), two.root)


def test_another_tokenizer_is_another_configuration(tiny, two):
    length = tiny.tokenizer.model_max_length
    tiny.tokenizer.model_max_length = 8
    try:
        with pytest.raises(FingerprintError, match=r"tokenizers\.tokenizer"):
            _extract(tiny, make_manifest(1, 1), two.root)
    finally:
        tiny.tokenizer.model_max_length = length


def test_an_extended_store_keeps_modules_in_order_and_opens_in_xarray(tiny, two):
    ldmscene.label(two, "depth", "tiny-depth")
    longer = make_manifest(3, 0).with_splits(["train", "test", "train"])
    _extract(tiny, longer, two.root, [LAST])
    _extract(tiny, longer, two.root, [FIRST, "mid_block.attentions.0"])
    assert ldmscene.open(two.root).modules == [FIRST, "mid_block.attentions.0", LAST]
    tree = xr.open_datatree(two.root / layout.ZARR, engine="zarr", consolidated=False)
    assert tree.sizes["sample"] == len(longer)


def test_a_store_where_a_file_lies_is_refused(tiny, tmp_path):
    (tmp_path / "s").write_text("mine")
    with pytest.raises(LdmsceneError, match="not an ldmscene store"):
        _extract(tiny, make_manifest(1, 1), tmp_path / "s")
    assert (tmp_path / "s").read_text() == "mine"


def test_samples_that_overflow_are_set_aside_and_named_at_the_end(tiny, tmp_path):
    manifest = make_manifest(3, 1)
    with overflowing(tiny, {100, 102}):
        with pytest.raises(LdmsceneError, match=r"(?s)values of 2 samples are infinite or NaN.*float32") as caught:
            _extract(tiny, manifest, tmp_path / "half", [FIRST, LAST])
        samples = ldmscene.open(tmp_path / "half").samples.set_index("seed")
        assert samples["complete"].to_dict() == {100: False, 101: True, 102: False, 103: True}
        for seed, sample_id in samples["sample_id"].items():
            assert (f"{sample_id}: {LAST}, step 0: " in str(caught.value)) == (seed in (100, 102))
        whole = _extract(tiny, manifest, tmp_path / "whole", [LAST], dtype="float32")
        assert whole.samples["complete"].all()


def test_samples_that_overflow_are_stored_and_counted_where_that_is_allowed(tiny, tmp_path):
    with overflowing(tiny, {100}):
        store = _extract(tiny, make_manifest(3, 1), tmp_path / "s", [LAST], allow_nonfinite=True)
    assert store.samples["complete"].all()
    bad = store.manifest.frame["sample_id"][0]
    counts = store.ledger.query("nonfinite > 0").set_index("sample_id")["nonfinite"]
    assert counts.to_dict() == {bad: int((~np.isfinite(store.activations(LAST)[0].values)).sum())}
    ldmscene.label(store, "depth", "tiny-depth")
    with pytest.raises(LdmsceneError, match=bad):
        ldmscene.evaluate(store, cv=2)


def test_the_estimate_is_the_published_one_for_stable_diffusion():
    """The design's figure: 11.55 million values a step for 16 self-attention outputs at 512 × 512."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768)  # SD v1.4's own defaults
    shapes = capture.outline_shapes(unet, capture.find_modules(unet, "self-attention"))
    assert [s.shape for s in shapes] == (
        [(64, 64, 320)] * 2 + [(32, 32, 640)] * 2 + [(16, 16, 1280)] * 2 + [(8, 8, 1280)]
        + [(16, 16, 1280)] * 3 + [(32, 32, 640)] * 3 + [(64, 64, 320)] * 3
    )  # fmt: skip
    assert round(sum(s.values for s in shapes) / 1e6, 2) == 11.55


@pytest.mark.parametrize(("batch_size", "backwards"), [(1, False), (3, False), (8, False), (3, True)])
def test_batch_size_and_order_leave_the_noise_alone_and_round_activations_at_most(
    tiny, manifest, store, tmp_path, batch_size, backwards
):
    """Against the session's store, made in batches of ten: float32 sums in another order, then float16."""
    rows = manifest.pairs[:5]
    some = _extract(
        tiny, rows[::-1] if backwards else rows, tmp_path / "s", [FIRST, LAST], steps=STEPS, batch_size=batch_size
    )
    order = [s for s, pair in zip(manifest.frame["sample_id"], manifest.pairs, strict=True) if pair in rows]
    ours, theirs = some.rows(order), store.rows(order)
    np.testing.assert_array_equal(some.latents(step=0).values[ours], store.latents(step=0).values[theirs])
    for module in (FIRST, LAST):
        found, wanted = (s.activations(module).values.astype(float)[r] for s, r in ((some, ours), (store, theirs)))
        np.testing.assert_allclose(found, wanted, rtol=0, atol=2**-9 * np.abs(wanted).max())


def test_batches_know_what_each_sample_lacks(tiny, two):
    plan = capture.make_plan(
        tiny, modules=[FIRST, LAST], steps=2, guidance_scale=7.5, negative_prompt="", height=None, width=None,
        branch="cond", dtype="float16",
    )  # fmt: skip
    specs = fill.array_specs(plan, previews=False)
    (batch,) = find_missing(two, make_manifest(1, 1), specs, False, 8).batches()
    assert batch.rows == (0, 1)
    assert batch.missing == (frozenset({layout.activation_path(LAST)}),) * 2


def test_the_embedded_model_is_named_by_its_name():
    assert testbed.MODELS["tiny-scenes"].joinpath("model_index.json").exists()
