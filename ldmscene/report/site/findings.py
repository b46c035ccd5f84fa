"""What the page says first: one sentence for all targets, and a card with a line of steps for each."""

from __future__ import annotations

from collections.abc import Sequence

import xarray as xr

from ldmscene import conclusions
from ldmscene import grid as grids
from ldmscene.report.marks import Mark, Way, ways
from ldmscene.report.site.chart import Scale
from ldmscene.text import listed
from ldmscene.verdicts import Finding, Lead, apart, signed
from ldmscene.verdicts import sentence as in_words
from ldmscene.words import capital, target_words

SEEN_IN = {
    grids.LABELER_NOISY: "in the unfinished picture",
    grids.LABELER_PREDICTED: "in the finished one that the model predicts",
}
WIDTH, ROW, LEFT, RIGHT = 320, 36, 6, 6


def findings(grid: xr.Dataset) -> dict[str, Finding]:
    """All that is concluded, by target."""
    return {target: conclusions.finding(grid, target) for target in map(str, grid["target"].values)}


def lead_sentence(found: Sequence[Finding]) -> str:
    """The answer for all targets at once; steps stand in the order of the targets."""
    shown = [one for one in found if one.first.shown]
    others = [one.target for one in found if not one.first.shown]
    said = [_readable(shown)] if shown else []
    if shown and (seen := _seen(shown)):
        said.append(f"A labeler sees as much {', and '.join(seen)}.")
    if others:
        said.append(f"{capital(listed(others))}: not shown.")
    return " ".join(said)


def _readable(shown: Sequence[Finding]) -> str:
    first = _in_order("from", [_step(one, one.first.at) for one in shown], shown[0])
    most = _in_order("by", [_step(one, one.most.at) for one in shown], shown[0])
    known = f"Beyond {listed(shown[0].beyond)}, a" if shown[0].beyond else "A"
    share = (
        f"{round(100 * shown[0].share)} % of what it {'ever reads' if shown[0].finished else 'reads at any of these'}"
    )
    said = f"{known} linear probe reads {listed([one.target for one in shown])} {first} on"
    return f"{said}." if any(one.lower_is_better for one in shown) else f"{said}, and {share} {most}."


def _seen(shown: Sequence[Finding]) -> list[str]:
    found = []
    for name, where in SEEN_IN.items():
        if all(name in one.readings and not one.lower_is_better for one in shown):
            steps = [_step(one, one.readings[name].most.at) for one in shown]
            found.append(f"{where} {_in_order('by', steps, shown[0])}")
    return found


def _in_order(when: str, steps: Sequence[int | None], looked: Finding) -> str:
    """`by step 0` where all are equal, else `by steps 5, 6 and 9`."""
    last = looked.steps[-1] if looked.finished else None
    never = f"not {looked.end}" if looked.end else "never"
    words = [f"{step}{' (the last)' * (step == last)}" for step in steps if step is not None]
    if len(words) == len(steps) and len(set(words)) == 1:
        return f"{when} step {words[0]}"
    reached = f"{when} step{'s' * (len(words) > 1)} {listed(words)}" if words else ""
    return " and ".join(filter(None, [reached, never if len(words) < len(steps) else ""]))


def card(found: Finding) -> dict[str, object]:
    """One target's finding: its two steps, its sentence in two parts, and the line of steps."""
    start, _, rest = in_words(found).removeprefix(f"{found.target}: ").partition(". ")
    return {
        "target": found.target,
        "about": target_words(found.target),
        "first": _step(found, found.first.at),
        "most": _step(found, found.most.at),
        "sentence": f"{capital(start)}.".replace("..", "."),
        "rest": rest,
        "line": line_of_steps(found),
    }


def _step(found: Finding, at: int | None) -> int | None:
    return None if at is None else found.steps[at]


def line_of_steps(found: Finding) -> dict[str, object]:
    """Positions for the drawing: a row for the probe and each labeler."""
    steps = found.steps
    across = Scale(steps[0], steps[-1], LEFT, WIDTH - RIGHT)
    rows = [_row(way, across, found) | {"y": ROW * i + 24} for i, way in enumerate(ways(found))]
    ticks = steps[:: max(1, len(steps) // 7)]
    return {
        "width": WIDTH, "height": ROW * len(rows) + 24, "left": LEFT, "right": WIDTH - RIGHT, "rows": rows,
        "ticks": [(across(step), step) for step in ticks],
    }  # fmt: skip


def _row(way: Way, across: Scale, found: Finding) -> dict[str, object]:
    role = {"probe": "probe", **grids.LABELER_SOURCES}.get(way.name, "other")
    marks = [_placed(mark, across, found) for mark in (way.first, way.most) if mark]
    if way.name != "probe" and marks:
        marks[0] |= {"low": marks[0]["x"], "high": marks[0]["x"]}  # two intervals on a line can't be told apart
    said = "" if way.name == "probe" else _lead(way, found)
    return {"name": f"probe of {found.module}" if way.name == "probe" else way.name, "role": role, "said": said,
            "marks": marks}  # fmt: skip


def _placed(mark: Mark, across: Scale, found: Finding) -> dict[str, object]:
    x, low, high = map(across, (found.steps[mark.at], mark.low, mark.high))
    return {"kind": mark.kind, "x": x, "low": low, "high": high}


def _lead(way: Way, found: Finding) -> str:
    """How much later than the probe a labeler reads as much."""
    if not found.first.shown:
        return ""
    if way.first is None:
        return "not shown to read it"
    if found.lower_is_better:
        return _apart(found.readings[way.name].lead_first)
    never = f"not as much {found.end}" if found.end else "never as much"
    return _apart(way.lead) if way.most and way.lead else never


def _apart(lead: Lead) -> str:
    steps, low, high = (found or 0 for found in (lead.steps, lead.low, lead.high))
    within = f" ({signed(low)} to {signed(high)})"
    return (apart(steps) if steps else "at the same step") + within
