"""Every kind of place that a store may lie in."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ldmscene.store import layout
from ldmscene.store.ledger import Ledger
from ldmscene.store.places import Place

_NAMES = (f"case-{i}" for i in itertools.count())


def contents(root: Place) -> dict[str, bytes]:
    """Every file or object of a store, by its relative name; of the ledger, rows without their time."""
    found = dict(_walk(root, ""))
    return {name: data for name, data in found.items() if not name.startswith(layout.LEDGER)} | {"rows": _rows(root)}


def _walk(folder: Place, prefix: str) -> Iterator[tuple[str, bytes]]:
    for path in folder.iterdir():
        if path.is_file():
            yield prefix + path.name, path.read_bytes()
        else:
            yield from _walk(path, f"{prefix}{path.name}/")


def _rows(root: Place) -> bytes:
    rows = Ledger(root / layout.LEDGER).rows().drop(columns="written").sort_values(["sample_id", "what"])
    return rows.to_csv(index=False).encode()


@pytest.fixture(params=["folder", "s3"])
def new_root(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Names an empty place of each kind that a store may lie in."""
    base = str(tmp_path) if request.param == "folder" else request.getfixturevalue("s3")
    return lambda: f"{base}/{next(_NAMES)}"


@pytest.fixture
def root(new_root: Callable[[], str]) -> str:
    return new_root()
