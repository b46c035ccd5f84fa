"""What is known of each kind of denoiser.

A new one is an entry here, or in another package an entry point of the group `ldmscene.families`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from ldmscene.registry import Registry

ROLES = ("unet", "transformer")  # the names under which a pipeline holds its denoiser
_UNET_STRIDES = (1, 2, 4, 8, 16, 32, 64)
FIRST, LAST, AFTER_TEXT = "first", "last", "after each sample's own text"
# Modules of the text's side in most denoisers.
_TEXT_SIDE = (
    r"(.*\.)?(attn2\.(to_[kv]|norm_k)|add_[kqv]_proj|to_add_out|norm_added_[kq]|ff_context|norm\w*_context"
    r"|context_embedder|context_refiner|cap_embedder|add_time_condition|encoder_hid_proj|caption_projection"
    r"|caption_norm|te?xt_\w+)(\..*)?"
)


@dataclass(frozen=True)
class Family:
    """How a denoiser arranges its tokens, and how it is guided.

    Attributes
    ----------
    name : str
        The name of the denoiser's class.
    strides : tuple of int, default ()
        Latent positions along one side of a token, of all that occur; none for a denoiser that isn't known.
    joint : bool, default False
        Text and image tokens attend to each other in one attention; text tokens are left out of what is captured.
    text_first : bool, default False
        A block returns a tuple (text, image) rather than (image, text). It says nothing of sequences.
    image_at : {"first", "last", "after each sample's own text"}, default "last"
        Where the image's tokens stand in one sequence of both; the constants FIRST, LAST and AFTER_TEXT.
    distilled : bool, default False
        Guidance is an input of the denoiser: there is no unconditional branch.
    cond_first : bool, default False
        The pipeline computes the conditional branch before the unconditional one.
    guided_channels : int, default None
        How many of the latents' channels the pipeline guides; None for all.
    added_guidance : float, default 0
        What the pipeline adds to `guidance_scale` before it guides with it.
    guided_above : float, default 1
        The `guidance_scale` above which there is an unconditional branch.
    rescaled_rows : bool, default False
        The pipeline brings each row of the guided output, along its last axis, to the conditional one's length.
    guidance : str, default "guidance_scale"
        The pipeline's argument that takes `guidance_scale`.
    asks_negative : bool, default False
        There is no guidance without a negative prompt, be it empty.
    masked_text : bool, default False
        The denoiser can't do without the text's attention mask.
    doubled : bool, default False
        The pipeline steps each sample once for each branch, both alike.
    packed : bool, default False
        The pipeline packs 2 × 2 latents into one token before it calls the denoiser.
    presets : mapping, default {}
        Patterns of module names, where they aren't those of most denoisers.
    text_side : str, default ""
        A pattern of the names of modules that see text tokens only, beside those of most denoisers.

    Examples
    --------
    >>> from ldmscene.capture.families import FAMILIES, Family
    >>> FAMILIES["FluxTransformer2DModel"].joint
    True
    >>> Family("OwnTransformer2DModel", strides=(2,), joint=True, text_first=True).known
    True
    """

    name: str
    strides: tuple[int, ...] = ()
    joint: bool = False
    text_first: bool = False
    image_at: str = LAST
    distilled: bool = False
    cond_first: bool = False
    guided_channels: int | None = None
    added_guidance: float = 0.0
    guided_above: float = 1.0
    rescaled_rows: bool = False
    guidance: str = "guidance_scale"
    asks_negative: bool = False
    masked_text: bool = False
    doubled: bool = False
    packed: bool = False
    presets: Mapping[str, str] = field(default_factory=dict)
    text_side: str = ""

    @property
    def known(self) -> bool:
        return bool(self.strides)

    def is_text_side(self, module: str) -> bool:
        """Whether a module sees text tokens only: they are never a picture's, whatever their number."""
        patterns = (_TEXT_SIDE, self.text_side) if self.text_side else (_TEXT_SIDE,)
        return any(re.fullmatch(pattern, module) for pattern in patterns)


