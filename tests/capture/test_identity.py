"""What identifies a pipeline, and hashes that are computed once."""

from __future__ import annotations

import os

import pytest
import torch

from ldmscene import capture, testbed
from ldmscene.capture import memo
from ldmscene.capture.identity import _weights_hash


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """A denoiser on disk, loaded; small weights count as large."""
    monkeypatch.setattr(memo, "LARGE", 1)
    pipeline = capture.load_pipeline(testbed.MODELS["tiny-scenes"], "cpu")
    pipeline.unet.save_pretrained(tmp_path / "unet")
    return type(pipeline.unet).from_pretrained(tmp_path / "unet")


@pytest.fixture
def counted():
    calls = []

    def compute(part):
        calls.append(part)
        return _weights_hash(part)

    return calls, compute


def test_a_hash_is_computed_once_for_the_same_files(saved, counted, tmp_path):
    calls, compute = counted
    found = {memo.remembered(saved, compute, tmp_path / "cache") for _ in range(3)}
    assert found == {_weights_hash(saved)}
    assert len(calls) == 1


@pytest.mark.parametrize("change", ["touched", "larger", "elsewhere", "another dtype"])
def test_files_that_may_be_others_are_hashed_again(saved, counted, tmp_path, change):
    calls, compute = counted
    before = memo.remembered(saved, compute, tmp_path / "cache")
    file = next((tmp_path / "unet").glob("*.safetensors"))
    if change == "touched":
        os.utime(file, ns=(1, file.stat().st_mtime_ns + 1))
    if change == "larger":
        (tmp_path / "unet" / "more.safetensors").write_bytes(b"0")
    if change == "elsewhere":
        saved.save_pretrained(tmp_path / "other")
        saved = type(saved).from_pretrained(tmp_path / "other")
    if change == "another dtype":
        saved = saved.to(torch.float16)
    after = memo.remembered(saved, compute, tmp_path / "cache")
    assert len(calls) == 2
    assert (after == before) == (change != "another dtype")


@pytest.mark.parametrize("content", ["", "nonsense", "[]"])
def test_a_damaged_cache_costs_time_only(saved, counted, tmp_path, content):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "weights.json").write_text(content)
    assert memo.remembered(saved, counted[1], tmp_path / "cache") == _weights_hash(saved)


def test_a_cache_that_cannot_be_written_to_costs_time_only(saved, counted, tmp_path):
    (tmp_path / "cache").write_text("a file")
    assert memo.remembered(saved, counted[1], tmp_path / "cache") == _weights_hash(saved)


def test_a_pipeline_that_was_handed_over_is_always_hashed(tiny, monkeypatch):
    monkeypatch.setattr(memo, "LARGE", 1)
    monkeypatch.setattr(memo, "_read", lambda path: pytest.fail("its weights may have been changed"))
    assert capture.identity(tiny)["components"]["unet"]["weights"] == _weights_hash(tiny.unet)
