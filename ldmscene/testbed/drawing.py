"""Scenes drawn from a seed; some combinations of words are never drawn unless asked for.

Candidates are drawn at random and those that break a rule are left out: solids that touch, solids that can
hardly be seen, relations that two people could call by different names.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ldmscene.testbed.precision import in_float32
from ldmscene.testbed.scenes import (
    COLORS,
    FLOORS,
    MAX_SOLIDS,
    NO_WALL,
    PATTERNS,
    RELATIONS,
    WALLS,
    Rooms,
    footprint,
    join,
)
from ldmscene.testbed.solids import SHAPES
from ldmscene.testbed.tracing import seen

# Never drawn for training: a colour of a shape, and how one shape stands to another.
UNSEEN_NOUNS = (("red", "cone"), ("yellow", "cylinder"), ("green", "sphere"), ("blue", "cube"))
UNSEEN_RELATIONS = (
    ("sphere", "left of", "cone"),
    ("cylinder", "left of", "cube"),
    ("cube", "in front of", "sphere"),
    ("cone", "in front of", "cylinder"),
)

COUNTS = (0.22, 0.33, 0.45)  # share of candidates with one, two, three solids; of scenes it is about .45, .4, .15
INDOORS, SIDE_WALL = 0.85, 0.8  # share of scenes with a back wall; of these, with a side wall
ON_A_BLOCK = 0.25
MIN_VISIBLE = 0.4  # share of a solid that is in the picture and that nothing hides
MIN_AREA = 0.014  # of the picture
CLEAR = 1.25  # the greater of two distances that make a relation, over the smaller
CANDIDATES = 2000  # drawn at a time


@in_float32
def draw_rooms(n: int, seed: int, *, unseen: bool = False) -> Rooms:
    """Draw n scenes; the same seed gives the same scenes.

    Parameters
    ----------
    n : int
        How many.
    seed : int
        Of numpy's generator.
    unseen : bool, default False
        False: no scene shows a combination of `UNSEEN_NOUNS` or `UNSEEN_RELATIONS`. True: every scene shows one.
    """
    rng = np.random.default_rng(seed)
    parts: list[Rooms] = []
    while sum(map(len, parts)) < n:
        rooms = _candidates(rng, CANDIDATES)
        rooms = rooms[apart(rooms) & clear(rooms) & (has_unseen(rooms) == unseen)]
        parts.append(rooms[visible(rooms)])
    return join(parts)[:n]


def _candidates(rng: np.random.Generator, n: int) -> Rooms:
    def uniform(low: float, high: float, *shape: int) -> np.ndarray:
        return rng.uniform(low, high, (n, *shape))

    count = 1 + rng.choice(MAX_SOLIDS, n, p=COUNTS)
    there = np.arange(MAX_SOLIDS) < count[:, None]
    large = rng.random((n, MAX_SOLIDS)) < 0.5
    size = np.where(large, uniform(0.88, 1.08, MAX_SOLIDS), uniform(0.56, 0.68, MAX_SOLIDS)) * there
    block = np.where(rng.random((n, MAX_SOLIDS)) < ON_A_BLOCK, uniform(0.4, 1.0, MAX_SOLIDS), 0) * there
    foot = _feet(rng, size, count)
    light = np.radians(uniform(20, 60)) * np.where(rng.random(n) < 0.5, -1, 1)
    field, elevation = np.radians(uniform(35, 75)), np.radians(3 + 60 * uniform(0, 1) ** 0.7)
    camera, pitch = _camera(rng, field, elevation, count)
    facing, distance = _walls(rng, light, foot, size, camera)
    return Rooms(
        shape=torch.from_numpy(rng.integers(len(SHAPES), size=(n, MAX_SOLIDS))),
        large=torch.from_numpy(large),
        color=torch.from_numpy(rng.permuted(np.tile(np.arange(len(COLORS)), (n, 1)), axis=1)[:, :MAX_SOLIDS].copy()),
        size=_float(size),
        foot=_float(foot),
        yaw=_float(uniform(0, 2 * np.pi, MAX_SOLIDS)),
        block=_float(block),
        floor=torch.from_numpy(rng.integers(len(FLOORS), size=n)),
        wall=torch.from_numpy(rng.integers(len(WALLS), size=n)),
        patterns=torch.from_numpy(rng.choice(len(PATTERNS), (n, 2), p=(0.5, 0.25, 0.25))),
        period=_float(uniform(1.2, 2.2, 2)),
        facing=_float(facing),
        distance=_float(distance),
        light=_float(_light(light, np.radians(uniform(25, 65)))),
        ambient=_float(uniform(0.3, 0.55)),
        sky=_float(uniform(0, 1)),
        camera=_float(camera),
        pitch=_float(pitch),
        roll=_float(np.radians(np.clip(rng.normal(0, 10, n), -25, 25))),
        field=_float(field),
    )


def _float(a: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(a, dtype=np.float32))


def _feet(rng: np.random.Generator, size: np.ndarray, count: np.ndarray) -> np.ndarray:
    """x and z of the feet, [n, 3, 2]: a pair stands across the picture or in depth, a third solid at right angles."""
    n = len(size)
    gap = (size[:, 0] + size[:, 1]) * rng.uniform(1.1, 1.6, n)
    slant = rng.uniform(-0.5, 0.5, n) * gap
    along = np.where((rng.random(n) < 0.5)[:, None], np.stack([gap, slant], 1), np.stack([slant, gap], 1))
    half = along / 2 * np.where(rng.random(n) < 0.5, -1, 1)[:, None]
    third = 2 * half[:, ::-1] * [1, -1] * rng.uniform(0.75, 1.15, (n, 1)) + half * rng.uniform(-0.3, 0.3, (n, 1))
    feet = np.stack([half, -half, third], 1)
    centre = np.where((count == 3)[:, None], feet.mean(1), np.where((count == 2)[:, None], 0.0, half))
    return feet - centre[:, None]


def _light(bearing: np.ndarray, elevation: np.ndarray) -> np.ndarray:
    """Unit vectors [n, 3] towards a light at some bearing, 0 behind the camera and positive to the right."""
    flat = np.stack([np.sin(bearing), np.tan(elevation), -np.cos(bearing)], 1)
    unit: np.ndarray = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    return unit


def _camera(
    rng: np.random.Generator, field: np.ndarray, elevation: np.ndarray, count: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where the camera is and its pitch: far enough for the solids to be in view, which are rarely in its middle."""
    n = len(field)
    reach = np.array([1.9, 2.5, 3.0])[count - 1] * rng.uniform(0.95, 1.5, n) / np.tan(field / 2)
    across = rng.uniform(-0.3, 0.3, n) * reach * np.tan(field / 2)
    camera = np.stack([across, 0.6 + reach * np.sin(elevation), -reach * np.cos(elevation)], 1)
    return camera, elevation + rng.uniform(-0.33, 0.15, n) * field


