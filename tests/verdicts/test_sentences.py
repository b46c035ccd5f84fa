"""Every branch of a sentence, from findings and from curves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ldmscene.verdicts import Finding, Lead, Rival, Step, counts, find, sentence
from ldmscene.verdicts.finding import LEAST_EFFECT, Reading
from ldmscene.verdicts.steps import falls_short

NONE = np.zeros(0)


def step(at, low=None, high=None) -> Step:
    return Step(at, at if low is None else low, at if high is None else high, NONE)


MISSING = Step(None, None, None, NONE)
NEVER = Lead(None, None, None)
SHOWN = Finding(
    "mask", "up_blocks.3", tuple(range(15)), ("position",), 24, 0.51, 0.44, 0.574, step(2, 1, 3), step(9, 7, 12),
    {"raw latent": 0.11, "permuted weights": -0.03}, "raw latent", gain_first=0.082, run=15, pictures=48,
)  # fmt: skip
LOST = replace(SHOWN, first=MISSING, most=MISSING)
JUDGES = "On 48 pictures of 24 held-out prompts."


def test_a_finding_that_is_shown() -> None:
    assert sentence(SHOWN) == (
        "mask: readable beyond position from step 2 of 0 to 14 (95 % interval 1 to 3), with a gain of 8 %; 90 % of "
        "what the probe ever gains is there from step 9 (95 % interval 7 to 12). At the last step the probe of "
        "up_blocks.3 explains 51 % of what position leaves unexplained (95 % interval 44 % to 57 %), against 11 % from "
        f"raw latent and −3 % from permuted weights. At step 1 as much is read from raw latent. {JUDGES}"
    )


def test_one_step_alone_is_no_beginning() -> None:
    alone = replace(SHOWN, steps=(4,), first=step(0), most=step(0))
    assert sentence(alone) == (
        "mask: readable beyond position at step 4, the only one that was looked at, with a gain of 8 %. At step 4 "
        "the probe of up_blocks.3 explains 51 % of what position leaves unexplained (95 % interval 44 % to 57 %), "
        f"against 11 % from raw latent and −3 % from permuted weights. {JUDGES}"
    )
    assert "At the last step" in sentence(replace(alone, steps=(14,)))
    assert sentence(replace(alone, first=MISSING, most=MISSING)).startswith(
        "mask: not shown to be readable beyond position at step 4, the only one that was looked at. At step 4 the probe"
    )
    assert ", with a score of 0.08 in Dice." in sentence(replace(alone, measure="dice", beyond=()))


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ((0, 7, 14), "at the steps looked at (0, 7 and 14 of 0 to 14), readable beyond position from step 14 (95 % "
                     "interval 1 to 14), with a gain of 8 %; 90 % of what the probe ever gains is not shown to be "
                     "there before the picture is finished (95 % interval from step 8 to 14). At the last step the"),
        ((0, 1, 2), "at the steps looked at (0 to 2 of 0 to 14), readable beyond position from step 2 (95 % interval 1 "
                    "to 2), with a gain of 8 %; 90 % of what the probe gains at any of them is not there before step 2 "
                    "(95 % interval from step 2 to 2). At step 2 the"),
        ((2, 9), "at the steps looked at (2 and 9 of 0 to 14), "),
        (tuple(range(0, 28, 2)), "at the steps looked at (14 from 0 to 26 of 0 to 26), "),
    ],
)  # fmt: skip
def test_some_steps_of_a_run_are_not_the_run(steps: tuple[int, ...], said: str) -> None:
    """Something that is first read at the second of two steps may be there from after the first on."""
    end = len(steps) - 1
    found = replace(SHOWN, steps=steps, first=step(end, min(1, end), end), most=step(end, end, end))
    assert sentence(found).startswith(f"mask: {said}")
    blind = {"labeler on x_t": Reading(MISSING, MISSING, NEVER, NEVER)}
    shown = "never shown" if steps[-1] >= 14 else f"not shown by step {steps[-1]}"
    assert f"The labeler on x_t is {shown} to read more" in sentence(replace(found, readings=blind))


def test_what_decides_before_the_first_step() -> None:
    assert "At step 1 it is not above 2 %." in sentence(replace(SHOWN, decided=LEAST_EFFECT))
    assert "At step 1" not in sentence(replace(SHOWN, first=step(0)))


def test_what_was_read_and_lost_again_is_said() -> None:
    gap = replace(SHOWN, first=step(8, 7, 8), earlier=(0, 1, 2, 3), decided=LEAST_EFFECT)
    assert "At step 7 it is not above 2 %. It is read, too, at steps 0 to 3." in sentence(gap)
    lost = sentence(replace(LOST, earlier=(0, 1, 2, 3, 4, 5, 6, 7)))
    assert lost.startswith(
        "mask: readable beyond position at steps 0 to 7, and not shown to be readable later. At the last"
    )
    assert "at step 3, and not shown" in sentence(replace(LOST, earlier=(3,)))
    assert "readable beyond position at 7 steps from 0 to 12, and not" in sentence(
        replace(LOST, earlier=tuple(range(0, 14, 2)))
    )


def test_a_latent_that_held_more_earlier_is_named_with_its_step() -> None:
    """Of the last step it reads less than the probe, so that its name alone would contradict the numbers."""
    assert "not clearly more than is read from raw latent of step 0." in sentence(replace(LOST, decided_at=0))
    assert "At step 1 as much is read from raw latent of step 0." in sentence(replace(SHOWN, decided_at=0))


def test_the_end_is_no_finding_about_an_earlier_step() -> None:
    text = sentence(replace(SHOWN, most=step(14, 11, 14)))
    assert "90 % of what the probe ever gains is not shown to be there before the picture is finished (95 %" in text
    assert "(95 % interval from step 11 to 14)" in text
    assert "is not there before the picture is finished (95 % interval from step 14 to 14)" in sentence(
        replace(SHOWN, most=step(14))
    )
    assert "before the picture is finished" not in sentence(SHOWN)


def test_what_was_known_is_named() -> None:
    text = sentence(replace(SHOWN, beyond=("position", "mask", "latent")))
    assert "readable beyond position, mask and latent from" in text
    assert "of what position, mask and latent leave unexplained" in text
    plain = sentence(replace(SHOWN, beyond=()))
    assert "mask: readable from step 2" in plain
    assert "explains 51 % of the variance" in plain
    assert plain.endswith("The position was not taken off, so that what is read may be where things usually are.")
    assert "not taken off" in sentence(replace(SHOWN, beyond=("latent",)))
    assert "not taken off" not in text


def test_scores_are_numbers_and_no_shares() -> None:
    text = sentence(replace(SHOWN, measure="dice", beyond=(), decided=LEAST_EFFECT))
    assert "scores 0.51 in Dice (95 % interval 0.44 to 0.57), against 0.11 from raw latent" in text
    assert "−0.03 from permuted weights" in text
    assert "(95 % interval 1 to 3), with a score of 0.08 in Dice;" in text
    assert "it is not above 0.02." in text
    assert "The position was not taken off" in text


def test_errors_are_printed_as_they_are() -> None:
    error = replace(
        SHOWN, measure="rmse", beyond=(), gain=-0.5, gain_low=-0.6, gain_high=-0.4, rivals={"mean label": -1.0},
        lower_is_better=True, gain_first=-0.7,
    )  # fmt: skip
    text = sentence(error)
    assert "scores 0.50 in RMSE (95 % interval 0.40 to 0.60), against 1.00 from mean label" in text
    assert "with a score of 0.70 in RMSE. At the last step" in text  # no share of an error is there from some step on


def test_a_finding_that_is_not_shown_names_what_decided() -> None:
    assert sentence(LOST) == (
        "mask: not shown to be readable beyond position. At the last step the probe of up_blocks.3 explains 51 % of "
        "what position leaves unexplained (95 % interval 44 % to 57 %), against 11 % from raw latent and −3 % from "
        f"permuted weights: not clearly more than is read from raw latent. {JUDGES}"
    )
    least = sentence(replace(LOST, decided=LEAST_EFFECT, rivals={}))
    assert least.endswith(f"(95 % interval 44 % to 57 %): not clearly more than 2 %, the least that counts. {JUDGES}")
    coarse = sentence(replace(LOST, ceiling=0.17))
    assert "from raw latent. Maps of its size could gain 17 % at most." in coarse
    assert "at most" not in sentence(LOST)


def test_labelers_come_later_earlier_together_or_never() -> None:
    def said(reading: Reading) -> str:
        text = sentence(replace(SHOWN, readings={"labeler on x_t": reading}))
        return text.partition("The labeler")[2].removesuffix(f" {JUDGES}")

    later = Reading(step(5), step(12), Lead(3, 2, 4), Lead(3, 0, 5))
    assert said(later) == (
        " on x_t reads something of it from step 5, 3 steps later (+2 to +4, 95 % interval), and as much as the probe "
        "from step 12, 3 steps later (0 to +5, 95 % interval)."
    )
    earlier = said(Reading(step(1), step(9), Lead(-1, -2, 1), Lead(0, 0, 0)))
    assert "from step 1, 1 step earlier (−2 to +1, 95 % interval)" in earlier
    assert earlier.endswith("as much as the probe from step 9, no later.")
    assert said(Reading(step(5), MISSING, Lead(3, 3, 3), NEVER)) == (
        " on x_t reads something of it from step 5, 3 steps later, and is never shown to read as much as the probe."
    )
    assert said(Reading(MISSING, MISSING, NEVER, NEVER)) == (
        " on x_t is never shown to read more of it than is read from raw latent and permuted weights."
    )
    alone = replace(SHOWN, rivals={}, readings={"labeler on x_t": Reading(MISSING, MISSING, NEVER, NEVER)})
    assert "The labeler on x_t is never shown to read anything of it." in sentence(alone)
    assert "labeler" not in sentence(replace(LOST, readings={"labeler on x_t": later}))


@pytest.mark.parametrize(
    ("prompts", "said"),
    [
        (1, "On 48 pictures of 1 held-out prompt, too few for an interval, so that nothing can be shown."),
        (3, "On 48 pictures of 3 held-out prompts, too few for an interval, so that nothing can be shown."),
        (4, "On 48 pictures of 4 held-out prompts: below 20 prompts intervals are rough."),
        (19, "On 48 pictures of 19 held-out prompts: below 20 prompts intervals are rough."),
        (20, "On 48 pictures of 20 held-out prompts."),
    ],
)
def test_whose_pictures_judge_is_said(prompts: int, said: str) -> None:
    assert sentence(replace(SHOWN, prompts=prompts)).endswith(said)
    told = {1: "no interval", 3: "no interval", 4: "Student’s 98 % interval 44 % to 57 %"}
    expected = told.get(prompts, "95 % interval 44 % to 57 %")
    bounds = {} if prompts > 3 else {"gain_low": -np.inf, "gain_high": np.inf}
    assert f"unexplained ({expected})" in sentence(replace(SHOWN, prompts=prompts, **bounds))
    unseen = replace(SHOWN, prompts=prompts, held_out="unseen")
    assert "of the split unseen" in sentence(unseen)
    assert "held-out prompt" in sentence(unseen)


def test_what_was_not_run_is_said() -> None:
    assert sentence(replace(SHOWN, missing=("permuted weights",))).endswith(
        "Not run, and so not excluded: permuted weights."
    )


def curves(level: float, seed: int = 0, prompts: int = 24) -> np.ndarray:
    rng = np.random.default_rng(seed)
    curve = level / (1 + np.exp(-(np.arange(15) - 6) / 1.5))
    return curve[:, None] + 0.05 * rng.normal(size=(1, prompts)) + 0.02 * rng.normal(size=(15, prompts))


def test_a_finding_from_curves() -> None:
    probe, late = curves(0.5), np.concatenate([np.zeros((4, 24)), curves(0.5, 1)[:-4]])
    rivals = [Rival("raw latent", 0.1 * probe, True), Rival("permuted weights", np.full((15, 24), 0.1))]
    found = find(
        "depth", "mid", probe, steps=range(15), rivals=rivals, labelers={"same": probe, "late": late, "blind": 0 * late}
    )
    assert found.decided == "permuted weights"
    assert found.gain_low < found.gain < found.gain_high
    assert found.gain == pytest.approx(probe[-1].mean())
    assert found.gain_first == pytest.approx(probe[found.first.at].mean())
    assert found.rivals["permuted weights"] == pytest.approx(0.1)
    assert (found.first.low, found.first.high) == (3, 5) or found.first.low <= 4 <= found.first.high
    assert found.readings["same"].lead_first == Lead(0, 0, 0)
    assert found.readings["late"].lead_first.low <= 4 <= found.readings["late"].lead_first.high
    assert not found.readings["blind"].first.shown
    assert "never shown to read more of it than is read from raw latent and permuted weights" in sentence(found)


def test_a_rival_that_reads_as_much_undoes_a_finding() -> None:
    probe = curves(0.5)
    noise = np.concatenate([np.full((1, 24), 0.9), np.zeros((14, 24))])
    for rival in (Rival("raw latent", noise, True), Rival("permuted weights", probe[:, ::-1])):
        found = find("depth", "mid", probe, steps=range(15), rivals=[rival])
        assert not found.first.shown
        assert not found.most.shown
        assert found.decided == rival.name
        assert found.decided_at == (0 if rival.earlier else None)
    assert find("depth", "mid", probe, steps=range(15), rivals=[Rival("raw latent", noise)]).first.shown


def test_the_earlier_step_of_a_latent_is_the_one_at_which_it_reads_most() -> None:
    probe = curves(0.5) + np.arange(15)[:, None] / 40
    latent = np.zeros((15, 24))
    latent[3] = probe[8].mean() + 0.01
    found = find("depth", "mid", probe, steps=range(15), rivals=[Rival("raw latent", latent, True)])
    assert (found.first.at, found.decided, found.decided_at) == (9, "raw latent", 3)
    at_once = find("depth", "mid", probe, steps=range(15), rivals=[Rival("raw latent", probe - 1, True)])
    assert (at_once.decided, at_once.decided_at) == (LEAST_EFFECT, None)


@pytest.mark.parametrize("prompts", [8, 24])
def test_what_is_lost_by_the_last_step_is_not_there_from_some_step_on(prompts: int) -> None:
    """A probe that reads most in the middle, and one that only seems to."""
    noise = 0.005 * np.random.default_rng(0).normal(size=(15, prompts))
    middle = 0.6 * np.exp(-(((np.arange(15) - 6) / 2) ** 2))[:, None]
    found = find("depth", "mid", np.maximum(middle, 0.2 * (np.arange(15) > 6)[:, None]) + noise, steps=range(15))
    assert found.most.at == 6
    assert found.lost
    assert "is there from step 6 (95 % interval 6 to " in sentence(found)
    assert "), and no longer at the last step. At the last step the probe" in sentence(found)
    held = find("depth", "mid", np.minimum(0.1 * np.arange(15), 0.6)[:, None] + 3 * noise, steps=range(15))
    assert held.most.at < 14
    assert not held.lost


def test_what_seems_lost_by_chance_is_not_said_to_be() -> None:
    """Nor where the last step truly has just the share, and one prompt in three nothing of it."""
    level = np.where(np.arange(15) < 14, 1, 0.9)[:, None]
    rng = np.random.default_rng(0)
    for prompts in (8, 24):
        noise = 0.05 * rng.normal(size=(200, 15, prompts))
        trials = level * rng.normal(0.2, 0.2, size=(200, 1, prompts)) + noise
        assert sum(falls_short(one, counts(prompts, 499)) for one in trials) <= 12


def test_of_too_few_prompts_nothing_decides() -> None:
    few = find("depth", "mid", curves(0.5, prompts=3), steps=range(15), rivals=[Rival("raw latent", np.zeros((15, 3)))])
    assert (few.decided, few.first.shown) == ("", False)
    assert "not clearly" not in sentence(few)
    assert find("depth", "mid", curves(0.5, prompts=4), steps=range(15)).decided == LEAST_EFFECT


def test_a_gap_takes_the_beginning_away_and_not_what_was_read_before() -> None:
    """A probe that reads at steps 0 to 4 and from 8 on: the beginning is 8, most can't be there before it."""
    probe = np.full((15, 24), 0.3) + 0.02 * np.random.default_rng(0).normal(size=(15, 24))
    probe[5:8] -= 0.3
    found = find("depth", "mid", probe, steps=range(15))
    assert (found.first.at, found.most.at) == (8, 8)
    assert found.earlier == (0, 1, 2, 3, 4)
    assert "It is read, too, at steps 0 to 4." in sentence(found)
    seen = find("depth", "mid", np.full((15, 24), 0.3), steps=range(15), labelers={"gapped": probe})
    assert (seen.readings["gapped"].first.at, seen.readings["gapped"].most.at) == (8, 8)
    lost = find(
        "depth", "mid", probe, steps=range(15), rivals=[Rival("raw latent", np.linspace(0, 1, 15)[:, None] + 0 * probe)]
    )
    assert not lost.first.shown
    assert lost.earlier[:3] == (0, 1, 2)
    assert lost.decided == "raw latent"


