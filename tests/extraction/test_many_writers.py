"""Several writers fill one store: by parts, on a cluster, or the same thing twice at once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import ldmscene
from ldmscene import testbed
from ldmscene.calls import extracting
from ldmscene.errors import InputError, LdmsceneError
from ldmscene.store import layout
from tests.conftest import FIRST, files, make_manifest


def _extract(model, manifest, root, **options):
    return ldmscene.extract(model, manifest, root, [FIRST], **({"steps": 2, "batch_size": 2} | options))


def _arrays(root: Path) -> dict[str, bytes]:
    return {name: data for name, data in files(root).items() if not name.startswith(layout.LEDGER)}


def _rows(store) -> list:
    """The ledger without times."""
    frame = store.ledger.drop(columns="written").sort_values(["sample_id", "what"])
    return frame.to_numpy().tolist()


def test_parts_make_up_the_whole_and_share_nothing(tiny, tmp_path):
    manifest, done = make_manifest(7, 2), []
    whole = _extract(tiny, manifest, tmp_path / "whole")
    for part in ("2/3", "3/3", "1/3"):
        store = _extract(tiny, manifest, tmp_path / "parts", part=part)
        done.append(set(store.samples.query("complete")["sample_id"]))
    assert [len(ids) for ids in done] == [3, 5, 9]  # five batches, the last of one sample
    assert _arrays(store.root) == _arrays(whole.root)
    assert _rows(store) == _rows(whole)


@pytest.mark.parametrize("part", ["0/3", "4/3", "1", "a/b", "1/0"])
def test_a_part_that_is_none_is_refused(tiny, tmp_path, part):
    with pytest.raises(InputError, match="part must be like 1/4"):
        _extract(tiny, make_manifest(2, 1), tmp_path / "s", part=part)
    assert not (tmp_path / "s").exists()


def test_a_cluster_needs_a_model_that_its_workers_can_load(tiny, tmp_path):
    with pytest.raises(InputError, match="each worker loads a pipeline of its own"):
        _extract(tiny, make_manifest(2, 1), tmp_path / "s", client=object())


def _command(root: Path, table: Path, *more: str) -> list[str]:
    words = ["extract", "tiny-scenes", str(table), "--store", str(root), "--modules", FIRST]
    return [sys.executable, "-m", "ldmscene.cli", *words, "--steps", "2", "--batch-size", "2", *more]


def _at_once(*commands: list[str]) -> None:
    """Processes with one thread each, since sums in another number of threads round differently."""
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = [subprocess.Popen(c, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=alone) for c in commands]
    for process in started:
        _, err = process.communicate()
        assert process.returncode == 0, err.decode()


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("table") / "m.csv"
    make_manifest(7, 2).to_csv(path)
    return path


@pytest.fixture(scope="module")
def undisturbed(table, tmp_path_factory):
    root = tmp_path_factory.mktemp("undisturbed") / "s"
    _at_once(_command(root, table))
    return ldmscene.open(root)


@pytest.mark.slow
@pytest.mark.parametrize("parts", [("1/4", "2/4", "3/4", "4/4"), ("1/1", "1/1")], ids=["four", "twice"])
def test_processes_that_start_at_once_fill_one_store(tmp_path, table, undisturbed, parts):
    _at_once(*(_command(tmp_path / "s", table, "--part", part) for part in parts))
    store = ldmscene.open(tmp_path / "s")
    assert store.samples["complete"].all()
    assert _arrays(store.root) == _arrays(undisturbed.root)
    assert _rows(store) == _rows(undisturbed)


@pytest.fixture
def client():
    from dask.distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        yield client


WARNED = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")


@pytest.mark.slow
@WARNED
def test_a_cluster_with_a_pipeline_for_each_worker_fills_one_store(tmp_path, undisturbed, client, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # where the workers aren't
    store = _extract(testbed.MODELS["tiny-scenes"], make_manifest(7, 2), "s", client=client)
    assert "memory for samples: at most" in capsys.readouterr().err
    with pytest.raises(Exception, match="nothing like it"):
        ldmscene.extract(
            testbed.MODELS["tiny-scenes"], make_manifest(2, 1), tmp_path / "t", ["nothing like it"], client=client
        )
    assert _arrays(tmp_path / "s") == _arrays(undisturbed.root)
    assert _rows(store) == _rows(undisturbed)
    images = [
        path.stem.split("-")[0]
        for path in (store.root / layout.LEDGER).glob("*.parquet")
        if layout.IMAGE in pq.read_table(path)["what"].to_pylist()
    ]
    assert len(set(images)) == 2  # both workers did their part


@pytest.mark.slow
@WARNED
def test_a_worker_that_is_killed_is_stood_in_for(tmp_path, undisturbed, client):
    victim, killed = next(iter(client.run(os.getpid).values())), threading.Event()

    def kill_once_under_way() -> None:
        for _ in range(30_000):
            if any((tmp_path / "s").rglob(f"{layout.IMAGE}/c.*")):
                os.kill(victim, signal.SIGKILL)
                return killed.set()
            time.sleep(0.01)
        return None

    watcher = threading.Thread(target=kill_once_under_way)
    watcher.start()
    store = _extract(testbed.MODELS["tiny-scenes"], make_manifest(7, 2), tmp_path / "s", client=client)
    watcher.join()
    assert killed.is_set()
    assert victim not in client.run(os.getpid).values()
    assert _arrays(store.root) == _arrays(undisturbed.root)
    assert _rows(store) == _rows(undisturbed)
    assert store.samples["complete"].all()
    assert ldmscene.verify(store) == []


@pytest.mark.slow
@WARNED
def test_samples_that_workers_left_missing_are_named(tmp_path, client, monkeypatch):
    model, manifest, real = tmp_path / "model", make_manifest(2, 1), extracting.extract_on
    shutil.copytree(testbed.MODELS["tiny-scenes"], model)

    def lost_on_the_way(*arguments):
        shutil.rmtree(model)
        return real(*arguments)

    monkeypatch.setattr(extracting, "extract_on", lost_on_the_way)
    ids = ", ".join(manifest.frame["sample_id"])
    with pytest.raises(
        LdmsceneError, match=f"3 of 3 samples are missing .*: {ids}; the first failure of 2: .* is no local folder"
    ):
        _extract(model, manifest, tmp_path / "s", client=client)
