"""Which targets, modules and steps of a store are evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ldmscene.errors import InputError
from ldmscene.evaluation.targets import target_kind
from ldmscene.selection import Steps, choose_names, choose_steps
from ldmscene.store import ActivationStore
from ldmscene.store.layout import activation_path


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
        if not store.modules:
            edited = " an edited store holds none unless `intervene(modules=…)` names some;" * ("edit" in store.config)
            raise InputError(f"modules: {store.root} holds no activations;{edited} evaluate the store that has them")
        names = _chosen("modules", "module in this store", modules, _with_grid(store, modules))
        return cls(chosen, *_steps(store, names, steps, named=modules is not None))


def evaluated_modules(store: ActivationStore) -> list[str]:
    """A store's modules that pixels' labels fit to."""
    return [name for name in store.modules if "y" in store.info(activation_path(name)).maps]


def _with_grid(store: ActivationStore, asked: object) -> list[str]:
    """Modules that may be meant; those that nobody names and no pixel's label fits to are left out."""
    return store.modules if asked is not None else evaluated_modules(store) or store.modules


def _steps(
    store: ActivationStore, modules: Sequence[str], steps: Steps | None, *, named: bool
) -> tuple[list[str], list[int]]:
    """Of some modules those that run at one of the steps that are meant, and these."""
    own = {name: store.steps_of(name) for name in modules}
    known = [step for step in store.steps if any(step in some for some in own.values())]
    where = "this store" if known == store.steps else "these modules"
    chosen = list(dict.fromkeys(choose_steps(steps, known, where)))
    apart = [name for name in modules if not set(own[name]) & set(chosen)]
    if apart and named:
        raise InputError(
            f"steps: {apart[0]} runs at step {own[apart[0]][0]} alone; ask for that, too, or leave it out of modules="
        )
    return [name for name in modules if name not in apart], chosen


def _chosen(argument: str, kind: str, asked: str | Iterable[str] | None, known: Sequence[str]) -> list[str]:
    names = list(known) if asked is None else choose_names(kind, asked, known)
    if not names:
        raise InputError(f"{argument}: expected at least one, got none; None means all that the store has")
    return names
