"""Rendered scenes on disk, a folder of plain `.npy` files for every thousand of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ldmscene.testbed.drawing import draw_rooms
from ldmscene.testbed.rendering import render_index, render_rooms
from ldmscene.testbed.scenes import MAX_SOLIDS, Rooms
from ldmscene.testbed.solids import SHAPES
from ldmscene.testbed.tracing import FIRST_SOLID
from ldmscene.testbed.words import captions

CHUNK = 1000  # scenes in a folder
FIELDS = ("image", "depth", "mask", "shading")
WORDINGS = 4  # captions drawn for each scene


@dataclass(frozen=True)
class SceneFiles:
    """`count` scenes, a multiple of 1000; chunk i is drawn from seed + i and made when it is first asked for."""

    folder: Path
    count: int
    seed: int

    @property
    def chunks(self) -> range:
        return range(self.count // CHUNK)

    def first(self, count: int) -> SceneFiles:
        """At most so many of the scenes."""
        return replace(self, count=min(count, self.count))

    def scenes(self, chunk: int) -> Rooms:
        return draw_rooms(CHUNK, self.seed + chunk)

    def captions(self, chunk: int) -> list[list[str]]:
        """Four wordings of each scene of a chunk, [wording][scene]."""
        scenes = self.scenes(chunk)
        return [captions(scenes, seed=self.seed + chunk + 7919 * k) for k in range(WORDINGS)]

    def nouns(self, chunk: int) -> np.ndarray:
        """At each pixel 0, or 1 + number of shapes × colour + shape of the solid there, uint8 [scene, y, x]."""
        scenes = self.scenes(chunk)
        solid = torch.from_numpy(render_index(scenes)).long() - FIRST_SOLID
        here = (solid >= 0) & (solid < MAX_SOLIDS)
        noun = scenes.color * len(SHAPES) + scenes.shape
        of_pixel = noun.gather(1, solid.clamp(0, MAX_SOLIDS - 1).flatten(1)).view(solid.shape)
        return torch.where(here, 1 + of_pixel, 0).to(torch.uint8).numpy()

    def load(self, field: str) -> Rows:
        """One field of all scenes, mapped from disk."""
        return Rows([self.part(field, chunk) for chunk in self.chunks])

    def part(self, field: str, chunk: int) -> np.ndarray:
        """One field of a chunk's scenes, mapped from disk."""
        mapped: np.ndarray = np.load(self._chunk(chunk) / f"{field}.npy", mmap_mode="r")
        return mapped

    def derived(self, name: str, make: Callable[[int], np.ndarray]) -> Rows:
        """An array made from each chunk once, such as its latents."""
        for chunk in self.chunks:
            path = self._chunk(chunk) / f"{name}.npy"
            if not path.exists():
                partial = path.with_suffix(".partial.npy")
                np.save(partial, make(chunk))
                partial.replace(path)
        return self.load(name)

    def _chunk(self, chunk: int) -> Path:
        folder = self.folder / f"{self.seed + chunk:06d}"
        if not folder.exists():
            partial = folder.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            truth = render_rooms(self.scenes(chunk))
            for field in FIELDS:
                np.save(partial / f"{field}.npy", getattr(truth, field))
            partial.rename(folder)
        return folder


@dataclass(frozen=True)
class Rows:
    """Arrays of a thousand rows each, read as one."""

    parts: list[np.ndarray]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __getitem__(self, rows: torch.Tensor | slice) -> np.ndarray:
        """The rows with these numbers, stacked."""
        numbers = range(len(self))[rows] if isinstance(rows, slice) else rows.tolist()
        return np.stack([self.parts[row // CHUNK][row % CHUNK] for row in numbers])
