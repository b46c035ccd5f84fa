"""What a pipeline's activations depend on, as hashes and plain values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from diffusers import DiffusionPipeline
from torch import nn

from ldmscene.capture.memo import remembered
from ldmscene.capture.source import denoiser_of, uncompiled
from ldmscene.errors import InputError
from ldmscene.hashing import weights_hash


def identity(pipeline: DiffusionPipeline, *, fresh: bool = False) -> dict:
    """What a pipeline's activations depend on: classes, configs, weights and compute dtype.

    Weights of a pipeline that is `fresh` from its folder may be known from their files.

    Names and folders are left out: the same weights are the same model wherever they lie. So is the safety
    checker, which sees finished pictures only.
    """
    parts = {k: uncompiled(p) for k, p in pipeline.components.items() if isinstance(p, nn.Module)}
    parts.pop("safety_checker", None)
    hash_of = partial(remembered, compute=_weights_hash) if fresh else _weights_hash
    tokenizers = {k: p for k, p in pipeline.components.items() if hasattr(p, "get_vocab")}
    return {
        "pipeline": type(pipeline).__name__,
        **_pipeline_config(pipeline),
        "components": {
            name: {"class": type(p).__name__, "config": _config_hash(p), "weights": hash_of(p)}
            for name, p in sorted(parts.items())
        },
        "tokenizers": {name: _tokenizer_hash(t) for name, t in sorted(tokenizers.items())},
        "scheduler": {"class": type(pipeline.scheduler).__name__, **_public(pipeline.scheduler.config)},
        "compute_dtype": str(denoiser_of(pipeline)[1].dtype).removeprefix("torch."),
    }


def _pipeline_config(pipeline: DiffusionPipeline) -> dict:
    """What a pipeline's own config holds beside its components, such as SDXL's force_zeros_for_empty_prompt."""
    others = {*pipeline.components, "requires_safety_checker"}
    plain = {name: value for name, value in _public(pipeline.config).items() if name not in others}
    return {"pipeline_config": plain} if plain else {}


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
    if any(weight.is_meta for weight in part.parameters()):
        raise InputError(
            f"the weights of {type(part).__name__} are offloaded out of reach, as enable_sequential_cpu_offload does, "
            "and can't be identified; use enable_model_cpu_offload"
        )
    return weights_hash(part)
