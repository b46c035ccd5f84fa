"""From the outputs of a step to the arrays of its branches, once it is known which part is which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ldmscene.capture import branches as guidance
from ldmscene.capture.families import Family
from ldmscene.errors import LdmsceneError


@dataclass
class Step:
    """Outputs between two steps of the scheduler: of the denoiser, and of each module, one for each call.

    `copying` are the devices from which outputs may still be under way to the CPU; `starts` of the call under way, as
    `Folding.starts_in` has it.
    """

    raw: list[Tensor] = field(default_factory=list)
    outputs: dict[str, list[Tensor]] = field(default_factory=dict)
    copying: set[torch.device] = field(default_factory=set)
    starts: Sequence[int] | None = None


@dataclass(frozen=True)
class _Held:
    number: int
    parts: int
    outputs: Mapping[str, list[Tensor]]


class Sorter:
    """Puts the outputs of steps into arrays, by branch.

    First steps whose parts arithmetic can't tell apart wait for one where it can, and have its order; where there is
    none, the family's own.

    Parameters
    ----------
    activations : dict of str to list of numpy.ndarray
        For each module and sample, (step, branch, y, x, channel) or (step, branch, token, channel).
    branches : sequence of str
        Of the arrays.
    scale : float
        The guidance scale.
    """

    def __init__(
        self, activations: Mapping[str, list[np.ndarray]], branches: Sequence[str], scale: float, family: Family
    ) -> None:
        self._activations, self._branches, self._scale, self._family = activations, branches, scale, family
        self._order: tuple[str, ...] = ()
        self._steps = 0
        self._held: list[_Held] = []

    def add(self, step: Step, guided: Tensor, sample: Tensor) -> None:
        """Take the next step, with what its scheduler received and x_t.

        Raises
        ------
        LdmsceneError
            If the parts don't combine to the guidance, change their order, or aren't what the arrays are for.
        """
        channels = self._family.guided_channels or sample.shape[1]  # some predict a variance too
        parts = [part[:, :channels] for part in guidance.split(step.raw, len(sample))]
        guided = guided.detach()[:, :channels]
        order = guidance.branch_order(parts, guided, self._scale, by_row=self._family.rescaled_rows)
        if order is None:
            order = self._unclear(parts)
        elif [role for role in self._order if role in order] != [role for role in order if role in self._order]:
            raise LdmsceneError(f"the branches' order changed within a run, from {self._order} to {order}")
        self._held.append(_Held(self._steps, len(parts), step.outputs))
        self._steps += 1
        if order is not None:
            self._order = order if len(order) >= len(self._order) else self._order
            self._settle(order)

    def finish(self) -> None:
        """Take the family's order for steps that still wait."""
        for parts in {held.parts for held in self._held}:
            self._settle(self._customary(parts))

    def _unclear(self, parts: Sequence[Tensor]) -> tuple[str, ...] | None:
        if len(self._order) == len(parts):
            return self._order
        if all(torch.equal(part, parts[0]) for part in parts):  # the prompts are the same: later steps tell no more
            return self._customary(len(parts))
        return None

    def _customary(self, parts: int) -> tuple[str, ...]:
        return guidance.customary_order(parts, self._scale, cond_first=self._family.cond_first)

    def _settle(self, order: tuple[str, ...]) -> None:
        """Put the steps that have as many parts as an order into the arrays."""
        for held in self._held:
            if held.parts == len(order):
                self._keep(held, order)
        self._held = [held for held in self._held if held.parts != len(order)]

    def _keep(self, held: _Held, order: tuple[str, ...]) -> None:
        missing = [branch for branch in self._branches if branch not in order]
        if missing:
            raise LdmsceneError(
                f"step {held.number} ran no {missing[0]} branch, only {', '.join(order)}; ask for those"
            )
        for name, arrays in self._activations.items():
            parts = guidance.split(held.outputs.get(name, []), len(arrays))
            if len(parts) != len(order):
                raise LdmsceneError(
                    f"{name} returned {len(parts)} results a sample where the denoiser returned {len(order)} "
                    f"({', '.join(order)}); capture a module that runs once for each"
                )
            for b, branch in enumerate(self._branches):
                for array, values in zip(arrays, parts[order.index(branch)], strict=True):
                    if values.shape != array.shape[2:]:
                        raise LdmsceneError(
                            f"{name} returns {tuple(values.shape)} here and {array.shape[2:]} in the first call; "
                            "only outputs of one shape can be stored"
                        )
                    array[held.number, b] = values.numpy()
