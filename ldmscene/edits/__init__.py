"""Edits: what a probe is to read instead, and how an activation becomes one that reads so. Needs torch."""

from ldmscene.edits.change import edited
from ldmscene.edits.controls import CONTROLS, EDIT, SHUFFLED, ControlEntry, controlled, is_null, not_run
from ldmscene.edits.edit import Edit, brief_edit, described_edit
from ldmscene.edits.goal import Goal, Maps, cell_values, read
from ldmscene.edits.nulls import NULLS, NullEntry
from ldmscene.edits.readout import Readout
from ldmscene.edits.rules import RULES, Rule, RuleEntry, find_rule
from ldmscene.edits.shifts import ceiling, moved, read_shift
from ldmscene.edits.size import MEASURES, size_of
from ldmscene.edits.wanted import Wanted, fitting, is_settled, parse

__all__ = [
    "CONTROLS",
    "EDIT",
    "MEASURES",
    "NULLS",
    "RULES",
    "SHUFFLED",
    "ControlEntry",
    "Edit",
    "Goal",
    "Maps",
    "NullEntry",
    "Readout",
    "Rule",
    "RuleEntry",
    "Wanted",
    "brief_edit",
    "ceiling",
    "cell_values",
    "controlled",
    "described_edit",
    "edited",
    "find_rule",
    "fitting",
    "is_null",
    "is_settled",
    "moved",
    "not_run",
    "parse",
    "read",
    "read_shift",
    "size_of",
]
