"""The second world's training: its data on disk, where it starts, and a short run of every stage."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DiffusionPipeline
from PIL import Image

from ldmscene.testbed.rooms.drawing import draw_rooms
from ldmscene.testbed.rooms.rendering import render_rooms
from ldmscene.testbed.rooms.scenes import COLORS
from ldmscene.testbed.rooms.solids import SHAPES
from ldmscene.testbed.rooms.train import card, data, denoiser, measure
from ldmscene.testbed.rooms.train.denoiser import start_from
from ldmscene.testbed.rooms.train.parts import FIRST
from ldmscene.testbed.rooms.train.plan import SHORT, held_out_scenes
from ldmscene.testbed.train.autoencoder import decode, encode, psnr


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "CHUNK", 6)
    return data.SceneFiles(tmp_path / "scenes", 12, seed=40)


def test_scenes_on_disk_are_those_of_their_seeds(files):
    image = files.load("image")
    assert len(image) == 12
    wanted = np.concatenate([render_rooms(draw_rooms(6, 40 + k)).image for k in range(2)])
    np.testing.assert_array_equal(image[:12], wanted)
    np.testing.assert_array_equal(image[torch.tensor([11, 0, 7])], wanted[[11, 0, 7]])


def test_what_is_on_disk_is_not_made_again_and_half_a_chunk_is(files, monkeypatch):
    files.load("depth")
    made = []
    monkeypatch.setattr(data, "render_rooms", lambda rooms: made.append(len(rooms)) or render_rooms(rooms))
    files.load("depth")
    assert made == []
    (files.folder / "000041").rename(files.folder / "000041.partial")  # as a kill leaves it
    files.load("depth")
    assert made == [6]
    rows = files.derived("double", lambda chunk: 2 * files.part("depth", chunk))
    np.testing.assert_array_equal(rows[:12], 2 * files.load("depth")[:12])
    assert files.derived("double", lambda chunk: 1 / 0)[:2].shape == (2, 64, 64)


def test_nouns_at_pixels_are_the_scenes(files):
    nouns, scenes, mask = files.nouns(0), files.scenes(0), files.part("mask", 0)
    assert ((nouns > 0) == mask).mean() > 0.98
    for i in range(6):
        there = {
            1 + int(scenes.color[i, j]) * len(SHAPES) + int(scenes.shape[i, j]) for j in range(int(scenes.count[i]))
        }
        assert set(np.unique(nouns[i])) - {0} == there
    assert nouns.max() <= len(SHAPES) * len(COLORS)


def test_words_that_both_worlds_know_start_with_their_old_meaning(tiny):
    model = start_from(FIRST, seed=1)
    tokenizer = denoiser.build_tokenizer()
    old, new = tiny.text_encoder.get_input_embeddings().weight, model.text_encoder.get_input_embeddings().weight
    for word in ("red", "cube", "behind", "grey"):
        assert torch.equal(new[tokenizer(word).input_ids[1]], old[tiny.tokenizer(word).input_ids[1]])
    # Captions mean the same to the new encoder as to the old one, position by position.
    text = "a large red cube"
    with torch.no_grad():
        ours = model.text_encoder(torch.tensor([tokenizer(text).input_ids]))[0]
        theirs = tiny.text_encoder(torch.tensor([tiny.tokenizer(text).input_ids]))[0]
    torch.testing.assert_close(ours, theirs)
    for ours, theirs in zip(model.unet.parameters(), tiny.unet.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_loss_is_zero_for_a_model_that_knows_the_noise():
    class Knows(torch.nn.Module):
        def forward(self, noisy, timestep, words):
            """x_t and x_0 say v: (sqrt(ᾱ) x_t − x_0) / sqrt(1 − ᾱ)."""
            signal, spread = (a[timestep].sqrt()[:, None, None, None] for a in (alphas, 1 - alphas))
            return (signal * noisy - clean) / spread

    alphas = denoiser.build_scheduler().alphas_cumprod
    clean = torch.randn(32, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    known = denoiser.velocity_loss(Knows(), clean, torch.zeros(32, 48), torch.Generator().manual_seed(1))
    assert known < 1e-6
    still = lambda noisy, timestep, words: torch.zeros_like(noisy)  # noqa: E731
    assert denoiser.velocity_loss(still, clean, torch.zeros(32, 48), torch.Generator().manual_seed(1)) > 0.2


def test_a_card_names_the_gates_that_were_missed(tmp_path):
    scores = {"mask, Dice": 0.969, "whole pictures": 0.995, "position reads depth, Spearman": 0.61, "loss": 1.0}
    card.write_card(scores, tmp_path, SHORT, 64, 12)
    text = (tmp_path / "README.md").read_text()
    for row in (
        "| mask, Dice | 0.969 | ≥ 0.97, missed |",
        "| whole pictures | 0.995 | ≥ 0.995 |",
        "| position reads depth, Spearman | 0.610 | ≤ 0.6, missed |",
        "| loss | 1.000 |  |",
    ):
        assert row in text


def test_a_sheet_shows_as_many_of_each_kind(tmp_path):
    images = np.zeros((120, 64, 64, 3), np.uint8)
    images[60:] = 255
    card.save_sheet(images, tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (8 * 128, 12 * 128, 3)
    assert (sheet[:512] == 0).all()
    assert (sheet[512:] == 255).all()


@pytest.mark.slow
@pytest.mark.timeout(3600)  # minutes on two idle cores
def test_every_stage_learns(tmp_path):
    command = [sys.executable, "-m", "ldmscene.testbed.rooms.train", "--short", str(tmp_path)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = {name: float(value) for name, value in re.findall(r"^(.*): (-?[\d.]+)$", said, re.MULTILINE)}
    held_out = held_out_scenes(tmp_path)
    vae = AutoencoderKL.from_pretrained(FIRST, subfolder="vae")
    image = held_out.part("image", 0)[: measure.SCENES]
    assert found["autoencoder, PSNR in dB"] > 0.5 + psnr(image, decode(vae, encode(vae, image)))
    assert found["depth beyond position, correlation"] > 0.5
    assert found["mask, Dice"] > 0.7
    assert found["shading, correlation"] > 0.5
    assert found["the same of reconstructed scenes: one solid, right in colour and shape"] > 0.2  # by chance, 1 in 24
    card = (tmp_path / "weights" / "tiny-scenes" / "README.md").read_text()
    assert f"| {found['mask, Dice']:.3f} | ≥ 0.97" in card
    loaded = DiffusionPipeline.from_pretrained(tmp_path / "weights" / "tiny-scenes")
    untrained, trained = start_from(FIRST, 0), denoiser.Denoiser(loaded.text_encoder, loaded.unet)
    latents, tokens = denoiser.learnt_from(loaded.vae, held_out)
    before, after = (denoiser.held_out_loss(model.eval(), latents, tokens) for model in (untrained, trained))
    assert after < 0.97 * before
