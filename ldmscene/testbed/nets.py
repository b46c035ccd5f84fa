"""The small convolutional nets of the testbed: the labelers' and a judge of samples."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ldmscene.testbed.scenes import COLORS, SHAPES

WIDTHS = (32, 64, 96)
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
    widths : sequence of int
        Channels at each level. Each level has half the sides of the one before.
    """

    def __init__(self, maps: int = MAPS, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        self.down = nn.ModuleList(_block(i, o) for i, o in pairwise((4 * 3 + 2, *widths)))
        self.up = nn.ModuleList(_block(i + o, o) for i, o in pairwise(widths[::-1]))
        self.head = nn.Conv2d(widths[0], 4 * maps, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """[n, 3, y, x] in -1 to 1, sides multiples of 2 for each level, to [n, maps, y, x]."""
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


class Judge(nn.Module):
    """An image with one object to the logits of its colour and shape."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 16, 32, 64)
        layers = [layer for i, o in pairwise(widths) for layer in (_block(i, o), nn.MaxPool2d(2))]
        self.features = nn.Sequential(*layers, _block(64, 64))
        self.head = nn.Linear(2 * 64, len(COLORS) + len(SHAPES))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """[n, 3, y, x] in -1 to 1 to [n, colour] and [n, shape]."""
        x = self.features(image)
        logits = self.head(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1))
        color, shape = logits.tensor_split([len(COLORS)], 1)
        return color, shape
