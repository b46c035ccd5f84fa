"""What an intervention will take, said before it begins; nothing is written."""

from __future__ import annotations

import json

import pytest

import ldmscene
from ldmscene.intervention.controls import controls_of
from tests.conftest import files
from tests.intervention.conftest import CONTROLS
from tests.test_cli import call


def test_a_dry_run_foretells_what_the_run_then_wrote(store, edit, edited, tiny, tmp_path):
    options = {"controls": CONTROLS, "model": tiny, "batch_size": 6, "dry_run": True}
    found = ldmscene.intervene(store, edit, tmp_path / "new", **options)
    assert not list(tmp_path.iterdir())
    stores = [edited, *controls_of(edited).values()]
    ledgers = [one.ledger[~one.ledger["what"].str.startswith("labels")] for one in stores]
    assert found["samples"] == 6
    assert found["runs"] == 6 * len(stores)
    assert found["denoiser_calls"] == 4 * found["runs"]
    assert found["bytes"] == pytest.approx(sum(ledger["bytes"].sum() for ledger in ledgers), rel=0.01)
    each = {name: value for name, value in found.items() if name.startswith("seconds_per_sample_of_")}
    assert set(each) == {"seconds_per_sample_of_conditional", "seconds_per_sample_of_donor"}
    assert min(each.values()) * found["runs"] <= found["seconds"]


def test_a_finished_one_takes_nothing_more(store, edit, edited, tiny):
    before = files(edited.root)
    found = ldmscene.intervene(store, edit, edited.root, controls=CONTROLS, model=tiny, batch_size=6, dry_run=True)
    assert set(found.values()) == {0}
    assert files(edited.root) == before


def test_the_command_line_says_it_too(store, tmp_path):
    words = ["intervene", store.root, "mask", "--edited", tmp_path / "new", "--wanted", "shift:0,16", "--steps", "0"]
    words += ["--modules", "best:1", "--control", "none", "--samples", "2", "--batch-size", "2", "--dry-run"]
    code, out, err = call(*words, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert (found["samples"], found["runs"], found["denoiser_calls"]) == (2, 4, 16)
    assert not list(tmp_path.iterdir())
