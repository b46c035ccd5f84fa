"""What a report is told by a store."""

import json

import pytest

import ldmscene
from ldmscene.errors import InputError, UnknownNameError
from ldmscene.stages.reporting import about, report_data
from tests.conftest import LAST


@pytest.fixture(scope="module")
def grid(store) -> ldmscene.Grid:
    return ldmscene.evaluate(store, "depth", LAST, [1, 3], cv=3)


def test_a_store_is_told_by_its_models_name_and_its_manifest(store, grid):
    told = report_data(store, grid).provenance
    assert told["model"] == {"name": "tiny-scenes", "pipeline": "StableDiffusionPipeline"}
    counts = {name: told["manifest"][name] for name in ("samples", "prompts", "train", "test")}
    assert counts == {"samples": 20, "prompts": store.manifest.frame["prompt_id"].nunique(), "train": 14, "test": 6}
    assert told["fingerprint"] == store.fingerprint
    assert json.loads(json.dumps(told)) == told
    assert about(store).items() <= told.items()


def test_held_out_samples_are_shown_all_so_many_or_by_name(store, grid):
    held_out = grid["sample"].values.tolist()
    assert list(report_data(store, grid).samples.index) == held_out
    assert list(report_data(store, grid, 2).samples.index) == held_out[:2]
    assert list(report_data(store, grid, 99).samples.index) == held_out
    some = report_data(store, grid, [held_out[4], held_out[1], held_out[4]])
    assert list(some.samples.index) == list(some.image["sample"]) == [held_out[4], held_out[1]]
    with pytest.raises(InputError, match="at least 1"):
        report_data(store, grid, 0)
    with pytest.raises(UnknownNameError, match="held-out sample"):
        report_data(store, grid, ["p9999-s1"])


def test_the_page_says_how_many_are_shown(store, grid, tmp_path):
    page = ldmscene.write_report(store, grid, tmp_path / "report", samples=2)
    assert "2 of 6 held-out samples are shown" in page.read_text()
    assert len(list((page.parent / "samples").iterdir())) == 2
    assert "What tiny-scenes knows" in page.read_text()
