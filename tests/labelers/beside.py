"""Optional packages beside the environment. Imports neither ldmscene nor transformers, which look for them once."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import torch

BESIDE = Path(sys.prefix) / "labelers"  # where `make` puts torchvision and carvekit


def import_torchvision():
    """PyPI's torchvision is built for CUDA. Beside a CPU build of torch its compiled operators can't be loaded, and
    it refuses to be imported for the lack of two; models and transforms use none."""
    try:
        return importlib.import_module("torchvision")
    except RuntimeError:
        for name in [n for n in sys.modules if n.startswith("torchvision")]:
            del sys.modules[name]
    for operator in ("nms", "qnms"):
        torch.library.define(f"torchvision::{operator}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return importlib.import_module("torchvision")
