"""What a pipeline's text encoders get of a prompt."""

from __future__ import annotations

import math
import warnings
from collections.abc import Hashable, Sequence
from typing import Any

from diffusers import DiffusionPipeline

from ldmscene.capture.conditions import takes
from ldmscene.prompts import normal


def readings(pipeline: DiffusionPipeline, prompts: Sequence[str]) -> list[Hashable]:
    """What the model reads of each prompt: the token ids of all its tokenizers; where it has none, the normal text.

    Warns of prompts whose ends no tokenizer reads.
    """
    tokenizers = [part for part in pipeline.components.values() if hasattr(part, "get_vocab")]
    if not tokenizers:
        return [normal(prompt) for prompt in prompts]
    each = list(dict.fromkeys(prompts))
    limits = [limit(pipeline, one) for one in tokenizers]
    whole = [one(each, truncation=False, verbose=False).input_ids for one in tokenizers]
    _warn_of_cuts(each, whole, limits)
    read = [
        ids if limit == math.inf else one(each, truncation=True, max_length=limit).input_ids
        for one, ids, limit in zip(tokenizers, whole, limits, strict=True)
    ]
    found = {prompt: tuple(map(tuple, ids)) for prompt, ids in zip(each, zip(*read, strict=True), strict=True)}
    return [found[prompt] for prompt in prompts]


def limit(pipeline: DiffusionPipeline | type[DiffusionPipeline], tokenizer: Any) -> float:
    """Tokens of a prompt that are read, infinity where that isn't known."""
    asked = takes(pipeline).get("max_sequence_length")
    default = asked.default if asked is not None and isinstance(asked.default, int) else math.inf
    own = tokenizer.model_max_length
    return min(own if own < 10**6 else math.inf, default)  # transformers writes 10³⁰ where there is no limit


def _warn_of_cuts(prompts: Sequence[str], whole: Sequence[Sequence[Sequence[int]]], limits: Sequence[float]) -> None:
    cut = [
        prompt
        for prompt, *ids in zip(prompts, *whole, strict=True)
        if all(len(one) > limit for one, limit in zip(ids, limits, strict=True))
    ]
    if cut:
        warnings.warn(
            f"{len(cut)} of {len(prompts)} prompts are longer than the {max(limits):g} tokens that the model reads, "
            f"{cut[0][:60]!r} among them; their ends have no effect",
            stacklevel=4,
        )
