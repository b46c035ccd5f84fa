"""Labelers on unfinished pictures as features of one channel, by the same measure as probes.

Only held-out samples may have their maps. So the one coefficient, and the position's part of the maps, are fitted on
the other held-out prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ldmscene.array_types import Array
from ldmscene.cells import MapSize
from ldmscene.evaluation.bench import Bench
from ldmscene.evaluation.effects import Left
from ldmscene.evaluation.features import LabelerMaps
from ldmscene.evaluation.kind import Nested
from ldmscene.evaluation.nesting import basis_of
from ldmscene.metrics import Truth
from ldmscene.probes import Moments, Projection, merge_all
from ldmscene.verdicts import Residuals

FOLDS = 5  # of held-out prompts


def labeler_sums(
    bench: Bench, maps: LabelerMaps, truths: Sequence[Mapping[str, Truth]], target: str, nested: Nested, prompt: Array
) -> tuple[Array, Array]:
    """How much a labeler's maps explain of what is left, and what is left: Σ over pixels, both [sample].

    `truths` are labels of each block of held-out samples: of the target, and of those that are known.
    """
    names = bench.supplied(maps.size)
    parts = [
        Left.of(one, names, bench.known_latents(maps.step, maps.size, block.ids), target, nested)
        for one, block in zip(truths, bench.task.test, strict=True)
    ]
    weight, left = (np.concatenate(some) for some in zip(*((p.cells.weight, p.mean) for p in parts), strict=True))
    scatter = np.concatenate([part.cells.scatter.sum((1, 2)) for part in parts])
    supplied = np.concatenate([part.supplied for part in parts], 1)
    X = np.concatenate([maps.read(bench.store, block.ids)[..., 0] for block in bench.task.test])
    said = cross_fitted(X, left, weight, _known(bench, maps.size, supplied), prompt)
    sums = Residuals.of(weight, left, said, scatter)
    return sums.explained, sums.rr


def _known(bench: Bench, size: MapSize, supplied: Array) -> Array:
    """Columns [sample, y, x, k] that are known."""
    basis = basis_of(size)[..., : bench.known[size][0].terms]
    position = np.broadcast_to(basis, (supplied.shape[1], *basis.shape))
    return np.concatenate([np.moveaxis(supplied, 0, -1), position], -1)


def cross_fitted(X: Array, left: Array, weight: Array, known: Array, prompt: Array) -> Array:
    """What maps X (sample, y, x) say of what is left, in each sample by a fit to other prompts' samples."""
    names, member = np.unique(prompt, return_inverse=True)
    fold = member % min(FOLDS, len(names))
    k, n = known.shape[-1], len(X)
    columns = np.concatenate([known, X[..., None]], -1)
    parts = [
        Moments.of(*(a[fold == f].reshape(-1, *a.shape[3:]) for a in (columns, weight, left)))
        for f in range(fold.max() + 1)
    ]
    said = np.zeros((n, *X.shape[1:]))
    for f in range(len(parts)):
        others = [part for g, part in enumerate(parts) if g != f]
        if not others:
            break
        train = merge_all(others)
        projection = Projection.of(train, k)
        rest = projection.residuals(train)
        slope = rest.cxy[0, 0] / rest.cxx[0, 0] if rest.cxx[0, 0] > 0 else 0.0
        own = columns[fold == f]
        said[fold == f] = slope * (own[..., k] - own[..., :k] @ projection.of_features[:, 0] - rest.mean_x[0])
    return said
