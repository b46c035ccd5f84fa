"""What takes modules' outputs while a pipeline runs: to the host's memory, to statistics on the device, to an edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ldmscene.capture.modules import ModuleShape
from ldmscene.errors import LdmsceneError


class Sink(Protocol):
    """Takes outputs once their step is over and its branches are told.

    Attributes
    ----------
    on_host : bool
        Whether `take` gets tensors in the host's memory, copied while the device goes on, or where they were computed.
    """

    on_host: bool

    def take(self, module: str, step: int, branch: str, values: Tensor) -> None:
        """One module's output at one step, for all samples of the run.

        Parameters
        ----------
        module
            Dotted name inside the denoiser, or as the plan's `others` have it.
        step
            Of the scheduler's calls in this run, from 0.
        branch
            One of those that the plan asks for, "cond" or "uncond"; "" of a decoder, which has none.
        values
            (n, y, x, channel) or (n, token, channel) in the plan's dtype, a copy that is the sink's own.
        """


class Editor(Protocol):
    """Changes outputs as they are computed, so that all later modules and steps see what it returns.

    Attributes
    ----------
    modules : sequence of str
        Dotted names inside the denoiser. They are edited in the order in which the denoiser calls them.
    """

    modules: Sequence[str]

    def change(self, module: str, step: int, branch: str, values: Tensor) -> Tensor | None:
        """What takes the place of one module's output at one step and branch; None leaves it as it is.

        Parameters
        ----------
        module, step, branch
            As in `Sink.take`. Branches that the plan doesn't ask for never come here.
        values
            (n, y, x, channel) or (n, token, channel), of the image alone, in the dtype and on the device of the
            denoiser. A view of what the denoiser computed: return a new tensor of the same shape, change nothing in
            place.
        """


class Arrays:
    """The sink to the host's memory: whole trajectories.

    Attributes
    ----------
    found : dict of str to list of numpy.ndarray
        For each module and sample, (step, branch, y, x, channel) or (step, branch, token, channel), less the axes that
        the module doesn't have.
    """

    on_host = True

    def __init__(
        self, found: Mapping[str, list[np.ndarray]], branches: Sequence[str], modules: Sequence[ModuleShape] = ()
    ) -> None:
        self.found, self._branches = found, branches
        self._axes = {module.name: module.axes for module in modules}

    @classmethod
    def empty(
        cls, modules: Sequence[ModuleShape], samples: int, steps: int, branches: Sequence[str], dtype: str
    ) -> Arrays:
        lengths = {"step": steps, "branch": len(branches)}
        shapes = {m.name: (*(lengths[axis] for axis in m.axes), *m.shape) for m in modules}
        found = {name: [np.empty(shape, dtype) for _ in range(samples)] for name, shape in shapes.items()}
        return cls(found, branches, modules)

    def take(self, module: str, step: int, branch: str, values: Tensor) -> None:
        where = {"step": step, "branch": self._branches.index(branch) if branch else 0}
        at = tuple(where[axis] for axis in self._axes.get(module, ("step", "branch")))
        for array, one in zip(self.found[module], values, strict=True):
            if one.shape != array.shape[len(at) :]:
                raise LdmsceneError(
                    f"{module} returns {tuple(one.shape)} here and {array.shape[len(at) :]} in the first call; "
                    "only outputs of one shape can be stored"
                )
            array[at] = one.numpy()


def to_host(tensor: Tensor) -> Tensor:
    """A copy in pinned memory, under way while the GPU goes on; the CPU's own tensors as they are."""
    if tensor.device.type != "cuda":
        return tensor.cpu()
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return host.copy_(tensor, non_blocking=True)
