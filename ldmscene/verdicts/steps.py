"""From which step on something is there, for the mean curve, with an interval for that step.

Bounds of steps come from tests in a fixed order, each at the full level, until one fails (Maurer, Hothorn and Lehmacher
1995): from the last step back for the step by which it is there, and from the first step on for the step before which
it isn't. So little is paid for looking at all steps at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

from ldmscene.array_types import Array, Bools, Ints
from ldmscene.verdicts.draws import CONFIDENCE, Draws

LEVEL = (1 - CONFIDENCE) / 2
LEAST = 0.02  # partial R² that counts
SHARE = 0.9  # of what a probe ever gains


@dataclass(frozen=True)
class Step:
    """A position on the axis of steps, from 0, and bounds that hold with 95 %; all None if it is not shown."""

    at: int | None
    low: int | None
    high: int | None
    replicates: Ints
    """[replicate] the same position in each; the number of steps where it isn't reached"""

    @property
    def shown(self) -> bool:
        return self.at is not None


@dataclass(frozen=True)
class Lead:
    """How many steps later another reading gets there; all None if it isn't shown to."""

    steps: int | None
    low: int | None
    high: int | None


def margins(probe: Array, rivals: Sequence[tuple[Array, bool]], least: float | None = LEAST) -> Array:
    """By how much a probe passes each mark, [mark, step, prompt]: the least effect, if there is one, and each rival.

    Parameters
    ----------
    probe : array (step, prompt)
    rivals : sequence of (array (step, prompt), bool)
        True: also as the rival read at earlier steps. What could be read of the first noise is no finding later.
    """
    steps = np.arange(len(probe))
    found = [] if least is None else [probe - least]
    for rival, earlier in rivals:
        back = range(len(probe) if earlier else 1)
        found += [probe - rival[np.maximum(steps - lag, 0)] for lag in back]
    return np.stack(found)


def first_step(over: Array, drawn: Array, level: float = LEVEL) -> Step:
    """From when on all margins [mark, step, prompt] are above zero, then and at all later steps.

    Not shown unless the lower bounds at the last step are. `level` is the probability of an error on either side.
    """
    return first_of(Draws.of(over, drawn), level)


def first_of(margins: Draws, level: float = LEVEL) -> Step:
    """`first_step` of margins [mark, step] that were drawn already."""
    steps = margins.mean.shape[1]
    replicates = _lasting(np.all(margins.mean + margins.deviation > 0, axis=1))
    high = int(_lasting(np.all(margins.lower(level) > 0, axis=0)))
    if high == steps:
        return Step(None, None, None, replicates)
    at = int(_lasting(np.all(margins.mean > 0, axis=0)))
    return _step(at, _low(margins, level, steps), high, replicates)


def read_at(margins: Draws) -> Bools:
    """[step] where all margins [mark, step] are above zero, by bounds that hold for all steps at once."""
    low, _ = margins.band()
    shown: Bools = np.all(low > 0, axis=0)
    return shown


def not_before(step: Step, other: Step) -> Step:
    """A step, its bounds and replicates, none of them before another's."""
    if step.at is None or other.at is None:
        return step
    at, low, high = (max(getattr(step, name), getattr(other, name)) for name in ("at", "low", "high"))
    return Step(at, low, high, np.maximum(step.replicates, other.replicates))


