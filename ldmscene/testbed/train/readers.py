"""Stage 2: the nets that read pictures: the labelers' and the judge of samples.

They learn from rendered scenes and from what the autoencoder makes of them, against the exact truth,
since the pictures that they will see come out of the autoencoder.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional as F

from ldmscene.testbed.labelers import DEPTH_SCALE
from ldmscene.testbed.nets import Judge, MapNet
from ldmscene.testbed.scenes import Rendering
from ldmscene.testbed.train.autoencoder import decode, encode, pixels
from ldmscene.testbed.train.data import CHUNK, SceneFiles
from ldmscene.testbed.train.loop import Schedule, draw, fit

LABELERS = Schedule(steps=1400, learning_rate=3e-3, warmup=100, average=0.99)
JUDGE = Schedule(steps=500, learning_rate=3e-3, warmup=100, average=0.99)
BATCH = 32
RECONSTRUCTED = 16000  # scenes that are also seen as the autoencoder gives them back


def reconstructions(data: Rendering, vae: AutoencoderKL, folder: Path) -> np.ndarray:
    """The first scenes as the autoencoder gives them back, uint8 [n, y, x, 3]."""
    path = folder / "reconstructions.npy"
    if not path.exists():
        np.save(path, decode(vae, encode(vae, data.image[:RECONSTRUCTED])))
    mapped: np.ndarray = np.load(path, mmap_mode="r")
    return mapped


def train_labelers(data: Rendering, blurred: np.ndarray, folder: Path, seed: int) -> MapNet:
    torch.manual_seed(seed)
    net = MapNet()

    def loss(generator: torch.Generator) -> Tensor:
        rows, images = _pictures(data.image, blurred, generator)
        with torch.autocast("cpu", torch.bfloat16):
            maps = net(images)
        return map_loss(maps.float(), data, rows)

    fit(net, loss, LABELERS, folder / "labelers.pt", seed=seed)
    return net


def map_loss(maps: Tensor, data: Rendering, rows: np.ndarray) -> Tensor:
    depth, mask, shading, valid = maps.unbind(1)
    truth = torch.from_numpy(data.shading[rows])
    known = ~truth.isnan()
    return (
        F.smooth_l1_loss(depth, DEPTH_SCALE * torch.from_numpy(data.depth[rows]), beta=0.02)
        + F.binary_cross_entropy_with_logits(mask, torch.from_numpy(data.mask[rows]).float())
        + F.smooth_l1_loss(shading[known], truth[known], beta=0.02)
        + 0.1 * F.binary_cross_entropy_with_logits(valid, known.float())
    )


def train_judge(files: SceneFiles, blurred: np.ndarray, folder: Path, seed: int) -> Judge:
    torch.manual_seed(seed)
    net, data = Judge(), files.load()
    color, shape, single = labels(files)
    ones = torch.nonzero(single).flatten()

    def loss(generator: torch.Generator) -> Tensor:
        rows, images = _pictures(data.image, blurred, generator, among=ones)
        with torch.autocast("cpu", torch.bfloat16):
            colors, shapes = net(images)
        return F.cross_entropy(colors.float(), color[rows]) + F.cross_entropy(shapes.float(), shape[rows])

    fit(net, loss, JUDGE, folder / "judge.pt", seed=seed)
    return net


def labels(files: SceneFiles) -> tuple[Tensor, Tensor, Tensor]:
    """Colour and shape of each scene's first object, and whether it is the only one."""
    parts = [files.scenes(chunk) for chunk in range(files.count // CHUNK)]
    first = [torch.cat([getattr(p, name)[:, 0] for p in parts]) for name in ("color", "shape")]
    return first[0], first[1], torch.cat([p.count for p in parts]) == 1


def _pictures(
    sharp: np.ndarray, blurred: np.ndarray, generator: torch.Generator, among: Tensor | None = None
) -> tuple[np.ndarray, Tensor]:
    """A batch, half of it as rendered and half as reconstructed, with a little noise in both."""
    rows = draw(len(sharp), BATCH, generator) if among is None else among[draw(len(among), BATCH, generator)]
    half = BATCH // 2
    seen = among[among < len(blurred)] if among is not None else torch.arange(len(blurred))
    rows[half:] = seen[draw(len(seen), BATCH - half, generator)]
    index = rows.numpy()
    images = pixels(np.concatenate([sharp[index[:half]], blurred[index[half:]]]))
    return index, images + 0.02 * torch.randn(images.shape, generator=generator)
