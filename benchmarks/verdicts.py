"""How often verdicts are wrong, where the truth is known.

python -m benchmarks.verdicts            prints docs/benchmarks.md's table of verdicts
python -m benchmarks.verdicts --quick    a few trials of each row, to see that it runs

Rows of labels go the whole way: features, folds, nested fits, rivals, module, verdict. Rows of curves start from
effects by step and prompt.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks import harness, worlds
from ldmscene.verdicts import Draws, Step, counts, first_step, most_step
from ldmscene.verdicts.steps import LEAST, SHARE, margins

Array = np.ndarray

SEED = 0
PROMPTS = (5, 10, 24, 100)
STEPS = np.arange(15)
# Effects by step; `truth` follows from them.
SLOW, SHARP = 0.8 * (1 - np.exp(-(STEPS + 1) / 2)), 0.8 / (1 + np.exp(-(STEPS - 4.5) / 0.25))
RAMP = 0.03 * np.maximum(STEPS - 3.2, 0)
NULLS = {
    "a field for each image": worlds.image_fields,
    "a field for each prompt": worlds.prompt_fields,
    "position only": worlds.position_only,
    "a channel of the first noise": worlds.noise_channel,
}
KNOWN = {
    "position pattern + 0.6 × mask": worlds.under_position,
    "known to one of two modules": worlds.other_module,
}
NORMAL, SKEWED = "normal", "skewed"
COVER = {NORMAL: 0.93, SKEWED: 0.90}
BIAS = {10: 0.7, 24: 0.4, 100: 0.4}


def rows(trials: int, labels: int) -> list[dict]:
    """All lines of the table; `labels` is how many labels a line judges."""
    found = [claimed(name, make, n, labels, most=0.05) for name, make in NULLS.items() for n in PROMPTS[:3]]
    found += [borderline(n, values, 10 * trials) for n in PROMPTS[:3] for values in COVER]
    found += [stand_out(n, trials) for n in PROMPTS[:3]]
    found += [claimed(name, make, n, labels, least=0.8) for name, make in KNOWN.items() for n in PROMPTS[:3]]
    found += [covered(n, values, 10 * trials) for n in PROMPTS[:3] for values in COVER]
    curves = ("slow", RAMP, first), ("sharp", SHARP, first), ("slow", SLOW, most), ("sharp", SHARP, most)
    for name, curve, step in curves:
        found += [located(name, curve, step, n, values, trials) for n in PROMPTS for values in COVER]
    return found


def claimed(name: str, make: Callable, prompts: int, labels: int, most: float = 1, least: float = 0) -> dict:
    """How many labels are claimed to be readable, each as if it were the only one."""
    rng, each, found = np.random.default_rng(SEED), min(50, labels), []
    while len(found) < labels:
        world = worlds.World.of(rng, prompts)
        found += worlds.findings(world, make(rng, world, each), seed=len(found))
    share = float(np.mean([finding.first.shown for finding in found]))
    goal = f"≤ {most:.0%}" if most < 1 else f"≥ {least:.0%}"
    return row(f"claimed: {name}", prompts, "", f"{share:.1%}", goal, least <= share <= most)


def borderline(prompts: int, values: str, trials: int) -> dict:
    """How many effects of just the least that counts are claimed."""
    found = [first(effects(np.full(15, LEAST), prompts, values, seed), counts(prompts)) for seed in range(trials)]
    share = float(np.mean([one.shown for one in found]))
    return row("claimed: just the least effect", prompts, values, f"{share:.1%}", "≤ 5%", share <= 0.05)


def stand_out(prompts: int, trials: int) -> dict:
    """How many maps of 720 modules and steps, none of which reads anything, have one that stands out."""
    rng, drawn, wrong = np.random.default_rng(SEED), counts(prompts, 499), 0
    for _ in range(trials):
        common = rng.normal(size=(16, 1, prompts))
        wrong += bool((Draws.of(common + rng.normal(size=(16, 45, prompts)), drawn).lower_of_all() > 0).any())
    share = wrong / trials
    return row("any of 720 nulls stands out", prompts, NORMAL, f"{share:.1%}", "≤ 5%", share <= 0.05)


def covered(prompts: int, values: str, trials: int) -> dict:
    """How many intervals of a mean hold it."""
    found = Draws.of(noise(np.random.default_rng(SEED), values, trials, prompts), counts(prompts))
    share = float(np.mean((found.lower() <= 0) & (found.upper() >= 0)))
    return row("a mean: coverage", prompts, values, f"{share:.3f}", f"≥ {COVER[values]:.2f}", share >= COVER[values])


def located(name: str, curve: Array, step: Callable, prompts: int, values: str, trials: int) -> dict:
    """Bias and coverage of a step."""
    truth = step(np.repeat(curve[:, None], 6, 1), counts(6, 9)).at
    found = [step(effects(curve, prompts, values, seed), counts(prompts)) for seed in range(trials)]
    shown = [one for one in found if one.shown]
    bias = float(np.mean([one.at for one in shown] or [np.nan])) - truth
    held = float(np.mean([one.low <= truth <= one.high for one in shown] or [np.nan]))
    limit = BIAS.get(prompts, np.inf)
    goal = f"{f'± {limit}, ' if prompts in BIAS else ''}≥ {COVER[values]:.2f}"
    met = held >= COVER[values] and abs(bias) <= limit
    what = f"{step.__name__}, {name} curve, truth {truth}: bias, coverage"
    return row(what, prompts, values, f"{bias:+.2f}, {held:.2f}", goal, met)


def first(values: Array, drawn: Array) -> Step:
    return first_step(margins(values, [], LEAST), drawn)


def most(values: Array, drawn: Array) -> Step:
    return most_step(values, drawn, SHARE)


def effects(curve: Array, prompts: int, values: str, seed: int) -> Array:
    """Effects [step, prompt] about a curve: prompts differ as a whole and step by step, less where there is nothing."""
    rng = np.random.default_rng([SEED, seed])
    size = np.maximum(curve / curve.max(), 0.2)[:, None]
    own = noise(rng, values, 1, prompts), noise(rng, values, len(curve), prompts)
    return curve[:, None] + size * (0.1 * own[0] + 0.06 * own[1])


def noise(rng: np.random.Generator, values: str, *shape: int) -> Array:
    """Of mean 0 and deviation 1; skewed to the left as scores are that have a ceiling."""
    return 1 - rng.exponential(size=shape) if values == SKEWED else rng.normal(size=shape)


def row(what: str, prompts: int, values: str, now: str, goal: str, met: bool) -> dict:
    """One line of the table."""
    return {
        "figure": what,
        "held-out prompts": prompts,
        "values": values,
        "now": now,
        "to reach": goal,
        "met": "yes" if met else "no",
    }


def markdown(found: Sequence[dict]) -> str:
    """The rows as a table of Markdown."""
    lines = [list(found[0]), ["---"] * len(found[0]), *([str(v) for v in one.values()] for one in found)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(*arguments: str) -> None:
    quick = "--quick" in arguments
    found = rows(trials=4 if quick else 400, labels=4 if quick else 200)
    harness.save("verdicts", found)
    print(markdown(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
