"""What a store holds, without what is in it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ldmscene.errors import StoreError, unknown
from ldmscene.selection import choose_one
from ldmscene.store import layout, metadata
from ldmscene.store.finished import Finished
from ldmscene.store.history import Versions, listing
from ldmscene.store.layout import Key
from ldmscene.store.ledger import Ledger
from ldmscene.store.locations import Location, location
from ldmscene.store.places import Place
from ldmscene.store.reader import ShardArray


class Inventory:
    """A store's samples, modules, steps, targets and arrays, and which of them are complete.

    The attributes are those of `ActivationStore`, which reads.
    """

    def __init__(self, root: str | Place | Location) -> None:
        self.location = location(root)
        self.root = self.location.root
        self._listed: Versions = {}
        self.refresh()

    def refresh(self) -> None:
        """Look again at what there is and what is complete; one listing where nothing has changed.

        Raises
        ------
        StoreError
            If the store is gone. This object is then as it was.

        Examples
        --------
        >>> import ldmscene
        >>> store = ldmscene.open("stores/demo")
        >>> store.refresh()
        """
        listed = listing(self.location)
        if listed and listed == self._listed:
            return
        now = metadata.read_store(self.location, there=True, listed=listed)
        if now is None:
            raise StoreError(f"no store at {self.root}; make one with `ldmscene extract`")
        arrays = {path: ShardArray.of(self.location, spec) for path, spec in now.contents.arrays.items()}
        rows = Ledger(self.location).tables()  # of samples and arrays that aren't here, `verify` tells
        finished = Finished.of(rows, now.contents.manifest.table["sample_id"], list(arrays))
        # Nothing fails from here on, so that other threads never see half of it for long.
        self._listed = listed
        self.attributes = now.contents.attributes
        self.fingerprint: str = self.attributes["fingerprint"]
        self.config: dict[str, Any] = self.attributes["config"]
        self.model: str = self.attributes["model"]
        self.compression: str = self.attributes["compression"]
        self.manifest = now.contents.manifest
        self.timesteps: list[float] = list(now.contents.timesteps)
        self.terms: dict[str, Any] | None = now.contents.terms
        self.canary = now.contents.canary
        self._arrays, self._finished = arrays, finished
        self._sets: dict[tuple[bool, str], set[str]] = {}
        self._rows: dict[str, int] = {}
        self._table: pd.DataFrame | None = None

    @property
    def ledger(self) -> pd.DataFrame:
        """One row for each array of a sample, oldest first."""
        return self._finished.frame

    @property
    def _index(self) -> dict[str, int]:
        """The row of each sample."""
        if not self._rows:
            self._rows = dict(zip(self._finished.names.tolist(), range(len(self.manifest)), strict=True))
        return self._rows

    @property
    def _frame(self) -> pd.DataFrame:
        """The manifest's table, made once; nobody changes it."""
        if self._table is None:
            self._table = self.manifest.frame
        return self._table

    @property
    def samples(self) -> pd.DataFrame:
        """The manifest, and whether each sample is `complete` in all modules: stored, or `dropped` for statistics.

        Where no modules are stored, a sample is complete once its picture is.
        """
        paths = self._activation_paths() or [layout.IMAGE]
        whole = np.all([self.finished_rows(path) for path in paths], 0)
        dropped = np.all([self._finished.dropped(path) for path in paths], 0)
        return self.manifest.frame.assign(complete=whole, dropped=dropped)

    @property
    def modules(self) -> list[str]:
        """Module names, in the denoiser's order."""
        stored = {path.module for path in self._arrays}
        return [m for m in self.attributes["modules"] if m in stored]

    @property
    def steps(self) -> list[int]:
        """Indices of the denoiser's calls."""
        latents = self._arrays.get(layout.LATENTS)
        return list(range(latents.layout.shape[0])) if latents else []

    def steps_of(self, module: str) -> list[int]:
        """The steps at which a module runs: all, or of other parts than the denoiser perhaps one.

        A text encoder runs once, before the first step, and belongs to that. The autoencoder's decoder runs once, after
        the last step, and belongs to that; at every step in stores with previews of all samples.

        Parameters
        ----------
        module : str
            Its name, or what no other name begins with.

        Raises
        ------
        UnknownNameError
            If there is no such module.

        Examples
        --------
        >>> import ldmscene
        >>> store = ldmscene.open("stores/demo")
        >>> store.steps_of("mid_block")
        [0, 1, 2, 3]
        """
        name = choose_one("module in this store", module, self.modules)
        return self._steps_in(self.info(layout.activation_path(name)))

    def _steps_in(self, array: ShardArray) -> list[int]:
        return self.steps if "step" in array.dims else [array.attributes["step"]]

    @property
    def targets(self) -> list[str]:
        """Targets that have labels, by name."""
        return self._targets_of("labels")

    def _targets_of(self, kind: str, source: str = "") -> list[str]:
        """Targets that have an array of a kind, of a kind of unfinished pictures where they are read."""
        return sorted(path.target for path in self.complete_paths if (path.kind, path.source) == (kind, source))

    def info(self, path: str) -> ShardArray:
        """Layout and attributes of one array, by its path in the hierarchy.

        Parameters
        ----------
        path : str
            Of an array, such as "image" or "labels/depth"; `paths` has them all.

        Raises
        ------
        UnknownNameError
            If there is none.

        Examples
        --------
        >>> import ldmscene
        >>> store = ldmscene.open("stores/demo")
        >>> store.info("labels/depth").attributes["kind"]
        'continuous'
        """
        if path not in self._arrays:
            raise unknown(f"array in {self.root}", path, self._arrays)
        return self._arrays[Key(path)]

    @property
    def paths(self) -> list[Key]:
        """Every array, complete or not."""
        return list(self._arrays)

    @property
    def complete_paths(self) -> list[Key]:
        """Arrays of which at least one sample is complete."""
        return sorted(path for path in self._arrays if self._finished.stored(path).any())

    @property
    def contents(self) -> pd.DataFrame:
        """One row for each array: how many samples are complete, their bytes on disk, and the shape of one."""
        frame = self._finished.totals
        shapes = {path: " × ".join(map(str, self.info(path).layout.shape)) for path in frame.index}
        return frame.assign(shape=pd.Series(shapes, dtype=object)).rename_axis("array").reset_index()

    def complete(self, path: str) -> set[str]:
        """The sample_ids for which an array is complete.

        Parameters
        ----------
        path : str
            Of an array, such as "image" or "labels/depth"; `paths` has them all.

        Examples
        --------
        >>> import ldmscene
        >>> store = ldmscene.open("stores/demo")
        >>> len(store.complete("image"))
        20
        """
        return self._set(path, stored=True)

    def dropped(self, path: str) -> set[str]:
        """The sample_ids for which an array was dropped, once its statistics were stored.

        Parameters
        ----------
        path : str
            Of an array, such as "image" or "labels/depth"; `paths` has them all.

        Examples
        --------
        >>> import ldmscene
        >>> store = ldmscene.open("stores/demo")
        >>> store.dropped("image")
        set()
        """
        return self._set(path, stored=False)

    def _set(self, path: str, *, stored: bool) -> set[str]:
        if (stored, path) not in self._sets:
            which = self._finished.stored(path) if stored else self._finished.dropped(path)
            self._sets[stored, path] = set(self._finished.names[which].tolist())
        return self._sets[stored, path]

    def finished(self, path: str) -> set[str]:
        """The sample_ids for which nothing is left to do: complete or dropped.

        Parameters
        ----------
        path : str
            Of an array, such as "image" or "labels/depth"; `paths` has them all.

        Examples
        --------
        >>> import ldmscene
        >>> store = ldmscene.open("stores/demo")
        >>> store.finished("image") == store.complete("image")
        True
        """
        return self.complete(path) | self.dropped(path)

    def finished_rows(self, path: str) -> NDArray[np.bool_]:
        """For each row of the manifest, whether an array is complete or dropped.

        Parameters
        ----------
        path : str
            Of an array, such as "image" or "labels/depth"; `paths` has them all.

        Examples
        --------
        >>> import ldmscene
        >>> store = ldmscene.open("stores/demo")
        >>> int(store.finished_rows("image").sum())
        20
        """
        return np.logical_or(self._finished.stored(path), self._finished.dropped(path))

    def checksums(self, path: str) -> dict[str, int]:
        """The crc32 of an array's bytes, for each sample that is complete or dropped.

        Parameters
        ----------
        path : str
            Of an array, such as "image" or "labels/depth"; `paths` has them all.

        Examples
        --------
        >>> import ldmscene
        >>> store = ldmscene.open("stores/demo")
        >>> set(store.checksums("image")) == store.complete("image")
        True
        """
        return self._finished.checksums(path)

    def rows(self, sample_ids: Iterable[str]) -> list[int]:
        """Rows of the manifest, which are also those of every array.

        Parameters
        ----------
        sample_ids : iterable of str

        Examples
        --------
        >>> import ldmscene
        >>> store = ldmscene.open("stores/demo")
        >>> store.rows(store.manifest.frame["sample_id"][2:4])
        [2, 3]
        """
        try:
            return [self._index[s] for s in sample_ids]
        except KeyError as error:
            raise unknown("sample in this store", str(error.args[0]), self._index) from None

    def _activation_paths(self) -> list[str]:
        return [layout.activation_path(m) for m in self.modules]
