"""A short name for weights: equal weights have equal names, wherever they were loaded from."""

from __future__ import annotations

import hashlib

import torch
from torch import nn


def weights_hash(*parts: nn.Module) -> str:
    """Of all tensors of some modules, by name, dtype, shape and value."""
    digest = hashlib.sha256()
    for part in parts:
        for name, tensor in sorted(part.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]