def test_what_is_read_earlier_is_no_easier_to_show_than_the_beginning() -> None:
    """Of eight skewed prompts quantiles of replicates alone would show the last step where the beginning isn't."""
    rng = np.random.default_rng(0)
    for _ in range(100):
        probe = rng.exponential(0.1, size=(1, 8)) + 0.001 * rng.normal(size=(3, 8))
        found = find("depth", "mid", probe, steps=range(3))
        assert found.first.shown or 2 not in found.earlier


def test_a_score_that_few_prompts_miss_is_judged_all_the_same() -> None:
    """Where one prompt of 24 varies, a third of all replicates hold it not at all and have no error."""
    scores = np.ones((3, 24))
    scores[:, 0] = 0.9
    found = find("depth", "mid", scores, steps=range(3), rivals=[Rival("raw latent", 0 * scores + 0.5)])
    assert found.first.shown
    assert 0.98 < found.gain_low < found.gain < 1
    # Nor does it help that the others vary by rounding.
    nearly = scores + 1e-7 * np.random.default_rng(0).normal(size=scores.shape)
    again = find("depth", "mid", nearly, steps=range(3), rivals=[Rival("raw latent", 0 * scores + 0.5)])
    assert (again.gain_low, again.gain_high) == pytest.approx((found.gain_low, found.gain_high), abs=1e-6)
    one = np.zeros((3, 24))
    one[:, 0] = 1
    assert not find("depth", "mid", one, steps=range(3)).first.shown


