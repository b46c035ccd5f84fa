"""What changes a pipeline's activations and stands in no config: switches that were turned since it was loaded."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

from diffusers import DiffusionPipeline
from torch import nn

_FREEU = ("s1", "s2", "b1", "b2")
_PLAIN = (bool, int, float, str, list, tuple)
_ROUNDING_ONLY = {"slice_size", "training"}  # of attention processors: the same numbers, computed in other pieces
_PICTURES_ONLY = {"requires_safety_checker", "add_watermarker"}


def switches(pipeline: DiffusionPipeline, parts: Mapping[str, nn.Module]) -> dict[str, Any]:
    """Those that aren't as diffusers sets them, by part; empty for a pipeline as it was loaded.

    FreeU, adapters such as LoRA with their scales, attention processors of the user's own or with numbers of their own
    (as IP-Adapter's have), a scheduler's shift or step, and what the pipeline itself was told, such as the layers of
    perturbed attention. Slicing, tiling and the choice among diffusers' own implementations of attention are left out.
    """
    found: dict[str, Any] = {name: _of_part(part) for name, part in sorted(parts.items())}
    found |= {"scheduler": _of_scheduler(pipeline.scheduler), "pipeline": _of_pipeline(pipeline)}
    return {name: of_it for name, of_it in found.items() if of_it}


def _of_part(part: nn.Module) -> dict[str, Any]:
    read: dict[str, Callable[[nn.Module], dict[str, Any]]] = {
        "freeu": _freeu,
        "adapters": _adapters,
        "attention": _attention,
    }
    return {name: told for name, one in read.items() if (told := _of_modules(part, one))}


def _of_modules(part: nn.Module, read: Callable[[nn.Module], dict[str, Any]]) -> dict[str, Any]:
    """Each value that occurs, and a hash of which module has which."""
    found = {name: value for name, module in part.named_modules() if (value := read(module))}
    if not found:
        return {}
    values = sorted({json.dumps(value, sort_keys=True) for value in found.values()})
    where = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:16]
    return {"values": [json.loads(value) for value in values], "where": where}


def _freeu(module: nn.Module) -> dict[str, Any]:
    factors = {name: getattr(module, name, None) for name in _FREEU}
    return factors if None not in factors.values() else {}


def _adapters(module: nn.Module) -> dict[str, Any]:
    """Of a layer of peft's: weights of adapters are hashed as weights, how strongly they count is told here."""
    scaling: Any = getattr(module, "scaling", None)
    if not isinstance(scaling, dict) or not hasattr(module, "active_adapters"):
        return {}
    active: Any = [] if getattr(module, "disable_adapters", False) else module.active_adapters
    merged: Any = getattr(module, "merged_adapters", [])
    told = {"active": {name: float(scaling[name]) for name in active if name in scaling}, "merged": sorted(merged)}
    return {name: value for name, value in told.items() if value}


def _attention(module: nn.Module) -> dict[str, Any]:
    processor: Any = getattr(module, "processor", None)
    if not callable(processor):
        return {}
    numbers = _plain({k: v for k, v in getattr(processor, "__dict__", {}).items() if k not in _ROUNDING_ONLY})
    ours = type(processor).__module__.startswith("diffusers.")
    return {} if ours and not numbers else {"processor": _name(processor), **numbers}


def _of_scheduler(scheduler: Any) -> dict[str, Any]:
    told = {}
    if getattr(scheduler, "shift", None) != scheduler.config.get("shift"):
        told["shift"] = scheduler.shift
    if "step" in vars(scheduler):
        told["step"] = _name(scheduler.step)
    return told


def _of_pipeline(pipeline: DiffusionPipeline) -> dict[str, Any]:
    """Values among the arguments of the pipeline's own making that aren't the default ones."""
    taken = inspect.signature(type(pipeline).__init__).parameters
    now = {name: getattr(pipeline, name, pipeline.config.get(name)) for name in taken if name not in _PICTURES_ONLY}
    return {
        name: value for name, value in _plain(now).items() if value not in (taken[name].default, [taken[name].default])
    }


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are numbers, words or lists, as JSON has them."""
    plain = {name: value for name, value in values.items() if not name.startswith("_") and isinstance(value, _PLAIN)}
    read: dict[str, Any] = json.loads(json.dumps(plain, default=str, sort_keys=True))
    return read


def _name(thing: Any) -> str:
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{named.__module__}.{named.__qualname__}"
