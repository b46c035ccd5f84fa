"""Constants by which rows are normalised, exact over all training rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any, Protocol, get_args

import numpy as np

from ldmscene.array_types import Array
from ldmscene.choices import Normalisation
from ldmscene.errors import CorruptError, InputError, unknown
from ldmscene.halves import widen
from ldmscene.progress import bar
from ldmscene.rows.source import Module, Source
from ldmscene.rows.windows import THREADS

Sums = Mapping[str, Array]
KIND = "rows"
WAYS = get_args(Normalisation)


class Cache(Protocol):
    """Where sums lie, under all that they depend on."""

    def has(self, kind: str, key: object) -> bool: ...

    def read(self, kind: str, key: object) -> dict[str, Array]: ...

    def write(self, kind: str, key: object, arrays: Mapping[str, Array]) -> None: ...


@dataclass(frozen=True)
class Constants:
    """Of all training rows of a module, at the steps and branches of a dataset; float64.

    Attributes
    ----------
    count : int
        How many rows there are.
    mean, square : array [channel]
        The mean of each channel and of its square.
    norm : float
        The mean length of a row.
    """

    count: int
    mean: Array
    square: Array
    norm: float

    @cached_property
    def deviation(self) -> Array:
        """[channel] the standard deviation of each channel."""
        return np.sqrt(np.maximum(self.square - self.mean**2, 0))

    def affine(self, way: str) -> tuple[Array, Array]:
        """What is subtracted from a row, and by what it is multiplied then, each [channel]."""
        if way == "norm":
            return np.zeros_like(self.mean), np.full_like(self.mean, np.sqrt(len(self.mean)) / (self.norm or 1))
        return self.mean, 1 / np.where(self.deviation > 0, self.deviation, 1)


@dataclass(frozen=True)
class Training:
    """The training samples of a source, and where their sums are."""

    source: Source
    versions: Mapping[str, Sequence[int]]
    """module -> checksum of each sample's array"""
    cache: Callable[[], Cache]

    def constants(self) -> dict[str, Constants]:
        """Of each module. One pass over the rows whose sums aren't in the cache yet, none where all are."""
        cache = self.cache()
        return {module.name: _constants(self._sums(module, cache)) for module in self.source.modules}

    def _sums(self, module: Module, cache: Cache) -> list[dict[str, Array]]:
        """For each branch and step."""
        places = [(branch, step) for branch in self.source.branches for step in self.source.steps]
        keys = {place: self._key(module, *place) for place in places}
        for branch in self.source.branches:
            missing = [s for s in self.source.steps if not cache.has(KIND, keys[branch, s])]
            if missing:
                for step, sums in zip(missing, _pass(module, self.source.samples, missing, branch), strict=True):
                    cache.write(KIND, keys[branch, step], sums)
        return [_checked(cache.read(KIND, keys[place]), module) for place in places]

    def _key(self, module: Module, branch: int, step: int) -> dict[str, Any]:
        return {"module": module.name, "branch": branch, "step": step, "bytes": list(self.versions[module.name])}


def check_way(normalize: str | None) -> None:
    """InputError if there is no such way to normalise."""
    if normalize is not None and normalize not in WAYS:
        raise unknown("way to normalise", normalize, WAYS)


def _checked(sums: Sums, module: Module) -> dict[str, Array]:
    """CorruptError unless a file that somebody left under this name holds sums of the module's rows."""
    wanted = {"count": (), "total": (module.channels,), "square": (module.channels,), "norm": ()}
    if {name: array.shape for name, array in sums.items()} != wanted or not sums["count"] > 0:
        raise CorruptError(
            f"the cached constants of {module.name} aren't sums of its rows; delete the store's folder "
            f"statistics/{KIND} and run the same command again"
        )
    return dict(sums)


def _constants(parts: Sequence[Sums]) -> Constants:
    whole = reduce(_added, parts)
    count = int(whole["count"])
    if not np.isfinite(whole["norm"]):
        raise InputError("normalize: a training sample holds NaN or infinity; leave its step or branch out")
    return Constants(count, whole["total"] / count, whole["square"] / count, float(whole["norm"]) / count)


def _pass(module: Module, samples: Sequence[int], steps: Sequence[int], branch: int) -> list[Sums]:
    """Sums over all samples, for each step; added in the samples' order, whichever is read first."""

    def sums(sample: int) -> list[Sums]:
        return [sums_of(x) for x in module.read(sample, steps, branch, module.empty(len(steps)))]

    whole: list[Sums] = []
    with (
        bar(f"summing {module.name}", len(samples)) as advance,
        ThreadPoolExecutor(THREADS, thread_name_prefix="ldmscene-sums") as pool,
    ):
        for parts in pool.map(sums, samples):
            whole = [_added(*pair) for pair in zip(whole, parts, strict=True)] if whole else [*parts]
            advance(1, len(steps) * module.chunk_bytes)
    return whole


def _added(one: Sums, other: Sums) -> Sums:
    return {name: one[name] + other[name] for name in one}


def sums_of(x: Array) -> dict[str, Array]:
    """Of rows [row, channel] in float64: their count, their sum, that of their squares, and that of their lengths."""
    wide = widen(x, np.dtype(np.float32)).astype(np.float64)
    squares = wide**2
    return {
        "count": np.array(len(x)),
        "total": wide.sum(0),
        "square": squares.sum(0),
        "norm": np.sqrt(squares.sum(1)).sum(),
    }
