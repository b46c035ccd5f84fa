"""The pipeline under study: how it is loaded, what its parts are, and its control."""

from __future__ import annotations

import copy
import re
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import diffusers
import torch
import transformers
from diffusers import DiffusionPipeline
from torch import nn

from ldmscene.capture.families import ROLES
from ldmscene.capture.pixels import Pixels
from ldmscene.capture.quiet import quietly
from ldmscene.choices import ComputeDtype
from ldmscene.device import best_device
from ldmscene.errors import InputError, unknown
from ldmscene.hub import check_there
from ldmscene.module_names import AUTOENCODERS

with quietly():
    from diffusers import AutoPipelineForText2Image

INDEX = "model_index.json"
_DECODERS = ("KandinskyPipeline", "KandinskyV22Pipeline")  # made from a prior's embedding; their cards name the prior


@quietly()
def load_pipeline(
    model: str | Path | DiffusionPipeline,
    device: str | None = None,
    *,
    compute_dtype: str | None = None,
    variant: str | None = None,
    revision: str | None = None,
) -> DiffusionPipeline:
    """A loaded pipeline as it is, or one from a local folder or a hub id, on a device.

    Only safetensors weights are read and no remote code is run. The safety checker is left out.

    Parameters
    ----------
    compute_dtype
        "float32" where not given.
    variant
        Of the weights' files, such as "fp16"; a folder that holds one variant alone needs no name.
    revision
        A branch, tag or commit of a hub id.

    Raises
    ------
    InputError
        If there is no such pipeline, or it has no denoiser or no autoencoder.
    """
    if isinstance(model, DiffusionPipeline):
        if compute_dtype or variant or revision:
            raise InputError("compute_dtype, variant and revision are for models by name; this one is loaded")
        pipeline = model
    else:
        known = get_args(ComputeDtype)
        if compute_dtype not in (None, *known):
            raise InputError(f"compute_dtype must be one of {', '.join(known)}; got {compute_dtype!r}")
        pipeline = _from_pretrained(str(model), getattr(torch, compute_dtype or "float32"), variant, revision)
    denoiser_of(pipeline)
    autoencoder_of(pipeline)
    if device or not isinstance(model, DiffusionPipeline):
        _move(pipeline, best_device(device))
    return pipeline


def name_of(pipeline: DiffusionPipeline) -> str:
    """What people call a pipeline's model: its hub id or its folder's name; its class where it has neither."""
    name = str(pipeline.config.get("_name_or_path") or "")
    return (Path(name).name if Path(name).is_dir() else name) or type(pipeline).__name__


def denoiser_of(pipeline: DiffusionPipeline) -> tuple[str, Any]:
    """The denoiser by its role: under which name the pipeline holds it, and the module.

    Raises
    ------
    InputError
        If there is none.
    """
    for role in ROLES:
        if isinstance(getattr(pipeline, role, None), nn.Module):
            return role, uncompiled(getattr(pipeline, role))
    raise InputError(
        f"{type(pipeline).__name__} has no denoiser; expected a latent text-to-image pipeline with one of its own, "
        f"as {' or '.join(ROLES)}"
    )


def uncompiled(part: Any) -> Any:
    """The module inside what `torch.compile` returned, or the module as it is."""
    return getattr(part, "_orig_mod", part)


def autoencoder_of(pipeline: DiffusionPipeline) -> Any:
    """The autoencoder between pictures and latents.

    Raises
    ------
    InputError
        If there is none.
    """
    for name in AUTOENCODERS:
        if isinstance(getattr(pipeline, name, None), nn.Module):
            return getattr(pipeline, name)
    denoiser = denoiser_of(pipeline)[1]
    if type(denoiser).__name__ == "UNet2DModel" and denoiser.config.in_channels in (1, 3):
        return Pixels(denoiser)
    raise InputError(
        f"{type(pipeline).__name__} has no autoencoder; expected a pipeline with vae, movq or vqvae, or a "
        "UNet2DModel of pixels"
    )


def _move(pipeline: DiffusionPipeline, device: str) -> None:
    try:
        pipeline.to(device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0][:200]
        raise InputError(f"the pipeline can't be moved to the device {device!r}: {reason}") from error


def _from_pretrained(name: str, dtype: torch.dtype, variant: str | None, revision: str | None) -> DiffusionPipeline:
    try:
        index = read_index(name, revision)
        role = listed_denoiser(name, index)  # before all else is downloaded
        options = {"use_safetensors": True, "dtype": dtype, "revision": revision}
        options["variant"] = variant or _only_variant(Path(name) / role)
        if "safety_checker" in index:
            options |= {"safety_checker": None, "requires_safety_checker": False}
        kind: Any = AutoPipelineForText2Image if index["_class_name"] in _DECODERS else DiffusionPipeline
        with _bars(shown=not Path(name).is_dir()):  # a download is worth watching, a folder is read at once
            return kind.from_pretrained(name, **{k: v for k, v in options.items() if v is not None or "checker" in k})
    except InputError:
        raise
    except Exception as error:  # diffusers, transformers, safetensors and the hub raise of every kind
        raise InputError(why_not(name, error)) from error


