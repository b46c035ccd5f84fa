"""Which modules of a denoiser are meant, and how large their outputs are."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ldmscene.errors import InputError, unknown

PRESETS = {
    "self-attention": ("*.transformer_blocks.*.attn1.to_out.0",),
    "cross-attention": ("*.transformer_blocks.*.attn2.to_out.0",),
    "resnet": ("*.resnets.*",),
    "all-blocks": ("down_blocks.?", "mid_block", "up_blocks.?"),
}
_STAGES = {"down_blocks": "encoder", "mid_block": "bottleneck", "up_blocks": "decoder"}


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


def stage(module: str) -> str:
    """encoder, bottleneck, decoder, or the outermost name where the denoiser has no such parts."""
    outer = module.split(".")[0]
    return _STAGES.get(outer, outer)


def find_modules(denoiser: nn.Module, wanted: str | Iterable[str]) -> list[str]:
    """Names of the modules meant by a preset, a glob, a name or a list of them, in the denoiser's order.

    Raises
    ------
    UnknownNameError
        If one of them matches nothing; the message names the nearest that exist.
    """
    names = [name for name, _ in denoiser.named_modules() if name]
    asked = [wanted] if isinstance(wanted, str) else list(wanted)
    if not asked:
        raise InputError(f"no modules were named; expected a preset ({', '.join(PRESETS)}), a glob or module names")
    matches = {one: _matching(one, names) for one in asked}
    for one, found in matches.items():
        if not found:
            raise unknown("module or preset", one, [*PRESETS, *names])
    chosen = set().union(*matches.values())
    return sorted(chosen, key=_forward_order(names))


def _matching(one: str, names: list[str]) -> set[str]:
    found = {n for pattern in PRESETS.get(one, (one,)) for n in fnmatch.filter(names, pattern)}
    return {n for n in found if n.split(".")[-2] == "resnets"} if one == "resnet" else found  # not what is inside them


def _forward_order(names: list[str]):
    """Encoder, bottleneck, decoder: diffusers registers the decoder before the bottleneck."""
    stages = list(_STAGES)

    def key(name: str) -> tuple[int, int]:
        outer = name.split(".")[0]
        return (stages.index(outer) if outer in stages else -1, names.index(name))

    return key


def fold(output: Tensor, latent: tuple[int, int]) -> tuple[Tensor, tuple[str, ...]]:
    """Bring an output to channel-last, (n, y, x, channel) or (n, token, channel), and name its dims.

    Tokens become a grid where their number is that of the latent grid, whole or halved a few times.

    Raises
    ------
    InputError
        If the output has neither three nor four axes.
    """
    if output.ndim == 4:
        return output.permute(0, 2, 3, 1), ("y", "x", "channel")
    if output.ndim != 3:
        raise InputError(f"expected a module whose output has 3 or 4 axes, got {tuple(output.shape)}; capture another")
    for factor in (1, 2, 4, 8, 16, 32, 64):
        y, x = -(-latent[0] // factor), -(-latent[1] // factor)
        if y * x == output.shape[1]:
            return output.reshape(len(output), y, x, -1), ("y", "x", "channel")
    return output, ("token", "channel")


def module_shapes(
    denoiser: Any, modules: Sequence[str], latent: tuple[int, int], text_tokens: int
) -> list[ModuleShape]:
    """Output shapes at a latent size, from one call on the meta device: no weights are read, nothing is computed."""
    with torch.device("meta"):
        shadow = type(denoiser).from_config(denoiser.config)
    shapes: dict[str, ModuleShape] = {}

    def watch(name: str):
        def hook(_module: nn.Module, _args: object, output: object) -> None:
            folded, dims = fold(first_tensor(output), latent)
            shapes[name] = ModuleShape(name, dims, tuple(folded.shape[1:]))

        return hook

    parts = dict(shadow.named_modules())
    for name in modules:
        parts[name].register_forward_hook(watch(name))
    with torch.no_grad():
        shadow.eval()(**_meta_inputs(shadow, latent, text_tokens))
    missing = [name for name in modules if name not in shapes]
    if missing:
        raise InputError(f"the denoiser never calls {missing[0]} as a module; capture one that it calls")
    return [shapes[name] for name in modules]


def first_tensor(output: object) -> Tensor:
    """The tensor of a module's output, which may be a tuple or a dataclass around it."""
    while not isinstance(output, Tensor):
        try:
            output = output[0]  # type: ignore[index]
        except (TypeError, KeyError, IndexError) as error:
            raise InputError(
                f"a captured module returns {type(output).__name__}, not a tensor; capture another"
            ) from error
    return output


def _meta_inputs(denoiser: Any, latent: tuple[int, int], text_tokens: int) -> dict[str, Tensor]:
    config = denoiser.config
    return {
        "sample": torch.empty(1, config.in_channels, *latent, device="meta"),
        "timestep": torch.empty((), device="meta"),
        "encoder_hidden_states": torch.empty(1, text_tokens, config.cross_attention_dim, device="meta"),
    }
