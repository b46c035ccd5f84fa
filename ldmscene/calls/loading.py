"""Models as callers name them, loaded."""

from __future__ import annotations

from pathlib import Path

from diffusers import DiffusionPipeline

from ldmscene import capture, testbed


def load_model(
    model: str | Path | DiffusionPipeline | capture.Model,
    device: str | None,
    compute_dtype: str | None = None,
    variant: str | None = None,
    revision: str | None = None,
) -> capture.Model:
    """A model as `extract` takes it, loaded once for several calls."""
    place = testbed.MODELS.get(str(model), model)
    return capture.Model.load(place, device, compute_dtype=compute_dtype, variant=variant, revision=revision)
