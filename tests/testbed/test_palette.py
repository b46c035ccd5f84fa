"""Pictures that fell apart, caused here: renderings whose pixels or colours are disturbed."""

from __future__ import annotations

import numpy as np
import pytest

from ldmscene.testbed.palette import fell_apart, strange_share
from ldmscene.testbed.scenes import COLORS, render, sample_scenes
from ldmscene.testbed.train.autoencoder import decode, encode


@pytest.fixture(scope="module")
def scenes():
    return render(sample_scenes(200, seed=41))


def test_renderings_are_whole_before_and_after_the_autoencoder(tiny, scenes):
    assert not fell_apart(scenes.image).any()
    assert fell_apart(decode(tiny.vae, encode(tiny.vae, scenes.image))).mean() <= 0.01


def test_objects_in_a_rainbow_have_fallen_apart(scenes):
    rainbow = scenes.image.copy()
    bands = (np.array(list(COLORS.values())) * 255).astype(np.uint8)[np.arange(64) // 2 % len(COLORS)]
    rainbow[scenes.mask] = np.broadcast_to(bands[:, None], (64, 64, 3))[None].repeat(len(rainbow), 0)[scenes.mask]
    assert fell_apart(rainbow)[scenes.mask.mean((1, 2)) > 0.05].mean() > 0.9


def test_an_empty_scene_has_no_strange_pixel():
    assert strange_share(np.full((2, 8, 8, 3), 140, np.uint8)).tolist() == [0, 0]  # a grey floor, fully lit


def test_the_share_is_that_of_the_pixels_above_the_floor():
    image = np.full((1, 8, 8, 3), 140, np.uint8)
    red, white = (round(255 * 0.86), round(255 * 0.16), round(255 * 0.15)), (255, 255, 255)
    image[0, 0, :6], image[0, 1, :2] = red, white
    assert strange_share(image) == pytest.approx(2 / 8)


def test_lms_breaks_at_a_guidance_at_which_the_models_own_sampler_does_not(tiny):
    from ldmscene import capture
    from ldmscene.testbed.train import quality

    prompts = [f"a large {color} cube on a brown floor, lit from the left" for color in ("cyan", "blue")] * 4
    own = quality.generate(tiny, prompts, seed=3)
    with capture.with_scheduler(tiny, "LMSDiscrete"):
        lms = quality.generate(tiny, prompts, seed=3)
    assert fell_apart(lms).sum() >= 4
    assert not fell_apart(own).any()