FAMILIES: Registry[Family] = Registry(
    "family of models",
    "ldmscene.families",
    (
        Family("UNet2DConditionModel", _UNET_STRIDES),
        Family(
            "Kandinsky3UNet",
            _UNET_STRIDES,
            added_guidance=1.0,
            masked_text=True,
            presets={  # each block's first attention is over the picture, the others are over the text
                "self-attention": r".*\.attentions\.0\.attention(\.to_out\.0)?",
                "cross-attention": r".*\.attentions\.[1-9]\d*\.attention(\.to_out\.0)?",
                "resnet": r".*\.resnets_(in|out)\.\d+",
            },
        ),
        Family("SD3Transformer2DModel", (2,), joint=True, text_first=True),
        Family("FluxTransformer2DModel", (2,), joint=True, text_first=True, distilled=True, packed=True),
        Family("ChromaTransformer2DModel", (2,), joint=True, text_first=True, cond_first=True, packed=True),
        Family("AuraFlowTransformer2DModel", (2,), joint=True, text_first=True),
        Family("CogView3PlusTransformer2DModel", (2,), joint=True),
        Family("CogView4Transformer2DModel", (2,), joint=True, cond_first=True),
        Family("PixArtTransformer2DModel", (2,)),
        Family("SanaTransformer2DModel", (1,)),
        Family("HunyuanDiT2DModel", (2,)),
        Family("UNet2DModel", _UNET_STRIDES),
        Family("DiTTransformer2DModel", (2,), cond_first=True, doubled=True),
        # The pipeline guides three of four channels, as the model's authors do.
        Family("LuminaNextDiT2DModel", (2,), cond_first=True, guided_channels=3),
        Family("Lumina2Transformer2DModel", (2,), joint=True, image_at=AFTER_TEXT, cond_first=True, rescaled_rows=True),
        Family(
            "QwenImageTransformer2DModel",
            (2,),
            packed=True,
            joint=True,
            text_first=True,
            cond_first=True,
            rescaled_rows=True,
            guidance="true_cfg_scale",
            asks_negative=True,
        ),
        Family("Flux2Transformer2DModel", (2,), joint=True, text_first=True, cond_first=True, packed=True),
        Family(  # image and text are each padded to a multiple of 32 tokens
            "ZImageTransformer2DModel",
            (2,),
            joint=True,
            image_at=FIRST,
            cond_first=True,
            added_guidance=1.0,
            guided_above=0.0,
            presets={"self-attention": r"(layers|noise_refiner)\.\d+\.attention(\.to_out\.0)?"},
        ),
    ),
)


def family_of(denoiser: nn.Module) -> Family:
    """What is known of a denoiser; warns where that is nothing."""
    name = type(denoiser).__name__
    if name not in FAMILIES:
        warnings.warn(
            f"{name} isn't a denoiser that ldmscene knows: outputs of three axes are stored as (token, channel), "
            "text tokens among them where these can't be told, and can't be probed as maps; pictures are decoded as "
            "most pipelines do it",
            stacklevel=2,
        )
        return Family(name)
    family = FAMILIES[name]
    config: Any = denoiser.config
    # Latent consistency models get their guidance instead of a second embedding of time.
    distilled = config.get("guidance_embeds") or config.get("time_cond_proj_dim") is not None
    if len(family.strides) == 1 and not family.packed:
        family = replace(family, strides=(config.get("patch_size") or family.strides[0],))
    return replace(family, distilled=family.distilled or bool(distilled))


def entry_of(denoiser: nn.Module) -> Family:
    """The entry of a denoiser's class; one that says nothing where it isn't known."""
    name = type(denoiser).__name__
    return FAMILIES.get(name, Family(name))


def default_latent(denoiser: nn.Module) -> tuple[int, int]:
    """The latent's height and width that a denoiser was made for."""
    config: Any = denoiser.config
    size = config.get("sample_size") or 128  # packed transformers have none; their pipelines take 128
    return (size, size) if isinstance(size, int) else tuple(size)
