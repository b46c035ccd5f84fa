"""A pipeline's modules without their weights: on the meta device, from the configurations alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import diffusers
import torch
import transformers
from diffusers import DiffusionPipeline
from torch import nn

from ldmscene.capture.decoding import decoder_shape, outputs_on_meta
from ldmscene.capture.families import default_latent
from ldmscene.capture.hooks import hearing
from ldmscene.capture.modules import ModuleShape, find_modules, presets_in
from ldmscene.capture.parts import find_among, parts_of, reads_text
from ldmscene.capture.readings import limit
from ldmscene.capture.shapes import TEXT_TOKENS, outline_shapes
from ldmscene.capture.source import denoiser_of, listed_denoiser, read_index, why_not
from ldmscene.capture.texts import text_shape
from ldmscene.errors import InputError, UnknownNameError
from ldmscene.module_names import AUTOENCODERS

Model: TypeAlias = "str | Path | DiffusionPipeline"


def outlined(model: Model, wanted: str | Iterable[str] | None = None) -> list[ModuleShape]:
    """Modules that words mean, with their shapes, in the order in which they run; the denoiser's presets without words.

    Other parts are looked at only for words that mean nothing in the denoiser. Of several modules of a part that one
    call means, those that can't be captured are left out.

    Raises
    ------
    UnknownNameError
        If a word matches nothing.
    InputError
        If there is no such pipeline, or shapes can't be told.
    """
    denoiser = load_outline(model)
    asked = presets_in(denoiser) if wanted is None else [wanted] if isinstance(wanted, str) else list(wanted)
    try:
        own, others = find_modules(denoiser, asked), dict[str, list[str]]()
        parts: Mapping[str, nn.Module] = {}
    except UnknownNameError:
        parts = load_parts(model)
        own, others = find_among(denoiser, parts, asked)
    latent = default_latent(denoiser)
    found = [
        _text_shapes(part, parts[part], names, _tokens(model, part))
        if reads_text(part)
        else _decoder_shapes(part, parts[part], names, latent)
        for part, names in others.items()
    ]
    middle = sum(reads_text(part) for part in others)
    return [shape for some in (*found[:middle], outline_shapes(denoiser, own), *found[middle:]) for shape in some]


def load_outline(model: Model) -> Any:
    """A pipeline's denoiser without its weights.

    Raises
    ------
    InputError
        If there is no such pipeline, or diffusers has no such denoiser.
    """
    if isinstance(model, DiffusionPipeline):
        return _on_meta(type(denoiser_of(model)[1]), denoiser_of(model)[1].config)
    index = _index(model)
    return _listed(str(model), index, listed_denoiser(str(model), index))


def load_parts(model: Model) -> dict[str, nn.Module]:
    """A pipeline's text encoders, then its autoencoder, without their weights, by the names under which it holds them.

    Raises
    ------
    InputError
        If one of them has no configuration, or no library has its class.
    """
    if isinstance(model, DiffusionPipeline):
        return {name: _on_meta(type(part), part.config) for name, part in parts_of(model).items()}
    index = _index(model)
    return {name: _listed(str(model), index, name) for name in _listed_parts(index)}


def part_names(model: Model) -> list[str]:
    """Under which names a pipeline holds its text encoders, then its autoencoder."""
    if isinstance(model, DiffusionPipeline):
        return list(parts_of(model))
    return _listed_parts(_index(model))


def _listed_parts(index: Mapping[str, Any]) -> list[str]:
    names = [name for name, entry in index.items() if isinstance(entry, list | tuple) and entry[-1]]
    return [name for name in names if reads_text(name)] + [name for name in AUTOENCODERS if name in names][:1]


def _index(model: str | Path) -> Mapping[str, Any]:
    try:
        return read_index(str(model))
    except InputError:
        raise
    except Exception as error:  # the hub raises of every kind
        raise InputError(why_not(str(model), error)) from error


def _listed(name: str, index: Mapping[str, Any], part: str) -> Any:
    try:
        kind = _class(index[part])
        own = hasattr(kind, "load_config")  # of diffusers
        read = kind.load_config if own else kind.config_class.from_pretrained
        return _on_meta(kind, read(name, subfolder=part))
    except InputError:
        raise
    except Exception as error:  # diffusers, transformers and the hub raise of every kind
        raise InputError(why_not(name, error)) from error


def _class(entry: Sequence[str]) -> Any:
    """What a pipeline's index lists: a library, or a folder of diffusers' pipelines, and a class."""
    library, kind = entry
    homes = {"diffusers": diffusers, "transformers": transformers}
    return getattr(homes[library] if library in homes else getattr(diffusers.pipelines, library), kind)


def _on_meta(kind: Any, config: Any) -> Any:
    with torch.device("meta"):
        return (kind.from_config(config) if hasattr(kind, "load_config") else kind(config)).eval()


def _tokens(model: Model, part: str) -> int:
    """How many tokens a text encoder reads at most."""
    name = part.replace("text_encoder", "tokenizer").replace("bert", "tokenizer")
    if isinstance(model, DiffusionPipeline):
        kind, tokenizer = type(model), model.components.get(name)
    else:
        index = _index(model)
        kind = getattr(diffusers, index["_class_name"])
        tokenizer = _class(index[name]).from_pretrained(str(model), subfolder=name) if name in index else None
    most = math.inf if tokenizer is None else limit(kind, tokenizer)
    return TEXT_TOKENS if most == math.inf else int(most)


def _text_shapes(part: str, encoder: nn.Module, names: Sequence[str], tokens: int) -> list[ModuleShape]:
    modules = {name: encoder.get_submodule(name.removeprefix(f"{part}.")) for name in names}
    with _telling(part), torch.no_grad(), hearing(modules) as heard:
        encoder(torch.zeros(2, tokens, dtype=torch.int64, device="meta"))
    return _those_that_can(names, lambda name: text_shape(part, name, [heard[name]], 2, [0]))


def _decoder_shapes(part: str, vae: Any, names: Sequence[str], latent: tuple[int, int]) -> list[ModuleShape]:
    with _telling(part):
        heard = outputs_on_meta(SimpleNamespace(**{part: vae}), part, vae, names, latent)
    return _those_that_can(names, lambda name: decoder_shape(part, name, heard[name], latent, None))


def _those_that_can(names: Sequence[str], shape: Callable[[str], ModuleShape]) -> list[ModuleShape]:
    """Shapes of modules that can be captured; the first one's refusal where none can."""
    found, refused = list[ModuleShape](), list[InputError]()
    for name in names:
        try:
            found.append(shape(name))
        except InputError as error:
            refused.append(error)
    if refused and not found:
        raise refused[0]
    return found


@contextmanager
def _telling(part: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # whatever a part of any kind says of a call without values
        raise InputError(
            f"the shapes of {part} can't be told from its configuration alone; extract finds them when it runs it"
        ) from error
