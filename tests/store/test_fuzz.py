"""Stores of which something was changed at random and sealed anew: nothing outside them changes, nothing hangs, and no
exception is raised but ours.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import time
import warnings
from collections import Counter
from collections.abc import Callable
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

SECONDS, BYTES = 120, 2**30  # of any one use of a store of 60 kB, and of memory that all uses may add
ACTIVATION = layout.activation_path(worlds.MODULE)
ARRAYS = [
    ArraySpec(ACTIVATION, ("step", "branch", "y", "x", "channel"), (2, 1, 4, 4, 6), "float16", cut=2),
    ArraySpec(layout.LATENTS, ("step", "c", "latent_y", "latent_x"), (2, 4, 4, 4), "float32", cut=1),
    ArraySpec(layout.IMAGE, ("Y", "X", "rgb"), (8, 8, 3), "uint8"),
    ArraySpec(layout.PREVIEWS["noisy"], ("step", "Y", "X", "rgb"), (2, 8, 8, 3), "uint8", cut=1),
]  # fmt: skip
SPLITS = ["train"] * 4 + ["test"] * 2


def brightness(images: np.ndarray) -> np.ndarray:
    return images.mean(-1).astype(np.float32)


def _evaluate(root: Path):
    return ldmscene.evaluate(root, alphas=[1.0, 100.0], cv=2, progress=False)


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


QUICK: dict[str, Callable[[Path], object]] = {
    "open": ActivationStore,
    "info": _told,
    "notebook": lambda root: ActivationStore(root)._repr_html_(),
    "read": _read,
    "verify": find_faults,
}
WHOLE: dict[str, Callable[[Path], object]] = {
    "evaluate": _evaluate,
    "label": lambda root: ldmscene.label(root, "shading", brightness, progress=False),
    "report": _report,
}
MENDING: dict[str, Callable[[Path], object]] = {
    "extend": lambda root: prepare_store(
        root, {"branches": ["cond"], "pipeline": "none"}, read_manifest([("more", 1)]), [worlds.MODULE], [9.0, 5.0],
        ARRAYS, sorted,
    ),
    "repair": lambda root: repair(root, progress=False),
    "verify after repair": find_faults,
}  # fmt: skip


@pytest.mark.parametrize(
    ("stores", "seed", "every"),
    [(40, 1, 20), pytest.param(2400, 2, 4, marks=[pytest.mark.slow, pytest.mark.timeout(7200)])],
)
def test_mutated_stores_are_refused_or_read_and_nothing_else_happens(
    home, tmp_path, monkeypatch, capsys, stores, seed, every
):
    """Each store is opened, told of, read, verified, extended and repaired; `every` so many also labelled, evaluated
    and reported, and all of which statistics or grids were changed.
    """
    monkeypatch.setattr(os, "fsync", lambda _: None)  # durability is tried elsewhere
    around, counts = forger.tree_hash(home), Counter[str]()
    root, slowest = tmp_path / "home" / "stores" / "foreign", 0.0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    shutil.copytree(home, tmp_path / "home")
    around = _around(tmp_path / "home", root)
    for number in range(stores):
        shutil.rmtree(root)
        shutil.copytree(home / "stores" / "foreign", root)
        draw = random.Random(seed * 1_000_000 + number)
        kind = mutations.mutate(root, draw)
        whole = number % every == 0 or (kind in ("statistics", "grid") and number % 2 == 0)
        for name, use in {**QUICK, **(WHOLE if whole else {}), **MENDING}.items():
            start = time.perf_counter()
            told = _outcome(use, root)
            slowest = max(slowest, time.perf_counter() - start)
            assert time.perf_counter() - start < SECONDS, f"{name} of store {number} ({kind})"
            counts[f"{name}: {told}"] += 1
        assert _around(tmp_path / "home", root) == around, f"store {number} ({kind})"
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    print(
        f"{stores} stores, at most {slowest:.1f} s each use, {grown / 1e6:.0f} MB more: {dict(sorted(counts.items()))}"
    )
    assert grown < BYTES
    assert counts["open: done"] > stores / 5
    assert counts["open: refused"] > stores / 5


def _outcome(use: Callable[[Path], object], root: Path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            use(root)
        except LdmsceneError as error:
            return "refused" if str(error).isprintable() or "\n" in str(error) else "raw"
    return "done"


def _around(folder: Path, store: Path) -> str:
    """A hash of all that lies in a folder, but for the store."""
    held = folder.parent / "held"
    store.rename(held)
    try:
        return forger.tree_hash(folder)
    finally:
        held.rename(store)
