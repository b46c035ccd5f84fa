"""Targets that are known: labels that move to the side of the features, where another target is predicted beyond them.

Their products with the features are those that the pass has gathered; their products with each other are the labels'
own, pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ldmscene.array_types import Array
from ldmscene.errors import InputError
from ldmscene.probes.stats import Moments


@dataclass(frozen=True)
class LabelProducts:
    """How several labels vary together over the pixels of each sample."""

    count: Array
    """[sample] labelled pixels"""
    mean: Array
    """[sample, t]"""
    scatter: Array
    """[sample, t, t] Σ (y − mean)(y − mean)ᵀ"""

    @classmethod
    def of(cls, labels: Mapping[str, Array]) -> LabelProducts:
        """Of labels (sample, H, W), NaN where a pixel has none.

        Raises
        ------
        InputError
            If one label lacks a pixel that another has.
        """
        known = ~np.isnan(next(iter(labels.values())))
        for name, label in labels.items():
            if not np.array_equal(known, ~np.isnan(label)):
                raise InputError(
                    f"beyond: expected labels of {name!r} at just the pixels of {next(iter(labels))!r}, but one of the "
                    "two has holes where the other has none; leave it out of beyond=, or label it whole"
                )
        stack = np.stack([np.where(known, label, 0) for label in labels.values()], 1).astype(np.float64)
        stack, flat = stack.reshape(*stack.shape[:2], -1), known.reshape(len(known), -1)
        count = flat.sum(1).astype(np.float64)
        mean = stack.sum(2) / np.maximum(count, 1)[:, None]
        about = np.where(flat[:, None], stack - mean[..., None], 0)
        return cls(count, mean, np.einsum("stp,sup->stu", about, about))

    def whole(self) -> Array:
        """[t, t] the same over all samples together."""
        total = self.count.sum()
        about = self.mean - (self.count @ self.mean / total if total else 0)
        products: Array = self.scatter.sum(0) + np.einsum("s,st,su->tu", self.count, about, about)
        return products


def supply(moments: Moments, which: Sequence[int], products: Array) -> Moments:
    """Statistics in which some targets come first among the features.

    Parameters
    ----------
    moments : Moments
        Of c features and t targets.
    which : sequence of int
        The targets that are known.
    products : array (t, t)
        What `LabelProducts.whole` gives for the same samples.

    Returns
    -------
    Moments
        Of len(which) + c features and all other targets.
    """
    known = list(which)
    rest = [t for t in range(len(moments.mean_y)) if t not in known]
    across = moments.cxy[:, known]
    return Moments(
        moments.weight,
        np.concatenate([moments.mean_y[known], moments.mean_x]),
        moments.mean_y[rest],
        np.block([[products[np.ix_(known, known)], across.T], [across, moments.cxx]]),
        np.concatenate([products[np.ix_(known, rest)], moments.cxy[:, rest]]),
        moments.cyy[rest],
        np.concatenate([np.zeros(len(known)), moments.rounding]),
    )
