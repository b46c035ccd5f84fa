"""What a page can offer: the targets, modules and steps of a grid, and the samples of its store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import xarray as xr

from ldmscene import grid as grids
from ldmscene.axes import check_grid
from ldmscene.edits import RULES
from ldmscene.intervention.choosing import check_linear, rank_modules
from ldmscene.module_names import short_name
from ldmscene.report.colours import limits
from ldmscene.store import ActivationStore
from ldmscene.store.layout import IMAGE

ORDER = ("mask", "depth", "shading")
BEGIN: dict[str, int] = {"strength": 2, "steps": 5, "modules": 9}
"""how an edit is set when the page opens; `python -m benchmarks.paint dice STORE train` compares it with others"""
SEEN = 32  # training samples from which the range of a target's values is taken


@dataclass(frozen=True)
class Paintable:
    """A target that can be painted: its values go from `low` to `high`; `best` is the module that reads it best."""

    name: str
    kind: str
    low: float
    high: float
    best: str


@dataclass(frozen=True)
class Offer:
    """All that a page lets a person choose from.

    Attributes
    ----------
    size : (int, int)
        Y and X of labels, and so of what is painted.
    modules : tuple of str
        From the one on that reads the first target best.
    """

    targets: tuple[Paintable, ...]
    modules: tuple[str, ...]
    steps: tuple[int, ...]
    rules: tuple[str, ...]
    size: tuple[int, int]

    @classmethod
    def of(cls, store: ActivationStore, grid: xr.Dataset) -> Offer:
        """From a grid and its store.

        Raises
        ------
        InputError
            If the grid has no linear probes, or no target whose labels are maps.
        """
        check_linear(grid)
        check_grid(grid, "kind", "labels", "channels")
        names = [str(name) for name in grid["target"].values]
        known = [name for name in ORDER if name in names]
        targets = [_paintable(store, grid, name) for name in [*known, *(n for n in names if n not in known)]]
        steps = tuple(int(step) for step in grid["step"].values)
        modules = tuple(rank_modules(grid, targets[0].name, steps[: min(5, len(steps))]))
        height, width, _ = store.info(IMAGE).layout.shape
        rules = tuple(name for name in RULES if not RULES[name].borrows)  # a page has no other trajectory to lend
        return cls(tuple(targets), modules, steps, rules, (height, width))

    def target(self, name: str) -> Paintable:
        return next(one for one in self.targets if one.name == name)

    def words(self) -> dict[str, Any]:
        """As a page's script reads it."""
        modules = [{"name": name, "short": short_name(name, self.modules)} for name in self.modules]
        return {**asdict(self), "modules": modules, "begin": BEGIN}


def _paintable(store: ActivationStore, grid: xr.Dataset, name: str) -> Paintable:
    kind = str(grid["kind"].sel(target=name).item())
    best = grids.best_module(grid, name)
    if kind == "binary":
        return Paintable(name, kind, 0.0, 1.0, best)
    frame = store.manifest.frame
    some: Sequence[str] = frame["sample_id"][frame["split"] == "train"].tolist()[:SEEN]
    values = store.labels(str(grid["labels"].sel(target=name).item()), samples=list(some)).values
    low, high = limits(values.astype(np.float32), kind)
    return Paintable(name, kind, low, high, best)
