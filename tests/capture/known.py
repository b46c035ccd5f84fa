"""What diffusers' source says of the pipelines, written down by hand, and plans for them."""

from __future__ import annotations

from dataclasses import dataclass, field

from ldmscene import capture

PROMPT, SEED, STEPS, SCALE = "a small blue cone", 7, 2, 4.0


@dataclass(frozen=True)
class Known:
    """What diffusers' source says of a pipeline, written down by hand.

    `parts`: the branches, in the order in which batches hold them, or calls come. `size`: height and width of the
    picture in pixels. `tokens`: rows and columns of the image's tokens. `image_part`: of the tuple that a block
    returns, the image's tensor: 0 or -1. `image_first`: in one sequence of both, the image stands before the text.
    `text_lengths`: in one sequence of both, the image follows each sample's own text, and padding follows the image.
    `arguments`: of the pipeline's call, beside prompt, size and steps: guidance, and what leaves size and prompt
    unchanged. `first`: the first module that the latents enter.
    """

    parts: tuple[str, ...] = ("uncond", "cond")
    size: tuple[int, int] = (32, 48)
    tokens: tuple[int, int] = (8, 12)
    image_part: int = 0
    image_first: bool = False
    text_lengths: bool = False
    arguments: dict = field(default_factory=lambda: {"guidance_scale": SCALE})
    first: str = "transformer_blocks.0"


GUIDED = {"guidance_scale": SCALE}
AS_GIVEN = {**GUIDED, "use_resolution_binning": False}
UNCLEANED = {**GUIDED, "clean_caption": False}
UNET = {"first": "conv_in"}
KNOWN = {
    "stable_diffusion": Known(**UNET),
    "stable_diffusion_2": Known(**UNET),
    "perturbed_attention": Known(parts=("uncond", "cond", "perturbed"), **UNET),
    "latent_consistency": Known(parts=("cond",), **UNET),
    "stable_diffusion_xl": Known(**UNET),
    "stable_diffusion_3": Known(image_part=-1),
    "pixart": Known(arguments=AS_GIVEN | UNCLEANED),
    "pixart_sigma": Known(arguments=AS_GIVEN | UNCLEANED),
    "flux": Known(parts=("cond",), image_part=-1),
    "flux_2": Known(parts=("cond", "uncond"), image_part=-1),
    "chroma": Known(parts=("cond", "uncond"), image_part=-1),
    "sana": Known(size=(64, 64), tokens=(32, 32), arguments=AS_GIVEN),
    "sana_sprint": Known(parts=("cond",), size=(64, 64), tokens=(32, 32), arguments=AS_GIVEN),
    "aura_flow": Known(image_part=-1, first="joint_transformer_blocks.0"),
    "lumina": Known(parts=("cond", "uncond"), size=(128, 192), arguments=UNCLEANED, first="layers.0"),
    "lumina_2": Known(parts=("cond", "uncond"), size=(128, 192), text_lengths=True, first="layers.0"),
    "z_image": Known(parts=("cond", "uncond"), image_first=True, first="layers.0"),
    "qwen_image": Known(
        parts=("cond", "uncond"),
        size=(64, 96),
        image_part=-1,
        arguments={"true_cfg_scale": SCALE, "negative_prompt": [""]},
    ),
    "cogview_3": Known(),
    "cogview_4": Known(parts=("cond", "uncond")),
    "hunyuan": Known(size=(128, 192), arguments=AS_GIVEN, first="blocks.0"),
    "kandinsky_2": Known(**UNET),
    "kandinsky_3": Known(size=(64, 192), tokens=(8, 24), **UNET),
    "bria": Known(image_part=-1),
}


def plan_of(pipeline, name: str, modules, **changes) -> capture.Plan:
    height, width = KNOWN[name].size
    options = {"steps": STEPS, "guidance_scale": SCALE, "negative_prompt": "", "height": height, "width": width}
    options |= {"branch": "both" if "uncond" in KNOWN[name].parts else "cond", "dtype": "float32"}
    return capture.make_plan(pipeline, modules=modules, **(options | changes))
