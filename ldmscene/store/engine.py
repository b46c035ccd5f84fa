"""Stores for xarray: `xr.open_datatree(location, engine="ldmscene")`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray, BackendEntrypoint
from xarray.core import indexing

from ldmscene.errors import unknown
from ldmscene.manifest import COLUMNS
from ldmscene.store.layout import Key
from ldmscene.store.reader import Selection
from ldmscene.store.store import ActivationStore


class StoreBackend(BackendEntrypoint):
    """Opens a store as a tree: a group for each array, with its complete samples only.

    A group is called as the array's key, such as `/labels/depth` or `/image`; of activations as their module,
    `/activations/<module>`. It holds one variable, named by the key's last part, and the coordinates `sample`,
    `sample_id`, `prompt_id`, `prompt`, `seed`, `split`, and where it has these axes `step`, `timestep` and `branch`.
    Numbers are read when they are asked for, and checked against their checksums; float16 stays float16. Arrays without
    a complete sample are left out.

    Examples
    --------
    >>> import xarray as xr
    >>> tree = xr.open_datatree("stores/demo", engine="ldmscene")
    >>> tree["labels/depth/depth"].dims
    ('sample', 'Y', 'X')
    """

    description = "Open stores of ldmscene"

    def open_datatree(self, filename_or_obj: Any, *, drop_variables: str | Iterable[str] | None = None) -> xr.DataTree:
        """The whole store.

        Parameters
        ----------
        filename_or_obj : str or pathlib.Path
            A folder, `file://…` or `s3://bucket/prefix`.
        drop_variables : str or iterable of str, optional
            Variables that are left out.

        Raises
        ------
        StoreError
            If there is no store.
        """
        return xr.DataTree.from_dict(self.open_groups_as_dict(filename_or_obj, drop_variables=drop_variables))

    def open_groups_as_dict(
        self, filename_or_obj: Any, *, drop_variables: str | Iterable[str] | None = None
    ) -> dict[str, xr.Dataset]:
        """Each group by its path; the root has attributes alone."""
        store = ActivationStore(filename_or_obj)
        return {name: _group(store, key, drop_variables) for name, key in _groups(store).items()}

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        group: str = "/",
    ) -> xr.Dataset:
        """One group.

        Raises
        ------
        UnknownNameError
            If no such group has a complete sample.
        """
        store = ActivationStore(filename_or_obj)
        name, groups = f"/{group.strip('/')}", _groups(store)
        if name not in groups:
            raise unknown(f"group in {filename_or_obj}", name, groups)
        return _group(store, groups[name], drop_variables)


def group_of(key: Key) -> str:
    """Where an array stands in the tree."""
    return key.folders[-1] if key.kind == "activations" else str(key)


def _groups(store: ActivationStore) -> dict[str, Key | None]:
    """The array of each group, by the group's path; the root has none."""
    return {"/": None, **{f"/{group_of(key)}": key for key in store.complete_paths}}


def _group(store: ActivationStore, key: Key | None, drop_variables: str | Iterable[str] | None) -> xr.Dataset:
    if key is None:
        return xr.Dataset(attrs={"fingerprint": store.fingerprint, "model": store.model})
    dropped = [drop_variables] if isinstance(drop_variables, str) else list(drop_variables or ())
    return _dataset(store, key).drop_vars(dropped, errors="ignore")


def _dataset(store: ActivationStore, key: Key) -> xr.Dataset:
    array, frame = store.info(key), store.manifest.frame
    frame = frame[frame["sample_id"].isin(store.complete(key))]
    lazy = indexing.LazilyIndexedArray(_Lazy(Selection(array, tuple(frame.index), {}, array.layout.dtype)))
    variable = xr.Variable(("sample", *array.dims), lazy, dict(array.attributes))
    variable.encoding["preferred_chunks"] = dict(zip(variable.dims, (1, *array.layout.chunk), strict=True))
    coords: dict[str, Any] = {name: ("sample", frame[name].to_numpy()) for name in COLUMNS}
    coords["sample"] = coords["sample_id"]
    if "step" in array.dims:
        coords |= {"step": store.steps, "timestep": ("step", store.timesteps)}
    elif key.kind == "activations":
        coords |= {"step": array.attributes["step"], "timestep": store.timesteps[array.attributes["step"]]}
    if "branch" in array.dims:
        coords["branch"] = list(store.config["branches"])
    return xr.Dataset({key.name: variable}, coords)


class _Lazy(BackendArray):
    """A selection, sliced by what xarray asks for."""

    def __init__(self, selection: Selection) -> None:
        self.selection, self.shape, self.dtype = selection, selection.shape, selection.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> np.ndarray:
        found: np.ndarray = indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, self.selection.__getitem__
        )
        return found
