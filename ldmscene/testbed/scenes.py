"""The world that `tiny-scenes` draws: random scenes and their exact renderings.

A scene is one or two solids that stand on a ground plane under one directional light. The renderer
casts one ray for each sub-pixel, so that geometry and illumination are known exactly. Everything is
batched over scenes; a scene is a row of each tensor.

Camera frame: x right, y up, z forward; lengths in scene units (a large sphere has a radius of about one).
Rays keep a forward component of 1 in the camera's frame, so the ray parameter *is* the planar depth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

SHAPES = ("sphere", "cube", "cylinder", "cone")
SIZES = ("small", "large")
LIGHTS = ("left", "right")
COLORS = {
    "red": (0.86, 0.16, 0.15),
    "yellow": (0.95, 0.82, 0.15),
    "green": (0.17, 0.65, 0.24),
    "cyan": (0.20, 0.78, 0.82),
    "blue": (0.17, 0.28, 0.84),
    "purple": (0.66, 0.22, 0.72),
}
FLOORS = {
    "white": (0.90, 0.90, 0.88),
    "grey": (0.55, 0.55, 0.56),
    "brown": (0.58, 0.43, 0.30),
    "black": (0.20, 0.20, 0.22),
}
RELATIONS = ("left of", "right of", "in front of", "behind")

AMBIENT = 0.35  # illumination of a point that the light doesn't reach
FIELD_OF_VIEW = 45.0  # degrees, vertical and horizontal
FAR = 1e6  # ray parameter of "nothing hit"
MAX_OBJECTS = 2


@dataclass(frozen=True)
class Scenes:
    """n random scenes. Absent second objects have `size` zero and are never hit."""

    shape: Tensor  # [n, 2] index into SHAPES
    large: Tensor  # [n, 2] bool
    color: Tensor  # [n, 2] index into COLORS
    size: Tensor  # [n, 2] radius-like extent in scene units
    position: Tensor  # [n, 2, 2] x and z of the foot point
    yaw: Tensor  # [n, 2] radians, matters to cubes only
    floor: Tensor  # [n] index into FLOORS
    sky: Tensor  # [n] 0 (pale) to 1 (deep blue)
    light: Tensor  # [n, 3] unit vector towards the light
    camera_height: Tensor  # [n]
    camera_pitch: Tensor  # [n] radians, downwards

    def __len__(self) -> int:
        return len(self.floor)

    def __getitem__(self, rows: slice) -> Scenes:
        return Scenes(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    @property
    def count(self) -> Tensor:
        """Number of objects in each scene, [n]."""
        return (self.size > 0).sum(1)


@dataclass(frozen=True)
class Rendering:
    """What the camera sees, and what is true there. Pixels average 2 × 2 rays."""

    image: np.ndarray  # [n, y, x, 3] uint8
    depth: np.ndarray  # [n, y, x] float32, inverse planar depth; 0 in the sky
    mask: np.ndarray  # [n, y, x] bool, True where an object covers at least half the pixel
    shading: np.ndarray  # [n, y, x] float32, illumination without albedo; NaN in the sky


def sample_scenes(n: int, seed: int, *, one_object_share: float = 0.6) -> Scenes:
    """Draw n scenes; the same seed gives the same scenes."""
    rng = np.random.default_rng(seed)

    def uniform(low: float, high: float, *shape: int) -> np.ndarray:
        return rng.uniform(low, high, (n, *shape))

    two = rng.random(n) >= one_object_share
    large = rng.random((n, MAX_OBJECTS)) < 0.5
    size = np.where(large, uniform(0.88, 1.08, MAX_OBJECTS), uniform(0.56, 0.68, MAX_OBJECTS))
    size[:, 1] *= two
    side = np.where(rng.random(n) < 0.5, -1.0, 1.0)
    azimuth, elevation = np.radians(uniform(15, 65)), np.radians(uniform(35, 60))
    light = np.stack([side * np.cos(azimuth), np.tan(elevation), -np.sin(azimuth)], 1)
    camera_height = uniform(1.4, 2.8)
    pitch = np.arctan2(camera_height - 0.6, 5.6) + np.radians(uniform(-7, 5))  # the objects stay in view
    return Scenes(
        shape=torch.from_numpy(rng.integers(len(SHAPES), size=(n, MAX_OBJECTS))),
        large=torch.from_numpy(large),
        color=torch.from_numpy(_distinct(rng, n, len(COLORS))),
        size=_float(size),
        position=_float(_positions(rng, size, two)),
        yaw=_float(np.radians(uniform(20, 70, MAX_OBJECTS))),
        floor=torch.from_numpy(rng.integers(len(FLOORS), size=n)),
        sky=_float(uniform(0, 1)),
        light=_float(light / np.linalg.norm(light, axis=1, keepdims=True)),
        camera_height=_float(camera_height),
        camera_pitch=_float(pitch),
    )


def _float(a: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(a, dtype=np.float32))


def _distinct(rng: np.random.Generator, n: int, k: int) -> np.ndarray:
    first = rng.integers(k, size=n)
    return np.stack([first, (first + rng.integers(1, k, size=n)) % k], 1)


def _positions(rng: np.random.Generator, size: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Foot points (x, z), [n, 2, 2]: apart either across the picture or in depth, in view, not touching."""
    n = len(size)
    alone = np.stack([rng.uniform(-0.8, 0.8, n), rng.uniform(4.4, 5.8, n)], 1)
    gap = size.sum(1) * rng.uniform(1.15, 1.4, n)
    slant = rng.uniform(-0.35, 0.35, n)
    across = np.stack([gap / 2, slant], 1)
    along = np.stack([0.75 * gap * np.where(slant < 0, -1, 1) / 2, gap], 1)
    half = np.where((rng.random(n) < 0.6)[:, None], across, along / [1, 2] * [1, 1.6])
    half *= np.where(rng.random(n) < 0.5, -1, 1)[:, None]
    centre = np.stack([rng.uniform(-0.25, 0.25, n), rng.uniform(5.8, 6.6, n)], 1)
    pair = np.stack([centre + half, centre - half], 1)
    return np.where(two[:, None, None], pair, np.stack([alone, alone], 1))


