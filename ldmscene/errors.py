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

Every message says what was expected, what arrived and what to try.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from ldmscene.text import printable


class LdmsceneError(Exception):
    """Anything that ldmscene raises on purpose. Its message may quote a store, and never steers a terminal."""

    def __str__(self) -> str:
        return printable(super().__str__())


class InputError(LdmsceneError, ValueError):
    """An argument that can't be used."""


class ManifestError(InputError):
    """A manifest that can't be used."""


class UnknownNameError(InputError, KeyError):
    """A name that doesn't exist where it was looked up."""


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
    """Samples of two splits that are one to a model; `warnings.simplefilter("error", LeakWarning)` refuses them."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """The error for a name that doesn't exist, with the nearest ones that do."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known[:3]
    return UnknownNameError(f"no {kind} named {name!r}; nearest: {', '.join(near) or 'there are none'}")
