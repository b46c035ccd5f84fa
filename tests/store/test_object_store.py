"""The whole path on an S3-speaking server, against the same path on a local disk."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

import ldmscene
from ldmscene.store.layout import LEDGER
from ldmscene.store.locations import files_with
from tests.conftest import FIRST, make_manifest
from tests.store.conftest import contents
from tests.test_cli import call


@pytest.fixture(scope="module")
def filled(s3, tiny) -> ldmscene.ActivationStore:
    manifest = make_manifest(4, 2)
    store = ldmscene.extract(tiny, manifest, f"{s3}/filled", [FIRST], steps=2, batch_size=6)
    return ldmscene.label(store, "mask", "tiny-mask")


def test_extract_and_label_leave_the_same_bytes_as_on_a_disk(filled, tiny, tmp_path):
    local = ldmscene.extract(tiny, make_manifest(4, 2), tmp_path / "s", [FIRST], steps=2, batch_size=6)
    ldmscene.label(local, "mask", "tiny-mask")
    assert contents(filled.root) == contents(local.root)
    np.testing.assert_array_equal(filled.labels("mask"), local.labels("mask"))


def test_the_same_call_runs_nothing(filled, tiny, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the denoiser ran")

    monkeypatch.setattr(tiny.unet, "forward", refuse)
    again = ldmscene.extract(tiny, make_manifest(4, 2), str(filled.root), [FIRST], steps=2, batch_size=6)
    assert again.samples["complete"].all()


def test_evaluate_keeps_its_grid_there_and_the_report_is_local(filled, tmp_path):
    grid = ldmscene.evaluate(str(filled.root), ["mask"], cv=2, alphas=[1.0, 100.0])
    assert len(files_with(filled.location, "probes", ".nc")) == 1
    xr.testing.assert_identical(ldmscene.evaluate(filled, ["mask"], cv=2, alphas=[1.0, 100.0]), grid)
    assert ldmscene.write_report(filled, grid, tmp_path / "report").exists()


def test_the_command_line_takes_the_url(filled, tmp_path):
    code, out, err = call("info", filled.root, "--json")
    assert code == 0, err
    assert json.loads(out)["store"] == str(filled.root)
    assert call("verify", filled.root)[0] == 0
    make_manifest(1, 1).to_csv(tmp_path / "m.csv")
    url = f"{filled.root}-cli"
    code, _, err = call("extract", "tiny-scenes", tmp_path / "m.csv", "--store", url, "--modules", FIRST, "--steps", 1)
    assert code == 0, err
    where = ldmscene.open(url).location
    key, *_ = files_with(where, LEDGER, ".parquet")
    where.write(key, b"damaged")
    code, out, err = call("verify", url)
    assert code == 2
    assert key in out
    assert f"ldmscene repair {url}" in err
    assert call("repair", url)[0] == 0
    assert call("verify", url)[0] == 0
