"""What was wanted, what labelers read from what was drawn, and how well the two agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ldmscene.errors import InputError
from ldmscene.intervention.judging import Judge
from ldmscene.metrics import METRICS, Truth
from ldmscene.painting import runs
from ldmscene.painting.asked import Change
from ldmscene.painting.offer import Offer, Paintable

Array = np.ndarray

SCORES = {"binary": "dice", "continuous": "rmse"}
"""by the kind of a target; of a painted depth without any change in it, no correlation can be told"""


@dataclass(frozen=True)
class Finished:
    """A picture uint8 (Y, X, rgb), and the labels (Y, X) that labelers read from it, by target."""

    picture: Array
    labels: Mapping[str, Array]


@dataclass(frozen=True)
class Judges:
    """The labelers of a store that can be had, by the name of their labels; each reads a picture once."""

    judges: Mapping[str, Judge]
    targets: tuple[Paintable, ...]

    @classmethod
    def of(cls, offer: Offer, meanings: Mapping[str, Mapping[str, Any]], device: str | None) -> Judges:
        """For all targets of an offer; `meanings` are what the store says of its labels."""
        found = {}
        for labels in dict.fromkeys(map(_labels, offer.targets)):
            try:
                found[labels] = Judge.of(labels, meanings[labels], device)
            except InputError:  # such as labels that were supplied: the page has no score then
                continue
        return cls(found, tuple(one for one in offer.targets if _labels(one) in found))

    def __call__(self, picture: Array) -> Finished:
        read = {labels: judge.read(picture) for labels, judge in self.judges.items()}
        return Finished(picture, {one.name: self._values(one, read[_labels(one)]) for one in self.targets})

    def _values(self, one: Paintable, label: Array) -> Array:
        return self.judges[_labels(one)].values(label, one.name, binary=one.kind == "binary")


def _labels(one: Paintable) -> str:
    """The labels that a target is of."""
    return one.name.partition("=")[0]


def wanted_map(change: Change, offer: Offer) -> Array:
    """The map (Y, X) that the probe is to read, NaN where nothing is painted."""
    one = offer.target(change.target)
    return runs.values(change.levels, one.low, one.high)


def score(change: Change, offer: Offer, finished: Finished) -> float | None:
    """How well a picture's label agrees with what is wanted: Dice of masks, the root mean square error of others.

    None where no labeler can be had, or it saw nothing where something is painted.
    """
    label = finished.labels.get(change.target)
    if label is None:
        return None
    metric = METRICS[SCORES[offer.target(change.target).kind]]
    wanted = np.where(np.isnan(label), np.nan, wanted_map(change, offer))
    if np.isnan(wanted).all():
        return None
    prediction = np.nan_to_num(label)
    truth = Truth.of(wanted[None], ranks=False)
    return float(metric.score(truth, prediction[None] > 0 if metric.needs == "mask" else prediction[None])[0])
