"""Everything that can be asked of an extraction: the one place to add an option."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from ldmscene.choices import SPLITS, Branches, Compression, ComputeDtype, Keep, Leaks, StoredDtype
from ldmscene.errors import InputError
from ldmscene.extraction.part import Part
from ldmscene.options import about, about_of, check

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from diffusers import DiffusionPipeline

    from ldmscene.capture import Model
    from ldmscene.extraction.inputs import SampleInputs
    from ldmscene.labelers import Labeler
    from ldmscene.manifest import Manifest
    from ldmscene.store import ActivationStore
    from ldmscene.store.places import Place

INDEX = "model_index.json"  # as `capture` has it, which takes longer to load than --help may
# What runs decide themselves, and take no option for.
RUNS_DECIDE = frozenset({"previews", "part", "client", "keep", "allow_nonfinite", "control", "beyond"})
MODEL = """"tiny-scenes" (the embedded model), a local folder, a hub id, or a loaded diffusers pipeline."""
MODULES = """A preset ("self-attention", "cross-attention", "resnet", "all-blocks"), a glob, a name, or a list of
    them. Names that begin with another part of the pipeline mean modules there, such as `vae.decoder.mid_block` or
    `text_encoder.encoder.layers.*`; a text encoder runs once, before the first step, and the decoder once, after the
    last, or with `previews=True` at every step, on the picture as it is predicted there."""
DRY_RUN = """Run the first batch that is missing, and return what all that is missing would take: bytes, files, memory,
    seconds. Nothing is written."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What every extraction can be asked for."""

    negative_prompt: str = field(default="", metadata=about("The unconditional branch's prompt.", plan=True))
    branch: Branches = field(
        default="cond",
        metadata=about("Halves of classifier-free guidance to store.", choices=get_args(Branches), plan=True),
    )
    dtype: StoredDtype = field(
        default="float16",
        metadata=about(
            """Precision of the stored activations. A sample with values that overflow isn't stored, and is an error at
            the end.""",
            choices=get_args(StoredDtype),
            plan=True,
        ),
    )
    device: str | None = field(
        default=None,
        metadata=about(
            """Where a model that is named rather than loaded runs, such as "cpu" or "cuda"; the fastest there is where
            not given."""
        ),
    )
    compute_dtype: ComputeDtype | None = field(
        default=None,
        metadata=about(
            """Precision in which a model that is named runs; float32 where not given, of which Flux needs 65 GB. It is
            part of the fingerprint.""",
            choices=get_args(ComputeDtype),
        ),
    )
    variant: str | None = field(
        default=None, metadata=about("""Which weights' files of a model that is named are loaded, such as "fp16".""")
    )
    revision: str | None = field(default=None, metadata=about("Branch, tag or commit of a hub id."))
    batch_size: int = field(
        default=1,
        metadata=about("Samples that go through the model together. Their noise doesn't depend on it.", least=1),
    )
    previews: bool | str = field(
        default=False,
        metadata=about(
            """Store the decoded x_t and predicted x_0 of each step: of all samples (True), or of one split, by
            name."""
        ),
    )
    compression: Compression = field(
        default="none",
        metadata=about(
            """Of what is stored: lossless saves a tenth, rounded a quarter, and both read at half the rate. "rounded"
            leaves 7 bits of an activation's mantissa, and is part of the fingerprint; `ldmscene.store.compression`
            says more.""",
            choices=get_args(Compression),
        ),
    )
    progress: bool = field(default=True, metadata=about("Show a bar where there is a terminal.", flag=""))
    part: str = field(
        default="1/1",
        metadata=about(
            """"2/4": the second of four processes that fill one store at once, without knowing of each other. A part
            is a share of the batches, so that all four must have the same `batch_size`."""
        ),
    )
    allow_nonfinite: bool = field(
        default=False,
        metadata=about(
            """Store samples with infinite or NaN values, too. The ledger counts them, and probes can't be fitted to
            them. Activations that are summed instead must be finite all the same."""
        ),
    )

    def __post_init__(self) -> None:
        check(self)
        if self.previews not in (True, False, *SPLITS):
            raise InputError(f"previews must be True, False or a split ({', '.join(SPLITS)}); got {self.previews!r}")
        Part.parse(self.part)

    def plan(self) -> dict[str, Any]:
        """What decides what a run captures, as `capture.make_plan` takes it."""
        return {option.name: getattr(self, option.name) for option in fields(self) if about_of(option).plan}

    def weights(self) -> dict[str, str | None]:
        """How a model that is named is loaded."""
        return {name: getattr(self, name) for name in ("device", "compute_dtype", "variant", "revision")}

    def storing(self) -> dict[str, Any]:
        """How samples are stored, as `fill` and `estimate` take it."""
        return {name: getattr(self, name) for name in ("previews", "compression", "batch_size")}


