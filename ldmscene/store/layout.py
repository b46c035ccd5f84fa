"""Where things lie in a store."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ldmscene.store.places import Place
from ldmscene.store.shards import ShardLayout

FORMAT = 2
BRANCHES = ("uncond", "cond")
ZARR, MANIFEST, LEDGER, PROBES = "activations.zarr", "manifest.parquet", "ledger", "probes"
TERMS = "statistics/terms.json"  # of a store that keeps statistics instead of activations: which targets and folds
IMAGE, LATENTS = "image", "latents"
PREVIEWS = {"noisy": "previews/noisy", "predicted": "previews/predicted"}


def activation_path(module: str) -> str:
    return f"activations/{module}/activation"


def label_path(target: str) -> str:
    return f"labels/{target}"


def prediction_path(target: str) -> str:
    """Where a classifier's probabilities for the final pictures lie."""
    return f"predictions/{target}"


def intermediate_path(source: str, target: str) -> str:
    """Where a labeler's reading of the unfinished pictures lies; `source` is `noisy` or `predicted`."""
    return f"intermediate/{source}/{target}"


@dataclass(frozen=True)
class ArraySpec:
    """One array of the hierarchy, as seen by one sample.

    Attributes
    ----------
    path : str
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

    path: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    cut: int = 0
    attributes: dict = field(default_factory=dict)
    compressed: bool = False
    kept_bits: int | None = None

    @property
    def layout(self) -> ShardLayout:
        chunk = (1,) * self.cut + self.shape[self.cut :]
        return ShardLayout(self.shape, chunk, np.dtype(self.dtype).newbyteorder("<"), self.compressed)


def shard_place(root: Place, path: str, index: int, axes: int) -> Place:
    """The file of one sample's shard; `axes` counts those behind `sample`."""
    return root / ZARR / path / shard_name(index, axes)


def shard_name(index: int, axes: int) -> str:
    return f"c.{index}" + ".0" * axes