def captions(scenes: Scenes, seed: int) -> list[str]:
    """Describe each scene. Shape and colour are always named; size, floor and light sometimes."""
    rng = np.random.default_rng(seed)
    say_size, say_floor, say_light = (rng.random((len(scenes), 3)) < (0.7, 0.6, 0.5)).T
    return [
        describe(
            [_noun(scenes, i, j, bool(say_size[i])) for j in range(int(scenes.count[i]))],
            relation=_relation(scenes, i),
            floor=list(FLOORS)[int(scenes.floor[i])] if say_floor[i] else None,
            light=LIGHTS[int(scenes.light[i, 0] > 0)] if say_light[i] else None,
        )
        for i in range(len(scenes))
    ]


def describe(nouns: list[str], relation: str | None = None, floor: str | None = None, light: str | None = None) -> str:
    """One caption, for example "a large red sphere left of a small blue cube on a grey floor, lit from the left"."""
    text = f" {relation} ".join(f"a {noun}" for noun in nouns)
    if floor:
        text += f" on a {floor} floor"
    if light:
        text += f", lit from the {light}"
    return text


def _noun(scenes: Scenes, i: int, j: int, say_size: bool) -> str:
    words = [list(COLORS)[int(scenes.color[i, j])], SHAPES[int(scenes.shape[i, j])]]
    return " ".join([SIZES[int(scenes.large[i, j])], *words] if say_size else words)


def _relation(scenes: Scenes, i: int) -> str:
    dx, dz = (scenes.position[i, 0] - scenes.position[i, 1]).tolist()
    if abs(dx) >= abs(dz):
        return "left of" if dx < 0 else "right of"
    return "in front of" if dz < 0 else "behind"


# --- geometry: each returns the ray parameter [n, rays] (FAR where missed) and the unit normal [n, rays, 3] ---


