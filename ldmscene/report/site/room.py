"""How large a site becomes, and what is left out or made smaller so that it stays within bounds."""

from __future__ import annotations

SITE = 100_000_000  # bytes that pictures of the default number of samples take at most, about
PROBES = 36_000_000  # pixels of all maps of modules other than the best together, about as many bytes at most

IMAGE = 256  # pixels of the longer side
PICTURE = 128
MAP = 64  # of labels, of the labelers' readings, and of maps of the best module

# Bytes a pixel, measured on noise of the embedded model, which is the worst to compress.
_PHOTOGRAPH, _READING, _PROBE = 0.12, 0.4, 0.7


def reduction(height: int, width: int, longest: int) -> int:
    """By how much a picture is averaged down so that its longer side fits."""
    return max(1, -(-max(height, width) // longest))


def shrunk(height: int, width: int, longest: int) -> tuple[int, int]:
    """A map's size once it is averaged down so."""
    factor = reduction(height, width, longest)
    return max(1, height // factor), max(1, width // factor)


def samples_that_fit(steps: int, targets: int, side: int) -> int:
    """How many samples a site shows unless it is told: as many as about 100 MB hold.

    Parameters
    ----------
    steps, targets
        How many the grid has.
    side
        Pixels of the images' longer side.
    """
    photographs = min(side, IMAGE) ** 2 + 2 * steps * min(side, PICTURE) ** 2
    maps = targets * steps * min(side, MAP) ** 2
    return max(1, int(SITE / (_PHOTOGRAPH * photographs + (2 * _READING + _PROBE) * maps)))


def longest_side(sizes: list[tuple[int, int]], count: int) -> int:
    """Up to which longer side `count` maps of modules of these sizes (y, x) are kept: a power of two, at most 64."""
    longest = MAP
    while longest > 1 and count * sum(_pixels(size, longest) for size in sizes) > PROBES:
        longest //= 2
    return longest


def _pixels(size: tuple[int, int], longest: int) -> int:
    height, width = shrunk(*size, longest)
    return height * width
