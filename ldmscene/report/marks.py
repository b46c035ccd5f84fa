"""The two steps of a verdict, as they are marked on a curve and a line of steps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from ldmscene.text import counted
from ldmscene.verdicts import Finding, Lead, Step


@dataclass(frozen=True)
class Mark:
    """A step with its 95 % interval."""

    kind: str
    """first or most"""
    at: int
    """its position on the axis of steps"""
    low: int
    """the interval's ends, as steps: the lower one may lie between two that were looked at"""
    high: int


@dataclass(frozen=True)
class Way:
    """From when on the probe or a labeler reads something, and most; None where it never does."""

    name: str
    first: Mark | None
    most: Mark | None
    lead: Lead | None = None
    """how many steps later than the probe most is there, of a labeler"""


def ways(found: Finding) -> list[Way]:
    """The probe's way, then those of the labelers."""
    marked = partial(_mark, found)
    probe = Way("probe", marked("first", found.first), marked("most", found.most))
    readings = found.readings.items()
    return [probe, *(Way(n, marked("first", r.first), marked("most", r.most), r.lead_most) for n, r in readings)]


def of_probe(found: Finding) -> list[Mark]:
    """Both steps of a verdict, where they are shown."""
    probe = ways(found)[0]
    return [mark for mark in (probe.first, probe.most) if mark]


def leads(found: Finding) -> dict[str, str]:
    """How much later than the probe each labeler reads as much, in short: `+2 steps`, `same step`, `not shown`.

    Nothing of errors, of which no share means anything.
    """
    if not found.first.shown or found.lower_is_better:
        return {}
    return {name: _short(reading.lead_most, found.end) for name, reading in found.readings.items()}


def _short(lead: Lead, end: str) -> str:
    if lead.steps is None:
        return f"not shown {end}".rstrip()
    sign = "+" if lead.steps > 0 else "−"
    return f"{sign}{counted(abs(lead.steps), 'step')}" if lead.steps else "same step"


def _mark(found: Finding, kind: str, step: Step) -> Mark | None:
    if step.at is None or step.low is None or step.high is None:
        return None
    return Mark(kind, step.at, max(found.soonest(step.low), found.steps[0]), found.steps[step.high])