def _sphere(o: Tensor, d: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    o = o - torch.stack([torch.zeros_like(size), size, torch.zeros_like(size)], -1)[:, None]
    a, b = (d * d).sum(-1), (o * d).sum(-1)
    disc = b * b - a * ((o * o).sum(-1) - (size * size)[:, None])
    t = _nearest((disc > 0), (-b - disc.clamp_min(0).sqrt()) / a)
    return t, (o + t[..., None].clamp_max(1e3) * d) / size[:, None, None]


def _box(o: Tensor, d: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    half = 0.78 * size[:, None, None]
    o = o - torch.stack([torch.zeros_like(size), 0.78 * size, torch.zeros_like(size)], -1)[:, None]
    inverse = 1 / torch.where(d.abs() < 1e-9, torch.full_like(d, 1e-9), d)
    enter, leave = (-o - half * inverse.sign()) * inverse, (-o + half * inverse.sign()) * inverse
    t, axis = enter.max(-1)
    t = _nearest(t < leave.amin(-1), t)
    normal = torch.nn.functional.one_hot(axis, 3) * -d.sign()
    return t, normal.to(d.dtype)


def _cylinder(o: Tensor, d: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    radius, height = 0.72 * size[:, None], 1.7 * size[:, None]
    o, ox, oz, dx, dz = o.expand_as(d), o[..., 0], o[..., 2], d[..., 0], d[..., 2]
    a, b = (dx * dx + dz * dz).clamp_min(1e-12), ox * dx + oz * dz
    disc = b * b - a * (ox * ox + oz * oz - radius * radius)
    side = (-b - disc.clamp_min(0).sqrt()) / a
    y = o[..., 1] + side * d[..., 1]
    side = _nearest((disc > 0) & (y >= 0) & (y <= height), side)
    cap = _disc(o, d, radius, height)
    t = torch.minimum(side, cap)
    p = o + t[..., None].clamp_max(1e3) * d
    round_normal = torch.stack([p[..., 0], torch.zeros_like(t), p[..., 2]], -1) / radius[..., None]
    return t, torch.where((cap < side)[..., None], _UP, round_normal)


def _cone(o: Tensor, d: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    radius, height = 0.92 * size[:, None], 1.9 * size[:, None]
    k = (radius / height) ** 2
    ox, oy, oz = o[..., 0], o[..., 1] - height, o[..., 2]
    dx, dy, dz = d[..., 0], d[..., 1], d[..., 2]
    a = dx * dx + dz * dz - k * dy * dy
    a = torch.where(a.abs() < 1e-9, torch.full_like(a, 1e-9), a)
    b, c = ox * dx + oz * dz - k * oy * dy, ox * ox + oz * oz - k * oy * oy
    disc = b * b - a * c
    root = disc.clamp_min(0).sqrt()
    roots = torch.stack([(-b - root) / a, (-b + root) / a], -1)
    y = oy[..., None] + roots * dy[..., None]
    inside = (disc > 0)[..., None] & (y <= 0) & (y >= -height[..., None])
    t = _nearest(inside, roots).amin(-1)
    p = torch.stack([ox, oy, oz], -1) + t[..., None].clamp_max(1e3) * d
    normal = torch.stack([p[..., 0], -k * p[..., 1], p[..., 2]], -1)
    return t, normal / normal.norm(dim=-1, keepdim=True).clamp_min(1e-9)


def _disc(o: Tensor, d: Tensor, radius: Tensor, height: Tensor) -> Tensor:
    t = (height - o[..., 1]) / torch.where(d[..., 1].abs() < 1e-9, torch.full_like(d[..., 1], 1e-9), d[..., 1])
    p = o[..., ::2] + t[..., None] * d[..., ::2]
    return _nearest((p * p).sum(-1) <= radius * radius, t)


def _nearest(hit: Tensor, t: Tensor) -> Tensor:
    return torch.where(hit & (t > 1e-3), t, FAR)


_UP = torch.tensor([0.0, 1.0, 0.0])
_INTERSECT: tuple[Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]], ...] = (
    _sphere,
    _box,
    _cylinder,
    _cone,
)


def _turn(v: Tensor, angle: Tensor) -> Tensor:
    """Rotate [n, rays, 3] about y by [n]."""
    c, s = angle.cos()[:, None], angle.sin()[:, None]
    return torch.stack([c * v[..., 0] - s * v[..., 2], v[..., 1], s * v[..., 0] + c * v[..., 2]], -1)


def _cast(scenes: Scenes, slot: int, o: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """Intersect rays with one object of each scene. Scenes are grouped by shape, so that each ray meets one solid."""
    t = torch.full(d.shape[:2], FAR)
    normal = torch.zeros_like(d)
    foot = torch.stack([scenes.position[:, slot, 0], torch.zeros(len(scenes)), scenes.position[:, slot, 1]], -1)
    for kind, intersect in enumerate(_INTERSECT):
        rows = torch.nonzero((scenes.shape[:, slot] == kind) & (scenes.size[:, slot] > 0)).flatten()
        if len(rows) == 0:
            continue
        yaw = scenes.yaw[rows, slot]
        local_o = _turn(o[rows] - foot[rows, None], yaw)
        hit, n = intersect(local_o, _turn(d[rows], yaw), scenes.size[rows, slot])
        t[rows], normal[rows] = hit, _turn(n, -yaw)
    return t, normal


def _rays(scenes: Scenes, pixels: int) -> tuple[Tensor, Tensor]:
    half = np.tan(np.radians(FIELD_OF_VIEW / 2))
    at = (torch.arange(pixels) + 0.5) / pixels * 2 - 1
    v, u = torch.meshgrid(-at * half, at * half, indexing="ij")
    c, s = scenes.camera_pitch.cos()[:, None], scenes.camera_pitch.sin()[:, None]
    u, v = u.reshape(1, -1).float(), v.reshape(1, -1).float()
    d = torch.stack([u.expand(len(scenes), -1), c * v - s, s * v + c], -1)
    o = torch.stack([torch.zeros(len(scenes)), scenes.camera_height, torch.zeros(len(scenes))], -1)
    return o[:, None], d


def render(scenes: Scenes, pixels: int = 64, *, batch: int = 64) -> Rendering:
    """Render scenes at pixels × pixels, with two by two rays a pixel.

    Returns
    -------
    Rendering
        Arrays over scenes; see its fields for shapes and units.
    """
    parts = [_render(scenes[i : i + batch], pixels) for i in range(0, len(scenes), batch)]
    return Rendering(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Rendering)})


@torch.no_grad()
def _render(scenes: Scenes, pixels: int) -> Rendering:
    o, d = _rays(scenes, 2 * pixels)
    hits = [_cast(scenes, slot, o, d) for slot in range(MAX_OBJECTS)]
    ground = _nearest(d[..., 1] < -1e-6, -o[..., 1] / d[..., 1].clamp_max(-1e-6))
    t, owner = torch.stack([ground, hits[0][0], hits[1][0]]).min(0)
    sky = t >= FAR
    normal = torch.stack([_UP.expand_as(d), hits[0][1], hits[1][1]])
    normal = normal.gather(0, owner[None, ..., None].expand(1, -1, -1, 3))[0]
    point = o + t.clamp_max(1e3)[..., None] * d + 1e-3 * normal
    lit = _visible(scenes, point) * (normal * scenes.light[:, None]).sum(-1).clamp_min(0)
    shading = AMBIENT + (1 - AMBIENT) * lit
    albedo = torch.stack([_palette(FLOORS)[scenes.floor], *_palette(COLORS)[scenes.color].unbind(1)], 1)
    albedo = albedo.gather(1, owner[..., None].expand(-1, -1, 3))
    color = torch.where(sky[..., None], _sky(scenes, d), albedo * shading[..., None])
    solid, below = (owner > 0) & ~sky, (~sky).float()
    covered = _shrink(below, pixels)
    return Rendering(
        image=(_shrink(color, pixels) * 255).round().clamp(0, 255).to(torch.uint8).numpy(),
        depth=_shrink(torch.where(sky, 0.0, 1 / t), pixels).numpy(),
        mask=(_shrink(solid.float(), pixels) >= 0.5).numpy(),
        shading=torch.where(covered >= 0.5, _shrink(shading * below, pixels) / covered, torch.nan).numpy(),
    )


def _visible(scenes: Scenes, point: Tensor) -> Tensor:
    to_light = scenes.light[:, None].expand_as(point)
    blocked = torch.stack([_cast(scenes, slot, point, to_light)[0] < FAR for slot in range(MAX_OBJECTS)]).any(0)
    return (~blocked).float()


def _palette(colors: dict[str, tuple[float, float, float]]) -> Tensor:
    return torch.tensor(list(colors.values()))


def _sky(scenes: Scenes, d: Tensor) -> Tensor:
    height = (d[..., 1] / d.norm(dim=-1)).clamp(0, 1)[..., None] * 2.5
    pale, deep = torch.tensor([0.80, 0.88, 0.95]), torch.tensor([0.38, 0.58, 0.88])
    zenith = pale + (deep - pale) * scenes.sky[:, None, None]
    sky: Tensor = pale + (zenith - pale) * height.clamp_max(1)
    return sky


def _shrink(a: Tensor, pixels: int) -> Tensor:
    """Average 2 × 2 rays: [n, rays(, 3)] to [n, y, x(, 3)]."""
    return a.reshape(len(a), pixels, 2, pixels, 2, *a.shape[2:]).mean((2, 4))
