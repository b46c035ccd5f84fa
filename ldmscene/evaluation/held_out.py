"""Scores of held-out samples whose activations are dropped once they are scored, as those of a control are.

They are cached target by target, so that some of a store's targets can be evaluated without the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields

import numpy as np

from ldmscene.array_types import Array
from ldmscene.errors import InputError
from ldmscene.evaluation.bench import Bench
from ldmscene.evaluation.effects import Effects
from ldmscene.evaluation.features import Features
from ldmscene.evaluation.kind import Fits
from ldmscene.evaluation.samples import SampleBlock
from ldmscene.evaluation.scoring import Scored, Scores, project, score_block
from ldmscene.evaluation.targets import Target, responses
from ldmscene.store.fingerprints import fingerprint

HELD_OUT = "held-out"
VERSION = 1  # of the scores; to be counted up with every change of them
Keys = Sequence[Sequence[str]]


def scored(
    bench: Bench, features: Features, block: SampleBlock, key: Mapping[str, object], states: Keys, fits: Fits
) -> Scored:
    """`score_block`, or what it gave before a block's activations were dropped.

    Parameters
    ----------
    bench, features, block, key, fits
        As `project` has them.
    states
        [fold][group] keys of the states that the fits are from.

    Raises
    ------
    InputError
        If they were dropped, and the scores are of other fits.
    """
    if features.path is None or not set(block.ids) <= bench.source.dropped(features.path):
        return score_block(bench, features, block, fits, project(bench, features, block, key, fits))
    keys = score_keys(bench, features, block, key, states)
    if not are_scored(bench, keys):
        raise InputError(
            f"permuted: expected scores of held-out samples in {bench.source.root} for these alphas, cv and beyond, "
            "found none, and their activations were dropped; leave alphas= and cv= at their defaults, and give "
            "`extract(control=…)` the same beyond="
        )
    parts = [_unpacked(target, bench.own.read(HELD_OUT, keys[target.name])) for target in bench.task.targets]
    return Scored(
        {response: score for part in parts for response, score in part.scores.items()},
        {name: effects for part in parts for name, effects in part.effects.items()},
    )


def score_keys(
    bench: Bench, features: Features, block: SampleBlock, key: Mapping[str, object], states: Keys
) -> dict[str, str]:
    """Under which key each target's scores on a block lie: all that they depend on.

    How many functions of the position are known is no part of it: as many as all targets want that are evaluated
    together, which is more than enough for each.
    """
    found = {}
    for g, targets in enumerate(bench.grouped):
        known = bench.known[features.size][g] if bench.known else None
        supplied = [response.target for response in known.supplied] if known else []
        beyond = {"position": known and known.position, "supplied": supplied}
        for target in targets:
            labels = [bench.labels[name, block].key(features.size) for name in (target.name, *supplied)]
            made_from = {
                "version": VERSION,
                "features": key,
                "states": [names[g] for names in states],
                "alphas": bench.task.alphas,
                "beyond": beyond,
                "labels": labels,
                "metrics": [metric.key() for metric in target.metrics],
            }
            found[target.name] = fingerprint(made_from)
    return found


def are_scored(bench: Bench, keys: Mapping[str, str]) -> bool:
    return all(bench.own.has(HELD_OUT, key) for key in keys.values())


def write_scored(bench: Bench, keys: Mapping[str, str], found: Scored) -> None:
    for target in bench.task.targets:
        bench.own.write(HELD_OUT, keys[target.name], _packed(target, found))


def _packed(target: Target, found: Scored) -> dict[str, Array]:
    arrays = {}
    for response in responses([target]):
        scores = found.scores[response]
        for metric, values in scores.each.items():
            arrays[f"{response.shuffled}/{metric}"] = values
            arrays[f"{response.shuffled}/{metric}/degenerate"] = np.array(scores.degenerate[metric])
    effects = found.effects.get(target.name)
    return arrays | ({} if effects is None else {f"effects/{name}": values for name, values in vars(effects).items()})


def _unpacked(target: Target, arrays: Mapping[str, Array]) -> Scored:
    def of(shuffled: bool) -> Scores:
        names = [metric.name for metric in target.metrics]
        degenerate = {name: int(arrays[f"{shuffled}/{name}/degenerate"]) for name in names}
        return Scores({name: arrays[f"{shuffled}/{name}"] for name in names}, degenerate)

    some = any(name.startswith("effects/") for name in arrays)
    effects = {target.name: Effects(*(arrays[f"effects/{f.name}"] for f in fields(Effects)))} if some else {}
    return Scored({response: of(response.shuffled) for response in responses([target])}, effects)
