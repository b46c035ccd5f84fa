"""One edit of one module at one step: an activation in, the edited one out. Needs torch."""

from __future__ import annotations

import torch
from torch import Tensor

from ldmscene.edits.edit import WRONG, Edit
from ldmscene.edits.goal import Goal, Maps, like, wide
from ldmscene.edits.nulls import find_null
from ldmscene.edits.rules import find_rule
from ldmscene.errors import ShapeError


def edited(edit: Edit, module: str, step: int, x: Tensor, maps: Maps, donor: Tensor | None = None) -> Tensor:
    """What an edit makes of a module's output at a step.

    Parameters
    ----------
    x : Tensor (sample, y, x, channel)
    maps : Maps
        Own and wanted maps of the same samples.
    donor : Tensor (sample, y, x, channel), optional
        Activations of another trajectory at this module and step.

    Returns
    -------
    Tensor
        Of the dtype of x; x itself at strength 0.

    Raises
    ------
    ShapeError
        If the rule returns another shape.
    """
    if edit.strength == 0:
        return x
    readout = edit.readouts[module, step]
    goal = maps.goal(x, readout, donor)
    found = find_rule(edit.rule)(x, goal, readout)
    if found.shape != x.shape:
        raise ShapeError(
            f"rule {edit.rule_name!r}: expected an activation of shape {tuple(x.shape)} for {module}, "
            f"got {tuple(found.shape)}"
        )
    change = wide(found) - wide(x)
    if edit.only_where == WRONG:
        change = change * _wrong(goal, edit.margin)[..., None]
    if edit.null:
        change = find_null(edit.null)(change, goal, readout, f"{module} {step}")
    return rounded(wide(x) + edit.strength * change, x.dtype, like(readout.coef, x))


def rounded(exact: Tensor, dtype: torch.dtype, coef: Tensor) -> Tensor:
    """An activation (..., channel) in another dtype, but for one channel that makes up for what rounding does to x·w.

    Rounding moves each channel by half a step at most, and the reading by as much times its weight. Of the channels
    with large weights, the one whose steps move the reading least takes up the sum.
    """
    found = exact.to(dtype)
    lost = (exact - found.to(exact.dtype)) @ coef
    large = coef.abs() >= coef.abs().max() / 4
    channel = torch.where(large, (exact * coef).abs(), torch.inf).argmin(-1)
    weight = torch.where(coef == 0, 1, coef)[channel]
    return found.scatter_add(-1, channel[..., None], (lost / weight)[..., None].to(dtype))


def _wrong(goal: Goal, margin: float) -> Tensor:
    """Cells whose reading is wrong: on the other side of 0 for a mask, farther off than the margin for others."""
    if goal.binary:
        return (goal.reading > 0) != (goal.wanted > 0)
    return torch.abs(goal.residual) > margin
