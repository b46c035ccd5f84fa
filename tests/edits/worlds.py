"""Features of a known distribution, probes of them, and maps to edit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from ldmscene.edits import Edit, Maps, Readout

SHAPE, PIXELS = (3, 4, 6), (8, 12)


@dataclass(frozen=True, repr=False)
class World:
    x: torch.Tensor
    """[sample, y, x, channel] float32"""
    readout: Readout
    maps: Maps


def readout_of(X: np.ndarray, z: np.ndarray, coef: np.ndarray, intercept: float = 0.0, **rivals: np.ndarray) -> Readout:
    """Of features X [n, c] and a target z [n], as numpy counts their moments."""
    cross = (X - X.mean(0)).T @ (z - z.mean()) / len(X)
    return Readout(coef, intercept, X.mean(0), np.cov(X.T, bias=True).reshape(X.shape[1], -1), cross, rivals)


def make_world(seed: int = 0, channels: int = 7, *, binary: bool = True, margin: float = 2.0) -> World:
    """Channels that are mixtures of parts whose deviations differ by up to 100; the probe is a ridge of the own map."""
    rng = np.random.default_rng(seed)
    own, wanted = rng.normal(size=(2, SHAPE[0], *PIXELS))
    if binary:
        own, wanted = (own > 0).astype(float), (wanted > 0).astype(float)
    turn = np.linalg.qr(rng.normal(size=(channels, channels)))[0]
    parts = rng.normal(size=(*SHAPE, channels)) * 10 ** rng.uniform(-1, 1, channels)
    x = (parts + own[:, ::2, ::2, None] * rng.normal(size=channels)) @ turn + 3 * rng.normal(size=channels)
    X, z = x.reshape(-1, channels), own[:, ::2, ::2].ravel()
    coef = Ridge(alpha=1.0).fit(X, z).coef_
    rivals = {"shuffled": rng.normal(size=channels), "depth": rng.normal(size=channels)}
    readout = readout_of(X, z, coef, float(rng.normal()), **rivals)
    return World(torch.from_numpy(x).float(), readout, Maps(own, wanted, binary, margin))


@st.composite
def worlds(draw: Any) -> World:
    seed, channels = draw(st.integers(0, 2**32 - 1)), draw(st.integers(2, 40))
    return make_world(seed, channels, binary=draw(st.booleans()), margin=draw(st.floats(0.1, 10)))


def edit_of(world: World, **options: Any) -> Edit:
    """An edit at the module "m" and step 0, with "n" to spare."""
    readouts = {("m", 0): world.readout, ("n", 0): world.readout}
    base = {"target": "mask", "binary": world.maps.binary, "wanted": "swap", "modules": ("m",), "steps": (0,)}
    return Edit(**{**base, "margin": world.maps.margin, "spare": ("n",), "readouts": readouts, **options})
