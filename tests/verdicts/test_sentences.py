"""Every branch of a sentence, from findings and from curves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ldmscene.verdicts import Finding, Lead, Rival, Step, find, sentence
from ldmscene.verdicts.finding import LEAST_EFFECT, Reading

NONE = np.zeros(0)


def step(at, low=None, high=None) -> Step:
    return Step(at, at if low is None else low, at if high is None else high, NONE)


MISSING = Step(None, None, None, NONE)
NEVER = Lead(None, None, None)
SHOWN = Finding(
    "mask", "up_blocks.3", tuple(range(0, 30, 2)), ("position",), 24, 0.51, 0.44, 0.574, step(2, 1, 3), step(9, 7, 12),
    {"raw latent": 0.11, "permuted weights": -0.03}, "raw latent", gain_first=0.082,
)  # fmt: skip


def test_a_finding_that_is_shown() -> None:
    assert sentence(SHOWN) == (
        "mask: readable beyond position from step 4 of 0 to 28 (95 % interval 2 to 6), with a gain of 8 %; 90 % of "
        "what the probe ever gains is there from step 18 (95 % interval 14 to 24). At the last step the probe of "
        "up_blocks.3 explains 51 % of what position leaves unexplained (95 % interval 44 % to 57 %), against 11 % from "
        "raw latent and −3 % from permuted weights. Before that step as much is read from raw latent."
    )


def test_one_step_alone_is_no_beginning() -> None:
    alone = replace(SHOWN, steps=(4,), first=step(0), most=step(0))
    assert sentence(alone) == (
        "mask: readable beyond position at step 4, the only one that was looked at, with a gain of 8 %. At the last "
        "step the probe of up_blocks.3 explains 51 % of what position leaves unexplained (95 % interval 44 % to 57 %), "
        "against 11 % from raw latent and −3 % from permuted weights."
    )
    assert "at step 4, the only one" not in sentence(replace(alone, first=MISSING, most=MISSING))
    assert ", with a score of 0.08 in Dice." in sentence(replace(alone, measure="dice", beyond=()))


def test_what_decides_before_the_first_step() -> None:
    assert "Before that step it is not above 2 %." in sentence(replace(SHOWN, decided=LEAST_EFFECT))
    assert "Before" not in sentence(replace(SHOWN, first=step(0)))


def test_the_end_is_no_finding_about_an_earlier_step() -> None:
    text = sentence(replace(SHOWN, most=step(14, 11, 14)))
    assert "90 % of what the probe ever gains is not there before the picture is finished" in text
    assert "(95 % interval from step 22 to 28)" in text
    assert "before the picture is finished" not in sentence(SHOWN)


def test_what_was_known_is_named() -> None:
    text = sentence(replace(SHOWN, beyond=("position", "mask", "latent")))
    assert "readable beyond position, mask and latent from" in text
    assert "of what position, mask and latent leave unexplained" in text
    plain = sentence(replace(SHOWN, beyond=()))
    assert "mask: readable from step 4" in plain
    assert "explains 51 % of the variance" in plain
    assert plain.endswith("The position was not taken off, so that what is read may be where things usually are.")
    assert "not taken off" in sentence(replace(SHOWN, beyond=("latent",)))
    assert "not taken off" not in text


def test_scores_are_numbers_and_no_shares() -> None:
    text = sentence(replace(SHOWN, measure="dice", beyond=(), decided=LEAST_EFFECT))
    assert "scores 0.51 in Dice (95 % interval 0.44 to 0.57), against 0.11 from raw latent" in text
    assert "−0.03 from permuted weights" in text
    assert "(95 % interval 2 to 6), with a score of 0.08 in Dice;" in text
    assert "it is not above 0.02." in text
    assert "The position was not taken off" in text


def test_a_finding_that_is_not_shown_names_what_decided() -> None:
    lost = replace(SHOWN, first=MISSING, most=MISSING)
    assert sentence(lost) == (
        "mask: not shown to be readable beyond position. At the last step the probe of up_blocks.3 explains 51 % of "
        "what position leaves unexplained (95 % interval 44 % to 57 %), against 11 % from raw latent and −3 % from "
        "permuted weights: not clearly more than is read from raw latent."
    )
    least = sentence(replace(lost, decided=LEAST_EFFECT, rivals={}))
    assert least.endswith("(95 % interval 44 % to 57 %): not clearly more than 2 %, the least that counts.")


def test_labelers_come_later_earlier_together_or_never() -> None:
    def said(reading: Reading) -> str:
        return sentence(replace(SHOWN, readings={"labeler on x_t": reading})).partition("The labeler")[2]

    later = Reading(step(5), step(12), Lead(3, 2, 4), Lead(3, 0, 5))
    assert said(later) == (
        " on x_t reads something of it from step 10, 3 steps later (+2 to +4, 95 % interval), and as much as the probe "
        "from step 24, 3 steps later (0 to +5, 95 % interval)."
    )
    earlier = said(Reading(step(1), step(9), Lead(-1, -2, 1), Lead(0, 0, 0)))
    assert "from step 2, 1 step earlier (−2 to +1, 95 % interval)" in earlier
    assert earlier.endswith("as much as the probe from step 18, no later.")
    assert said(Reading(step(5), MISSING, Lead(3, 3, 3), NEVER)) == (
        " on x_t reads something of it from step 10, 3 steps later, and never as much as the probe."
    )
    assert said(Reading(MISSING, MISSING, NEVER, NEVER)) == " on x_t is never shown to read anything of it."
    lost = replace(SHOWN, first=MISSING, most=MISSING, readings={"labeler on x_t": later})
    assert "labeler" not in sentence(lost)


@pytest.mark.parametrize(
    ("prompts", "said"),
    [
        (1, "Only 1 prompt is held out, too few for an interval, so that nothing can be shown."),
        (3, "Only 3 prompts are held out, too few for an interval, so that nothing can be shown."),
        (4, "Only 4 prompts are held out: below 20 prompts intervals are rough."),
        (19, "Only 19 prompts are held out: below 20 prompts intervals are rough."),
    ],
)
def test_few_prompts_are_said_to_be_few(prompts, said) -> None:
    assert said in sentence(replace(SHOWN, prompts=prompts))
    assert "prompts are held out" not in sentence(replace(SHOWN, prompts=20))


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
    assert "never shown to read anything" in sentence(found)


def test_a_rival_that_reads_as_much_undoes_a_finding() -> None:
    probe = curves(0.5)
    noise = np.concatenate([np.full((1, 24), 0.9), np.zeros((14, 24))])
    for rival in (Rival("raw latent", noise, True), Rival("permuted weights", probe[:, ::-1])):
        found = find("depth", "mid", probe, steps=range(15), rivals=[rival])
        assert not found.first.shown
        assert not found.most.shown
        assert found.decided == rival.name
    assert find("depth", "mid", probe, steps=range(15), rivals=[Rival("raw latent", noise)]).first.shown


def test_nothing_is_shown_by_three_prompts() -> None:
    found = find("depth", "mid", curves(0.5, prompts=3), steps=range(15))
    assert not found.first.shown
    assert "(no interval). Only 3 prompts" in sentence(found)


def test_no_share_is_above_the_whole() -> None:
    effects = np.repeat([[0.99, 0.99, 0.99, 0.7]], 3, axis=0)  # an interval about the mean reaches beyond 1
    assert find("depth", "mid", effects, steps=range(3)).gain_high == 1
    assert find("depth", "mid", effects, steps=range(3), measure="rmse").gain_high > 1
    assert find("depth", "mid", effects[:, :3], steps=range(3)).gain_high == np.inf