def test_errors_are_judged_by_their_rivals_alone() -> None:
    rng = np.random.default_rng(0)
    probe = -0.5 + 0.02 * rng.normal(size=(5, 24))
    better, worse = (Rival("mean label", probe + shift + 0.02 * rng.normal(size=(5, 24))) for shift in (0.2, -0.2))
    assert find("depth", "mid", probe, steps=range(5), rivals=[worse], least=None, measure="rmse").first.at == 0
    lost = find("depth", "mid", probe, steps=range(5), rivals=[worse, better], least=None, measure="rmse")
    assert (lost.first.at, lost.decided) == (None, "mean label")


def test_nothing_is_shown_by_three_prompts() -> None:
    found = find("depth", "mid", curves(0.5, prompts=3), steps=range(15))
    assert not found.first.shown
    assert "(no interval). On 3 held-out prompts, too few" in sentence(found)


def test_no_share_is_above_the_whole() -> None:
    effects = np.repeat([[0.99, 0.99, 0.99, 0.7]], 3, axis=0)  # an interval about the mean reaches beyond 1
    assert find("depth", "mid", effects, steps=range(3)).gain_high == 1
    assert find("depth", "mid", effects, steps=range(3), measure="rmse").gain_high > 1
    assert find("depth", "mid", effects[:, :3], steps=range(3)).gain_high == np.inf
