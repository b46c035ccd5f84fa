"""What a module's dotted name tells: of which part of the pipeline or the denoiser it is, and a shorter form."""

from __future__ import annotations

import re
from collections.abc import Iterable

TEXT_ENCODER = r"text_encoder(_\d)?|bert"
AUTOENCODERS = ("vae", "movq", "vqvae")
_OTHERS = re.compile(rf"({TEXT_ENCODER}|{'|'.join(AUTOENCODERS)})\..+")
PARTS = {"down_blocks": "encoder", "mid_block": "bottleneck", "up_blocks": "decoder"}


def part_of(module: str) -> str:
    """encoder, bottleneck, decoder, or the outermost name where the denoiser has no such parts."""
    outer = module.split(".")[0]
    return PARTS.get(outer, outer)


def short_name(module: str, among: Iterable[str] = ()) -> str:
    """A module's name without what all of its kind share, for example `up_blocks.3.attentions.0`.

    Whole, where that may be another of the modules `among` which it is named: an attention may have several blocks, and
    each of them self- and cross-attention.
    """
    short = module.split(".transformer_blocks")[0]
    alike = {name for name in among if name.split(".transformer_blocks")[0] == short}
    return module if alike - {module} else short


def in_denoiser(modules: Iterable[str]) -> list[str]:
    """Of some modules, those inside the denoiser rather than a text encoder or the autoencoder."""
    return [module for module in modules if not _OTHERS.fullmatch(module)]


def that_speak(modules: Iterable[str]) -> list[str]:
    """Modules that are asked from which step on something is known: the denoiser's; all where there is none of these.

    Others don't run at each step, or see a picture that the denoiser has predicted already.
    """
    names = list(modules)
    return in_denoiser(names) or names
