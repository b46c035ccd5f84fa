"""What doesn't fit in memory, and machines that fall over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import dask
import numpy as np
import pytest
import xarray as xr
from dask.distributed import Client, LocalCluster

import ldmscene
from benchmarks.synthetic import make_store
from ldmscene.errors import InputError
from ldmscene.evaluation.running import Job, compute
from tests.conftest import LAST, bare_copy

GIB = 2**30
_EVALUATE = """
import sys
import numpy as np
import ldmscene, ldmscene.calls.evaluate, dask.array
from ldmscene.device import peak_memory
before = peak_memory()
grid = ldmscene.evaluate(sys.argv[1], alphas=np.logspace(-1, 6, 20), cv=5)
assert grid["probe"].sel(target=["depth", "shading"], metric=["spearman", "pearson"]).notnull().all()
print(peak_memory() - before)
"""


def _peak(root) -> int:
    """Bytes of memory beyond the imports that an evaluation of a store takes, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", _EVALUATE, str(root)], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.slow
def test_memory_stays_below_a_gibibyte_however_many_samples(tmp_path):
    few, many = (make_store(tmp_path / str(n), n, channels=1280, grid=8, side=512) for n in (90, 900))
    peaks = [_peak(store.root) for store in (few, many)]
    print(
        f"peak of evaluate at 1280 channels: {peaks[0] / 2**20:.0f} MiB for 90 samples, {peaks[1] / 2**20:.0f} for 900"
    )
    assert min(peaks) > 2**26  # five folds' statistics alone are 62 MiB
    assert max(peaks) < GIB
    assert peaks[1] < peaks[0] + 0.2 * GIB  # labels of 900 samples alone are 2.6 GiB


@pytest.fixture
def cluster():
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as made,
        Client(made) as client,
    ):
        yield client


def test_the_first_failure_on_a_cluster_ends_the_work(cluster, tmp_path):
    def fail() -> None:
        raise InputError("this one fails")

    def work(i: int) -> None:
        time.sleep(0.5)
        (tmp_path / str(i)).touch()

    jobs = [Job(dask.delayed(fail)()), *(Job(dask.delayed(work)(i)) for i in range(20))]
    with pytest.raises(InputError, match="this one fails"):
        compute(jobs, cluster)
    time.sleep(1)  # what had begun ends
    done = len(list(tmp_path.iterdir()))
    time.sleep(2)
    assert len(list(tmp_path.iterdir())) == done < 20


def test_a_dask_cluster_gives_the_same_grid_though_a_worker_is_killed(store, tmp_path, cluster):
    arguments = {"targets": ["depth", "mask"], "modules": [LAST], "steps": [0, 3], "alphas": (1e1, 1e3), "cv": 3}
    local = ldmscene.evaluate(bare_copy(store, tmp_path / "local"), **arguments)
    fresh = bare_copy(store, tmp_path / "spread")
    victim = next(iter(cluster.run(os.getpid).values()))
    killed = threading.Event()

    def kill_once_under_way() -> None:
        for _ in range(3000):
            if any((fresh.root / "statistics").rglob("*.safetensors")):
                os.kill(victim, signal.SIGKILL)
                return killed.set()
            time.sleep(0.01)
        return None

    watcher = threading.Thread(target=kill_once_under_way)
    watcher.start()
    spread = ldmscene.evaluate(fresh, client=cluster, **arguments)
    watcher.join()
    assert killed.is_set()
    xr.testing.assert_allclose(local.drop_attrs(), spread.drop_attrs(), rtol=1e-5)
    assert victim not in cluster.run(os.getpid).values()
    assert np.isfinite(spread["probe"].sel(target="depth", metric="spearman")).all()
