"""What the page says first: one sentence for all targets, and a card with a line of steps for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import xarray as xr

from ldmscene import conclusions
from ldmscene import grid as grids
from ldmscene.report.marks import Mark, Way, ways
from ldmscene.report.site.chart import Scale
from ldmscene.text import counted, listed
from ldmscene.verdicts import Finding, Lead, apart, signed, these
from ldmscene.verdicts import sentence as in_words
from ldmscene.verdicts.draws import FEWEST
from ldmscene.words import capital, target_words

SEEN_IN = {
    grids.LABELER_NOISY: "in the unfinished picture",
    grids.LABELER_PREDICTED: "in the finished picture that the model predicts",
}
WIDTH, ROW, LEFT, RIGHT = 320, 36, 6, 6
LONGEST = 50  # letters above a line


def findings(grid: xr.Dataset) -> dict[str, Finding]:
    """All that is concluded, by target."""
    return {target: conclusions.finding(grid, target) for target in map(str, grid["target"].values)}


def lead_sentence(found: Sequence[Finding]) -> str:
    """The answer for all targets at once; steps stand in the order of the targets."""
    shown = [one for one in found if one.first.shown]
    said = [_readable(shown), *_seen(shown)] if shown else []
    said += [_lost(one) for one in found if not one.first.shown and one.earlier]
    others = [one for one in found if not one.first.shown and not one.earlier]
    if others:
        said.append(f"{capital(listed([one.target for one in others]))}: not shown{_why(others[0])}.")
    return " ".join(said)


def _why(one: Finding) -> str:
    """Why nothing can be shown, whatever the curves look like."""
    few = counted(one.prompts, "held-out prompt", "is", "are")
    return f", since {few} too few" if one.prompts < FEWEST else ""


def _readable(shown: Sequence[Finding]) -> str:
    known = f"Beyond {listed(shown[0].beyond)}, a" if shown[0].beyond else "A"
    said = f"{known} linear probe reads {listed([one.target for one in shown])}"
    first = [_step(one, one.first.at) for one in shown]
    if len(shown[0].steps) == 1:
        return f"{said} at step {first[0]}, the only one that was looked at."
    said = f"{said} {_in_order('from', first, shown[0])} on"
    if any(one.lower_is_better for one in shown):
        return f"{said}."
    most = _in_order("by", [_step(one, one.most.at) for one in shown], shown[0])
    ever = "ever reads" if shown[0].finished else "reads at any of those looked at"
    return f"{said}, and {round(100 * shown[0].share)} % of what it {ever} {most}."


def _lost(one: Finding) -> str:
    return f"{capital(one.target)}: read at {these(one.earlier_steps)}, and not shown to be read later."


def _seen(shown: Sequence[Finding]) -> Iterator[str]:
    """In which unfinished pictures a labeler sees as much, and in which it isn't shown to."""
    seen, unseen, when = [], [], "at" if len(shown[0].steps) == 1 else "by"
    for name, where in SEEN_IN.items():
        if any(name not in one.readings or one.lower_is_better for one in shown):
            continue
        reached = {one.target: _step(one, at) for one in shown if (at := one.readings[name].most.at) is not None}
        others = [one.target for one in shown if one.target not in reached]
        whose, theirs = (f"of {listed(list(some))} " if reached and others else "" for some in (reached, others))
        seen += [f"{whose}{where} {_in_order(when, list(reached.values()), shown[0])}"] if reached else []
        unseen += [f"{theirs}{where}"] if others else []
    if seen:
        first, *others = seen
        again = [where.replace("the finished picture", "the finished one") for where in others]
        yield f"A labeler sees as much {', and '.join([first, *again])}."
    if unseen:
        who, end = "It" if seen else "A labeler", shown[0].end.replace("by", when)
        yield f"{who} is not shown to see as much {' or '.join(unseen)} {end}".rstrip() + "."


def _in_order(when: str, steps: Sequence[int | None], looked: Finding) -> str:
    """`by step 0` where all are equal, else `by steps 5, 6 and 9`."""
    last = looked.steps[-1] if looked.finished and len(looked.steps) > 1 else None
    words = [f"{step}{' (the last)' if step == last else ''}" for step in steps]
    if len(set(words)) == 1:
        return f"{when} step {words[0]}"
    return f"{when} steps {listed(words)}"


def card(found: Finding) -> dict[str, object]:
    """One target's finding: its two steps, its sentence in two parts, and the line of steps."""
    start, _, rest = in_words(found).removeprefix(f"{found.target}: ").partition(". ")
    return {
        "target": found.target,
        "about": target_words(found.target),
        "numbers": _numbers(found),
        "sentence": f"{capital(start)}.".replace("..", "."),
        "rest": rest,
        "line": line_of_steps(found),
    }


def _numbers(found: Finding) -> list[tuple[str, str]]:
    """What stands out on a card, each with what it is; nothing where nothing is shown."""
    first, most = _step(found, found.first.at), _step(found, found.most.at)
    if first is None:
        return [(these(found.earlier_steps), "readable, not shown later on")] if found.earlier else []
    if len(found.steps) == 1:
        return [(f"step {first}", "readable, the only one looked at")]
    share = [] if most is None else [(f"step {most}", f"{round(100 * found.share)} % of what it reads")]
    return [(f"step {first}", "first readable"), *share]


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
    if way.name == "probe":
        if found.lost:
            marks[-1]["lasts"] = False
        return {"name": _probe(found), "role": role, "said": "", "marks": marks}
    if marks:
        marks[0] |= {"low": marks[0]["x"], "high": marks[0]["x"]}  # two intervals on a line can't be told apart
    return {"name": way.name, "role": role, "said": _lead(way, found), "marks": marks}


def _probe(found: Finding) -> str:
    """With its module, where that fits; the sentence names it in any case."""
    named = f"probe of {found.module}"
    return named if len(named) <= LONGEST else "probe"


def _placed(mark: Mark, across: Scale, found: Finding) -> dict[str, object]:
    x, low, high = map(across, (found.steps[mark.at], mark.low, mark.high))
    return {"kind": mark.kind, "x": x, "low": low, "high": high, "lasts": True}


def _lead(way: Way, found: Finding) -> str:
    """How much later than the probe a labeler reads as much."""
    if not found.first.shown:
        return ""
    if way.first is None:
        return "not shown to read it"
    if found.lower_is_better:
        return _apart(found.readings[way.name].lead_first)
    unseen = f"not shown {found.end}".rstrip()
    return _apart(way.lead) if way.most and way.lead else unseen


def _apart(lead: Lead) -> str:
    steps, low, high = (found or 0 for found in (lead.steps, lead.low, lead.high))
    within = f" ({signed(low)} to {signed(high)})"
    return (apart(steps) if steps else "at the same step") + within
