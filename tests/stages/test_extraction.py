"""Extraction does what is missing, once, and loses nothing whenever it is stopped."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

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
from ldmscene.stages import extraction
from ldmscene.store import files as store_files
from ldmscene.store import layout
from ldmscene.store.writer import WAITING
from tests.conftest import FIRST, LAST, STEPS, files, make_manifest


def _extract(pipeline, manifest, root, modules=(FIRST,), **options):
    return ldmscene.extract(pipeline, manifest, root, list(modules), **({"steps": 2, "batch_size": 2} | options))


def _arrays(root: Path) -> dict[str, bytes]:
    """Everything but the ledger, whose rows hold the time."""
    return {name: data for name, data in files(root).items() if not name.startswith(layout.LEDGER)}


@pytest.fixture
def calls(tiny):
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


def test_previews_are_added_for_the_split_that_was_asked_for(tiny, two):
    again = _extract(tiny, make_manifest(1, 1), two.root, previews="test")
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
        ({"scheduler": "DDIM"}, r"scheduler\.class: LMSDiscreteScheduler in the store, DDIMScheduler now"),
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
    assert told["denoiser_calls_per_sample"] == 2
    assert told["bytes_of_memory_for_samples"] >= (2 + WAITING + 1) * told["bytes_per_sample"]
    assert 0 < told["seconds_per_sample"] * 3 == pytest.approx(told["seconds"])


def test_the_memory_bound_is_said_before_the_run(tiny, tmp_path, capsys):
    _extract(tiny, make_manifest(1, 0), tmp_path / "s", batch_size=4)
    said = " ".join(capsys.readouterr().err.split())
    assert f"memory for samples: at most (4 being generated + {WAITING} waiting + 1 being written)" in said
    _extract(tiny, make_manifest(1, 0), tmp_path / "s", batch_size=4)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("crash", range(11))
def test_a_run_stopped_at_any_write_goes_on_to_the_same_store(tiny, tmp_path, monkeypatch, crash):
    manifest = make_manifest(1, 1)
    write, count = store_files.write_file, iter(range(1000))

    def failing(path, data):
        if next(count) == crash:
            raise KeyboardInterrupt
        write(path, data)

    for place in ("metadata", "writer", "ledger"):
        monkeypatch.setattr(f"ldmscene.store.{place}.write_file", failing)
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

    monkeypatch.setattr(store_files.os, "fsync", failing)
    with pytest.raises(WriteError, match=f"{cause}.*same command again"):
        _extract(tiny, make_manifest(8, 2), tmp_path / "s", batch_size=1)
    monkeypatch.undo()
    kept = ldmscene.open(tmp_path / "s").samples["complete"].sum()
    assert 0 < kept < 10
    assert _extract(tiny, make_manifest(8, 2), tmp_path / "s").samples["complete"].all()


def test_a_store_that_lost_its_manifest_is_refused(tiny, two):
    (two.root / layout.MANIFEST).unlink()
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


def test_values_that_overflow_are_an_error_and_float32_is_the_way_out(tiny, tmp_path):
    parts = dict(tiny.unet.named_modules())

    def inflate(_module, _args, output):
        return output * 1e6

    handle = parts[LAST].register_forward_hook(inflate)
    try:
        with pytest.raises(LdmsceneError, match=r"infinite or NaN in float16.*dtype='float32'"):
            _extract(tiny, make_manifest(1, 1), tmp_path / "s", [LAST])
        assert not (tmp_path / "s").exists()  # or it would be in the way of
        assert _extract(tiny, make_manifest(1, 1), tmp_path / "s", [LAST], dtype="float32").samples["complete"].all()
    finally:
        handle.remove()


def test_the_estimate_is_the_published_one_for_stable_diffusion():
    """The design's figure: 11.55 million values a step for 16 self-attention outputs at 512 × 512."""
    import torch
    from diffusers import UNet2DConditionModel

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
    specs = extraction.array_specs(plan, previews=False)
    (batch,) = extraction.missing_batches(two, make_manifest(1, 1), specs, False, 8)
    assert batch.rows == (0, 1)
    assert batch.missing == (frozenset({layout.activation_path(LAST)}),) * 2


def test_the_embedded_model_is_named_by_its_name():
    assert testbed.MODELS["tiny-scenes"].joinpath("model_index.json").exists()
