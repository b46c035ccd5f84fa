"""What rows are read from, as values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from ldmscene.array_types import Array, Ints
from ldmscene.errors import ShapeError


class Maps(Protocol):
    """An array (sample, step, branch, …, channel) on disk."""

    def read(self, samples: Sequence[int], select: Mapping[str, Sequence[int]], out: Array) -> Array: ...


@dataclass(frozen=True)
class Module:
    """One module's maps."""

    name: str
    maps: Maps
    grid: tuple[int, ...]
    """positions along each axis: (y, x), or (token,)"""
    channels: int
    dtype: np.dtype

    @property
    def rows(self) -> int:
        """Positions of a map."""
        return math.prod(self.grid)

    @property
    def chunk_bytes(self) -> int:
        return self.rows * self.channels * self.dtype.itemsize

    def empty(self, chunks: int) -> Array:
        """Memory for maps [chunk, row, channel]."""
        return np.empty((chunks, self.rows, self.channels), self.dtype)

    def read(self, sample: int, steps: Sequence[int], branch: int, out: Array) -> Array:
        """Maps [step, row, channel] of one sample (row of the manifest), into `out`, which lies in one piece."""
        whole = out.reshape(1, len(steps), 1, *self.grid, self.channels)
        self.maps.read([sample], {"step": steps, "branch": [branch]}, whole)
        return out


@dataclass(frozen=True)
class Source:
    """Maps of one or several modules, of some samples at some steps and branches."""

    modules: tuple[Module, ...]
    samples: tuple[int, ...]
    """rows of the manifest"""
    steps: tuple[int, ...]
    branches: tuple[int, ...]
    """positions along the arrays' axis"""
    branch_codes: tuple[int, ...]
    """what the coordinate of that axis says"""
    axes: tuple[str, ...]
    """names of the axes of `grid`"""

    @cached_property
    def grid(self) -> tuple[int, ...]:
        """The finest grid among the modules'. A row of a coarser map stands for all that lie in its cell.

        Raises
        ------
        ShapeError
            If a grid doesn't divide the finest.
        """
        finest = max((module.grid for module in self.modules), key=math.prod)
        for module in self.modules:
            if len(module.grid) != len(finest) or any(f % n for f, n in zip(finest, module.grid, strict=True)):
                raise ShapeError(
                    f"modules: {module.name} has positions {module.grid}, which can't be aligned with {finest}; "
                    "make a dataset of each"
                )
        return finest

    @property
    def rows(self) -> int:
        """Rows of a chunk."""
        return math.prod(self.grid)

    @property
    def strata(self) -> int:
        """Kinds of chunks: one for each branch and step, numbered branch by branch."""
        return len(self.steps) * len(self.branches)

    @property
    def chunk_bytes(self) -> int:
        return sum(module.chunk_bytes for module in self.modules)

    def inside(self, module: Module) -> Ints:
        """For each row of a chunk, the row of a module's own map."""
        where = np.unravel_index(np.arange(self.rows), self.grid)
        coarse = [w * n // f for w, n, f in zip(where, module.grid, self.grid, strict=True)]
        rows: Ints = np.ravel_multi_index(coarse, module.grid)
        return rows

    def provenance(self, sample: Ints, stratum: Ints, row: Ints) -> dict[str, Ints]:
        """Where rows come from, int32: the manifest's row, step, branch and position of each.

        Parameters
        ----------
        sample, stratum, row : array of int
            Numbers within this source: of its sample, its kind of chunk, and the row in its chunk.
        """
        branch, step = np.divmod(stratum, len(self.steps))
        found: dict[str, Ints] = {
            "sample": np.asarray(self.samples, np.int32)[sample],
            "step": np.asarray(self.steps, np.int32)[step],
            "branch": np.asarray(self.branch_codes, np.int32)[branch],
        }
        where = np.unravel_index(row, self.grid)
        return found | {name: one.astype(np.int32) for name, one in zip(self.axes, where, strict=True)}
