"""What a run of a pipeline captures: everything that is decided before prompts and seeds are there."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import numpy as np
import torch
from diffusers import DiffusionPipeline
from torch import Tensor

from ldmscene.array_types import AnyArray
from ldmscene.capture.clean import predict_clean
from ldmscene.capture.conditions import check_needs, conditions, example, takes
from ldmscene.capture.decoding import decoder_shapes
from ldmscene.capture.families import Family, default_latent, family_of
from ldmscene.capture.fold import Folding
from ldmscene.capture.hooks import quiet
from ldmscene.capture.identity import WeightHashes, compute_dtype, identity
from ldmscene.capture.inputs import Inputs
from ldmscene.capture.latents import latent_channels, unpack, vae_factor
from ldmscene.capture.layout import TOKENS
from ldmscene.capture.modules import ModuleShape
from ldmscene.capture.parts import find_in_parts, reads_text
from ldmscene.capture.pictures import decode
from ldmscene.capture.quiet import quietly
from ldmscene.capture.shapes import FirstCall, module_shapes, rehearse
from ldmscene.capture.source import autoencoder_of, denoiser_of
from ldmscene.capture.supplied import leads_along
from ldmscene.capture.texts import text_shapes
from ldmscene.choices import StoredDtype
from ldmscene.errors import InputError

BRANCH_CHOICES = {"cond": ("cond",), "uncond": ("uncond",), "both": ("uncond", "cond")}
PARTS = 3  # uncond, cond and perturbed


@dataclass(frozen=True)
class Plan:
    """Everything that decides what a run captures, except prompts and seeds; checked when built.

    Attributes
    ----------
    modules : tuple of ModuleShape
        Of the denoiser.
    timesteps : tuple of float
        One for each denoiser call; longer than `steps` for schedulers that call more than once a step.
    inputs : Inputs
        What the pipeline is handed beside prompts.
    calls : tuple of tuple of str
        Branches of each of the denoiser's calls within a step, once `rehearsed` has told them; empty before.
    others : tuple of ModuleShape
        Of the pipeline's other parts: text encoders, then the autoencoder.
    texts : dict of str to tuple of str
        For each text encoder among these, the branches of what it reads, in its order.
    """

    pipeline: DiffusionPipeline
    modules: tuple[ModuleShape, ...]
    timesteps: tuple[float, ...]
    steps: int
    guidance_scale: float
    negative_prompt: str
    height: int
    width: int
    branches: tuple[str, ...]
    dtype: str
    folding: Folding
    hashes: WeightHashes = field(default_factory=WeightHashes)
    inputs: Inputs = field(default_factory=Inputs)
    calls: tuple[tuple[str, ...], ...] = ()
    others: tuple[ModuleShape, ...] = ()
    texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def reading(self) -> tuple[ModuleShape, ...]:
        """Modules of text encoders."""
        return tuple(module for module in self.others if module.part in self.texts)

    @property
    def drawing(self) -> tuple[ModuleShape, ...]:
        """Modules of the autoencoder."""
        return tuple(module for module in self.others if module.part not in self.texts)

    @property
    def every(self) -> tuple[ModuleShape, ...]:
        """All modules, in the order in which they run."""
        return (*self.reading, *self.modules, *self.drawing)

    def only(self, names: Container[str]) -> Plan:
        """The same run, of which fewer modules are captured."""
        few, others = (tuple(m for m in some if m.name in names) for some in (self.modules, self.others))
        return replace(self, modules=few, others=others)

    @property
    def latent(self) -> tuple[int, int]:
        return self.folding.latent

    @property
    def compute_dtype(self) -> str:
        """The type that the denoiser computes in, such as `float32`."""
        return compute_dtype(self.pipeline)

    @property
    def supplied(self) -> bool:
        """Whether pictures are supplied rather than generated."""
        return leads_along(self.pipeline.scheduler)

    @property
    def applied_guidance(self) -> float:
        """The scale by which the pipeline guides, which some count from another number than others."""
        return self.guidance_scale + self.folding.family.added_guidance

    def own(self, stepped: Tensor) -> Tensor:
        """A scheduler's samples; where the pipeline steps each once for each branch, those of one branch."""
        family = self.folding.family
        doubled = family.doubled and self.guidance_scale > family.guided_above
        return stepped[: len(stepped) // 2] if doubled else stepped

    @property
    def step_bytes(self) -> int:
        """Of all modules' outputs for one sample at one step, over as many parts as a pipeline can compute at once."""
        return PARTS * sum(m.values for m in self.every) * np.dtype(self.dtype).itemsize

    def in_order(self, modules: Sequence[str]) -> list[str]:
        """Module names in the order in which the pipeline runs them."""
        if not modules:
            return []
        own, others = find_in_parts(self.pipeline, modules)
        reading = [name for part, names in others.items() if reads_text(part) for name in names]
        return [*reading, *own, *(name for part, names in others.items() if not reads_text(part) for name in names)]

    def rehearsal(self, prompt: str | None = None, count: int = 1) -> dict[str, Any]:
        """Arguments of the pipeline's call for samples that nobody asked for, the same ones at every call."""
        prompts = [example(self.pipeline) if prompt is None else prompt] * count
        pictures = self.inputs.examples(self.pipeline, (self.height, self.width), count)
        return self.arguments(prompts, range(count), pictures)

    def arguments(
        self, prompts: Sequence[str], seeds: Sequence[int], pictures: Mapping[str, Sequence[AnyArray]] | None = None
    ) -> dict[str, Any]:
        """Of the pipeline's call, for a batch; `pictures` are those of each sample, by input."""
        return self.inputs.arguments(pictures or {}, len(seeds)) | _call_arguments(
            self.pipeline,
            self.folding.family,
            **conditions(self.pipeline, prompts),
            negative_prompt=[self.negative_prompt] * len(prompts) if self._negative else None,
            generator=[torch.Generator("cpu").manual_seed(int(seed)) for seed in seeds],
            num_inference_steps=self.steps,
            guidance_scale=self.guidance_scale,
            height=self.height,
            width=self.width,
        )

    @property
    def _negative(self) -> bool:
        """Whether the pipeline gets a negative prompt; otherwise it has its own unconditional input."""
        family = self.folding.family
        return bool(self.negative_prompt) or (family.asks_negative and self.guidance_scale > family.guided_above)

    def config(self) -> dict[str, Any]:
        """What the fingerprint covers."""
        return {
            **identity(self.pipeline, self.hashes),
            "source": "images" if self.supplied else "prompts",
            "steps": list(self.timesteps) if self.supplied else self.steps,
            "guidance_scale": float(self.guidance_scale),
            "negative_prompt": self.negative_prompt,
            "height": self.height,
            "width": self.width,
            "branches": list(self.branches),
            "dtype": self.dtype,
            "captured": "module output",
            **self.inputs.config(),
        }


@quietly()
def make_plan(
    pipeline: DiffusionPipeline,
    *,
    modules: str | Sequence[str],
    steps: int,
    guidance_scale: float,
    negative_prompt: str,
    height: int | None,
    width: int | None,
    branch: str,
    dtype: str,
    hashes: WeightHashes | None = None,
    inputs: Inputs | None = None,
    decode_each: bool = False,
) -> Plan:
    """Check the arguments of an extraction against a pipeline.

    `decode_each`: the autoencoder's modules are captured at every step, rather than at the last.

    Raises
    ------
    InputError
        If one of them doesn't fit; the message names it and what would.
    """
    _one_of("branch", branch, BRANCH_CHOICES)
    _one_of("dtype", dtype, get_args(StoredDtype))
    if steps < 1:
        raise InputError(f"steps must be at least 1, got {steps}")
    if not math.isfinite(guidance_scale):
        raise InputError(f"guidance_scale must be a finite number, got {guidance_scale}")
    inputs = inputs or Inputs()
    inputs.check(pipeline)
    check_needs(pipeline, inputs.names)
    _check_picture(pipeline)
    denoiser = denoiser_of(pipeline)[1]
    family = family_of(denoiser)
    if "uncond" in BRANCH_CHOICES[branch] and guidance_scale <= family.guided_above:
        raise InputError(
            f"guidance_scale {guidance_scale} runs no unconditional branch; use branch='cond' or a scale above "
            f"{family.guided_above:g}"
        )
    if (family.distilled or pipeline.config.get("is_distilled")) and (branch != "cond" or negative_prompt):
        raise InputError(
            f"the guidance of {type(pipeline).__name__} is distilled into its denoiser: it has no unconditional branch "
            "and no negative prompt; use branch='cond'"
        )
    asked, (height, width) = (height, width), _size(pipeline, family, height, width, inputs)
    names, others = find_in_parts(pipeline, modules)
    factor = vae_factor(pipeline)
    plan = Plan(
        pipeline=pipeline,
        modules=(),
        timesteps=(),
        steps=steps,
        guidance_scale=guidance_scale,
        negative_prompt=negative_prompt,
        height=height,
        width=width,
        branches=BRANCH_CHOICES[branch],
        dtype=dtype,
        folding=Folding(family, (height // factor, width // factor)),
        hashes=hashes or WeightHashes(),
        inputs=inputs,
    )
    with quiet(pipeline):
        first = rehearse(pipeline, plan.rehearsal("" if "prompt" in takes(pipeline) else None), inputs.names)
    plan = _at_the_size_of_its_picture(plan, first, asked)
    if first.size not in (None, plan.latent):
        drawn = " × ".join(str(side * factor) for side in first.size or ())
        raise InputError(f"{type(pipeline).__name__} draws {drawn} where {height} × {width} is asked for; ask for that")
    packed = first.sample.shape[1] if family.packed and first.sample is not None else None
    if packed not in (None, plan.latent[0] // 2 * (plan.latent[1] // 2)):
        raise InputError(
            f"{type(pipeline).__name__} draws another size than {height} × {width}, which is asked for, with {packed} "
            "tokens of 2 × 2 latents; ask for the size that it draws"
        )
    image_tokens = 0 if family.known else first.image_tokens(denoiser.config.get("patch_size"))
    folding = replace(plan.folding, text_tokens=first.text_tokens, image_tokens=image_tokens)
    shapes = module_shapes(denoiser, names, folding, first)
    plan = replace(plan, modules=tuple(shapes), timesteps=first.timesteps, folding=folding)
    if not family.known:
        _check_latents(plan, first)
    _check_lengths(plan, first)
    return _with_others(plan, others, decode_each=decode_each)


def _with_others(plan: Plan, names: Mapping[str, Sequence[str]], *, decode_each: bool) -> Plan:
    """The plan with modules of other parts than the denoiser, by part."""
    found: list[ModuleShape] = []
    texts: dict[str, tuple[str, ...]] = {}

    def rehearsed(prompt: str, count: int) -> None:
        rehearse(plan.pipeline, plan.rehearsal(prompt, count), plan.inputs.names)

    for part, some in names.items():
        if reads_text(part):
            with quiet(plan.pipeline):
                shapes, texts[part] = text_shapes(plan.pipeline, part, some, rehearsed, plan.branches)
            found += shapes
        elif plan.supplied:
            raise InputError(f"{some[0]}: pictures are supplied, so that {part} draws none; leave its modules out")
        else:
            last = None if decode_each else len(plan.timesteps) - 1
            found += decoder_shapes(plan.pipeline, part, some, plan.latent, last)
    return replace(plan, others=tuple(found), texts=texts)


def has_two_branches(pipeline: DiffusionPipeline, guidance_scale: float) -> bool:
    """Whether a pipeline runs an unconditional branch at a guidance scale."""
    family = family_of(denoiser_of(pipeline)[1])
    distilled = family.distilled or pipeline.config.get("is_distilled")
    return not distilled and guidance_scale > family.guided_above


def _check_lengths(plan: Plan, first: FirstCall) -> None:
    """Refuse modules whose tokens are more where the prompt is longer: all samples share one array."""
    flat = [m for m in plan.modules if m.dims == TOKENS]
    if not flat or "prompt" not in takes(plan.pipeline):
        return
    with quiet(plan.pipeline):
        longer = rehearse(plan.pipeline, plan.rehearsal("a longer prompt, of a few more words"), plan.inputs.names)
    for module, other in zip(
        flat, module_shapes(denoiser_of(plan.pipeline)[1], [m.name for m in flat], plan.folding, longer), strict=True
    ):
        if module.shape != other.shape:
            raise InputError(
                f"{module.name} returns {module.shape[0]} tokens for an empty prompt and {other.shape[0]} for a longer "
                "one, text among them, so that it can't be stored; capture modules that see the image alone"
            )


def _check_latents(plan: Plan, first: FirstCall) -> None:
    """Refuse a pipeline that isn't known where its latents can't be unpacked, cleaned or decoded."""
    pipeline, size = plan.pipeline, (plan.height, plan.width)
    try:
        assert first.sample is not None
        sample = first.sample[:1]
        predict_clean(pipeline.scheduler, sample, first.timesteps[0], sample)
        latents = unpack(pipeline, sample, size)
        fits = tuple(latents.shape) == (1, latent_channels(pipeline), *plan.latent)
        fits = fits and decode(pipeline, latents).shape == (1, *size, 3)
        reason = "they have another shape"
    except Exception as error:  # whatever is missing or different in a pipeline of any kind
        fits, reason = False, " ".join(f"{type(error).__name__}: {error}".split())[:200]
    if not fits:
        raise InputError(
            f"{type(pipeline).__name__} isn't a pipeline that ldmscene knows, and it can't be told how its latents "
            f"become a picture ({reason}); it can't be captured"
        )


def _check_picture(pipeline: DiffusionPipeline) -> None:
    """Refuse what isn't a picture of three channels, as those with depth are."""
    channels = autoencoder_of(pipeline).config.get("out_channels", 3)
    if "LDM3D" in type(getattr(pipeline, "image_processor", None)).__name__:
        channels = 6  # pictures and depths, of which it gives no latents
    if channels != 3:
        raise InputError(
            f"the autoencoder of {type(pipeline).__name__} decodes {channels} channels; expected 3, of a picture"
        )


def _one_of(name: str, value: str, allowed: Iterable[str]) -> None:
    if value not in allowed:
        raise InputError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")


def _at_the_size_of_its_picture(plan: Plan, first: FirstCall, asked: tuple[int | None, int | None]) -> Plan:
    """The plan at the size that its pipeline draws, where pictures decide on it and not the caller."""
    if not plan.inputs.names or "height" in takes(plan.pipeline):
        return plan
    factor, latent = vae_factor(plan.pipeline), first.size or plan.latent
    height, width = (side * factor for side in latent)
    if asked not in ((None, None), (height, width)):
        raise InputError(
            f"{type(plan.pipeline).__name__} draws {height} × {width}, the size of its picture, got {asked[0]} × "
            f"{asked[1]}; leave height and width out"
        )
    return replace(plan, height=height, width=width, folding=replace(plan.folding, latent=latent))


def _size(
    pipeline: DiffusionPipeline, family: Family, height: int | None, width: int | None, inputs: Inputs
) -> tuple[int, int]:
    factor = vae_factor(pipeline)
    own = [side * factor for side in default_latent(denoiser_of(pipeline)[1])]
    sides = [known if side is None else side for side, known in zip((height, width), own, strict=True)]
    if "height" not in takes(pipeline):
        if sides != own and not inputs.names:
            raise InputError(
                f"{type(pipeline).__name__} draws {own[0]} × {own[1]} alone, got {sides[0]} × {sides[1]}; leave "
                "height and width out"
            )
        return own[0], own[1]
    multiple = math.lcm(factor * (min(family.strides) if family.known else 2), 8)  # diffusers' own rule is 8
    if min(sides) < multiple or any(side % multiple for side in sides):
        raise InputError(f"height and width must be multiples of {multiple}, got {sides[0]} × {sides[1]}")
    return sides[0], sides[1]


def _call_arguments(pipeline: DiffusionPipeline, family: Family, **wanted: Any) -> dict[str, Any]:
    """What the pipeline's call takes of it, with prompts and sizes taken as they are."""
    found = takes(pipeline)
    if wanted["negative_prompt"] is None:  # the pipeline's own unconditional input
        del wanted["negative_prompt"]
    if "negative_prompt" in wanted and "negative_prompt" not in found:
        raise InputError(f"{type(pipeline).__name__} takes no negative_prompt; leave it empty")
    scale = wanted.pop("guidance_scale")
    if family.guidance not in found and scale != 1:
        others = [name for name in found if "guidance" in name or "cfg" in name]
        raise InputError(
            f"{type(pipeline).__name__} takes no guidance_scale{', only ' + ', '.join(others) if others else ''}; "
            "ask for guidance_scale=1, which leaves it as it is"
        )
    wanted |= {family.guidance: scale, "output_type": "latent" if "prompt" in found else "pt"}
    wanted |= {"use_resolution_binning": False, "clean_caption": False}
    if wanted["num_inference_steps"] != 2:
        wanted["intermediate_timesteps"] = None  # which Sana Sprint has by default, and takes for two steps only
    return {name: value for name, value in wanted.items() if name in found}