@dataclass(frozen=True)
class FromPrompts(Options):
    """An extraction of samples that are generated from prompts and seeds."""

    model: str | Path | DiffusionPipeline | Model = field(metadata=about(MODEL))
    manifest: str | Path | Manifest | pd.DataFrame | Sequence[tuple[str, int]] = field(
        metadata=about(
            "A CSV or Parquet file, a pandas.DataFrame, a `Manifest`, or (prompt, seed) pairs; see `read_manifest`."
        )
    )
    store: str | Place | None = field(
        default=None,
        metadata=about(
            """A folder, or `s3://bucket/prefix` (endpoint and credentials: the usual AWS environment variables).
            None: a folder under `stores/`, named by the fingerprint."""
        ),
    )
    modules: str | Sequence[str] = field(
        default="self-attention", metadata=about(MODULES, plan=True, many=True, typed=str)
    )
    steps: int = field(
        default=15,
        kw_only=True,
        metadata=about(
            """Denoising steps. Where a scheduler calls the denoiser several times in one, each call is a step of the
            store. 15 steps at guidance 7.5 are those of Chen et al. (2023). Distilled models need their own: Flux
            schnell 4, Sana Sprint 2, Z-Image turbo 8.""",
            least=1,
            plan=True,
        ),
    )
    guidance_scale: float = field(
        default=7.5,
        kw_only=True,
        metadata=about(
            """Strength of guidance, as the pipeline takes it. For most, 1 turns guidance off, and there is no
            unconditional branch then.""",
            plan=True,
        ),
    )
    scheduler: object = field(
        default=None,
        kw_only=True,
        metadata=about(
            """A diffusers class name, or in Python a scheduler; the pipeline's own where not given. It is part of the
            fingerprint.""",
            typed=str,
        ),
    )
    height: int | None = field(
        default=None,
        kw_only=True,
        metadata=about("Pixels from top to bottom; the model's own where not given.", plan=True, typed=int),
    )
    width: int | None = field(
        default=None,
        kw_only=True,
        metadata=about("Pixels from left to right; the model's own where not given.", plan=True, typed=int),
    )
    inputs: Mapping[str, str | Path | float] | SampleInputs | None = field(
        default=None,
        kw_only=True,
        metadata=about(
            """What the pipeline's call takes beside the prompt, by the names of its parameters: a folder of pictures,
            in which the manifest's column of that name says each sample's file; the file of a picture that all samples
            share; or a number, such as strength. Files are read as `extract_images` reads them, and the pipeline
            resizes them. A sample's pictures are part of what it is: another picture makes another sample, one picture
            lies in one split, and samples that share their `image`, or the first input by name, are one group. What all
            share is part of the fingerprint.""",
            flag="--input",
        ),
    )
    leaks: Leaks = field(
        default="warn",
        kw_only=True,
        metadata=about(
            """Whether to "warn" of or "refuse" prompts of two splits that the model reads as one, since they differ in
            capitals alone, or after its last token. Both name the pairs.""",
            choices=get_args(Leaks),
        ),
    )
    client: Any = field(
        default=None,
        kw_only=True,
        metadata=about(
            """A `dask.distributed` client: each worker loads a pipeline of its own and fills a part; when one is lost,
            the others do its part. The model is then a folder or a hub id that every worker can read, the scheduler a
            name.""",
        ),
    )
    keep: Keep = field(
        default="activations",
        kw_only=True,
        metadata=about(
            """With "statistics", activations of training samples aren't stored: sums are, from which `evaluate` fits
            probes of the targets in labelers=. Samples are labelled as they are generated, and wait in memory until
            they are summed: at most 1 GiB of them, or 16 samples where these are more. Held-out samples are stored.""",
            choices=get_args(Keep),
        ),
    )
    labelers: Mapping[str, str | Labeler | Callable[..., Any]] | None = field(
        default=None,
        kw_only=True,
        metadata=about("Target to labeler, as `label` takes them, for keep='statistics'."),
    )
    control: ActivationStore | str | Path | None = field(
        default=None,
        kw_only=True,
        metadata=about(
            """A store with all its labels, whose control this is to be: the model's weights are permuted, and nothing
            is stored but what `evaluate` needs as `permuted` for that store's targets. The manifest and all options are
            those of that store, whose folder stands for its manifest, and whose modules are taken where none are
            named.""",
        ),
    )
    beyond: str | Sequence[str] = field(
        default="position",
        kw_only=True,
        metadata=about("Of a control: what is known anyway, as `evaluate` has it.", many=True, typed=str),
    )

    def __post_init__(self) -> None:
        if self.control is None and self.beyond not in ("position", ["position"], ("position",)):
            raise InputError("beyond= is for control=; leave it out, and pass it to evaluate")
        super().__post_init__()
        check_scale(self.guidance_scale)
        alone = self.client is None and self.part == "1/1"
        if self.keep == "statistics" and not (alone and self.labelers):
            raise InputError("keep='statistics' needs labelers=, and runs in one process: without client= and part=")
        if self.labelers and self.keep != "statistics":
            raise InputError("labelers= is for keep='statistics'; leave it out, and label the store afterwards")
        if self.control is not None and not (alone and self.keep == "activations" and self.previews is False):
            raise InputError("control= runs in one process, and takes no client=, part=, keep= or previews=")
        named = isinstance(self.model, str | Path) and isinstance(self.scheduler, str | None)
        if self.client is not None and not named:
            raise InputError("with client=, name the model and the scheduler: each worker loads a pipeline of its own")


