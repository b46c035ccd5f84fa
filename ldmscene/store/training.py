"""What of a store a dataset of rows is made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from dask.utils import parse_bytes

from ldmscene.choices import SPLITS
from ldmscene.errors import IncompleteError, InputError, unknown
from ldmscene.rows.constants import Training
from ldmscene.rows.source import Module, Source
from ldmscene.selection import Steps, choose_names, choose_steps
from ldmscene.store.cache import Cache
from ldmscene.store.layout import BRANCHES, activation_path
from ldmscene.store.which import remedy

if TYPE_CHECKING:
    from ldmscene.store.reader import ShardArray
    from ldmscene.store.store import ActivationStore

NO_BRANCH = -1


def source_of(
    store: ActivationStore,
    modules: Sequence[str],
    steps: Steps | None,
    branch: str | None,
    split: str | None,
) -> Source:
    """The complete samples of a split, at some steps and branches.

    Raises
    ------
    InputError
        If there is no such step, branch or split.
    IncompleteError
        If no sample of the split is complete in all of the modules.
    """
    arrays = [store.info(activation_path(name)) for name in modules]
    found = tuple(
        Module(name, array, tuple(array.maps.values())[:-1], array.maps["channel"], array.layout.dtype)
        for name, array in zip(modules, arrays, strict=True)
    )
    branches, codes = _branches(store, arrays, branch)
    samples = store.rows(_complete(store, modules, split))
    chosen = tuple(sorted(set(choose_steps(steps, _shared_steps(store, modules), "all of these modules"))))
    return Source(found, tuple(samples), chosen, branches, codes, tuple(arrays[0].maps)[:-1])


def training_of(store: ActivationStore, source: Source) -> Training:
    """The training samples of what a source is of, whatever split it serves."""
    names = [module.name for module in source.modules]
    ids = _complete(store, names, "train")
    checksums = {name: store.checksums(activation_path(name)) for name in names}
    versions = {name: [known[sample_id] for sample_id in ids] for name, known in checksums.items()}
    training = Source(
        source.modules, tuple(store.rows(ids)), source.steps, source.branches, source.branch_codes, source.axes
    )
    return Training(training, versions, partial(Cache.beside, store.root))


def chosen_modules(store: ActivationStore, modules: str | Iterable[str]) -> list[str]:
    """Names, beginnings or globs of modules as names, each once.

    Raises
    ------
    UnknownNameError
        If one fits none.
    """
    names = choose_names("module in this store", modules, store.modules)
    if not names:
        raise InputError("modules: expected at least one, got none")
    return names


def parse_memory(memory: str | int) -> int:
    """Bytes of a size such as "2GB"; InputError if it is none."""
    try:
        return int(parse_bytes(memory))
    except (ValueError, TypeError) as error:
        raise InputError(f"memory: expected a size such as '2GB', got {memory!r}") from error


def _complete(store: ActivationStore, modules: Sequence[str], split: str | None) -> list[str]:
    if split is not None and split not in SPLITS:
        raise unknown("split", split, SPLITS)
    frame = store.manifest.frame
    wanted = frame["sample_id"][frame["split"].eq(split)] if split else frame["sample_id"]
    whole = set.intersection(*(store.complete(activation_path(name)) for name in modules))
    found = [sample_id for sample_id in wanted if sample_id in whole]
    if not found:
        of_it = f" of split {split!r}" if split else ""
        dropped = any(not store.dropped(activation_path(name)).isdisjoint(wanted) for name in modules)
        raise IncompleteError(f"no sample{of_it} has activations of {', '.join(modules)}; {remedy(dropped, many=True)}")
    return found


def _shared_steps(store: ActivationStore, modules: Sequence[str]) -> list[int]:
    """Steps at which all of some modules run."""
    each = [store.steps_of(name) for name in modules]
    shared = [step for step in each[0] if all(step in some for some in each)]
    if not shared:
        raise InputError(f"modules: {', '.join(modules)} share no step; make a dataset of each")
    return shared


def _branches(
    store: ActivationStore, arrays: Sequence[ShardArray], branch: str | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Positions along the axis, and codes; a decoder's modules alone have none, of code −1."""
    known = store.config["branches"]
    if not any("branch" in array.dims for array in arrays):
        if branch is not None:
            raise InputError(f"branch: {arrays[0].path.module} runs once for both branches; leave branch= out")
        return (0,), (NO_BRANCH,)
    if branch is not None and branch not in known:
        raise unknown("branch in this store", branch, known)
    chosen = tuple(range(len(known))) if branch is None else (known.index(branch),)
    return chosen, tuple(BRANCHES.index(known[one]) for one in chosen)
