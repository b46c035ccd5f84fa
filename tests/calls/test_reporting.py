"""What a report is told by a store."""

import json

import pytest

import ldmscene
from ldmscene.calls import write_report
from ldmscene.calls.report_data import report_data, shown_samples
from ldmscene.calls.report_mark import up_to_date
from ldmscene.errors import InputError, UnknownNameError, UnreachableError
from ldmscene.evaluation.provenance import about
from ldmscene.report import write_site
from ldmscene.store.reader import ShardArray
from tests.conftest import LAST
from tests.test_cli import call


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


def test_a_report_reads_the_pictures_that_it_shows_and_no_more(store, grid, monkeypatch):
    data, read = report_data(store, grid, 3), []
    monkeypatch.setattr(ShardArray, "read", lambda *a, f=ShardArray.read: read.append((a[1], a[2])) or f(*a))
    assert data.noisy[1].compute(scheduler="synchronous").shape[0] == 2
    (row,) = store.rows([data.samples.index[1]])  # one of six in its block
    assert sorted((*samples, *select["step"]) for samples, select in read) == [(row, 1), (row, 3)]


def test_a_report_that_was_stopped_or_shows_other_samples_is_not_up_to_date(store, grid, tmp_path, monkeypatch):
    shown = shown_samples(store, grid)
    page = ldmscene.write_report(store, grid, tmp_path / "report")
    assert up_to_date(page.parent, grid, shown) == page
    ldmscene.write_report(store, grid, page.parent, samples=2)
    assert up_to_date(page.parent, grid, shown) is None
    assert up_to_date(page.parent, grid, shown[:2]) == page
    monkeypatch.setattr(write_report, "write_site", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        ldmscene.write_report(store, grid, page.parent, samples=2)
    assert up_to_date(page.parent, grid, shown[:2]) is None


def test_a_bucket_that_is_gone_is_not_taken_for_the_reports_folder(store, grid, tmp_path, monkeypatch):
    def gone(*_):
        raise UnreachableError("s3://bucket/store: the object store doesn't answer")

    data = report_data(store, grid)
    monkeypatch.setattr(ShardArray, "read", gone)
    with pytest.raises(UnreachableError, match="s3://bucket/store"):
        write_site(data, tmp_path / "report")
    with pytest.raises(UnreachableError, match="s3://bucket/store"):
        ldmscene.write_report(store, grid, tmp_path / "other")


def test_no_report_is_written_into_a_store_or_a_folder_of_other_things(store, grid, tmp_path):
    (tmp_path / "diary").write_text("private")
    for folder, name in ((store.root, "activations.zarr"), (tmp_path, "diary")):
        with pytest.raises(InputError, match=rf"an empty one or an earlier report, got .* with {name}"):
            ldmscene.write_report(store, grid, folder)
        code, _, err = call("report", store.root, folder, "--targets", "nobody-looks-at-this-first")
        assert code == 2
        assert f"with {name}" in err
    assert [path.name for path in tmp_path.iterdir()] == ["diary"]


def test_the_page_says_how_many_are_shown(store, grid, tmp_path):
    page = ldmscene.write_report(store, grid, tmp_path / "report", samples=2)
    assert "2 of 6 held-out samples are shown" in page.read_text()
    assert len(list((page.parent / "samples").iterdir())) == 2
    assert "What tiny-scenes knows" in page.read_text()
