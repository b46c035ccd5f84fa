"""Modules of the autoencoder's decoder: what they return when a picture is drawn.

The decoder runs once, after the last step, to which what it returns belongs. Where it is captured at every step, it
draws the picture as it is predicted there, and the picture itself at the last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ldmscene.capture.hooks import hearing
from ldmscene.capture.latents import latent_channels
from ldmscene.capture.layout import GRID
from ldmscene.capture.modules import ModuleShape
from ldmscene.capture.parts import modules_by_name, parts_of
from ldmscene.capture.pictures import Picture, as_decoded, decode_counting, ready
from ldmscene.capture.sinks import Sink
from ldmscene.errors import InputError, LdmsceneError


def decoder_shapes(
    pipeline: Any, part: str, names: Sequence[str], latent: tuple[int, int], step: int | None
) -> list[ModuleShape]:
    """Shapes of an autoencoder's modules, from decoding on the meta device: nothing is computed.

    An autoencoder whose shapes depend on values is really called, once.

    Parameters
    ----------
    names
        Of modules, beginning with the part's.
    latent
        Height and width of the latents.
    step
        As the shapes have it.

    Raises
    ------
    InputError
        If the autoencoder decodes in tiles, doesn't call one of the modules once, or it returns no map.
    """
    vae: Any = parts_of(pipeline)[part]
    if getattr(vae, "use_tiling", False):
        raise InputError(
            f"{part} decodes in tiles, so that its modules never see a whole picture; call pipeline.{part}."
            "disable_tiling(), or leave its modules out"
        )
    try:
        with torch.device("meta"):
            shadow = type(vae).from_config(vae.config).eval()
        heard = outputs_on_meta(pipeline, part, shadow, names, latent)
    except Exception:  # whatever an operation says that needs values, or a module that was added later
        with ready(pipeline) as real:
            z = torch.zeros(1, latent_channels(pipeline), *latent).to(pipeline._execution_device, real.dtype)
            heard = _decoding(pipeline, part, vae, names, z)
    return [decoder_shape(part, name, heard[name], latent, step) for name in names]


def outputs_on_meta(
    pipeline: Any, part: str, vae: Any, names: Sequence[str], latent: tuple[int, int]
) -> Mapping[str, list[Tensor]]:
    """What modules of an autoencoder that has no weights return when one picture is decoded: tensors without values."""
    with torch.device("meta"):
        return _decoding(pipeline, part, vae, names, torch.zeros(1, latent_channels(pipeline), *latent))


def _decoding(pipeline: Any, part: str, vae: Any, names: Sequence[str], z: Tensor) -> Mapping[str, list[Tensor]]:
    modules = {name: vae.get_submodule(name.removeprefix(f"{part}.")) for name in names}
    with torch.no_grad(), hearing(modules) as heard:
        as_decoded(pipeline, vae, z)
    return heard


def decoder_shape(
    part: str, name: str, outputs: Sequence[Tensor], latent: tuple[int, int], step: int | None
) -> ModuleShape:
    """That of what a module returned when one picture was decoded.

    Raises
    ------
    InputError
        If it wasn't called once, or returned no map.
    """
    if len(outputs) != 1:
        times = f"{len(outputs)} times" if outputs else "never"
        raise InputError(f"{name} is {times} called while a picture is decoded; capture a module that is called once")
    return ModuleShape(name, GRID, tuple(_as_maps(name, outputs[0], latent).shape[1:]), part, step, branched=False)


def _as_maps(name: str, output: Tensor, latent: tuple[int, int]) -> Tensor:
    """What a module returned as (n, y, x, channel)."""
    maps = output[:, :, 0] if output.ndim == 5 and output.shape[2] == 1 else output  # a video of one frame
    if maps.ndim == 4 and _covers(maps.shape[2:], latent):
        return maps.permute(0, 2, 3, 1)
    if maps.ndim == 3 and maps.shape[1] == latent[0] * latent[1]:
        found: Tensor = maps.unflatten(1, latent)
        return found
    raise InputError(
        f"{name} returns {tuple(output.shape)}, which is no map (picture, channel, y, x) over latents of "
        f"{latent[0]} × {latent[1]}; capture another module"
    )


def _covers(size: Sequence[int], latent: tuple[int, int]) -> bool:
    """Whether a map's positions are as many along both sides for each of the latents', or the other way round."""
    (y, x), (height, width) = size, latent
    return y * width == x * height and (y % height == 0 or height % y == 0)


def draw(
    pipeline: Any,
    modules: Sequence[ModuleShape],
    latents: Tensor,
    step: int,
    dtype: str,
    sink: Sink,
) -> list[Picture]:
    """Pictures (1, Y, X, rgb) of latents (n, c, y, x), as `decode_counting` gives them; what modules return, to a sink.

    Raises
    ------
    LdmsceneError
        If a module returned more or fewer results than there are pictures.
    """
    found = modules_by_name(pipeline, modules)
    with hearing(found, getattr(torch, dtype)) as heard:
        # One by one, so that a picture doesn't depend on those beside it.
        pictures = [decode_counting(pipeline, z) for z in latents.split(1)]
    for name in found:
        if len(heard[name]) != len(latents):
            raise LdmsceneError(
                f"{name} returned {len(heard[name])} results for {len(latents)} pictures; a compiled autoencoder runs "
                "past hooks: compile it afterwards"
            )
        maps = _as_maps(name, torch.cat(heard[name]), (latents.shape[-2], latents.shape[-1]))
        sink.take(name, step, "", maps)
    return pictures
