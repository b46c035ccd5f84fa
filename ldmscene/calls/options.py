"""What several calls check and load."""

from __future__ import annotations

from pathlib import Path

from diffusers import DiffusionPipeline

from ldmscene import capture, testbed
from ldmscene.errors import InputError
from ldmscene.manifest import SPLITS


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


def check_batches(batch_size: int, previews: bool | str) -> None:
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, got {batch_size}")
    if previews not in (True, False, *SPLITS):
        raise InputError(f"previews must be True, False or a split ({', '.join(SPLITS)}); got {previews!r}")
