"""A store that was moved, copied, packed, locked or made in a strange place is what it was."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ldmscene.store import ActivationStore
from ldmscene.store.check import find_faults
from tests.conftest import files
from tests.store import worlds


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return worlds.make(tmp_path / "store", 2).root


def _packed(kind: str) -> Callable[[Path, Path], object]:
    def pack(root: Path, to: Path) -> None:
        archive = shutil.make_archive(str(root.parent / "packed"), kind, root)
        shutil.unpack_archive(archive, to)

    return pack


def _synced(root: Path, to: Path) -> None:
    if shutil.which("rsync") is None:
        pytest.skip("rsync isn't here")
    subprocess.run(["rsync", "--archive", f"{root}/", f"{to}/"], check=True)


WAYS: dict[str, Callable[[Path, Path], object]] = {
    "moved": shutil.move,
    "copied": shutil.copytree,
    "zipped": _packed("zip"),
    "in a tar": _packed("gztar"),
    "rsynced": _synced,
}


@pytest.mark.parametrize("way", WAYS)
def test_elsewhere_it_is_read_verified_and_extended(root, tmp_path, way):
    before = files(root)
    WAYS[way](root, tmp_path / "elsewhere")
    assert files(tmp_path / "elsewhere") == before
    _check_whole(tmp_path / "elsewhere", 2)
    worlds.fill_rest(tmp_path / "elsewhere", 3)
    _check_whole(tmp_path / "elsewhere", 3)


def _check_whole(root: Path, samples: int) -> None:
    found = ActivationStore(root).activations(worlds.MODULE).values
    for row in range(samples):
        np.testing.assert_array_equal(found[row][:, None], worlds.values(row)[worlds.SPECS[0].path])
    assert find_faults(root) == []


def test_a_disk_that_is_read_only_is_read_and_verified(root, monkeypatch):
    real = os.open

    def read_only(path, flags, *more, **where):
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(path, flags, *more, **where)

    monkeypatch.setattr(os, "open", read_only)
    _check_whole(root, 2)


def test_a_strict_umask_holds_for_all_that_is_written(tmp_path):
    old = os.umask(0o077)
    try:
        root = worlds.make(tmp_path / "store", 2).root
    finally:
        os.umask(old)
    _check_whole(root, 2)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in [root, *root.rglob("*")]}
    assert modes <= {0o600, 0o700}


def test_a_path_as_long_as_can_be(tmp_path):
    """Of the root; what lies below it has paths that are longer than the system takes at once."""
    root = tmp_path
    while len(str(root)) < 4000 - 250:
        root = root / ("x" * 200)
    root = root / ("y" * (4060 - len(str(root))))
    root.parent.mkdir(parents=True)
    try:
        worlds.make(root, 2)
        _check_whole(root, 2)
    finally:
        subprocess.run(["rm", "-r", str(tmp_path / ("x" * 200))], check=True)
