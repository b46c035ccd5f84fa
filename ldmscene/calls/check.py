"""Holding a real model to an independent hook, in about a minute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldmscene.calls.checking import check_model
from ldmscene.choices import ComputeDtype
from ldmscene.errors import InputError
from ldmscene.extraction.inputs import shared_inputs
from ldmscene.extraction.options import check_scale

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline


def check(
    model: str | Path | DiffusionPipeline,
    modules: str | Sequence[str] = "self-attention",
    *,
    steps: int = 3,
    guidance_scale: float = 7.5,
    inputs: Mapping[str, str | Path | float] | None = None,
    device: str | None = None,
    compute_dtype: ComputeDtype | None = None,
    variant: str | None = None,
    revision: str | None = None,
) -> dict[str, Any]:
    """Capture one sample of a model, and hold it to hooks that know nothing of ldmscene's.

    Parameters
    ----------
    model
        As `extract` takes it.
    modules
        Presets, globs or names.
    steps
        Denoising steps, at least 1.
    guidance_scale
        As `extract` takes it.
    inputs
        Pictures' files and numbers that the pipeline's call takes beside the prompt, as `extract` takes them.
    device, compute_dtype, variant, revision
        How a model that is named is loaded, as `extract` takes them.

    Returns
    -------
    dict
        `branches`, in the denoiser's order; `shapes` of modules by name; `equal`, the share of captured arrays, one
        of each module, step and branch, that the module really returned there, position by position; `steady`, whether
        the model answered the same twice, and `unsteady`, what did not; `on`, what is known to be switched on; `bytes`
        of one sample in a store in float16, and `seconds` for generating it.

    Raises
    ------
    InputError
        If the model can't be captured; the message says why.

    Examples
    --------
    >>> import ldmscene
    >>> found = ldmscene.check("tiny-scenes", steps=2)
    >>> found["branches"], found["equal"], found["steady"]
    (['uncond', 'cond'], 1.0, True)
    """
    if steps < 1:
        raise InputError(f"steps must be at least 1, got {steps}")
    check_scale(guidance_scale)
    shared = shared_inputs(inputs)
    check_model(model, revision)
    from ldmscene.calls.checking_model import checked  # which loads torch

    how = {"device": device, "compute_dtype": compute_dtype, "variant": variant, "revision": revision}
    return checked(model, modules, steps, guidance_scale, shared, how)
