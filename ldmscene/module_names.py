"""What a module's dotted name tells: its part of the denoiser, and a shorter form."""

from __future__ import annotations

PARTS = {"down_blocks": "encoder", "mid_block": "bottleneck", "up_blocks": "decoder"}


def part_of(module: str) -> str:
    """encoder, bottleneck, decoder, or the outermost name where the denoiser has no such parts."""
    outer = module.split(".")[0]
    return PARTS.get(outer, outer)


def short_name(module: str) -> str:
    """A module's name without what all of its kind share, for example `up_blocks.3.attentions.0`."""
    return module.split(".transformer_blocks")[0]
