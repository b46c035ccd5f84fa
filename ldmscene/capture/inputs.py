"""What a pipeline's call is handed beside prompts: pictures of each sample, and what all samples share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from ldmscene.array_types import AnyArray
from ldmscene.capture.conditions import ADAPTER, takes
from ldmscene.errors import InputError, unknown
from ldmscene.picture_files import pixels_hash

MASK = "mask_image"
# What ldmscene hands a pipeline itself, or what would change how many pictures it draws, or how they become one.
_OWN = {
    *("prompt", "negative_prompt", "class_labels", "batch_size", "num_images_per_prompt", "generator", "latents"),
    *("num_inference_steps", "guidance_scale", "true_cfg_scale", "height", "width", "output_type", "return_dict"),
    *("callback", "callback_steps", "callback_on_step_end", "callback_on_step_end_tensor_inputs"),
    *("padding_mask_crop", "use_resolution_binning", "clean_caption"),
}


@dataclass(frozen=True)
class Inputs:
    """What a pipeline's call takes beside prompts, by the names of its parameters.

    Attributes
    ----------
    each : mapping of str to (mapping of (int, int) to str), default {}
        Of which every sample has a picture of its own: their sizes (y, x), and what to call the first of each size.
    same : mapping of str to (numpy.ndarray or float), default {}
        Pictures, uint8 (Y, X, rgb), and settings that all samples share.
    """

    each: Mapping[str, Mapping[tuple[int, int], str]] = field(default_factory=dict)
    same: Mapping[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        return [*self.each, *self.same]

    def check(self, pipeline: Any) -> None:
        """Refuse what a pipeline's call doesn't take, or what isn't for the caller to say.

        Raises
        ------
        InputError
            With the name, and what the pipeline takes.
        """
        kind, found = type(pipeline).__name__, takes(pipeline)
        for name in self.names:
            if name in _OWN:
                raise InputError(f"inputs: {name} is what ldmscene sets itself, or an option of its own; leave it out")
            if name not in found:
                raise unknown(f"input of {kind}", name, [one for one in found if one not in _OWN])
        if MASK in self.names and type(getattr(pipeline, "vae", None)).__name__ == "AsymmetricAutoencoderKL":
            raise InputError(
                f"the AsymmetricAutoencoderKL of {kind} decodes with the mask, which ldmscene doesn't; use another"
            )
        for name, sizes in self.each.items():
            if name != ADAPTER and "height" not in found and len(sizes) > 1:
                (size, one), (other_size, other) = list(sizes.items())[:2]
                raise InputError(
                    f"inputs: {name}: {one} has {size[0]} × {size[1]} pixels, {other} {other_size[0]} × "
                    f"{other_size[1]}; {kind} draws at the size of its picture, so bring them to one size"
                )

    def arguments(self, pictures: Mapping[str, Sequence[AnyArray]], count: int) -> dict[str, Any]:
        """Of the pipeline's call for a number of samples: each picture, or a list of one for each sample."""
        shown = {name: list(pictures[name]) for name in self.each}
        shown |= {name: [one] * count for name, one in self.same.items() if isinstance(one, np.ndarray)}
        settings = {name: one for name, one in self.same.items() if name not in shown}
        return settings | {name: _as_images(some) for name, some in shown.items()}

    def examples(self, pipeline: Any, size: tuple[int, int], count: int = 1) -> dict[str, list[AnyArray]]:
        """Pictures that are the same at every call, all of them different, for samples that nobody asked for.

        They are of `size`, but for a pipeline that draws at the size of its picture.
        """
        by_picture = "height" not in takes(pipeline)
        return {
            name: [_example(next(iter(sizes)) if by_picture and name != ADAPTER else size, i) for i in range(count)]
            for name, sizes in self.each.items()
        }

    def config(self) -> dict[str, Any]:
        """What a fingerprint says of them: the pictures of samples belong to these."""
        plain = {name: pixels_hash(one) if isinstance(one, np.ndarray) else one for name, one in self.same.items()}
        return {"inputs": {**dict.fromkeys(self.each, "a picture of each sample"), **plain}} if self.names else {}


def _as_images(pictures: Sequence[AnyArray]) -> Any:
    """One alone as it is, since some pipelines take no list."""
    images = [Image.fromarray(one) for one in pictures]
    return images if len(images) > 1 else images[0]


def _example(size: tuple[int, int], number: int) -> AnyArray:
    """Slopes from black to white, along x, along y and across, so that half of a mask of it is on."""
    y, x = (np.linspace(0, 255, side) for side in size)
    across = (y[:, None] + x[None]) / 2
    whole = np.stack(np.broadcast_arrays(x[None], y[:, None], across), axis=-1)
    return np.roll(whole, number, axis=-1).round().astype(np.uint8)
