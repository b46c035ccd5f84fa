"""Published experiments: what they were run with, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ldmscene.errors import unknown


@dataclass(frozen=True)
class PlannedEdit:
    """One edited store of a run: what `Edit.of` and `intervene` are called with."""

    name: str
    """of its folder"""
    target: str
    wanted: str
    modules: str | tuple[str, ...]
    steps: tuple[int, ...]
    rule: str = "conditional"
    controls: tuple[str, ...] = ("none", "shuffled", "random:1")


@dataclass(frozen=True)
class Protocol:
    """Arguments of `run` that stand where the caller gives none."""

    model: str
    labelers: Mapping[str, str]
    options: Mapping[str, Any]  # of `extract`
    scheduler: Callable[[], Any]
    plan_edits: Callable[[int], tuple[PlannedEdit, ...]] = lambda side: ()
    """those for pictures whose shorter side has so many pixels"""

    @property
    def edits(self) -> tuple[PlannedEdit, ...]:
        """Those for pictures of the protocol's own size."""
        return self.plan_edits(min(self.options["height"], self.options["width"]))

    def fill(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The caller's options of `extract`, completed."""
        return {**self.options, "scheduler": self.scheduler(), **options}


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


def usual_edits(targets: Iterable[str], modules: int, steps: int, width: int) -> tuple[PlannedEdit, ...]:
    """What a run without a protocol tries: each target moved to the right by a quarter of the picture's width.

    The first target's edit is also begun later and later.
    """
    wanted, best = f"shift:0,{width // 4}", f"best:{min(9, modules)}"
    every, first = tuple(range(steps)), tuple(range(min(5, steps)))
    controls = ("none", "shuffled", "random:1", "wrong-region", "rule:minimum-norm")
    found = [PlannedEdit(target, target, wanted, best, first, controls=controls) for target in targets]
    later = ("none", f"from:{max(1, steps // 5)}")
    return (*found, PlannedEdit(f"{found[0].target}-begun-later", found[0].target, wanted, best, every, controls=later))


def _scenes_edits(side: int) -> tuple[PlannedEdit, ...]:
    """Foreground in the decoder at steps 0 to 4, depth everywhere at 0 to 2, five shifts: as published, and beside it.

    The published rule and the closed form each have controls of their own norm. Pictures of another size than the
    published 512 pixels move by the same share of it.
    """
    modules, (low, high) = _scenes_modules(), (90 * side // 512, 120 * side // 512)
    decoder = tuple(name for name in modules if name.startswith("up_blocks"))
    beside = {"adam": (), "conditional": ("rule:minimum-norm",)}
    return tuple(
        PlannedEdit(
            f"{target}-{rule}-{seed}", target, f"jump:{low},{high}:{seed}:cut", names, steps, rule,
            ("none", "shuffled", "random:1", *more),
        )
        for target, names, steps in (("mask", decoder, (0, 1, 2, 3, 4)), ("depth", modules, (0, 1, 2)))
        for rule, more in beside.items()
        for seed in range(5)
    )  # fmt: skip


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
        plan_edits=_scenes_edits,
    ),
}
