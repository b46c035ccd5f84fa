"""All that is concluded for one target, as numbers: from when on, how much, against which rivals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ldmscene.array_types import Array
from ldmscene.verdicts.draws import Draws, counts
from ldmscene.verdicts.effects import capped
from ldmscene.verdicts.steps import LEAST, LEVEL, SHARE, Lead, Step, first_step, lead, margins, most_step

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
    """Steps are positions on the axis `steps`; effects are in `measure`, a share of what is left by `beyond`."""

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
    """the rival, or the least effect, that the probe passes last: at the step before `first`, else at the last step"""
    least: float = LEAST
    share: float = SHARE
    readings: Mapping[str, Reading] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    """rivals that were not run"""
    measure: str = PARTIAL_R2
    """or the name of a score, which is no share of anything"""
    gain_first: float = float("nan")
    """the mean effect at the step `first`"""


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
    least: float = LEAST,
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
    least : float
        The effect that counts.
    share : float
        Of the largest mean effect, for the step by which most is there.
    measure : str
        What effects are: partial R², or the name of a score.
    """
    drawn = counts(probe.shape[1], seed=seed)
    held = [(rival.values, rival.earlier) for rival in rivals]
    over = margins(probe, held, least)
    first, most = first_step(over, drawn), most_step(probe, drawn, share)
    if not first.shown:
        most = Step(None, None, None, most.replicates)

    def reading(values: Array) -> Reading:
        own = first_step(margins(values, held, least), drawn)
        reached = most_step(values, drawn, share, mark=probe)
        return Reading(own, reached, lead(own, first, steps), lead(reached, most, steps))

    last = Draws.of(probe[-1], drawn)
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
        _decided(over, drawn, first, rivals, len(steps)),
        least,
        share,
        {name: reading(values) for name, values in (labelers or {}).items()},
        tuple(missing),
        measure,
        float("nan") if first.at is None else float(probe[first.at].mean()),
    )


def _decided(over: Array, drawn: Array, first: Step, rivals: Sequence[Rival], steps: int) -> str:
    """The name of the mark with the least margin where the decision falls."""
    names = [LEAST_EFFECT]
    for rival in rivals:
        names += [rival.name] * (steps if rival.earlier else 1)
    if first.at:
        return names[int(over[:, first.at - 1].mean(-1).argmin())]
    return names[int(Draws.of(over[:, -1], drawn).lower(LEVEL).argmin())]
