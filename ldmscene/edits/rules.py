"""Rules: how an activation becomes one that reads as wanted. Needs torch.

A rule takes an activation (sample, y, x, channel), its `Goal` and the `Readout`, and returns the new activation, of
the same shape; it may be in another precision. A new rule is one function and an entry here, or in another package an
entry point of the group `ldmscene.rules`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ldmscene.edits.adam import adam
from ldmscene.edits.goal import Goal, like, wide
from ldmscene.edits.readout import Readout
from ldmscene.errors import InputError
from ldmscene.registry import Registry

Rule = Callable[[Tensor, Goal, Readout], Tensor]


@dataclass(frozen=True)
class RuleEntry:
    """A rule that can be asked for by its name.

    Examples
    --------
    >>> from ldmscene.edits import RULES, RuleEntry
    >>> [name for name, entry in RULES.items() if entry.borrows]
    ['donor']
    >>> RuleEntry("unchanged", lambda x, goal, readout: x).name
    'unchanged'
    """

    name: str
    apply: Rule
    borrows: bool = False
    """whether it takes another trajectory's activations, `Goal.donor`"""


def conditional(x: Tensor, goal: Goal, readout: Readout) -> Tensor:
    """x + Σw (wᵀΣw)⁻¹ r: the likeliest activation with the wanted reading, for normally distributed features.

    Its change has the least Mahalanobis norm of all that read as wanted.
    """
    return wide(x) + goal.residual[..., None] * like(readout.pattern, x)


def minimum_norm(x: Tensor, goal: Goal, readout: Readout) -> Tensor:
    """x + w (wᵀw)⁻¹ r: the nearest activation with the wanted reading."""
    return wide(x) + goal.residual[..., None] * like(readout.normal, x)


def erase(x: Tensor, goal: Goal, readout: Readout) -> Tensor:
    """Without anything that a linear probe could read of the target: LEACE (Belrose et al. 2023); nothing is wanted."""
    weights, direction = (like(part, x) for part in readout.eraser)
    return wide(x) - ((wide(x) - like(readout.mean, x)) @ weights)[..., None] * direction


def donor(x: Tensor, goal: Goal, readout: Readout) -> Tensor:
    """Another trajectory's activations in the region that the edit is about.

    Raises
    ------
    InputError
        If there are none.
    """
    if goal.donor is None:
        raise InputError("rule 'donor' needs the activations of another trajectory; edit a store that has them")
    return torch.where(goal.region[..., None], goal.donor.to(x), x)


RULES: Registry[RuleEntry] = Registry(
    "rule",
    "ldmscene.rules",
    (
        RuleEntry("conditional", conditional),
        RuleEntry("minimum-norm", minimum_norm),
        RuleEntry("adam", adam),
        RuleEntry("erase", erase),
        RuleEntry("donor", donor, borrows=True),
    ),
)


def find_rule(rule: str | Rule) -> Rule:
    """A rule by its name, or a callable as it is.

    Raises
    ------
    UnknownNameError
        If no rule is called so.
    """
    return rule if callable(rule) else RULES[rule].apply
