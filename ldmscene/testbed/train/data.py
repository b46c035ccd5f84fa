"""Rendered scenes on disk, as plain `.npy` files that are mapped into memory."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from rich.progress import track

from ldmscene.testbed.scenes import Rendering, Scenes, render, sample_scenes

CHUNK = 1000  # scenes rendered at a time; chunk i of a data set is drawn from seed + i


@dataclass(frozen=True)
class SceneFiles:
    """A rendered data set of `count` scenes that is rebuilt from its seed where it is missing."""

    folder: Path
    name: str
    count: int
    seed: int

    def load(self) -> Rendering:
        """The renderings, mapped from disk and rendered first where needed."""
        if not self._path(fields(Rendering)[-1].name).exists():
            self._render()
        return Rendering(**{f.name: np.load(self._path(f.name), mmap_mode="r") for f in fields(Rendering)})

    def scenes(self, chunk: int) -> Scenes:
        """The scenes of one chunk, as they were drawn."""
        return sample_scenes(CHUNK, self.seed + chunk)

    def _path(self, field: str) -> Path:
        return self.folder / f"{self.name}-{field}.npy"

    def _render(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        chunks = track(range(self.count // CHUNK), description=f"rendering {self.name}")
        parts = [render(self.scenes(chunk), batch=16) for chunk in chunks]
        for f in fields(Rendering):
            np.save(self._path(f.name), np.concatenate([getattr(part, f.name) for part in parts]))
