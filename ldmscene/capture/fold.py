"""From what a module returns to one array in channel-last order, image tokens on their grid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ldmscene.capture.families import AFTER_TEXT, FIRST, Family
from ldmscene.capture.layout import Layout
from ldmscene.errors import InputError

_EVERY = (1, 2, 4, 8, 16, 32, 64)  # strides at which maps of channels may lie in a denoiser that isn't known


@dataclass(frozen=True)
class Folding:
    """All that decides how outputs are folded.

    Attributes
    ----------
    latent : (int, int)
        Height and width of the latents.
    text_tokens : int
        Of the text that the denoiser gets.
    image_tokens : int
        Of the image, for a denoiser that isn't known; 0 where that can't be told.
    """

    family: Family
    latent: tuple[int, int]
    text_tokens: int = 0
    image_tokens: int = 0

    def __call__(
        self, module: str, output: object, starts: Sequence[int] | None = None
    ) -> tuple[Tensor, tuple[str, ...]]:
        """The image's part of an output, (n, y, x, channel) or (n, token, channel), and the names of its dims.

        `starts` as `starts_in` has it.

        Raises
        ------
        InputError
            If the output has another number of axes, is no tensor, or it can't be told what is the image's.
        """
        tensor, layout = self.find(module, output)
        return layout.read(tensor, starts), layout.dims

    def find(self, module: str, output: object) -> tuple[Tensor, Layout]:
        """The tensor of an output that holds the image, and how it does.

        Raises
        ------
        InputError
            As when called.
        """
        tensor = self._choose(module, output)
        if tensor.ndim == 4 and tuple(tensor.shape[2:]) in self._grids(self.family.strides or _EVERY):
            return tensor, Layout((tensor.shape[2], tensor.shape[3]), token_axis=None)
        if tensor.ndim not in (3, 4):
            raise InputError(
                f"expected modules whose output has 3 or 4 axes, {module} returns {tuple(tensor.shape)}; "
                "capture another"
            )
        axis = 1 if tensor.ndim == 3 else self._token_axis(module, tensor)
        return tensor, Layout(self._grid(module, tensor.shape[axis]), axis, self.family.image_at == FIRST)

    def starts_in(self, call: Mapping[str, Any]) -> list[int] | None:
        """Where each sample's image begins in joint sequences, from a denoiser's call; None where all are alike."""
        if self.family.image_at != AFTER_TEXT:
            return None
        lengths: list[int] = call["encoder_attention_mask"].sum(1).tolist()
        return lengths

    def _grid(self, module: str, count: int) -> tuple[int, int] | None:
        """Rows and columns of the image among so many tokens; None where they are no image's."""
        for y, x in () if self.family.is_text_side(module) else self._grids(self.family.strides):
            if count == y * x or self._is_joint(count, y * x):
                return y, x
        return None

    def _is_joint(self, count: int, image: int) -> bool:
        """Whether so many tokens are those of an image and text."""
        padding = self.family.image_at == AFTER_TEXT  # of the text alone, not of joint sequences
        text = 0 if padding else self.text_tokens
        return self.family.joint and count >= image + text

    def _token_axis(self, module: str, tensor: Tensor) -> int:
        """Of (n, token, head, c) or (n, head, token, c)."""
        axes = [axis for axis in (1, 2) if self._counts_tokens(module, tensor.shape[axis])]
        if len(axes) != 1:
            raise InputError(
                f"{module} returns {tuple(tensor.shape)}, and it can't be told which axis is tokens; capture another"
            )
        return axes[0]

    def _counts_tokens(self, module: str, count: int) -> bool:
        if self.family.is_text_side(module):
            return count == self.text_tokens
        return any(count == image or self._is_joint(count, image) for image in self._counts())

    def _counts(self) -> list[int]:
        """How many tokens an image may have."""
        return [y * x for y, x in self._grids(self.family.strides)] if self.family.known else [self.image_tokens]

    def _grids(self, strides: tuple[int, ...]) -> list[tuple[int, int]]:
        return [(-(-self.latent[0] // s), -(-self.latent[1] // s)) for s in strides]

    def _choose(self, module: str, output: object) -> Tensor:
        tensors = list(_tensors(output))
        if not tensors:
            raise InputError(f"{module} returns {type(output).__name__}, not a tensor; capture another")
        if len(tensors) == 1 or (self.family.known and not self.family.joint):
            return tensors[0]
        of_image = [t for t in tensors if t.ndim == 3 and t.shape[1] in self._counts()]
        if self.family.known:
            blocks = not module.rpartition(".")[2].startswith("attn")  # attention itself always returns the image first
            return (of_image or tensors)[-1 if self.family.text_first and blocks else 0]
        chosen = of_image or [t for t in tensors[:1] if t.ndim == 4]  # as the blocks of a UNet return them
        if len(chosen) != 1:
            raise InputError(
                f"{module} returns {len(tensors)} tensors, {', '.join(str(tuple(t.shape)) for t in tensors[:3])}, and "
                "which of them is the image's can't be told; capture a module inside it"
            )
        return chosen[0]


def _tensors(output: object) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, tuple | list):
        for part in output:
            yield from _tensors(part)
    elif hasattr(output, "to_tuple"):
        yield from _tensors(output.to_tuple())


def first_tensor(output: object) -> Tensor:
    """The first tensor of an output, which may stand in a tuple or a dataclass, or be a list, one for each sample.

    Raises
    ------
    InputError
        If there is none.
    """
    if isinstance(output, list) and output and all(isinstance(part, Tensor) for part in output):
        return torch.stack(output)
    parts = [part for part in output if part is not None] if isinstance(output, tuple) else []
    if parts:  # a last joint block gives no text
        return first_tensor(parts[0])
    if hasattr(output, "to_tuple"):
        return first_tensor(output.to_tuple())
    if isinstance(output, Tensor):
        return output
    raise InputError(f"the denoiser returns {type(output).__name__}, which holds no tensor; it can't be captured")
