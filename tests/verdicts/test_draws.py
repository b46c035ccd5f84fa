"""Intervals for few prompts: against a plain loop, Student's t, and the truth of simulations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student_t

from ldmscene.verdicts import Draws, counts


def test_replicates_are_those_of_a_plain_loop() -> None:
    values = np.random.default_rng(0).gamma(2, size=(3, 7))
    drawn = counts(7, 50, seed=1)
    found = Draws.of(values, drawn)
    for b, times in enumerate(drawn.astype(int)):
        sample = np.repeat(values, times, axis=1)
        about = sample.mean(1) - values.mean(1)
        error = sample.std(1) / np.sqrt(6)
        np.testing.assert_allclose(found.deviation[b], about * np.sqrt(7 / 6))
        np.testing.assert_allclose(found.student[b], about / error)
    np.testing.assert_allclose(found.error, values.std(1, ddof=1) / np.sqrt(7))


def test_many_normal_prompts_give_students_interval() -> None:
    values = np.random.default_rng(0).normal(3, 2, size=200)
    found = Draws.of(values, counts(200))
    low, high = student_t.interval(0.95, 199, values.mean(), values.std(ddof=1) / np.sqrt(200))
    width = high - low
    assert float(found.lower()) == pytest.approx(low, abs=0.05 * width)
    assert float(found.upper()) == pytest.approx(high, abs=0.05 * width)


@given(seed=st.integers(0, 1000), shift=st.floats(-5, 5), scale=st.floats(0.1, 10))
def test_bounds_follow_the_unit(seed: int, shift: float, scale: float) -> None:
    values, drawn = np.random.default_rng(seed).gamma(1, size=(2, 8)), counts(8, 200)
    plain, changed, flipped = (Draws.of(v, drawn) for v in (values, shift + scale * values, -values))
    np.testing.assert_allclose(changed.lower(), shift + scale * plain.lower(), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(flipped.lower(), -plain.upper())
    np.testing.assert_allclose(flipped.band(), [-bound for bound in plain.band()[::-1]])


@given(seed=st.integers(0, 1000))
def test_a_band_is_wider_than_each_interval(seed: int) -> None:
    values, drawn = np.random.default_rng(seed).normal(size=(4, 3, 12)), counts(12, 500)
    found = Draws.of(values, drawn)
    low, _ = found.band()
    assert (low <= np.minimum(found.lower(), found.lower_of_all())).all()
    assert (found.lower_of_all() <= found.lower(0.05)).all()
    assert (found.upper_of_each(0.025, 0) >= found.upper()).all()


@pytest.mark.parametrize(("skewed", "least"), [(False, 0.93), (True, 0.90)])
@pytest.mark.parametrize("prompts", [5, 10])
def test_few_prompts_are_covered(prompts: int, skewed: bool, least: float) -> None:
    rng = np.random.default_rng(0)
    values = rng.exponential(size=(1500, prompts)) - 1 if skewed else rng.normal(size=(1500, prompts))
    found = Draws.of(values, counts(prompts, 999))
    assert np.mean((found.lower() <= 0) & (found.upper() >= 0)) >= least


@pytest.mark.parametrize("prompts", [4, 5, 7, 9])
def test_below_ten_prompts_intervals_are_students_at_98_percent(prompts: int) -> None:
    values = np.random.default_rng(0).gamma(2, size=prompts)
    found = Draws.of(values, counts(prompts, 99))
    theirs = student_t.interval(0.98, prompts - 1, values.mean(), values.std(ddof=1) / np.sqrt(prompts))
    np.testing.assert_allclose([found.lower(), found.upper()], theirs)


def test_a_bound_for_all_is_seldom_passed_by_any() -> None:
    rng = np.random.default_rng(0)
    drawn, wrong = counts(12, 500), 0
    for _ in range(200):
        common = rng.normal(size=12)
        wrong += (Draws.of(common + rng.normal(size=(30, 12)), drawn).lower_of_all() > 0).any()
    assert wrong <= 18  # of 10 expected; more are chance once in a hundred


@pytest.mark.parametrize("prompts", [1, 2, 3])
def test_below_four_prompts_nothing_is_bounded(prompts: int) -> None:
    found = Draws.of(np.ones((2, prompts)) + np.arange(prompts), counts(prompts, 99))
    assert (found.lower() == -np.inf).all()
    assert (found.upper() == np.inf).all()
    assert (found.lower_of_all() == -np.inf).all()


def test_prompts_that_agree_leave_no_doubt() -> None:
    found = Draws.of(np.full((2, 6), 0.1), counts(6, 99))
    np.testing.assert_allclose([found.lower(), found.upper(), *found.band()], 0.1)
