"""What identifies a pipeline, and hashes that are computed once."""

from __future__ import annotations

import importlib
import json
import os

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler
from diffusers.models.attention_processor import AttnProcessor2_0

from ldmscene import capture, testbed
from ldmscene.capture import memo
from ldmscene.capture.identity import _weights_hash
from tests.capture.pipelines import PIPELINES, build


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
        file.with_name(f"{file.stem}-00002-of-00002.safetensors").write_bytes(b"0")
    if change == "elsewhere":
        saved.save_pretrained(tmp_path / "other")
        saved = type(saved).from_pretrained(tmp_path / "other")
    if change == "another dtype":
        saved = saved.to(torch.float16)
    after = memo.remembered(saved, compute, tmp_path / "cache")
    assert len(calls) == 2
    assert (after == before) == (change != "another dtype")


def test_variants_in_one_folder_are_not_taken_for_each_other(saved, tmp_path):
    """Loaded from one folder in one dtype, they differ in what the folder doesn't tell."""
    other = type(saved).from_pretrained(tmp_path / "unet")
    with torch.no_grad():
        next(other.parameters()).add_(1)
    other.save_pretrained(tmp_path / "unet", variant="fp16")
    for variant in (None, "fp16"):
        loaded = type(saved).from_pretrained(tmp_path / "unet", variant=variant)
        assert memo.remembered(loaded, _weights_hash, tmp_path / "cache") == _weights_hash(loaded)


@pytest.mark.parametrize("content", ["", "nonsense", "[]"])
def test_a_damaged_cache_costs_time_only(saved, counted, tmp_path, content):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "weights.json").write_text(content)
    assert memo.remembered(saved, counted[1], tmp_path / "cache") == _weights_hash(saved)


def test_a_cache_that_cannot_be_written_to_costs_time_only(saved, counted, tmp_path):
    (tmp_path / "cache").write_text("a file")
    assert memo.remembered(saved, counted[1], tmp_path / "cache") == _weights_hash(saved)


@pytest.fixture
def own():
    """A pipeline whose switches a test may turn."""
    return capture.load_pipeline(testbed.MODELS["tiny-scenes"], "cpu")


