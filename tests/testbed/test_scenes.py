"""The renderer against geometry and light worked out another way, and captions against facts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from ldmscene.testbed.drawing import UNSEEN_NOUNS, UNSEEN_RELATIONS, draw_rooms
from ldmscene.testbed.rendering import SPREAD, render_index, render_rooms
from ldmscene.testbed.scenes import COLORS, FLOORS, NO_WALL, RELATIONS, SIZES, WALLS
from ldmscene.testbed.solids import SHAPES
from ldmscene.testbed.tracing import PARTS, screen, trace
from ldmscene.testbed.words import captions, vocabulary

PIXELS = 20


@pytest.fixture(scope="module")
def rooms():
    return draw_rooms(24, 5)


@pytest.fixture(scope="module")
def truth(rooms):
    return render_rooms(rooms)


def rays(rooms, i: int, pixels: int) -> np.ndarray:
    """Directions (rays, 3) with a forward component of 1: the camera turned by scipy's rotations."""
    at = np.tan(float(rooms.field[i]) / 2) * ((np.arange(pixels) + 0.5) / pixels * 2 - 1)
    v, u = np.meshgrid(-at, at, indexing="ij")
    turn = Rotation.from_euler("x", float(rooms.pitch[i])) * Rotation.from_euler("z", float(rooms.roll[i]))
    return turn.apply(np.stack([u.ravel(), v.ravel(), np.ones(u.size)], 1))


def inside(rooms, i: int, points: np.ndarray) -> np.ndarray:
    """Which part's solid matter each point (…, 3) lies in, 0 for free air: the parts as inequalities."""
    found = np.zeros(points.shape[:-1], int)
    for k, (bearing, distance) in enumerate(zip(rooms.facing[i].tolist(), rooms.distance[i].tolist(), strict=True)):
        if distance < NO_WALL:
            found[points @ [np.sin(bearing), 0, -np.cos(bearing)] < -distance] = 2 + k
    found[points[..., 1] < 0] = 1
    for j in range(3):
        size, block = float(rooms.size[i, j]), float(rooms.block[i, j])
        if size == 0:
            continue
        moved = points - [float(rooms.foot[i, j, 0]), 0, float(rooms.foot[i, j, 1])]
        x, y, z = np.moveaxis(Rotation.from_euler("y", -float(rooms.yaw[i, j])).apply(moved.reshape(-1, 3)), -1, 0)
        x, y, z = (a.reshape(found.shape) / size for a in (x, y, z))
        found[(abs(x) < 1) & (abs(z) < 1) & (y > 0) & (y < block / size)] = 7 + j
        found[_solid(SHAPES[int(rooms.shape[i, j])], x, y - block / size, z)] = 4 + j
    return found


