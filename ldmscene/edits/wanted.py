"""What a probe is to read: the wanted map of each sample, as it is asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import xarray as xr

from ldmscene.array_types import Array
from ldmscene.edits.shifts import Label, read_shift
from ldmscene.errors import InputError, ShapeError

_NUMBERS = "biuf"  # kinds of numpy's dtypes


class Wanted(Protocol):
    """The wanted map of any sample."""

    def map(self, sample_id: str, label: Label) -> Array:
        """(Y, X), of the own label's size."""

    def source(self, sample_id: str, label: Label) -> tuple[str, tuple[int, int]] | None:
        """The sample that looks as wanted once it is shifted by (y, x) pixels; None where there is none."""


def parse(wanted: Any, sample_ids: Sequence[str], *, binary: bool) -> Wanted:
    """How to make wanted maps.

    Parameters
    ----------
    wanted
        - "shift:DY,DX": the own map, moved by so many pixels down and to the right. What comes in is background in a
          mask; of a continuous map the edge is repeated. An object is moved less far where it would leave the frame;
          with ":cut" at the end it leaves it, as in the published experiment.
        - "jump:LOW,HIGH:SEED": moved along both axes, either way, by LOW to HIGH pixels that are drawn for each sample;
          otherwise as a shift.
        - "swap": another sample's map.
        - an array (Y, X) for all samples or (sample, Y, X) for those of `sample_ids`, or a mapping of such maps by
          sample_id; NaN leaves a pixel alone.
        - a callable from a sample's own label (Y, X) to its wanted map.
    sample_ids
        All samples that are edited.
    binary
        Whether the target is a mask, whose maps are of 0 and 1.

    Raises
    ------
    InputError
        If it is nothing of that.
    """
    if isinstance(wanted, str):
        return _named(wanted, sample_ids, binary)
    if callable(wanted):
        return Made(wanted, binary)
    if isinstance(wanted, Mapping):
        return Supplied({str(key): np.asarray(value) for key, value in wanted.items()}, binary)
    maps = np.asarray(wanted)
    if maps.ndim == 2:
        return Supplied(dict.fromkeys(sample_ids, maps), binary)
    if maps.ndim == 3 and len(maps) == len(sample_ids):
        return Supplied(dict(zip(sample_ids, maps, strict=True)), binary)
    raise ShapeError(
        f"wanted: expected a map (Y, X), or one for each of {len(sample_ids)} samples, got shape {maps.shape}"
    )


def _named(wanted: str, sample_ids: Sequence[str], binary: bool) -> Wanted:
    if (found := read_shift(wanted, binary)) is not None:
        return found
    if wanted == "swap":
        return Swap(tuple(sample_ids))
    raise InputError(
        f"wanted: expected 'shift:DY,DX', 'jump:LOW,HIGH:SEED', either with ':cut' at the end, 'swap', "
        f"'files:FOLDER', an array or a callable; got {wanted!r}"
    )


def by_sample(wanted: Any) -> Any:
    """An `xarray.DataArray` that says whose maps it holds, as a mapping of them; all else as it is, but for axes Y, X.

    A coordinate `sample` of numbers names rows, and nobody.

    Raises
    ------
    InputError
        If two maps are of one sample.
    """
    if not isinstance(wanted, xr.DataArray):
        return wanted
    if {"Y", "X"} <= set(wanted.dims):
        wanted = wanted.transpose(..., "Y", "X")
    along = {name: one for name, one in wanted.coords.items() if one.dims == wanted.dims[:1]}
    if "sample" in along and along["sample"].dtype.kind in _NUMBERS:
        del along["sample"]
    names = [name for name in ("sample_id", "sample") if name in along]
    if not names:
        return wanted
    ids = [str(sample_id) for sample_id in along[names[0]].values]
    if len(set(ids)) < len(ids):
        raise InputError("wanted: expected one map for each sample, got two of the same")
    return dict(zip(ids, np.asarray(wanted), strict=True))


def is_settled(wanted: Any) -> bool:
    """Whether what stands for it in a fingerprint says, with the own labels, which map each sample gets."""
    if isinstance(wanted, str):
        return wanted != "swap"
    return isinstance(wanted, Mapping) or not (callable(wanted) or np.ndim(wanted) == 3)


def described(wanted: Any) -> Any:
    """What stands for it in a fingerprint: words as they are, maps by their hash, a callable by its name."""
    if isinstance(wanted, str):
        return wanted
    if callable(wanted):
        return {"function": getattr(wanted, "__qualname__", type(wanted).__name__)}
    maps = wanted if isinstance(wanted, Mapping) else {"": wanted}
    digest = hashlib.sha256()
    for name, one in sorted(maps.items()):
        array = np.ascontiguousarray(one, np.float64)
        digest.update(f"{name} {array.shape}".encode() + array.tobytes())
    return {"maps": digest.hexdigest()[:16]}


@dataclass(frozen=True)
class Swap:
    """The map of the sample that stands half the list away."""

    sample_ids: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.sample_ids) < 2:
            raise InputError(f"wanted: 'swap' expects at least 2 samples, got {len(self.sample_ids)}")

    def map(self, sample_id: str, label: Label) -> Array:
        return label(self._partner(sample_id))

    def source(self, sample_id: str, label: Label) -> tuple[str, tuple[int, int]]:
        return self._partner(sample_id), (0, 0)

    def _partner(self, sample_id: str) -> str:
        n = len(self.sample_ids)
        return self.sample_ids[(self.sample_ids.index(sample_id) + n // 2) % n]


@dataclass(frozen=True)
class Supplied:
    """Maps by sample_id."""

    maps: Mapping[str, Array]
    binary: bool

    def map(self, sample_id: str, label: Label) -> Array:
        if sample_id not in self.maps:
            raise InputError(f"wanted: no map for sample {sample_id}; supply one for each sample that is edited")
        return fitting(self.maps[sample_id], label(sample_id).shape, self.binary, "wanted")

    def source(self, sample_id: str, label: Label) -> None:
        return None


@dataclass(frozen=True)
class Made:
    """Maps that a callable makes of own labels."""

    function: Callable[[Array], Array]
    binary: bool

    def map(self, sample_id: str, label: Label) -> Array:
        own = label(sample_id)
        return fitting(np.asarray(self.function(own.copy())), own.shape, self.binary, "wanted")

    def source(self, sample_id: str, label: Label) -> None:
        return None


def fitting(maps: Array, shape: tuple[int, ...], binary: bool, name: str) -> Array:
    """A caller's map as float32; what isn't of a shape, or no mask where one is expected, is refused by its name."""
    if maps.shape != shape:
        raise ShapeError(f"{name}: expected maps of the labels' size {shape}, got {maps.shape}")
    found = maps.astype(np.float32)
    known = found[~np.isnan(found)]
    if not np.isfinite(known).all():
        raise InputError(f"{name}: expected finite numbers, or NaN where nothing is said; got infinity")
    if binary and not np.isin(known, (0, 1)).all():
        raise InputError(
            f"{name}: expected a mask of 0 and 1, or NaN where nothing is said; got {known.min():g} to "
            f"{known.max():g}; compare it with a threshold, as in maps > {(known.min() + known.max()) / 2:g}"
        )
    return found
