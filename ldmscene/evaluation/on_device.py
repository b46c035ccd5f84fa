"""The ridge on a torch device: blocks of features go there, and sums and coordinates come back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from dask.system import CPU_COUNT

from ldmscene.array_types import Array
from ldmscene.errors import InputError
from ldmscene.evaluation.kind import Training
from ldmscene.evaluation.ridge import RIDGE, Ridge, RidgeFits
from ldmscene.evaluation.samples import BLOCK
from ldmscene.probes import Moments, Targets
from ldmscene.probes.tensor_sums import project_tensor, working_bytes
from ldmscene.progress import say
from ldmscene.store import ActivationStore
from ldmscene.store.layout import activation_path
from ldmscene.text import human_bytes


@dataclass(frozen=True)
class DeviceFits(RidgeFits):
    """All ridges on one set of features, projected on a device."""

    device: str

    def project(self, X: Array) -> Array:
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
        return super().reduce(on(self.device, X), labels)

    def solve(self, training: Training) -> DeviceFits:
        return DeviceFits(**vars(super().solve(training)), device=self.device)


def on(device: str, X: Array) -> Any:
    """Features as a tensor on a device, by way of pinned memory where that is a GPU."""
    if not X.flags.writeable:  # which torch warns of
        X = X.copy()
    tensor = torch.from_numpy(X)
    return tensor.pin_memory().to(device) if torch.device(device).type == "cuda" else tensor.to(device)


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


def say_memory(store: ActivationStore, modules: Sequence[str], device: str) -> None:
    """Tell how much memory a device lends at most: a block of samples for each thread, and what is computed of it."""
    arrays = [store.info(activation_path(module)) for module in modules]
    most = max(
        BLOCK * prod(array.maps.values()) * array.layout.dtype.itemsize + working_bytes(array.maps["channel"])
        for array in arrays
    )
    say(f"memory on {device}: at most {human_bytes(CPU_COUNT * most)}, beside the model's")
