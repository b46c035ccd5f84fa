"""Mergeable statistics against extended precision and against each other."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial, reduce
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

from ldmscene.errors import InputError, ShapeError
from ldmscene.probes import Moments, merge_all, products, tensor_sums
from ldmscene.probes.threads import one_thread_each
from ldmscene.probes.widening import subtract

FIELDS = ("weight", "mean_x", "mean_y", "cxx", "cxy", "cyy")


def reference(X: np.ndarray, w: np.ndarray, Y: np.ndarray) -> Moments:
    """The textbook sums in extended precision, where cancellation is harmless."""
    X, w, Y = (a.astype(np.longdouble) for a in (X, w, Y))
    total = w.sum()
    mean_x, mean_y = w @ X / total, w @ Y / total
    Xc, Yc = X - mean_x, Y - mean_y
    parts = (mean_x, mean_y, (Xc * w[:, None]).T @ Xc, (Xc * w[:, None]).T @ Yc, w @ Yc**2)
    return Moments(float(total), *(part.astype(float) for part in parts))


def assert_same(actual: Moments, expected: Moments, rtol: float = 1e-9) -> None:
    """Entries of a covariance are compared with the product of the deviations, as a correlation would be."""
    dx, dy = np.sqrt(np.diag(expected.cxx)), np.sqrt(expected.cyy)
    np.testing.assert_allclose(actual.weight, expected.weight, rtol=1e-12)
    np.testing.assert_allclose(actual.mean_x, expected.mean_x, rtol=1e-12, atol=rtol * dx.max(initial=0))
    np.testing.assert_allclose(actual.mean_y, expected.mean_y, rtol=1e-12, atol=rtol * dy.max(initial=0))
    assert (np.abs(actual.cxx - expected.cxx) <= rtol * np.outer(dx, dx) + 1e-300).all()
    assert (np.abs(actual.cxy - expected.cxy) <= rtol * np.outer(dx, dy) + 1e-300).all()
    np.testing.assert_allclose(actual.cyy, expected.cyy, rtol=rtol)


def ill_conditioned(seed: int, n: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of deviations 1e-3 to 1e3, two of them almost equal, with means 1e5 deviations from zero."""
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.uniform(-3, 3, 5)
    X = rng.normal(size=(n, 5)) * scale + scale * 1e5 * rng.normal(size=5)
    X[:, 4] = X[:, 3] + 1e-2 * scale[3] * rng.normal(size=n)
    Y = rng.normal(size=(n, 2)) + X[:, :2] / scale[:2] + 1e4
    return X, rng.integers(0, 65, n).astype(float), Y


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), cuts=st.lists(st.integers(0, 60), max_size=6))
def test_any_split_equals_the_whole(seed: int, cuts: list[int]) -> None:
    X, w, Y = ill_conditioned(seed)
    edges = [0, *sorted(cuts), len(X)]
    parts = [Moments.of(X[a:b], w[a:b], Y[a:b]) for a, b in pairwise(edges)]
    assert_same(merge_all(parts), reference(X, w, Y))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), sizes=st.tuples(*[st.integers(0, 20)] * 3))
def test_merging_is_associative_and_commutative(seed: int, sizes: tuple[int, int, int]) -> None:
    X, w, Y = ill_conditioned(seed)
    ends = np.cumsum(sizes)
    a, b, c = (Moments.of(X[e - s : e], w[e - s : e], Y[e - s : e]) for e, s in zip(ends, sizes, strict=True))
    left, right = a.merge(b).merge(c), a.merge(b.merge(c))
    assert_same(left, right)
    assert_same(c.merge(b).merge(a), right)


def test_many_blocks_of_a_long_table() -> None:
    rng = np.random.default_rng(0)
    X, Y = rng.normal(1e4, 1, (9000, 40)), rng.normal(size=(9000, 1))
    w = rng.uniform(0, 3, 9000)
    assert_same(Moments.of(X, w, Y), reference(X, w, Y))
    assert_same(
        merge_all(Moments.of(X[i : i + 17], w[i : i + 17], Y[i : i + 17]) for i in range(0, 9000, 17)),
        reference(X, w, Y),
    )


def test_few_heavy_rows_far_from_the_rest() -> None:
    rng = np.random.default_rng(4)
    X, Y, w = rng.normal(size=(4000, 3)), rng.normal(size=(4000, 1)), np.full(4000, 1e-9)
    X[1234:1250] += 1e6
    w[1234:1250] = 1e3
    assert_same(Moments.of(X, w, Y), reference(X, w, Y))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int16])
def test_products_are_taken_in_float64(dtype: type) -> None:
    X = (200 + 3 * np.random.default_rng(0).normal(size=(500, 6))).astype(dtype)
    Y = X[:, :1].astype(float) ** 2
    assert_same(Moments.of(X, None, Y), reference(X, np.ones(500), Y), rtol=1e-12)


