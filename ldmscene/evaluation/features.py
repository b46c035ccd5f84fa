"""What a probe reads: a module's output at a step, the latents, a labeler's maps, or nothing but the position."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from ldmscene.array_types import Array
from ldmscene.cells import MapSize, block_mean, spread
from ldmscene.errors import InputError
from ldmscene.probes import FourierFeatures
from ldmscene.store import ActivationStore
from ldmscene.store.layout import LATENTS, activation_path, intermediate_path

DEGREE = 3  # of the polynomial in a position's coordinates


class Features(Protocol):
    """Features of any sample, maps (sample, y, x, channel). A value that pickles."""

    @property
    def name(self) -> str:
        """Under which the grid lists what reads them."""

    @property
    def step(self) -> int: ...

    @property
    def size(self) -> MapSize:
        """y and x of the maps; labels are multiples of both."""

    @property
    def path(self) -> str | None:
        """The stored array that is read; its bytes are part of every key."""

    def key(self) -> dict[str, Any]:
        """What the features depend on, besides the bytes of the array at `path`."""

    def read(self, store: ActivationStore, sample_ids: Sequence[str]) -> np.ndarray: ...


def read_branch(store: ActivationStore) -> str:
    """Which branch of a store probes read: the conditional one where it has both."""
    branches: list[str] = store.config["branches"]
    return "cond" if "cond" in branches else branches[0]


@dataclass(frozen=True)
class ModuleOutput:
    """A module's output at a step, of the branch that `read_branch` names."""

    name: str
    step: int
    size: MapSize
    branch: int

    @classmethod
    def of(cls, store: ActivationStore, module: str, step: int) -> ModuleOutput:
        maps = store.info(activation_path(module)).maps
        if tuple(maps) != ("y", "x", "channel"):
            raise InputError(
                f"{module} has no (y, x) grid, so that it has no place for a pixel's label; leave it out of modules="
            )
        branch = store.config["branches"].index(read_branch(store))
        return cls(module, step, (maps["y"], maps["x"]), branch)

    @property
    def path(self) -> str:
        return activation_path(self.name)

    def key(self) -> dict[str, Any]:
        return {"array": self.path, "step": self.step, "branch": self.branch}

    def read(self, store: ActivationStore, sample_ids: Sequence[str]) -> np.ndarray:
        array, select = store.info(self.path), {"step": [self.step], "branch": [self.branch]}
        return array.read(store.rows(sample_ids), select).reshape(len(sample_ids), *array.maps.values())


def outputs_of(store: ActivationStore, modules: Iterable[str], steps: Iterable[int]) -> list[ModuleOutput]:
    """Each module's output at those of some steps at which it runs."""
    own, steps = {module: store.steps_of(module) for module in modules}, list(steps)
    return [ModuleOutput.of(store, module, step) for module in own for step in steps if step in own[module]]


@dataclass(frozen=True)
class Widened:
    """A module's output, and random functions of it beside."""

    output: ModuleOutput
    functions: FourierFeatures

    @property
    def name(self) -> str:
        return f"{self.output.name}, widened"

    @property
    def step(self) -> int:
        return self.output.step

    @property
    def size(self) -> MapSize:
        return self.output.size

    @property
    def path(self) -> str:
        return self.output.path

    @cached_property
    def _drawn(self) -> int:
        return zlib.crc32(b"".join(array.tobytes() for array in vars(self.functions).values()))

    def key(self) -> dict[str, Any]:
        return {**self.output.key(), "functions": self._drawn}

    def read(self, store: ActivationStore, sample_ids: Sequence[str]) -> Array:
        return self.functions(self.output.read(store, sample_ids))


