"""What an evaluation is to do, checked against what a store has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ldmscene.choices import HeldOut
from ldmscene.errors import IncompleteError, InputError
from ldmscene.evaluation.samples import SampleBlock, cut, training_folds
from ldmscene.evaluation.scope import Scope
from ldmscene.evaluation.targets import Target, targets_of
from ldmscene.manifest import Manifest
from ldmscene.probes import assign_folds
from ldmscene.probes.choice import check_alphas
from ldmscene.store import ActivationStore
from ldmscene.store.layout import LATENTS, activation_path, label_path
from ldmscene.store.prepare import differences
from ldmscene.text import counted

CV = 5  # folds over prompts


@dataclass(frozen=True)
class Task:
    """What all fits of an evaluation share."""

    targets: tuple[Target, ...]
    folds: tuple[tuple[SampleBlock, ...], ...]
    test: tuple[SampleBlock, ...]
    alphas: tuple[float, ...]

    @property
    def train(self) -> tuple[SampleBlock, ...]:
        return tuple(block for fold in self.folds for block in fold)

    @property
    def test_ids(self) -> list[str]:
        return [sample_id for block in self.test for sample_id in block.ids]


def check_splits(manifest: Manifest, cv: int, held_out: HeldOut = "test") -> None:
    """Refuse a manifest that can't be evaluated on a split, before anything is computed for it.

    Raises
    ------
    InputError
        If a split is empty, or there are fewer training prompts than folds.
    """
    frame = manifest.frame
    for split in ("train", held_out):
        if not frame["split"].eq(split).any():
            raise InputError(
                f"the manifest has no sample in split {split!r}; probes need both train and {held_out}: add a column "
                "split, or more prompts"
            )
    groups = manifest.groups[frame["split"] == "train"]
    assign_folds(len(groups), cv, groups)


def check_usual_folds(manifest: Manifest, cv: int = CV) -> None:
    """As `check_splits`, for those whose folds are the usual ones, so that none can ask for fewer.

    Raises
    ------
    InputError
        If a split is empty, or there are fewer training prompts than folds.
    """
    prompts = len(set(manifest.groups[manifest.frame["split"] == "train"]))
    if 0 < prompts < cv:
        raise InputError(
            f"the manifest has {prompts} training prompts, and cross-validation needs {cv}; add prompts, or store "
            "activations by `extract`, and evaluate them with cv= lower"
        )
    check_splits(manifest, cv)


def shared_seed(manifest: Manifest, held_out: HeldOut) -> int | None:
    """A seed of training and of held-out samples, whose first noise is the same."""
    frame = manifest.frame
    train, judged = (set(frame["seed"][frame["split"] == split]) for split in ("train", held_out))
    return min(map(int, train & judged), default=None)


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
        raise InputError(
            f"alphas: expected at least two, since the modules are ranked by cross-validating them; got {chosen}"
        )
    return int(cv), chosen


def load_task(
    store: ActivationStore,
    scope: Scope,
    cv: int,
    alphas: Sequence[float],
    supplied: Sequence[str] = (),
    held_out: HeldOut = "test",
) -> Task:
    """Split the samples into folds and blocks, and check that they are complete.

    Targets are those of the scope and the supplied ones, in the store's order: what is cached depends on it.

    Raises
    ------
    IncompleteError
        If a sample of either split lacks activations or labels.
    InputError
        If a split is empty, or there are fewer prompts than folds.
    """
    frame = store.manifest.frame
    train, test = (frame["sample_id"][frame["split"] == split] for split in ("train", held_out))
    ids = [*train, *test]
    check_complete(store, scope.modules, ids)
    wanted = [*scope.targets, *supplied]
    targets = [name for name in store.targets if name in wanted] if supplied else scope.targets
    _check_labels(store, targets, ids)
    check_splits(store.manifest, cv, held_out)
    return Task(
        targets=targets_of(store, targets, train),
        folds=training_folds(store.manifest, cv),
        test=tuple(SampleBlock(tuple(some)) for some in cut(test)),
        alphas=tuple(alphas),
    )


def _check_labels(store: ActivationStore, targets: Sequence[str], sample_ids: Sequence[str]) -> None:
    for target in targets:
        absent = sorted(set(sample_ids) - store.complete(label_path(target)))
        if absent:
            lacking = counted(len(absent), "sample", "has", "have")
            raise IncompleteError(f"{lacking} no label {target!r}, {absent[0]} among them; label them first")


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
            lacking = counted(len(absent), "sample", "lacks", "lack")
            raise IncompleteError(f"{lacking} {path} in {store.root}, {absent[0]} among them; run extract again")


def check_control(
    store: ActivationStore, control: ActivationStore, scope: Scope, task: Task, held_out: HeldOut = "test"
) -> None:
    """Refuse a control that isn't the same run of the same samples with other denoiser weights, or lacks the split.

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
    check_same_run(store.config, control.config, control.root)
    if held_out != "test" and control.terms is not None and control.terms.get("control"):
        raise InputError(
            f"permuted: expected held-out samples of split {held_out!r}, but {control.root}, made by "
            "`extract(control=…)`, has those of split 'test' alone; leave permuted= out, or extract a store of its own "
            "from the model that `ldmscene.capture.permute_weights` gives"
        )
    check_complete(control, scope.modules, ids)
    for module in scope.modules:
        if store.steps_of(module) != control.steps_of(module):
            raise InputError(
                f"the control {control.root} has {module} at steps {control.steps_of(module)} rather than "
                f"{store.steps_of(module)}; make it with the same previews= as the store"
            )


def check_same_run(ours: Mapping[str, Any], theirs: Mapping[str, Any], control: Any) -> None:
    """Refuse a control, by its place, whose configuration differs in more than the denoiser's weights, or in nothing.

    Raises
    ------
    InputError
        With what differs.
    """
    differing = differences(ours, theirs)
    if [path for path, *_ in differing] not in (["components.unet.weights"], ["components.transformer.weights"]):
        found = "; ".join(f"{path}: {a} and {b}" for path, a, b in differing) or "nothing"
        raise InputError(f"the control {control} must differ in the denoiser's weights alone; what differs: {found}")
