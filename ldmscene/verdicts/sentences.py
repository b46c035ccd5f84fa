"""A finding in words, from its numbers alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ldmscene.text import counted, listed, number
from ldmscene.verdicts.draws import FEWEST, interval_words
from ldmscene.verdicts.finding import LEAST_EFFECT, PARTIAL_R2, Finding, Reading
from ldmscene.verdicts.steps import Lead, Step
from ldmscene.words import metric_words

ROUGH = 20  # prompts below which intervals are rough
_LISTED = 6  # steps that are named one by one
_LOW = 0.5  # a ceiling that a reader wants to know of


def sentence(finding: Finding) -> str:
    """What may be said of a target: when, how much, against what, how long before a labeler, and what isn't known."""
    parts = [_looked(finding) + (_shown(finding) if finding.first.shown else _not_shown(finding))]
    if finding.first.shown:
        parts += [_labeler(finding, name, reading) for name, reading in finding.readings.items()]
    parts += [_held_out(finding), _position(finding), _missing(finding)]
    return f"{finding.target}: " + " ".join(filter(None, parts))


def _looked(finding: Finding) -> str:
    """Which steps were looked at, where those were some of several."""
    if finding.whole or len(finding.steps) == 1:
        return ""
    return f"at the steps looked at ({_named(finding.steps)} of 0 to {_last(finding)}), "


def _last(finding: Finding) -> int:
    return max(finding.run - 1, finding.steps[-1])


def _named(steps: Sequence[int]) -> str:
    """`0 to 4`, `0, 7 and 14`, `20 from 0 to 38`."""
    first, last = steps[0], steps[-1]
    if len(steps) > 2 and last - first + 1 == len(steps):
        return f"{first} to {last}"
    return listed([*map(str, steps)]) if len(steps) <= _LISTED else f"{len(steps)} from {first} to {last}"


def _shown(finding: Finding) -> str:
    first, steps = finding.first, finding.steps
    if len(steps) == 1:
        said = f"readable{_beyond(finding)} at step {steps[0]}, the only one that was looked at, with {_size(finding)}"
        return f"{said}. {_effect(finding)}."
    said = f"readable{_beyond(finding)} from step {_at(finding, first)}"
    said += f" of 0 to {steps[-1]}" if finding.whole else ""
    said += f"{_within(finding, first)}, with {_size(finding)}"
    said += f"{'' if finding.lower_is_better else f'; {_most(finding)}'}. {_effect(finding)}."
    return f"{said}{_before(finding)}"


def _before(finding: Finding) -> str:
    """What decides at the last step before, and whether the target was read still earlier."""
    if not finding.first.at:
        return ""
    before = finding.steps[finding.first.at - 1]
    said = f" At step {before} as much is read from {_rival(finding)}."
    if finding.decided == LEAST_EFFECT:
        said = f" At step {before} it is not above {_number(finding, finding.least)}."
    return f"{said} It is read, too, at {these(finding.earlier_steps)}." if finding.earlier else said


def _rival(finding: Finding) -> str:
    """What decided: `raw latent`, or `raw latent of step 0` where it was read earlier."""
    when = "" if finding.decided_at is None else f" of step {finding.steps[finding.decided_at]}"
    return f"{finding.decided}{when}"


def these(steps: Sequence[int]) -> str:
    """`step 3`, `steps 3 to 9`, `7 steps from 0 to 12`."""
    named = _named(steps)
    if len(steps) == 1:
        return f"step {named}"
    return named.replace(" from ", " steps from ") if " from " in named else f"steps {named}"


def _size(finding: Finding) -> str:
    size = _number(finding, finding.told(finding.gain_first))
    if finding.measure == PARTIAL_R2:
        return f"a gain of {size}"
    return f"a score of {size} in {metric_words(finding.measure)}"


def _most(finding: Finding) -> str:
    share = (
        f"{_percent(finding.share)} of what the probe {'ever gains' if finding.finished else 'gains at any of them'}"
    )
    if finding.most.at == len(finding.steps) - 1:
        before = "the picture is finished" if finding.finished else f"step {finding.steps[-1]}"
        late = finding.soonest(finding.most.low or 0) == finding.steps[-1]
        missing = "is not" if late else "is not shown to be"
        return f"{share} {missing} there before {before}{_within(finding, finding.most, 'from step ')}"
    said = f"{share} is there from step {_at(finding, finding.most)}{_within(finding, finding.most)}"
    return f"{said}, and no longer at {_end(finding)}" if finding.lost else said


