"""`tiny-depth`, `tiny-mask`, `tiny-shading`: MiDaS's, TRACER's and Intrinsic's parts, played by one small net."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from ldmscene.errors import ShapeError
from ldmscene.testbed.nets import MapNet

WEIGHTS = Path(__file__).parent / "weights"
NET = WEIGHTS / "labelers.safetensors"
BATCH = 64  # images at a time
DEPTH_SCALE = 5.0  # the net gives inverse depths in units of the order of one
TARGETS = ("depth", "mask", "shading")
_MEANING: dict[str, dict[str, Any]] = {
    "depth": {
        "kind": "continuous",
        "range": "0 to 1, inverse planar depth in 1 / scene units, 0 in the sky",
        "metric": "spearman",
    },
    "mask": {"kind": "binary", "range": "0 to 1, probability of foreground", "threshold": 0.5, "metric": "dice"},
    "shading": {
        "kind": "continuous",
        "range": "0.35 to 1, illumination without albedo, NaN in the sky",
        "metric": "pearson",
    },
}


@cache
def load_net() -> MapNet:
    """The net that all three share, ready to read pictures."""
    net = MapNet()
    net.load_state_dict({k: v.float() for k, v in load_file(NET).items()})
    return net.eval()


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

    @torch.no_grad()
    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """uint8 (n, Y, X, 3), sides multiples of 8, to float32 (n, Y, X).

        Raises
        ------
        ShapeError
            If a side isn't a multiple of 8.
        """
        if images.shape[1] % 8 or images.shape[2] % 8:
            raise ShapeError(f"{self.id} expects images with sides that are multiples of 8, got {images.shape[1:3]}")
        x = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
        maps = torch.cat([load_net()(part) for part in x.split(BATCH)])
        return {self.target: finish(maps)[self.target]}


def finish(maps: torch.Tensor) -> dict[str, np.ndarray]:
    """The net's output maps [n, 4, y, x] as labels, float32 [n, y, x] each."""
    depth, mask, shading, valid = maps.float().unbind(1)
    return {
        "depth": (depth / DEPTH_SCALE).clamp_min(0).numpy(),
        "mask": mask.sigmoid().numpy(),
        "shading": torch.where(valid > 0, shading, torch.nan).numpy(),
    }


def load_depth(argument: str = "", device: str | None = None) -> TinyLabeler:
    return TinyLabeler("depth")


def load_mask(argument: str = "", device: str | None = None) -> TinyLabeler:
    return TinyLabeler("mask")


def load_shading(argument: str = "", device: str | None = None) -> TinyLabeler:
    return TinyLabeler("shading")
