"""Predictions of held-out samples, and their scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ldmscene.evaluation.bench import Bench
from ldmscene.evaluation.effects import Effects, block_effects
from ldmscene.evaluation.effects import joined as join_effects
from ldmscene.evaluation.features import Features
from ldmscene.evaluation.kind import Fits, Fitted, Nested, NestedFits
from ldmscene.evaluation.samples import SampleBlock
from ldmscene.evaluation.states import check_finite
from ldmscene.evaluation.targets import Response, Target, responses
from ldmscene.metrics import Truth

COORDINATES = "coordinates"


@dataclass(frozen=True)
class Scores:
    """Of one fit on some images."""

    each: Mapping[str, np.ndarray]
    """metric -> [..., sample]"""
    degenerate: Mapping[str, int]
    """how many have their value by definition"""


@dataclass(frozen=True)
class Fit:
    """One target's fit to one set of features, and its scores on held-out images."""

    fitted: Fitted
    scores: Mapping[str, np.ndarray]
    """metric -> [test sample]"""
    degenerate: Mapping[str, int]
    shuffled: Mapping[str, np.ndarray]
    """the same scores, fitted to other samples' labels"""
    effects: Effects | None
    """what the features add to what is known, where nested fits were asked for"""
    nested: Nested | None
    """the fits that they are of"""


@dataclass(frozen=True)
class Scored:
    """All fits to some features on one block of held-out samples."""

    scores: Mapping[Response, Scores]
    effects: Mapping[str, Effects]


def score_block(bench: Bench, features: Features, block: SampleBlock, fits: Fits, projected: np.ndarray) -> Scored:
    """Score every fit to some features on one block of held-out samples, from their projections."""
    truths = bench.truths(block, features.size, [target.name for target in bench.task.targets])
    found = {}
    for target in bench.task.targets:
        for response in responses([target]):
            value = fits.predict(response, projected)
            found[response] = score(target, truths[target.name], value, value > 0)
    effects = block_effects(bench, features, block, truths, fits, projected) if isinstance(fits, NestedFits) else {}
    return Scored(found, effects)


def project(bench: Bench, features: Features, block: SampleBlock, key: Mapping[str, Any], fits: Fits) -> np.ndarray:
    """What predictions need of a block's features, from the cache or into it; `key` is what the features depend on."""
    under = {"fits": fits.key, "features": key}
    if bench.own.has(COORDINATES, under):
        return bench.own.read(COORDINATES, under)["coordinates"]
    projected = project_anew(bench, features, block, fits)
    bench.own.write(COORDINATES, under, {"coordinates": projected})
    return projected


def project_anew(bench: Bench, features: Features, block: SampleBlock, fits: Fits) -> np.ndarray:
    """What predictions need of a held-out block's features, (sample, y, x, r), read and projected without the cache."""
    X = features.read(bench.source, block.ids)
    with np.errstate(invalid="ignore"):
        projected = fits.project(X)
    if not np.isfinite(projected).all():
        check_finite(bench, features, block, X)
    return projected


def score(target: Target, truth: Truth, value: np.ndarray, mask: np.ndarray) -> Scores:
    """Every metric of a target's kind, for predictions (..., sample, y, x) and their thresholded form."""
    scores, degenerate = {}, {}
    shared: dict[tuple[Callable[..., Any], bool], Any] = {}
    for metric in target.metrics:
        masked = metric.needs == "mask"
        way = metric.reduce, masked
        if way not in shared:
            shared[way] = metric.reduce(truth, mask if masked else value)
        scores[metric.name] = metric.value(shared[way])
        degenerate[metric.name] = int(metric.undefined(shared[way]).sum())
    return Scores(scores, degenerate)


def collect(bench: Bench, fits: Fits, blocks: Sequence[Scored]) -> dict[str, Fit]:
    """The fits to some features by target, with the scores of all blocks in order."""

    def joined(response: Response) -> dict[str, np.ndarray]:
        metrics = blocks[0].scores[response].each
        parts = [block.scores[response].each for block in blocks]
        return {metric: np.concatenate([part[metric] for part in parts], -1) for metric in metrics}

    found = {}
    for target in bench.task.targets:
        own, shuffled = responses([target])
        parts = [block.scores[own].degenerate for block in blocks]
        degenerate = {m.name: sum(part[m.name] for part in parts) for m in target.metrics}
        nested = fits.nested.get(own) if isinstance(fits, NestedFits) else None
        effects = join_effects([block.effects[target.name] for block in blocks]) if nested else None
        found[target.name] = Fit(fits.fitted[own], joined(own), degenerate, joined(shuffled), effects, nested)
    return found
