"""Every reduction of xarray gives of a store's activations what it gives of the same numbers in float64."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from ldmscene.errors import InputError
from ldmscene.halves import widen
from ldmscene.store import ActivationStore, ArraySpec, Row, StoreWriter
from ldmscene.store.layout import LATENTS, activation_path
from ldmscene.store.prepare import prepare_store
from tests.store.worlds import MODULE, plan

REDUCTIONS = {
    "all": {}, "any": {}, "argmax": {"dim": "y"}, "argmin": {"dim": "y"}, "count": {}, "cumprod": {"dim": "x"},
    "cumsum": {"dim": "sample"}, "idxmax": {"dim": "step"}, "idxmin": {"dim": "step"}, "max": {}, "mean": {},
    "median": {"dim": "channel"}, "min": {}, "prod": {"dim": "x"}, "quantile": {"q": 0.3, "dim": "y"}, "std": {},
    "sum": {}, "var": {},
}  # fmt: skip


@pytest.fixture(scope="module")
def numbers() -> np.ndarray:
    """Of which the sum, the squares and most products are beyond float16; mean 300, deviation 100."""
    draw = np.random.default_rng(0).normal(300, 100, size=(5, 3, 1, 16, 8, 6))
    return draw.astype(np.float16)


@pytest.fixture(scope="module")
def store(tmp_path_factory, numbers) -> ActivationStore:
    root = tmp_path_factory.mktemp("reductions") / "store"
    dims = ("step", "branch", "y", "x", "channel")
    specs = [
        ArraySpec(activation_path(MODULE), dims, numbers.shape[1:], "float16", cut=2),
        ArraySpec(LATENTS, ("step",), (3,), "float32"),
    ]
    manifest = plan(len(numbers))
    made = prepare_store(root, {"branches": ["cond"]}, manifest, [MODULE], [9.0, 5.0, 1.0], specs, list)
    with StoreWriter(root, specs) as writer:
        for index, (sample_id, array) in enumerate(zip(manifest.frame["sample_id"], numbers, strict=True)):
            writer.put(Row(sample_id, index, {specs[0].path: array, LATENTS: np.zeros(3, np.float32)}))
    made.refresh()
    return made


@pytest.mark.parametrize("name", REDUCTIONS)
def test_a_reduction_is_that_of_float64(store, numbers, name):
    ours = store.activations(MODULE)
    expected = ours.copy(data=numbers[:, :, 0].astype(np.float64))
    found, wanted = (getattr(array, name)(**REDUCTIONS[name]).compute() for array in (ours, expected))
    assert np.isfinite(wanted).all()
    xr.testing.assert_allclose(found, wanted, rtol=1e-5, atol=0)


def test_they_fail_on_what_is_stored(store):
    """Or else the test above could hardly fail."""
    with np.errstate(over="ignore", invalid="ignore"):
        stored = store.activations(MODULE, dtype="float16")
        assert stored.dtype == np.float16
        for name in ("sum", "std", "var"):
            assert not np.isfinite(getattr(stored, name)())


def test_what_is_stored_comes_as_it_is(store, numbers):
    np.testing.assert_array_equal(store.activations(MODULE, dtype="float16"), numbers[:, :, 0])
    np.testing.assert_array_equal(store.activations(MODULE, dtype="float64"), numbers[:, :, 0].astype(np.float64))
    for wrong in ("int32", "half-precision"):
        with pytest.raises(InputError, match="float16, float32 or float64"):
            store.activations(MODULE, dtype=wrong)


def test_blocks_are_no_larger_than_before(store, monkeypatch):
    """Twice the bytes a number, and half the samples a block."""
    monkeypatch.setattr("ldmscene.store.reader.BLOCK_BYTES", 4 * 16 * 8 * 6 * 2)
    samples = [store.activations(MODULE, dtype=dtype).data.chunks[0][0] for dtype in ("float16", "float32")]
    assert samples == [4, 2]


@pytest.mark.parametrize("shape", [(0, 3), (7,), (3, 50_000)])
def test_halves_are_cast_as_numpy_casts_them(shape):
    bits = np.random.default_rng(1).integers(0, 2**16, size=shape, dtype=np.uint16)
    halves = bits.view(np.float16)
    for values in (halves, halves[..., ::-1], np.broadcast_to(halves, (2, *shape))):
        np.testing.assert_array_equal(widen(values, np.dtype(np.float32)), values.astype(np.float32))
