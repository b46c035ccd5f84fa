"""What each ray of a camera meets first, exactly.

A ray has a forward component of 1 in the camera's frame, so the ray parameter *is* the planar depth. A plane's
inverse depth is then linear in the picture's coordinates, and of solids only those rays are worked out that
cross the sphere round them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ldmscene.testbed.rooms.scenes import BLOCK_SIDE, MAX_SOLIDS, Rooms, wall_normals
from ldmscene.testbed.rooms.solids import FAR, HEIGHT, RADIUS, SHAPES, SOLIDS, box

# What a ray can meet, in the order of the object index: the planes, the solids, the solids' blocks.
PARTS = (
    "sky",
    "floor",
    "back wall",
    "side wall",
    *(f"{nth} solid" for nth in ("first", "second", "third")),
    *(f"{nth} solid's block" for nth in ("first", "second", "third")),
)
PLANES = 3
FIRST_SOLID = 1 + PLANES
FIRST_BLOCK = FIRST_SOLID + MAX_SOLIDS
BODIES = 2 * MAX_SOLIDS
BLOCK_KIND = len(SHAPES)


@dataclass(frozen=True)
class Bodies:
    """Solids and blocks alike, [n, 6] each: a solid's block has the solid's number plus three."""

    kind: Tensor  # index into SHAPES, BLOCK_KIND for blocks, -1 where there is nothing
    to_local: Tensor  # [n, 6, 3, 3] from the world's frame to that of the unit solid
    foot: Tensor  # [n, 6, 3]
    half: Tensor  # [n, 6, 3] half-sides of blocks in their own units
    centre: Tensor  # [n, 6, 3] of the sphere round it
    radius: Tensor  # [n, 6]


def bodies(rooms: Rooms) -> Bodies:
    there = rooms.size > 0
    size = torch.where(there, rooms.size, 1.0)
    kind = torch.cat([torch.where(there, rooms.shape, -1), torch.where(rooms.block > 0, BLOCK_KIND, -1)], 1)
    c, s, zero, one = rooms.yaw.cos(), rooms.yaw.sin(), torch.zeros_like(size), torch.ones_like(size)
    turn = torch.stack([c, zero, -s, zero, one, zero, s, zero, c], -1).unflatten(-1, (3, 3)) / size[..., None, None]
    x, z = rooms.foot.unbind(-1)
    foot = torch.cat([torch.stack([x, rooms.block, z], -1), torch.stack([x, zero, z], -1)], 1)
    side = torch.full_like(size, BLOCK_SIDE)
    half = torch.stack([side, rooms.block / size / 2, side], -1)
    height = torch.cat([HEIGHT[rooms.shape] * size, rooms.block], 1)
    width = torch.cat([RADIUS[rooms.shape] * size, BLOCK_SIDE * 2**0.5 * size], 1)
    up = torch.stack([torch.zeros_like(height), height / 2, torch.zeros_like(height)], -1)
    ball = (rooms.shape == SHAPES.index("sphere")) & there
    radius = torch.where(torch.cat([ball, torch.zeros_like(ball)], 1), width, (width**2 + (height / 2) ** 2).sqrt())
    return Bodies(kind, torch.cat([turn, turn], 1), foot, torch.cat([half, half], 1), foot + up, radius * 1.001)


def meet(found: Bodies, row: Tensor, body: Tensor, o: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """Ray parameters [rays] and unit normals [3, rays], in the world's frame, of rays with one body each.

    `row` and `body` [rays] number the scene and the body; `o` and `d` are [3, rays] in the world's frame.
    """
    turn = found.to_local[row, body].permute(1, 2, 0)
    o, d = apply(turn, o - found.foot[row, body].T), apply(turn, d)
    t, normal = torch.full_like(o[0], FAR), torch.zeros_like(o)
    kind = found.kind[row, body]
    for k in range(BLOCK_KIND + 1):
        these = torch.nonzero(kind == k).flatten()
        if not len(these):
            continue
        if k == BLOCK_KIND:
            t[these], normal[:, these] = box(o[:, these], d[:, these], found.half[row[these], body[these]].T)
        else:
            t[these], normal[:, these] = SOLIDS[k](o[:, these], d[:, these])
    normal = apply(turn.transpose(0, 1), normal)
    return t, normal / dot(normal[None], normal[None]).sqrt().clamp_min(1e-9)


# Three products spelled out: reductions over so short a dimension are many times slower.


def dot(a: Tensor, b: Tensor) -> Tensor:
    """[n, 3, rays] twice, or broadcast to it, to [n, rays]."""
    return a[:, 0] * b[:, 0] + a[:, 1] * b[:, 1] + a[:, 2] * b[:, 2]


def apply(turn: Tensor, v: Tensor) -> Tensor:
    """A matrix [3, 3, rays] for each vector [3, rays]."""
    return turn[:, 0] * v[0] + turn[:, 1] * v[1] + turn[:, 2] * v[2]


@dataclass(frozen=True)
class Hits:
    """What each ray meets first. Rays are numbered row by row of the picture."""

    direction: Tensor  # [n, 3, rays] in the world's frame
    inverse: Tensor  # [n, rays] inverse planar depth, 0 in the sky
    part: Tensor  # [n, rays] index into PARTS
    normal: Tensor  # [n, 3, rays] unit, in the world's frame; 0 in the sky
    crossed: Tensor  # [n, 6] number of rays that cross each body, hidden or not


def orientation(rooms: Rooms) -> Tensor:
    """The camera's axes (right, up, forward) as columns, [n, 3, 3]."""
    c, s, zero, one = rooms.pitch.cos(), rooms.pitch.sin(), torch.zeros_like(rooms.pitch), torch.ones_like(rooms.pitch)
    pitch = torch.stack([one, zero, zero, zero, c, -s, zero, s, c], -1).unflatten(-1, (3, 3))
    c, s = rooms.roll.cos(), rooms.roll.sin()
    roll = torch.stack([c, -s, zero, s, c, zero, zero, zero, one], -1).unflatten(-1, (3, 3))
    # Pitched down, forward has a negative y and up a positive z.
    return pitch @ roll


