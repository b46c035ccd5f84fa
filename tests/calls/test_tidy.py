from __future__ import annotations

import json

import numpy as np
import pytest

import ldmscene
from ldmscene.errors import InputError
from ldmscene.store import layout
from ldmscene.store.history import publish
from tests.conftest import files
from tests.store import worlds
from tests.test_cli import call


@pytest.fixture
def evaluated(tmp_path):
    """A small store with statistics, a grid and something that repair set aside."""
    store = worlds.make(tmp_path / "store", 6)
    ldmscene.label(store, "depth", lambda images: images.mean(-1, dtype=np.float32), progress=False)
    ldmscene.evaluate(store, alphas=[1.0, 100.0], cv=2, progress=False)
    (store.root / "probes" / "grid-0.broken").write_bytes(b"x" * 100)
    return store


def _bytes(root, name: str, suffix: str = "") -> int:
    return sum(len(data) for path, data in files(root).items() if path.startswith(name) and path.endswith(suffix))


def test_info_counts_all_that_lies_there(evaluated):
    code, out, _ = call("info", evaluated.root, "--json")
    assert code == 0
    facts = json.loads(out)
    assert facts["beside"] == {
        "ledger and metadata": _bytes(evaluated.root, "ledger") + _bytes(evaluated.root, "statistics/README"),
        "statistics": _bytes(evaluated.root, "statistics", ".safetensors"),
        "grids": _bytes(evaluated.root, "probes", ".nc"),
        "set aside by repair": 100,
    }
    shards = sum(len(data) for path, data in files(evaluated.root).items() if "/c." in path)
    assert facts["bytes"] == shards + sum(facts["beside"].values())
    assert "statistics" in call("info", evaluated.root)[1]


def test_what_can_be_made_again_is_deleted_and_made_again(evaluated):
    before = files(evaluated.root)
    grid = ldmscene.evaluate(evaluated, alphas=[1.0, 100.0], cv=2, progress=False)
    most = ldmscene.tidy(evaluated, dry_run=True)
    assert files(evaluated.root) == before
    assert ldmscene.tidy(evaluated, statistics=False) == _all(before) - _all(files(evaluated.root))
    code, out, _ = call("tidy", evaluated.root, "--json")
    assert code == 0
    assert most == _all(before) - _all(files(evaluated.root)) > json.loads(out)["bytes"] > 0
    left = files(evaluated.root)
    assert left == {path: data for path, data in before.items() if path in left}
    assert not [path for path in left if path.endswith((".safetensors", ".nc", ".broken"))]
    again = ldmscene.evaluate(evaluated, alphas=[1.0, 100.0], cv=2, progress=False)
    np.testing.assert_array_equal(again["probe"], grid["probe"])


def _all(found: dict[str, bytes]) -> int:
    return sum(map(len, found.values()))


def test_statistics_in_the_place_of_activations_stay(evaluated):
    terms = json.dumps({"targets": ["depth"], "cv": 2}).encode()
    publish(evaluated.root, lambda _: {layout.TERMS: terms})
    before = files(evaluated.root)
    with pytest.raises(InputError, match="statistics=False"):
        ldmscene.tidy(evaluated.root)
    assert files(evaluated.root) == before
