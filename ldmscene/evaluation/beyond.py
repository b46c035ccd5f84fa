"""What probes may use anyway, by name, and what follows for it from the labels alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ldmscene.cells import MapSize
from ldmscene.choices import LATENT, POSITION
from ldmscene.errors import InputError
from ldmscene.evaluation.bench import Bench
from ldmscene.evaluation.kind import Known
from ldmscene.evaluation.nesting import basis_of
from ldmscene.evaluation.samples import SampleBlock
from ldmscene.evaluation.targets import Response, Target
from ldmscene.probes import LabelProducts, Position, Targets, choose_side, merge_all, terms
from ldmscene.store import ActivationStore
from ldmscene.store.layout import LATENTS, activation_path

PRODUCTS = "products"
VERSION = 1  # of the products; to be counted up with every change of them


@dataclass(frozen=True)
class Beyond:
    """What is known anyway."""

    position: bool
    targets: tuple[str, ...]
    latent: bool = False

    @property
    def names(self) -> list[str]:
        return [POSITION] * self.position + [LATENT] * self.latent + list(self.targets)

    @classmethod
    def of(cls, beyond: str | Iterable[str], known: Sequence[str]) -> Beyond:
        """From names: "position", "latent" and targets that a store has.

        Raises
        ------
        InputError
            If a name is neither.
        """
        names = dict.fromkeys([beyond] if isinstance(beyond, str) else beyond)
        for name in names:
            if name not in (POSITION, LATENT, *known):
                raise InputError(
                    f"beyond: expected 'position', 'latent' or targets with labels in this store ({', '.join(known)}), "
                    f"got {name!r}"
                )
        targets = tuple(name for name in names if name not in (POSITION, LATENT))
        return cls(POSITION in names, targets, LATENT in names)

    def check_stored(self, store: ActivationStore) -> None:
        """Refuse the latent where statistics stand in for activations: they hold no products with it."""
        if self.latent and any(store.dropped(activation_path(module)) for module in store.modules):
            raise InputError(
                f"beyond: 'latent' needs activations, and {store.root} has statistics instead, which hold no latents; "
                "leave it out, or extract with keep='activations'"
            )

    def check(self, targets: Iterable[str]) -> None:
        """Refuse a target that is to be predicted and is known, too."""
        for name in targets:
            if name in self.targets:
                raise InputError(
                    f"beyond: expected what is known beside the targets, but {name!r} is to be predicted, too; take it "
                    "out of targets= or of beyond="
                )


def known_of(bench: Bench, beyond: Beyond, sizes: Iterable[MapSize]) -> dict[MapSize, tuple[Known, ...]]:
    """What nested fits of each group use on maps of each size.

    All targets share the number of functions of the position, which is that of the target that wants most.
    """
    terms_of = {
        size: max(_terms(bench, target, size) for target in bench.task.targets) if beyond.position else 0
        for size in set(sizes)
    }
    return known_with(bench, beyond, terms_of)


def known_with(bench: Bench, beyond: Beyond, terms_of: Mapping[MapSize, int]) -> dict[MapSize, tuple[Known, ...]]:
    """What nested fits of each group use on maps of each size, with a set number of functions of the position.

    Parameters
    ----------
    bench, beyond
        The task, and what its probes may use anyway.
    terms_of
        How many functions of the position, by the size (y, x) of maps.

    Returns
    -------
    dict
        By size, one `Known` for each of the bench's groups of targets.
    """
    supplied = tuple(Response(t.name, t.kind == "binary") for t in bench.task.targets if t.labels in beyond.targets)
    products = [_fold_products(bench, beyond, group) for group in bench.grouped]
    latents = bench.store.info(LATENTS).layout.shape[1] if beyond.latent else 0
    return {
        size: tuple(Known(count, supplied, together, beyond.position, latents) for together in products)
        for size, count in terms_of.items()
    }


def _terms(bench: Bench, target: Target, size: MapSize) -> int:
    """How many functions of the position one target wants; none where too little is labelled, which fits will say."""
    folds = []
    for blocks in bench.task.folds:
        cells = (bench.labels[target.name, block].cells(bench.cache, size)[0] for block in blocks)
        labels = (Targets.of({target.name: own}) for own in cells)  # of one block at a time
        folds.append(merge_all(Position(one, basis_of(size)).alone for one in labels))
    some = [fold for fold in folds if fold.weight]
    return terms(size, choose_side(some, size)) if len(some) > 1 else 0


def _fold_products(bench: Bench, beyond: Beyond, group: Sequence[Target]) -> tuple[np.ndarray, ...]:
    if not beyond.targets:
        return ()
    supplied = [target.name for target in bench.task.targets if target.labels in beyond.targets]
    names = [target.name for target in group if target.name not in supplied] + supplied
    return tuple(_joined([products(bench, block, names) for block in blocks]).whole() for blocks in bench.task.folds)


def products(bench: Bench, block: SampleBlock, names: Sequence[str]) -> LabelProducts:
    """How several targets' labels vary together over the pixels of each sample, from the cache or into it.

    Raises
    ------
    InputError
        If one of them has holes where another has none.
    """
    key = {"version": VERSION, "labels": [bench.labels[name, block].key_of_labels() for name in names]}
    if not bench.cache.has(PRODUCTS, key):
        maps = {name: bench.labels[name, block].read(bench.store, block.ids) for name in names}
        bench.cache.write(PRODUCTS, key, vars(LabelProducts.of(maps)))
    return LabelProducts(**bench.cache.read(PRODUCTS, key))


def _joined(parts: Sequence[LabelProducts]) -> LabelProducts:
    return LabelProducts(*(np.concatenate([vars(part)[name] for part in parts]) for name in vars(parts[0])))