def test_weights_are_repetitions() -> None:
    rng = np.random.default_rng(1)
    X, Y, w = rng.normal(size=(30, 4)), rng.normal(size=(30, 2)), rng.integers(0, 4, 30)
    repeated = Moments.of(X.repeat(w, 0), None, Y.repeat(w, 0))
    assert_same(Moments.of(X, w, Y), repeated)


def test_equal_weights_scale_the_sums() -> None:
    rng = np.random.default_rng(2)
    X, Y = rng.normal(size=(30, 4)), rng.normal(size=(30, 2))
    np.testing.assert_allclose(Moments.of(X, np.full(30, 64.0), Y).cxx, 64 * Moments.of(X, None, Y).cxx)


def test_about_zero_holds_the_raw_sums() -> None:
    rng = np.random.default_rng(3)
    X, Y = rng.normal(2, 1, (30, 4)), rng.normal(-1, 1, (30, 2))
    raw = Moments.of(X, None, Y).about_zero()
    np.testing.assert_allclose(raw.cxx, X.T @ X)
    np.testing.assert_allclose(raw.cxy, X.T @ Y)
    np.testing.assert_allclose(raw.cyy, (Y**2).sum(0))


def test_torch_tensors_give_the_same() -> None:
    X, w, Y = ill_conditioned(5)
    assert_same(Moments.of(torch.from_numpy(X), w, Y), reference(X, w, Y))
    half = torch.from_numpy(X[:, :1] / 1e4).half()
    assert_same(Moments.of(half, w, Y), Moments.of(half.numpy(), w, Y))


def test_a_tensor_of_any_kind_is_reduced_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensor_sums, "_ROWS", 16)
    monkeypatch.setattr(tensor_sums, "_VALUES", 1)
    X, w, Y = ill_conditioned(5)
    w[16:32] = 0
    assert_same(Moments.of(torch.from_numpy(X).requires_grad_(), w, Y), reference(X, w, Y))
    brain = torch.from_numpy(X).bfloat16()
    assert_same(Moments.of(brain, w, Y), reference(brain.double().numpy(), w, Y))
    brain[7, 1] = torch.nan
    with pytest.raises(InputError, match="sample 3 "):
        Moments.of(brain, w, Y, rows_per_sample=2)


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("shape", [(3, 7, 5), (2, 40, 5), (70, 1, 5)])
def test_a_tensor_is_summed_at_each_position_as_an_array_is(shape, single, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensor_sums, "_ROWS", 16)
    monkeypatch.setattr(tensor_sums, "_VALUES", 1)
    rng = np.random.default_rng(7)
    X = rng.normal(100, 1, shape).astype(np.float16)
    w = rng.integers(0, 9, shape[:2]).astype(float)
    Y = rng.normal(size=(*shape[:2], 2))
    plain = products.sums_of(X.astype(np.float64), w, Y, single=False, positions=True)
    found = tensor_sums.sums_of_tensor(torch.from_numpy(X), w, Y, single=single, positions=True)
    limit = 1e-6 if single else 1e-12
    for name in ("cxx", "cxy", "by_position"):
        scale = plain.weight if name == "by_position" else np.abs(vars(plain)[name]).max()  # of one position it is 0
        np.testing.assert_allclose(vars(found)[name], vars(plain)[name], atol=limit * scale, err_msg=name)
    for name in ("weight", "mean_x", "mean_y", "cyy"):
        np.testing.assert_allclose(vars(found)[name], vars(plain)[name], rtol=limit, atol=limit)
    assert found.rounding.any() == single


