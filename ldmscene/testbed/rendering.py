"""Pictures of scenes, with all that is true of them."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from ldmscene.testbed.precision import in_float32
from ldmscene.testbed.scenes import BLOCK, COLORS, FLOORS, PATTERNS, SKY, WALLS, Rooms, wall_normals
from ldmscene.testbed.solids import FAR
from ldmscene.testbed.tracing import (
    BODIES,
    FIRST_BLOCK,
    FIRST_SOLID,
    Bodies,
    Hits,
    apply,
    bodies,
    dot,
    meet,
    orientation,
    screen,
    trace,
)

SPREAD = 0.09  # tangent of the key light's angular radius
LAMPS = 4  # directions to the key light for each ray; the four rays of a pixel have different ones
SIDE = 2  # rays along a pixel's side
CONTRAST = 0.2  # of the patterns
PIXELS, BATCH = 64, 16  # of a picture's side; scenes at once


@dataclass(frozen=True)
class Truth:
    """Pictures of n scenes, and what is true at every pixel, as `ldmscene.testbed.render` gives them.

    A pixel averages 2 × 2 rays, but for `index`.

    Attributes
    ----------
    image : ndarray
        uint8 (n, y, x, rgb).
    depth : ndarray
        float32 (n, y, x), inverse planar depth in 1 / scene units: 1 over the distance along the camera's axis. 0 in
        the sky. A large sphere has a radius of about one unit.
    mask : ndarray
        bool (n, y, x), True where solids cover at least half the pixel. Blocks, floors and walls are background.
    shading : ndarray
        float32 (n, y, x), illumination without albedo, 0 to 1; NaN in the sky.
    normal : ndarray
        float16 (n, y, x, 3), unit vectors in the camera's frame: right, up, forward. 0 in the sky.
    index : ndarray
        uint8 (n, y, x), which of `ldmscene.testbed.PARTS` covers most of the pixel.
    albedo : ndarray
        uint8 (n, y, x, rgb), colour without illumination; in the sky, the sky's colour.
    """

    image: np.ndarray
    depth: np.ndarray
    mask: np.ndarray
    shading: np.ndarray
    normal: np.ndarray
    index: np.ndarray
    albedo: np.ndarray


@in_float32
def render_rooms(rooms: Rooms, pixels: int = PIXELS, *, batch: int = BATCH) -> Truth:
    """Render scenes at pixels × pixels.

    Returns
    -------
    Truth
        Arrays over scenes; see its fields for shapes and units.
    """
    parts = [_render(rooms[i : i + batch], pixels) for i in range(0, len(rooms), batch)]
    return Truth(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Truth)})


@in_float32
def render_index(rooms: Rooms) -> np.ndarray:
    """Just the object index of `render_rooms`, with its own pixels."""
    parts = [rooms[i : i + BATCH] for i in range(0, len(rooms), BATCH)]
    return np.concatenate([_most(trace(part, screen(PIXELS, side=SIDE)).part, PIXELS) for part in parts])


def _render(rooms: Rooms, pixels: int) -> Truth:
    hits = trace(rooms, screen(pixels, side=SIDE))
    sky = hits.part == 0
    point = rooms.camera[..., None] + hits.direction / hits.inverse.clamp_min(1e-5)[:, None]
    key = light_up(rooms, hits, point)
    hemisphere = 0.75 + 0.25 * hits.normal[:, 1]
    shading = rooms.ambient[:, None] * hemisphere + (1 - rooms.ambient[:, None]) * key
    albedo = torch.where(sky[:, None], _sky(rooms, hits.direction), paint(rooms, hits, point, pixels))
    color = torch.where(sky[:, None], albedo, albedo * shading[:, None])
    solid = (hits.part >= FIRST_SOLID) & (hits.part < FIRST_BLOCK)
    covered = _shrink((~sky).float(), pixels)
    lit = _shrink(torch.where(sky, 0.0, shading), pixels) / covered
    return Truth(
        image=_bytes(_shrink(color, pixels)),
        depth=_shrink(hits.inverse, pixels).numpy(),
        mask=(_shrink(solid.float(), pixels) >= 0.5).numpy(),
        shading=torch.where(covered >= 0.5, lit, torch.nan).numpy(),
        normal=_normals(rooms, hits, pixels),
        index=_most(hits.part, pixels),
        albedo=_bytes(_shrink(albedo, pixels)),
    )


def light_up(rooms: Rooms, hits: Hits, point: Tensor) -> Tensor:
    """What the key light gives each ray's point, [n, rays] in 0 to 1: cosine times the share of lamps in view."""
    found, lamps = bodies(rooms), _lamps(rooms)
    body, ray = _maybe_shadowed(rooms, found, hits, point)
    scene, nth = found.scene[body], ray // (point.shape[-1] // SIDE**2)  # which ray of its pixel each ray is
    to_local = found.to_local[body].permute(1, 2, 0)
    start = apply(to_local, point[scene, :, ray].T - found.foot[body].T)
    received = torch.zeros_like(hits.inverse)
    for some in lamps.split(SIDE**2, 2):
        facing = dot(hits.normal.unflatten(2, (SIDE**2, -1)), some[..., None]).clamp_min(0).flatten(1)
        blocked = meet(found, body, start, apply(to_local, some[scene, :, nth].T))[0] < FAR
        facing[scene[blocked], ray[blocked]] = 0
        received += facing / LAMPS
    return received


