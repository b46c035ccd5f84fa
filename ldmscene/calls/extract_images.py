"""From pictures that exist to a store of activations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from diffusers import DiffusionPipeline

from ldmscene import capture
from ldmscene.calls.options import check_batches, load_model
from ldmscene.errors import InputError
from ldmscene.extraction import fill as extraction
from ldmscene.extraction.estimate import estimate
from ldmscene.extraction.missing import Part
from ldmscene.extraction.supplied import read_images
from ldmscene.manifest import image_manifest
from ldmscene.store import ActivationStore
from ldmscene.store.places import place


def extract_images(
    model: str | Path | DiffusionPipeline,
    images: np.ndarray | str | Path | Sequence[str | Path],
    store: str | Path,
    modules: str | Sequence[str] = "self-attention",
    *,
    timesteps: Sequence[float],
    prompts: str | Sequence[str] = "",
    seeds: int | Sequence[int] = 0,
    splits: Sequence[str] | None = None,
    guidance_scale: float = 1.0,
    negative_prompt: str = "",
    branch: str = "cond",
    dtype: str = "float16",
    device: str | None = None,
    compute_dtype: str | None = None,
    variant: str | None = None,
    revision: str | None = None,
    batch_size: int = 1,
    previews: bool | str = False,
    compression: str = "none",
    dry_run: bool = False,
    progress: bool = True,
    part: str = "1/1",
    allow_nonfinite: bool = False,
) -> ActivationStore | dict[str, float]:
    """Noise given images to chosen timesteps, call the denoiser once at each, and keep its activations.

    As in DDPM segmentation (Baranchuk et al. 2022) and DIFT (Tang et al. 2023), so that labels that are known
    exactly, of rendered or annotated pictures, can be used. The store is like that of `extract`: `step` counts the
    timesteps, `image` holds what was given. The same call on a finished store runs nothing.

    Parameters
    ----------
    images
        uint8 (n, Y, X, 3), a folder, or a list of files; all of the size at which the model shall see them. Files are
        turned as EXIF says, laid over white where they are transparent, and read from 0 to 65535 where they have 16
        bits, from 0 to 1 where they hold floats.
    timesteps
        Of the model's training, in the order of `step`: whole numbers from 0 to 999 for most models.
    prompts, seeds
        One for all images, or one for each. The seed is that of an image's noise, the same at every timestep.
    splits
        "train", "val" or "test" for each image; drawn by image where not given.

    Others as for `extract`.

    Returns
    -------
    ActivationStore, or a dict
        As of `extract`.

    Raises
    ------
    InputError
        If an argument can't be used; nothing is written.
    FingerprintError
        If the store was made with another configuration; the message says what differs.
    WriteError
        If the disk fails; finished samples stay.
    LdmsceneError
        If values are infinite or NaN, once all other samples are stored.
    """
    check_batches(batch_size, previews)
    some = Part.parse(part)
    given = read_images(images)
    count = len(given.hashes)
    each = _each("prompts", prompts, count), _each("seeds", seeds, count)
    splits = None if splits is None else _each("splits", splits, count)
    given.check_distinct(*each, splits)
    table = image_manifest(given.hashes, *each, splits)
    loaded = load_model(model, device, compute_dtype, variant, revision)
    with capture.with_scheduler(loaded.pipeline, capture.given_scheduler(loaded.pipeline.scheduler, timesteps)):
        plan = capture.make_plan(
            loaded.pipeline,
            modules=modules,
            steps=len(timesteps),
            guidance_scale=guidance_scale,
            negative_prompt=negative_prompt,
            height=given.size[0],
            width=given.size[1],
            branch=branch,
            dtype=dtype,
            hashes=loaded.hashes,
        )
        how: dict[str, Any] = {"previews": previews, "compression": compression, "batch_size": batch_size}
        how |= {"images": given, "part": some}
        if dry_run:
            return estimate(plan, table, place(store), **how)
        return extraction.fill(plan, table, place(store), **how, progress=progress, allow_nonfinite=allow_nonfinite)


def _each(name: str, value: Any, count: int) -> list:
    values = [value] * count if isinstance(value, str | int) else list(value)
    if len(values) != count:
        raise InputError(f"{name} must be one for all or one for each of the {count} images; got {len(values)}")
    return values
