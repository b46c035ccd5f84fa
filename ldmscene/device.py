"""Where a model runs when nobody says, and what this process has held in memory."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import torch


def best_device(device: str | None) -> str:
    """The device that is named, or the fastest there is: cuda, xpu, mps …, else the CPU."""
    if device:
        return device
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found.type if found is not None else "cpu"


def peak_memory() -> int:
    """Bytes of the host's memory that this process has held at most; a GPU's own memory isn't among them."""
    try:  # unlike rusage's, without what its parent held at the fork
        status = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    except (OSError, StopIteration):  # not Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
