"""From pictures that exist to a store of activations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ldmscene.calls.checking import check_model, check_place
from ldmscene.calls.dry_run import estimated_by
from ldmscene.errors import InputError
from ldmscene.extraction.options import DryImageExtraction, ImageExtraction
from ldmscene.extraction.supplied import read_images
from ldmscene.manifest import image_manifest
from ldmscene.options import takes

if TYPE_CHECKING:
    from ldmscene.store import ActivationStore


@estimated_by(DryImageExtraction)
@takes(ImageExtraction)
def extract_images(asked: ImageExtraction) -> ActivationStore | dict[str, float]:
    """Noise supplied images to chosen timesteps, call the denoiser once at each, and store its activations.

    As in DDPM segmentation (Baranchuk et al. 2022) and DIFT (Tang et al. 2023), so that labels that are known
    exactly, of rendered or annotated pictures, can be used. The store is like that of `extract`: `step` counts the
    timesteps, `image` holds what was supplied. The same call on a finished store runs nothing.

    Parameters
    ----------
    {parameters}

    Returns
    -------
    ActivationStore, or a dict
        For a dry run, what `estimate` returns.

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

    Examples
    --------
    >>> import ldmscene, numpy
    >>> pictures = numpy.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype="uint8")
    >>> store = ldmscene.extract_images("tiny-scenes", pictures, "stores/pictures", timesteps=[400, 100])
    >>> [float(t) for t in store.timesteps]
    [400.0, 100.0]
    """
    images = read_images(asked.images)
    count = len(images.hashes)
    each = _each("prompts", asked.prompts, count), _each("seeds", asked.seeds, count)
    splits = None if asked.splits is None else _each("splits", asked.splits, count)
    images.check_distinct(*each, splits)
    table = image_manifest(images.hashes, *each, splits)
    check_place(asked.store)
    check_model(asked.model, asked.revision)
    from ldmscene.calls import extracting  # which loads torch, now that all that is asked for makes sense

    return (extracting.estimate_images if asked.dry_run else extracting.extract_images)(asked, table, images)


def _each(name: str, value: Any, count: int) -> list[Any]:
    values = [value] * count if isinstance(value, str | int) else list(value)
    if len(values) != count:
        raise InputError(f"{name} must be one for all or one for each of the {count} images; got {len(values)}")
    return values
