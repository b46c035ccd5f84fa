"""What features add to what is known, on held-out images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from ldmscene.array_types import Array
from ldmscene.cells import Cells
from ldmscene.evaluation.bench import Bench
from ldmscene.evaluation.beyond import products
from ldmscene.evaluation.features import Features
from ldmscene.evaluation.kind import Nested, NestedFits
from ldmscene.evaluation.samples import SampleBlock
from ldmscene.evaluation.targets import Target, responses
from ldmscene.metrics import Truth
from ldmscene.verdicts import Residuals


@dataclass(frozen=True)
class Effects:
    """Of one target's nested fits on some images; sums over their pixels."""

    explained: Array
    """[fit, sample] by how much features lower the squared error: fitted to all folds, then without each of them"""
    left: Array
    """[sample] the squared error without features"""
    scatter: Array
    """[sample] of it, what no map of this size can explain"""
    correlation: Array
    """[sample] of what is left and what features say"""
    shuffled: Array
    """[sample] as `explained`, of fits to other samples' labels; NaN where there are none"""
    score_known: Array
    """[sample] the target's own metric of the fit on what is known, and with features; NaN beyond other targets, which
    vary inside cells"""
    score_both: Array


@dataclass(frozen=True)
class Left:
    """What the fit on what is known leaves of a target, on maps of one size."""

    cells: Cells
    """of the target"""
    supplied: Array
    """[g, sample, y, x] mean labels of cells, of targets that are known, then the latents where they are known"""
    names: tuple[str, ...]
    """of these targets"""
    alone: Array
    """[sample, y, x] mean of what the fit says"""
    mean: Array
    """[sample, y, x] mean of what is left"""

    @classmethod
    def of(
        cls, truths: Mapping[str, Truth], names: tuple[str, ...], latents: Array, target: str, nested: Nested
    ) -> Left:
        """Of held-out labels by target; `names` are those of targets that are known, `latents` as `Bench` has them."""
        cells = truths[target].cells
        supplied = np.concatenate([*(truths[name].cells.mean[None] for name in names), latents])
        alone = nested.alone + np.einsum("g,gsyx->syx", nested.alone_supplied, supplied)
        return cls(cells, supplied, names, alone, cells.mean - alone)

    def said(self, nested: Nested, projected: Array) -> Array:
        """[fit, sample, y, x] by how much fits with features differ from the fit without."""
        said: Array = nested.said(projected) + np.einsum("fg,gsyx->fsyx", nested.supplied, self.supplied)
        return said


def block_effects(
    bench: Bench,
    features: Features,
    block: SampleBlock,
    truths: Mapping[str, Truth],
    fits: NestedFits,
    projected: Array,
) -> dict[str, Effects]:
    """By target, on a block of held-out samples, whose labels on maps of the features' size are `truths`."""
    names = bench.supplied(features.size)
    latents = bench.known_latents(features.step, features.size, block.ids)
    found = {}
    for target in bench.task.targets:
        own = responses([target])[0]
        if own in fits.nested:
            left = Left.of(truths, names, latents, target.name, fits.nested[own])
            found[target.name] = _effects(bench, block, truths[target.name], fits, target, left, projected)
    return found


def _effects(
    bench: Bench, block: SampleBlock, truth: Truth, fits: NestedFits, target: Target, left: Left, projected: Array
) -> Effects:
    own, lent = responses([target])
    nested = fits.nested[own]
    said = left.said(nested, projected)
    within = _within(bench, block, target.name, left, nested)
    sums = Residuals.of(left.cells.weight, left.mean, said, *within)
    shuffled = np.full(len(left.cells), np.nan)
    if lent in fits.nested:
        by_lent = left.said(fits.nested[lent], projected)[0]
        shuffled = Residuals.of(left.cells.weight, left.mean, by_lent, within[0]).explained
    unknown = np.full_like(shuffled, np.nan)
    scores = (unknown, unknown) if left.names else _scores(truth, target, nested, left.alone, said[0])
    return Effects(sums.explained, sums.rr[0], within[0], sums.correlation[0], shuffled, *scores)


def _scores(truth: Truth, target: Target, nested: Nested, alone: Array, said: Array) -> tuple[Array, Array]:
    """[sample] by a target's own metric, without features and with them."""
    (metric,) = (metric for metric in target.metrics if metric.name == target.primary)

    def of(value: Array, log_odds: tuple[float, float] | None) -> Array:
        if log_odds is not None:
            value = log_odds[0] * value + log_odds[1]
        return metric.score(truth, value > 0 if metric.needs == "mask" else value)

    return of(alone, nested.alone_log_odds), of(alone + said, nested.log_odds)


def _within(
    bench: Bench, block: SampleBlock, target: str, left: Left, nested: Nested
) -> tuple[Array, Array | float, Array | float]:
    """Σ inside cells of r², r·d and d², where supplied targets vary there: [sample], [fit, sample], [fit, sample]."""
    if not left.names:
        return left.cells.scatter.sum((1, 2)), 0.0, 0.0
    together = products(bench, block, [target, *left.names])
    g = len(left.names)
    means = np.concatenate([left.cells.mean[None], left.supplied[:g]])
    about = means - np.moveaxis(together.mean, 0, 1)[..., None, None]
    inside = together.scatter - np.einsum("syx,asyx,bsyx->sab", left.cells.weight, about, about)
    r = np.array([1, *-nested.alone_supplied[:g]])
    d = np.concatenate([np.zeros((len(nested.supplied), 1)), nested.supplied[:, :g]], 1)
    return (
        np.maximum(np.einsum("a,sab,b->s", r, inside, r), 0),
        np.einsum("a,sab,fb->fs", r, inside, d),
        np.einsum("fa,sab,fb->fs", d, inside, d),
    )


def joined(parts: Sequence[Effects]) -> Effects:
    """Of all blocks in order."""
    return Effects(*(np.concatenate([getattr(part, f.name) for part in parts], -1) for f in fields(Effects)))
