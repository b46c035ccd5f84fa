"""What is to be labelled, checked against the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from ldmscene.choices import LATENT, POSITION, SPLITS, LabelledPictures
from ldmscene.errors import IncompleteError, InputError, unknown
from ldmscene.labelers import CLASSIFICATION
from ldmscene.store import ActivationStore, ArraySpec
from ldmscene.store.layout import (
    IMAGE,
    PREVIEWS,
    intermediate_path,
    is_target,
    label_path,
    prediction_path,
)  # fmt: skip
from ldmscene.text import counted

ON = get_args(LabelledPictures)


def check_target(name: str) -> None:
    """Refuse a name that no target may have.

    Raises
    ------
    InputError
    """
    if not (isinstance(name, str) and is_target(name)):
        got = name[:250] if isinstance(name, str) else name
        raise InputError(f"a target's name is letters, digits, '.', '_' and '-', 200 at most; got {got!r}")
    if name in (POSITION, LATENT):
        raise InputError(
            f"a target's name is anything but {POSITION!r} and {LATENT!r}, which mean something else in beyond=; got "
            f"{name!r}, so choose another, such as {name + '-map'!r}"
        )


@dataclass(frozen=True)
class Wanted:
    """What is to be labelled, checked against the store."""

    store: ActivationStore
    target: str
    on: str
    split: str | None
    only: frozenset[str] | None = None  # of these samples; all where not given

    def __post_init__(self) -> None:
        check_target(self.target)
        if self.split is not None and self.split not in SPLITS:
            raise unknown("split", self.split, SPLITS)
        if self.on not in ON:
            raise InputError(f"on must be one of {', '.join(ON)}; got {self.on!r}")
        if not self.sample_ids:
            raise InputError(f"no sample of split {self.split!r} in {self.store.root}")
        have = self.store.complete(IMAGE if self.on == "image" else PREVIEWS[self.on])
        absent = set(self.sample_ids) - have
        if absent:
            pictures = "pictures" if self.on == "image" else f"{self.on} previews"
            todo = "extract them first"
            if self.on != "image" and self.split is None and have:
                todo += ", or label the split that has them by split="
            if self.on == "image" and not absent.isdisjoint(self.store.dropped(IMAGE)):
                todo = "a control stores none; label the store that it controls"
            lacking = counted(len(absent), "sample", "has", "have")
            raise IncompleteError(f"{lacking} no {pictures}, {min(absent)} among them; {todo}")

    @property
    def sample_ids(self) -> list[str]:
        """All samples of the split, in the manifest's order."""
        frame = self.store.manifest.frame
        ids = frame["sample_id"][frame["split"].eq(self.split) | (self.split is None)]
        return [s for s in ids if self.only is None or s in self.only]

    @property
    def before(self) -> Mapping[str, Any]:
        """What the store says of such labels that it has already."""
        paths = [prediction_path(self.target), label_path(self.target)]
        path = next((path for path in paths if path in self.store.paths), None)
        return {} if path is None else self.store.info(path).attributes

    def spec(self, meaning: Mapping[str, Any]) -> ArraySpec:
        """The array that takes the labels."""
        whole = meaning["kind"] == CLASSIFICATION
        dims: tuple[str, ...] = ("class",) if whole else ("Y", "X")
        shape = (len(meaning["classes"]),) if whole else self.store.info(IMAGE).layout.shape[:2]
        if self.on == "image":
            path = prediction_path(self.target) if whole else label_path(self.target)
            return ArraySpec(path, dims, shape, "float32", attributes=dict(meaning))
        path, steps = intermediate_path(self.on, self.target), len(self.store.steps)
        return ArraySpec(path, ("step", *dims), (steps, *shape), "float32", cut=1, attributes=dict(meaning))
