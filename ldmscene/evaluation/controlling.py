"""A control of which nothing stays but statistics and scores: features of the model with permuted weights.

Training samples become statistics of the labels of the store that is controlled; held-out ones are scored by the fits
that follow. Both are generated and dropped block by block, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from dask.delayed import delayed

from ldmscene.evaluation import assembly
from ldmscene.evaluation.absorbing import Produce, Reduction, drop_left, reduce_training
from ldmscene.evaluation.bench import Bench, reduce_labels, ungrouped
from ldmscene.evaluation.beyond import Beyond
from ldmscene.evaluation.features import Latents, ModuleOutput, outputs_of
from ldmscene.evaluation.fitting import solve
from ldmscene.evaluation.held_out import Keys, are_scored, score_keys, write_scored
from ldmscene.evaluation.holding import Held, HeldOutput
from ldmscene.evaluation.kind import Fits
from ldmscene.evaluation.ridge import RIDGE, Ridge
from ldmscene.evaluation.running import Job, compute
from ldmscene.evaluation.samples import SampleBlock
from ldmscene.evaluation.scope import Scope
from ldmscene.evaluation.scoring import project_anew, score_block
from ldmscene.evaluation.states import checksums_of, features_key, fold_keys, read_states
from ldmscene.evaluation.targets import Target
from ldmscene.evaluation.task import Task, check_choice, load_task
from ldmscene.grid import RAW_LATENT
from ldmscene.store import ActivationStore
from ldmscene.store.cache import Cache
from ldmscene.store.dropping import forget
from ldmscene.store.layout import activation_path


def reduce_control(
    labelled: ActivationStore,
    control: ActivationStore,
    beyond: str | Iterable[str],
    cv: int,
    produce: Produce,
    advance: Callable[[int], None],
    *,
    kind: Ridge = RIDGE,
    progress: bool = False,
) -> list[str]:
    """Bring a control to hold what `evaluate` needs of it, with its default penalties, and nothing else.

    Returns the sample_ids of those that can't be: training samples as `reduce_training` has it, and then all that are
    held out, since their scores need the statistics; else those of blocks with one that can't be scored.

    Parameters
    ----------
    labelled
        The store that is controlled: its targets, its labels, its splits.
    control
        A store of the same samples, modules and steps: an empty one, or one that was begun so; what it has stays.
    beyond
        As `evaluate` has it; held-out samples are scored for these.
    cv
        Folds over groups of prompts.
    produce
        Makes what the control lacks of some samples (sample_ids), as `reduce_training` has it.
    advance
        Told of each number of samples that is generated, or was brought in before.
    kind
        What sums and projects, and where.
    progress
        Show a bar for the blocks that are brought in together.
    """
    todo = Reduction(control, labelled.targets, labelled, kind)
    waiting = reduce_training(todo, cv, produce, advance, progress=progress)
    if waiting:
        samples = control.samples
        return [*waiting, *samples["sample_id"][samples["split"].eq("test") & ~samples["dropped"]]]
    return _score_held_out(_bench(labelled, control, Beyond.of(beyond, labelled.targets), cv, kind), produce, advance)


def _bench(labelled: ActivationStore, control: ActivationStore, known: Beyond, cv: int, kind: Ridge) -> Bench:
    predicted = [target for target in labelled.targets if target not in known.targets]
    scope = Scope.of(labelled, predicted, control.modules, None, RIDGE.target_kinds)
    cv, alphas = check_choice(cv, RIDGE.alphas)
    todo = load_task(labelled, scope, cv, alphas, known.targets)
    todo = replace(todo, targets=_comparable(labelled, todo, known))
    return assembly.of_control(assembly.set_up(labelled, kind, todo, scope, known), control, known)


def _comparable(labelled: ActivationStore, todo: Task, known: Beyond) -> tuple[Target, ...]:
    """Targets with just the labelled pixels of those that are known, as `evaluate` wants them; all where none are."""
    if not known.targets:
        return todo.targets
    size = Latents.of(labelled, RAW_LATENT, 0).size
    grouped = reduce_labels(ungrouped(labelled, Cache.beside(labelled.root), RIDGE, todo), [size]).grouped
    whole = [group for group in grouped if {target.labels for target in group} >= set(known.targets)]
    return whole[0] if whole else todo.targets


def _score_held_out(bench: Bench, produce: Produce, advance: Callable[[int], None]) -> list[str]:
    """Returns the samples of blocks that can't be scored."""
    control = bench.source
    outputs = outputs_of(control, control.modules, control.steps)
    checksums = checksums_of(control, outputs)
    states = [fold_keys(bench, one, checksums[one.path]) for one in outputs]
    fits: list[Fits] = []
    waiting: list[str] = []
    for block in bench.task.test:
        if not _is_scored(bench, outputs, states, block):
            _forget_dropped(control, block)
            every = Reduction(control, (), bench.store).paths(control.modules)
            held = Held(every)
            if produce(block.ids, held):
                waiting += block.ids
            else:
                control.refresh()
                fits = fits or _on_each(bench, _solve, outputs, states)
                maps = [HeldOutput.among(one, held) for one in outputs]
                keys = _keys(outputs, block, held.checksums(control, outputs))
                _on_each(bench, partial(_score, block=block), maps, keys, states, fits)
                drop_left(control, block.ids, every, held)
        advance(len(block.ids))
    return waiting


def _forget_dropped(control: ActivationStore, block: SampleBlock) -> None:
    """Have a block's samples be made again that were dropped for other scores, or in a block of other samples."""
    dropped = {path: control.dropped(path).intersection(block.ids) for path in map(activation_path, control.modules)}
    forget(control, {path: sample_ids for path, sample_ids in dropped.items() if sample_ids})


def _on_each(bench: Bench, work: Callable[..., Any], *columns: Sequence[Any]) -> list[Any]:
    """What work gives of the bench and of each row of the columns."""
    shared = delayed(bench, traverse=False)
    return compute([Job(delayed(partial(_spread, work, row))(shared)) for row in zip(*columns, strict=True)])


def _spread(work: Callable[..., Any], row: Sequence[Any], bench: Bench) -> Any:
    return work(bench, *row)


def _is_scored(bench: Bench, outputs: Sequence[ModuleOutput], states: Sequence[Keys], block: SampleBlock) -> bool:
    found = _keys(outputs, block, checksums_of(bench.source, outputs))
    return all(
        set(block.ids) <= bench.source.dropped(one.path) and are_scored(bench, score_keys(bench, one, block, key, keys))
        for one, key, keys in zip(outputs, found, states, strict=True)
    )


def _keys(
    outputs: Sequence[ModuleOutput], block: SampleBlock, checksums: Mapping[Any, Mapping[str, int]]
) -> list[dict[str, Any]]:
    return [features_key(one, block, checksums[one.path]) for one in outputs]


def _solve(bench: Bench, output: ModuleOutput, keys: Keys) -> Fits:
    return solve(bench, output, keys, [read_states(bench, names) for names in keys])


def _score(
    bench: Bench, output: HeldOutput, key: Mapping[str, Any], keys: Keys, fits: Fits, block: SampleBlock
) -> None:
    # Projections, which can take more than the activations, are not stored.
    found = score_block(bench, output, block, fits, project_anew(bench, output, block, fits))
    write_scored(bench, score_keys(bench, output, block, key, keys), found)