def _solid(shape: str, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    if shape == "sphere":
        return x**2 + (y - 1) ** 2 + z**2 < 1
    if shape == "cube":
        return (abs(x) < 0.78) & (abs(z) < 0.78) & (y > 0) & (y < 1.56)
    if shape == "cylinder":
        return (x**2 + z**2 < 0.72**2) & (y > 0) & (y < 1.7)
    return (y > 0) & (y < 1.9) & (np.hypot(x, z) < 0.92 * (1 - y / 1.9))


def first_inside(rooms, i: int, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where marching along each ray first enters matter, refined by bisection, and what it enters."""
    eye = rooms.camera[i].numpy().astype(float)
    steps = np.linspace(0, 40, 4001)
    entered = inside(rooms, i, eye + steps[:, None] * directions[:, None]) > 0
    high = steps[entered.argmax(1)]
    low = high - steps[1]
    for _ in range(30):
        middle = (low + high) / 2
        full = inside(rooms, i, eye + middle[:, None] * directions) > 0
        low, high = np.where(full, low, middle), np.where(full, middle, high)
    part = inside(rooms, i, eye + high[:, None] * directions)
    return np.where(entered.any(1), high, np.inf), np.where(entered.any(1), part, 0)


@pytest.mark.parametrize("i", range(8))
def test_rays_meet_what_marching_along_them_first_enters(rooms, i):
    hits = trace(rooms[i : i + 1], screen(PIXELS))
    t, part = first_inside(rooms, i, rays(rooms, i, PIXELS))
    inverse = hits.inverse[0].numpy()
    near = inverse > 1 / 39
    # A ray that grazes an edge may pass between two marching steps.
    same = near & (part == hits.part[0].numpy())
    assert same.sum() > 0.985 * near.sum()
    np.testing.assert_allclose(inverse[same], 1 / t[same], rtol=2e-3, atol=1e-4)
    np.testing.assert_array_less(inverse[~near & (part == 0)], 1 / 39)
    assert (hits.part[0].numpy()[part == 0] >= 4).sum() <= 2  # no solid in the sky, but where a ray grazes one


def test_normals_are_those_of_the_surface_through_neighbouring_pixels(rooms):
    hits = trace(rooms, screen(128))
    points = (rooms.camera[..., None] + hits.direction / hits.inverse[:, None]).unflatten(-1, (128, 128))
    normal, part = hits.normal.unflatten(-1, (128, 128)), hits.part.view(-1, 128, 128)
    right, down = points[..., :-1, 1:] - points[..., :-1, :-1], points[..., 1:, :-1] - points[..., :-1, :-1]
    surface = torch.linalg.cross(right, down, dim=1)
    surface = surface / surface.norm(dim=1, keepdim=True)
    here = normal[..., :-1, :-1]
    same = (part[:, :-1, :-1] > 0) & (part[:, 1:, :-1] == part[:, :-1, :-1]) & (part[:, :-1, 1:] == part[:, :-1, :-1])
    for other in (normal[..., 1:, :-1], normal[..., :-1, 1:]):
        same &= (other * here).sum(1) > 0.98  # not across a cube's edge
    cosine = (surface * here).sum(1)[same]
    assert (cosine > 0.97).double().mean() > 0.99
    for number in (1, 2, 3):  # planes have one normal
        assert (cosine[part[:, :-1, :-1][same] == number] > 0.999).double().mean() > 0.99


def test_shadows_are_the_share_of_the_light_that_a_sphere_hides(rooms):
    """Against four thousand directions in the light's disc and the distance of each from the sphere's middle."""
    alone = draw_rooms(400, 8)
    rows = (alone.count == 1) & (alone.shape[:, 0] == SHAPES.index("sphere")) & (alone.block[:, 0] == 0)
    alone = alone[torch.nonzero(rows).flatten()[:4]]
    found = render_rooms(alone)
    rng = np.random.default_rng(0)
    radius, angle = SPREAD * np.sqrt(rng.random(4000)), rng.uniform(0, 2 * np.pi, 4000)
    for i in range(4):
        light = alone.light[i].numpy().astype(float)
        side = np.cross(light, [0, 0, 1.0])
        side /= np.linalg.norm(side)
        disc = radius * np.cos(angle) * side[:, None] + radius * np.sin(angle) * np.cross(light, side)[:, None]
        lamps = (light[:, None] + disc).T
        lamps /= np.linalg.norm(lamps, axis=1, keepdims=True)
        floor = np.argwhere((found.index[i] == 1) & np.isfinite(found.shading[i]))[::7]
        directions = rays(alone, i, 64).reshape(64, 64, 3)[floor[:, 0], floor[:, 1]]
        points = alone.camera[i].numpy() - directions * alone.camera[i, 1].item() / directions[:, 1:2]
        size, foot = float(alone.size[i, 0]), alone.foot[i, 0].numpy()
        to_centre = np.array([foot[0], size, foot[1]]) - points
        along = to_centre @ lamps.T
        hidden = ((to_centre**2).sum(1)[:, None] - along**2 < size**2) & (along > 0)
        ambient = float(alone.ambient[i])
        wanted = ambient + (1 - ambient) * (~hidden * lamps[:, 1]).mean(1)
        error = np.abs(found.shading[i][floor[:, 0], floor[:, 1]] - wanted)
        assert np.median(error) < 0.005
        assert error.mean() < 0.02


def test_a_picture_is_albedo_times_shading(truth):
    product = truth.albedo * np.nan_to_num(truth.shading)[..., None]
    error = np.abs(product - truth.image)[truth.index > 0]
    assert np.median(error) <= 1
    assert error.mean() < 3  # where shadows cross patterns, the mean of products isn't the product of means


def test_truth_is_consistent(rooms, truth):
    solid = np.isin(truth.index, [4, 5, 6])
    assert (solid == truth.mask).mean() > 0.99
    assert ((truth.depth == 0) == (truth.index == 0)).mean() > 0.99
    assert (np.isnan(truth.shading) == (truth.index == 0)).mean() > 0.99
    lit = truth.shading[np.isfinite(truth.shading)]
    assert lit.min() > 0.1
    assert lit.max() <= 1
    length = np.linalg.norm(truth.normal.astype(float), axis=-1)
    np.testing.assert_allclose(length[truth.index > 0], 1, atol=0.01)
    assert (truth.normal[..., 2][truth.index > 0] < 0.15).mean() > 0.99  # what is seen faces the camera
    np.testing.assert_array_equal(render_index(rooms), truth.index)
    assert len(PARTS) == 10


def test_the_same_seed_gives_the_same_scenes_and_any_batch_the_same_pictures(rooms, truth):
    again = render_rooms(draw_rooms(24, 5)[:5], batch=2)
    np.testing.assert_array_equal(again.image, truth.image[:5])
    assert (render_rooms(draw_rooms(5, 6)).image != again.image).any()


def facts(rooms, i: int) -> tuple[set[tuple[str, str]], set[tuple[str, str, str]]]:
    """What a scene shows, in words: (colour, shape) of solids; (shape, relation, shape) of pairs."""
    there = [j for j in range(3) if rooms.size[i, j] > 0]
    shape = {j: SHAPES[int(rooms.shape[i, j])] for j in there}
    nouns = {(list(COLORS)[int(rooms.color[i, j])], shape[j]) for j in there}
    relations = set()
    for a in there:
        for b in set(there) - {a}:
            x, z = (rooms.foot[i, a] - rooms.foot[i, b]).tolist()
            how = ("right of" if x > 0 else "left of") if abs(x) > abs(z) else ("behind" if z > 0 else "in front of")
            relations.add((shape[a], how, shape[b]))
    return nouns, relations


@pytest.mark.parametrize("unseen", [False, True])
def test_unseen_combinations_are_in_no_scene_for_training_and_in_every_other(unseen):
    scenes = draw_rooms(1500, 21, unseen=unseen)
    for i in range(len(scenes)):
        nouns, relations = facts(scenes, i)
        assert bool(nouns & set(UNSEEN_NOUNS) or relations & set(UNSEEN_RELATIONS)) == unseen


def test_every_solid_can_be_seen():
    scenes = draw_rooms(100, 33)
    shown = render_index(scenes)
    for j in range(3):
        pixels = (shown == 4 + j).sum((1, 2))
        assert (pixels[(scenes.size[:, j] > 0).numpy()] > 40).all()
        assert (pixels[(scenes.size[:, j] == 0).numpy()] == 0).all()
    assert set(scenes.count.tolist()) == {1, 2, 3}


def test_captions_say_what_is_there():
    scenes = draw_rooms(600, 17)
    told = {"relation": 0, "open": 0, "room": 0, "block": 0}
    for i, text in enumerate(captions(scenes, seed=1)):
        nouns, relations = facts(scenes, i)
        words = text.replace(",", " ,").split()
        assert set(words) <= vocabulary()
        pairs = {(a, b) for a, b in pairwise(words) if a in COLORS and b in SHAPES}
        assert pairs == nouns
        assert sum(word in SHAPES for word in words) == int(scenes.count[i])
        for how in RELATIONS:
            if f" {how} a " in text:
                first, second = (
                    next(w for w in part.replace(",", "").split() if w in SHAPES) for part in text.split(f" {how} a ")
                )
                assert (first, how, second) in relations
                told["relation"] += 1
        for name, table, row in (("floor", FLOORS, scenes.floor), ("room", WALLS, scenes.wall)):
            if name in words:
                assert words[words.index(name) - 1] == list(table)[int(row[i])]
        told["open"] += "open" in words
        told["room"] += "room" in words
        told["block"] += words.count("block")
        assert ("open" in words) <= (scenes.distance[i, 0] == NO_WALL)
        assert words.count("block") <= int((scenes.block[i] > 0).sum())
        if "lit" in words:
            assert words[-1] == ("right" if scenes.light[i, 0] > 0 else "left")
        sizes = [w for w in words if w in SIZES]
        assert len(sizes) in (0, int(scenes.count[i]))
        assert sorted(sizes) in ([], sorted(SIZES[int(k)] for k in scenes.large[i, : int(scenes.count[i])]))
    assert min(told.values()) > 30
