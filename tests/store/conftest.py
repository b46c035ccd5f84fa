"""Every kind of place that a store may lie in."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from zarr.abc.store import Store
from zarr.storage import LocalStore, ObjectStore

from ldmscene.store import layout
from ldmscene.store.ledger import Ledger
from ldmscene.store.locations import Location, location
from ldmscene.store.objects import ObjectPath, _client, _settings
from ldmscene.store.places import Place

_NAMES = (f"case-{i}" for i in itertools.count())


def contents(root: Place) -> dict[str, bytes]:
    """Every file or object of a store, by its relative name; of the ledger, rows without their time."""
    where = location(root)
    found = {key: where.read(key) for key in _keys(where, "")}
    return {name: data for name, data in found.items() if not name.startswith(layout.LEDGER)} | {
        "rows": rows_of(Ledger(root).rows())
    }


def _keys(where: Location, folder: str) -> Iterator[str]:
    files, folders = where.names(folder)
    yield from (f"{folder}/{name}".lstrip("/") for name in files)
    for name in folders:
        yield from _keys(where, f"{folder}/{name}".lstrip("/"))


def zarr_store(folder: Place) -> Store:
    """A place as zarr-python reads it, without ldmscene."""
    if isinstance(folder, ObjectPath):
        return ObjectStore(_client(str(folder), _settings()), read_only=True)
    return LocalStore(folder, read_only=True)


def rows_of(ledger: pd.DataFrame) -> bytes:
    return ledger.drop(columns="written").sort_values(["sample_id", "what"]).to_csv(index=False).encode()


@pytest.fixture(params=["folder", "s3"])
def new_root(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Names an empty place of each kind that a store may lie in."""
    bases = {"folder": lambda: str(tmp_path), "s3": lambda: request.getfixturevalue("s3")}
    base = bases[request.param]()
    return lambda: f"{base}/{next(_NAMES)}"


@pytest.fixture
def root(new_root: Callable[[], str]) -> str:
    return new_root()
