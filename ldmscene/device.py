"""Where a model runs when nobody says."""

from __future__ import annotations

import torch


def best_device(device: str | None) -> str:
    """The device that is named, or the fastest there is: cuda, xpu, mps …, else the CPU."""
    if device:
        return device
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found.type if found is not None else "cpu"
