"""The pipeline under study: how it is loaded, what identifies it, and its control."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import DiffusionPipeline
from torch import nn

from ldmscene.errors import InputError, unknown


def load_pipeline(model: str | Path | DiffusionPipeline, device: str | None = None) -> DiffusionPipeline:
    """A loaded pipeline as it is, or one from a local folder or a hub id, on a device.

    Only safetensors weights are read and no remote code is run.

    Raises
    ------
    InputError
        If there is no such pipeline, or it has no UNet.
    """
    pipeline = model if isinstance(model, DiffusionPipeline) else _from_pretrained(str(model))
    if getattr(pipeline, "unet", None) is None:
        raise InputError(f"{type(pipeline).__name__} has no UNet; expected a latent text-to-image pipeline with one")
    if getattr(pipeline, "vae", None) is None:
        raise InputError(f"{type(pipeline).__name__} has no autoencoder; expected a latent text-to-image pipeline")
    if pipeline.unet.config.get("addition_embed_type"):
        raise InputError(
            f"{type(pipeline).__name__}'s UNet needs more inputs than a prompt (addition_embed_type "
            f"{pipeline.unet.config.addition_embed_type!r}, as in SDXL), which isn't supported yet"
        )
    if device or not isinstance(model, DiffusionPipeline):
        _move(pipeline, device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return pipeline


def _move(pipeline: DiffusionPipeline, device: str) -> None:
    try:
        pipeline.to(device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0][:200]
        raise InputError(f"the pipeline can't be moved to the device {device!r}: {reason}") from error


def _from_pretrained(name: str) -> DiffusionPipeline:
    if Path(name).is_dir() and not (Path(name) / "model_index.json").is_file():
        raise InputError(f"the folder {name} has no model_index.json; expected a pipeline saved by save_pretrained")
    try:
        with _bars(shown=not Path(name).is_dir()):  # a download is worth watching, a folder is read at once
            return DiffusionPipeline.from_pretrained(name, use_safetensors=True, dtype=torch.float32)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0][:300]
        raise InputError(f"no pipeline could be loaded from {name!r} (a local folder or a hub id): {reason}") from error


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
    pipeline.scheduler = _as_scheduler(scheduler, own)
    try:
        yield
    finally:
        pipeline.scheduler = own


def _as_scheduler(scheduler: object, own):
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


def identity(pipeline: DiffusionPipeline) -> dict:
    """What a pipeline's activations depend on: classes, configs, weights and compute dtype.

    Names and folders are left out: the same weights are the same model wherever they lie. So is the safety
    checker, which sees finished pictures only.
    """
    parts = {k: p for k, p in pipeline.components.items() if isinstance(p, nn.Module) and k != "safety_checker"}
    tokenizers = {k: p for k, p in pipeline.components.items() if hasattr(p, "get_vocab")}
    return {
        "pipeline": type(pipeline).__name__,
        "components": {
            name: {"class": type(p).__name__, "config": _config_hash(p), "weights": _weights_hash(p)}
            for name, p in sorted(parts.items())
        },
        "tokenizers": {name: _tokenizer_hash(t) for name, t in sorted(tokenizers.items())},
        "scheduler": {"class": type(pipeline.scheduler).__name__, **_public(pipeline.scheduler.config)},
        "compute_dtype": str(pipeline.unet.dtype).removeprefix("torch."),
    }


def _public(config: Mapping) -> dict:
    """A config without diffusers' book-keeping, as plain JSON values."""
    return json.loads(
        json.dumps({k: v for k, v in config.items() if not k.startswith("_")}, default=str, sort_keys=True)
    )


def _config_hash(part: Any) -> str:
    config = part.config if isinstance(part.config, Mapping) else part.config.to_dict()
    volatile = {"transformers_version", "dtype", "torch_dtype"}
    public = {k: v for k, v in _public(config).items() if k not in volatile}
    return hashlib.sha256(json.dumps(public, sort_keys=True).encode()).hexdigest()[:16]


def _tokenizer_hash(tokenizer: Any) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules: object = sorted(tokenizer.get_vocab().items())
    if backend is not None:  # how the last call padded and cut says nothing of the next
        rules = {**json.loads(backend.to_str()), "padding": None, "truncation": None}
    facts = [rules, tokenizer.model_max_length, tokenizer.special_tokens_map]
    return hashlib.sha256(json.dumps(facts, default=str, sort_keys=True).encode()).hexdigest()[:16]


def _weights_hash(part: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(part.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def permute_weights(pipeline: DiffusionPipeline, seed: int = 0) -> DiffusionPipeline:
    """A copy whose denoiser has the elements of every weight tensor permuted.

    The published control: an untrained model with the same weight statistics (Chen et al. 2023, appendix).
    The other components are shared with the original.
    """
    control = copy.copy(pipeline)
    control.register_modules(unet=copy.deepcopy(pipeline.unet))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in control.unet.parameters():
            order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
            weight.copy_(weight.flatten()[order].reshape(weight.shape))
    return control
