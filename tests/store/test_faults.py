"""What happens when processes are killed, when several write at once, and when the disk or the server fails."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import shutil
import stat
import subprocess
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ldmscene.errors import FingerprintError, StoreError, UnreachableError, WriteError
from ldmscene.manifest import read_manifest
from ldmscene.store import ActivationStore, Row, StoreWriter, disk, dropping, files, layout
from ldmscene.store.check import find_faults, repair
from ldmscene.store.history import publish
from ldmscene.store.ledger import Entry, Ledger
from ldmscene.store.locations import location
from ldmscene.store.metadata import read_store
from ldmscene.store.places import place
from ldmscene.store.prepare import prepare_store
from tests.conftest import server_environment
from tests.store import worlds
from tests.store.conftest import contents

_SPAWN = multiprocessing.get_context("forkserver")
_SPAWN.set_forkserver_preload(["tests.store.test_faults", "obstore.store"])


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
            assert not _is_there(root) or not [fault for fault in find_faults(root) if fault.sample_id]
    whole = worlds.make(tmp_path / "whole", samples)
    assert contents(worlds.fill_rest(root, samples).root) == contents(whole.root)


def _is_there(root: str) -> bool:
    return read_store(place(root)) is not None


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


def _grow(root: str, samples: int) -> None:
    """A run after another, each with one sample more."""
    for count in range(2, samples + 1):
        worlds.fill_rest(root, count)


def test_verify_finds_nothing_wrong_beside_a_writer(root):
    worlds.make(root, 1)
    writer = _process(_grow, root, 8)
    writer.start()
    found = []
    while writer.is_alive():
        found.append(find_faults(root))
    writer.join()
    assert writer.exitcode == 0
    assert [faults for faults in found if faults] == []
    assert len(found) > 1
    assert len(ActivationStore(root).manifest) == 8


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


# --- two that prepare one store at once ---


def _prepare_alone(root: str, config: dict, prompts: list[str], together, said) -> None:
    """Ask for a store of some prompts, and fill it with what tells them apart."""
    manifest = read_manifest([(prompt, 0) for prompt in prompts])
    together.wait()
    try:
        store = prepare_store(root, config, manifest, [worlds.MODULE], [9.0, 5.0, 1.0], worlds.SPECS, sorted)
    except FingerprintError as error:
        said.put(str(error))
        return
    with StoreWriter(store.root, worlds.SPECS) as writer:
        for index, row in store.manifest.frame.iterrows():
            if row.prompt in prompts:
                writer.put(Row(row.sample_id, index, _values_of(row.prompt)))
    said.put("")


def _values_of(prompt: str) -> dict[str, np.ndarray]:
    return worlds.values(zlib.crc32(prompt.encode()))


def _at_once(*asked: tuple[str, dict, list[str]]) -> list[str]:
    """What processes say that begin at the same moment."""
    together, said = _SPAWN.Barrier(len(asked)), _SPAWN.Queue()
    crowd = [_process(_prepare_alone, *one, together, said) for one in asked]
    for process in crowd:
        process.start()
    answers = [said.get(timeout=120) for _ in crowd]
    for process in crowd:
        process.join()
    assert [process.exitcode for process in crowd] == [0] * len(crowd)
    return answers


@pytest.mark.parametrize("there", [0, 2], ids=["new", "extended"])
def test_manifests_that_differ_at_once_each_get_rows_of_their_own(new_root, there):
    for trial in range(4):
        root, old = new_root(), [f"old {i}" for i in range(there)]
        if there:
            assert _at_once((root, worlds.CONFIG, old)) == [""]
        asked = [[f"{name} {trial} {i}" for i in range(3)] for name in "abc"]
        assert _at_once(*((root, worlds.CONFIG, [*old, *prompts]) for prompts in asked)) == [""] * 3
        store = ActivationStore(root)
        assert set(store.manifest.frame["prompt"]) == {*old, *(prompt for prompts in asked for prompt in prompts)}
        assert store.samples["complete"].all()
        for prompt in store.manifest.frame["prompt"]:
            found = store.sel(module=worlds.MODULE, prompt=prompt).values[0][:, None]
            np.testing.assert_array_equal(found, _values_of(prompt)[layout.activation_path(worlds.MODULE)])
        assert find_faults(root) == []


def test_of_configurations_that_differ_at_once_one_makes_the_store_and_the_others_are_told(new_root):
    for _ in range(4):
        root = new_root()
        said = _at_once(*((root, worlds.CONFIG | {"weights": weights}, ["same prompt"]) for weights in "abc"))
        assert sorted(answer != "" for answer in said) == [False, True, True]
        assert all("weights" in answer for answer in said if answer)
        assert ActivationStore(root).samples["complete"].all()
        assert find_faults(root) == []


@pytest.mark.parametrize("config", [worlds.CONFIG, worlds.CONFIG | {"weights": "others"}])
def test_a_writer_stops_when_another_store_takes_the_place_of_its_own(tmp_path, config):
    mine = worlds.make(tmp_path / "s", 3)
    writer = StoreWriter(mine.root, worlds.SPECS)
    shutil.rmtree(mine.root)
    for count in (2, 3):
        manifest = read_manifest([(f"another {i}", i) for i in range(count)])
        prepare_store(mine.root, config, manifest, [worlds.MODULE], [9.0, 5.0, 1.0], worlds.SPECS, sorted)

    def write() -> None:
        with writer:
            writer.put(Row(mine.manifest.frame["sample_id"][1], 1, worlds.values(1)))

    with pytest.raises(StoreError, match="replaced by another"):
        write()
    assert ActivationStore(mine.root).ledger.empty


def test_what_another_writer_finished_meanwhile_is_left_as_it_is(root):
    """As where another CPU rounds differently, and its process dies before its row is written."""
    store = worlds.prepare(root, 2)
    with StoreWriter(store.root, worlds.SPECS) as late:
        worlds.fill(store, [0])
        for index in (0, 1):
            other = {path: array + array.dtype.type(1) for path, array in worlds.values(index).items()}
            late.put(Row(store.manifest.frame["sample_id"][index], index, other))
    store.refresh()
    assert find_faults(root) == []
    path = layout.activation_path(worlds.MODULE)
    found = store.activations(worlds.MODULE).values[:, :, None]
    np.testing.assert_array_equal(found, [worlds.values(0)[path], worlds.values(1)[path] + np.float16(1)])


def test_a_clock_that_was_ahead_spoils_nothing(root, monkeypatch):
    with monkeypatch.context() as ahead:
        ahead.setattr("time.time", lambda: 4e9)
        worlds.make(root, 2)
    worlds.prepare(root, 3)
    assert find_faults(root) == []
    publish(root, lambda _: {layout.TERMS: b'{"targets": [], "cv": 2}'})
    store, path = worlds.fill_rest(root, 3), layout.activation_path(worlds.MODULE)
    dropping.drop(store, store.manifest.frame["sample_id"][:2].tolist(), [path])
    assert ActivationStore(root).samples["dropped"].tolist() == [True, True, False]
    assert find_faults(root) == []
    assert len(repair(root)) == 0


# --- disks and servers that fail ---


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own that a test may fill up or turn read-only."""
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a disk can't be mounted here: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def _fill_up(disk: Path, leave: int) -> Path:
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        free = shutil.disk_usage(disk).free
        file.write(bytes(free - leave))
    return ballast


