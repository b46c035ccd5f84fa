"""Training of a linear layer with Adam, by the published protocol. Needs torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy, huber_loss, interpolate

from ldmscene.array_types import Array

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
    losses = np.zeros(recipe.epochs)
    for epoch in range(recipe.epochs):
        for maps, y in _batches(X, labels, recipe, generator):
            loss = _loss(maps @ weight.T, y, recipe)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[epoch] += loss.item() * len(maps) / len(labels)
    return weight.detach().cpu().numpy(), losses


def _batches(
    X: Any, labels: Array, recipe: Recipe, generator: torch.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    order = torch.randperm(len(labels), generator=generator).numpy()
    for i in range(0, len(order), recipe.batch_size):
        rows = np.sort(order[i : i + recipe.batch_size])
        maps = np.asarray(X[rows]).astype(np.float32)
        yield torch.from_numpy(maps).to(recipe.device), torch.from_numpy(labels[rows]).to(recipe.device)


def _loss(scores: torch.Tensor, y: torch.Tensor, recipe: Recipe) -> torch.Tensor:
    """Mean over labelled pixels, with scores (sample, y, x, out) upsampled to y (sample, H, W)."""
    pixels = interpolate(scores.movedim(-1, 1), size=tuple(y.shape[1:]), mode="nearest")
    known = y != IGNORED if recipe.loss == "cross_entropy" else ~torch.isnan(y)
    if not known.any():
        return scores.sum() * 0
    if recipe.loss == "cross_entropy":
        return cross_entropy(pixels, y, ignore_index=IGNORED)
    return huber_loss(pixels[:, 0][known], y[known], delta=recipe.delta)
