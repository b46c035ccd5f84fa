"""Stage 2: the nets that read pictures: the labelers' and the spotter of solids.

They learn from rendered scenes and from what the autoencoder makes of them, against the exact truth, since the
pictures that they will see come out of the autoencoder.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional as F

from ldmscene.testbed.labelers import relative
from ldmscene.testbed.nets import MapNet, pixels
from ldmscene.testbed.solids import SHAPES
from ldmscene.testbed.spotting import targets
from ldmscene.testbed.train.autoencoder import decode, encode, mark
from ldmscene.testbed.train.data import Rows, SceneFiles
from ldmscene.testbed.train.loop import DEVICE, Schedule, draw, fit

BATCH = 32
RECONSTRUCTED = 4000  # scenes that are also seen as the autoencoder gives them back


def reconstructions(vae: AutoencoderKL, files: SceneFiles) -> Rows:
    """The first scenes as the autoencoder gives them back, uint8 [n, y, x, 3]."""
    name = f"reconstruction-{mark(vae)}"
    some = files.first(RECONSTRUCTED)
    return some.derived(name, lambda chunk: decode(vae, encode(vae, files.part("image", chunk))))


def train_labelers(
    net: MapNet, vae: AutoencoderKL, files: SceneFiles, schedule: Schedule, folder: Path, seed: int
) -> None:
    depth, mask, shading = (files.load(name) for name in ("depth", "mask", "shading"))

    def error(maps: Tensor, rows: Tensor) -> Tensor:
        guess, foreground, light, valid = maps.unbind(1)
        truth = torch.from_numpy(shading[rows])
        known = ~truth.isnan()
        return (
            F.smooth_l1_loss(guess, torch.from_numpy(relative(depth[rows])), beta=0.1)
            + F.binary_cross_entropy_with_logits(foreground, torch.from_numpy(mask[rows]).float())
            + F.smooth_l1_loss(light[known], truth[known], beta=0.02)
            + 0.1 * F.binary_cross_entropy_with_logits(valid, known.float())
        )

    fit(net, _loss(net, vae, files, error), schedule, folder / "labelers.pt", seed=seed)


def train_spotter(
    net: MapNet, vae: AutoencoderKL, files: SceneFiles, schedule: Schedule, folder: Path, seed: int
) -> None:
    nouns = files.derived("nouns", files.nouns)

    def error(maps: Tensor, rows: Tensor) -> Tensor:
        shape, color = targets(torch.from_numpy(nouns[rows]))
        shapes, colors = maps.tensor_split([1 + len(SHAPES)], 1)
        return F.cross_entropy(shapes, shape) + F.cross_entropy(colors, color, ignore_index=-1)

    fit(net, _loss(net, vae, files, error), schedule, folder / "spotter.pt", seed=seed)


def _loss(
    net: MapNet, vae: AutoencoderKL, files: SceneFiles, error: Callable[[Tensor, Tensor], Tensor]
) -> Callable[[torch.Generator], Tensor]:
    """A loss on batches of which half is as rendered and half as reconstructed, with a little noise in both."""
    sharp, blurred = files.load("image"), reconstructions(vae, files)
    half = BATCH // 2

    def loss(generator: torch.Generator) -> Tensor:
        rows = torch.cat([draw(len(sharp), half, generator), draw(len(blurred), BATCH - half, generator)])
        images = pixels(np.concatenate([sharp[rows[:half]], blurred[rows[half:]]]))
        noisy = images + 0.02 * torch.randn(images.shape, generator=generator)
        with torch.autocast(DEVICE.type, torch.bfloat16):
            maps = net(noisy.to(DEVICE))
        return error(maps.float().cpu(), rows)

    return loss
