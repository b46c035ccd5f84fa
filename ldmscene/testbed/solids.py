"""Rays and solids of unit size: where a ray first meets one, and the surface's normal there.

Each function takes origins and directions [3, rays] in the solid's own frame (foot at the origin, y up) and
returns the ray parameter [rays], FAR where the ray misses, and the outward normal [3, rays], not normalised.
A ray that starts inside a solid doesn't see it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

SHAPES = ("sphere", "cube", "cylinder", "cone")
FAR = 1e6  # ray parameter of "nothing hit"
NEAR = 1e-4  # a point of a surface doesn't see that surface again

CUBE = 0.78  # half a side
CYLINDER = (0.72, 1.7)  # radius, height
CONE = (0.92, 1.9)
RADIUS = torch.tensor([1.0, CUBE * 2**0.5, CYLINDER[0], CONE[0]])  # of the circle round the foot, by shape
HEIGHT = torch.tensor([2.0, 2 * CUBE, CYLINDER[1], CONE[1]])


def sphere(o: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    o = torch.stack([o[0], o[1] - 1, o[2]])
    a, b, c = (d * d).sum(0), (o * d).sum(0), (o * o).sum(0) - 1
    disc = b * b - a * c
    t = _kept(disc > 0, (-b - disc.clamp_min(0).sqrt()) / a)
    return t, o + t.clamp_max(1e3) * d


def box(o: Tensor, d: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """A box of half-sides [3, rays] (or broadcast to it) that stands on its foot: slabs (Kay and Kajiya 1986)."""
    o = torch.stack([o[0], o[1] - half[1], o[2]])
    inverse = 1 / _nonzero(d)
    reach = half * inverse.abs()
    enter, leave = -o * inverse - reach, -o * inverse + reach
    t, axis = enter.max(0)
    t = _kept(t < leave.amin(0), t)
    facing = torch.arange(3)[:, None] == axis
    return t, facing * -d.sign()


def cube(o: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    return box(o, d, torch.full((3, 1), CUBE))


def cylinder(o: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    radius, height = CYLINDER
    a, b = (d[0] ** 2 + d[2] ** 2).clamp_min(1e-12), o[0] * d[0] + o[2] * d[2]
    disc = b * b - a * (o[0] ** 2 + o[2] ** 2 - radius**2)
    side = (-b - disc.clamp_min(0).sqrt()) / a
    y = o[1] + side * d[1]
    side = _kept((disc > 0) & (y >= 0) & (y <= height), side)
    top, bottom = _disc(o, d, radius, height), _disc(o, d, radius, 0.0)
    t = torch.minimum(side, torch.minimum(top, bottom))
    p = o + t.clamp_max(1e3) * d
    flat = (t < side).to(d.dtype)
    return t, torch.stack([p[0] * (1 - flat), flat * -d[1].sign(), p[2] * (1 - flat)])


def cone(o: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    radius, height = CONE
    k = (radius / height) ** 2
    o_top = torch.stack([o[0], o[1] - height, o[2]])
    a = _nonzero(d[0] ** 2 + d[2] ** 2 - k * d[1] ** 2)
    b = o_top[0] * d[0] + o_top[2] * d[2] - k * o_top[1] * d[1]
    disc = b * b - a * (o_top[0] ** 2 + o_top[2] ** 2 - k * o_top[1] ** 2)
    root = disc.clamp_min(0).sqrt()
    roots = torch.stack([(-b - root) / a, (-b + root) / a])
    y = o_top[1] + roots * d[1]
    side = _kept((disc > 0) & (y <= 0) & (y >= -height), roots).amin(0)
    base = _disc(o, d, radius, 0.0)
    t = torch.minimum(side, base)
    p = o_top + t.clamp_max(1e3) * d
    flat = base < side
    normal = torch.stack([p[0], -k * p[1], p[2]])
    return t, torch.where(flat, torch.tensor([[0.0], [-1.0], [0.0]]), normal)


SOLIDS: tuple[Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], ...] = (sphere, cube, cylinder, cone)


def _disc(o: Tensor, d: Tensor, radius: float, height: float) -> Tensor:
    t = (height - o[1]) / _nonzero(d[1])
    x, z = o[0] + t * d[0], o[2] + t * d[2]
    return _kept(x * x + z * z <= radius**2, t)


def _kept(hit: Tensor, t: Tensor) -> Tensor:
    return torch.where(hit & (t > NEAR), t, FAR)


def _nonzero(a: Tensor) -> Tensor:
    return torch.where(a.abs() < 1e-9, 1e-9, a)
