"""A finding in words, from its numbers alone."""

from __future__ import annotations

import math

from ldmscene.text import counted, listed, number
from ldmscene.verdicts.draws import FEWEST
from ldmscene.verdicts.finding import LEAST_EFFECT, PARTIAL_R2, Finding, Reading
from ldmscene.verdicts.steps import Lead, Step
from ldmscene.words import metric_words

FEW = 20  # prompts below which intervals are rough


def sentence(finding: Finding) -> str:
    """What may be said of a target: when, how much, against what, how long before a labeler, and what isn't known."""
    parts = [_shown(finding) if finding.first.shown else _not_shown(finding)]
    if finding.first.shown:
        parts += [_labeler(finding, name, reading) for name, reading in finding.readings.items()]
    parts += [_few(finding), _position(finding), _missing(finding)]
    return f"{finding.target}: " + " ".join(filter(None, parts))


def _shown(finding: Finding) -> str:
    first, steps = finding.first, finding.steps
    if len(steps) == 1:
        said = f"readable{_beyond(finding)} at step {steps[0]}, the only one that was looked at, with {_size(finding)}"
        return f"{said}. {_effect(finding)}."
    said = f"readable{_beyond(finding)} from step {_at(finding, first)} of {steps[0]} to {steps[-1]}"
    said += f"{_within(finding, first)}, with {_size(finding)}; {_most(finding)}. {_effect(finding)}."
    if first.at == 0:
        return said
    if finding.decided == LEAST_EFFECT:
        return f"{said} Before that step it is not above {_number(finding, finding.least)}."
    return f"{said} Before that step as much is read from {finding.decided}."


def _size(finding: Finding) -> str:
    size = _number(finding, finding.gain_first)
    if finding.measure == PARTIAL_R2:
        return f"a gain of {size}"
    return f"a score of {size} in {metric_words(finding.measure)}"


def _most(finding: Finding) -> str:
    share = f"{_percent(finding.share)} of what the probe ever gains"
    if finding.most.at == len(finding.steps) - 1:
        return f"{share} is not there before the picture is finished{_within(finding, finding.most, 'from step ')}"
    return f"{share} is there from step {_at(finding, finding.most)}{_within(finding, finding.most)}"


def _not_shown(finding: Finding) -> str:
    said = f"not shown to be readable{_beyond(finding)}. {_effect(finding)}"
    if finding.prompts < FEWEST:
        return f"{said}."
    if finding.decided == LEAST_EFFECT:
        return f"{said}: not clearly more than {_number(finding, finding.least)}, the least that counts."
    return f"{said}: not clearly more than is read from {finding.decided}."


def _effect(finding: Finding) -> str:
    low, high = finding.gain_low, finding.gain_high
    within = "no interval"
    if math.isfinite(low) and math.isfinite(high):
        within = f"95 % interval {_number(finding, low)} to {_number(finding, high)}"
    rivals = [f"{_number(finding, value)} from {name}" for name, value in finding.rivals.items()]
    against = f", against {listed(rivals)}" if rivals else ""
    return f"At the last step the probe of {finding.module} {_reaches(finding)} ({within}){against}"


def _reaches(finding: Finding) -> str:
    if finding.measure != PARTIAL_R2:
        return f"scores {_number(finding, finding.gain)} in {metric_words(finding.measure)}"
    if not finding.beyond:
        return f"explains {_percent(finding.gain)} of the variance"
    leave = "leaves" if len(finding.beyond) == 1 else "leave"
    return f"explains {_percent(finding.gain)} of what {listed(finding.beyond)} {leave} unexplained"


def _labeler(finding: Finding, name: str, reading: Reading) -> str:
    if not reading.first.shown:
        return f"The {name} is never shown to read anything of it."
    first = f"The {name} reads something of it from step {_lead(finding, reading.first, reading.lead_first)}"
    if not reading.most.shown:
        return f"{first}, and never as much as the probe."
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


def _few(finding: Finding) -> str:
    n = finding.prompts
    if n < FEWEST:
        held = "1 prompt is" if n == 1 else f"{n} prompts are"
        return f"Only {held} held out, too few for an interval, so that nothing can be shown."
    if n < FEW:
        return f"Only {n} prompts are held out: below {FEW} prompts intervals are rough."
    return ""


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
    return f" (95 % interval {start}{finding.steps[step.low]} to {finding.steps[step.high]})"


def _percent(share: float) -> str:
    return f"{number(round(100 * share), 'd')} %"


def _number(finding: Finding, value: float) -> str:
    return _percent(value) if finding.measure == PARTIAL_R2 else number(value, ".2f")


def signed(steps: int) -> str:
    """`+2`, `0`, `−1`."""
    return number(steps, "+d").replace("+0", "0")
