"""What an intervention will take, said before it begins; nothing is written."""

from __future__ import annotations

import json

import pytest

import ldmscene
from ldmscene.extraction.estimate import Timing
from ldmscene.intervention import jobs
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
    assert all(value > 0 for value in each.values())


def test_its_seconds_are_those_of_each_rules_runs_after_one_of_each_was_timed(
    store, edit, edited, tiny, tmp_path, monkeypatch
):
    told = {"conditional": Timing(10.0, 2.0, 0.5), "donor": Timing(20.0, 3.0, 0.25)}
    asked = []

    def timed(*_, editing):
        asked.append(editing.edit.rule_name)
        return told[asked[-1]]

    monkeypatch.setattr(jobs, "time_first", timed)
    options = {"controls": CONTROLS, "model": tiny, "batch_size": 6, "dry_run": True, "previews": "test"}
    found = ldmscene.intervene(store, edit, tmp_path / "new", **options)
    others = len(controls_of(edited))  # the edit and its controls but for the donor
    previews = 2 * 6  # of x_t and of predicted x_0, for each sample
    assert sorted(asked) == ["conditional", "donor"]
    assert found["seconds"] == 10 + others * (6 * 2 + previews * 0.5) + 20 + 6 * 3 + previews * 0.25


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
