"""What a pipeline is told of a picture: a prompt, a class, or nothing."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Sequence
from typing import Any

from ldmscene.capture.source import denoiser_of
from ldmscene.errors import InputError, unknown
from ldmscene.text import listed

EXAMPLE = "a photograph of a red cube on a table"
CLASSES = "class_labels"
ADAPTER = "ip_adapter_image"
_PICTURES = ("image", "mask_image", "control_image", "control_mask", "example_image")


def takes(pipeline: Any) -> dict[str, inspect.Parameter]:
    """The parameters of a pipeline's call, by name."""
    found = inspect.signature(pipeline.__call__).parameters
    return {name: one for name, one in found.items() if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)}


def lacks(pipeline: Any, inputs: Collection[str] = ()) -> list[str]:
    """Pictures that a pipeline takes and isn't handed: not all that take them need them."""
    return [name for name in takes(pipeline) if name in _PICTURES and name not in inputs]


def check_needs(pipeline: Any, inputs: Collection[str] = ()) -> None:
    """Refuse a pipeline that needs more than a prompt or a class, and these inputs.

    Raises
    ------
    InputError
        With what it needs.
    """
    kind, found = type(pipeline).__name__, takes(pipeline)
    if "num_frames" in found or "video_length" in found:
        raise InputError(f"{kind} draws videos; expected a pipeline that draws pictures")
    needed = [name for name, one in found.items() if one.default is one.empty and name not in ("prompt", CLASSES)]
    if "prompt" in found and "height" not in found:  # it has the size of a picture that it begins with
        needed += [name for name in _PICTURES if name in found and name not in needed]
    needed = [name for name in needed if name not in inputs]
    if others := [name for name in needed if name not in _PICTURES]:
        raise InputError(
            f"{kind} needs {listed(others)}, which ldmscene can't hand it; expected a pipeline of prompts and pictures"
        )
    if needed:
        raise InputError(f"{kind} needs {listed(needed)} beside a prompt; {supply(needed)}")
    if denoiser_of(pipeline)[1].config.get("encoder_hid_dim_type") == "ip_image_proj" and ADAPTER not in inputs:
        raise InputError(
            f"an IP-Adapter is loaded into {kind}, which needs a picture beside the prompt; {supply([ADAPTER])}, or "
            "call pipeline.unload_ip_adapter() first"
        )


def supply(names: Sequence[str]) -> str:
    """How a call is handed what it needs."""
    return (
        f"supply {'it' if len(names) == 1 else 'them'} by inputs={{{', '.join(f'{name!r}: FOLDER' for name in names)}}}"
    )


def example(pipeline: Any) -> str:
    """A prompt of any kind that a pipeline takes: text, a class, or nothing."""
    found = takes(pipeline)
    return EXAMPLE if "prompt" in found else "0" if CLASSES in found and _count(pipeline) else ""


def conditions(pipeline: Any, prompts: Sequence[str]) -> dict[str, Any]:
    """Prompts as arguments of a pipeline's call: as they are, as classes, or as how many there are.

    A class is named by its number, or by one of the pipeline's `labels`.

    Raises
    ------
    InputError
        If the pipeline has no such class, or takes no prompt at all.
    """
    found = takes(pipeline)
    if "prompt" in found:
        return {"prompt": list(prompts)}
    if CLASSES in found and _count(pipeline):
        return {CLASSES: [_class(pipeline, prompt.strip()) for prompt in prompts]}
    if any(prompt.strip() for prompt in prompts):
        raise InputError(
            f"{type(pipeline).__name__} takes no prompt; its samples differ by their seeds alone: leave prompts empty"
        )
    return {"batch_size": len(prompts)}


def _class(pipeline: Any, name: str) -> int:
    labels: dict[str, int] = getattr(pipeline, "labels", None) or {}
    if name in labels:
        return int(labels[name])
    count = _count(pipeline)
    if name.isascii() and name.isdigit() and int(name) < count:
        return int(name)
    raise unknown(f"class of {type(pipeline).__name__}, which takes numbers from 0 to {count - 1},", name, labels)


def _count(pipeline: Any) -> int:
    """How many classes a model knows."""
    config = denoiser_of(pipeline)[1].config
    count: int = config.get("num_embeds_ada_norm") or config.get("num_class_embeds") or 0
    return count
