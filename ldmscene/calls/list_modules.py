"""What a model's denoiser and its other parts can give."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldmscene.calls.checking import check_model
from ldmscene.module_names import part_of

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline


def list_modules(
    model: str | Path | DiffusionPipeline, modules: str | Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Modules of a model, with the shapes of their outputs.

    From the model's configurations alone, at the size that it was made for: no weights are needed.

    Parameters
    ----------
    model
        As `extract` takes it.
    modules
        Presets, globs or names; the denoiser's attention, ResNet and block modules where not given. Names that begin
        with another part of the pipeline mean modules there: `"vae"` lists those of the autoencoder that can be
        captured, `"text_encoder"` those of that text encoder, for a prompt of as many tokens as it reads.

    Returns
    -------
    list of dict
        Each with `module`, `block`, `dims`, `shape`, and `bytes_per_step` in float16 for one branch. A text encoder
        runs once, and so does a decoder unless previews are drawn, too.

    Raises
    ------
    UnknownNameError
        If no module is called so.
    InputError
        If the model isn't there, or its configuration doesn't tell the shapes.

    Examples
    --------
    >>> import ldmscene
    >>> first, *others = ldmscene.list_modules("tiny-scenes", "self-attention")
    >>> first["module"], first["dims"], len(others)
    ('down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0', ('y', 'x', 'channel'), 15)
    """
    check_model(model)
    from ldmscene import capture, testbed  # which load torch, now that the model is there

    return [
        {
            "module": m.name,
            "block": part_of(m.name),
            "dims": m.dims,
            "shape": m.shape,
            "bytes_per_step": 2 * m.values,
        }
        for m in capture.outlined(testbed.MODELS.get(str(model), model), modules or None)
    ]


def other_parts(model: str | Path | DiffusionPipeline) -> list[str]:
    """By which names modules of a model's other parts begin: text encoders, then the autoencoder."""
    from ldmscene import capture, testbed

    return capture.part_names(testbed.MODELS.get(str(model), model))