def trace(rooms: Rooms, pixels: int, *, margin: float = 1.0) -> Hits:
    """Cast pixels × pixels rays through the middles of the pixels of a picture that is `margin` times as wide."""
    at = ((torch.arange(pixels) + 0.5) / pixels * 2 - 1) * margin
    v, u = torch.meshgrid(-at, at, indexing="ij")
    picture = torch.stack([u.flatten(), v.flatten(), torch.ones(pixels**2)])
    half = (rooms.field / 2).tan()
    axes = orientation(rooms) * torch.stack([half, half, torch.ones_like(half)], -1)[:, None]
    direction = axes @ picture
    inverse, part, normal = _planes(rooms, axes, picture)
    found = bodies(rooms)
    to_centre = found.centre - rooms.camera[:, None]
    along = (to_centre @ axes) @ picture
    clearance = (to_centre**2).sum(-1) - found.radius**2
    near = (along > 0) & (along**2 >= clearance[..., None] * dot(direction, direction)[:, None])
    row, body, ray = torch.nonzero(near & (found.kind >= 0)[..., None], as_tuple=True)
    o, d = rooms.camera[row].T, direction[row, :, ray].T
    t, n = meet(found, row, body, o, d)
    crossed = torch.zeros(len(rooms), BODIES).index_put_((row, body), (t < FAR).float(), accumulate=True)
    for b in range(BODIES):
        these = torch.nonzero((body == b) & (t < FAR)).flatten()
        these = these[1 / t[these] > inverse[row[these], ray[these]]]
        r, k = row[these], ray[these]
        inverse[r, k], part[r, k] = 1 / t[these], FIRST_SOLID + b
        normal[r, :, k] = n[:, these].T
    return Hits(direction, inverse, part, normal, crossed)


def _planes(rooms: Rooms, axes: Tensor, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Inverse depth [n, rays], part and normal of floor and walls; inside a convex room the nearest plane counts."""
    up = torch.tensor([0.0, 1.0, 0.0]).expand(len(rooms), 1, 3)
    normals = torch.cat([up, wall_normals(rooms)], 1)
    offset = torch.cat([torch.zeros(len(rooms), 1), rooms.distance], 1)
    height = (normals @ rooms.camera[..., None])[..., 0] + offset
    inverse, plane = ((-(normals @ axes) / height[..., None]) @ picture).max(1)
    sky = inverse <= 1e-5
    inverse = torch.where(sky, 0.0, inverse)
    normal = normals.gather(1, plane[..., None].expand(-1, -1, 3)).transpose(1, 2)
    return inverse, torch.where(sky, 0, plane + 1), torch.where(sky[:, None], 0.0, normal)


def seen(rooms: Rooms, pixels: int) -> tuple[Tensor, Tensor]:
    """The share of each solid that lies in the picture unhidden, and of the picture that it fills, [n, 3] each."""
    hits = trace(rooms, 2 * pixels, margin=2.0)
    inside = torch.zeros(2 * pixels, 2 * pixels, dtype=torch.bool)
    inside[pixels // 2 : -(pixels // 2), pixels // 2 : -(pixels // 2)] = True
    solids = torch.arange(FIRST_SOLID, FIRST_BLOCK)[:, None]
    shown = ((hits.part[:, None] == solids) & inside.flatten()).sum(-1)
    return shown / hits.crossed[:, :MAX_SOLIDS].clamp_min(1), shown / pixels**2