def _check_stopped_and_resumed(store: ActivationStore, cause: str, mend: Callable[[], object], whole: Path) -> None:
    """Samples 0 and 1 are there, and the rest can't be written before something is mended."""
    with pytest.raises(WriteError, match=f"{cause}.*same command again"):
        worlds.fill(store, range(2, 6))
    there = ActivationStore(store.root).samples["complete"]
    assert there[:2].all()
    assert not there[3:].any()
    assert find_faults(store.root) == []
    mend()
    assert worlds.fill_rest(store.root, 6).samples["complete"].all()
    assert not list(store.root.rglob(f"{disk.TEMPORARY}*"))
    assert contents(store.root) == contents(worlds.make(whole, 6).root)


def test_a_full_disk_is_named_and_what_is_finished_stays(small_disk, tmp_path):
    store = worlds.prepare(small_disk / "s", 6)
    worlds.fill(store, [0, 1])
    ballast = _fill_up(small_disk, leave=5 * 4096)  # a sample's three shards and its row, and not another's
    _check_stopped_and_resumed(store, "disk is full", ballast.unlink, tmp_path / "whole")


def test_a_disk_that_turns_read_only_is_named_and_what_is_finished_stays(small_disk, tmp_path):
    store = worlds.prepare(small_disk / "s", 6)
    worlds.fill(store, [0, 1])

    def remount(how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", str(small_disk)], check=True)

    remount("ro")
    _check_stopped_and_resumed(store, "disk is read-only", lambda: remount("rw"), tmp_path / "whole")


def test_a_permission_that_is_lost_is_named_and_what_is_finished_stays(tmp_path):
    store = worlds.prepare(tmp_path / "s", 6)
    worlds.fill(store, [0, 1])
    folder = store.info(layout.LATENTS).file(0).parent
    done = subprocess.run(["chattr", "+i", str(folder)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no folder can be made immutable here: {done.stderr.strip()}")
    try:
        _check_stopped_and_resumed(
            store,
            "permission was denied",
            lambda: subprocess.run(["chattr", "-i", str(folder)], check=True),
            tmp_path / "whole",
        )
    finally:
        subprocess.run(["chattr", "-i", str(folder)], check=True)


@pytest.mark.parametrize("folder", ["ledger", "statistics/moments", "probes", f"{layout.ZARR}/image"])
def test_leftovers_are_removed_when_nothing_is_missing(tmp_path, folder):
    root = worlds.make(tmp_path / "s", 2).root
    (root / folder).mkdir(parents=True, exist_ok=True)
    (root / folder / f"{disk.TEMPORARY}dead").write_bytes(b"half")
    worlds.prepare(root, 2)
    assert not list(root.rglob(f"{disk.TEMPORARY}*"))


def test_a_file_is_created_once_on_every_kind_of_place(root):
    where = location(root)
    assert where.create("a/one", b"first")
    assert not where.create("a/one", b"second")
    assert not where.create("a/one", b"longer than it")
    assert where.create("a/one", b"first")
    assert where.read("a/one") == b"first"


@pytest.mark.parametrize("code", [errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOTSUP])
def test_on_a_disk_without_hard_links_one_of_many_creators_wins(tmp_path, monkeypatch, code):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    where = location(tmp_path / "s")
    for trial in range(10):
        together = threading.Barrier(8)

        def create(number: int, key: str = f"ledger/{trial}", together: threading.Barrier = together) -> bool:
            together.wait()
            return where.create(key, str(number).encode())

        with ThreadPoolExecutor(8) as pool:
            won = [number for number, told in enumerate(pool.map(create, range(8))) if told]
        assert [str(number).encode() for number in won] == [where.read(f"ledger/{trial}")]
    worlds.make(tmp_path / "other", 2)
    assert find_faults(tmp_path / "other") == []


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_a_folder_that_cannot_be_synced_is_no_failure(tmp_path, monkeypatch, code):
    sync = os.fsync

    def refuse(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(code, os.strerror(code))
        sync(handle)

    monkeypatch.setattr(os, "fsync", refuse)
    assert worlds.make(tmp_path / "s", 2).samples["complete"].all()


def test_a_relative_store_is_the_same_after_a_change_of_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = worlds.make("s", 2)
    monkeypatch.chdir("/")
    store.refresh()
    assert find_faults(store) == []
    assert store.images().sizes["sample"] == 2


def test_what_a_living_writer_has_under_its_hands_is_no_leftover(tmp_path):
    folder = os.open(tmp_path, os.O_RDONLY)
    file, temporary = disk._begin(folder)
    os.close(folder)
    (tmp_path / f"{disk.TEMPORARY}dead").write_bytes(b"half")
    assert location(tmp_path).sweep() == 1
    assert (tmp_path / temporary).exists()
    file.close()
    assert location(tmp_path).sweep() == 1


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
    for write in (lambda: worlds.fill(store, [2]), lambda: files.write_file(store.root / "x", b"")):
        with pytest.raises(StoreError, match=r"s3://bucket/gone.*doesn't answer.*same command again"):
            write()
    for read in (ActivationStore, find_faults, repair):
        with pytest.raises(UnreachableError, match=r"s3://bucket/gone.*doesn't answer.*same command again"):
            read(store.root)
    server = start(port)
    assert ActivationStore(store.root).samples["complete"].tolist() == [True] * 2 + [False] * 4
    assert worlds.fill_rest(store.root, 6).samples["complete"].all()
    stop(server)


def test_a_bucket_that_is_not_there_is_named(s3):
    with pytest.raises(StoreError, match=r"s3://elsewhere/x.*no such bucket"):
        worlds.prepare("s3://elsewhere/x", 2)


def test_opening_takes_no_longer_with_many_ledger_files(tmp_path):
    store = worlds.prepare(tmp_path / "s", 2)
    for i in range(300):
        Ledger(store.root).append([Entry(f"s{i}", "image", i, 10, 0)])
    worlds.prepare(store.root, 2)
    start = time.perf_counter()
    assert len(Ledger(store.root).rows()) == 300
    assert time.perf_counter() - start < 0.5
