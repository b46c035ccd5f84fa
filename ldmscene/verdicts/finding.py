"""All that is concluded for one target, as numbers: from when on, how much, against which rivals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ldmscene.array_types import Array
from ldmscene.verdicts.draws import FEWEST, Draws, counts
from ldmscene.verdicts.effects import capped
from ldmscene.verdicts.steps import (
    LEAST,
    LEVEL,
    SHARE,
    Lead,
    Step,
    falls_short,
    first_of,
    first_step,
    lead,
    margins,
    most_step,
    not_before,
    read_at,
)

LEAST_EFFECT = "the least effect"
PARTIAL_R2 = "partial R²"


@dataclass(frozen=True)
class Rival:
    """What reads the target without knowing anything of the picture, beyond the same as the probe."""

    name: str
    values: Array
    """[step, prompt]"""
    earlier: bool = False
    """whether it counts as it read at earlier steps, too, as a latent does that held the noise"""


@dataclass(frozen=True)
class Reading:
    """A labeler's own steps, by the probe's rules, and how much later than the probe's they are."""

    first: Step
    most: Step
    """from when on it gains as much as the probe's share"""
    lead_first: Lead
    lead_most: Lead


@dataclass(frozen=True)
class Finding:
    """Steps are positions on the axis `steps`, those looked at; effects are a share of what is left by `beyond`."""

    target: str
    module: str
    steps: tuple[int, ...]
    beyond: tuple[str, ...]
    prompts: int
    gain: float
    """at the last step, with bounds that hold with 95 %"""
    gain_low: float
    gain_high: float
    first: Step
    most: Step
    rivals: Mapping[str, float]
    """what each gains at the last step"""
    decided: str
    """the rival, or the least effect, that the probe passes last: at the step before `first`, else at the last step;
    "" of too few prompts"""
    least: float = LEAST
    share: float = SHARE
    readings: Mapping[str, Reading] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    """rivals that were not run"""
    measure: str = PARTIAL_R2
    """or the name of a score, which is no share of anything"""
    decided_at: int | None = None
    """position at which that rival was read, where that is earlier, as of a latent that held the noise"""
    lost: bool = False
    """whether the last step has evidently less than the share of what is ever gained"""
    gain_first: float = float("nan")
    """the mean effect at the step `first`"""
    earlier: tuple[int, ...] = ()
    """positions before `first`, or any where that isn't shown, at which the target is read for all that"""
    run: int = 0
    """how many steps a run has; 0: the last that was looked at is the last"""
    pictures: int = 0
    held_out: str = "test"
    """the split that judged"""
    ceiling: float = 1.0
    """the largest gain on maps of the module's size"""
    lower_is_better: bool = False
    """of a score that is an error: effects are below zero, so that more is better, and no share of one is meant"""

    def told(self, value: float) -> float:
        """An effect as it is printed: an error as such."""
        return -value if self.lower_is_better else value

    @property
    def interval(self) -> tuple[float, float]:
        """Bounds of the effect at the last step, as they are printed."""
        low, high = sorted(map(self.told, (self.gain_low, self.gain_high)))
        return low, high

    @property
    def earlier_steps(self) -> list[int]:
        return [self.steps[position] for position in self.earlier]

    @property
    def end(self) -> str:
        """`by step 2` where a run's last steps weren't looked at, so that nothing is said of "never"; else ""."""
        return "" if self.finished else f"by step {self.steps[-1]}"

    @property
    def finished(self) -> bool:
        """Whether the last step of a run was looked at."""
        return self.steps[-1] + 1 >= self.run

    @property
    def whole(self) -> bool:
        """Whether all steps of a run were looked at."""
        return self.finished and self.steps == tuple(range(len(self.steps)))

    def soonest(self, position: int) -> int:
        """The first step that a position may stand for: the one after the last that was looked at before it."""
        return self.steps[position - 1] + 1 if position else 0


def find(
    target: str,
    module: str,
    probe: Array,
    *,
    steps: Sequence[int],
    rivals: Sequence[Rival] = (),
    labelers: Mapping[str, Array] | None = None,
    beyond: Sequence[str] = ("position",),
    missing: Sequence[str] = (),
    least: float | None = LEAST,
    share: float = SHARE,
    measure: str = PARTIAL_R2,
    seed: int = 0,
) -> Finding:
    """Conclude from effects by step and prompt, as `by_prompt` gives them; all from the same draws of prompts.

    Parameters
    ----------
    target, module : str
    probe : array (step, prompt)
    steps : sequence of int
        The denoising steps, in order.
    rivals : sequence of Rival
    labelers : mapping of name to array (step, prompt), optional
    beyond : sequence of str
        What the fits used anyway. Empty: effects are shares of all variance about the mean.
    missing : sequence of str
        Rivals that were not run, for the sentence.
    least : float or None
        The effect that counts. None: whatever is more than every rival's, of which there must be some.
    share : float
        Of the largest mean effect, for the step by which most is there.
    measure : str
        What effects are: partial R², or the name of a score.
    """
    drawn = counts(probe.shape[1], seed=seed)
    held = [(rival.values, rival.earlier) for rival in rivals]
    over = Draws.of(margins(probe, held, least), drawn)
    first = first_of(over)
    most = not_before(most_step(probe, drawn, share), first)
    if not first.shown:
        most = Step(None, None, None, most.replicates)
    read = np.flatnonzero(read_at(over)[: first.at]) if first.at != 0 else ()

    def reading(values: Array) -> Reading:
        own = first_step(margins(values, held, least), drawn)
        reached = not_before(most_step(values, drawn, share, mark=probe), own)
        return Reading(own, reached, lead(own, first, steps), lead(reached, most, steps))

    last = Draws.of(probe[-1], drawn)
    decided, at = _decided(over, first, rivals, least, len(steps))
    low, high = (float(bound(LEVEL)) for bound in (last.lower, last.upper))
    if measure == PARTIAL_R2:
        high = float(capped(np.array(high)))
    return Finding(
        target,
        module,
        tuple(steps),
        tuple(beyond),
        probe.shape[1],
        float(last.mean),
        low,
        high,
        first,
        most,
        {rival.name: float(rival.values[-1].mean()) for rival in rivals},
        decided,
        least or 0.0,
        share,
        {name: reading(values) for name, values in (labelers or {}).items()},
        tuple(missing),
        measure,
        decided_at=at,
        lost=most.shown and falls_short(probe, drawn, share),
        gain_first=float("nan") if first.at is None else float(probe[first.at].mean()),
        earlier=tuple(map(int, read)),
    )


def _decided(
    over: Draws, first: Step, rivals: Sequence[Rival], least: float | None, steps: int
) -> tuple[str, int | None]:
    """The mark with the least margin where the decision falls: its name, and its position where that is earlier.

    None of too few prompts, which decide themselves.
    """
    if over.prompts < FEWEST:
        return "", None
    marks = [] if least is None else [(LEAST_EFFECT, 0)]
    marks += [(rival.name, lag) for rival in rivals for lag in range(steps if rival.earlier else 1)]
    where = first.at - 1 if first.at else steps - 1
    margin = over.mean[:, where] if first.at else over.lower(LEVEL)[:, where]
    name, lag = marks[int(margin.argmin())]
    return name, max(where - lag, 0) if lag and where else None
