"""Whether a pipeline takes a list of pictures as one for each sample, and not as several of one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from ldmscene.capture.hooks import quiet
from ldmscene.capture.plan import Plan
from ldmscene.capture.shapes import FirstCall, rehearse
from ldmscene.device import in_float64
from ldmscene.errors import InputError

_ROUNDING = 1e-2  # of the largest value: far above that of convolutions in another batch, far below another picture


def check_batches(plan: Plan) -> None:
    """Refuse samples in batches where the denoiser would be handed something else of a sample than alone.

    Raises
    ------
    InputError
        Which says that a batch must be of one.
    """
    try:
        with quiet(plan.pipeline):
            together = rehearse(plan.pipeline, plan.rehearsal(count=2), plan.inputs.names)
            alone = rehearse(plan.pipeline, plan.rehearsal(), plan.inputs.names)
        fits = all(_fits(*pair) for pair in zip(_tensors(together), _tensors(alone), strict=True))
    except (InputError, ValueError):  # it fails on two, or hands the denoiser more tensors
        fits = False
    if not fits:
        raise InputError(
            f"{type(plan.pipeline).__name__} doesn't take several samples with pictures of their own in one call; use "
            "batch_size=1"
        )


def _tensors(first: FirstCall) -> Iterator[Tensor]:
    yield from _within((first.args, first.kwargs))


def _within(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _within(one)
    elif isinstance(value, tuple | list):
        for one in value:
            yield from _within(one)


def _fits(together: Tensor, alone: Tensor) -> bool:
    """Whether a sample's rows in a batch of two are its rows alone: each part of a batch holds all samples."""
    if together.shape == alone.shape:
        mine = together
    elif together.ndim and together.shape == (2 * len(alone), *alone.shape[1:]):
        mine = together.unflatten(0, (-1, 2))[:, 0]
    else:
        return False
    if not alone.numel():
        return True
    mine, alone = in_float64(mine), in_float64(alone)
    return bool((mine - alone).abs().max() <= _ROUNDING * alone.abs().max())
