"""What edited pictures show: scores of each sample, for the edit and each of its controls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ldmscene.array_types import AnyArray, Array, Bools
from ldmscene.edits import EDIT, MEASURES, ceiling, read_shift
from ldmscene.errors import IncompleteError, InputError, UnknownNameError, unknown
from ldmscene.evaluation.targets import CLASSES, Target, target_of, targets_of
from ldmscene.intervention.controls import controls_of
from ldmscene.intervention.filling import READING, SIZE, wanted_path
from ldmscene.intervention.runs import check_source
from ldmscene.metrics import METRICS, Truth
from ldmscene.store import ActivationStore
from ldmscene.store.arrays import same_origin
from ldmscene.store.layout import IMAGE, Key, label_path
from ldmscene.text import counted

SUPPLIED = ("array", "files")  # labels that no labeler read
READINGS = ("reading", "reading elsewhere")  # where activations are changed, and where not


@dataclass(frozen=True)
class Trial:
    """An edited store and its controls, beside the store of the same samples without an edit; checked when built.

    Raises
    ------
    InputError
        If the store isn't edited, the other one isn't the one that was or lacks its target, or the judge labels
        nothing or something else.
    IncompleteError
        If samples of an edit or control have no picture or no label.
    """

    source: ActivationStore
    variants: Mapping[str, ActivationStore]
    target: Target
    judge: str

    @classmethod
    def of(cls, edited: ActivationStore, source: ActivationStore, judge: str | None) -> Trial:
        if "edit" not in edited.config:
            advice = "name the edited one first" if "edit" in source.config else "make one with ldmscene.intervene"
            raise InputError(f"{edited.root} is no edited store; {advice}")
        target = target_of(source, edited.config["edit"]["target"])
        variants = {EDIT: edited, **controls_of(edited)}
        found = cls(source, variants, target, judge or target.labels)
        check_source(edited, source, target.labels)
        for variant, store in variants.items():
            found._check(variant, store)
        _ = found._judged
        return found

    def _check(self, variant: str, store: ActivationStore) -> None:
        if self.judge not in store.targets:
            raise self._unlabelled(variant, store)
        for path in (IMAGE, label_path(self.judge)):
            absent = set(self.sample_ids) - store.complete(path)
            if absent:
                lacking = counted(len(absent), "sample", "lacks", "lack")
                raise IncompleteError(f"{lacking} {path} in {store.root}, {min(absent)} among them")

        meaning, edits = self._meaning(store), self._meaning(self.variants[EDIT])
        if not same_origin(meaning, edits):
            raise InputError(
                f"labels {self.judge!r} of {variant} were made by {meaning['labeler']}, those of the edit by "
                f"{edits['labeler']} or by another version of it; label all variants by the same one"
            )

    def _unlabelled(self, variant: str, store: ActivationStore) -> UnknownNameError:
        """Of a variant that lacks the judge's labels: what to do."""
        where = f"target with labels in {store.root} ({variant})"
        advice = "label the edited store first"
        if variant != EDIT and self._meaning(self.variants[EDIT])["labeler"] in SUPPLIED:
            advice = "supplied labels are of one store's pictures alone, so label this control's store with its own"
        elif store.targets:
            return unknown(where, self.judge, store.targets)
        return UnknownNameError(f"no {where} named {self.judge!r}; {advice}")

    @property
    def _judged(self) -> Target:
        """The target, as the judge's labels tell it.

        Raises
        ------
        InputError
            If they tell of something else, such as depth where the target is a mask.
        """
        said = self._meaning(self.variants[EDIT])
        kind = said.get("kind", "continuous")
        if kind == CLASSES and self.target.of_class is not None:
            return replace(self.target, labels=self.judge)
        if kind != self.target.kind:
            raise InputError(
                f"judge: expected {self.target.kind} labels, as {self.target.name} is, but {self.judge!r} is {kind}"
            )
        return replace(self.target, labels=self.judge, threshold=said.get("threshold"), of_class=None)

    def _meaning(self, store: ActivationStore) -> Mapping[str, Any]:
        return store.info(label_path(self.judge)).attributes

    @property
    def judged(self) -> str:
        """By whom, and whether the probe was fitted to that labeler's labels, in words."""
        judge, fitted = self._meaning(self.variants[EDIT]), self.variants[EDIT].config["edit"]["labels"]
        by, of = (one["labeler"] for one in (judge, fitted))
        if by not in SUPPLIED and same_origin(judge, fitted):
            return f"judged by {by}, to whose labels the probe was fitted"
        by = "supplied labels" if by in SUPPLIED else by
        of = "supplied labels" if of in SUPPLIED else f"labels of {of}"
        return f"judged by {by}, the probe having been fitted to {of}"

    @property
    def sample_ids(self) -> list[str]:
        ids: list[str] = self.variants[EDIT].manifest.frame["sample_id"].tolist()
        return ids

    @property
    def prompts(self) -> AnyArray:
        """[sample] what samples share that aren't independent."""
        return self.variants[EDIT].manifest.groups

    @property
    def training(self) -> int:
        """Of the pictures that are compared, how many belong to samples that probes are fitted to."""
        compared = ~np.isnan(self.scores[EDIT][self.target.primary])
        return int((self.variants[EDIT].manifest.frame["split"].eq("train") & compared).sum())

    @property
    def begins(self) -> int:
        """The first step that the edit changes."""
        steps: list[int] = self.variants[EDIT].config["edit"]["steps"]
        return min(steps)

    @property
    def binary(self) -> bool:
        return self.target.kind == "binary"

    @cached_property
    def scores(self) -> dict[str, dict[str, Array]]:
        """Of the edit and each control every measure, [sample]; NaN where one of them has no value.

        A variant that has no value of any sample doesn't take those of the others.
        """
        return _compared({variant: self._scores(store) for variant, store in self.variants.items()})

    def difference(self, measure: str, above: str, below: str) -> Array:
        """[sample] by how much one variant has more of a measure than another: of a metric, how much better it is."""
        more, less = (above, below) if self._higher_is_better(measure) else (below, above)
        return self.scores[more][measure] - self.scores[less][measure]

    def _higher_is_better(self, measure: str) -> bool:
        """False of measures in a metric that falls where maps agree more; what is no agreement counts as it is."""
        metric = self._metric_of.get(measure)
        return metric is None or METRICS[metric].higher_is_better

    @cached_property
    def _metric_of(self) -> dict[str, str]:
        """By measure, of those that are agreements."""
        edited, primary = self.variants[EDIT], self.target.primary
        own = {name: name for name in self._metrics} | {self._with_own: primary}
        outside = {_outside(target): target.primary for target in self._others(edited)}
        return own | outside | dict.fromkeys(READINGS, edited.info(READING).attributes["metric"])

    def _scores(self, store: ActivationStore) -> dict[str, Array]:
        wanted, own = self._wanted, self._own
        judged = self._labels(store, self._judged)
        region: Bools = (own > 0) | (wanted > 0) if self.binary else own != wanted
        found = {name: self._score(name, wanted, judged) for name in self._metrics}
        found[self._with_own] = self._score(self.target.primary, own, judged)
        if self._is_moved:
            found["ceiling"] = np.array([ceiling(o, w) for o, w in zip(own, wanted, strict=True)])
        found |= self._selectivity(store, region)
        found |= dict(zip(MEASURES, self._read(store, SIZE).mean(2).T, strict=True))
        found |= self._readings(store)
        return found

    @property
    def _is_moved(self) -> bool:
        """Whether what is wanted is the own mask elsewhere, of which a part may be lost."""
        asked = self.variants[EDIT].config["edit"]["wanted"]
        return self.binary and isinstance(asked, str) and read_shift(asked, True) is not None

    @property
    def _with_own(self) -> str:
        return f"{self.target.primary} with the own map"

    @property
    def _metrics(self) -> list[str]:
        return [self.target.primary] if self.binary else list(dict.fromkeys([self.target.primary, "rmse"]))

    @cached_property
    def _wanted(self) -> Array:
        return self._read(self.variants[EDIT], wanted_path(self.target.name))

    @cached_property
    def _own(self) -> Array:
        return self._labels(self.source, self.target)

    def _labels(self, store: ActivationStore, target: Target) -> Array:
        return target.values(self._read(store, label_path(target.labels)))

    def _read(self, store: ActivationStore, path: str) -> Array:
        return store.info(path).read(store.rows(self.sample_ids), {})

    def _score(self, name: str, truth: Array, found: Array) -> Array:
        """[sample]; NaN where a map says nothing."""
        metric = METRICS[name]
        known = ~(np.isnan(truth) | np.isnan(found)).all((1, 2))
        scores = np.full(len(truth), np.nan)
        if not known.any():
            return scores
        both = np.where(np.isnan(found), np.nan, truth)[known]
        filled = np.nan_to_num(found[known])
        prepared = Truth.of(both, ranks=metric.needs == "rank")
        scores[known] = metric.score(prepared, filled > 0.5 if metric.needs == "mask" else filled)
        return scores

    def _selectivity(self, store: ActivationStore, region: Bools) -> dict[str, Array]:
        """What stays as it was: the picture outside the region, in grey levels, and other targets there."""
        before, after = (self._read(one, IMAGE).astype(np.float32) for one in (self.source, store))
        change = np.abs(after - before).mean(-1)
        found = {"picture outside": _mean_where(~region, change)}
        for target in self._others(store):
            own, now = (self._labels(one, target) for one in (self.source, store))
            found[_outside(target)] = self._score(target.primary, np.where(region, np.nan, own), now)
        return found

    def _others(self, store: ActivationStore) -> list[Target]:
        shared = [name for name in store.targets if name in self.source.targets]
        mine = {self.target.labels, self.judge}
        names = [name for name in shared if name not in mine and self._comparable(store, label_path(name))]
        return [targets_of(self.source, [name], [])[0] for name in names]

    def _comparable(self, store: ActivationStore, path: Key) -> bool:
        """Whether maps of the picture without an edit and of a new one are made alike, and no classes."""
        before, now = (one.info(path).attributes for one in (self.source, store))
        return before.get("kind") != CLASSES and same_origin(before, now)

    def _readings(self, store: ActivationStore) -> dict[str, Array]:
        """Agreement of the probes' readings with the wanted map where the edit changes activations, and elsewhere."""
        read, edited = (np.array(store.info(path).attributes["positions"]) for path in (READING, SIZE))
        changed = np.isin(read, edited)
        readings = self._read(store, READING)
        there, elsewhere = READINGS
        found = {there: readings[:, changed].mean(1)}
        return found | ({elsewhere: readings[:, ~changed].mean(1)} if not changed.all() else {})


def _mean_where(where: Bools, values: Array) -> Array:
    """[sample] of values (sample, Y, X); NaN where there are none."""
    count = where.sum((1, 2))
    total = np.where(where, values, 0).sum((1, 2), dtype=np.float64)
    mean: Array = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
    return mean


def _outside(target: Target) -> str:
    return f"{target.name} outside ({target.primary})"


def _compared(scores: Mapping[str, dict[str, Array]]) -> dict[str, dict[str, Array]]:
    """The same, of each measure only at samples of which every variant has it that has it of any."""
    absent: dict[str, Bools] = {}
    for measure, values in ((name, one) for found in scores.values() for name, one in found.items()):
        lacking = np.isnan(values)
        absent[measure] = absent.get(measure, np.zeros_like(lacking)) | (lacking & ~lacking.all())
    return {
        variant: {measure: np.where(absent[measure], np.nan, values) for measure, values in found.items()}
        for variant, found in scores.items()
    }
