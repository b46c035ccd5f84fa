"""Which targets, modules and steps of a store are evaluated."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ldmscene.errors import InputError, unknown
from ldmscene.evaluation.targets import target_kind
from ldmscene.store import ActivationStore


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
        kinds: Sequence[str] | None = None,
    ) -> Scope:
        """All that the store has, where not given; of its targets, all of these kinds.

        Raises
        ------
        InputError
            If something isn't in the store, there is nothing to evaluate, or a target is of another kind.
        """
        if not store.targets:
            raise InputError(f"{store.root} has no labels yet; label it first")
        known = [name for name in store.targets if kinds is None or target_kind(store, name) in kinds]
        if targets is None and not known:
            raise InputError(f"{store.root} has no {' or '.join(kinds or ())} target, which alone this probe fits")
        chosen = _chosen(
            "targets", "target with labels in this store", known if targets is None else targets, store.targets
        )
        for name in chosen:
            if name not in known:
                raise InputError(
                    f"targets: expected {' or '.join(kinds or ())} ones, which alone this probe fits, but {name!r} is "
                    f"{target_kind(store, name)}; leave it out, or evaluate it with probe='ridge'"
                )
        return cls(
            chosen,
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
