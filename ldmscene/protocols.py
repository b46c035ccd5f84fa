"""Published experiments: what they were run with, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ldmscene.errors import unknown


@dataclass(frozen=True)
class Protocol:
    """Arguments of `run` that stand where the caller gives none."""

    model: str
    labelers: Mapping[str, str]
    options: Mapping[str, Any]  # of `extract`
    scheduler: Callable[[], Any]

    def fill(
        self, model: Any, labelers: Mapping[str, Any] | None, options: Mapping[str, Any]
    ) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        """The caller's arguments, completed; a target whose labeler is given as empty is left out."""
        return (
            model or self.model,
            completed(self.labelers, labelers),
            {**self.options, "scheduler": self.scheduler(), **options},
        )


def completed(own: Mapping[str, Any], given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Labelers by target: a set's own, and those given in their place; one that is empty leaves its target out."""
    return {target: one for target, one in {**own, **(given or {})}.items() if not is_empty(one)}


def is_empty(labeler: Any) -> bool:
    """Whether a labeler is "" or None; arrays of labels aren't compared."""
    return labeler is None or (isinstance(labeler, str) and not labeler)


def find(name: str) -> Protocol:
    """UnknownNameError if there is no such protocol."""
    if name not in PROTOCOLS:
        raise unknown("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]


def _scenes_modules() -> tuple[str, ...]:
    """The 16 self-attention outputs of the report's Table 1."""
    blocks = {**{f"down_blocks.{i}": 2 for i in range(3)}, "mid_block": 1, **{f"up_blocks.{i}": 3 for i in (1, 2, 3)}}
    return tuple(
        f"{block}.attentions.{j}.transformer_blocks.0.attn1.to_out.0"
        for block, layers in blocks.items()
        for j in range(layers)
    )


def _scenes_scheduler() -> Any:
    from diffusers import LMSDiscreteScheduler  # which names of protocols have no use for

    return LMSDiscreteScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        timestep_spacing="linspace",
    )


PROTOCOLS = {
    # Chen, Viégas and Wattenberg 2023 (arXiv 2306.05720), and the report that adds shading and VGG-16.
    "scenes": Protocol(
        model="CompVis/stable-diffusion-v1-4",
        labelers={"depth": "midas", "mask": "tracer", "shading": "intrinsic", "class": "vgg16"},
        options={
            "modules": _scenes_modules(),
            "steps": 15,
            "guidance_scale": 7.5,
            "negative_prompt": "",
            "height": 512,
            "width": 512,
            "branch": "cond",
        },
        scheduler=_scenes_scheduler,
    ),
}
