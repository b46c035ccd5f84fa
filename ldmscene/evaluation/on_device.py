"""The ridge on a torch device: blocks of features go there, and sums and coordinates come back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import Any

import numpy as np
import torch
from dask.system import CPU_COUNT

from ldmscene.array_types import Array
from ldmscene.errors import InputError
from ldmscene.evaluation.kind import Training
from ldmscene.evaluation.ridge import RIDGE, Ridge, RidgeFits
from ldmscene.evaluation.samples import BLOCK
from ldmscene.halves import writable
from ldmscene.probes import Moments, Targets
from ldmscene.probes.fourier import FUNCTIONS
from ldmscene.probes.tensor_sums import project_tensor, working_bytes
from ldmscene.progress import say
from ldmscene.store import ActivationStore
from ldmscene.store.layout import LATENTS, activation_path
from ldmscene.text import human_bytes

AT_ONCE = 4  # blocks on a device: enough for one to come while another is computed with, whose kernels run in turn
_turn = BoundedSemaphore(AT_ONCE)


@dataclass(frozen=True)
class DeviceFits(RidgeFits):
    """All ridges on one set of features, projected on a device."""

    device: str

    def project(self, X: Array) -> Array:
        with _turn:
            return project_tensor(on(self.device, X), self.subspace.mean, self.subspace.directions)


@dataclass(frozen=True)
class DeviceRidge(Ridge):
    """The ridge whose features are summed and projected on a device; what it finds is named as the CPU's.

    Parameters
    ----------
    precision
        As `Ridge` has it.
    device
        One that `check_device` lets pass.
    """

    device: str = "cpu"

    def reduce(self, X: Array, labels: Targets) -> Moments:
        return self.reduce_all(X, [labels])[0]

    def reduce_all(self, X: Array, labels: Sequence[Targets]) -> list[Moments]:
        """`reduce` against the labels of several groups, by features that are moved once."""
        with _turn:
            moved = on(self.device, X)
            return [Ridge.reduce(self, moved, one) for one in labels]

    def solve(self, training: Training) -> DeviceFits:
        return DeviceFits(**vars(super().solve(training)), device=self.device)


def on(device: str, X: Array) -> Any:
    """Features as a tensor on a device."""
    return torch.from_numpy(writable(X)).to(device)


def check_device(device: str) -> str:
    """A device by name, if it is there and computes in float64.

    Raises
    ------
    InputError
        With what is there.
    """
    try:
        torch.zeros(1, dtype=torch.float64, device=device).item()
    except (RuntimeError, AssertionError, TypeError) as error:
        found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        there = "cpu" if found is None else f"cpu, {found.type}"
        raise InputError(
            f"device: expected one that is here and has float64, of {there}; got {device!r} "
            f"({str(error).splitlines()[0][:80]})"
        ) from error
    return device


def ridge_on(device: str) -> Ridge:
    """The ridge that sums where a model runs: numpy's on the CPU, and for devices without float64."""
    if torch.device(device).type == "cpu":
        return RIDGE
    try:
        return DeviceRidge(device=check_device(device))
    except InputError:
        return RIDGE


def say_memory(
    store: ActivationStore,
    modules: Sequence[str],
    device: str,
    targets: int,
    *,
    latent: bool = False,
    nonlinear: bool = False,
) -> None:
    """Tell how much memory a device lends at most: to blocks of samples, and to what is computed of each.

    Parameters
    ----------
    targets
        How many are fitted, each to its own labels and to those that are lent.
    latent
        Whether x_t is read beside features.
    nonlinear
        Whether random functions of features are.
    """
    most = max(_block_bytes(store, module, targets, latent, nonlinear) for module in modules)
    say(f"memory on {device}: at most {human_bytes(min(AT_ONCE, CPU_COUNT) * most)}, beside the model's")


def _block_bytes(store: ActivationStore, module: str, targets: int, latent: bool, nonlinear: bool) -> int:
    array = store.info(activation_path(module))
    (*size, channels), dtypes = array.maps.values(), [array.layout.dtype]  # of tokens, which are refused later, one
    if latent:
        latents = store.info(LATENTS).layout
        channels, dtypes = channels + latents.shape[1], [*dtypes, latents.dtype]
    if nonlinear:
        channels, dtypes = channels + FUNCTIONS, [*dtypes, np.dtype(np.float64)]
    positions = math.prod(size)
    read = BLOCK * positions * channels * np.result_type(*dtypes).itemsize
    return int(read + working_bytes((BLOCK, positions, channels), 2 * targets))
