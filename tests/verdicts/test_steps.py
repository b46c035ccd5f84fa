"""Steps on curves whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldmscene.verdicts import counts, first_step, lead, most_step
from ldmscene.verdicts.steps import margins

STEPS = np.arange(15)
SLOW = 0.8 * (1 - np.exp(-(STEPS + 1) / 2))  # 90 % from step 4
RISE = 0.03 * np.maximum(STEPS - 3.5, -0.5)  # above 0 from step 4


def sure(curve, prompts: int = 6) -> np.ndarray:
    return np.repeat(np.array(curve, float)[:, None], prompts, 1)


def noisy(curve, seed: int, prompts: int = 10, size: float = 0.06, common=0.1, skewed=False) -> np.ndarray:
    rng = np.random.default_rng(seed)

    def noise(*shape):
        return 1 - rng.exponential(size=shape) if skewed else rng.normal(size=shape)

    return np.array(curve)[:, None] + common * noise(1, prompts) + size * noise(len(curve), prompts)


@pytest.mark.parametrize(
    ("curve", "first", "most"),
    [
        ([0.0, 0.3, 0.5, 0.8, 0.8], 1, 3),
        ([0.1, 0.79, 0.5, 0.75, 0.8], 0, 3),  # a dip after the mark counts
        ([0.5, 0.0, 0.5, 0.5, 0.5], 2, 0),  # its best step comes first
        ([0.1, 0.8, 0.6, 0.4, 0.3], 0, 1),  # what is lost after the best step was there
        ([0.0, 0.0, 0.0, 0.0, 0.7], 4, 4),
    ],
)
def test_without_noise_steps_are_exact(curve, first, most) -> None:
    drawn, values = counts(6, 99), sure(curve)
    found = first_step(margins(values, []), drawn)
    assert (found.at, found.low, found.high) == (first,) * 3
    found = most_step(values, drawn)
    assert (found.at, found.low, found.high) == (most,) * 3


def test_what_ends_below_a_mark_is_not_shown() -> None:
    drawn = counts(6, 99)
    assert not first_step(margins(sure([0.5, 0.5, 0.01]), []), drawn).shown
    assert not first_step(margins(sure([0.5, 0.5, 0.5]), [(sure([0, 0, 0.6]), False)]), drawn).shown


def test_a_rival_counts_at_the_same_step_or_also_as_it_was() -> None:
    drawn, probe, rival = counts(6, 99), sure([0.4, 0.3, 0.3, 0.3]), sure([0.5, 0.1, 0.1, 0.1])
    assert first_step(margins(probe, [(rival, False)]), drawn).at == 1
    assert not first_step(margins(probe, [(rival, True)]), drawn).shown
    late = sure([0.1, 0.1, 0.1, 0.35])
    assert first_step(margins(probe, [(late[::-1] * 0 + 0.2, True)]), drawn).at == 0


def test_an_effect_of_less_than_the_least_is_none() -> None:
    drawn = counts(6, 99)
    assert not first_step(margins(sure([0.015] * 4), []), drawn).shown
    assert first_step(margins(sure([0.015] * 4), [], least=0.01), drawn).at == 0


def test_another_curves_mark() -> None:
    drawn = counts(6, 99)
    probe, labeler = sure([0.1, 0.8, 0.8, 0.8]), sure([0.0, 0.1, 0.75, 1.0])
    assert most_step(labeler, drawn, mark=probe).at == 2
    assert not most_step(labeler * 0.5, drawn, mark=probe).shown


def test_leads_are_differences_of_the_same_draws() -> None:
    drawn, noise = counts(24), noisy(np.zeros(15), 3, 24)
    early, late = SLOW[:, None] + noise, np.concatenate([np.zeros((3, 24)), SLOW[:-3, None] + noise[:-3]])
    found = lead(most_step(late, drawn), most_step(early, drawn), STEPS)
    assert found.low <= 3 <= found.high
    assert abs(found.steps - 3) <= 1
    spread = lead(most_step(late, drawn), most_step(early, drawn), 3 * STEPS)
    # What is there at one of every third step may have been there two steps before.
    assert (spread.steps, spread.low, spread.high) == (3 * found.steps, 3 * found.low - 2, 3 * found.high + 2)
    never = most_step(0.1 * late, drawn, mark=early)
    assert lead(never, most_step(early, drawn), STEPS).steps is None


@given(seed=st.integers(0, 10_000), skewed=st.booleans(), prompts=st.integers(4, 12))
def test_bounds_enclose_the_step(seed: int, skewed: bool, prompts: int) -> None:
    values, drawn = noisy(SLOW, seed, prompts, skewed=skewed), counts(prompts, 199)
    for found in (most_step(values, drawn), first_step(margins(values, []), drawn)):
        if found.shown:
            assert 0 <= found.low <= found.at <= found.high < len(STEPS)


@pytest.mark.parametrize("skewed", [False, True])
def test_the_step_of_a_slow_curve_is_hardly_biased_and_covered(skewed: bool) -> None:
    for prompts, bias in ((10, 0.7), (24, 0.4)):
        drawn = counts(prompts, 399)
        found = [most_step(noisy(SLOW, seed, prompts, skewed=skewed), drawn) for seed in range(200)]
        assert abs(np.mean([step.at for step in found]) - 4) <= bias
        assert np.mean([step.low <= 4 <= step.high for step in found]) >= 0.95


def test_the_first_step_is_hardly_biased_and_covered() -> None:
    for prompts, bias in ((10, 0.7), (24, 0.4)):
        drawn = counts(prompts, 399)
        found = [first_step(noisy(RISE, seed, prompts, 0.03, 0.03)[None], drawn) for seed in range(200)]
        shown = [step for step in found if step.shown]
        assert len(shown) > 190
        assert abs(np.mean([step.at for step in shown]) - 4) <= bias
        assert np.mean([step.low <= 4 <= step.high for step in shown]) >= 0.95


def test_noise_alone_is_seldom_shown() -> None:
    for prompts in (5, 10, 24):
        drawn = counts(prompts, 399)
        found = [first_step(margins(noisy(np.full(15, 0.02), s, prompts), []), drawn) for s in range(300)]
        assert np.mean([step.shown for step in found]) <= 0.05
