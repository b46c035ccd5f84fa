"""The run that an edit was made for, planned again on a pipeline; another model or configuration is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ldmscene import capture
from ldmscene.capture import Plan
from ldmscene.edits import Edit
from ldmscene.errors import InputError
from ldmscene.intervention.runs import run_differences
from ldmscene.store import ActivationStore

_INFINITE = ("Infinity", "-Infinity")  # as JSON has them


def plan_for(
    loaded: capture.Model,
    edit: Edit,
    *,
    modules: Sequence[str] = (),
    branches: Sequence[str] = (),
    dtype: str = "float16",
) -> Plan:
    """A plan whose branches are told, to run the edit and capture these modules' outputs.

    Parameters
    ----------
    modules
        Whose outputs are captured; none where empty.
    branches
        That are captured, beside those that are edited.

    Raises
    ------
    InputError
        If the pipeline isn't the one that the probes were fitted on, a module has no grid, or the branches can't be
        told.
    """
    config = _config(edit)
    if config["source"] != "prompts":
        raise InputError(
            "an edit needs pictures that are generated from prompts; this one's store is of supplied images"
        )
    if config.get("inputs"):
        raise InputError(
            f"an edit needs a pipeline that takes a prompt alone; this one's takes {', '.join(config['inputs'])} too"
        )
    both = set(branches) | set(edit.branches)
    plan = capture.make_plan(
        loaded.pipeline,
        modules=list(dict.fromkeys([*modules, *edit.modules, *edit.spare])),
        steps=config["steps"],
        guidance_scale=config["guidance_scale"],
        negative_prompt=config["negative_prompt"],
        height=config["height"],
        width=config["width"],
        branch="both" if len(both) > 1 else next(iter(both)),
        dtype=dtype,
        hashes=loaded.hashes,
    )
    check_same(edit, plan.config())
    _check_grids(edit, plan)
    check_steps(edit, plan)
    captured = tuple(module for module in plan.modules if module.name in modules)
    return capture.rehearsed(replace(plan, modules=captured))


def scheduler_of(loaded: capture.Model, store: ActivationStore) -> Any:
    """A store's scheduler, with its settings, since the pipeline may have come with another one.

    None where the pipeline's knows nothing of its class; the comparison with the plan says so.
    """
    own, config = loaded.pipeline.scheduler, dict(store.config["scheduler"])
    known = {kind.__name__: kind for kind in (type(own), *own.compatibles)}
    kind = known.get(config.pop("class"))
    if kind is None:
        return None
    said = {name: float(value) if value in _INFINITE else value for name, value in config.items()}
    return kind.from_config(said)


def check_edit(edit: object) -> None:
    """Refuse what is no edit, such as a target or a grid in its position."""
    if not isinstance(edit, Edit):
        got = type(edit).__name__
        raise InputError(f"edit: expected what ldmscene.Edit.of makes, got {got}; are the arguments in order?")


def check_same(edit: Edit, config: Mapping[str, Any]) -> None:
    """Refuse a configuration that isn't the one that the edit's probes were fitted on.

    Raises
    ------
    InputError
        With what differs.
    """
    if found := run_differences(_config(edit), config):
        said = "; ".join(f"{path}: {old} then, {new} now" for path, old, new in found)
        raise InputError(f"the edit's probes were fitted on another model or configuration: {said}")


def _config(edit: Edit) -> Mapping[str, Any]:
    """The configuration of the store that the edit's probes were fitted on."""
    if "config" not in edit.origin:
        raise InputError("the edit doesn't say what its probes were fitted on; make it with ldmscene.Edit.of")
    config: Mapping[str, Any] = edit.origin["config"]
    return config


def _check_grids(edit: Edit, plan: Plan) -> None:
    for module in plan.modules:
        if module.name in (*edit.modules, *edit.spare) and len(module.shape) != 3:
            raise InputError(
                f"{module.name} returns tokens that lie on no (y, x) grid, such as a text's; leave it out of modules="
            )


def check_steps(edit: Edit, plan: Plan) -> None:
    """InputError if an edit has a step beyond a run's end."""
    last = len(plan.timesteps) - 1
    beyond = [step for step in edit.steps if not 0 <= step <= last]
    if beyond:
        raise InputError(f"steps: no step {beyond[0]} in this run; its steps are 0 to {last}")
