"""Controls: the same edit in ways that must not work, and what a perfect edit would give.

A control is a function from an edit and the argument after its colon to edits by name. A new one is one function and an
entry here, or in another package an entry point of the group `ldmscene.controls`; a callable from an edit to an edit
serves, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from ldmscene.edits.edit import Edit
from ldmscene.edits.rules import RULES
from ldmscene.errors import InputError
from ldmscene.registry import Registry

Control = str | Callable[[Edit], Edit]
SHUFFLED = "shuffled"
EDIT = "edit"  # what the edit itself is called among its controls
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class ControlEntry:
    """A control that can be asked for by its name.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from ldmscene.edits import ControlEntry
    >>> entry = ControlEntry("half", lambda edit, argument: {"half": replace(edit, strength=edit.strength / 2)})
    >>> entry.name
    'half'
    """

    name: str
    make: Callable[[Edit, str], dict[str, Edit]]
    """from the edit and what follows the colon, edits by name: the control's own, or with "-" and more behind it"""
    null: bool = True
    """whether it must not work, so that an edit has to gain more than it"""


def none(edit: Edit, _: str) -> dict[str, Edit]:
    """No change at all."""
    return {"none": replace(edit, strength=0.0)}


def random(edit: Edit, count: str) -> dict[str, Edit]:
    """Random directions, as many as are asked for, drawn as the features are distributed."""
    return {f"random-{seed}": replace(edit, null=f"random:{seed}") for seed in range(_count("random", count))}


def _count(control: str, text: str) -> int:
    """The number after a control's colon; 1 where there is none."""
    if not (text or "1").isdecimal() or int(text or "1") < 1:
        raise InputError(f"controls: expected '{control}:N' with N at least 1, got '{control}:{text}'")
    return int(text or "1")


def shuffled(edit: Edit, _: str) -> dict[str, Edit]:
    """The pattern of the probe that was fitted to other samples' labels."""
    if SHUFFLED not in rivals(edit):
        raise InputError("controls: 'shuffled' needs a probe of shuffled labels, and this edit has none")
    return {SHUFFLED: replace(edit, null=f"rival:{SHUFFLED}")}


def other_target(edit: Edit, _: str) -> dict[str, Edit]:
    """The patterns of the other targets' probes."""
    others = [name for name in rivals(edit) if name != SHUFFLED]
    if not others:
        raise InputError("controls: 'other-target' needs a grid with several targets, and this edit's has one")
    return {f"other-target-{name}": replace(edit, null=f"rival:{name}") for name in others}


def wrong_region(edit: Edit, _: str) -> dict[str, Edit]:
    """The change itself, half a picture away."""
    return {"wrong-region": replace(edit, null="wrong-region")}


def worst_module(edit: Edit, _: str) -> dict[str, Edit]:
    """The same rule in the modules that read the target worst."""
    if not edit.spare:
        raise InputError("controls: 'worst-module' needs modules that the edit leaves alone, and there are none")
    return {"worst-module": replace(edit, modules=edit.spare, spare=())}


def donor(edit: Edit, _: str) -> dict[str, Edit]:
    """The activations of a trajectory that looks as wanted: not a null, but what a perfect edit would give."""
    return {"donor": replace(edit, rule="donor", strength=1.0)}


def begun_at(edit: Edit, every: str) -> dict[str, Edit]:
    """The same edit begun later, at every so manieth of its steps: not a null, but until when the picture follows."""
    steps = sorted(edit.steps)
    later = steps[:: _count("from", every)][1:]
    return {f"from-{step}": replace(edit, steps=tuple(s for s in steps if s >= step)) for step in later}


def other_rule(edit: Edit, name: str) -> dict[str, Edit]:
    """The same edit by another rule, beside it."""
    return {f"rule-{RULES[name].name}": replace(edit, rule=name)}


CONTROLS: Registry[ControlEntry] = Registry(
    "control",
    "ldmscene.controls",
    (
        ControlEntry("none", none, null=False),
        ControlEntry("random", random),
        ControlEntry(SHUFFLED, shuffled),
        ControlEntry("other-target", other_target),
        ControlEntry("wrong-region", wrong_region),
        ControlEntry("worst-module", worst_module),
        ControlEntry("donor", donor, null=False),
        ControlEntry("from", begun_at, null=False),
        ControlEntry("rule", other_rule, null=False),
    ),
)


STANDARD = (SHUFFLED, "random", "wrong-region", "other-target", "worst-module")
"""nulls that a finding says of whether they were run, the one that is hardest to beat first"""


def is_null(variant: str) -> bool:
    """Whether what a control made, by its name, must not work; a caller's own control mustn't."""
    made_by = _maker(variant)
    return made_by is None or CONTROLS[made_by].null


def not_run(variants: Iterable[str]) -> list[str]:
    """Standard nulls that made none of these variants."""
    makers = set(map(_maker, variants))
    return [control for control in STANDARD if control not in makers]


def _maker(variant: str) -> str | None:
    """The control that made a variant, by whose name this begins; None of a caller's own."""
    return max((name for name in CONTROLS if variant == name or variant.startswith(f"{name}-")), key=len, default=None)


def controlled(edit: Edit, controls: Control | Iterable[Control]) -> dict[str, Edit]:
    """The edits that stand for an edit's controls, by name.

    Raises
    ------
    InputError
        If a control isn't known, the edit lacks what it needs, or a callable's name is not its own.
    """
    found: dict[str, Edit] = {}
    for control in [controls] if isinstance(controls, str) or callable(controls) else controls:
        if callable(control):
            name = _name(control)
            if name in found:
                raise InputError(f"controls: expected functions of different names, got {name!r} twice")
            found[name] = _made(name, control(edit))
            continue
        name, _, argument = control.partition(":")
        found |= CONTROLS[name].make(edit, argument)
    return found


def _made(name: str, made: object) -> Edit:
    if not isinstance(made, Edit):
        raise InputError(f"controls: expected {name} to return an edit, got {type(made).__name__}")
    return made


def _name(control: Callable[..., Any]) -> str:
    """A callable's name, under which its pictures are stored."""
    name = getattr(control, "__name__", type(control).__name__)
    if not _NAME.fullmatch(name):
        raise InputError(f"controls: expected a function with a name of letters, digits, '_' and '-', got {name!r}")
    if name == EDIT or _maker(name) is not None:
        raise InputError(f"controls: {name!r} is what ldmscene itself calls {_owned(name)}; rename your function")
    return name


def _owned(name: str) -> str:
    return "the edit" if name == EDIT else f"what its control {_maker(name)!r} makes"


def rivals(edit: Edit) -> list[str]:
    """Other probes that an edit has at all of its positions."""
    first, *others = (edit.readouts[position].rivals for position in edit.positions)
    return [name for name in first if all(name in one for one in others)]
