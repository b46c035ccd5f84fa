"""Own and wanted maps of a store's samples, and the trajectories that look as wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ldmscene.edits import Edit, Maps, Wanted, moved, parse
from ldmscene.errors import IncompleteError, InputError
from ldmscene.evaluation.targets import Target
from ldmscene.store import ActivationStore
from ldmscene.store.layout import activation_path, label_path


@dataclass(frozen=True)
class Subjects:
    """The samples of a store that an edit is of."""

    store: ActivationStore
    target: Target
    edit: Edit
    sample_ids: tuple[str, ...]

    def check(self) -> None:
        """Refuse samples whose maps can't be had.

        Raises
        ------
        InputError
            If it is a wanted map.
        IncompleteError
            If a sample has no label.
        """
        absent = [s for s in self.sample_ids if s not in self.store.complete(label_path(self.target.labels))]
        if absent:
            raise IncompleteError(
                f"{len(absent)} samples of {self.store.root} have no label {self.target.labels!r}, {absent[0]} among "
                "them; label them first"
            )
        for sample_id in self.sample_ids:
            self._maker.map(sample_id, self.own)

    def own(self, sample_id: str) -> np.ndarray:
        """The label (Y, X) of a sample's own picture: 0 and 1 for a mask."""
        rows = self.store.rows([sample_id])
        label: np.ndarray
        (label,) = self.target.values(self.store.info(label_path(self.target.labels)).read(rows, {}))
        return label

    def wanted(self, sample_id: str) -> np.ndarray:
        """The wanted map (Y, X) of a sample."""
        return self._maker.map(sample_id, self.own)

    def maps(self, sample_ids: Sequence[str]) -> Maps:
        """Both, of a batch."""
        own, wanted = (np.stack([of(s) for s in sample_ids]) for of in (self.own, self.wanted))
        return Maps(own, wanted, self.edit.binary, self.edit.margin)

    @cached_property
    def _maker(self) -> Wanted:
        return parse(self.edit.wanted, self.sample_ids, binary=self.edit.binary)

    # --- donors ---

    def check_donors(self) -> None:
        """Refuse an edit whose donors aren't there."""
        held = self.store.config["branches"]
        lacking = [branch for branch in self.edit.branches if branch not in held]
        if lacking:
            raise InputError(
                f"rule 'donor' needs activations of the {lacking[0]} branch; {self.store.root} has {held[0]}"
            )
        for sample_id in self.sample_ids:
            source = self._maker.source(sample_id, self.own)
            if source is None:
                raise InputError("rule 'donor' needs a trajectory that looks as wanted; use wanted='swap' or a shift")
            for module in self.edit.modules:
                if module not in self.store.modules or source[0] not in self.store.complete(activation_path(module)):
                    raise InputError(
                        f"rule 'donor' needs activations of {source[0]} in {module}, and {self.store.root} has none; "
                        "extract them, or leave the donor out"
                    )

    def donor(self, sample_ids: Sequence[str], module: str, step: int, branch: str) -> np.ndarray:
        """Activations (sample, y, x, channel) that look as wanted: another sample's, or the own ones shifted."""
        return np.stack([self._donor(sample_id, module, step, branch) for sample_id in sample_ids])

    def _donor(self, sample_id: str, module: str, step: int, branch: str) -> np.ndarray:
        source = self._maker.source(sample_id, self.own)
        assert source is not None
        name, (dy, dx) = source
        array = self.store.info(activation_path(module))
        select = {"step": [step], "branch": [self.store.config["branches"].index(branch)]}
        found = array.read(self.store.rows([name]), select)[0, 0, 0]
        height, width = self.own(sample_id).shape
        return moved(found, round(dy * found.shape[0] / height), round(dx * found.shape[1] / width), fill=False)