class _Doubled(AttnProcessor2_0):
    """An attention of the user's own."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def __call__(self, *args, **kwargs):
        return self.factor * super().__call__(*args, **kwargs)


def _freeu(pipeline, weaker):
    pipeline.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.2 if weaker else 1.4)


def _processor(pipeline, weaker):
    pipeline.unet.set_attn_processor(_Doubled(1.5 if weaker else 2.0))


def _one_processor(pipeline, weaker):
    """In one module or in another."""
    blocks = (pipeline.unet.mid_block, pipeline.unet.up_blocks[1])
    for block, doubled in zip(blocks, (not weaker, weaker), strict=True):
        block.attentions[0].transformer_blocks[0].attn1.set_processor(_Doubled(2.0) if doubled else AttnProcessor2_0())


def _adapter(pipeline, weaker):
    peft = pytest.importorskip("peft")
    if not getattr(pipeline.unet, "peft_config", None):
        pipeline.unet.add_adapter(
            peft.LoraConfig(r=2, lora_alpha=2, target_modules=["to_q"], init_lora_weights=False), "style"
        )
    pipeline.unet.set_adapters(["style"], [0.5 if weaker else 1.0])


def _step(pipeline, weaker):
    step = type(pipeline.scheduler).step
    pipeline.scheduler.step = (lambda *a, **k: step(pipeline.scheduler, *a, **k)) if weaker else _override


def _override(*_args, **_kwargs):
    raise AssertionError


@pytest.mark.parametrize("turn", [_freeu, _processor, _one_processor, _adapter, _step])
def test_switches_that_stand_in_no_config_are_part_of_the_identity(own, turn):
    found = [capture.identity(own)]
    for weaker in (False, True):
        turn(own, weaker)
        found.append(capture.identity(own))
    assert found[0] != found[1] != found[2] != found[0]
    turn(own, False)
    assert capture.identity(own) == found[1]


def test_switches_turned_back_leave_no_trace_and_slicing_is_none(own):
    before = capture.identity(own)
    assert "switches" not in before
    own.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4)
    own.disable_freeu()
    own.enable_attention_slicing()
    own.vae.enable_tiling()
    assert capture.identity(own) == before


def test_an_adapter_that_is_switched_off_is_told_from_one_that_counts(own):
    _adapter(own, False)
    on = capture.identity(own)
    own.unet.disable_adapters()
    off = capture.identity(own)
    assert on["components"] == off["components"]
    assert on["switches"]["unet"]["adapters"]["values"] == [{"active": {"style": 1.0}}]
    assert "switches" not in off


def test_a_shifted_schedule_is_another_one():
    pipeline = build("stable_diffusion_3")
    before = capture.identity(pipeline)
    pipeline.scheduler.set_shift(5.0)
    assert capture.identity(pipeline)["switches"] == {"scheduler": {"shift": 5.0}}
    pipeline.scheduler.set_shift(pipeline.scheduler.config.shift)
    assert capture.identity(pipeline) == before


def test_what_a_pipeline_was_told_when_it_was_made_is_part_of_the_identity():
    pipeline = build("stable_diffusion_xl")
    told = type(pipeline)(**pipeline.components, force_zeros_for_empty_prompt=False)
    assert capture.identity(told)["switches"] == {"pipeline": {"force_zeros_for_empty_prompt": False}}
    perturbed = build("perturbed_attention")
    assert "switches" not in capture.identity(perturbed)
    perturbed.set_pag_applied_layers(["up"])
    assert capture.identity(perturbed)["switches"] == {"pipeline": {"pag_applied_layers": ["up"]}}


@pytest.mark.parametrize("name", PIPELINES)
def test_pipelines_as_they_are_have_no_switches(name):
    assert "switches" not in capture.identity(build(name))


def test_weights_are_hashed_once_a_run_and_those_of_the_control_too(own, monkeypatch):
    hashed = []
    module = importlib.import_module("ldmscene.capture.identity")
    monkeypatch.setattr(module, "weights_hash", lambda part: hashed.append(part) or str(len(hashed)))
    model = capture.Model.load(own)
    control = model.permuted()
    for one in (model, control, model, control):
        capture.identity(one.pipeline, one.hashes)
    assert hashed == [own.text_encoder, own.unet, own.vae, control.pipeline.unet]


def test_a_control_is_never_taken_for_what_lies_in_its_folder(monkeypatch):
    """Its weights came from there, and are others now."""
    monkeypatch.setattr(memo, "LARGE", 1)
    monkeypatch.setattr(memo, "_read", lambda path: pytest.fail("known from a file"))
    model = capture.Model.load(testbed.MODELS["tiny-scenes"], "cpu")
    assert model.hashes is not None
    control = model.permuted()
    assert control.hashes(control.pipeline.unet) == _weights_hash(control.pipeline.unet)


def test_a_pipeline_that_was_handed_over_is_always_hashed(tiny, monkeypatch):
    monkeypatch.setattr(memo, "LARGE", 1)
    monkeypatch.setattr(memo, "_read", lambda path: pytest.fail("its weights may have been changed"))
    assert capture.identity(tiny)["components"]["unet"]["weights"] == _weights_hash(tiny.unet)


def test_infinities_of_a_config_are_told_apart_in_plain_json(tiny):
    """DPM-Solver's own default is minus infinity, which no JSON reader but Python's takes."""
    found = []
    for clipped in (float("-inf"), -5.1):
        scheduler = DPMSolverMultistepScheduler.from_config(tiny.scheduler.config, lambda_min_clipped=clipped)
        with capture.with_scheduler(tiny, scheduler):
            found.append(json.loads(json.dumps(capture.identity(tiny)["scheduler"], allow_nan=False)))
    assert [one["lambda_min_clipped"] for one in found] == ["-Infinity", -5.1]