def most_step(
    curve: Array, drawn: Array, share: float = SHARE, mark: Array | None = None, level: float = LEVEL
) -> Step:
    """From when on, up to its best step, a curve holds a share of what is ever gained; later steps may lose it again.

    Parameters
    ----------
    curve : array (step, prompt)
    drawn : array (replicate, prompt)
    share : float
    mark : array (step, prompt), optional
        The curve whose largest mean is shared. None: the curve itself. The step of a curve that is not shown to reach
        another's share is not shown.
    """
    own, mark = mark is None, curve if mark is None else mark
    ours, theirs = Draws.of(curve, drawn), Draws.of(mark, drawn)
    peak, best = int(theirs.mean.argmax()), int(ours.mean.argmax())
    contrasts = Draws.of(curve - share * mark[:, None], drawn)  # [step of the mark, step, ...]
    passed = contrasts.lower(level)[peak] >= 0
    passed[best + 1 :] = True
    high = int(_lasting(passed)) if passed[best] else len(curve)
    tops = (theirs.mean + theirs.deviation).max(1)
    replicates = _reached(ours.mean + ours.deviation, share * tops)
    if high == len(curve) and not own:
        return Step(None, None, None, replicates)
    # The largest of several means is too large by about as much as that of replicates is larger still.
    top = 2 * theirs.mean.max() - tops.mean()
    missed = np.any(contrasts.upper_of_each(level, 0) < 0, axis=0)[:best]
    at = _crossing(ours.mean[: best + 1], share * top, int(_lasting(~missed)))
    return _step(at, _low(contrasts, level, best), min(high, len(curve) - 1), replicates)


def falls_short(curve: Array, drawn: Array, share: float = SHARE) -> bool:
    """Whether a curve's last step evidently has less than a share of another's, by bounds that hold for all steps."""
    _, high = Draws.of(curve[-1] - share * curve, drawn).band()
    return bool((high < 0).any())


def lead(of: Step, over: Step, steps: Sequence[int], level: float = LEVEL) -> Lead:
    """How many steps later `of` is there than `over`, both from the same draws; `steps` are those at the positions.

    Between two of them either may be there earlier than at the later one, so that bounds are as much wider.
    """
    if of.at is None or over.at is None:
        return Lead(None, None, None)
    axis = np.append(steps, steps[-1] + 1)  # where it isn't reached, it is later than all
    soonest = np.append(0, axis[:-1] + 1)
    low = np.quantile(soonest[of.replicates] - axis[over.replicates], level, method="lower")
    high = np.quantile(axis[of.replicates] - soonest[over.replicates], 1 - level, method="higher")
    found = int(axis[of.at] - axis[over.at])
    return Lead(found, min(int(low), found), max(int(high), found))


def _step(at: int, low: int, high: int, replicates: Ints) -> Step:
    low = min(low, high)
    return Step(int(np.clip(at, low, high)), low, high, replicates)


def _low(draws: Draws, level: float, end: int) -> int:
    """The step before which a mark is missed, of margins [mark, step] before `end`.

    Two ways at half the level each: steps from the first on that evidently miss a mark, or any that still does where
    all are looked at together.
    """
    front = np.any(draws.upper_of_each(level / 2, 0) < 0, axis=0)[:end]
    anywhere = np.any(draws.upper_of_all(level / 2) < 0, axis=0)[:end]
    return max(int(np.argmin([*front, False])), int(_lasting(~anywhere)))


def _crossing(means: Array, level: float, start: int) -> int:
    """Where a mean curve, which ends at its best, comes to hold a level, from a start on before which it doesn't.

    From there on dips are taken for noise: the nearest curve that never falls is asked.
    """
    rising = isotonic_regression(means[start:]).x
    return start + int(np.argmax([*(rising >= level)[:-1], True]))


def _lasting(passed: Bools) -> Ints:
    """From which position on all have passed, [..., step] to [...]; the number of steps if the last hasn't."""
    first: Ints = passed.shape[-1] - np.logical_and.accumulate(passed[..., ::-1], axis=-1).sum(-1)
    return first


def _reached(curves: Array, level: Array) -> Ints:
    """From which position on curves [n, step] hold a level [n], up to their best; the number of steps if never."""
    best = curves.argmax(1)[:, None]
    passed = curves >= level[:, None]
    lasting = _lasting(passed | (np.arange(curves.shape[1]) > best))
    return np.where(np.take_along_axis(passed, best, 1)[:, 0], lasting, curves.shape[1])
