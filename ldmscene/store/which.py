"""By which words a read of a store chooses its samples."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, ParamSpec, TypedDict, TypeVar

import numpy as np
import pandas as pd

from ldmscene.errors import InputError, nearest, unknown
from ldmscene.selection import several


class Which(TypedDict, total=False):
    """Words by which every read chooses samples. All that are said hold at once.

    Attributes
    ----------
    samples : str or sequence of str
        These sample_ids, in this order.
    prompt : str or sequence of str
        The samples of these prompts.
    seed : int or sequence of int
        The samples of these seeds.
    where : callable or sequence of bool
        A function of the manifest's table (`store.manifest.frame`, a row for each sample) that says of each row
        whether it is wanted, or its answer.
    """

    samples: str | Sequence[str] | None
    prompt: str | Sequence[str] | None
    seed: int | Sequence[int] | None
    where: Callable[[pd.DataFrame], Any] | Sequence[bool] | pd.Series | None


Self = TypeVar("Self")
Params = ParamSpec("Params")
Result = TypeVar("Result")


def reads(
    method: Callable[Concatenate[Self, Params], Result],
) -> Callable[Concatenate[Self, Params], Result]:
    """A method that takes `Which` beside its own parameters, and refuses other words by its own name.

    Raises
    ------
    TypeError
        With the nearest word that it takes.
    """
    _, *own = inspect.signature(method).parameters.values()
    known = [one.name for one in own if one.kind is not one.VAR_KEYWORD] + [*Which.__annotations__]

    @functools.wraps(method)
    def read(self: Self, /, *args: Params.args, **words: Params.kwargs) -> Result:
        for word in words.keys() - set(known):
            near = nearest(word, known, 1)
            advice = f"; did you mean {near[0]}=" if near else ""
            raise TypeError(f"{method.__name__}() got an unexpected keyword argument {word!r}{advice}")
        return method(self, *args, **words)

    return read


def chosen(
    frame: pd.DataFrame,
    *,
    prompt: str | Sequence[str] | None = None,
    seed: int | Sequence[int] | None = None,
    where: Callable[[pd.DataFrame], Any] | Sequence[bool] | pd.Series | None = None,
) -> np.ndarray:
    """Whether each row of a manifest's table is wanted.

    Raises
    ------
    UnknownNameError
        If no sample has one of the prompts.
    InputError
        If `where` doesn't answer True or False for each row.
    """
    wanted = np.ones(len(frame), dtype=bool)
    if prompt is not None:
        prompts, known = several(prompt), set(frame["prompt"])
        for one in prompts:
            if one not in known:
                raise unknown("prompt in this store", one, frame["prompt"].unique())
        wanted &= frame["prompt"].isin(prompts)
    if seed is not None:
        wanted &= frame["seed"].isin(several(seed))
    return wanted if where is None else wanted & _answers(frame, where)


def _answers(frame: pd.DataFrame, where: Any) -> np.ndarray:
    answers = np.asarray(where(frame.copy()) if callable(where) else where)
    if answers.shape != (len(frame),) or answers.dtype != bool:
        raise InputError(
            f"where: expected True or False for each of the {len(frame)} samples, got {answers.dtype} of shape "
            f"{answers.shape}; for example where=lambda samples: samples['seed'] < 3"
        )
    return answers


def remedy(dropped: bool, *, many: bool = False) -> str:
    """What there is to do where samples lack an array, or several, for a message."""
    if not dropped:
        return "extract them" if many else "extract or label it first"
    were, their, them = ("they were", "their", "them") if many else ("it was", "its", "it")
    return f"{were} dropped for {their} statistics; make another store with keep='activations' to read {them}"


def said(which: Which) -> str:
    """The words in words, for a message."""
    told = {name: value for name, value in which.items() if value is not None}
    return " and ".join("what where= asks for" if name == "where" else f"{name} {told[name]!r}" for name in told)
