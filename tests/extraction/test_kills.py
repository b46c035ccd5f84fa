"""kill -9 at random moments of an extraction: what is resumed ends complete, and equal to an undisturbed store."""

from __future__ import annotations

import numpy as np
import pytest

import ldmscene
from ldmscene.store.check import find_faults
from ldmscene.store.metadata import read_store
from ldmscene.store.places import place
from tests.conftest import FIRST, make_manifest
from tests.killing import killed, preloaded
from tests.store.conftest import contents

KILLS = 100


def extract(pipeline, root: str) -> None:
    ldmscene.extract(pipeline, make_manifest(6, 2), root, [FIRST], steps=2, batch_size=2, progress=False)


def _complete(root: str, undisturbed: ldmscene.ActivationStore) -> dict[str, bytes]:
    """The shards of complete samples after a kill, by sample; a reader gets of them what it should, and no errors."""
    if read_store(place(root)) is None:  # killed before there was one
        return {}
    store = ldmscene.open(root)
    assert not [fault for fault in find_faults(root) if fault.sample_id]
    done = store.samples.query("complete")["sample_id"].tolist()
    if done:
        rows = undisturbed.rows(done)
        np.testing.assert_array_equal(store.activations(FIRST).values, undisturbed.activations(FIRST).values[rows])
    return {s: b"".join(store.info(p).file(store.rows([s])[0]).read_bytes() for p in store.paths) for s in done}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("where", ["folder", "s3"])
def test_killed_a_hundred_times_nothing_is_lost_and_nothing_torn_is_served(where, tmp_path, capsys, request):
    base = str(tmp_path) if where == "folder" else f"{request.getfixturevalue('s3')}/kills"
    context = preloaded("ldmscene.calls.extract", "tests.extraction.test_kills")
    killed(context, extract, [f"{base}/undisturbed"])
    undisturbed = ldmscene.open(f"{base}/undisturbed")
    wanted = contents(undisturbed.root)
    draw, kills, late, stores = np.random.default_rng(0), 0, 0, 0
    while kills < KILLS:
        root, before, longest = f"{base}/killed-{stores}", {}, 1.5
        while killed(context, extract, [root], after=draw.uniform(0, longest)):
            kills, longest = kills + 1, longest * 1.1  # or the slower store would hardly ever be finished
            now = _complete(root, undisturbed)
            assert before.items() <= now.items()
            before, late = now, late + bool(now)
        assert contents(place(root)) == wanted
        assert find_faults(root) == []
        stores += 1
    with capsys.disabled():
        print(
            f"\nkilled {kills} times, {late} of them after a first sample was finished; "
            f"{stores} stores ended complete and equal to an undisturbed one ({where})"
        )
    assert late > KILLS // 10
