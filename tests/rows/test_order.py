"""The order of rows: each once, the same everywhere, and well mixed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from ldmscene.rows import batches
from ldmscene.rows.mixing import mixing, same_share
from ldmscene.rows.order import Order, bits, deal_round, shuffled

small = st.integers(1, 9)
orders = st.builds(
    Order, st.integers(0, 2**70), st.integers(0, 99), samples=small, strata=small, rows=small, window=st.integers(1, 40)
)


def hands(order: Order) -> list:
    return [order.deal(k) for k in range(order.window_of(order.total - 1) + 1)]


@given(st.integers(0, 9), st.integers(0, 300), st.integers(0, 2**64))
def test_a_shuffle_is_a_permutation(count, length, seed):
    found = shuffled(bits(seed), count, length)
    np.testing.assert_array_equal(np.sort(found, axis=1), np.tile(np.arange(length), (count, 1)))


def test_shuffles_are_uniform():
    """All 24 orders of four things, and the place of each of 50 things, come equally often."""
    orders_of_four = shuffled(bits(1), 24_000, 4) @ [64, 16, 4, 1]
    assert chisquare(np.unique(orders_of_four, return_counts=True)[1]).pvalue > 0.001
    for column in shuffled(bits(2), 20_000, 50)[:, [0, 17, 49]].T:
        assert chisquare(np.bincount(column, minlength=50)).pvalue > 0.001


def test_the_order_of_a_release_is_that_of_the_next():
    """Saved states go on where they were: on any machine, with any version of numpy."""
    hand = Order(seed=7, epoch=2, samples=5, strata=3, rows=4, window=6).deal(1)
    found = [hand.sample.tolist(), hand.stratum.tolist(), hand.rows.tolist()]
    assert found == PINNED


@given(orders)
@settings(max_examples=200)
def test_each_row_comes_once_an_epoch(order):
    seen = []
    for hand in hands(order):
        assert hand.first == hand.number * order.window * order.rows
        slot, row = np.divmod(hand.rows, order.rows)
        seen.append((hand.sample[slot] * order.strata + hand.stratum[slot]) * order.rows + row)
    np.testing.assert_array_equal(np.sort(np.concatenate(seen)), np.arange(order.total))


@given(orders)
def test_each_round_has_every_sample_once_and_all_strata_alike(order):
    rounds = [deal_round(order, k) for k in range(order.strata)]
    for sample, stratum in rounds:
        np.testing.assert_array_equal(np.sort(sample), np.arange(order.samples))
        counts = np.bincount(stratum, minlength=order.strata)
        assert counts.max() - counts.min() <= 1
        for first in range(0, order.samples, order.strata):  # neighbours differ
            assert len(set(stratum[first : first + order.strata])) == len(stratum[first : first + order.strata])


@given(orders, st.integers(1, 50))
def test_a_run_of_rows_holds_each_chunk_of_its_window_alike(order, length):
    for hand in hands(order):
        chunks = len(hand.sample)
        for first in range(0, len(hand.rows), chunks):
            slots = hand.rows[first : first + chunks] // order.rows
            assert len(set(slots)) == len(slots)
        run = np.bincount(hand.rows[: length - length % chunks] // order.rows, minlength=chunks)
        assert run.max() == run.min()


@given(orders)
def test_a_sample_lies_side_by_side_in_its_window(order):
    for hand in hands(order):
        place = hand.sample * order.strata + hand.stratum
        assert (np.diff(place) > 0).all()


def test_seeds_and_epochs_have_orders_of_their_own():
    first = [Order(seed, epoch, 40, 3, 16, 30).deal(0).rows.tolist() for seed in range(3) for epoch in range(3)]
    assert len(set(map(tuple, first))) == 9


@given(st.lists(st.integers(0, 5), min_size=2, max_size=30))
def test_shares_are_those_of_all_pairs(groups):
    pairs = [a == b for i, a in enumerate(groups) for j, b in enumerate(groups) if i != j]
    assert same_share(np.array(groups)) == pytest.approx(np.mean(pairs))


def test_mixing_is_that_of_the_batches_and_better_than_that_of_shuffled_windows():
    order, batch = Order(3, 0, samples=30, strata=5, rows=64, window=20), 256
    found = mixing(order, batch, 10_000)
    served = np.concatenate([hand.sample[hand.rows // order.rows] for hand in hands(order)])
    whole = served[: len(served) // batch * batch].reshape(-1, batch)
    assert found.measured == pytest.approx(np.mean([same_share(one) for one in whole]))
    everything = np.repeat(np.arange(30), 5 * 64)
    drawn = [same_share(np.random.default_rng(i).choice(everything, batch, replace=False)) for i in range(400)]
    assert found.ideal == pytest.approx(np.mean(drawn), rel=0.02)
    draw = np.random.default_rng(0)
    shuffled_windows = np.concatenate([draw.permutation(np.repeat(hand.sample, 64)) for hand in hands(order)])
    windows = shuffled_windows[: len(served) // batch * batch].reshape(-1, batch)
    assert found.measured < np.mean([same_share(one) for one in windows])


@given(orders, st.integers(1, 30), st.integers(1, 4))
def test_only_windows_that_are_needed_are_wanted(order, batch, every):
    numbers = range(0, batches.count(order, batch), every)
    needed = {order.window_of(position) for n in numbers for position in range(*batches.bounds(order, batch, n))}
    assert batches.wanted(order, batch, numbers) == sorted(needed)


PINNED = [
    [0, 0, 1, 2, 4, 4],
    [0, 2, 2, 0, 1, 2],
    [13, 5, 9, 19, 1, 23, 2, 14, 18, 21, 10, 6, 11, 20, 3, 17, 12, 7, 15, 16, 22, 0, 4, 8],
]
