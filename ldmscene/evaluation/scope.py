"""Which targets, modules and steps of a store are evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ldmscene.errors import InputError
from ldmscene.evaluation.targets import target_kind
from ldmscene.selection import Steps, choose_names, choose_steps
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
        steps: Steps | None,
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
            list(dict.fromkeys(choose_steps(steps, store.steps))),
        )


def _chosen(argument: str, kind: str, asked: str | Iterable[str] | None, known: Sequence[str]) -> list[str]:
    names = list(known) if asked is None else choose_names(kind, asked, known)
    if not names:
        raise InputError(f"{argument}: expected at least one, got none; None means all that the store has")
    return names
