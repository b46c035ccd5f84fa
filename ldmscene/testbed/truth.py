"""Scenes with exact truth, for whoever wants to measure a tool on them."""

from __future__ import annotations

from ldmscene.errors import InputError
from ldmscene.testbed.drawing import draw_rooms
from ldmscene.testbed.rendering import Truth, render_rooms
from ldmscene.testbed.words import captions

SPLITS = {"train": 0, "test": 1, "unseen": 2}
_APART = 1_000_000  # seeds of a split


def render(count: int, seed: int = 0, *, split: str = "train", pixels: int = 64) -> tuple[Truth, list[str]]:
    """Render scenes of the testbed's world, with all that is true of every pixel.

    The pictures go into `ldmscene.extract_images`, the truth into `ldmscene.label`, so that any tool that reads
    activations can be measured against exact labels.

    Parameters
    ----------
    count : int
        Number of scenes.
    seed : int, default 0
        0 to 999,999. The same seed gives the same scenes; more scenes of a seed begin with the fewer.
    split : {"train", "test", "unseen"}, default "train"
        "train" and "test" are different scenes of one kind. Every scene of "unseen" shows a combination that
        neither shows: a colour of a shape, or how one shape stands to another.
    pixels : int, default 64
        Height and width of the pictures.

    Returns
    -------
    truth : ldmscene.testbed.Truth
        `image` uint8 (n, y, x, 3); `depth`, inverse planar depth in 1 / scene units, 0 in the sky; `mask`, True on
        solids; `shading`, 0 to 1, NaN in the sky; `normal` (n, y, x, 3), unit, in the camera's frame: right, up,
        forward; `index`, which of `ldmscene.testbed.PARTS`; `albedo` uint8 (n, y, x, 3).
    captions : list of str
        What each picture shows, in the model's words.

    Raises
    ------
    InputError
        If the split isn't known, or a number is out of range.

    Examples
    --------
    >>> from ldmscene.testbed import render
    >>> truth, captions = render(2, seed=7)
    >>> truth.image.shape, truth.depth.dtype
    ((2, 64, 64, 3), dtype('float32'))
    >>> unseen, _ = render(2, seed=7, split="unseen")
    """
    if split not in SPLITS:
        raise InputError(f"split is one of {', '.join(SPLITS)}, got {split!r}")
    if count < 1 or not 0 <= seed < _APART or pixels < 1:
        raise InputError(
            f"count and pixels start at 1, seeds lie between 0 and {_APART - 1:,}; got count={count}, pixels={pixels}, "
            f"seed={seed}"
        )
    # Training sets of the embedded model are drawn from seeds below these.
    rooms = draw_rooms(count, (1 + SPLITS[split]) * _APART + seed, unseen=split == "unseen")
    return render_rooms(rooms, pixels), captions(rooms, seed)
