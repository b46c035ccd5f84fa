"""Parts of a pipeline beside its denoiser: text encoders, which read prompts, and the autoencoder, which draws.

A module of theirs is called by the name under which the pipeline holds its part, then its own: `vae.decoder.mid_block`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from ldmscene.capture.modules import ModuleShape, check_called, find_modules, forward_order, lists_in
from ldmscene.capture.source import denoiser_of, uncompiled
from ldmscene.errors import unknown
from ldmscene.module_names import AUTOENCODERS, TEXT_ENCODER
from ldmscene.selection import matching


def parts_of(pipeline: Any) -> dict[str, nn.Module]:
    """Text encoders, then the autoencoder, by the names under which a pipeline holds them."""
    modules = {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)}
    text = [name for name in modules if reads_text(name)]
    autoencoder = [name for name in AUTOENCODERS if name in modules][:1]
    return {name: uncompiled(modules[name]) for name in (*text, *autoencoder)}


def reads_text(part: str) -> bool:
    """Whether a part is a text encoder, by its name."""
    return re.fullmatch(TEXT_ENCODER, part) is not None


def find_in_parts(pipeline: Any, wanted: str | Iterable[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Names of the modules that are meant: of the denoiser, and of each other part.

    A word whose first component is another part of the pipeline means modules there, all others mean the denoiser's.

    Raises
    ------
    UnknownNameError
        If a word matches nothing.
    """
    return find_among(denoiser_of(pipeline)[1], parts_of(pipeline), wanted)


def find_among(
    denoiser: nn.Module, parts: Mapping[str, nn.Module], wanted: str | Iterable[str]
) -> tuple[list[str], dict[str, list[str]]]:
    """The same, of a denoiser and other parts by name."""
    asked = [wanted] if isinstance(wanted, str) else list(wanted)
    names = {part: [f"{part}.{name}" for name, _ in module.named_modules() if name] for part, module in parts.items()}
    words: dict[str, list[str]] = {part: [one for one in asked if one.split(".")[0] == part] for part in parts}
    own = [one for one in asked if one.split(".")[0] not in parts]
    others = [name for some in names.values() for name in some]
    found = find_modules(denoiser, own, others) if own or not asked else []
    return found, {part: _inside(part, parts[part], names[part], words[part]) for part in parts if words[part]}


def _inside(part: str, module: nn.Module, names: Sequence[str], asked: Iterable[str]) -> list[str]:
    lists = {f"{part}.{name}" for name in lists_in(module)}
    chosen: set[str] = set()
    for one in asked:
        found = set(matching(one, names))
        if not found:
            raise unknown(f"module of {part}", one, names)
        check_called(one, lists)
        chosen |= found - lists
    inside = [name.removeprefix(f"{part}.").removeprefix("decoder.") for name in names]
    order = forward_order(inside)
    return sorted(chosen, key=lambda name: order(inside[names.index(name)]))


def modules_by_name(pipeline: Any, shapes: Iterable[ModuleShape]) -> dict[str, nn.Module]:
    """The modules of other parts that shapes are of."""
    parts = parts_of(pipeline)
    return {shape.name: parts[shape.part].get_submodule(shape.inside) for shape in shapes}
