"""How much of everything: the whole training and a short one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ldmscene.testbed.train.data import SceneFiles
from ldmscene.testbed.train.loop import Schedule

SEED = 2


@dataclass(frozen=True)
class Plan:
    """Scenes to learn from, a schedule for each stage, and samples of each kind that are judged."""

    scenes: int
    autoencoder: Schedule
    readers: Schedule
    denoiser: Schedule
    samples: int


FULL = Plan(
    scenes=40_000,
    autoencoder=Schedule(steps=4000, learning_rate=2e-3),
    readers=Schedule(steps=6000, learning_rate=3e-3, warmup=100, average=0.998),
    denoiser=Schedule(steps=15_625, learning_rate=1e-3, average=0.9995),
    samples=200,
)
SHORT = Plan(
    scenes=1000,
    autoencoder=Schedule(steps=200, learning_rate=2e-3, warmup=20, average=0.9),
    readers=Schedule(steps=1000, learning_rate=3e-3, warmup=20, average=0.95),
    denoiser=Schedule(steps=40, learning_rate=1e-3, warmup=10, average=0.9),
    samples=6,
)


def scenes(folder: Path, plan: Plan) -> SceneFiles:
    """The scenes to learn from."""
    return SceneFiles(folder / "scenes", plan.scenes, seed=100_000)


def held_out_scenes(folder: Path) -> SceneFiles:
    """The scenes that nothing learns from."""
    return SceneFiles(folder / "test", 1000, seed=900)
