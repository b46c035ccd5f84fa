"""The small convolutional net that reads the testbed's pictures: the labelers', and one that names solids."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (32, 64, 96, 128, 128)  # of levels, each with half the sides: down to 2 × 2, since the whole room tells depth
SIDES = 2 ** len(WIDTHS)  # the sides of pictures are multiples of it
MAPS = 4


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.GroupNorm(8, outputs),
        nn.SiLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.GroupNorm(8, outputs),
        nn.SiLU(),
    )


class MapNet(nn.Module):
    """A picture to maps of its size: a U-Net (Ronneberger et al. 2015) that sees two by two pixels as one position.

    Parameters
    ----------
    maps : int, default 4
        Number of maps. The labelers' four are inverse depth, foreground logit, shading, and the logit that there is
        shading.
    """

    def __init__(self, maps: int = MAPS) -> None:
        super().__init__()
        self.down = nn.ModuleList(_block(i, o) for i, o in pairwise((4 * 3 + 2, *WIDTHS)))
        self.up = nn.ModuleList(_block(i + o, o) for i, o in pairwise(WIDTHS[::-1]))
        self.head = nn.Conv2d(WIDTHS[0], 4 * maps, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """[n, 3, y, x] in -1 to 1, sides multiples of `SIDES`, to [n, maps, y, x]."""
        x = F.pixel_unshuffle(image, 2)
        x = torch.cat([x, _coordinates(x)], 1)
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
            x = F.avg_pool2d(x, 2) if len(skips) < len(self.down) else x
        for block, skip in zip(self.up, skips[-2::-1], strict=True):
            x = block(torch.cat([F.interpolate(x, scale_factor=2.0), skip], 1))
        return F.pixel_shuffle(self.head(x), 2)


def _coordinates(image: Tensor) -> Tensor:
    """Where each pixel is: a convolution can't tell the horizon's height without it (Liu et al. 2018)."""
    n, _, height, width = image.shape
    y = torch.linspace(-1, 1, height)[:, None].expand(height, width)
    x = torch.linspace(-1, 1, width)[None, :].expand(height, width)
    return torch.stack([y, x]).to(image).expand(n, -1, -1, -1)


def pixels(images: np.ndarray) -> Tensor:
    """uint8 [n, y, x, 3] to float [n, 3, y, x] in -1 to 1."""
    copied = torch.from_numpy(np.array(images))  # files that are mapped into memory can't be written
    return copied.permute(0, 3, 1, 2).float() / 127.5 - 1


def load(path: Path, maps: int = MAPS) -> MapNet:
    """A net that lies on disk as `train.export.export_nets` wrote it, ready to read pictures."""
    net = MapNet(maps)
    net.load_state_dict({name: part.float() for name, part in load_file(path).items()})
    return net.eval()
