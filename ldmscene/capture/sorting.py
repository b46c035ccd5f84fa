"""From the outputs of a step to a sink, branch by branch, once it is known which part is which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ldmscene.capture import branches as guidance
from ldmscene.capture.families import Family
from ldmscene.capture.sinks import Sink
from ldmscene.errors import LdmsceneError


@dataclass
class Step:
    """The step of the scheduler that is under way, and what it showed so far.

    Attributes
    ----------
    number : int
        From 0 in each run of the pipeline.
    samples : int, optional
        Of the run; None before they are known.
    raw : list of Tensor
        The denoiser's output, one for each call.
    outputs : dict of str to list of Tensor
        Each module's, one for each call.
    copying : set of torch.device
        From which outputs may still be under way to the CPU.
    edited : dict of str to int
        The last call in which a module was handed to an editor.
    starts : sequence of int, optional
        Of the call under way, as `Folding.starts_in` has it.
    """

    number: int = 0
    samples: int | None = None
    raw: list[Tensor] = field(default_factory=list)
    outputs: dict[str, list[Tensor]] = field(default_factory=dict)
    copying: set[torch.device] = field(default_factory=set)
    edited: dict[str, int] = field(default_factory=dict)
    starts: Sequence[int] | None = None

    def begin(self, number: int) -> None:
        """Forget what was shown, for the step of this number."""
        self.number, self.raw, self.outputs, self.copying, self.edited = number, [], {}, set(), {}


def compare(
    raw: Sequence[Tensor], guided: Tensor, sample: Tensor, scale: float, family: Family
) -> tuple[list[Tensor], list[tuple[str, ...]]]:
    """The parts of one step's outputs, and which branch each can be, the likeliest order first.

    No order fits where every sample holds infinity or NaN.

    Raises
    ------
    LdmsceneError
        If the parts don't combine to the guidance that the scheduler received.
    """
    channels = family.guided_channels or sample.shape[1]  # some predict a variance too
    parts = [part[:, :channels] for part in guidance.split(raw, len(sample))]
    guided = guided.detach()[:, :channels]
    return parts, guidance.fitting_orders(parts, guided, scale, by_row=family.rescaled_rows)


def _agree(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether the branches that two orders share follow each other in both alike."""
    return [role for role in one if role in other] == [role for role in other if role in one]


@dataclass(frozen=True)
class _Waiting:
    number: int
    samples: int
    parts: int
    outputs: Mapping[str, list[Tensor]]


class Sorter:
    """Hands the outputs of steps to a sink, by branch.

    First steps whose parts arithmetic can't tell apart wait for one where it can, and have its order; where there is
    none, the family's own. Those that hold infinity or NaN don't wait: what comes after them is no better.

    Parameters
    ----------
    modules : sequence of str
        Whose outputs the sink takes.
    branches : sequence of str
        Which it takes, in this order.
    scale : float
        The guidance scale.
    foretold : sequence of str
        The order of a step's parts, where a rehearsal told it: each step must have it.
    """

    def __init__(
        self,
        sink: Sink,
        modules: Sequence[str],
        branches: Sequence[str],
        scale: float,
        family: Family,
        foretold: Sequence[str] = (),
    ) -> None:
        self._sink, self._modules, self._branches = sink, modules, branches
        self._scale, self._family = scale, family
        self._order = self._foretold = tuple(foretold)
        self._waiting: list[_Waiting] = []

    def add(self, step: Step, guided: Tensor, sample: Tensor) -> None:
        """Take the next step, with what its scheduler received and x_t.

        Raises
        ------
        LdmsceneError
            If the parts don't combine to the guidance, change their order, or lack a branch that the sink takes.
        """
        parts, orders = compare(step.raw, guided, sample, self._scale, self._family)
        order = orders[0] if len(orders) == 1 else None
        if order is None:
            order = self._unclear(parts, orders)
        elif not _agree(self._order, order):
            raise LdmsceneError(f"the branches' order changed within a run, from {self._order} to {order}")
        if self._foretold and order != self._foretold:
            raise LdmsceneError(
                f"step {step.number} computed {', '.join(order or ('unclear parts',))}, where the rehearsal had "
                f"{', '.join(self._foretold)}; call the pipeline with the guidance that was planned"
            )
        self._waiting.append(_Waiting(step.number, len(sample), len(parts), step.outputs))
        if order is not None:
            self._order = order if len(order) >= len(self._order) else self._order
            self._settle(order)

    def finish(self) -> None:
        """Take the family's order for steps that still wait."""
        for parts in {step.parts for step in self._waiting}:
            self._settle(self._customary(parts))

    def _unclear(self, parts: Sequence[Tensor], orders: Sequence[tuple[str, ...]]) -> tuple[str, ...] | None:
        if len(self._order) == len(parts):
            return self._order
        same = all(torch.equal(part, parts[0]) for part in parts)  # as of prompts that are
        if same or not orders:  # later steps tell no more
            return self._customary(len(parts))
        return None

    def _customary(self, parts: int) -> tuple[str, ...]:
        return guidance.customary_order(parts, self._scale, cond_first=self._family.cond_first)

    def _settle(self, order: tuple[str, ...]) -> None:
        """Hand on the steps that have as many parts as an order."""
        for step in self._waiting:
            if step.parts == len(order):
                self._hand_on(step, order)
        self._waiting = [step for step in self._waiting if step.parts != len(order)]

    def _hand_on(self, step: _Waiting, order: tuple[str, ...]) -> None:
        missing = [branch for branch in self._branches if branch not in order]
        if missing:
            raise LdmsceneError(
                f"step {step.number} ran no {missing[0]} branch, only {', '.join(order)}; ask for those"
            )
        for name in self._modules:
            parts = guidance.split(step.outputs.get(name, []), step.samples)
            if len(parts) != len(order):
                raise LdmsceneError(
                    f"{name} returned {len(parts)} results a sample where the denoiser returned {len(order)} "
                    f"({', '.join(order)}); capture a module that runs once for each"
                )
            for branch in self._branches:
                self._sink.take(name, step.number, branch, parts[order.index(branch)])
