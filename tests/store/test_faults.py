"""What happens when processes are killed, when several write at once, and when the disk or the server fails."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ldmscene.errors import WriteError
from ldmscene.store import ActivationStore, files, layout
from ldmscene.store.check import find_faults
from ldmscene.store.ledger import Entry, Ledger
from ldmscene.store.metadata import read_root
from ldmscene.store.places import place
from tests.conftest import server_environment
from tests.store import worlds
from tests.store.conftest import contents

_SPAWN = multiprocessing.get_context("forkserver")
_SPAWN.set_forkserver_preload(["tests.store.worlds", "obstore.store"])


def _process(work: Callable, *arguments: object) -> multiprocessing.Process:
    """A process of its own, quick to start, with this moment's endpoint and credentials."""
    return _SPAWN.Process(target=_work, args=(dict(os.environ), work, *arguments))


def _work(environment: dict[str, str], work: Callable, *arguments: object) -> None:
    os.environ.update(environment)
    work(*arguments)


def _fill_slowly(root: str, samples: int, begun) -> None:
    """A run that is killed sooner or later."""
    begun.set()
    store = worlds.prepare(root, samples)
    for index in np.flatnonzero(~store.samples["complete"]).tolist():
        worlds.fill(store, [index])


@pytest.mark.parametrize("kills", [5, pytest.param(60, marks=pytest.mark.slow)])
def test_killed_at_random_moments_a_store_ends_as_an_undisturbed_one(root, tmp_path, kills):
    samples, draw, done, longest = 4 * kills, np.random.default_rng(kills), 0, 0.3
    while done < kills:
        begun = _SPAWN.Event()
        process = _process(_fill_slowly, root, samples, begun)
        process.start()
        begun.wait()
        process.join(draw.uniform(0, longest))
        if process.exitcode is None:
            process.kill()
            done += 1
        process.join()
        if process.exitcode == 0:  # finished before its time: start over
            root, longest = root + "-again", longest / 2
        else:
            assert not _is_there(root) or find_faults(root) == []
    whole = worlds.make(tmp_path / "whole", samples)
    assert contents(worlds.fill_rest(root, samples).root) == contents(whole.root)


def _is_there(root: str) -> bool:
    return read_root(place(root)) is not None and (place(root) / layout.MANIFEST).exists()


def _fill_share(root: str, samples: int, part: int, parts: int) -> None:
    store = worlds.prepare(root, samples)
    worlds.fill(store, list(range(part, samples, parts)))


def test_four_processes_write_one_store_at_once(root, tmp_path):
    crowd = [_process(_fill_share, root, 24, part, 4) for part in range(4)]
    for process in crowd:
        process.start()
    for process in crowd:
        process.join()
    assert [process.exitcode for process in crowd] == [0] * 4
    assert contents(ActivationStore(root).root) == contents(worlds.make(tmp_path / "whole", 24).root)


def test_the_same_samples_twice_at_once_are_there_once(root, tmp_path):
    crowd = [_process(_fill_share, root, 8, 0, 1) for _ in range(2)]
    for process in crowd:
        process.start()
    for process in crowd:
        process.join()
    assert [process.exitcode for process in crowd] == [0] * 2
    assert contents(ActivationStore(root).root) == contents(worlds.make(tmp_path / "whole", 8).root)


def _append(folder: Path, name: str, count: int) -> None:
    from ldmscene.store import ledger

    ledger.MANY = 4  # merge all the time
    own = Ledger(folder)
    for i in range(count):
        own.append([Entry(f"{name}-{i}", "image", i, 10, 0)])
        if i % 5 == 0:
            Ledger(folder).tidy()


def test_four_processes_append_to_a_ledger_and_merge_it_and_no_reader_ever_misses_a_row(tmp_path):
    crowd = [_process(_append, tmp_path, name, 30) for name in "abcd"]
    for process in crowd:
        process.start()
    seen: set[str] = set()
    while any(process.is_alive() for process in crowd):
        now = set(Ledger(tmp_path).rows()["sample_id"])
        assert seen <= now
        seen = now
    assert [process.exitcode for process in crowd] == [0] * 4
    assert set(Ledger(tmp_path).rows()["sample_id"]) == {f"{name}-{i}" for name in "abcd" for i in range(30)}


@pytest.mark.parametrize(
    ("code", "cause"),
    [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only"), (errno.EACCES, "permission was denied")],
)
def test_a_failing_disk_is_named_and_what_is_finished_stays(tmp_path, monkeypatch, code, cause):
    store = worlds.prepare(tmp_path / "s", 6)
    worlds.fill(store, [0, 1])

    def failing(_handle):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", failing)
        with pytest.raises(WriteError, match=f"{cause}.*same command again"):
            worlds.fill(store, [2, 3])
    assert ActivationStore(store.root).samples["complete"].tolist() == [True] * 2 + [False] * 4
    assert worlds.fill_rest(store.root, 6).samples["complete"].all()
    assert not list(store.root.rglob(f"{files.TEMPORARY}*"))


def test_what_a_living_writer_has_under_its_hands_is_no_leftover(tmp_path):
    file, temporary = files._begin(tmp_path)
    (tmp_path / f"{files.TEMPORARY}dead").write_bytes(b"half")
    assert files.remove_leftovers(tmp_path) == 1
    assert temporary.exists()
    file.close()
    assert files.remove_leftovers(tmp_path) == 1


def test_a_server_that_goes_and_comes_back(s3, monkeypatch):
    from moto.server import ThreadedMotoServer

    def start(port: int) -> ThreadedMotoServer:
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
        server.start()
        return server

    def stop(server: ThreadedMotoServer) -> None:
        server.stop()
        server._server.server_close()

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = start(0)
    port = server.get_host_and_port()[1]
    for name, value in server_environment(f"http://127.0.0.1:{port}").items():
        monkeypatch.setenv(name, value)
    store = worlds.prepare(f"{s3}/gone", 6)
    worlds.fill(store, [0, 1])
    stop(server)
    with pytest.raises(WriteError, match=r"s3://bucket/gone.*doesn't answer.*same command again"):
        worlds.fill(store, [2])
    with pytest.raises(OSError, match="doesn't answer"):
        ActivationStore(store.root)
    server = start(port)
    assert ActivationStore(store.root).samples["complete"].tolist() == [True] * 2 + [False] * 4
    assert worlds.fill_rest(store.root, 6).samples["complete"].all()
    stop(server)


def test_a_bucket_that_is_not_there_is_named(s3):
    with pytest.raises(OSError, match=r"no such bucket: s3://elsewhere/x"):
        worlds.prepare("s3://elsewhere/x", 2)


def test_opening_takes_no_longer_with_many_ledger_files(tmp_path):
    store = worlds.prepare(tmp_path / "s", 2)
    for i in range(300):
        Ledger(store.root / layout.LEDGER).append([Entry(f"s{i}", "image", i, 10, 0)])
    worlds.prepare(store.root, 2)
    start = time.perf_counter()
    assert len(Ledger(store.root / layout.LEDGER).rows()) > 300
    assert time.perf_counter() - start < 0.5
