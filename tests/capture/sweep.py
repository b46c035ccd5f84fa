"""Every pipeline class of the installed diffusers that the small parts at hand can build, held to an independent hook.

python -m tests.capture.sweep writes what it finds into the tables of docs/models.md.
"""

from __future__ import annotations

import inspect
import typing
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import ControlNetModel, DiffusionPipeline, StableDiffusionPipeline

import ldmscene
from ldmscene.capture import denoiser_of
from ldmscene.capture.families import ROLES
from ldmscene.errors import InputError, LdmsceneError
from tests.capture import noise_pipelines, pipelines

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
EMPTY = ("safety_checker", "feature_extractor", "image_encoder", "watermark")  # parts that may be None
BEGIN, END = "<!-- made by tests/capture/sweep.py -->", "<!-- end -->"


@dataclass(frozen=True)
class Outcome:
    """What became of one class: `refused` is the sentence, None where all captured values were right."""

    name: str
    refused: str | None


def donors() -> list[DiffusionPipeline]:
    """The small pipelines whose parts others are built from, all of small pictures."""
    small = [pipelines.build(name) for name in [*pipelines.PIPELINES, "bria"]]
    small += [noise_pipelines.build(name) for name in noise_pipelines.NOISE_PIPELINES]
    for pipeline in small:
        denoiser = denoiser_of(pipeline)[1]
        if not denoiser.config.get("sample_size"):  # or their pipelines would take 128 latents
            denoiser.register_to_config(sample_size=16)
    return small


def kinds() -> Iterator[type[DiffusionPipeline]]:
    """Classes of pipelines that diffusers exports here."""
    for name in sorted(one for one in dir(diffusers) if one.endswith("Pipeline")):
        try:
            found = getattr(diffusers, name)
        except (RuntimeError, ImportError, AttributeError):  # what it needs isn't installed
            continue
        if inspect.isclass(found) and issubclass(found, DiffusionPipeline) and found is not DiffusionPipeline:
            yield found


def built(kind: type[DiffusionPipeline], small: list[DiffusionPipeline]) -> DiffusionPipeline | None:
    """A pipeline of a class from the parts of one that fits, those of its own class first."""
    asked = {n: p for n, p in inspect.signature(kind.__init__).parameters.items() if n != "self"}
    for donor in sorted(small, key=lambda one: type(one) is not kind):
        if type(donor) is kind:
            return donor
        parts = {name: part for name, part in donor.components.items() if name in asked}
        if "controlnet" in asked and isinstance(donor, StableDiffusionPipeline):
            parts["controlnet"] = ControlNetModel.from_unet(donor.unet)
        parts |= {name: None for name in EMPTY if name in asked and name not in parts}
        lacks = [n for n, p in asked.items() if p.default is p.empty and p.kind is not p.VAR_KEYWORD and n not in parts]
        if lacks or not _is_meant(kind, parts):
            continue
        try:
            return kind(**parts, **({"requires_safety_checker": False} if "requires_safety_checker" in asked else {}))
        except Exception:  # whatever a class of any kind dislikes of other parts
            continue
    return None


def _is_meant(kind: type[DiffusionPipeline], parts: dict[str, Any]) -> bool:
    """Whether the denoiser and the autoencoder are of the classes that a pipeline is written for."""
    try:
        hints = typing.get_type_hints(kind.__init__)
    except Exception:  # a name that its module only has for type checkers
        return False
    for name in (*ROLES, "vae", "vqvae", "movq", "text_encoder"):
        if name in parts and name in hints:
            wanted = typing.get_args(hints[name]) or (hints[name],)
            if not isinstance(parts[name], tuple(one for one in wanted if inspect.isclass(one))):
                return False
    return any(role in parts for role in ROLES)


def outcome(pipeline: DiffusionPipeline) -> Outcome:
    """What `check` finds, at guidance 4 or at none; anything but InputError is raised."""
    name = type(pipeline).__name__
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = _checked(pipeline)
        except LdmsceneError as error:
            return Outcome(name, str(error))
    assert found["equal"] == 1, (name, found["equal"])
    return Outcome(name, None if found["steady"] else f"a seed doesn't fix what it draws: {found['unsteady']}")


def _checked(pipeline: DiffusionPipeline) -> dict[str, Any]:
    try:
        return ldmscene.check(pipeline, steps=2, guidance_scale=4.0)
    except InputError as error:
        if "guidance_scale=1" not in str(error):
            raise
        return ldmscene.check(pipeline, steps=2, guidance_scale=1.0)


def sweep() -> list[Outcome]:
    """Of all classes that can be built."""
    small, found = donors(), []
    for kind in kinds():
        pipeline = built(kind, small)
        try:
            found += [] if pipeline is None else [outcome(pipeline)]
        except Exception as error:  # which the test counts as a fault
            print(f"{kind.__name__}: {type(error).__name__}: {error}", flush=True)
    return found


def row(one: Outcome) -> str:
    """What stands of it in its table."""
    return f"`{one.name}`" if one.refused is None else f"| `{one.name}` | {one.refused.replace('|', '/')} |"


def tables(found: list[Outcome]) -> str:
    """The two tables of the page."""
    works = [row(one) for one in found if one.refused is None]
    refused = [row(one) for one in found if one.refused is not None]
    count = f"{len(works)} classes of diffusers {diffusers.__version__} are captured, value for value:"
    return "\n".join(
        [
            BEGIN,
            count,
            "",
            ", ".join(works) + ".",
            "",
            "| class | what it is refused with |",
            "|---|---|",
            *refused,
            END,
        ]
    )


if __name__ == "__main__":
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    PAGE.write_text(before + tables(sweep()) + rest.partition(END)[2])