def read_index(name: str, revision: str | None = None) -> Mapping[str, Any]:
    """What a pipeline is made of; from a hub id, that file alone is loaded."""
    check_there(name, INDEX, revision)
    if Path(name).is_dir() and not (Path(name) / INDEX).is_file():
        raise InputError(f"the folder {name} has no {INDEX}; expected a pipeline saved by save_pretrained")
    index: Mapping[str, Any] = DiffusionPipeline.load_config(name, revision=revision)
    return index


def _only_variant(folder: Path) -> str | None:
    """The variant of a component's weights, where a folder has them in no other: name.VARIANT.safetensors."""
    shards = r"(-\d+-of-\d+)?"
    found = {
        re.sub(rf"^[^.]*?{shards}(\.(\w+){shards})?\.safetensors$", r"\3", path.name)
        for path in folder.glob("*.safetensors")
    }
    return found.pop() or None if len(found) == 1 else None


def listed_denoiser(name: str, index: Mapping[str, Any]) -> str:
    """Under which name a pipeline's index lists its denoiser."""
    role = next((role for role in ROLES if index.get(role, [None])[0]), None)
    if role is None:
        raise InputError(
            f"{name} has no denoiser; expected a latent text-to-image pipeline with one of its own, as "
            f"{' or '.join(ROLES)}, and not as prior and decoder"
        )
    return role


def why_not(name: str, error: Exception) -> str:
    """One sentence for what went wrong with loading a pipeline."""
    reason = textwrap.shorten(str(error), 300, placeholder=" …")
    if "trust_remote_code" in str(error):
        return f"{name} needs code of its own, and ldmscene runs none: load it yourself, and pass the pipeline"
    if "safetensors" in reason and "no file named" in reason.lower():
        return (
            f"{name} has weights that aren't safetensors, such as .bin files, which are pickles and can run code; "
            f"convert them where you trust them, with save_pretrained(safe_serialization=True) ({reason})"
        )
    if not Path(name).is_dir() and isinstance(error, OSError):
        return (
            f"{name!r} couldn't be had from the hub ({reason}); get it by `hf download {name}`, or name a local folder"
        )
    return f"no pipeline could be loaded from {name!r} (a local folder or a hub id): {reason}"


@contextmanager
def _bars(*, shown: bool) -> Iterator[None]:
    libraries = [lib for lib in (diffusers.utils.logging, transformers.utils.logging) if lib.is_progress_bar_enabled()]
    for library in libraries if not shown else ():
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library in libraries:
            library.enable_progress_bar()


@contextmanager
def with_scheduler(pipeline: DiffusionPipeline, scheduler: object) -> Iterator[None]:
    """Swap the scheduler inside the block: None, a diffusers class name, or a scheduler."""
    own = pipeline.scheduler
    holders = holders_of_scheduler(pipeline)
    other = _as_scheduler(scheduler, own)
    try:
        for holder in holders:
            holder.scheduler = other
        yield
    finally:
        for holder in holders:
            holder.scheduler = own


def holders_of_scheduler(pipeline: DiffusionPipeline) -> list[DiffusionPipeline]:
    """A pipeline, and those inside it that step by its scheduler."""
    own = pipeline.scheduler
    return [one for one in (pipeline, *_inner(pipeline).values()) if getattr(one, "scheduler", None) is own]


def _inner(pipeline: DiffusionPipeline) -> dict[str, DiffusionPipeline]:
    """The pipelines that a combined one runs, such as Kandinsky's prior and decoder."""
    return {name: part for name, part in vars(pipeline).items() if isinstance(part, DiffusionPipeline)}


def _as_scheduler(scheduler: Any, own: Any) -> Any:
    if scheduler is None:
        return copy.deepcopy(own)
    if isinstance(scheduler, str):
        known = {kind.__name__: kind for kind in (type(own), *own.compatibles)}
        name = scheduler if scheduler.endswith("Scheduler") else f"{scheduler}Scheduler"
        if name not in known:
            raise unknown(f"scheduler that goes with {type(own).__name__}", scheduler, sorted(known))
        try:
            return known[name].from_config(own.config)
        except (ImportError, ValueError) as error:
            raise InputError(f"{name} can't be made: {str(error).strip().splitlines()[0]}") from error
    return scheduler


def permute_weights(pipeline: DiffusionPipeline, seed: int = 0) -> DiffusionPipeline:
    """A copy whose denoiser has the elements of every weight tensor permuted.

    The published control: an untrained model with the same weight statistics (Chen et al. 2023, appendix).
    The other components are shared with the original.
    """
    control = copy.copy(pipeline)
    role, denoiser = denoiser_of(pipeline)
    permuted = copy.deepcopy(denoiser)
    control.register_modules(**{role: permuted})
    for name, inner in _inner(pipeline).items():
        if getattr(inner, role, None) is denoiser:
            setattr(control, name, copy.copy(inner))
            getattr(control, name).register_modules(**{role: permuted})
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in permuted.parameters():
            order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
            weight.copy_(weight.flatten()[order].reshape(weight.shape))
    return control
