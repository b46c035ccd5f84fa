"""What an evaluation is to do, checked against what a store has."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ldmscene.errors import IncompleteError, InputError, unknown
from ldmscene.manifest import Manifest
from ldmscene.metrics import METRICS
from ldmscene.probes import assign_folds
from ldmscene.probes.choice import check_alphas
from ldmscene.store import ActivationStore
from ldmscene.store.layout import LATENTS, activation_path, label_path
from ldmscene.store.prepare import differences

PRIMARY = {"depth": "spearman", "shading": "pearson"}
PRIMARY_OF_KIND = {"continuous": "pearson", "binary": "dice"}
CLASSES = "classes"
MANY_CLASSES = 64
CV = 5  # folds over prompts
BLOCK = 16  # samples; kept statistics depend on it


@dataclass(frozen=True)
class Target:
    """What is to be predicted, and how it is scored. Of labels of classes, each class is a mask of its own."""

    name: str
    kind: str  # continuous or binary
    threshold: float | None  # labels above it are foreground
    labels: str  # the name under which they are stored
    of_class: float | None = None  # labels equal to it are foreground

    @property
    def metrics(self) -> list[str]:
        return [name for name, metric in METRICS.items() if metric.kind == self.kind]

    @property
    def primary(self) -> str:
        named = PRIMARY.get(self.name)
        return named if named in self.metrics else PRIMARY_OF_KIND[self.kind]

    def values(self, maps: np.ndarray) -> np.ndarray:
        """Stored labels as they are predicted: binary ones as 0 and 1, float32; NaN stays NaN."""
        if self.kind != "binary":
            return maps
        if self.of_class is not None:
            foreground = maps == self.of_class
        else:
            foreground = maps > (0.5 if self.threshold is None else self.threshold)
        return np.where(np.isnan(maps), np.nan, foreground).astype(np.float32)


@dataclass(frozen=True)
class Block:
    """Samples that are read together, all of one fold or all held out."""

    ids: tuple[str, ...]
    lenders: tuple[str, ...] = ()
    """For training samples, the samples whose labels stand in for theirs in the control with shuffled labels."""


@dataclass(frozen=True)
class Task:
    """What all fits of an evaluation share."""

    targets: tuple[Target, ...]
    folds: tuple[tuple[Block, ...], ...]
    test: tuple[Block, ...]
    alphas: tuple[float, ...]

    @property
    def train(self) -> tuple[Block, ...]:
        return tuple(block for fold in self.folds for block in fold)

    @property
    def test_ids(self) -> list[str]:
        return [sample_id for block in self.test for sample_id in block.ids]


@dataclass(frozen=True)
class Scope:
    """What is to be evaluated; names checked against the store."""

    targets: list[str]
    modules: list[str]
    steps: list[int]

    @classmethod
    def of(
        cls,
        store: ActivationStore,
        targets: str | Iterable[str] | None,
        modules: str | Iterable[str] | None,
        steps: int | Iterable[int] | None,
    ) -> Scope:
        """All that the store has, where not given.

        Raises
        ------
        InputError
            If something isn't in the store, or there is nothing to evaluate.
        """
        if not store.targets:
            raise InputError(f"{store.root} has no labels yet; label it first")
        return cls(
            _chosen("targets", "target with labels in this store", targets, store.targets),
            _chosen("modules", "module in this store", modules, store.modules),
            _chosen_steps(steps, store.steps),
        )


def _chosen(argument: str, kind: str, asked: str | Iterable[str] | None, known: Sequence[str]) -> list[str]:
    asked = list(known) if asked is None else [asked] if isinstance(asked, str) else list(asked)
    if not asked:
        raise InputError(f"{argument}: expected at least one, got none; None means all that the store has")
    names: dict[str, None] = {}
    for name in asked:
        found = [name] if name in known else fnmatch.filter(known, name)
        if not found:
            raise unknown(kind, name, known)
        names |= dict.fromkeys(found)
    return list(names)


def _chosen_steps(asked: int | Iterable[int] | None, known: Sequence[int]) -> list[int]:
    steps = list(known) if asked is None else np.atleast_1d(asked if isinstance(asked, int) else list(asked)).tolist()
    if not steps:
        raise InputError("steps: expected at least one, got none; None means all that the store has")
    for step in steps:
        if step not in known:
            raise InputError(f"no step {step} in this store; its steps are 0 to {len(known) - 1}")
    return [int(step) for step in dict.fromkeys(steps)]


def check_splits(manifest: Manifest, cv: int) -> None:
    """Refuse a manifest that can't be evaluated, before anything is computed for it.

    Raises
    ------
    InputError
        If a split is empty, or there are fewer training prompts than folds.
    """
    frame = manifest.frame
    for split in ("train", "test"):
        if not frame["split"].eq(split).any():
            raise InputError(f"the manifest has no sample in split {split!r}; probes need both train and test")
    groups = manifest.groups[frame["split"] == "train"]
    assign_folds(len(groups), cv, groups)


def check_choice(cv: int, alphas: Sequence[float]) -> tuple[int, list[float]]:
    """Folds and penalties to choose from, ascending.

    Raises
    ------
    InputError
        If there is nothing to choose between, or no way to.
    """
    if not isinstance(cv, int | np.integer) or cv < 2:
        raise InputError(f"cv: expected a whole number of folds, at least 2, got {cv!r}")
    chosen = check_alphas(alphas).tolist()
    if len(chosen) < 2:
        raise InputError("alphas: expected at least two, since the modules are ranked by cross-validating them")
    return int(cv), chosen


def load_task(store: ActivationStore, scope: Scope, cv: int, alphas: Sequence[float]) -> Task:
    """Split the samples into folds and blocks, and check that they are complete.

    Raises
    ------
    IncompleteError
        If a sample of either split lacks activations or labels.
    InputError
        If a split is empty, there are fewer prompts than folds, or there is nothing to choose between.
    """
    frame = store.manifest.frame
    train, test = (frame["sample_id"][frame["split"] == split] for split in ("train", "test"))
    ids = [*train, *test]
    check_complete(store, scope.modules, ids)
    _check_labels(store, scope.targets, ids)
    check_splits(store.manifest, cv)
    return Task(
        targets=targets_of(store, scope.targets, train),
        folds=training_folds(store.manifest, cv),
        test=tuple(Block(tuple(some)) for some in cut(test)),
        alphas=tuple(alphas),
    )


def training_folds(manifest: Manifest, cv: int) -> tuple[tuple[Block, ...], ...]:
    """The training samples of each fold, in blocks; given images are groups of their own."""
    frame = manifest.frame.assign(prompt=manifest.groups)
    train = frame[frame["split"] == "train"]
    fold = assign_folds(len(train), cv, train["prompt"].to_numpy())
    return tuple(training_blocks(train[fold == k]) for k in range(int(fold.max()) + 1))


def training_blocks(frame: pd.DataFrame) -> tuple[Block, ...]:
    """Samples of one fold in blocks of several prompts, so that a block's samples can lend each other their labels."""
    turn = frame.groupby("prompt").cumcount()
    dealt = frame.iloc[np.argsort(turn.to_numpy(), kind="stable")]
    return tuple(
        Block(tuple(ids), tuple(lend(ids, prompts)))
        for ids, prompts in zip(cut(dealt["sample_id"]), cut(dealt["prompt"]), strict=True)
    )


