"""Where features come from: a module's output at a step, the latents of a step, or nothing but the position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ldmscene.errors import InputError
from ldmscene.store import ActivationStore
from ldmscene.store.layout import LATENTS, activation_path

DEGREE = 3  # of the polynomial in a position's coordinates


class Place(Protocol):
    """Features of any sample, (sample, y, x, channel)."""

    @property
    def name(self) -> str: ...

    @property
    def step(self) -> int: ...

    @property
    def grid(self) -> tuple[int, int]: ...

    def read(self, store: ActivationStore, sample_ids: Sequence[str]) -> np.ndarray: ...

    def key(self) -> dict:
        """What the features depend on, besides the bytes of the array at `path`."""

    @property
    def path(self) -> str | None:
        """The stored array that is read."""


@dataclass(frozen=True)
class Activations:
    """A module's output at a step, of the conditional branch where a store has both."""

    name: str
    step: int
    grid: tuple[int, int]
    branch: int

    @classmethod
    def of(cls, store: ActivationStore, module: str, step: int) -> Activations:
        grid = store.info(activation_path(module)).layout.shape[2:-1]
        if len(grid) != 2:
            raise InputError(
                f"{module} has no (y, x) grid, so that it has no place for a pixel's label; leave it out of modules="
            )
        branches = store.config["branches"]
        return cls(module, step, (grid[0], grid[1]), branches.index("cond") if "cond" in branches else 0)

    @property
    def path(self) -> str:
        return activation_path(self.name)

    def key(self) -> dict:
        return {"array": self.path, "step": self.step, "branch": self.branch}

    def read(self, store: ActivationStore, sample_ids: Sequence[str]) -> np.ndarray:
        select = {"step": [self.step], "branch": [self.branch]}
        return store.info(self.path).read(store.rows(sample_ids), select)[:, 0, 0]


@dataclass(frozen=True)
class Latents:
    """x_t before the denoiser's call, channels last."""

    name: str
    step: int
    grid: tuple[int, int]
    path: str = LATENTS

    def key(self) -> dict:
        return {"array": self.path, "step": self.step}

    def read(self, store: ActivationStore, sample_ids: Sequence[str]) -> np.ndarray:
        found = store.info(self.path).read(store.rows(sample_ids), {"step": [self.step]})[:, 0]
        return np.ascontiguousarray(np.moveaxis(found, 1, -1))


@dataclass(frozen=True)
class Position:
    """A position's coordinates and their products up to the third degree, the same for every sample."""

    name: str
    step: int
    grid: tuple[int, int]
    path: None = None

    def key(self) -> dict:
        return {"position": list(self.grid), "degree": DEGREE}

    def read(self, store: ActivationStore, sample_ids: Sequence[str]) -> np.ndarray:
        y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in self.grid), indexing="ij")
        powers = [y**i * x**j for i in range(DEGREE + 1) for j in range(DEGREE + 1 - i) if i + j]
        maps = np.stack(powers, -1).astype(np.float32)
        return np.broadcast_to(maps, (len(sample_ids), *maps.shape))
