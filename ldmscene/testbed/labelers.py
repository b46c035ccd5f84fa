"""`tiny-depth`, `tiny-mask`, `tiny-shading`: MiDaS's, TRACER's and Intrinsic's parts, played by one small net."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ldmscene.errors import ShapeError
from ldmscene.testbed.nets import SIDES, MapNet, load, pixels
from ldmscene.testbed.precision import in_float32

WEIGHTS = Path(__file__).parent / "weights"
NET = WEIGHTS / "labelers.safetensors"
BATCH = 64  # images at a time
TARGETS = ("depth", "mask", "shading")
_MEANING: dict[str, dict[str, Any]] = {
    "depth": {
        "kind": "continuous",
        "range": "inverse planar depth with mean 0 and deviation 1 in each picture",
        "metric": "spearman",
    },
    "mask": {"kind": "binary", "range": "0 to 1, probability of foreground", "threshold": 0.5, "metric": "dice"},
    "shading": {
        "kind": "continuous",
        "range": "0 to 1, illumination without albedo, NaN in the sky",
        "metric": "pearson",
    },
}


@cache
def load_net() -> MapNet:
    """The net that all three share, ready to read pictures."""
    return load(NET)


class TinyLabeler:
    """A labeler for pictures of the testbed's world.

    Parameters
    ----------
    target : {"depth", "mask", "shading"}
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.id = f"tiny-{target}"

    @property
    def provenance(self) -> dict[str, Any]:
        """What the labels depend on and mean."""
        weights = hashlib.sha256(NET.read_bytes()).hexdigest()[:16]
        return {"labeler": self.id, "weights": weights, **_MEANING[self.target]}

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """uint8 (n, Y, X, 3), sides multiples of 32, to float32 (n, Y, X).

        Raises
        ------
        ShapeError
            If a side isn't a multiple of 32.
        """
        if images.shape[1] % SIDES or images.shape[2] % SIDES:
            raise ShapeError(
                f"{self.id} expects images with sides that are multiples of {SIDES}, got {images.shape[1:3]}"
            )
        return {self.target: label_maps(load_net(), images)[self.target]}


@in_float32
def label_maps(net: MapNet, images: np.ndarray) -> dict[str, np.ndarray]:
    """What a net like the labelers' sees in uint8 pictures [n, y, x, 3]: float32 [n, y, x] for each target."""
    maps = torch.cat([net(pixels(images[i : i + BATCH])) for i in range(0, len(images), BATCH)]).float()
    depth, mask, shading, valid = maps.unbind(1)
    return {
        "depth": relative(depth.numpy()),
        "mask": mask.sigmoid().numpy(),
        "shading": torch.where(valid > 0, shading, torch.nan).numpy(),
    }


def relative(depth: np.ndarray) -> np.ndarray:
    """Inverse depths [n, y, x] with mean 0 and deviation 1 in each picture, which can't tell how far its room is."""
    mean, std = depth.mean((1, 2), keepdims=True), depth.std((1, 2), keepdims=True)
    scaled: np.ndarray = (depth - mean) / np.maximum(std, 1e-6)
    return scaled


def load_depth(argument: str = "", device: str | None = None) -> TinyLabeler:
    return TinyLabeler("depth")


def load_mask(argument: str = "", device: str | None = None) -> TinyLabeler:
    return TinyLabeler("mask")


def load_shading(argument: str = "", device: str | None = None) -> TinyLabeler:
    return TinyLabeler("shading")