def lend(sample_ids: Iterable[str], prompts: Iterable[str]) -> list[str]:
    """For each sample one of another prompt, each lending once; the same every time.

    Samples are shifted by the size of the largest prompt, once they stand prompt by prompt. Only if one prompt has
    more than half of all samples do some borrow from their own.
    """
    ids = np.array(list(sample_ids))
    _, codes, count = np.unique(list(prompts), return_inverse=True, return_counts=True)
    order = np.argsort(codes, kind="stable")
    lenders = np.empty_like(ids)
    largest = int(count.max())
    lenders[order] = np.roll(ids[order], largest if largest < len(ids) else 1)
    return lenders.tolist()


def cut(column: pd.Series) -> list[list[str]]:
    """A column in pieces of a block's length."""
    pieces = np.array_split(column.to_numpy(), max(1, -(-len(column) // BLOCK)))  # of even length: none of one sample
    return [piece.tolist() for piece in pieces]


def targets_of(store: ActivationStore, names: Sequence[str], train: Sequence[str]) -> tuple[Target, ...]:
    """Targets as a store's labels describe them; of classes, one for each that a training sample (sample_id) has."""
    return tuple(target for name in names for target in _targets(store, name, train))


def _targets(store: ActivationStore, name: str, train: Sequence[str]) -> list[Target]:
    attributes: Mapping[str, Any] = store.info(label_path(name)).attributes
    kind = attributes.get("kind", "continuous")
    if kind == CLASSES:
        return [class_target(name, value) for value in _classes(store, name, train)]
    return [Target(name, kind, attributes.get("threshold"), name)]


def class_target(labels: str, value: float) -> Target:
    """One class against all others. No target of a store is called so, since names hold no `=`."""
    return Target(f"{labels}={value:g}", "binary", None, labels, value)


def _classes(store: ActivationStore, name: str, sample_ids: Sequence[str]) -> list[float]:
    """All classes in the labels of some samples, in order."""
    array = store.info(label_path(name))
    found: set[float] = set()
    for sample_id in sample_ids:
        found |= set(np.unique(array.read(store.rows([sample_id]), {})).tolist())
        if len(found) > MANY_CLASSES:
            raise InputError(
                f"target {name!r} has more than {MANY_CLASSES} classes, each of which is a mask of its own; "
                "join some, or label it with kind='continuous'"
            )
    return sorted(value for value in found if not np.isnan(value))


def _check_labels(store: ActivationStore, targets: Sequence[str], sample_ids: Sequence[str]) -> None:
    for target in targets:
        absent = sorted(set(sample_ids) - store.complete(label_path(target)))
        if absent:
            raise IncompleteError(
                f"{len(absent)} samples have no label {target!r}, {absent[0]} among them; label them first"
            )


def check_complete(store: ActivationStore, modules: Sequence[str], sample_ids: Sequence[str]) -> None:
    """Refuse a store that lacks activations of a sample.

    Raises
    ------
    IncompleteError
        With how many samples, and one of them.
    """
    for path in (LATENTS, *map(activation_path, modules)):
        finished = store.finished(path)
        absent = [s for s in sample_ids if s not in finished]
        if absent:
            raise IncompleteError(
                f"{len(absent)} samples lack {path} in {store.root}, {absent[0]} among them; run extract again"
            )


def check_control(store: ActivationStore, control: ActivationStore, scope: Scope, task: Task) -> None:
    """Refuse a control that isn't the same run of the same samples with other denoiser weights.

    Raises
    ------
    InputError
        With what differs.
    """
    ids = [sample_id for block in (*task.train, *task.test) for sample_id in block.ids]
    ours, theirs = (s.manifest.frame.set_index("sample_id")[["prompt", "seed"]] for s in (store, control))
    for sample_id in ids:
        if sample_id not in theirs.index or not theirs.loc[sample_id].equals(ours.loc[sample_id]):
            raise InputError(f"the control {control.root} has no sample {sample_id} with the same prompt and seed")
    differing = differences(store.config, control.config)
    if [path for path, *_ in differing] not in (["components.unet.weights"], ["components.transformer.weights"]):
        found = "; ".join(f"{path}: {a} and {b}" for path, a, b in differing) or "nothing"
        raise InputError(
            f"the control {control.root} must differ in the denoiser's weights alone; what differs: {found}"
        )
    check_complete(control, scope.modules, ids)
