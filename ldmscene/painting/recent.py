"""Readouts that were made lately, as many as fit into memory that was set aside for them."""

from __future__ import annotations

import xarray as xr

from ldmscene.edits import Readout
from ldmscene.intervention.readouts import Readouts
from ldmscene.store import ActivationStore

_COPIES = 5  # a covariance in float32, and its spectrum and root in float64


class Recent:
    """The readouts that were asked for last, by target, module and step.

    Parameters
    ----------
    most : int
        Bytes that all of them take; one that is larger is held alone.
    """

    def __init__(self, most: int) -> None:
        self._most, self._bytes = most, 0
        self._held: dict[tuple[str, str, int], Readout] = {}

    def find(self, key: tuple[str, str, int]) -> Readout | None:
        """The readout of a key, which counts as asked for just now."""
        if key not in self._held:
            return None
        found = self._held[key] = self._held.pop(key)
        return found

    def hold(self, key: tuple[str, str, int], readout: Readout) -> None:
        """Add one, and let go of those that were asked for longest ago."""
        self._held[key] = readout
        self._bytes += _size(readout)
        while self._bytes > self._most and len(self._held) > 1:
            self._bytes -= _size(self._held.pop(next(iter(self._held))))


class Cached(Readouts):
    """Readouts of one target, of which the recent ones aren't made again."""

    def __init__(self, store: ActivationStore, grid: xr.Dataset, target: str, recent: Recent) -> None:
        super().__init__(store, grid, target)
        self._key, self._recent = target, recent

    def at(self, module: str, step: int) -> Readout:
        key = self._key, module, step
        found = self._recent.find(key)
        if found is None:
            found = super().at(module, step)
            self._recent.hold(key, found)
        return found


def _size(readout: Readout) -> int:
    return _COPIES * readout.covariance.nbytes
