"""What a page asks for, checked field by field: whoever wrote it may mean harm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ldmscene.errors import InputError
from ldmscene.painting import runs
from ldmscene.painting.offer import Offer

LONGEST_PROMPT = 2000  # characters
_STRENGTHS = (-20.0, 20.0)


class FieldError(InputError):
    """A field of the page that can't be used.

    Attributes
    ----------
    field : str
        Its name, beside which the page tells the message.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field, self.message = field, message


@dataclass(frozen=True)
class Change:
    """What is to be changed.

    Attributes
    ----------
    target, rule, strength, modules, steps
        As of `ldmscene.Edit.of`.
    levels : numpy.ndarray, uint8 (Y, X)
        What was painted, as `ldmscene.painting.runs` has it.
    """

    target: str
    levels: np.ndarray
    rule: str
    strength: float
    modules: tuple[str, ...]
    steps: tuple[int, ...]


@dataclass(frozen=True)
class Asked:
    """A picture, and how it is to be changed; None: not at all.

    Attributes
    ----------
    labelers : bool
        Whether labelers read each step's unfinished picture, too.
    """

    prompt: str
    seed: int
    change: Change | None
    labelers: bool = False

    @classmethod
    def of(cls, words: object, offer: Offer) -> Asked:
        """From JSON.

        Raises
        ------
        FieldError
            Which names the field.
        """
        if not isinstance(words, Mapping):
            raise FieldError("page", f"expected an object, got {type(words).__name__}")
        change = words.get("change")
        labelers = words.get("labelers", False)
        if not isinstance(labelers, bool):
            raise FieldError("page", f"labelers: expected true or false, got {str(labelers)[:30]!r}")
        return cls(_prompt(words), _seed(words), None if change is None else _change(change, offer), labelers)


def _prompt(words: Mapping[str, Any]) -> str:
    prompt = words.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise FieldError("prompt", "expected some words")
    if len(prompt) > LONGEST_PROMPT:
        raise FieldError("prompt", f"expected at most {LONGEST_PROMPT} characters, got {len(prompt)}")
    return prompt.encode("utf-8", "replace").decode()  # a lone surrogate is no text


def _seed(words: Mapping[str, Any]) -> int:
    seed = str(words.get("seed", ""))  # as text, since a script's numbers end at 2⁵³
    if not (seed.isascii() and seed.isdecimal() and len(seed) <= 19 and int(seed) < 2**63):
        raise FieldError("seed", f"expected a whole number from 0 to 2⁶³ − 1, got {seed[:30]!r}")
    return int(seed)


def _change(change: object, offer: Offer) -> Change:
    if not isinstance(change, Mapping):
        raise FieldError("change", f"expected an object, got {type(change).__name__}")
    target = _one_of("target", change.get("target"), [one.name for one in offer.targets])
    return Change(
        target=target,
        levels=_levels(change.get("wanted"), offer),
        rule=_one_of("rule", change.get("rule"), offer.rules),
        strength=_strength(change.get("strength")),
        modules=_several("modules", change.get("modules"), offer.modules),
        steps=_several("steps", change.get("steps"), offer.steps),
    )


def _levels(text: object, offer: Offer) -> np.ndarray:
    if not isinstance(text, str):
        raise FieldError("wanted", "paint something first")
    try:
        levels = runs.decode(text, offer.size)
    except InputError as error:
        raise FieldError("wanted", str(error)) from error
    if (levels == runs.UNPAINTED).all():
        raise FieldError("wanted", "nothing is painted yet; paint something first")
    return levels


def _strength(value: object) -> float:
    low, high = _STRENGTHS
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise FieldError("strength", f"expected a number from {low:g} to {high:g}, got {str(value)[:30]!r}")
    return float(value)


def _one_of(field: str, value: object, known: Any) -> str:
    if not isinstance(value, str) or value not in known:
        raise FieldError(field, f"expected one of {', '.join(known)}; got {str(value)[:60]!r}")
    return value


def _several(field: str, value: object, known: Any) -> tuple[Any, ...]:
    """Those of the known ones that are asked for, in their order."""
    if not isinstance(value, list) or not value:
        raise FieldError(field, f"nothing is chosen; expected at least one, such as {known[0]}")
    strange = [one for one in value if isinstance(one, bool) or one not in known]
    if strange:
        raise FieldError(field, f"no {str(strange[0])[:60]!r} here; expected of {', '.join(map(str, known))}")
    return tuple(one for one in known if one in value)
