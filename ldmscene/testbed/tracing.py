"""What each ray of a camera meets first, exactly.

A ray has a forward component of 1 in the camera's frame, so the ray parameter *is* the planar depth. A plane's
inverse depth is then linear in the picture's coordinates, and of solids only those rays are worked out that
cross the sphere round them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ldmscene.testbed.scenes import BLOCK_SIDE, MAX_SOLIDS, Rooms, wall_normals
from ldmscene.testbed.solids import FAR, HEIGHT, RADIUS, SHAPES, SOLIDS, box

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
    """The m solids and blocks of n scenes, one after the other. A solid's block has the solid's number plus three."""

    scene: Tensor  # [m] the scene that it is in
    number: Tensor  # [m] 0 to 5
    kind: Tensor  # [m] index into SHAPES, BLOCK_KIND for blocks
    to_local: Tensor  # [m, 3, 3] from the world's frame to that of the unit solid
    foot: Tensor  # [m, 3]
    half: Tensor  # [m, 3] half-sides of a block in its own units
    centre: Tensor  # [m, 3] of the sphere round it
    radius: Tensor  # [m]


def bodies(rooms: Rooms) -> Bodies:
    solids, blocks = rooms.size > 0, rooms.block > 0
    size = torch.where(solids, rooms.size, 1.0)
    c, s, zero, one = rooms.yaw.cos(), rooms.yaw.sin(), torch.zeros_like(size), torch.ones_like(size)
    turn = torch.stack([c, zero, -s, zero, one, zero, s, zero, c], -1).unflatten(-1, (3, 3)) / size[..., None, None]
    x, z = rooms.foot.unbind(-1)
    foot = torch.cat([torch.stack([x, rooms.block, z], -1), torch.stack([x, zero, z], -1)], 1)
    side = torch.full_like(size, BLOCK_SIDE)
    half = torch.stack([side, rooms.block / size / 2, side], -1)
    height = torch.cat([HEIGHT[rooms.shape] * size, rooms.block], 1)
    width = torch.cat([RADIUS[rooms.shape] * size, BLOCK_SIDE * 2**0.5 * size], 1)
    up = torch.stack([torch.zeros_like(height), height / 2, torch.zeros_like(height)], -1)
    ball = torch.cat([rooms.shape == SHAPES.index("sphere"), torch.zeros_like(blocks)], 1)
    radius = torch.where(ball, width, (width**2 + (height / 2) ** 2).sqrt()) * 1.001
    scene, number = torch.nonzero(torch.cat([solids, blocks], 1), as_tuple=True)
    kind = torch.cat([rooms.shape, torch.full_like(rooms.shape, BLOCK_KIND)], 1)
    each = (kind, torch.cat([turn, turn], 1), foot, torch.cat([half, half], 1), foot + up, radius)
    return Bodies(scene, number, *(a[scene, number] for a in each))


def meet(found: Bodies, body: Tensor, o: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """Ray parameters [rays] and normals [3, rays], not normalised, of rays with one body each, [rays].

    Origins and directions [3, rays] and the normals are in the body's own frame.
    """
    t, normal = torch.empty_like(o[0]), torch.empty_like(o)
    kind = found.kind[body]
    for k in range(BLOCK_KIND + 1):
        these = torch.nonzero(kind == k).flatten()
        some = o[:, these], d[:, these]
        t[these], normal[:, these] = SOLIDS[k](*some) if k < BLOCK_KIND else box(*some, found.half[body[these]].T)
    return t, normal


# Three products spelled out: reductions over so short a dimension are many times slower.


def dot(a: Tensor, b: Tensor) -> Tensor:
    """[n, 3, rays] twice, or broadcast to it, to [n, rays]."""
    return a[:, 0] * b[:, 0] + a[:, 1] * b[:, 1] + a[:, 2] * b[:, 2]


def apply(turn: Tensor, v: Tensor) -> Tensor:
    """A matrix [3, 3, rays] for each vector [3, rays]."""
    return turn[:, 0] * v[0] + turn[:, 1] * v[1] + turn[:, 2] * v[2]


@dataclass(frozen=True)
class Hits:
    """What each ray of a screen meets first."""

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
    turned: Tensor = pitch @ roll
    return turned


def screen(pixels: int, *, side: int = 1, margin: float = 1.0) -> Tensor:
    """Right, up and forward of side × side rays in each of pixels × pixels pixels, [3, rays].

    The first ray of every pixel comes first, row by row, then the second. The picture is `margin` times as wide.
    """
    at = ((torch.arange(side * pixels) + 0.5) / (side * pixels) * 2 - 1) * margin
    v, u = (a.unflatten(0, (pixels, side)).unflatten(2, (pixels, side)) for a in torch.meshgrid(-at, at, indexing="ij"))
    u, v = (a.permute(1, 3, 0, 2).flatten() for a in (u, v))
    return torch.stack([u, v, torch.ones_like(u)])


def trace(rooms: Rooms, picture: Tensor) -> Hits:
    """Cast rays [3, rays] of a screen into every scene."""
    half = (rooms.field / 2).tan()
    axes = orientation(rooms) * torch.stack([half, half, torch.ones_like(half)], -1)[:, None]
    inverse, part, normal = _planes(rooms, axes, picture)
    found = bodies(rooms)
    body, ray = _near(found, rooms, axes, picture)
    scene = found.scene[body]
    to_local = found.to_local @ axes[found.scene]
    eye = (found.to_local @ (rooms.camera[found.scene] - found.foot)[..., None])[..., 0]
    t, n = meet(found, body, eye[body].T, apply(to_local[body].permute(1, 2, 0), picture[:, ray]))
    n = apply(found.to_local[body].permute(2, 1, 0), n)
    n = n / dot(n[None], n[None]).sqrt().clamp_min(1e-9)
    crossed = torch.zeros(len(rooms), BODIES)
    crossed.index_put_((scene, found.number[body]), (t < FAR).float(), accumulate=True)
    for b in range(BODIES):
        these = torch.nonzero((found.number[body] == b) & (t < FAR) & (1 / t > inverse[scene, ray])).flatten()
        r, k = scene[these], ray[these]
        inverse[r, k], part[r, k] = 1 / t[these], FIRST_SOLID + b
        normal[r, :, k] = n[:, these].T
    return Hits(axes @ picture, inverse, part, normal, crossed)


def _near(found: Bodies, rooms: Rooms, axes: Tensor, picture: Tensor) -> tuple[Tensor, Tensor]:
    """Body and ray wherever a ray crosses the sphere round a body."""
    to_centre = found.centre - rooms.camera[found.scene]
    along = (to_centre[:, None] @ axes[found.scene])[:, 0] @ picture
    squared = (axes**2).sum(1)[found.scene] @ picture**2  # of the ray's length: the axes are at right angles
    clearance = (to_centre**2).sum(1) - found.radius**2
    body, ray = torch.nonzero((along > 0) & (along**2 >= clearance[:, None] * squared), as_tuple=True)
    return body, ray


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
    hits = trace(rooms, screen(2 * pixels, margin=2.0))
    inside = torch.zeros(2 * pixels, 2 * pixels, dtype=torch.bool)
    inside[pixels // 2 : -(pixels // 2), pixels // 2 : -(pixels // 2)] = True
    solids = torch.arange(FIRST_SOLID, FIRST_BLOCK)[:, None]
    shown = ((hits.part[:, None] == solids) & inside.flatten()).sum(-1)
    return shown / hits.crossed[:, :MAX_SOLIDS].clamp_min(1), shown / pixels**2