@dataclass(frozen=True)
class Latents:
    """x_t before the denoiser's call, channels last."""

    name: str
    step: int
    size: MapSize
    path: str = LATENTS

    @classmethod
    def of(cls, store: ActivationStore, name: str, step: int) -> Latents:
        y, x = store.info(LATENTS).layout.shape[2:]
        return cls(name, step, (y, x))

    def key(self) -> dict[str, Any]:
        return {"array": self.path, "step": self.step}

    def read(self, store: ActivationStore, sample_ids: Sequence[str]) -> np.ndarray:
        found = store.info(self.path).read(store.rows(sample_ids), {"step": [self.step]})[:, 0]
        return np.ascontiguousarray(np.moveaxis(found, 1, -1))


def latents_at(store: ActivationStore, step: int, size: MapSize, sample_ids: Sequence[str]) -> np.ndarray:
    """x_t (sample, y, x, channel) on maps of a size: means of cells, or repeated where those maps are finer.

    Raises
    ------
    InputError
        If neither map's sides are multiples of the other's.
    """
    found = store.info(LATENTS).read(store.rows(sample_ids), {"step": [step]})[:, 0]
    (n, c, *own), (y, x) = found.shape, size
    if own[0] % y == 0 and own[1] % x == 0:
        maps = block_mean(found.reshape(-1, *own), size).reshape(n, c, y, x)
    elif y % own[0] == 0 and x % own[1] == 0:
        maps = spread(found, (y // own[0], x // own[1]))
    else:
        raise InputError(
            f"beyond: latents of {own[0]} × {own[1]} can't be laid over maps of {y} × {x}; leave 'latent' out, or such "
            "modules"
        )
    return np.ascontiguousarray(np.moveaxis(maps, 1, -1))


@dataclass(frozen=True)
class LabelerMaps:
    """What a labeler reads in the unfinished picture at a step, as one channel.

    Parameters
    ----------
    name : str
    step : int
    size : (int, int)
        y and x; a map's sides are multiples of them, and cells hold its means.
    source : {"noisy", "predicted"}
        The decoded x_t, or the decoded x_0 that is predicted there.
    labels : str
        Under which name the labeler's maps are stored.
    """

    name: str
    step: int
    size: MapSize
    source: str
    labels: str

    @classmethod
    def of(cls, store: ActivationStore, name: str, step: int, source: str, labels: str) -> LabelerMaps:
        """At the maps' own resolution."""
        y, x = store.info(intermediate_path(source, labels)).layout.shape[1:]
        return cls(name, step, (y, x), source, labels)

    @property
    def path(self) -> str:
        return intermediate_path(self.source, self.labels)

    def key(self) -> dict[str, Any]:
        return {"array": self.path, "step": self.step, "size": list(self.size)}

    def read(self, store: ActivationStore, sample_ids: Sequence[str]) -> np.ndarray:
        found = store.info(self.path).read(store.rows(sample_ids), {"step": [self.step]})[:, 0]
        return block_mean(without_gaps(found), self.size)[..., None]


@dataclass(frozen=True)
class Position:
    """A position's coordinates and their products up to the third degree, the same for every sample."""

    name: str
    step: int
    size: MapSize
    path: None = None

    def key(self) -> dict[str, Any]:
        return {"position": list(self.size), "degree": DEGREE}

    def read(self, store: ActivationStore, sample_ids: Sequence[str]) -> np.ndarray:
        y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in self.size), indexing="ij")
        powers = [y**i * x**j for i in range(DEGREE + 1) for j in range(DEGREE + 1 - i) if i + j]
        maps = np.stack(powers, -1).astype(np.float32)
        return np.broadcast_to(maps, (len(sample_ids), *maps.shape))


def without_gaps(maps: np.ndarray) -> np.ndarray:
    """Maps (..., Y, X) with their own mean (0 if there is none) where the labeler sees nothing to label: NaN."""
    known = ~np.isnan(maps)
    mean = np.where(known, maps, 0).sum((-2, -1)) / np.maximum(known.sum((-2, -1)), 1)
    return np.where(known, maps, mean[..., None, None])
