"""The renderer against geometry worked out another way, and captions against the scenes that they describe."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ldmscene.testbed.prompts import random_prompts
from ldmscene.testbed.scenes import (
    AMBIENT,
    COLORS,
    FAR,
    FIELD_OF_VIEW,
    SHAPES,
    Scenes,
    _cast,
    captions,
    render,
    sample_scenes,
)


def inside(kind: int, p: np.ndarray, size: float) -> np.ndarray:
    """Whether points (…, 3) in a solid's own frame lie in it: the solids as inequalities."""
    x, y, z = np.moveaxis(p, -1, 0)
    if SHAPES[kind] == "sphere":
        return x**2 + (y - size) ** 2 + z**2 <= size**2
    if SHAPES[kind] == "cube":
        return (abs(x) <= 0.78 * size) & (abs(z) <= 0.78 * size) & (y >= 0) & (y <= 1.56 * size)
    if SHAPES[kind] == "cylinder":
        return (x**2 + z**2 <= (0.72 * size) ** 2) & (y >= 0) & (y <= 1.7 * size)
    slope = (0.92 / 1.9) * (1.9 * size - y)
    return (x**2 + z**2 <= slope**2) & (y >= 0) & (y <= 1.9 * size)


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_rays_hit_where_marching_along_them_first_enters_the_solid(seed):
    scenes = sample_scenes(4, seed)
    rng = np.random.default_rng(seed)
    o = torch.tensor([0.0, 2.0, 0.0]).expand(4, 64, 3)
    aim = np.concatenate([scenes.position[:, 0].numpy(), np.full((4, 1), 0.5)], 1)[:, [0, 2, 1]]
    d = torch.from_numpy(aim[:, None] + rng.normal(0, 0.6, (4, 64, 3)) - [0, 2, 0]).float()
    t, normal = _cast(scenes, 0, o, d)
    steps = np.linspace(0, 2, 4001)
    for i in range(4):
        angle = float(scenes.yaw[i, 0])
        turn = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])
        foot = np.array([scenes.position[i, 0, 0], 0, scenes.position[i, 0, 1]])
        points = (o[i, :, None].numpy() + steps[:, None] * d[i, :, None].numpy() - foot) @ turn.T
        within = inside(int(scenes.shape[i, 0]), points, float(scenes.size[i, 0]))
        first = np.where(within.any(1), steps[within.argmax(1)], FAR)
        # A ray that just grazes a solid may pass between two marching steps, and never the other way round.
        grazes = (first == FAR) & (t[i].numpy() < FAR)
        assert grazes.mean() < 0.1
        np.testing.assert_allclose(t[i].numpy()[~grazes], first[~grazes], atol=2e-3)
        hit = t[i] < FAR
        np.testing.assert_allclose(normal[i][hit].norm(dim=-1), 1, atol=1e-3)
        assert ((normal[i][hit] * d[i][hit]).sum(-1) <= 1e-3).all()


def test_the_ground_lies_where_trigonometry_puts_it():
    scenes = sample_scenes(8, 3)
    empty = Scenes(**{**vars(scenes), "size": torch.zeros_like(scenes.size)})
    found = render(empty)
    down = np.tan(np.radians(FIELD_OF_VIEW / 2)) * (1 - (np.arange(128) + 0.5) / 64)
    for i in range(8):
        height, pitch = float(scenes.camera_height[i]), float(scenes.camera_pitch[i])
        # A ray's planar depth is height / −(its fall for each unit forward in the camera's frame).
        fall = np.sin(pitch) - down * np.cos(pitch)
        inverse = np.where(fall > 0, fall / height, 0).reshape(64, 2).mean(1)
        np.testing.assert_allclose(found.depth[i, :, 10], inverse, atol=1e-5)
    assert not found.mask.any()
    # With nothing in the way the plane is lit evenly by the light's elevation.
    for shading, light in zip(found.shading, scenes.light, strict=True):
        np.testing.assert_allclose(shading[-1], AMBIENT + (1 - AMBIENT) * float(light[1]), atol=1e-5)


def test_truth_is_consistent():
    scenes = sample_scenes(64, 11)
    found = render(scenes)
    sky = np.isnan(found.shading)
    assert found.image.shape == (64, 64, 64, 3)
    assert found.image.dtype == np.uint8
    assert (found.depth[sky] == 0).mean() > 0.97  # but for pixels that a horizon or an edge crosses
    assert not (found.mask & sky).any()
    assert (found.mask.mean((1, 2)) > 0.005).all()
    assert np.nanmin(found.shading) >= AMBIENT - 1e-6
    assert np.nanmax(found.shading) <= 1 + 1e-6
    # The image is albedo times shading: on the first object, that colour.
    one = scenes.count == 1
    for image, mask, color in zip(found.image[one], found.mask[one], scenes.color[one, 0], strict=True):
        mean = image[mask].mean(0) / 255
        albedo = np.array(list(COLORS.values())[int(color)])
        assert np.corrcoef(mean, albedo)[0, 1] > 0.95


def test_the_same_seed_gives_the_same_scenes_and_any_batch_the_same_pictures():
    one, two = sample_scenes(6, 5), sample_scenes(6, 5)
    np.testing.assert_array_equal(render(one, batch=2).image, render(two, batch=6).image)
    assert (render(sample_scenes(6, 6)).image != render(one).image).any()


def test_captions_say_what_is_there():
    scenes = sample_scenes(300, 17)
    for i, text in enumerate(captions(scenes, seed=1)):
        words = text.replace(",", "").split()
        count = int(scenes.count[i])
        for j in range(count):
            assert list(COLORS)[int(scenes.color[i, j])] in words
            assert SHAPES[int(scenes.shape[i, j])] in words
        assert sum(word in SHAPES for word in words) == count
        if "lit" in words:
            assert words[-1] == ("right" if scenes.light[i, 0] > 0 else "left")
        x, z = scenes.position[i, :, 0], scenes.position[i, :, 1]
        facts = {"left of": x[0] < x[1], "right of": x[0] > x[1], "in front of": z[0] < z[1], "behind": z[0] > z[1]}
        told = [fact for relation, fact in facts.items() if f" {relation} " in text]
        assert len(told) == count - 1
        assert all(told)


@pytest.mark.parametrize("count", [1, 50])
def test_random_prompts_are_distinct_and_repeatable(count):
    assert random_prompts(count, 3) == random_prompts(count, 3)
    assert len(set(random_prompts(count, 3))) == count
