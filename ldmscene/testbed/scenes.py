"""A scene of the testbed's world as numbers.

World frame: x right, y up, z away from the camera; lengths in scene units (a large sphere has a radius of about
one). The solids stand round the origin. Everything is batched: a scene is a row of each tensor.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ldmscene.testbed.solids import RADIUS

SIZES = ("small", "large")
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
WALLS = {
    "white": (0.88, 0.87, 0.84),
    "grey": (0.62, 0.62, 0.64),
    "pink": (0.85, 0.66, 0.64),
    "khaki": (0.62, 0.60, 0.42),
}
BLOCK = (0.76, 0.62, 0.45)
SKY = ((0.80, 0.88, 0.95), (0.38, 0.58, 0.88))  # pale and deep: its colours lie between
PATTERNS = ("plain", "checked", "striped")
LIGHTS = ("left", "right")
RELATIONS = ("left of", "right of", "in front of", "behind")
MAX_SOLIDS = 3
BLOCK_SIDE = 1.0  # half a side of a block, in units of its solid's size
NO_WALL = 1e6  # distance of a wall that isn't there


@dataclass(frozen=True)
class Rooms:
    """n scenes. A solid that isn't there has `size` zero; a block that isn't there has `block` zero."""

    shape: Tensor  # [n, 3] index into SHAPES
    large: Tensor  # [n, 3] bool
    color: Tensor  # [n, 3] index into COLORS
    size: Tensor  # [n, 3] scene units for one unit of the solid
    foot: Tensor  # [n, 3, 2] x and z of the foot
    yaw: Tensor  # [n, 3] radians about y, of a solid and its block
    block: Tensor  # [n, 3] height of the block that it stands on
    floor: Tensor  # [n] index into FLOORS
    wall: Tensor  # [n] index into WALLS
    patterns: Tensor  # [n, 2] index into PATTERNS: the floor's, the walls'
    period: Tensor  # [n, 2] of the patterns
    facing: Tensor  # [n, 2] the back and the side wall's bearing: their normal is (sin, 0, -cos) of it
    distance: Tensor  # [n, 2] of the walls from the origin; NO_WALL without one
    light: Tensor  # [n, 3] unit vector towards the middle of the key light
    ambient: Tensor  # [n] illumination of a point that faces up and that the key light doesn't reach
    sky: Tensor  # [n] 0 (pale) to 1 (deep blue)
    camera: Tensor  # [n, 3] where the camera is
    pitch: Tensor  # [n] radians, downwards
    roll: Tensor  # [n] radians
    field: Tensor  # [n] field of view in radians, vertical and horizontal

    def __len__(self) -> int:
        return len(self.floor)

    def __getitem__(self, rows: slice | Tensor) -> Rooms:
        return Rooms(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    @property
    def count(self) -> Tensor:
        """Number of solids in each scene, [n]."""
        return (self.size > 0).sum(1)

    @property
    def indoors(self) -> Tensor:
        """Whether a scene has a wall, [n] bool."""
        return self.distance[:, 0] < NO_WALL


def join(parts: list[Rooms]) -> Rooms:
    """Scenes one after the other."""
    return Rooms(**{f.name: torch.cat([getattr(p, f.name) for p in parts]) for f in fields(Rooms)})


def wall_normals(rooms: Rooms) -> Tensor:
    """Unit normals of both walls, into the room, [n, 2, 3]."""
    return torch.stack([rooms.facing.sin(), torch.zeros_like(rooms.facing), -rooms.facing.cos()], -1)


def footprint(rooms: Rooms) -> Tensor:
    """Radius of the circle in which a solid and its block stand, [n, 3]; 0 where there is none."""
    return rooms.size * torch.maximum(RADIUS[rooms.shape], (rooms.block > 0) * BLOCK_SIDE * 2**0.5)
