"""What can be refused before torch is loaded: paths and names that lead nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ldmscene.extraction.options import EMBEDDED, INDEX
from ldmscene.hub import check_there
from ldmscene.store.metadata import read_store
from ldmscene.store.places import Place, place


def check_place(store: str | Place | None) -> None:
    """Refuse a place where no store can be, or something else is.

    Raises
    ------
    StoreError or InputError
        Which says why.
    """
    if store is not None:
        read_store(place(store))


def check_model(model: Any, revision: str | None = None) -> None:
    """Refuse a model that is named and isn't there; a loaded pipeline is let through.

    Raises
    ------
    InputError
        Which says where it was looked for.
    """
    if isinstance(model, str | Path) and str(model) != EMBEDDED:
        check_there(str(model), INDEX, revision)
