"""Training of a linear layer with Adam, by the published protocol. Needs torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy, interpolate

from ldmscene.array_types import Array, Ints
from ldmscene.probes.huber import HuberCells

IGNORED = -100
"""class of a pixel without label"""


@dataclass(frozen=True)
class Recipe:
    """How to train; see AdamProbe for what each means."""

    loss: str
    outputs: int
    lr: float
    epochs: int
    batch_size: int
    delta: float
    seed: int
    device: str | None


def train(X: Any, labels: Array, recipe: Recipe) -> tuple[Array, Array]:
    """Weights [outputs, c] after the last epoch, and the mean loss of each epoch.

    Parameters
    ----------
    X : numpy or dask array (sample, y, x, c)
    labels : array (sample, H, W)
        float32 with NaN, or int64 with IGNORED, where a pixel has no label.
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    channels = X.shape[-1]
    bound = channels**-0.5  # what torch.nn.Linear starts from
    weight = torch.empty(recipe.outputs, channels).uniform_(-bound, bound, generator=generator)
    weight = weight.to(recipe.device).requires_grad_()
    optimizer = torch.optim.Adam([weight], lr=recipe.lr)
    cells = HuberCells.of(labels, X.shape[1:3]) if recipe.loss == "huber" else None
    losses = np.zeros(recipe.epochs)
    for epoch in range(recipe.epochs):
        for maps, rows in _batches(X, recipe, generator):
            if cells is None:
                y = torch.from_numpy(labels[rows]).to(recipe.device)
                loss, weight.grad = _cross_entropy(maps, weight, y)
            else:
                loss, weight.grad = _huber(maps, weight, cells, rows, recipe.delta)
            optimizer.step()
            losses[epoch] += loss * len(maps) / len(labels)
    return weight.detach().cpu().numpy(), losses


def _batches(X: Any, recipe: Recipe, generator: torch.Generator) -> Iterator[tuple[torch.Tensor, Ints]]:
    """Maps of a batch, float32, and which samples they are."""
    order = torch.randperm(len(X), generator=generator).numpy()
    memory = torch.empty((min(recipe.batch_size, len(X)), *X.shape[1:]))  # once: new memory takes as long as the cast
    for i in range(0, len(order), recipe.batch_size):
        rows = np.sort(order[i : i + recipe.batch_size])
        yield _widened(X, rows, memory[: len(rows)]).to(recipe.device), rows


def _widened(X: Any, rows: Ints, out: torch.Tensor) -> torch.Tensor:
    """Some samples of X in float32, without a copy of them in between where X is in memory."""
    if isinstance(X, np.ndarray) and X.flags.writeable and X.dtype.isnative:  # torch warns of what isn't writable
        for one, row in zip(out, rows, strict=True):
            one.copy_(torch.from_numpy(X[row]))
        return out
    return out.copy_(torch.from_numpy(np.ascontiguousarray(X[rows], dtype=X.dtype.newbyteorder("="))))


def _huber(
    maps: torch.Tensor, weight: torch.Tensor, cells: HuberCells, rows: Ints, delta: float
) -> tuple[float, torch.Tensor]:
    """Loss and gradient of weights [1, c], by hand: there is but one product each way."""
    flat = maps.reshape(-1, maps.shape[-1])
    with torch.no_grad():
        loss, gradient = cells.loss((flat @ weight[0]).reshape(maps.shape[:3]), rows, delta)
        return loss, (gradient.reshape(-1) @ flat)[None]


def _cross_entropy(maps: torch.Tensor, weight: torch.Tensor, y: torch.Tensor) -> tuple[float, torch.Tensor]:
    """Mean over labelled pixels, with scores upsampled to y (sample, H, W), and its gradient."""
    if (y == IGNORED).all():
        return 0.0, torch.zeros_like(weight)
    pixels = interpolate((maps @ weight.T).movedim(-1, 1), size=tuple(y.shape[1:]), mode="nearest")
    loss = cross_entropy(pixels, y, ignore_index=IGNORED)
    return loss.item(), torch.autograd.grad(loss, weight)[0]
