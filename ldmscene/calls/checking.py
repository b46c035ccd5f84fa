"""What can be refused before torch is loaded: paths and names that lead nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from ldmscene.choices import EMBEDDED
from ldmscene.errors import InputError
from ldmscene.extraction.options import INDEX
from ldmscene.hub import check_there
from ldmscene.manifest import Manifest
from ldmscene.store.metadata import read_store
from ldmscene.store.places import Place, place

TABLES = (".csv", ".tsv", ".parquet")


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


def check_order(model: Any) -> None:
    """Refuse a manifest in a model's place.

    Raises
    ------
    InputError
        Which says what the order is.
    """
    named = isinstance(model, str | Path) and Path(model).suffix.lower() in TABLES
    if named or isinstance(model, Manifest | pd.DataFrame | list):
        what = repr(str(model)) if named else f"a {type(model).__name__}"
        raise InputError(f"model: expected a name, a folder or a pipeline, got {what}; the manifest comes after it")
    if not isinstance(model, str | Path) and not any(hasattr(model, name) for name in ("components", "pipeline")):
        raise InputError(
            f"model: expected a name, a folder or a whole pipeline, got {type(model).__name__}; pass the "
            "pipeline rather than a part of it"
        )
