"""From what a module returns to one array in channel-last order, image tokens on their grid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from ldmscene.capture.families import Family, is_text_side
from ldmscene.errors import InputError

GRID, TOKENS = ("y", "x", "channel"), ("token", "channel")
_EVERY = (1, 2, 4, 8, 16, 32, 64)  # strides at which maps of channels may lie in a denoiser that isn't known


@dataclass(frozen=True)
class Folding:
    """All that decides how outputs are folded.

    Attributes
    ----------
    latent : (int, int)
        Height and width of the latents.
    text_tokens : int
        Of the text that the denoiser is given.
    """

    family: Family
    latent: tuple[int, int]
    text_tokens: int = 0

    def __call__(self, module: str, output: object) -> tuple[Tensor, tuple[str, ...]]:
        """The image's part of an output, (n, y, x, channel) or (n, token, channel), and the names of its dims.

        Raises
        ------
        InputError
            If the output has another number of axes, or is no tensor.
        """
        tensor = self._choose(module, output)
        if tensor.ndim == 3:
            return self._tokens(module, tensor)
        if tensor.ndim == 4 and tuple(tensor.shape[2:]) in self._grids(self.family.strides or _EVERY):
            return tensor.permute(0, 2, 3, 1), GRID
        if tensor.ndim == 4:  # (n, token, head, channel of a head)
            return self._tokens(module, tensor.flatten(2))
        raise InputError(
            f"expected modules whose output has 3 or 4 axes, {module} returns {tuple(tensor.shape)}; capture another"
        )

    def _tokens(self, module: str, tensor: Tensor) -> tuple[Tensor, tuple[str, ...]]:
        count = tensor.shape[1]
        for y, x in () if is_text_side(module) else self._grids(self.family.strides):
            if count == y * x:
                return tensor.unflatten(1, (y, x)), GRID
            if self.family.joint and count >= y * x + self.text_tokens:  # the image's tokens come last
                return tensor[:, -y * x :].unflatten(1, (y, x)), GRID
        return tensor, TOKENS

    def _grids(self, strides: tuple[int, ...]) -> list[tuple[int, int]]:
        return [(-(-self.latent[0] // s), -(-self.latent[1] // s)) for s in strides]

    def _choose(self, module: str, output: object) -> Tensor:
        tensors = list(_tensors(output))
        if not tensors:
            raise InputError(f"{module} returns {type(output).__name__}, not a tensor; capture another")
        if not self.family.joint or len(tensors) == 1:
            return tensors[0]
        counts = [y * x for y, x in self._grids(self.family.strides)]
        of_image = [t for t in tensors if t.ndim == 3 and t.shape[1] in counts]
        blocks = not module.rpartition(".")[2].startswith("attn")  # attention itself always returns the image first
        return (of_image or tensors)[-1 if self.family.text_first and blocks else 0]


def _tensors(output: object) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, tuple | list):
        for part in output:
            yield from _tensors(part)
    elif hasattr(output, "to_tuple"):
        yield from _tensors(output.to_tuple())


def first_tensor(output: object) -> Tensor:
    """The tensor of a denoiser's output, which may be a tuple or a dataclass around it.

    Raises
    ------
    InputError
        If there is none.
    """
    for tensor in _tensors(output):
        return tensor
    raise InputError(f"the denoiser returns {type(output).__name__}, which holds no tensor; it can't be captured")
