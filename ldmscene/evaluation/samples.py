"""Which samples are read together, which are held out when, and which lend each other their labels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ldmscene.manifest import Manifest
from ldmscene.probes import assign_folds

BLOCK = 16  # samples; cached statistics depend on it


@dataclass(frozen=True)
class SampleBlock:
    """Samples that are read together, all of one fold or all held out."""

    ids: tuple[str, ...]
    lenders: tuple[str, ...] = ()
    """For training samples, the samples whose labels stand in for theirs in the control with shuffled labels."""


def training_folds(manifest: Manifest, cv: int) -> tuple[tuple[SampleBlock, ...], ...]:
    """The training samples of each fold, in blocks; supplied images are groups of their own."""
    frame = manifest.frame.assign(prompt=manifest.groups)
    train = frame[frame["split"] == "train"]
    fold = assign_folds(len(train), cv, train["prompt"].to_numpy())
    return tuple(training_blocks(train[fold == k]) for k in range(int(fold.max()) + 1))


def training_blocks(frame: pd.DataFrame) -> tuple[SampleBlock, ...]:
    """Samples of one fold in blocks of several prompts, so that a block's samples can lend each other their labels."""
    turn = frame.groupby("prompt").cumcount()
    dealt = frame.iloc[np.argsort(turn.to_numpy(), kind="stable")]
    return tuple(
        SampleBlock(tuple(ids), tuple(lend(ids, prompts)))
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
    found: list[str] = lenders.tolist()
    return found


def cut(column: pd.Series) -> list[list[str]]:
    """A column in pieces of a block's length."""
    pieces = np.array_split(column.to_numpy(), max(1, -(-len(column) // BLOCK)))  # of even length: none of one sample
    return [piece.tolist() for piece in pieces]
