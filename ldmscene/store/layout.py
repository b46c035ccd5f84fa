"""Where things lie in a store: the closed list of its arrays and documents."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, get_args

import numpy as np

from ldmscene.choices import UnfinishedPictures
from ldmscene.errors import InputError
from ldmscene.store.shards import ShardLayout

FORMAT, READABLE = 3, (2, 3)  # what is written, and what is read
BRANCHES = ("uncond", "cond")
ZARR, MANIFEST, LEDGER, PROBES = "activations.zarr", "manifest.parquet", "ledger", "probes"
PARTS = "manifest"  # the folder of rows that were added to the manifest
TERMS = "statistics/terms.json"  # of a store that keeps statistics instead of activations: which targets and folds
CANARY = "canary.json"  # what the model answered to a fixed input when the store was begun
CONTROLS = "edit/controls.json"  # of an edited store: the names of its controls, each a store in controls/<name>
ROOT = f"{ZARR}/zarr.json"
SOURCES: tuple[UnfinishedPictures, ...] = get_args(UnfinishedPictures)

_MODULE = r"(?P<module>[A-Za-z0-9_][A-Za-z0-9_.=+-]{0,199})"
_TARGET = r"(?P<target>[A-Za-z0-9][A-Za-z0-9._-]{0,199})"
_SOURCE = rf"(?P<source>{'|'.join(SOURCES)})"
_KINDS = {
    "activations": rf"activations/{_MODULE}/activation",
    "image": r"image",
    "latents": r"latents",
    "previews": rf"previews/{_SOURCE}",
    "labels": rf"labels/{_TARGET}",
    "predictions": rf"predictions/{_TARGET}",
    "intermediate": rf"intermediate/{_SOURCE}/{_TARGET}",
    "edit": r"edit/(?:size|reading)",
    "wanted": rf"wanted/{_TARGET}",
}
_ARRAYS = re.compile("|".join(f"(?P<{kind}>{re.sub('<', f'<{kind}_', path)})" for kind, path in _KINDS.items()))
_GROUPS = re.compile(rf"activations(?:/{_MODULE})?|previews|labels|predictions|intermediate(?:/{_SOURCE})?|edit|wanted")
PART = re.compile(rf"{PARTS}/([0-9]{{9}})\.parquet")  # called by the number of its first row
_COORDINATES = re.compile(r"(?:sample|step|timestep|branch)/(?:zarr\.json|c/[0-9]{1,6})")


class Key(str):
    """The path of an array inside `activations.zarr`, one of a closed list of shapes, as a value that knows its parts.

    It is a str, so that it can be looked up, sorted and written as one.

    Parameters
    ----------
    path : str
        `image`, `latents`, `activations/<module>/activation`, `previews/<source>`, `labels/<target>`,
        `predictions/<target>`, `intermediate/<source>/<target>`, or of an edited store `edit/size`, `edit/reading` and
        `wanted/<target>`.

    Raises
    ------
    InputError
        If it is anything else.

    Examples
    --------
    >>> from ldmscene.store.layout import Key
    >>> key = Key("labels/depth")
    >>> key.kind, key.target
    ('labels', 'depth')
    >>> Key("activations/mid_block/activation").folders
    ['activations', 'activations/mid_block']
    """

    __slots__ = ()

    def __new__(cls, path: str) -> Key:
        if not is_key(path):
            raise InputError(f"expected the path of an array, such as image or labels/depth; got {path[:200]!r}")
        return super().__new__(cls, path)

    @property
    def kind(self) -> str:
        """What is in the array: `image`, `latents`, `activations`, `previews`, `labels` …; the path's first part."""
        return self.partition("/")[0]

    @property
    def module(self) -> str:
        """The module of activations; "" of other arrays."""
        return _parts(self).get("module", "")

    @property
    def target(self) -> str:
        """The target of labels and of what else labelers give; "" of other arrays."""
        return _parts(self).get("target", "")

    @property
    def folders(self) -> list[str]:
        """The groups that the array lies in, outermost first."""
        parts = self.split("/")
        return ["/".join(parts[:n]) for n in range(1, len(parts))]

    @property
    def name(self) -> str:
        """The array's own name, in its group."""
        return self.split("/")[-1]

    @property
    def source(self) -> str:
        """Which unfinished pictures: `noisy` or `predicted`; "" of other arrays."""
        return _parts(self).get("source", "")


def is_key(path: str) -> bool:
    """Whether an array may be called so."""
    return _ARRAYS.fullmatch(path) is not None


def is_target(name: str) -> bool:
    """Whether a target may be called so."""
    return is_key(f"labels/{name}")


@lru_cache(maxsize=4096)
def _parts(key: str) -> dict[str, str]:
    found = _ARRAYS.fullmatch(key)
    named = found.groupdict() if found else {}
    return {name.partition("_")[2]: part for name, part in named.items() if "_" in name and part is not None}


def is_document(path: str) -> bool:
    """Whether a store may hold a document (metadata or the manifest) called so."""
    if path in (MANIFEST, CANARY, TERMS, CONTROLS, ROOT) or PART.fullmatch(path):
        return True
    folder, slash, inside = path.partition("/")
    if folder != ZARR or not slash:
        return False
    node = inside.removesuffix("/zarr.json")
    named = node != inside and (is_key(node) or _GROUPS.fullmatch(node) is not None)
    return named or _COORDINATES.fullmatch(inside) is not None


IMAGE, LATENTS = Key("image"), Key("latents")
PREVIEWS: Mapping[str, Key] = {source: Key(f"previews/{source}") for source in SOURCES}


def activation_path(module: str) -> Key:
    return Key(f"activations/{module}/activation")


def label_path(target: str) -> Key:
    return Key(f"labels/{target}")


def prediction_path(target: str) -> Key:
    """Where a classifier's probabilities for the final pictures lie."""
    return Key(f"predictions/{target}")


def intermediate_path(source: str, target: str) -> Key:
    """Where a labeler's reading of the unfinished pictures lies; `source` is `noisy` or `predicted`."""
    return Key(f"intermediate/{source}/{target}")


@dataclass(frozen=True)
class ArraySpec:
    """One array of the hierarchy, as seen by one sample.

    Attributes
    ----------
    path : Key
        Inside `activations.zarr`.
    dims, shape : tuple
        Names and lengths of the axes behind `sample`.
    dtype : str
    cut : int
        How many leading axes are cut into chunks of length 1.
    attributes : dict
        What the numbers are: ids, ranges, units.
    compressed : bool
        Whether chunks are compressed, without loss.
    kept_bits : int, optional
        Bits of the mantissa that are kept when a sample is written; all where not given.
    """

    path: Key
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    cut: int = 0
    attributes: dict[str, Any] = field(default_factory=dict[str, Any])
    compressed: bool = False
    kept_bits: int | None = None

    @property
    def layout(self) -> ShardLayout:
        chunk = (1,) * self.cut + self.shape[self.cut :]
        return ShardLayout(self.shape, chunk, np.dtype(self.dtype).newbyteorder("<"), self.compressed)


def shard_key(path: Key, index: int, axes: int) -> str:
    """The key of one sample's shard in a store; `axes` counts those behind `sample`."""
    return f"{ZARR}/{path}/c.{index}" + ".0" * axes
