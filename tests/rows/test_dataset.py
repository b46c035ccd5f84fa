"""Datasets of rows against what zarr reads, through torch's own loader, with workers, ranks and kills."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load
from torch.utils.data import DataLoader

import ldmscene
from ldmscene.errors import CorruptError, IncompleteError, InputError, ShapeError, UnknownNameError
from ldmscene.rows import dataset as dataset_module
from ldmscene.rows.mixing import same_share
from ldmscene.store.cache import Cache
from ldmscene.store.layout import BRANCHES, ZARR, activation_path
from ldmscene.store.locations import location
from tests.rows import training_run
from tests.rows.conftest import COARSE, FINE, SAME, WORDS, make

SMALL = 20_000  # bytes: some chunks of the world


def zarr_reads(store, module: str) -> np.ndarray:
    return zarr.open_array(store.root / ZARR / activation_path(module), mode="r")[:]


def where(batch: dict, *axes: str) -> tuple[np.ndarray, ...]:
    return tuple(batch["provenance"][axis].numpy() for axis in ("sample", "step", "branch", *axes))


def same(one: dict, other: dict) -> bool:
    origins = all(torch.equal(one["provenance"][k], other["provenance"][k]) for k in one["provenance"])
    return origins and torch.equal(one["x"], other["x"])


def all_same(ones: list[dict], others: list[dict]) -> bool:
    return len(ones) == len(others) and all(map(same, ones, others))


@pytest.mark.parametrize(("module", "axes"), [(FINE, ("y", "x")), (WORDS, ("token",))])
@pytest.mark.parametrize("batch", [1, 50, 64])
def test_each_row_is_what_zarr_reads_and_comes_once(world, module, axes, batch):
    whole = zarr_reads(world, module)
    seen = []
    rows = world.torch_dataset(module, batch=batch, memory=SMALL)
    for one in rows:
        place = where(one, *axes)
        np.testing.assert_array_equal(one["x"], whole[place])
        assert one["x"].dtype == torch.float16
        seen += zip(*place, strict=True)
    train = world.rows(world.manifest.frame.query("split == 'train'")["sample_id"])
    every = itertools.product(train, *(range(n) for n in whole.shape[1:-1]))
    assert sorted(seen) == sorted(every)
    assert len(rows) == -(-len(seen) // batch)


def test_held_out_prompts_are_served_only_where_they_are_asked_for(world):
    split = world.manifest.frame["split"].to_numpy()

    def served(**asked) -> set:
        return {name for one in world.torch_dataset(FINE, **asked) for name in split[one["provenance"]["sample"]]}

    assert served() == {"train"}
    assert served(split="test") == {"test"}
    assert served(split=None) == {"train", "test"}


def test_steps_and_branches_are_chosen_and_balanced(world):
    rows = world.torch_dataset(FINE, steps=[2, 0], branch="cond", batch=32)
    for one in rows:
        steps, branches = one["provenance"]["step"], one["provenance"]["branch"]
        assert set(branches.tolist()) == {BRANCHES.index("cond")}
        assert torch.bincount(steps, minlength=3).tolist() == [16, 0, 16]


def test_several_modules_are_aligned_by_cell(world):
    names = [COARSE, FINE, SAME]
    whole = {name: zarr_reads(world, name) for name in names}
    for one in world.torch_dataset(names, batch=77, memory=SMALL):
        assert list(one["x"]) == names
        sample, step, branch, y, x = where(one, "y", "x")
        for name in (FINE, SAME):
            np.testing.assert_array_equal(one["x"][name], whole[name][sample, step, branch, y, x])
        np.testing.assert_array_equal(one["x"][COARSE], whole[COARSE][sample, step, branch, y // 2, x // 4])


def test_globs_name_modules(world):
    assert list(next(iter(world.torch_dataset("up.*")))["x"]) == [FINE, SAME]
    assert isinstance(next(iter(world.torch_dataset("mid.*")))["x"], torch.Tensor)
    assert list(next(iter(world.torch_dataset([FINE])))["x"]) == [FINE]


def test_an_object_store_and_a_compressed_one_serve_the_same(world, s3, tmp_path):
    alone = list(world.torch_dataset(FINE, batch=40, memory=SMALL))
    for store in (make(f"{s3}/rows", 10), make(tmp_path / "store", 10, "lossless")):
        assert all_same(list(store.torch_dataset(FINE, batch=40, memory=SMALL)), alone)


# --- workers and ranks ---


class _Worker:
    """What torch tells a worker of itself."""

    def __init__(self, number: int, count: int) -> None:
        self.id, self.num_workers = number, count


def _as_loader(make_rows, workers: int, ranks: int, rank: int, state: dict | None = None) -> list[dict]:
    """What a DataLoader would hand out: a batch of each worker in turn, until all are at their end."""
    parts = []
    for number in range(workers):
        rows = make_rows(rank=rank, ranks=ranks)
        if state is not None:
            rows.load_state_dict(state)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(dataset_module, "get_worker_info", lambda number=number: _Worker(number, workers))
            parts.append(list(rows))
    return [one for turn in itertools.zip_longest(*parts) for one in turn if one is not None]


def _together(parts: list[list[dict]]) -> list[dict]:
    """Batches of all ranks, step by step."""
    return [one for turn in itertools.zip_longest(*parts) for one in turn if one is not None]


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 90), st.integers(7_000, 60_000), st.integers(0, 1))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_order_is_the_same_for_any_number_of_workers_and_ranks(world, workers, ranks, batch, memory, seed):
    def make_rows(**asked):
        return world.torch_dataset(FINE, batch=batch, memory=memory, seed=seed, **asked)

    alone = list(make_rows())
    parts = [_as_loader(make_rows, workers, ranks, rank) for rank in range(ranks)]
    assert all_same(_together(parts), alone)
    assert [len(part) for part in parts] == [len(make_rows(rank=rank, ranks=ranks)) for rank in range(ranks)]


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(0, 8))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_run_goes_on_where_it_was_with_other_workers_and_ranks(world, workers, ranks, later_ranks, turns):
    def make_rows(**asked):
        return world.torch_dataset(FINE, batch=40, memory=SMALL, **asked)

    alone = list(make_rows())
    before = [_as_loader(make_rows, workers, ranks, rank)[: turns + 1] for rank in range(ranks)]
    states = [part[-1]["state"] for part in before]
    assert all(state == states[0] for state in states)
    assert set(states[0]) == {"seed", "epoch", "batch", "order"}
    assert all(isinstance(value, int) for value in states[0].values())
    after = [_as_loader(make_rows, workers, later_ranks, rank, states[0]) for rank in range(later_ranks)]
    assert all_same(_together(before) + _together(after), alone)


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_torchs_loader_serves_the_same_with_workers(world, start):
    rows = world.torch_dataset(FINE, batch=40, memory=SMALL)
    alone = [list(rows), list(rows)]
    assert not all_same(*alone)  # the second epoch
    fresh = world.torch_dataset(FINE, batch=40, memory=SMALL)
    loader = DataLoader(fresh, batch_size=None, num_workers=2, multiprocessing_context=start, persistent_workers=True)
    assert all_same(list(loader), alone[0])
    assert all_same(list(loader), alone[1])
    with pytest.raises(InputError, match=r"batch\['state'\]"):
        fresh.state_dict()


def test_each_process_of_a_group_has_its_share(world, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    ours = list(world.torch_dataset(FINE, batch=40))
    assert all_same(ours, list(world.torch_dataset(FINE, batch=40, rank=0, ranks=1))[1::3])


# --- going on ---


def test_states_say_where_a_process_stands(world):
    rows = world.torch_dataset(FINE, batch=100, memory=SMALL)
    assert rows.state_dict() == {**rows.state_dict(), "epoch": 0, "batch": 0}
    first = list(itertools.islice(rows, 3))
    assert rows.state_dict() == first[-1]["state"] == {**rows.state_dict(), "epoch": 0, "batch": 3}
    list(rows)
    assert rows.state_dict() == {**rows.state_dict(), "epoch": 1, "batch": 0}
    rows.set_epoch(5)
    fifth = list(rows)
    again = world.torch_dataset(FINE, batch=100, memory=SMALL)
    again.load_state_dict(fifth[-2]["state"])
    assert same(next(iter(again)), fifth[-1])


@pytest.mark.parametrize("other", [{"seed": 1}, {"batch": 99}, {"memory": 30_000}, {"steps": 1}, {"split": None}])
def test_a_state_of_another_order_is_refused(world, other):
    state = world.torch_dataset(FINE, batch=100, memory=SMALL).state_dict()
    with pytest.raises(InputError, match="another order"):
        world.torch_dataset(FINE, **{"batch": 100, "memory": SMALL} | other).load_state_dict(state)


def test_what_is_no_state_is_refused(world):
    with pytest.raises(InputError, match="it lacks epoch and batch"):
        world.torch_dataset(FINE, batch=100).load_state_dict({"seed": 0, "order": 1})


@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_run_that_goes_on_equals_an_undisturbed_one(world, tmp_path, workers):
    notes = tmp_path / "notes"
    for kill_after in (9, -1):
        command = [sys.executable, "-m", training_run.__name__, str(world.root), str(notes), str(workers)]
        done = subprocess.run([*command, str(kill_after)], timeout=200, cwd=Path(__file__).parents[2])
        assert done.returncode == (-signal.SIGKILL if kill_after > 0 else 0)
    rows = world.torch_dataset(FINE, batch=100, memory=SMALL)
    undisturbed = [training_run.note(batch) for epoch in range(2) for batch in rows]
    assert notes.read_text().splitlines() == undisturbed
    assert len(set(undisturbed)) == 32


# --- memory and mixing ---


def test_memory_stays_within_what_was_said(tmp_path):
    store = make(tmp_path / "store", 60)
    for memory in (40_000, 120_000):
        rows = store.torch_dataset(FINE, batch=32, memory=memory)
        size = len(rows) * 32 * 10
        assert size > memory / 2
        next(iter(rows))
        tracemalloc.start()
        peak = max(tracemalloc.get_traced_memory()[1] for _ in rows)
        tracemalloc.stop()
        assert peak < memory + 500_000, (peak, memory)  # what Python itself takes for threads, futures and files


def test_mixing_is_that_of_what_is_served(world):
    rows = world.torch_dataset(FINE, batch=96, memory=SMALL, split=None)
    found = rows.mixing()
    shares = [same_share(one["provenance"]["sample"].numpy()) for one in rows]
    assert found.measured == pytest.approx(np.mean(shares[: len(shares) - (960 * 2 % 96 > 0)]))
    assert world.torch_dataset(FINE, batch=96, split=None).mixing().ratio <= 1


# --- normalising ---


def test_constants_of_another_shape_are_refused(tmp_path):
    store = make(tmp_path / "store", 6)
    for _ in store.torch_dataset(FINE, steps=0, normalize="standard"):
        break
    path = next((tmp_path / "store" / "statistics" / "rows").iterdir())
    cache, sums = Cache(location(tmp_path)), load(path.read_bytes())
    for spoilt in (
        {**sums, "total": sums["total"][1:]},
        {"count": sums["count"]},
        {**sums, "count": sums["count"] * 0},
    ):
        cache.write("rows", 0, spoilt)
        (other,) = (tmp_path / "statistics" / "rows").iterdir()
        path.write_bytes(other.read_bytes())
        with pytest.raises(CorruptError, match="aren't sums of its rows"):
            next(iter(store.torch_dataset(FINE, steps=0, normalize="standard")))


def test_constants_are_those_of_all_training_rows(world, ranges):
    rows = world.torch_dataset([FINE], steps=[0, 2], normalize="standard")
    train = world.rows(world.manifest.frame.query("split == 'train'")["sample_id"])
    every = zarr_reads(world, FINE)[train][:, [0, 2]].reshape(-1, 5).astype(np.float64)
    found = rows.constants[FINE]
    assert found.count == len(every)
    np.testing.assert_allclose(found.mean, every.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.square, (every**2).mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.deviation, every.std(0), rtol=1e-9)
    np.testing.assert_allclose(found.norm, np.linalg.norm(every, axis=1).mean(), rtol=1e-12)
    served = torch.cat([one["x"][FINE] for one in rows])
    assert served.dtype == torch.float32
    np.testing.assert_allclose(served.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(served.std(0, correction=0), 1, rtol=1e-4)
    ranges.clear()
    again = ldmscene.open(world.root).torch_dataset(FINE, steps=2, normalize="norm")
    assert not ranges  # no pass: the sums of each step are there
    lengths = torch.cat([one["x"] for one in again]).norm(dim=1)
    np.testing.assert_allclose(lengths.mean(), np.sqrt(5), rtol=1e-5)


def test_held_out_rows_are_normalised_by_the_training_rows(world):
    train, test = (world.torch_dataset(FINE, normalize="norm", split=split) for split in ("train", "test"))
    assert test.constants[FINE].norm == train.constants[FINE].norm
    plain = next(iter(world.torch_dataset(FINE, split="test")))["x"].float()
    np.testing.assert_allclose(next(iter(test))["x"], plain * np.sqrt(5) / train.constants[FINE].norm, rtol=1e-5)


def test_a_channel_that_never_changes_stays_finite(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.rows.conftest.values", lambda sample, module: _values(sample, module) * [0, 1, 1, 1, 1])
    from tests.rows import conftest

    monkeypatch.setattr(conftest, "SHAPES", {FINE: (4, 8, 5)})
    for one in make(tmp_path / "store", 6).torch_dataset(FINE, normalize="standard"):
        assert (one["x"][:, 0] == 0).all()
        assert one["x"].isfinite().all()


def _values(sample: int, module: str) -> np.ndarray:
    return np.random.default_rng(sample).normal(size=(3, 2, 4, 8, 5))


# --- what can't be ---


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ({"modules": "up.0.fin"}, UnknownNameError, FINE),
        ({"modules": []}, InputError, "at least one"),
        ({"modules": [FINE, WORDS]}, ShapeError, "can't be aligned"),
        ({"steps": 3}, InputError, "0 to 2"),
        ({"steps": []}, InputError, "0 to 2"),
        ({"branch": "both"}, UnknownNameError, "cond"),
        ({"split": "training"}, UnknownNameError, "train"),
        ({"split": "val"}, IncompleteError, "'val'"),
        ({"batch": 0}, InputError, "batch"),
        ({"seed": -1}, InputError, "seed"),
        ({"memory": "2 apples"}, InputError, "memory"),
        ({"memory": 100}, InputError, "memory: expected at least"),
        ({"normalize": "layer"}, UnknownNameError, "norm"),
        ({"rank": 0}, InputError, "both or neither"),
        ({"rank": 2, "ranks": 2}, InputError, "0 to 1"),
    ],
)
def test_what_cant_be_is_said(world, asked, error, words):
    with pytest.raises(error, match=words):
        world.torch_dataset(asked.pop("modules", FINE), **asked)


def test_constants_need_a_way_to_normalise(world):
    with pytest.raises(InputError, match="normalize="):
        _ = world.torch_dataset(FINE).constants
