"""Arrays on disk are fitted as those in memory; groups without a name are refused."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

from ldmscene import RidgeProbe
from ldmscene.errors import InputError

DRAW = np.random.default_rng(0)
X, Y = DRAW.standard_normal((12, 3, 4, 5)).astype("float32"), DRAW.standard_normal((12, 6, 8)).astype("float32")


@pytest.mark.parametrize("kind", ["h5py", "zarr"])
def test_arrays_on_disk_give_the_probe_of_those_in_memory(kind, tmp_path):
    if kind == "h5py":
        h5py = pytest.importorskip("h5py")
        file = h5py.File(tmp_path / "a.h5", "w")
        maps, labels = file.create_dataset("X", data=X, chunks=(2, 3, 4, 5)), file.create_dataset("y", data=Y)
    else:
        group = zarr.create_group(tmp_path / "a.zarr")
        maps, labels = group.create_array("X", data=X), group.create_array("y", data=Y)
    here, there = (RidgeProbe(cv=3).fit(x, y) for x, y in ((X, Y), (maps, labels)))
    np.testing.assert_array_equal(there.coef_, here.coef_)
    np.testing.assert_array_equal(there.predict(maps), here.predict(X))


def test_a_sample_without_a_group_is_named():
    groups = np.repeat([0.0, 1.0, np.nan, 3.0], 3)
    with pytest.raises(InputError, match="groups: sample 6 has none"):
        RidgeProbe(cv=3).fit(X, Y, groups=groups)
