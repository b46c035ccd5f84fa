"""Everything that can be asked of an intervention."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from ldmscene.choices import SPLITS, StoredDtype
from ldmscene.errors import InputError
from ldmscene.extraction.part import Part
from ldmscene.options import about, check

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

    from ldmscene.capture import Model
    from ldmscene.edits import Edit
    from ldmscene.store import ActivationStore
    from ldmscene.store.places import Place

Control = str | Callable[["Edit"], "Edit"]
CONTROLS = """The same edit in ways that must not work, each with the norm of the edit's change in every cell:
    "random:N" (directions drawn as the features are distributed), "shuffled" (the pattern of a probe of other samples'
    labels), "other-target" (those of other targets' probes), "wrong-region" (half a picture away); "worst-module"
    (modules that read worst). And what is no null: "none" (no edit, which gains are counted from), "donor" (activations
    that look as wanted, which is what a perfect edit would give), "from:N" (begun later, at every Nth of its steps),
    "rule:NAME" (by another rule). Or callables from an edit to an edit."""


@dataclass(frozen=True)
class Intervention:
    """What `intervene` takes."""

    store: ActivationStore | str | Path = field(
        metadata=about("A store whose samples have labels of the edit's target, or its path.")
    )
    edit: Edit = field(metadata=about("From `Edit.of`, or loaded."))
    edited: str | Place = field(metadata=about("A folder for the new store, or `s3://bucket/prefix`."))
    split: str | None = field(
        default="test", kw_only=True, metadata=about('"train", "val", "test" or "unseen"; None: all samples.')
    )
    samples: int | Sequence[str] | None = field(
        default=None, kw_only=True, metadata=about("Of the split: ids, or how many from the first on; None: all.")
    )
    controls: Control | Sequence[Control] = field(default=("none", "random:5"), kw_only=True, metadata=about(CONTROLS))
    modules: str | Sequence[str] = field(
        default=(), kw_only=True, metadata=about("Whose outputs are stored, as of `extract`; none where empty.")
    )
    dtype: StoredDtype = field(
        default="float16",
        kw_only=True,
        metadata=about("Precision of stored activations.", choices=get_args(StoredDtype)),
    )
    previews: bool | str = field(
        default=False,
        kw_only=True,
        metadata=about("Store the decoded x_t and predicted x_0 of each step, as of `extract`."),
    )
    model: str | Path | DiffusionPipeline | Model | None = field(
        default=None,
        kw_only=True,
        metadata=about("The pipeline that made the store; by the name that the store has for it where None."),
    )
    device: str | None = field(
        default=None, kw_only=True, metadata=about("Where a model that is named runs; the fastest there is where None.")
    )
    batch_size: int = field(
        default=1, kw_only=True, metadata=about("Samples that go through the model together.", least=1)
    )
    part: str = field(
        default="1/1",
        kw_only=True,
        metadata=about('"2/4": the second of four processes that fill one store at once.'),
    )
    progress: bool = field(default=True, kw_only=True, metadata=about("Show a bar where there is a terminal."))
    dry_run: bool = field(
        default=False,
        kw_only=True,
        metadata=about(
            """Time a batch of each rule, and return what all that is missing would take: bytes, runs, seconds. Nothing
            is written."""
        ),
    )

    def __post_init__(self) -> None:
        check(self)
        Part.parse(self.part)
        if self.previews not in (True, False, *SPLITS):
            raise InputError(f"previews must be True, False or a split ({', '.join(SPLITS)}); got {self.previews!r}")
        if self.samples is not None and (self.samples if isinstance(self.samples, int) else len(self.samples)) < 1:
            raise InputError(f"samples: expected a count of at least 1, or ids; got {self.samples}")


@dataclass(frozen=True)
class DryIntervention(Intervention):
    """What `intervene` takes where it returns an estimate: for type checkers."""

    dry_run: Literal[True] = field(kw_only=True)
