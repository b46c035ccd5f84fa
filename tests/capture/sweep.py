"""Every pipeline class of the installed diffusers that the small parts at hand can build, held to an independent hook.

python -m tests.capture.sweep writes what it finds into the tables of docs/models.md.
"""

from __future__ import annotations

import inspect
import tempfile
import typing
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import ControlNetModel, DiffusionPipeline, StableDiffusionPipeline, StableDiffusionXLPipeline
from PIL import Image

import ldmscene
from ldmscene.capture import denoiser_of
from ldmscene.capture.conditions import lacks, takes
from ldmscene.capture.families import ROLES
from ldmscene.errors import InputError, LdmsceneError
from tests.capture import noise_pipelines, picture_pipelines, pipelines

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
EMPTY = ("safety_checker", "feature_extractor", "image_encoder", "watermark")  # parts that may be None
BEGIN, END = "<!-- made by tests/capture/sweep.py -->", "<!-- end -->"


@dataclass(frozen=True)
class Outcome:
    """What became of one class: `refused` is the sentence, None where all captured values were right.

    `pictures` are those that it was handed.
    """

    name: str
    refused: str | None
    pictures: tuple[str, ...] = ()


def donors() -> list[DiffusionPipeline]:
    """The small pipelines whose parts others are built from, all of small pictures."""
    small = [pipelines.build(name) for name in [*pipelines.PIPELINES, "bria"]]
    small += [noise_pipelines.build(name) for name in noise_pipelines.NOISE_PIPELINES]
    small.append(picture_pipelines.adapter())
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
        if "controlnet" in asked and isinstance(donor, StableDiffusionPipeline | StableDiffusionXLPipeline):
            parts["controlnet"] = picture_pipelines.fill(
                ControlNetModel.from_unet(donor.unet, conditioning_embedding_out_channels=(16, 32))
            )
        if "image_encoder" in asked and asked["image_encoder"].default is inspect.Parameter.empty:
            parts |= {name: part for name, part in picture_pipelines.image_encoder().items() if name in asked}
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
    """What `check` finds without pictures, or else with all that the pipeline takes; only refusals aren't raised."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        alone, pictures = _outcome(pipeline, ()), tuple(lacks(pipeline))
        return _outcome(pipeline, pictures) if alone.refused and pictures else alone


def _outcome(pipeline: DiffusionPipeline, pictures: tuple[str, ...]) -> Outcome:
    name = type(pipeline).__name__
    try:
        found = _checked(pipeline, pictures)
    except LdmsceneError as error:
        return Outcome(name, str(error), pictures)
    assert found["equal"] == 1, (name, found["equal"])
    unsteady = None if found["steady"] else f"a seed doesn't fix what it draws: {found['unsteady']}"
    return Outcome(name, unsteady, pictures)


def _checked(pipeline: DiffusionPipeline, pictures: tuple[str, ...]) -> dict[str, Any]:
    """At guidance 4 or at none."""
    with tempfile.TemporaryDirectory() as folder:
        inputs: dict[str, Any] = {name: Path(folder) / f"{name}.png" for name in pictures}
        for number, file in enumerate(inputs.values()):
            Image.fromarray(picture_pipelines.picture(number, (32, 36))).resize((32, 32)).save(file)
        if pictures and "strength" in takes(pipeline):
            inputs["strength"] = 0.8
        try:
            return ldmscene.check(pipeline, steps=2, guidance_scale=4.0, inputs=inputs)
        except InputError as error:
            if "guidance_scale=1" not in str(error):
                raise
            return ldmscene.check(pipeline, steps=2, guidance_scale=1.0, inputs=inputs)


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
    if one.refused is not None:
        return f"| `{one.name}` | {one.refused.replace('|', '/')} |"
    return f"`{one.name}`" + (f" ({', '.join(one.pictures)})" if one.pictures else "")


def tables(found: list[Outcome]) -> str:
    """What is captured without pictures and with them, and the table of what isn't."""
    works = [row(one) for one in found if one.refused is None and not one.pictures]
    pictures = [row(one) for one in found if one.refused is None and one.pictures]
    refused = [row(one) for one in found if one.refused is not None]
    count = f"{len(works)} classes of diffusers {diffusers.__version__} are captured, value for value:"
    return "\n".join(
        [
            BEGIN,
            count,
            "",
            ", ".join(works) + ".",
            "",
            f"{len(pictures)} more are captured, value for value, with pictures beside the prompt:",
            "",
            ", ".join(pictures) + ".",
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
