"""Stores of which something was changed at random and sealed anew: nothing outside them changes, nothing hangs, and no
exception is raised but ours.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import ldmscene
from ldmscene import terminal
from ldmscene.errors import LdmsceneError
from ldmscene.manifest import read_manifest
from ldmscene.store import ActivationStore, ArraySpec, Row, StoreWriter, layout
from ldmscene.store.check import find_faults, repair
from ldmscene.store.prepare import prepare_store
from tests.store import forger, mutations, worlds

SECONDS, BYTES = 60, 2**30  # of any one use of a store of 60 kB, and of memory that all uses may add
SEEDS = range(2, 8)
ACTIVATION = layout.activation_path(worlds.MODULE)
ARRAYS = [
    ArraySpec(ACTIVATION, ("step", "branch", "y", "x", "channel"), (2, 1, 4, 4, 6), "float16", cut=2),
    ArraySpec(layout.LATENTS, ("step", "c", "latent_y", "latent_x"), (2, 4, 4, 4), "float32", cut=1),
    ArraySpec(layout.IMAGE, ("Y", "X", "rgb"), (8, 8, 3), "uint8"),
    ArraySpec(layout.PREVIEWS["noisy"], ("step", "Y", "X", "rgb"), (2, 8, 8, 3), "uint8", cut=1),
]  # fmt: skip
SPLITS = ["train"] * 4 + ["test"] * 2
MEMORY = Path("/dev/shm")  # where files cost no disk
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is limited and measured as Linux does")


def brightness(images: np.ndarray) -> np.ndarray:
    return images.mean(-1).astype(np.float32)


def _evaluate(root: Path):
    return ldmscene.evaluate(root, alphas=[1.0, 100.0], cv=2, progress=False)


@pytest.fixture
def beside(tmp_path: Path) -> Iterator[Path]:
    """A folder for stores that are soon gone; in memory, where that is there."""
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else tmp_path) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A labelled and evaluated store of six samples, among other things of its user."""
    found = tmp_path_factory.mktemp("users") / "home"
    worlds.make(found / "other", 2)
    (found / "diary").write_text("private")
    root = found / "stores" / "foreign"
    manifest = read_manifest([(f"prompt {i}", i) for i in range(6)]).with_splits(SPLITS)
    config = {"branches": ["cond"], "pipeline": "none"}
    store = prepare_store(root, config, manifest, [worlds.MODULE], [9.0, 5.0], ARRAYS, sorted)
    draw = np.random.default_rng(0)
    with StoreWriter(root, ARRAYS) as writer:
        for index, sample_id in enumerate(manifest.frame["sample_id"]):
            writer.put(Row(sample_id, index, {a.path: (draw.random(a.shape) * 200).astype(a.dtype) for a in ARRAYS}))
    store.refresh()
    ldmscene.label(store, "depth", brightness, progress=False)
    ldmscene.label(store, "depth", brightness, on="noisy", progress=False)
    _evaluate(root)
    return found


def _read(root: Path) -> None:
    store = ActivationStore(root)
    for path in store.complete_paths:
        store.info(path).dask(store.rows(sorted(store.complete(path))), {}).compute(scheduler="synchronous")


def _told(root: Path) -> None:
    store = ActivationStore(root)
    terminal.show(terminal.info_table(store), terminal.info_title(store))


def _report(root: Path) -> None:
    grid = _evaluate(root)
    page = ldmscene.write_report(root, grid, root.parents[2] / "report")
    assert page.exists()


