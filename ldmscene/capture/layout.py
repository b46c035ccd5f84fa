"""How a module's output holds the image: read as one channel-last array, and written back."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

GRID, TOKENS = ("y", "x", "channel"), ("token", "channel")


@dataclass(frozen=True)
class Layout:
    """Where the image lies in one module's output.

    Attributes
    ----------
    grid : (int, int), optional
        Rows and columns of the image's positions; None for tokens that are no image's.
    token_axis : int, optional
        Of (n, token, channel), (n, token, head, channel) or (n, head, token, channel); None for maps,
        (n, channel, y, x).
    image_first : bool
        In a joint sequence, the text follows the image; it precedes it otherwise.
    """

    grid: tuple[int, int] | None
    token_axis: int | None = 1
    image_first: bool = False

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the axes behind the sample's."""
        return GRID if self.grid else TOKENS

    def read(self, tensor: Tensor, starts: Sequence[int] | None = None) -> Tensor:
        """The image's part, (n, y, x, channel) or (n, token, channel); `starts` as `Folding.starts_in` has it."""
        if self.token_axis is None:
            return tensor.permute(0, 2, 3, 1)
        tokens = tensor.movedim(self.token_axis, 1).flatten(2)
        if self.grid is None:
            return tokens
        parts = [tokens[rows, span] for rows, span in self._spans(tokens, starts)]
        maps: Tensor = (parts[0] if len(parts) == 1 else torch.cat(parts)).unflatten(1, self.grid)
        return maps

    def write(self, tensor: Tensor, values: Tensor, starts: Sequence[int] | None = None) -> None:
        """Put `values`, of the shape that `read` returns, into `tensor`; all else in it stays as it is."""
        if self.token_axis is None:
            tensor.copy_(values.permute(0, 3, 1, 2))
            return
        tokens = tensor.movedim(self.token_axis, 1)
        flat = (values.flatten(1, 2) if self.grid else values).unflatten(2, tokens.shape[2:])
        for rows, span in self._spans(tokens, starts):
            tokens[rows, span] = flat[rows]

    def _spans(self, tokens: Tensor, starts: Sequence[int] | None) -> list[tuple[slice, slice]]:
        """Samples and the image's tokens in them: of all at once, or of each where texts of several lengths precede."""
        if self.grid is None:
            return [(slice(None), slice(None))]
        count = self.grid[0] * self.grid[1]
        if starts is not None and tokens.shape[1] != count:
            return [(slice(row, row + 1), slice(start, start + count)) for row, start in enumerate(starts)]
        return [(slice(None), slice(count) if self.image_first else slice(tokens.shape[1] - count, None))]


def replaced(output: Any, old: Tensor, new: Tensor) -> Any:
    """A module's output with `new` wherever it holds the tensor `old`: by itself, in tuples, lists or dataclasses."""
    if output is old:
        return new
    if isinstance(output, tuple | list):
        parts = [replaced(part, old, new) for part in output]
        return type(output)(*parts) if hasattr(output, "_fields") else type(output)(parts)
    if hasattr(output, "to_tuple"):
        changed = copy.copy(output)
        for name, part in output.items():
            changed[name] = replaced(part, old, new)
        return changed
    return output
