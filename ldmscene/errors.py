"""What can go wrong, and whose turn it is.

    LdmsceneError
    ├── InputError (also ValueError)   what the caller passed; change the argument
    │   ├── ManifestError              a table of samples that can't be used
    │   ├── UnknownNameError (also KeyError)   a module, target, preset or sample that doesn't exist
    │   └── ShapeError                 arrays that don't fit each other
    └── StoreError                     what lies on disk
        ├── FingerprintError           a store that was made with another configuration
        ├── IncompleteError            samples or labels that aren't there yet
        ├── CorruptError               bytes that aren't what the ledger says
        ├── UnreachableError (also OSError)   an object store that doesn't answer, or refuses
        └── WriteError                 the disk is full, read-only or gone

    LeakWarning (a UserWarning)        samples of two splits that are one to a model
    ControlWarning (a UserWarning)     a grid without the control with permuted weights
    LabelWarning (a UserWarning)       labels of which nothing can be learnt

Every message says what was expected, what arrived and what to try.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from ldmscene.text import printable


class LdmsceneError(Exception):
    """Anything that ldmscene raises on purpose. Its message may quote a store, and never steers a terminal."""

    def __str__(self) -> str:
        return printable(Exception.__str__(self))  # KeyError's own puts it between quotes


class InputError(LdmsceneError, ValueError):
    """An argument that can't be used."""


class ManifestError(InputError):
    """A manifest that can't be used."""


class UnknownNameError(InputError, KeyError):
    """A name that doesn't exist where it was looked up."""


class NonfiniteError(LdmsceneError):
    """Values of samples are infinite or NaN."""


class ShapeError(InputError):
    """Arrays that don't fit each other."""


class StoreError(LdmsceneError):
    """A store that can't be used as asked."""


class FingerprintError(StoreError):
    """A store that was made with another configuration."""


class IncompleteError(StoreError):
    """Samples or labels that aren't there yet."""


class CorruptError(StoreError):
    """Bytes that aren't what the ledger says."""


class UnreachableError(StoreError, OSError):
    """An object store that doesn't answer, or refuses; `strerror` is the cause alone."""


class WriteError(StoreError):
    """A store that can't be written to."""


class LeakWarning(UserWarning):
    """Samples of two splits that are one to a model; `extract(..., leaks="refuse")` makes them an error."""


class ControlWarning(UserWarning):
    """A grid without the control with permuted weights; `evaluate(permuted=…)` reads one."""


class LabelWarning(UserWarning):
    """Labels of which nothing can be learnt: no pixel has one, or all are equal."""


def unknown(kind: str, name: object, known: Iterable[str]) -> UnknownNameError:
    """The error for a name that doesn't exist, with the nearest ones that do."""
    known = list(known)
    near = nearest(str(name), known) or known[:3]
    return UnknownNameError(f"no {kind} named {name!r}; nearest: {', '.join(near) or 'there are none'}")


def nearest(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """Known names that are most like one, as a whole or by as many of their first or last dotted parts as it has.

    Examples
    --------
    >>> nearest("up.attn2", ["down.0.attn1", "down.0.attn2", "up.0.attn2"], most=1)
    ['up.0.attn2']
    """
    length, forms = name.count(".") + 1, dict[str, list[str]]()
    for other in known:
        parts = other.split(".")
        for form in dict.fromkeys((other, ".".join(parts[:length]), ".".join(parts[-length:]))):
            forms.setdefault(form, []).append(other)
    near = difflib.get_close_matches(name, forms, n=most, cutoff=0.4)
    return list(dict.fromkeys(other for form in near for other in forms[form]))[:most]
