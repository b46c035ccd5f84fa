"""Whether depth, mask and shading are questions in this world: `python -m ldmscene.testbed.figures`.

What a picture's position alone, and the mask on top of it, say about its targets on renderings that the
baselines never saw.
"""

from __future__ import annotations

import click
import numpy as np
from scipy.stats import spearmanr

from ldmscene.testbed.drawing import draw_rooms
from ldmscene.testbed.labelers import relative
from ldmscene.testbed.rendering import Truth, render_rooms

Pair = tuple[np.ndarray, np.ndarray]  # of training and of test maps


def question_figures(train: Truth, test: Truth) -> dict[str, float]:
    """The world's four figures.

    Parameters
    ----------
    train, test : Truth
        Renderings to fit on and to score.

    Returns
    -------
    dict of float
        - "position reads depth, Spearman": of the training pictures' mean depth at each position with each test
          picture's depth, mean over pictures.
        - "mask explains of depth beyond position, R²": of a regression on the mask, both without their mean at each
          position, for depth in 1 / scene units.
        - "the same within pictures, R²": for depth of mean 0 and deviation 1 in each picture.
        - "position and mask explain of shading, R²": of a regression on position and mask.
    """
    position = spearman(np.broadcast_to(train.depth.mean(0), test.depth.shape), test.depth)
    within = [relative(t.depth) for t in (train, test)]
    masks = train.mask.astype(np.float64), test.mask.astype(np.float64)
    return {
        "position reads depth, Spearman": position,
        "mask explains of depth beyond position, R²": beyond_position((train.depth, test.depth), masks),
        "the same within pictures, R²": beyond_position((within[0], within[1]), masks),
        "position and mask explain of shading, R²": explained((train.shading, test.shading), masks),
    }


def spearman(guess: np.ndarray, truth: np.ndarray) -> float:
    """Rank correlation of two maps, mean over pictures."""
    return float(np.mean([spearmanr(g.ravel(), t.ravel()).statistic for g, t in zip(guess, truth, strict=True)]))


def beyond_position(target: Pair, mask: Pair) -> float:
    """R² on the test maps of what position leaves of the target, by what it leaves of the mask."""
    slope, left, rest = _regress(target, mask)
    return float(1 - ((left - slope * rest) ** 2).sum() / (left**2).sum())


def explained(target: Pair, mask: Pair) -> float:
    """R² on the test maps of the target by position and mask; pixels without a target are left out."""
    slope, left, rest = _regress(target, mask)
    whole = target[1] - np.nanmean(target[1])
    return float(1 - np.nansum((left - slope * rest) ** 2) / np.nansum(whole**2))


def _regress(target: Pair, mask: Pair) -> tuple[float, np.ndarray, np.ndarray]:
    """The mask's slope on training maps; target and mask of the test maps without the training maps' mean map."""
    means = np.nanmean(target[0], 0), mask[0].mean(0)
    y, x = target[0] - means[0], mask[0] - means[1]
    return float(np.nansum(x * y) / np.sum(x**2 * ~np.isnan(y))), target[1] - means[0], mask[1] - means[1]


@click.command()
@click.option(
    "--count",
    default=1000,
    show_default=True,
    type=click.IntRange(min=1),
    help="Renderings to fit on, and as many to score.",
)
@click.option("--seed", default=900, show_default=True)
def main(count: int, seed: int) -> None:
    """Print the world's figures on fresh renderings."""
    train, test = (render_rooms(draw_rooms(count, seed + k)) for k in range(2))
    for name, value in question_figures(train, test).items():
        click.echo(f"{name}: {value:.3f}")


if __name__ == "__main__":
    main()
