"""Maps that were made elsewhere: arrays and files, each beside the id of its sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ldmscene.array_types import AnyArray
from ldmscene.errors import InputError
from ldmscene.labelers.protocol import as_labels

ARRAY = {"labeler": "array"}
SUFFIXES = (".npy", ".png", ".tif", ".tiff")


class SuppliedLabels:
    """Labels by sample_id, read when they are needed.

    Parameters
    ----------
    readers : mapping of str to callable
        For each sample_id, what gives its map.
    provenance : dict
        As a labeler's; `kind` where it is known.
    """

    def __init__(self, readers: Mapping[str, Callable[[], np.ndarray]], provenance: dict[str, Any]) -> None:
        self._readers = readers
        self.provenance = provenance

    @property
    def sample_ids(self) -> list[str]:
        return list(self._readers)

    def __contains__(self, sample_id: str) -> bool:
        return sample_id in self._readers

    def read(self, sample_id: str, meaning: Mapping[str, Any]) -> np.ndarray:
        """One sample's map, float32, of what its provenance and its caller say of it."""
        return as_labels(self._readers[sample_id](), meaning, f"the label of sample {sample_id} holds")


def from_arrays(data: Any) -> SuppliedLabels:
    """Labels from an `xarray.DataArray` with the coordinate `sample` or `sample_id`, or from a mapping.

    Raises
    ------
    InputError
        If nothing says which sample an array belongs to.
    """
    if isinstance(data, Mapping):
        return _by_id(data, {str(k): partial(np.asanyarray, v) for k, v in data.items()}, ARRAY)
    names = [name for name in ("sample_id", "sample") if name in getattr(data, "coords", ())]
    if not names or data.coords[names[0]].dims != data.dims[:1]:
        raise InputError(
            "labels: expected an xarray.DataArray whose first axis has the coordinate `sample` or `sample_id`, or a "
            f"mapping from sample_id to array; got {type(data).__name__}, which doesn't say whose labels they are"
        )
    if data.dims[1:] in (("X", "Y"), ("x", "y")):
        raise InputError(f"labels: expected axes sample, Y, X, got {', '.join(data.dims)}; transpose them")
    ids = [str(i) for i in data.coords[names[0]].values]
    return _by_id(ids, {i: partial(np.asanyarray, data[row]) for row, i in enumerate(ids)}, ARRAY)


def from_files(
    source: str | Path | Mapping[str, str | Path],
    kind: str = "continuous",
    threshold: float | None = None,
    void: float | None = None,
) -> SuppliedLabels:
    """Labels from .npy, .png and .tif files, named by sample_id in a folder or listed in a mapping.

    Parameters
    ----------
    kind : {"continuous", "binary", "classes"}
        What the files' numbers mean.
    threshold : float, optional
        Of binary labels: pixels above it are foreground. Default half of the range: of 0 to 1, or to 255 or 65535
        for images of 8 or 16 bits that hold more than 0 and 1.
    void : float, optional
        The number that marks a pixel without label, such as 255 in the palettes of Pascal VOC and Cityscapes.

    Raises
    ------
    InputError
        If there is no such folder or file, none of its files can be labels, or two are of one sample.
    """
    if not source:
        raise InputError("labels: name a folder, as in files:FOLDER")
    paths = _listed(source) if isinstance(source, Mapping) else _found(Path(source))
    said: dict[str, Any] = {"labeler": "files", "kind": kind}
    said |= {} if threshold is None else {"threshold": float(threshold)}
    said |= {} if void is None else {"void": float(void)}
    return _by_id(paths, {i: partial(_read, path) for i, path in paths.items()}, said)


def load_files(folder: str, device: str | None = None) -> SuppliedLabels:
    return from_files(folder)


def load_masks(folder: str, device: str | None = None) -> SuppliedLabels:
    return from_files(folder, "binary")


def load_classes(folder: str, device: str | None = None) -> SuppliedLabels:
    return from_files(folder, "classes")


def _by_id(ids: Any, readers: dict[str, Callable[[], np.ndarray]], said: dict[str, Any]) -> SuppliedLabels:
    if not readers:
        raise InputError("labels: there are none; expected at least one sample's")
    if len(readers) < len(ids):
        raise InputError("labels: two of them are of the same sample")
    return SuppliedLabels(readers, said)


def _listed(source: Mapping[str, str | Path]) -> dict[str, Path]:
    paths = {str(i): Path(path) for i, path in source.items()}
    for sample_id, path in paths.items():
        if not path.is_file() or path.suffix.lower() not in SUFFIXES:
            raise InputError(f"labels: sample {sample_id}: no {', '.join(SUFFIXES)} file at {path}")
    return paths


def _found(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(f"labels: no folder at {folder}")
    paths: dict[str, Path] = {}
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES):
        if path.stem in paths:
            raise InputError(f"labels: {paths[path.stem].name} and {path.name} are of the same sample")
        paths[path.stem] = path
    if not paths:
        raise InputError(f"labels: no file in {folder} ends in {', '.join(SUFFIXES)}")
    return paths


def _read(path: Path) -> np.ndarray:
    try:
        if path.suffix.lower() == ".npy":
            maps: AnyArray = np.load(path, allow_pickle=False)
            return maps
        with Image.open(path) as image:
            if len(image.getbands()) > 1 or getattr(image, "n_frames", 1) > 1:
                frames = getattr(image, "n_frames", 1)
                raise ValueError(f"it holds {frames} × {image.mode}; expected one picture of one number a pixel")
            return np.asarray(ImageOps.exif_transpose(image))
    except (OSError, ValueError, EOFError, UnidentifiedImageError) as error:
        raise InputError(f"labels: {path} can't be read: {str(error).splitlines()[0]}") from error
