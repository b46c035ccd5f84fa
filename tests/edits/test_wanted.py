"""Wanted maps against scipy's shift, and what is said of those that can't be had."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from ldmscene.edits import ceiling, is_settled, moved, parse
from ldmscene.errors import InputError, ShapeError

IDS = ("a", "b", "c", "d")


def _labels(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: (rng.random((9, 11)) < 0.3).astype(np.float32) for name in IDS}


@given(st.integers(-12, 12), st.integers(-12, 12), st.integers(0, 99))
def test_maps_move_as_scipys_do(dy, dx, seed):
    maps = np.random.default_rng(seed).normal(size=(9, 11))
    np.testing.assert_array_equal(moved(maps, dy, dx, fill=True), ndimage.shift(maps, (dy, dx), order=0))
    expected = ndimage.shift(maps, (dy, dx), order=0, mode="nearest")
    np.testing.assert_array_equal(moved(maps, dy, dx, fill=False), expected)


@given(st.integers(-8, 8), st.integers(-10, 10), st.integers(0, 5), st.integers(0, 7), st.integers(1, 4))
def test_an_object_stays_whole_in_the_frame(dy, dx, top, left, size):
    own = np.zeros((9, 11), np.float32)
    own[top : top + size, left : left + size] = 1
    wanted = parse(f"shift:{dy},{dx}", IDS, binary=True)
    new = wanted.map("a", lambda _: own)
    assert new.sum() == own.sum()
    assert ceiling(own, new) == 1
    name, (y, x) = wanted.source("a", lambda _: own)
    assert name == "a"
    np.testing.assert_array_equal(new, ndimage.shift(own, (y, x), order=0))
    assert (abs(y) <= abs(dy), abs(x) <= abs(dx)) == (True, True)
    edge = {"y": 0 if dy < 0 else 8, "x": 0 if dx < 0 else 10}
    assert y == dy or new[edge["y"]].any()
    assert x == dx or new[:, edge["x"]].any()


@given(st.integers(0, 99), st.integers(1, 3), st.integers(0, 3))
def test_a_jump_is_a_shift_drawn_for_each_sample_along_both_axes(seed, low, more):
    labels, jump = _labels(seed), f"jump:{low},{low + more}:{seed}:cut"
    offsets = {name: parse(jump, IDS, binary=True).source(name, labels.__getitem__)[1] for name in IDS}
    for name, (dy, dx) in offsets.items():
        assert all(low <= abs(distance) <= low + more for distance in (dy, dx))
        found = parse(jump, IDS, binary=True).map(name, labels.__getitem__)
        np.testing.assert_array_equal(found, ndimage.shift(labels[name], (dy, dx), order=0))


def test_jumps_go_every_way_and_another_seed_draws_others():
    label = np.zeros((64, 64))
    drawn = [parse(f"jump:5,9:{s}:cut", IDS, binary=True).source(i, lambda _: label)[1] for s in range(30) for i in IDS]
    assert {(np.sign(dy), np.sign(dx)) for dy, dx in drawn} == {(1, 1), (1, -1), (-1, 1), (-1, -1)}
    assert {abs(dy) for dy, _ in drawn} == {5, 6, 7, 8, 9}


def test_a_cut_object_leaves_the_frame_and_lowers_the_ceiling():
    own = np.zeros((8, 8))
    own[2:4, 4:8] = 1
    new = parse("shift:0,2:cut", IDS, binary=True).map("a", lambda _: own)
    assert new.sum() == 4
    assert ceiling(own, new) == pytest.approx(2 * 4 / (8 + 4))


def test_a_continuous_map_repeats_its_edge():
    own = np.arange(12.0).reshape(3, 4)
    new = parse("shift:0,2", IDS, binary=False).map("a", lambda _: own)
    np.testing.assert_array_equal(new, own[:, [0, 0, 0, 1]])


def test_swapped_maps_are_each_somebodys_and_nobodys_own():
    labels = _labels()
    wanted = parse("swap", IDS, binary=True)
    partners = [wanted.source(name, labels.__getitem__)[0] for name in IDS]
    assert sorted(partners) == list(IDS)
    assert all(name != partner for name, partner in zip(IDS, partners, strict=True))
    for name, partner in zip(IDS, partners, strict=True):
        np.testing.assert_array_equal(wanted.map(name, labels.__getitem__), labels[partner])


def test_maps_and_functions_serve():
    labels = _labels()
    one = np.ones((9, 11))
    for given_as in (one, {"b": one}, np.stack([one] * 4), lambda own: own * 0 + 1):
        np.testing.assert_array_equal(parse(given_as, IDS, binary=True).map("b", labels.__getitem__), one)


def test_a_continuous_map_may_be_of_any_finite_numbers():
    label, maps = np.zeros((9, 11)), np.random.default_rng(0).normal(size=(9, 11))
    found = parse(maps, IDS, binary=False).map("b", lambda _: label)
    np.testing.assert_array_equal(found, maps.astype(np.float32))
    with pytest.raises(InputError, match="wanted: expected finite numbers, or NaN where nothing is said; got infinity"):
        parse(maps + np.inf, IDS, binary=False).map("b", lambda _: label)


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
@pytest.mark.parametrize(
    ("wanted", "kind", "message"),
    [
        ("shift:0,11", InputError, "a shift of 0,11 leaves the frame of 9 × 11 pixels"),
        ("shift:-9,0:cut", InputError, "leaves the frame"),
        ("left", InputError, "expected 'shift:DY,DX'"),
        ("jump:3,2:0", InputError, "LOW at most HIGH"),
        (np.zeros((3, 4)), ShapeError, r"expected maps of the labels' size \(9, 11\), got \(3, 4\)"),
        (np.zeros((3, 9, 11)), ShapeError, r"one for each of 4 samples, got shape \(3, 9, 11\)"),
        (lambda own: own[1:], ShapeError, r"got \(8, 11\)"),
        ({"a": np.zeros((9, 11))}, InputError, "no map for sample b"),
        (255 * np.eye(9, 11), InputError, r"mask of 0 and 1, .*; got 0 to 255; compare .* maps > 127\.5$"),
        (np.full((9, 11), 0.4), InputError, r"mask of 0 and 1, .*; got 0\.4 to 0\.4"),
        (lambda own: own - 1, InputError, r"mask of 0 and 1, .*; got -1 to 0; .* maps > -0\.5$"),
        (lambda own: own / 0.0, InputError, "expected finite numbers"),
    ],
)
def test_what_cant_be_wanted_is_said(wanted, kind, message):
    labels = _labels()
    with pytest.raises(kind, match=message):
        parse(wanted, IDS, binary=True).map("b", labels.__getitem__)


@pytest.mark.parametrize(
    ("wanted", "settled"),
    [
        ("shift:0,1", True),
        ("jump:1,2:0:cut", True),
        (np.zeros((9, 11)), True),
        ({"a": np.zeros((9, 11))}, True),
        ("swap", False),
        (np.zeros((4, 9, 11)), False),
        (lambda own: own, False),
    ],
)
def test_what_depends_on_other_samples_or_on_code_is_not_settled(wanted, settled):
    assert is_settled(wanted) is settled


def test_one_sample_has_nobody_to_swap_with():
    with pytest.raises(InputError, match="'swap' expects at least 2 samples, got 1"):
        parse("swap", ("a",), binary=True)
