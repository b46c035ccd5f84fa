"""Which modules of a denoiser are meant, and how large their outputs are."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from ldmscene.capture.families import Family, entry_of
from ldmscene.errors import InputError, unknown
from ldmscene.module_names import PARTS
from ldmscene.presets import PRESETS
from ldmscene.selection import matching


@dataclass(frozen=True)
class ModuleShape:
    """The output of one module for one sample of one branch.

    Attributes
    ----------
    name : str
        Dotted name inside the denoiser; of another part of the pipeline it begins with that part's name.
    dims : tuple of str
        ("y", "x", "channel") where the module has a grid, ("token", "channel") otherwise.
    shape : tuple of int
    part : str
        Under which name the pipeline holds the part, such as "vae"; "" of the denoiser.
    step : int, optional
        The denoiser's step to which its only run belongs. None: it runs at every step.
    branched : bool
        Whether it runs for each branch; a decoder sees the guided picture alone.
    """

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    part: str = ""
    step: int | None = None
    branched: bool = True

    @property
    def inside(self) -> str:
        """Dotted name inside its part."""
        return self.name.removeprefix(f"{self.part}.") if self.part else self.name

    @property
    def axes(self) -> tuple[str, ...]:
        """Along which a sample has several of these outputs: "step", "branch", both or neither."""
        return ("step",) * (self.step is None) + ("branch",) * self.branched

    @property
    def values(self) -> int:
        """Numbers in one step of one branch."""
        return math.prod(self.shape)


def find_modules(denoiser: nn.Module, wanted: str | Iterable[str], others: Sequence[str] = ()) -> list[str]:
    """Names of the modules meant by a preset, a glob, a name or a list of them, in the denoiser's order.

    `others` are names of modules elsewhere, of which messages may remind.

    Raises
    ------
    UnknownNameError
        If one of them matches nothing; the message names the nearest that exist.
    """
    names = [name for name, _ in denoiser.named_modules() if name]
    lists = lists_in(denoiser)
    asked = [wanted] if isinstance(wanted, str) else list(wanted)
    if not asked:
        raise InputError(f"no modules were named; expected a preset ({', '.join(PRESETS)}), a glob or module names")
    family = entry_of(denoiser)
    for one in asked:
        if one in PRESETS and PRESETS[one].text_apart and family.joint:
            raise InputError(
                f"{type(denoiser).__name__} has no {one}: text and image share one attention; "
                "use 'self-attention', which is that one"
            )
    patterns = _patterns(family)
    matches = {one: _matching(one, names, patterns, family) for one in asked}
    for one, found in matches.items():
        if not found and one in patterns:
            there = ", ".join(presets_in(denoiser)) or "none"
            raise InputError(
                f"{type(denoiser).__name__} has no module that the preset {one!r} means; its presets: {there}. Name "
                "modules or a glob"
            )
        if not found:
            raise unknown("module or preset", one, [*PRESETS, *names, *others])
        check_called(one, lists)
    chosen = set().union(*(found - lists for found in matches.values()))  # a glob doesn't mean what is never called
    return sorted(chosen, key=forward_order(names))


def lists_in(module: nn.Module) -> set[str]:
    """Names of what holds modules and is never called itself."""
    return {name for name, one in module.named_modules() if isinstance(one, nn.ModuleList | nn.ModuleDict)}


def check_called(name: str, lists: Container[str]) -> None:
    """Refuse the name of a list of modules.

    Raises
    ------
    InputError
        Which says how what is in it is meant.
    """
    if name in lists:
        raise InputError(f"{name} is a list of modules, which is never called; name one of them, or all by '{name}.*'")


def presets_in(denoiser: nn.Module) -> list[str]:
    """The presets that mean any module of a denoiser."""
    names = [name for name, _ in denoiser.named_modules() if name]
    family = entry_of(denoiser)
    patterns = _patterns(family)
    return [
        name
        for name, preset in PRESETS.items()
        if _matching(name, names, patterns, family) and not (family.joint and preset.text_apart)
    ]


def _patterns(family: Family) -> dict[str, str]:
    return {name: preset.pattern for name, preset in PRESETS.items()} | dict(family.presets)


def _matching(one: str, names: list[str], patterns: Mapping[str, str], family: Family) -> set[str]:
    """Names that a preset or a glob means; of modules inside each other a preset means the inner, and none of text."""
    if one not in patterns:
        return set(matching(one, names))
    found = {name for name in names if re.fullmatch(patterns[one], name) and not family.is_text_side(name)}
    return {name for name in found if not any(other.startswith(f"{name}.") for other in found)}


def forward_order(names: Sequence[str]) -> Callable[[str], tuple[int, int]]:
    """Encoder, bottleneck, decoder: diffusers registers the decoder before the bottleneck."""
    parts = list(PARTS)

    def key(name: str) -> tuple[int, int]:
        outer = name.split(".")[0]
        return (parts.index(outer) if outer in parts else -1, names.index(name))

    return key
