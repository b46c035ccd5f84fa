"""Nulls: changes that must not work, each as large in every cell as the one whose place it takes. Needs torch.

A null takes the rule's change (sample, y, x, channel), the `Goal`, the `Readout` and a key that names module and step,
and returns a change of the same shape. A new null is one function and an entry here, or in another package an entry
point of the group `ldmscene.nulls`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ldmscene.edits.goal import Goal, like
from ldmscene.edits.readout import Readout
from ldmscene.errors import unknown
from ldmscene.registry import Registry

Null = Callable[[Tensor, Goal, Readout, str], Tensor]


@dataclass(frozen=True)
class NullEntry:
    """A null that can be asked for by its name.

    Examples
    --------
    >>> from ldmscene.edits import NULLS, NullEntry
    >>> list(NULLS)
    ['random', 'rival', 'wrong-region']
    >>> NullEntry("reversed", lambda argument: lambda change, goal, readout, key: -change).name
    'reversed'
    """

    name: str
    of: Callable[[str], Null]
    """the null, from what follows the colon"""


def random(seed: int) -> Null:
    """Along a direction that is drawn as the features are distributed, one for each module and step."""

    def null(change: Tensor, goal: Goal, readout: Readout, key: str) -> Tensor:
        draws = np.random.default_rng([seed, zlib.crc32(key.encode())])
        return _along(readout.root @ draws.standard_normal(len(readout.coef)), change, goal)

    return null


def rival(name: str) -> Null:
    """Along the pattern of another probe of the same features."""

    def null(change: Tensor, goal: Goal, readout: Readout, key: str) -> Tensor:
        if name not in readout.rivals:
            raise unknown("other probe in this edit", name, readout.rivals)
        return _along(replace(readout, coef=readout.rivals[name]).pattern, change, goal)

    return null


def wrong_region(change: Tensor, goal: Goal, readout: Readout, key: str) -> Tensor:
    """The change itself, half a picture away."""
    return change.roll((change.shape[1] // 2, change.shape[2] // 2), (1, 2))


NULLS: Registry[NullEntry] = Registry(
    "null",
    "ldmscene.nulls",
    (
        NullEntry("random", lambda seed: random(int(seed))),
        NullEntry("rival", rival),
        NullEntry("wrong-region", lambda _: wrong_region),
    ),
)


def find_null(name: str) -> Null:
    """A null by its name and, after a colon, its argument: "random:3", "rival:depth", "wrong-region".

    Raises
    ------
    UnknownNameError
        If no null is called so.
    """
    kind, _, argument = name.partition(":")
    return NULLS[kind].of(argument)


def _along(direction: np.ndarray, change: Tensor, goal: Goal) -> Tensor:
    """The change's norms along a direction, up where the reading is to rise and down where it is to fall."""
    unit = like(direction / max(np.linalg.norm(direction), np.finfo(float).tiny), change)
    sign = torch.where(goal.residual < 0, -1.0, 1.0)
    moved: Tensor = (sign * change.norm(dim=-1))[..., None] * unit
    return moved
