"""Which part of a denoiser's outputs is conditional, told by the guidance that was really applied.

Classifier-free guidance is u + s (c − u) (Ho and Salimans 2022); perturbed-attention and skip-layer guidance
add q (c − p) for a third, perturbed part p. A pipeline may rescale the result, as a whole or row by row, or change
its sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import torch
from torch import Tensor

from ldmscene.device import in_float64
from ldmscene.errors import LdmsceneError

_TOLERANCE = 1e-2  # far above float16's rounding, far below another guidance
_CLEAR = 3.0  # an order is told where every other fits this much worse


def split(outputs: Sequence[Tensor], samples: int) -> list[Tensor]:
    """The parts of one step's outputs, over all of its calls, each of `samples` samples.

    Raises
    ------
    LdmsceneError
        If a batch isn't a multiple of the samples.
    """
    for output in outputs:
        if len(output) % samples:
            raise LdmsceneError(
                f"a module's output has a batch of {len(output)} for {samples} samples; expected a multiple of them"
            )
    return [part for output in outputs for part in output.split(samples)]


def customary_order(parts: int, scale: float, *, cond_first: bool = False) -> tuple[str, ...]:
    """How a pipeline orders the parts of a step; most have the unconditional one first.

    Raises
    ------
    LdmsceneError
        If there are more parts than are known of.
    """
    roles = ("uncond", "cond", "perturbed") if scale > 1 else ("cond", "perturbed")
    if parts == 1:
        return ("cond",)
    if parts > len(roles):
        raise LdmsceneError(
            f"the denoiser computed {parts} results a sample at guidance_scale {scale}; "
            f"expected at most {len(roles)}: {', '.join(roles)}"
        )
    return roles[1::-1] if cond_first and parts == 2 and scale > 1 else roles[:parts]


def fitting_orders(
    parts: Sequence[Tensor], guided: Tensor, scale: float, *, by_row: bool = False
) -> list[tuple[str, ...]]:
    """The orders of branches that fit, the best first: several where parts are the same up to rounding.

    Samples that hold infinity or NaN tell nothing; where all do, no order fits.

    Parameters
    ----------
    parts : sequence of Tensor
        Each (n, …), in the order of the batch and of the calls.
    guided : Tensor
        (n, …), what the scheduler received.
    scale : float
        The guidance scale.
    by_row : bool
        The pipeline may rescale each row, along the last axis, by itself.

    Raises
    ------
    LdmsceneError
        If the parts don't combine to `guided`.
    """
    roles = customary_order(len(parts), scale)
    if len(parts) == 1:
        return [roles]
    row = guided.shape[-1] if by_row else guided[0].numel()
    tensors = [in_float64(one.reshape(len(guided), -1, row)) for one in (*parts, guided)]
    sound = torch.stack([one.isfinite().all(-1).all(-1) for one in tensors]).all(0)
    if not sound.any():
        return []
    *flat, target = (one[sound] for one in tensors)
    misses = {
        order: _miss(dict(zip(order, flat, strict=True)), target, scale) for order in sorted(set(permutations(roles)))
    }
    best = min(misses.values())
    if best > _TOLERANCE:
        raise LdmsceneError(
            f"the {len(parts)} parts of the denoiser's output don't combine to the guidance that the scheduler "
            "received, so that cond and uncond can't be told apart; turn off the pipeline's other guidance variants"
        )
    return [order for order in sorted(misses, key=lambda order: misses[order]) if misses[order] <= _CLEAR * best]


def _miss(parts: dict[str, Tensor], target: Tensor, scale: float) -> float:
    """How far the parts, in these roles, are from what the scheduler received, relative to it."""
    cond = parts["cond"]
    found = parts["uncond"] + scale * (cond - parts["uncond"]) if "uncond" in parts else cond
    if "perturbed" in parts:
        away = cond - parts["perturbed"]
        found = found + _along(target - found, away).clamp(min=0) * away
    found = found * _along(target, found)
    return float(((target - found).flatten(1).norm(dim=1) / target.flatten(1).norm(dim=1).clamp(min=1e-30)).max())


def _along(vector: Tensor, direction: Tensor) -> Tensor:
    """The factor by which `direction` comes nearest to `vector`, for each row of each sample."""
    length = (direction * direction).sum(-1, keepdim=True)
    return (vector * direction).sum(-1, keepdim=True) / length.clamp(min=1e-30)
