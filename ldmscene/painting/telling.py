"""What a page is told while a picture forms.

`step`: run, step, of (how many), timestep, picture, maps (what each target's probe reads), changed (the targets whose
map shown here is of a module that is being edited at this step), asked (the target that was painted).
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
from ldmscene.painting.judges import Finished, score
from ldmscene.painting.offer import Offer
from ldmscene.painting.readings import Probe


@dataclass(frozen=True)
class Teller:
    """Puts what is drawn into words, and hands them on."""

    offer: Offer
    change: Change | None
    probes: Mapping[str, Probe]
    steps: int
    tell: Callable[..., None]

    def of(self, run: str) -> Callable[[Shown], None]:
        """What shows the steps of a run."""

        def show(shown: Shown) -> None:
            self.tell(
                "step",
                run=run,
                step=shown.step,
                of=self.steps,
                timestep=shown.timestep,
                picture=photograph(shown.picture),
                maps=self._maps(shown.maps),
                changed=[] if run == "own" else self._changed(shown.step),
                asked=None if self.change is None else self.change.target,
            )

        return show

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

    def _changed(self, step: int) -> list[str]:
        change = self.change
        if change is None or step not in change.steps:
            return []
        return [name for name, probe in self.probes.items() if probe.module in change.modules]
