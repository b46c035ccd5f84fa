"""How the embedded model is trained: its data on disk, its loss, and a short run of every stage."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from PIL import Image
from safetensors.torch import load_file

from ldmscene.testbed.drawing import draw_rooms
from ldmscene.testbed.nets import pixels
from ldmscene.testbed.rendering import render_rooms
from ldmscene.testbed.scenes import COLORS
from ldmscene.testbed.solids import SHAPES
from ldmscene.testbed.spotting import load_spotter, targets
from ldmscene.testbed.train import card, data, denoiser, measure
from ldmscene.testbed.train.autoencoder import decode, encode, psnr
from ldmscene.testbed.train.parts import Parts
from ldmscene.testbed.train.plan import SEED, SHORT, held_out_scenes
from ldmscene.testbed.words import captions


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


def test_captions_are_of_their_own_scenes(files):
    for k in range(2):
        assert files.captions(k)[0] == captions(draw_rooms(6, 40 + k), 40 + k)
        assert len(set(map(tuple, files.captions(k)))) == data.WORDINGS
    assert measure.known_captions(files) == {text for k in range(2) for some in files.captions(k) for text in some}


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
    generator = torch.Generator().manual_seed(1)
    timestep = torch.randint(1000, (32,), generator=generator)
    noise, left = torch.randn(clean.shape, generator=generator), alphas[timestep]
    signal, spread = (a.sqrt()[:, None, None, None] for a in (left, 1 - left))
    error = ((signal * noise - spread * clean) ** 2).mean((1, 2, 3))
    snr = left / (1 - left)
    wanted = (torch.where(snr < 5, 1.0, 6 / (snr + 1)) * error).mean().item()
    found = denoiser.velocity_loss(still, clean, torch.zeros(32, 48), torch.Generator().manual_seed(1))
    assert found.item() == pytest.approx(wanted, rel=1e-5)


def test_a_card_names_the_gates_that_were_missed(tmp_path):
    scores = {"mask, Dice": 0.969, "whole pictures": 0.995, "position reads depth, Spearman": 0.61, "loss": 1.0}
    card.write_card(scores, tmp_path, SHORT, 64)
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


def _named(weights: Path, files: data.SceneFiles) -> tuple[float, float]:
    """On 200 renderings, the shares of solids' pixels at which a net names their shape, and their colour."""
    shape, color = targets(torch.from_numpy(files.nouns(0)[:200]))
    with torch.no_grad():
        shapes, colors = load_spotter(weights)(pixels(files.part("image", 0)[:200])).tensor_split([1 + len(SHAPES)], 1)
    solid = color >= 0
    right = (1 + shapes[:, 1:].argmax(1) == shape)[solid], (colors.argmax(1) == color)[solid]
    return tuple(float(each.float().mean()) for each in right)


@pytest.mark.slow
@pytest.mark.timeout(3600)  # minutes on two idle cores
def test_every_stage_learns(tmp_path):
    command = [sys.executable, "-m", "ldmscene.testbed.train", "--short", str(tmp_path)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = {name: float(value) for name, value in re.findall(r"^(.*): (-?[\d.]+)$", said, re.MULTILINE)}
    held_out = held_out_scenes(tmp_path)
    untrained = Parts.start(SEED)
    image = held_out.part("image", 0)[: measure.SCENES]
    assert found["autoencoder, PSNR in dB"] > 5 + psnr(image, decode(untrained.vae, encode(untrained.vae, image)))
    assert found["depth beyond position, correlation"] > 0.5
    assert found["mask, Dice"] > 0.7
    assert found["shading, correlation"] > 0.5
    shape, color = _named(tmp_path / "weights" / "spotter.safetensors", held_out)
    assert shape > 0.35  # by chance, one in four
    assert color > 0.9  # by chance, one in six
    card = (tmp_path / "weights" / "tiny-scenes" / "README.md").read_text()
    assert f"| {found['mask, Dice']:.3f} | ≥ 0.97" in card
    loaded = DiffusionPipeline.from_pretrained(tmp_path / "weights" / "tiny-scenes")
    z = encode(loaded.vae, image)
    assert z.mean((0, 2, 3)).abs().max() < 0.15
    assert (z.std((0, 2, 3)) - 1).abs().max() < 0.15
    again = Parts.start(SEED + 1)
    again.load(tmp_path)
    exported = load_file(tmp_path / "weights" / "spotter.safetensors")["head.weight"]
    assert torch.equal(again.spotter.head.weight.half(), exported)
    trained = denoiser.Denoiser(loaded.text_encoder, loaded.unet)
    latents, tokens = denoiser.learnt_from(loaded.vae, held_out)
    before, after = (denoiser.held_out_loss(model.eval(), latents, tokens) for model in (untrained.denoiser, trained))
    assert after < 0.97 * before
