"""What a pipeline's activations depend on, as hashes and plain values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import torch
from diffusers import DiffusionPipeline
from torch import nn

from ldmscene.capture.memo import remembered
from ldmscene.capture.source import denoiser_of, uncompiled
from ldmscene.capture.switches import switches
from ldmscene.errors import InputError
from ldmscene.hashing import weights_hash


class WeightHashes:
    """Hashes of components' weights within one run, in which nobody changes them: each is computed once.

    Those of a pipeline that was just `loaded` from its folder may be known from their files.
    """

    def __init__(self, loaded: DiffusionPipeline | None = None) -> None:
        self._loaded: WeakSet[nn.Module] = WeakSet(_parts(loaded).values() if loaded is not None else ())
        self._known: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()

    def __call__(self, part: nn.Module) -> str:
        if part not in self._known:
            self._known[part] = remembered(part, _weights_hash) if part in self._loaded else _weights_hash(part)
        return self._known[part]


def identity(pipeline: DiffusionPipeline, hash_of: WeightHashes | None = None) -> dict[str, Any]:
    """What a pipeline's activations depend on: classes, configs, weights, switches and compute dtype.

    Names and folders are left out: the same weights are the same model wherever they lie. So is the safety
    checker, which sees finished pictures only.
    """
    parts, hash_of = _parts(pipeline), hash_of or WeightHashes()
    tokenizers = {k: p for k, p in pipeline.components.items() if hasattr(p, "get_vocab")}
    found = {
        "pipeline": type(pipeline).__name__,
        **_pipeline_config(pipeline),
        "components": {
            name: {"class": type(p).__name__, "config": _short_hash(_config(p)), "weights": hash_of(p)}
            for name, p in parts.items()
        },
        "tokenizers": {name: _tokenizer_hash(t) for name, t in sorted(tokenizers.items())},
        "scheduler": {"class": type(pipeline.scheduler).__name__, **_public(pipeline.scheduler.config)},
        "compute_dtype": compute_dtype(pipeline),
    }
    turned = switches(pipeline, parts)
    return found | ({"switches": turned} if turned else {})


def compute_dtype(pipeline: DiffusionPipeline) -> str:
    """The type that the denoiser computes in, such as `float32`."""
    return str(denoiser_of(pipeline)[1].dtype).removeprefix("torch.")


def configs(pipeline: DiffusionPipeline) -> dict[str, dict[str, Any]]:
    """What the hashes of configs in an identity stand for, by their dotted path in it."""
    return {f"components.{name}.config": _config(part) for name, part in _parts(pipeline).items()}


def environment(pipeline: DiffusionPipeline) -> dict[str, str]:
    """What computes: no part of the identity, since it changes roundings alone, unless a library has changed more."""
    device = torch.device(pipeline._execution_device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {**{library: version(library) for library in ("torch", "diffusers", "transformers")}, "device": name}


def _parts(pipeline: DiffusionPipeline) -> dict[str, nn.Module]:
    found = {k: uncompiled(p) for k, p in sorted(pipeline.components.items()) if isinstance(p, nn.Module)}
    found.pop("safety_checker", None)
    return found


def _pipeline_config(pipeline: DiffusionPipeline) -> dict[str, Any]:
    """What a pipeline's own config holds beside its components, such as SDXL's force_zeros_for_empty_prompt."""
    others = {*pipeline.components, "requires_safety_checker"}
    plain = {name: value for name, value in _public(pipeline.config).items() if name not in others}
    return {"pipeline_config": plain} if plain else {}


def _public(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config without diffusers' book-keeping, as plain JSON values: infinities, which JSON lacks, as text."""
    plain: dict[str, Any] = json.loads(
        json.dumps({k: v for k, v in config.items() if not k.startswith("_")}, default=str, sort_keys=True),
        parse_constant=str,
    )
    return plain


def _config(part: Any) -> dict[str, Any]:
    config = part.config if isinstance(part.config, Mapping) else part.config.to_dict()
    volatile = {"transformers_version", "dtype", "torch_dtype"}
    return {k: v for k, v in _public(config).items() if k not in volatile}


def _tokenizer_hash(tokenizer: Any) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules: object = sorted(tokenizer.get_vocab().items())
    if backend is not None:  # how the last call padded and cut says nothing of the next
        rules = {**json.loads(backend.to_str()), "padding": None, "truncation": None}
    return _short_hash([rules, tokenizer.model_max_length, tokenizer.special_tokens_map])


def _short_hash(facts: object) -> str:
    return hashlib.sha256(json.dumps(facts, default=str, sort_keys=True).encode()).hexdigest()[:16]


def _weights_hash(part: nn.Module) -> str:
    if any(weight.is_meta for weight in part.parameters()):
        raise InputError(
            f"the weights of {type(part).__name__} are offloaded out of reach, as enable_sequential_cpu_offload does, "
            "and can't be identified; use enable_model_cpu_offload"
        )
    return weights_hash(part)
