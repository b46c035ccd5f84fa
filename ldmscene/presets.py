"""Presets: short names for kinds of modules, of any denoiser.

A new one is an entry here, or in another package an entry point of the group `ldmscene.presets`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ldmscene.registry import Registry


@dataclass(frozen=True)
class Preset:
    """Modules of one kind, by their dotted names inside a denoiser.

    Examples
    --------
    >>> from ldmscene.presets import PRESETS
    >>> PRESETS["resnet"].pattern
    '.*\\\\.resnets\\\\.\\\\d+'
    """

    name: str
    pattern: str
    """a regular expression of the whole name; a family of models may have another (`Family.presets`)"""
    text_apart: bool = False
    """whether there are none where text and image share one attention"""


PRESETS: Registry[Preset] = Registry(
    "preset",
    "ldmscene.presets",
    (
        # The latter where no transformer is around it. A joint attention of text and image counts as self-attention.
        Preset("self-attention", r".*\.(attn1?|attentions\.\d+)(\.to_out\.0)?"),
        Preset("cross-attention", r".*\.attn2(\.to_out\.0)?", text_apart=True),
        Preset("resnet", r".*\.resnets\.\d+"),
        Preset(
            "all-blocks",
            r"(down_blocks\.\d+|mid_block|up_blocks\.\d+|\w*transformer_blocks\.\d+"
            r"|(blocks|layers|noise_refiner)\.\d+)",
        ),
    ),
)