def _lamps(rooms: Rooms) -> Tensor:
    """Sixteen unit vectors towards the key light's disc, spread as a sunflower's seeds (Vogel 1979), [n, 3, 16]."""
    k = torch.arange(4 * LAMPS)
    radius, angle = SPREAD * ((k + 0.5) / (4 * LAMPS)).sqrt(), k * np.pi * (3 - 5**0.5)
    side = torch.linalg.cross(rooms.light, torch.tensor([0.0, 0.0, 1.0]).expand_as(rooms.light))
    side = side / side.norm(dim=-1, keepdim=True)
    other = torch.linalg.cross(rooms.light, side)
    lamps = rooms.light[..., None] + side[..., None] * radius * angle.cos() + other[..., None] * radius * angle.sin()
    unit: Tensor = lamps / lamps.norm(dim=1, keepdim=True)
    return unit


def _maybe_shadowed(rooms: Rooms, found: Bodies, hits: Hits, point: Tensor) -> tuple[Tensor, Tensor]:
    """Body and ray wherever a cone from the ray's point to the light touches the sphere round another body."""
    light, scene = rooms.light, found.scene
    along = (found.centre * light[scene]).sum(1)[:, None] - (light[:, None] @ point)[scene, 0]
    beside = (found.centre[:, None] @ point[scene])[:, 0]
    squared = (found.centre**2).sum(1)[:, None] - 2 * beside + dot(point, point)[scene]
    radius = found.radius[:, None]
    near = (along > -radius) & (squared - along**2 <= (radius + SPREAD * along.clamp_min(0) + 1e-3) ** 2)
    lit = (hits.part > 0) & (dot(hits.normal, light[..., None]) > -SPREAD)
    near &= lit[scene] & (hits.part[scene] != FIRST_SOLID + found.number[:, None])
    body, ray = torch.nonzero(near, as_tuple=True)
    return body, ray


def paint(rooms: Rooms, hits: Hits, point: Tensor, pixels: int) -> Tensor:
    """Albedo of each ray's point, [n, 3, rays]."""
    floors, walls, colors = (torch.tensor(list(c.values())) for c in (FLOORS, WALLS, COLORS))
    wall = walls[rooms.wall][:, None].expand(-1, 2, 3)
    block = torch.tensor(BLOCK).expand(len(rooms), BODIES // 2, 3)
    black = torch.zeros(len(rooms), 1, 3)
    palette = torch.cat([black, floors[rooms.floor][:, None], wall, colors[rooms.color], block], 1)
    albedo = palette.gather(1, hits.part[..., None].expand(-1, -1, 3)).transpose(1, 2)
    return (albedo * _pattern(rooms, hits, point, pixels)[:, None]).clamp_max(1)


def _pattern(rooms: Rooms, hits: Hits, point: Tensor, pixels: int) -> Tensor:
    """The factor by which patterns lighten or darken each ray's point, [n, rays]; far away they fade out."""
    back, side = wall_normals(rooms).unbind(1)
    along_back, along_side = dot(point, back[..., None]), dot(point, side[..., None])
    across = torch.where(hits.part == 2, along_side, along_back)  # along the wall that the ray meets
    floor = hits.part == 1
    a = torch.where(floor, along_side, across)
    b = torch.where(floor, along_back, point[:, 1])
    surface = (~floor).long()
    period = rooms.period.gather(1, surface)
    kind = rooms.patterns.gather(1, surface)
    stripe_a, stripe_b = ((2 * x / period).floor() % 2 * 2 - 1 for x in (a, b))
    sign = torch.where(kind == PATTERNS.index("checked"), stripe_a * stripe_b, stripe_a)
    flat = floor | (hits.part == 2) | (hits.part == 3)
    sign = torch.where(flat & (kind != PATTERNS.index("plain")), sign, 0.0)
    slope = dot(hits.normal, hits.direction).abs() / _length(hits.direction)
    width = (rooms.field / 2).tan()[:, None] * 2 / pixels / hits.inverse.clamp_min(1e-3) / slope.clamp_min(1e-3)
    return 1 + CONTRAST * sign * (1.5 - 2 * width / period).clamp(0, 1)


def _sky(rooms: Rooms, direction: Tensor) -> Tensor:
    height = (direction[:, 1] / _length(direction)).clamp(0, 0.4)[:, None] * 2.5
    pale, deep = (torch.tensor(color)[:, None] for color in SKY)
    return pale + (deep - pale) * rooms.sky[:, None, None] * height


def _length(v: Tensor) -> Tensor:
    return dot(v, v).sqrt()


def _normals(rooms: Rooms, hits: Hits, pixels: int) -> np.ndarray:
    mean = _shrink(orientation(rooms).transpose(1, 2) @ hits.normal, pixels)
    unit = mean / dot(mean, mean).sqrt().clamp_min(1e-6)[:, None]
    return unit.movedim(1, -1).to(torch.float16).numpy()


def _most(part: Tensor, pixels: int) -> np.ndarray:
    """The part that most of a pixel's rays meet; among equals the one that comes last in PARTS."""
    rays = _rays(part, pixels).to(torch.uint8).movedim(1, 0)
    votes = sum((rays == ray).to(torch.uint8) for ray in rays)
    most: np.ndarray = ((votes * 16 + rays).amax(0) % 16).numpy()  # there are fewer parts than 16
    return most


def _rays(a: Tensor, pixels: int) -> Tensor:
    """The rays of each pixel, [..., rays] to [..., 4, y, x]."""
    rays: Tensor = a.unflatten(-1, (SIDE**2, pixels, pixels))
    return rays


def _shrink(a: Tensor, pixels: int) -> Tensor:
    """Average the rays of each pixel: [..., rays] to [..., y, x]."""
    return _rays(a, pixels).mean(-3)


def _bytes(color: Tensor) -> np.ndarray:
    """[n, 3, y, x] in 0 to 1 to uint8 [n, y, x, 3]."""
    return (color.movedim(1, -1) * 255).round().clamp(0, 255).to(torch.uint8).numpy()
