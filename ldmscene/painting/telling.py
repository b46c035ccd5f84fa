"""What a page is told while a picture forms.

`step`: run, step, of (how many), timestep, picture, maps (what each target's probe reads), labels (what its labeler
reads in the unfinished picture, where that is asked for), changed (the targets whose map shown here is of a module that
is being edited at this step), asked (the target that was painted), cached (whether it was told before).
`picture`: run, picture, labels, masks (run lengths of each), score, and for edited ones size and seconds.
`edit`: what was asked for, and the Python that draws it; see `ldmscene.painting.script`.
Pictures are data addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ldmscene.painting import runs
from ldmscene.painting.asked import Change
from ldmscene.painting.drawing import Shown
from ldmscene.painting.images import map_picture, photograph
from ldmscene.painting.judges import Finished, Judges, score
from ldmscene.painting.offer import Offer
from ldmscene.painting.readings import ModuleProbe

OWN, EDIT, RANDOM = "own", "edit", "random"


@dataclass(frozen=True)
class Teller:
    """Puts what is drawn into words, and hands them on."""

    offer: Offer
    change: Change | None
    probes: Mapping[str, ModuleProbe]
    steps: int
    tell: Callable[..., None]
    judges: Judges | None = None
    """what reads unfinished pictures, too"""

    def step(self, run: str, shown: Shown) -> dict[str, Any]:
        """Tell of a step; returns what was told."""
        words = {
            "run": run,
            "step": shown.step,
            "of": self.steps,
            "timestep": shown.timestep,
            "picture": photograph(shown.picture),
            "maps": self._maps(shown.maps),
            "labels": self._maps(self.judges(shown.picture).labels) if self.judges else {},
            "changed": self._changed(run, shown.step),
            "asked": None if self.change is None else self.change.target,
        }
        self.tell("step", **words)
        return words

    def finish(self, run: str, finished: Finished, **more: float) -> None:
        """Tell of a finished picture."""
        masks = {one.name for one in self.offer.targets if one.kind == "binary"} & set(finished.labels)
        self.tell(
            "picture",
            run=run,
            picture=photograph(finished.picture),
            labels=self._maps(finished.labels),
            masks={name: runs.encode(runs.as_levels(finished.labels[name])) for name in masks},
            score=None if self.change is None else score(self.change, self.offer, finished),
            **more,
        )

    def _maps(self, maps: Mapping[str, Any]) -> dict[str, str]:
        targets = [one for one in self.offer.targets if one.name in maps]
        return {one.name: map_picture(maps[one.name], one.name, one.low, one.high) for one in targets}

    def _changed(self, run: str, step: int) -> list[str]:
        change = self.change
        if change is None or run == OWN or step not in change.steps:
            return []
        return [name for name, probe in self.probes.items() if probe.module in change.modules]
