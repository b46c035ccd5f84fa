"""Options as values: from the fields of a frozen dataclass a call has its signature, its checks and its documentation.

A field's metadata is made by `about`. `takes` makes a function of such a value one of keyword arguments; the command
line has its options from the same fields (`ldmscene.parameters.options_of`).
"""

from __future__ import annotations

import functools
import inspect
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import MISSING, Field, dataclass, fields
from numbers import Integral, Real
from typing import Any, ParamSpec, TypeVar

from ldmscene.errors import InputError

P = ParamSpec("P")
Value = TypeVar("Value")
Result = TypeVar("Result")
ABOUT = "about"
_KINDS: dict[str, tuple[Any, str]] = {
    "int": (Integral, "a whole number"),
    "float": (Real, "a number"),
    "str": (str, "text"),
}


@dataclass(frozen=True)
class About:
    """What a field says of itself.

    Attributes
    ----------
    text : str
        Its documentation. The command line shows the first sentence.
    choices : tuple of str
        The only values there are; any where empty.
    least : int, optional
        The least value there is.
    plan : bool
        It decides what a run captures, and so belongs to the plan and to the store's fingerprint.
    flag : str, optional
        The command line's name of it; made from the field's where None. "" for none.
    typed : type, optional
        Of one value on the command line; that of the default where None.
    many : bool
        It may be repeated on the command line.
    """

    text: str
    choices: tuple[str, ...] = ()
    least: int | None = None
    plan: bool = False
    flag: str | None = None
    typed: type | None = None
    many: bool = False


def about(text: str, **more: Any) -> dict[str, About]:
    """Metadata of a field, as `About` has them; text may be indented and broken into lines as one likes."""
    return {ABOUT: About(" ".join(text.split()), **more)}


def about_of(option: Field[Any]) -> About:
    """What a field says of itself."""
    about: About = option.metadata[ABOUT]
    return about


def check(value: Any) -> None:
    """Refuse a value with a field that is no number or text where one is wanted, none of its choices, or too small.

    None passes where the field's type or default says so.

    Raises
    ------
    InputError
        Which names the field and what would do.
    """
    for option in fields(value):
        told, found = about_of(option), getattr(value, option.name)
        if found is None and (option.default is None or str(option.type).endswith("| None")):
            continue
        kind, words = _KINDS.get(str(option.type).removesuffix(" | None"), (object, ""))
        if not isinstance(found, kind):
            raise InputError(f"{option.name} must be {words}, got {found!r}")
        if told.many and not isinstance(found, Iterable):
            wanted = "a name or a list of names" if told.typed is str else "a list of numbers"
            raise InputError(f"{option.name} must be {wanted}, got {found!r}")
        if told.choices and found not in told.choices:
            raise InputError(f"{option.name} must be one of {', '.join(told.choices)}; got {found!r}")
        if told.least is not None and not found >= told.least:
            raise InputError(f"{option.name} must be at least {told.least}, got {found}")


def takes(options: Callable[P, Value]) -> Callable[[Callable[[Value], Result]], Callable[P, Result]]:
    """Make a function of one value a function of its fields.

    `{parameters}` in its docstring becomes their documentation.
    """

    def decorate(function: Callable[[Value], Result]) -> Callable[P, Result]:
        returns = inspect.signature(function).return_annotation
        signature = inspect.Signature(_parameters(options), return_annotation=returns)

        @functools.wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> Result:
            try:
                signature.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{function.__name__}() {error}") from None
            return function(options(*args, **kwargs))

        called.__doc__ = documented(function.__doc__ or "", options)
        vars(called)["__signature__"] = signature
        del called.__wrapped__  # it takes something else
        return called

    return decorate


def documented(text: str, options: Any) -> str:
    """A docstring with the fields' own documentation in the place of its `{parameters}`."""
    listed = "\n".join(_described(option) for option in fields_of(options))
    return inspect.cleandoc(text).replace("{parameters}", listed)


def fields_of(options: Any) -> list[Field[Any]]:
    """In the order of the constructor's parameters, with what several kinds of options share at the end."""
    by_name = {option.name: option for option in fields(options)}
    return [by_name[parameter.name] for parameter in _parameters(options)]


def _parameters(options: Any) -> list[inspect.Parameter]:
    shared = inspect.get_annotations(options.__mro__[-2])
    return sorted(inspect.signature(options).parameters.values(), key=lambda one: (one.kind, one.name in shared))


def _described(option: Field[Any]) -> str:
    told = about_of(option)
    kind = f"{{{', '.join(map(repr, told.choices))}}}" if told.choices else str(option.type)
    default = "" if option.default is MISSING else f", default {option.default!r}"
    return f"{option.name} : {kind}{default}\n" + textwrap.indent(textwrap.fill(told.text, 100), "    ")
