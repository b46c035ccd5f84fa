"""From a manifest to a store of activations, and what that would take."""

from __future__ import annotations

from dataclasses import replace
from os.path import realpath
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ldmscene.calls.checking import check_model, check_order, check_place
from ldmscene.calls.dry_run import estimated_by
from ldmscene.calls.opening import opened
from ldmscene.errors import InputError
from ldmscene.extraction.inputs import read_inputs
from ldmscene.extraction.options import DryExtraction, Extraction, FromPrompts
from ldmscene.manifest import Manifest
from ldmscene.options import takes
from ldmscene.progress import say
from ldmscene.store.layout import MANIFEST

if TYPE_CHECKING:
    from ldmscene.store import ActivationStore

Asked = TypeVar("Asked", bound=FromPrompts)


@estimated_by(DryExtraction)
@takes(Extraction)
def extract(asked: Extraction) -> ActivationStore | dict[str, float]:
    """Generate what a store lacks of a manifest, and store the denoiser's activations.

    The same call on a finished store runs no model; more prompts or modules extend it.

    Parameters
    ----------
    {parameters}

    Returns
    -------
    ActivationStore, or a dict
        For a dry run, what `estimate` returns.

    Raises
    ------
    InputError
        If an argument can't be used; nothing is written.
    FingerprintError
        If the store was made with another configuration; the message says what differs.
    WriteError
        If the disk fails; finished samples stay.
    LdmsceneError
        If values are infinite or NaN, once all other samples are stored, and all is summed that can be without them;
        or if workers left samples missing.

    Warns
    -----
    LeakWarning
        If prompts of two splits are the same tokens to the model, with the pairs; `leaks="refuse"` makes it an error.
    UserWarning
        If prompts are longer than the model reads.

    Examples
    --------
    >>> import ldmscene
    >>> store = ldmscene.extract("tiny-scenes", [("a red cube", 1), ("a blue cone", 2)], "stores/two", steps=2)
    >>> store.images().shape
    (2, 64, 64, 3)
    """
    asked, table = _checked(asked)
    from ldmscene.calls import extracting  # which loads torch, now that all that is asked for makes sense

    return extracting.estimate(asked, table) if asked.dry_run else extracting.extract(asked, table)


@takes(FromPrompts)
def estimate(asked: FromPrompts) -> dict[str, float]:
    """Run the first batch that a store lacks of a manifest, and return what all that is missing would take.

    Nothing is written. `extract` takes the same arguments.

    Parameters
    ----------
    {parameters}

    Returns
    -------
    dict
        Of what the store lacks: `samples`, `bytes`, `files`, `seconds`; where something is missing,
        `bytes_of_memory`, the most that this process has held, model and first batch included; of it,
        `bytes_of_memory_for_samples` at most; and what these follow from, by names that say their units.

    Raises
    ------
    InputError
        If an argument can't be used.
    FingerprintError
        If the store was made with another configuration; the message says what differs.

    Examples
    --------
    >>> import ldmscene
    >>> found = ldmscene.estimate("tiny-scenes", [("a red cube", 1), ("a blue cone", 2)], "stores/new", steps=2)
    >>> found["samples"], found["denoiser_calls_per_sample"]
    (2, 2)
    """
    asked, table = _checked(asked)
    from ldmscene.calls import extracting

    return extracting.estimate(asked, table)


def _checked(asked: Asked) -> tuple[Asked, Manifest]:
    """What is asked for with its inputs read, and the manifest, once no path or name leads nowhere."""
    check_order(asked.model)
    if asked.control is not None:
        asked = replace(asked, control=_labelled(opened(asked.control)))
    table, inputs = read_inputs(_source(asked), asked.inputs)
    check_place(asked.store)
    check_model(asked.model, asked.revision)
    _say_empty(table)
    return replace(asked, inputs=inputs), table


def _labelled(store: ActivationStore) -> ActivationStore:
    """A control's statistics are of labels, so that its store has some."""
    if not store.targets:
        raise InputError(f"control: {store.root} has no labels yet; label it first")
    return store


def _source(asked: FromPrompts) -> Any:
    """The manifest; of a control its whole store's, where that is named, or its file, which may lack later samples."""
    if asked.control is None or not isinstance(asked.manifest, str | Path):
        return asked.manifest
    store = opened(asked.control)  # which it is already
    own = [str(store.root), f"{store.root}/{MANIFEST}"]
    return store.manifest if realpath(asked.manifest) in map(realpath, own) else asked.manifest


def _say_empty(table: Manifest) -> None:
    """An empty prompt may be meant, or a column that wasn't filled."""
    frame = table.frame
    empty = frame["sample_id"][frame["prompt"].str.strip() == ""]
    if len(empty):
        say(f"{len(empty)} of {len(table)} prompts are empty, that of {empty.iloc[0]} among them")
