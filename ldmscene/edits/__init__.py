"""Edits: what a probe is to read instead, and how an activation becomes one that reads so. Needs torch."""

from ldmscene.edits.change import edited
from ldmscene.edits.controls import CONTROLS, ControlEntry, controlled
from ldmscene.edits.edit import Edit
from ldmscene.edits.goal import Goal, Maps, cell_values, read
from ldmscene.edits.nulls import NULLS, NullEntry
from ldmscene.edits.readout import Readout
from ldmscene.edits.rules import RULES, Rule, RuleEntry, find_rule
from ldmscene.edits.wanted import Wanted, ceiling, moved, parse

__all__ = [
    "CONTROLS",
    "NULLS",
    "RULES",
    "ControlEntry",
    "Edit",
    "Goal",
    "Maps",
    "NullEntry",
    "Readout",
    "Rule",
    "RuleEntry",
    "Wanted",
    "ceiling",
    "cell_values",
    "controlled",
    "edited",
    "find_rule",
    "moved",
    "parse",
    "read",
]
