"""What ships, held to what its card says."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline
from safetensors.torch import load_file

from ldmscene.capture import find_modules
from ldmscene.presets import PRESETS
from ldmscene.testbed import LABELERS, MODELS, WEIGHTS
from ldmscene.testbed.labelers import load_net
from ldmscene.testbed.model import build_pipeline, build_tokenizer, build_vae, vocabulary
from ldmscene.testbed.nets import Judge
from ldmscene.testbed.scenes import render, sample_scenes
from ldmscene.testbed.train import quality
from ldmscene.testbed.train.data import SceneFiles
from ldmscene.testbed.train.denoiser import Denoiser
from ldmscene.testbed.train.export import export_pipeline

MODEL = MODELS["tiny-scenes"]
UNSEEN = 900  # the seed of the held-out scenes


@pytest.fixture(scope="module")
def unseen():
    return render(sample_scenes(100, UNSEEN), batch=16)


def test_diffusers_loads_the_folder_offline_as_what_it_is():
    pipeline = DiffusionPipeline.from_pretrained(MODEL)
    pipeline.set_progress_bar_config(disable=True)
    assert type(pipeline) is StableDiffusionPipeline
    assert {part.dtype for part in (pipeline.vae, pipeline.text_encoder, pipeline.unet)} == {torch.float32}
    assert pipeline("a red cube", num_inference_steps=1).images[0].size == (64, 64)


def test_an_exported_pipeline_loads_in_one_precision(tmp_path):
    denoiser = Denoiser()
    export_pipeline(build_pipeline(build_vae(), build_tokenizer(), denoiser.text_encoder, denoiser.unet), tmp_path)
    loaded = DiffusionPipeline.from_pretrained(tmp_path)
    assert {part.dtype for part in (loaded.vae, loaded.text_encoder, loaded.unet)} == {torch.float32}
    weight = denoiser.text_encoder.get_input_embeddings().weight
    assert torch.equal(loaded.text_encoder.get_input_embeddings().weight, weight.half().float())


def test_all_weights_are_float16_safetensors_below_24_megabytes():
    files = [p for p in WEIGHTS.rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) < 24e6
    for path in files:
        assert path.suffix in {".safetensors", ".json", ".md", ".png"}
        if path.suffix == ".safetensors":
            assert {t.dtype for t in load_file(path).values() if t.is_floating_point()} == {torch.float16}


def test_no_config_remembers_where_it_was_made():
    for path in WEIGHTS.rglob("*.json"):
        assert "_name_or_path" not in path.read_text(), path


def test_the_sixteen_modules_have_stable_diffusions_names(tiny):
    places = [f"down_blocks.{i}.attentions.{j}" for i in range(3) for j in range(2)] + ["mid_block.attentions.0"]
    places += [f"up_blocks.{i}.attentions.{j}" for i in range(1, 4) for j in range(3)]
    assert find_modules(tiny.unet, "self-attention") == [f"{p}.transformer_blocks.0.attn1.to_out.0" for p in places]
    assert set(PRESETS) == {"self-attention", "cross-attention", "resnet", "all-blocks"}


def test_every_word_is_one_token(tiny):
    for tokenizer in (build_tokenizer(), tiny.tokenizer):
        for word in vocabulary():
            assert len(tokenizer(word).input_ids) == 3, word  # start, the word, end
        assert len(tokenizer("zebra").input_ids) > 3


@pytest.mark.parametrize("scheduler", ["DPMSolverMultistepScheduler", "DDIMScheduler", "PNDMScheduler"])
def test_it_draws_what_it_is_told(tiny, scheduler):
    """A red and a blue cube differ in the right channel."""
    from ldmscene import capture

    with capture.with_scheduler(tiny, scheduler):
        red, blue = quality.generate(tiny, [f"a large {c} cube on a grey floor" for c in ("red", "blue")], seed=3)
    centre = (slice(20, 50), slice(16, 48))
    difference = red[centre].astype(int) - blue[centre]
    assert difference[..., 0].mean() > 10
    assert difference[..., 2].mean() < -10


def test_the_autoencoder_gives_held_out_scenes_back(tiny, unseen):
    scores = quality.autoencoder_quality(tiny.vae, unseen)
    assert scores["VAE PSNR, dB"] > 33
    assert scores["VAE PSNR on objects, dB"] > 28


def test_the_labelers_know_the_truth_of_held_out_scenes(tiny, unseen):
    scores = quality.labeler_quality(load_net(), tiny.vae, unseen)
    for name, value in scores.items():
        floor = {"tiny-depth": 0.97, "tiny-mask": 0.95, "tiny-shading": 0.93}[name.split()[0]]
        assert value >= floor, name


def test_labelers_leave_the_sky_without_shading(unseen):
    found = LABELERS["tiny-shading"](unseen.image)["shading"]
    assert (np.isnan(found) == np.isnan(unseen.shading)).mean() > 0.98


@pytest.mark.slow
@pytest.mark.timeout(1800)  # 200 images of 50 steps, on two cores that may be shared
def test_samples_are_what_the_card_says(tiny, tmp_path):
    judge = Judge()
    judge.load_state_dict({k: v.float() for k, v in load_file(WEIGHTS / "judge.safetensors").items()})
    judge.eval()
    own = quality.judge_quality(judge, SceneFiles(tmp_path, "test", 1000, UNSEEN), tiny.vae)
    assert min(own.values()) > 0.95
    scores, _, _ = quality.sample_quality(judge, tiny, 200, seed=1)
    card = dict(re.findall(r"^\| (samples .*?) \| ([\d.]+) \|$", (MODEL / "README.md").read_text(), re.MULTILINE))
    for name, value in scores.items():
        assert value == pytest.approx(float(card[name]), abs=0.02)  # another machine rounds a few samples elsewhere
    assert scores["samples with the right colour"] >= 0.85
    assert scores["samples with the right shape"] >= 0.75