LOOKS: dict[str, Callable[[Path], object]] = {
    "open": ActivationStore,
    "info": _told,
    "notebook": lambda root: ActivationStore(root)._repr_html_(),
    "read": _read,
    "verify": find_faults,
}
FITS: dict[str, Callable[[Path], object]] = {
    "evaluate": _evaluate,
    "label": lambda root: ldmscene.label(root, "shading", brightness, progress=False),
}
REPORT: dict[str, Callable[[Path], object]] = {"report": _report}
MENDS: dict[str, Callable[[Path], object]] = {
    "extend": lambda root: prepare_store(
        root, {"branches": ["cond"], "pipeline": "none"}, read_manifest([("more", 1)]), [worlds.MODULE], [9.0, 5.0],
        ARRAYS, sorted,
    ),
    "repair": lambda root: repair(root, progress=False),
    "verify after repair": find_faults,
}  # fmt: skip


def _all_uses(number: int, kind: str, _: random.Random) -> dict[str, Callable[[Path], object]]:
    """Every use; of a part of the stores those that take long, too."""
    told = kind in ("statistics", "grid") and number % 2 == 0
    return {**LOOKS, **(FITS if number % 4 == 0 or told else {}), **(REPORT if number % 16 == 0 else {}), **MENDS}


def _few_uses(number: int, _: str, draw: random.Random) -> dict[str, Callable[[Path], object]]:
    """Opening, and two others that are drawn; now and then a report."""
    some = draw.sample([*(LOOKS | MENDS).items()], 2)
    return {"open": ActivationStore, **dict(some), **(REPORT if number % 100 == 0 else {})}


@pytest.mark.parametrize(
    ("stores", "seed", "uses"),
    [
        (200, 1, _few_uses),
        *(pytest.param(400, seed, _all_uses, marks=[pytest.mark.slow, pytest.mark.timeout(1800)]) for seed in SEEDS),
    ],
)
def test_mutated_stores_are_refused_or_read_and_nothing_else_happens(
    home, beside, monkeypatch, capsys, stores, seed, uses
):
    monkeypatch.setattr(os, "fsync", lambda _: None)  # durability is tried elsewhere
    counts, root, slowest = Counter[str](), beside / "home" / "stores" / "foreign", 0.0
    shutil.copytree(home, beside / "home")
    around = _around(beside / "home", root)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(stores):
        shutil.rmtree(root)
        shutil.copytree(home / "stores" / "foreign", root)
        draw = random.Random(seed * 1_000_000 + number)
        kind = mutations.mutate(root, draw)
        for name, use in uses(number, kind, draw).items():
            start = time.perf_counter()
            told = _outcome(use, root, f"{name} of store {number} ({kind})")
            slowest = max(slowest, time.perf_counter() - start)
            counts[f"{name}: {told}"] += 1
        assert _around(beside / "home", root) == around, f"store {number} ({kind})"
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    print(f"{stores} stores, at most {slowest:.1f} s a use, {grown / 1e6:.0f} MB more: {dict(sorted(counts.items()))}")
    assert grown < BYTES
    assert counts["open: done"] > stores / 5
    assert counts["open: refused"] > stores / 5


def _outcome(use: Callable[[Path], object], root: Path, what: str) -> str:
    """Whether a use was refused, in a message that steers no terminal; TimeoutError where it doesn't end."""
    with warnings.catch_warnings(), _limited(what):
        warnings.simplefilter("ignore")
        try:
            use(root)
        except LdmsceneError as error:
            said = str(error)
        except Exception as error:
            raise AssertionError(f"{what}: {error!r}") from error
        else:
            return "done"
    assert said.replace("\n", "").replace("\t", "").isprintable(), what
    return "refused"


@contextmanager
def _limited(what: str) -> Iterator[None]:
    """Interrupts what takes too long, even while it waits for a file; memory fails at a limit."""

    def over(*_: object) -> None:
        raise TimeoutError(what)

    old, most = signal.signal(signal.SIGALRM, over), resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    signal.alarm(SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 2 * BYTES, most[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, most)
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)


def _around(folder: Path, store: Path) -> str:
    """A hash of all that lies in a folder, but for the store."""
    held = folder.parent / "held"
    store.rename(held)
    try:
        return forger.tree_hash(folder)
    finally:
        held.rename(store)
