"""Which modules of a denoiser are meant, and how large their outputs are."""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from torch import nn

from ldmscene.capture.families import is_joint, is_text_side, presets_of
from ldmscene.errors import InputError, unknown
from ldmscene.module_names import PARTS

# A joint attention of text and image is what such a denoiser has in the place of self-attention.
PRESETS = {
    "self-attention": r".*\.(attn1?|attentions\.\d+)(\.to_out\.0)?",  # the latter where no transformer is around it
    "cross-attention": r".*\.attn2(\.to_out\.0)?",
    "resnet": r".*\.resnets\.\d+",
    "all-blocks": r"(down_blocks\.\d+|mid_block|up_blocks\.\d+|\w*transformer_blocks\.\d+"
    r"|(blocks|layers|noise_refiner)\.\d+)",
}


@dataclass(frozen=True)
class ModuleShape:
    """The output of one module for one sample of one branch.

    Attributes
    ----------
    name : str
        Dotted name inside the denoiser.
    dims : tuple of str
        ("y", "x", "channel") where the module has a grid, ("token", "channel") otherwise.
    shape : tuple of int
    """

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]

    @property
    def values(self) -> int:
        """Numbers in one step of one branch."""
        return math.prod(self.shape)


def find_modules(denoiser: nn.Module, wanted: str | Iterable[str]) -> list[str]:
    """Names of the modules meant by a preset, a glob, a name or a list of them, in the denoiser's order.

    Raises
    ------
    UnknownNameError
        If one of them matches nothing; the message names the nearest that exist.
    """
    names = [name for name, _ in denoiser.named_modules() if name]
    lists = {name for name, module in denoiser.named_modules() if isinstance(module, nn.ModuleList | nn.ModuleDict)}
    asked = [wanted] if isinstance(wanted, str) else list(wanted)
    if not asked:
        raise InputError(f"no modules were named; expected a preset ({', '.join(PRESETS)}), a glob or module names")
    if "cross-attention" in asked and is_joint(denoiser):
        raise InputError(
            f"{type(denoiser).__name__} has no cross-attention: text and image share one attention; "
            "use 'self-attention', which is that one"
        )
    presets = {**PRESETS, **presets_of(denoiser)}
    matches = {one: _matching(one, names, presets) for one in asked}
    for one, found in matches.items():
        if not found:
            raise unknown("module or preset", one, [*PRESETS, *names])
    # A list of modules is never called: a glob doesn't mean it, a name that is one is refused later.
    chosen = set().union(*(found - (lists - {one}) for one, found in matches.items()))
    return sorted(chosen, key=_forward_order(names))


def presets_in(denoiser: nn.Module) -> list[str]:
    """The presets that mean any module of a denoiser."""
    names = [name for name, _ in denoiser.named_modules() if name]
    presets = {**PRESETS, **presets_of(denoiser)}
    found = [preset for preset in PRESETS if _matching(preset, names, presets)]
    return [preset for preset in found if preset != "cross-attention" or not is_joint(denoiser)]


def _matching(one: str, names: list[str], presets: Mapping[str, str]) -> set[str]:
    """Names that a preset or a glob means; of modules inside each other a preset means the inner, and none of text."""
    if one not in presets:
        return set(fnmatch.filter(names, one))
    found = {name for name in names if re.fullmatch(presets[one], name) and not is_text_side(name)}
    return {name for name in found if not any(other.startswith(f"{name}.") for other in found)}


def _forward_order(names: list[str]) -> Callable[[str], tuple[int, int]]:
    """Encoder, bottleneck, decoder: diffusers registers the decoder before the bottleneck."""
    parts = list(PARTS)

    def key(name: str) -> tuple[int, int]:
        outer = name.split(".")[0]
        return (parts.index(outer) if outer in parts else -1, names.index(name))

    return key