def _not_shown(finding: Finding) -> str:
    alone = f" at step {finding.steps[0]}, the only one that was looked at" if len(finding.steps) == 1 else ""
    read = f"not shown to be readable{_beyond(finding)}{alone}"
    if finding.earlier:
        read = f"readable{_beyond(finding)} at {these(finding.earlier_steps)}, and not shown to be readable later"
    said = f"{read}. {_effect(finding)}"
    if finding.prompts < FEWEST:
        return f"{said}."
    if finding.decided == LEAST_EFFECT:
        said = f"{said}: not clearly more than {_number(finding, finding.least)}, the least that counts."
    else:
        said = f"{said}: not clearly more than is read from {_rival(finding)}."
    if finding.ceiling < _LOW:
        return f"{said} Maps of its size could gain {_percent(finding.ceiling)} at most."
    return said


def _effect(finding: Finding) -> str:
    bounds = finding.interval
    within = "no interval"
    if all(map(math.isfinite, bounds)):
        within = f"{interval_words(finding.prompts)} {' to '.join(_number(finding, bound) for bound in bounds)}"
    rivals = [f"{_number(finding, finding.told(value))} from {name}" for name, value in finding.rivals.items()]
    against = f", against {listed(rivals)}" if rivals else ""
    return f"At {_end(finding)} the probe of {finding.module} {_reaches(finding)} ({within}){against}"


def _end(finding: Finding) -> str:
    return "the last step" if finding.finished else f"step {finding.steps[-1]}"


def _reaches(finding: Finding) -> str:
    if finding.measure != PARTIAL_R2:
        return f"scores {_number(finding, finding.told(finding.gain))} in {metric_words(finding.measure)}"
    if not finding.beyond:
        return f"explains {_percent(finding.gain)} of the variance"
    leave = "leaves" if len(finding.beyond) == 1 else "leave"
    return f"explains {_percent(finding.gain)} of what {listed(finding.beyond)} {leave} unexplained"


def _labeler(finding: Finding, name: str, reading: Reading) -> str:
    shown = f"not shown {finding.end}" if finding.end else "never shown"
    if not reading.first.shown:
        more = f"more of it than is read from {listed(list(finding.rivals))}" if finding.rivals else "anything of it"
        return f"The {name} is {shown} to read {more}."
    first = f"The {name} reads something of it from step {_lead(finding, reading.first, reading.lead_first)}"
    if finding.lower_is_better:
        return f"{first}."
    if not reading.most.shown:
        return f"{first}, and is {shown} to read as much as the probe."
    return f"{first}, and as much as the probe from step {_lead(finding, reading.most, reading.lead_most)}."


def _lead(finding: Finding, step: Step, found: Lead) -> str:
    assert found.steps is not None
    assert found.low is not None
    assert found.high is not None
    when = f"{_at(finding, step)}, {apart(found.steps) if found.steps else 'no later'}"
    if found.low != found.high:
        when += f" ({signed(found.low)} to {signed(found.high)}, 95 % interval)"
    return when


def apart(steps: int) -> str:
    """`2 steps later`, `1 step earlier`."""
    return f"{counted(abs(steps), 'step')} {'later' if steps > 0 else 'earlier'}"


def _held_out(finding: Finding) -> str:
    n = finding.prompts
    split = "" if finding.held_out == "test" else f", of the split {finding.held_out}"
    prompts = f"{counted(n, 'held-out prompt')}{split}"
    said = f"On {counted(finding.pictures, 'picture')} of {prompts}" if finding.pictures else f"On {prompts}"
    if n < FEWEST:
        return f"{said}, too few for an interval, so that nothing can be shown."
    return f"{said}: below {ROUGH} prompts intervals are rough." if n < ROUGH else f"{said}."


def _position(finding: Finding) -> str:
    if "position" in finding.beyond:
        return ""
    return "The position was not taken off, so that what is read may be where things usually are."


def _missing(finding: Finding) -> str:
    if not finding.missing:
        return ""
    return f"Not run, and so not excluded: {listed(finding.missing)}."


def _beyond(finding: Finding) -> str:
    return f" beyond {listed(finding.beyond)}" if finding.beyond else ""


def _at(finding: Finding, step: Step) -> int:
    assert step.at is not None
    return finding.steps[step.at]


def _within(finding: Finding, step: Step, start: str = "") -> str:
    assert step.low is not None
    assert step.high is not None
    return f" (95 % interval {start}{finding.soonest(step.low)} to {finding.steps[step.high]})"


def _percent(share: float) -> str:
    return f"{number(round(100 * share), 'd')} %"


def _number(finding: Finding, value: float) -> str:
    return _percent(value) if finding.measure == PARTIAL_R2 else number(value, "z.2f")


def signed(steps: int) -> str:
    """`+2`, `0`, `−1`."""
    return number(steps, "+d").replace("+0", "0")
