"""Whether the model is still the one that began a store: it is asked before anything more is generated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ldmscene import capture
from ldmscene.capture import Plan
from ldmscene.capture.canary import canary, first_difference, tolerance, turned_on
from ldmscene.errors import FingerprintError, InputError
from ldmscene.store import ActivationStore
from ldmscene.store.prepare import note_canary


def steady_answer(plan: Plan) -> dict[str, Any]:
    """What a new store notes of its model, which is asked twice.

    Raises
    ------
    InputError
        If it answers otherwise the second time: then a sample's seed doesn't fix what is generated.
    """
    first, again = _answer(plan), _answer(plan)
    found = _compared(plan, first, again)
    if found:
        scheduler = type(plan.pipeline.scheduler).__name__
        raise InputError(
            f"a seed doesn't fix what this model generates: asked twice for the same, {found}; the scheduler "
            f"{scheduler}, or something that is on ({_told(plan)}), draws noise of its own; use another scheduler, or "
            "turn it off"
        )
    return first


def check_unchanged(store: ActivationStore, plan: Plan, answer: Mapping[str, Any] | None = None) -> None:
    """Refuse a model that answers otherwise than when the store was begun; note its answer where none is noted.

    Raises
    ------
    FingerprintError
        With the first part that answers otherwise, and what is known to be on.
    """
    now = answer or _answer(plan)
    found = _compared(plan, store.canary or note_canary(store.location, now), now)
    if found:
        raise FingerprintError(
            f"the model answers otherwise than when {store.root} was begun, though its configuration is the same: "
            f"{found}. Known to be on: {_told(plan)}. Load the model anew, or use another store"
        )


def _answer(plan: Plan) -> dict[str, Any]:
    made_with = capture.environment(plan.pipeline)
    return {"device": f"{made_with['device']}, torch {made_with['torch']}", "answers": canary(plan)}


def _compared(plan: Plan, before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    most = tolerance(plan.compute_dtype, same_device=before["device"] == now["device"])
    return first_difference(before["answers"], now["answers"], most)


def _told(plan: Plan) -> str:
    return ", ".join(turned_on(plan.pipeline)) or "nothing"