@dataclass(frozen=True)
class FromImages(Options):
    """An extraction of supplied images, each noised to chosen timesteps."""

    model: str | Path | DiffusionPipeline = field(metadata=about(MODEL))
    images: np.ndarray | str | Path | Sequence[str | Path] = field(
        metadata=about(
            """uint8 (n, Y, X, 3), a folder, or a list of files; all of the size at which the model shall see them.
            A folder's files are sorted by name as text (0.png, 1.png, 10.png, 2.png), which is the order of `prompts`,
            `seeds` and `splits`; a list stays in its own. Files are turned as EXIF says, laid over white where they are
            transparent, and read from 0 to 65535 where they have 16 bits, from 0 to 1 where they hold floats."""
        )
    )
    store: str | Path = field(
        metadata=about(
            "A folder, or `s3://bucket/prefix` (endpoint and credentials: the usual AWS environment variables)."
        )
    )
    modules: str | Sequence[str] = field(
        default="self-attention", metadata=about(MODULES, plan=True, many=True, typed=str)
    )
    timesteps: Sequence[float] = field(
        kw_only=True,
        metadata=about(
            "Of the model's training, in the order of `step`: whole numbers from 0 to 999 for most models.",
            flag="--timestep",
            typed=float,
            many=True,
        ),
    )
    prompts: str | Sequence[str] = field(
        default="", kw_only=True, metadata=about("One for all images, or one for each.", flag="--prompt")
    )
    seeds: int | Sequence[int] = field(
        default=0,
        kw_only=True,
        metadata=about(
            "Of an image's noise, the same at every timestep: one for all images, or one for each.", flag="--seed"
        ),
    )
    splits: Sequence[str] | None = field(
        default=None,
        kw_only=True,
        metadata=about('"train", "val", "test" or "unseen" for each image; drawn by image where not given.', flag=""),
    )
    guidance_scale: float = field(
        default=1.0,
        kw_only=True,
        metadata=about(
            """Strength of guidance, as the pipeline takes it. For most, 1 leaves it off, and there is no unconditional
            branch then.""",
            plan=True,
        ),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_scale(self.guidance_scale)


@dataclass(frozen=True)
class Extraction(FromPrompts):
    """What `extract` takes."""

    dry_run: bool = field(default=False, kw_only=True, metadata=about(DRY_RUN))


@dataclass(frozen=True)
class ImageExtraction(FromImages):
    """What `extract_images` takes."""

    dry_run: bool = field(default=False, kw_only=True, metadata=about(DRY_RUN))


@dataclass(frozen=True)
class DryExtraction(FromPrompts):
    """What `extract` takes where it returns an estimate: for type checkers."""

    dry_run: Literal[True] = field(kw_only=True)


@dataclass(frozen=True)
class DryImageExtraction(FromImages):
    """What `extract_images` takes where it returns an estimate: for type checkers."""

    dry_run: Literal[True] = field(kw_only=True)


def check_scale(scale: float) -> None:
    """Refuse a guidance scale that is no number."""
    if not math.isfinite(scale):
        raise InputError(f"guidance_scale must be a finite number, got {scale}")