def _peak(work: Callable[[], object]) -> int:
    """Bytes that tensors took at once, by torch's profiler."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        work()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    return int(np.cumsum([event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]).max())


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(4, 512, 32), (6, 64, 200), (4, 2048, 4)])
def test_a_device_lends_no_more_memory_than_is_said(shape, dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensor_sums, "_ROWS", 64)
    monkeypatch.setattr(tensor_sums, "_VALUES", 1 << 15)
    n, p, c = shape
    rng = np.random.default_rng(7)
    X, Y = torch.from_numpy(rng.normal(size=shape).astype(dtype)), rng.normal(size=(n, p, 6))
    most = tensor_sums.working_bytes(shape, 6)
    for single in {False, dtype is np.float16}:
        w = rng.uniform(1, 2, (n, p))
        found = _peak(lambda: tensor_sums.sums_of_tensor(X, w, Y, single=single, positions=True))  # noqa: B023
        assert found <= most
        assert single or found > most / 2
    assert _peak(lambda: tensor_sums.project_tensor(X, np.zeros(c), np.eye(c))) <= most


def _half(rng: np.random.Generator, *shape: int) -> torch.Tensor:
    return torch.from_numpy(rng.normal(100, 1, shape).astype(np.float16))


def test_float32_products_have_their_own_digits_inside_autocast() -> None:
    rng = np.random.default_rng(7)
    X, w, Y = _half(rng, 3, 400, 5), np.ones((3, 400)), rng.normal(size=(3, 400, 2))
    plain = tensor_sums.sums_of_tensor(X, w, Y, single=True)
    with torch.autocast("cpu", torch.bfloat16):
        found = tensor_sums.sums_of_tensor(X, w, Y, single=True)
    for name, value in vars(plain).items():
        np.testing.assert_array_equal(vars(found)[name], value, err_msg=name)


def test_products_are_of_float64_where_float32_ones_may_be_rounded(request) -> None:
    rng, matmul = np.random.default_rng(7), torch.backends.mkldnn.matmul
    X, w, Y = _half(rng, 3, 400, 5), np.ones((3, 400)), rng.normal(size=(3, 400, 2))
    request.addfinalizer(partial(setattr, matmul, "fp32_precision", matmul.fp32_precision))
    matmul.fp32_precision = "bf16"
    found = tensor_sums.sums_of_tensor(X, w, Y, single=True)
    for name, value in vars(tensor_sums.sums_of_tensor(X, w, Y, single=False)).items():
        np.testing.assert_array_equal(vars(found)[name], value, err_msg=name)


def test_scatter_is_symmetric_to_the_last_bit() -> None:
    X, w, Y = ill_conditioned(9)
    for one in (X, X.astype(np.float32), torch.from_numpy(X)):
        parts = [Moments.of(one[i : i + 7], w[i : i + 7], Y[i : i + 7]) for i in range(0, 60, 7)]
        for some in (*parts, merge_all(parts), merge_all(parts).about_zero()):
            np.testing.assert_array_equal(some.cxx, some.cxx.T)


@pytest.fixture(params=["torch", "numpy"])
def widened_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where torch isn't imported, numpy widens."""
    if request.param == "numpy":
        monkeypatch.delitem(sys.modules, "torch")


@pytest.mark.usefixtures("widened_by")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(0,), (1,), (203,), (205,), (2049,), (3, 7, 5), (2, 110, 3), (120, 2)], ids=str)
def test_halves_are_widened_exactly(shape: tuple[int, ...], dtype: type) -> None:
    rng = np.random.default_rng(len(shape))
    X = (rng.normal(size=(*shape, 320)) * 10.0 ** rng.uniform(-7, 4, 320)).astype(np.float16)
    fixed = X.copy()
    fixed.setflags(write=False)
    shift = rng.normal(size=320)
    for one in (X, fixed, X[::-1], np.asfortranarray(X), np.repeat(X, 2, 0)[::2]):
        out = np.full((*shape, 322), 7, dtype)
        subtract(one, shift, out[..., :320])
        np.testing.assert_array_equal(out[..., :320], one.astype(dtype) - shift.astype(dtype))
        assert (out[..., 320:] == 7).all()


@pytest.mark.usefixtures("widened_by")
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")  # of a NaN that signals
@pytest.mark.parametrize("finite", [True, False], ids=["finite", "all"])
def test_every_half_there_is_is_widened_as_numpy_widens_it(finite: bool) -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    X = (halves[np.isfinite(halves)] if finite else halves)[:, None]
    wide, out = X.astype(np.float64), np.empty((len(X), 1))
    subtract(X, np.zeros(1), out)
    np.testing.assert_array_equal(out, wide)
    np.testing.assert_array_equal(np.signbit(out), np.signbit(wide))


def test_torch_has_one_thread_for_each_that_works_side_by_side_and_its_own_again(request) -> None:
    request.addfinalizer(partial(torch.set_num_threads, torch.get_num_threads()))
    torch.set_num_threads(2)
    with ThreadPoolExecutor(2) as pool, one_thread_each():
        assert set(pool.map(lambda _: torch.get_num_threads(), range(8))) == {1}
        assert {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"} == {1}
    assert torch.get_num_threads() == 2


def test_empty_is_neutral() -> None:
    X, w, Y = ill_conditioned(6)
    some, empty = Moments.of(X, w, Y), Moments.empty(5, 2)
    assert empty.merge(some) is some
    assert some.merge(empty) is some
    assert Moments.of(X, 0 * w, Y).weight == 0


def test_merging_changes_neither_and_survives_pickling() -> None:
    X, w, Y = ill_conditioned(7)
    a, b = Moments.of(X[:30], w[:30], Y[:30]), Moments.of(X[30:], w[30:], Y[30:])
    before = pickle.dumps((a, b))
    merged = reduce(Moments.merge, pickle.loads(before))
    assert pickle.dumps((a, b)) == before
    assert_same(merged, a.merge(b))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_bad_value_names_its_sample(bad: float) -> None:
    X = np.zeros((12, 3))
    X[7, 1] = bad
    with pytest.raises(InputError, match="sample 3 "):
        Moments.of(X, None, np.zeros(12), rows_per_sample=2)


def test_one_weight_for_each_row() -> None:
    with pytest.raises(ShapeError, match="weight"):
        Moments.of(np.zeros((4, 2)), np.ones(3), np.zeros(4))
