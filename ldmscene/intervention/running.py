"""An edit at work: what stands between a denoiser's modules while a batch of samples is generated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ldmscene.edits import Edit, Maps, edited, read, size_of
from ldmscene.errors import InputError

Donor = Callable[[str, int, str], np.ndarray]
"""module, step and branch to activations (sample, y, x, channel)"""


@dataclass
class Worker:
    """The editor of one batch, which `ldmscene.capture` calls; where it only has a readout, it reads.

    Attributes
    ----------
    sizes : dict of (module, step, branch) to numpy.ndarray [measure, sample]
        Of each change, as `ldmscene.edits.size_of` has them.
    readings : dict of (module, step, branch) to numpy.ndarray [sample, y, x]
        What the probe reads afterwards.
    """

    edit: Edit
    maps: Maps
    donor: Donor | None = None
    check: Callable[[], None] = lambda: None
    """called before each change, to refuse by raising"""
    sizes: dict[tuple[str, int, str], np.ndarray] = field(default_factory=dict)
    readings: dict[tuple[str, int, str], np.ndarray] = field(default_factory=dict)

    modules: Sequence[str] = field(init=False)

    def __post_init__(self) -> None:
        self.modules = list(dict.fromkeys(module for module, _ in self.edit.readouts))

    def change(self, module: str, step: int, branch: str, values: Tensor) -> Tensor | None:
        """What takes the place of a module's output; None where it stays."""
        self.check()
        if (module, step) not in self.edit.readouts or branch not in self.edit.branches:
            return None
        self._check_values(module, values)
        key, new = (module, step, branch), None
        if module in self.edit.modules and step in self.edit.steps:
            lent = None if self.donor is None else torch.from_numpy(self.donor(*key))
            new = edited(self.edit, module, step, values, self.maps, lent)
            self.sizes[key] = size_of(new, values, self.edit.readouts[module, step])
        after = values if new is None else new
        self.readings[key] = read(after, self.edit.readouts[module, step]).float().cpu().numpy()
        return new

    def _check_values(self, module: str, values: Tensor) -> None:
        if values.ndim != 4:
            raise InputError(
                f"{module} returns tokens that lie on no (y, x) grid, such as a text's; leave it out of modules=, or "
                "call the pipeline at the height and width that the edit is of"
            )
        if len(values) != len(self.maps.own):
            raise InputError(
                f"the edit is of {len(self.maps.own)} pictures, and the pipeline makes {len(values)}; call it with as "
                "many prompts"
            )