def _walls(
    rng: np.random.Generator, light: np.ndarray, foot: np.ndarray, size: np.ndarray, camera: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Bearings and distances [n, 2] of back and side wall, from the light's bearing.

    The walls make a right angle. Light and camera look into it: neither wall stands in the light's way, and both
    can be in the picture. Solids and camera are inside.
    """
    n = len(light)
    shallow = np.radians(10)
    low, high = np.maximum(shallow, light + shallow), np.minimum(np.pi / 2, light + np.pi / 2) - shallow
    right = rng.uniform(low, high)
    both = np.stack([right, right - np.pi / 2], 1)
    facing = np.take_along_axis(both, np.argsort(np.abs(both), 1), 1)
    normal = np.stack([np.sin(facing), -np.cos(facing)], -1)
    solids = -np.einsum("nsk,nwk->nws", foot, normal) + 1.5 * size[:, None]
    behind_camera = 0.3 - np.einsum("nk,nwk->nw", camera[:, ::2], normal)
    distance = np.maximum(solids.max(2), behind_camera) + rng.uniform(0.1, 0.8, (n, 2))
    wanted = rng.random((n, 2)) < (INDOORS, SIDE_WALL)
    return facing, np.where(wanted.cumprod(1).astype(bool), distance, NO_WALL)


def _pairs(rooms: Rooms) -> Iterator[tuple[int, int, Tensor]]:
    for i in range(MAX_SOLIDS):
        for j in range(i):
            yield i, j, (rooms.size[:, i] > 0) & (rooms.size[:, j] > 0)


def apart(rooms: Rooms) -> Tensor:
    """Whether no two solids or blocks touch, [n] bool."""
    good = torch.ones(len(rooms), dtype=torch.bool)
    radius = footprint(rooms)
    for i, j, both in _pairs(rooms):
        gap = (rooms.foot[:, i] - rooms.foot[:, j]).norm(dim=-1)
        good &= ~both | (gap > radius[:, i] + radius[:, j] + 0.05)
    return good


def clear(rooms: Rooms) -> Tensor:
    """Whether each pair stands clearly beside or clearly behind each other, [n] bool."""
    good = torch.ones(len(rooms), dtype=torch.bool)
    for i, j, both in _pairs(rooms):
        dx, dz = (rooms.foot[:, i] - rooms.foot[:, j]).abs().unbind(-1)
        good &= ~both | (torch.maximum(dx, dz) > CLEAR * torch.minimum(dx, dz))
    return good


def relation(rooms: Rooms, i: int, j: int) -> Tensor:
    """How solid i stands to solid j, [n] index into RELATIONS."""
    dx, dz = (rooms.foot[:, i] - rooms.foot[:, j]).unbind(-1)
    return torch.where(dx.abs() > dz.abs(), (dx > 0).long(), 2 + (dz > 0).long())


def has_unseen(rooms: Rooms) -> Tensor:
    """Whether a scene shows a combination that training never sees, [n] bool."""
    found = torch.zeros(len(rooms), dtype=torch.bool)
    for color, shape in UNSEEN_NOUNS:
        here = (rooms.color == list(COLORS).index(color)) & (rooms.shape == SHAPES.index(shape))
        found |= (here & (rooms.size > 0)).any(1)
    for first, how, second in UNSEEN_RELATIONS:
        for i, j, both in _pairs(rooms):
            for a, b in ((i, j), (j, i)):
                shapes = (rooms.shape[:, a] == SHAPES.index(first)) & (rooms.shape[:, b] == SHAPES.index(second))
                found |= both & shapes & (relation(rooms, a, b) == RELATIONS.index(how))
    return found


def visible(rooms: Rooms) -> Tensor:
    """Whether every solid shows enough of itself, [n] bool; measured on a coarse picture."""
    share, area = seen(rooms, pixels=24)
    return ((rooms.size == 0) | ((share >= MIN_VISIBLE) & (area >= MIN_AREA))).all(1)
