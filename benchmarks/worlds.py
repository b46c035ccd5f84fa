"""Small worlds of which the truth is known: features by step, and labels that they hold or don't hold.

Every image has content, noise and nothing else. Latents turn from noise to content; a module knows content from a step
on, by a curve of its own; all of them know the position.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from ldmscene.probes import (
    Position,
    assign_folds,
    choose_side,
    cosines,
    group_labels,
    solve_nested,
)
from ldmscene.verdicts import Finding, Residuals, Rival, by_prompt, find

Array = np.ndarray

GRID, STEPS, CHANNELS = (8, 8), 8, 12
TRAIN, IMAGES = 20, 2  # training prompts, images of each prompt
ALPHAS = np.logspace(-1, 5, 13)
FOLDS = 5
KNOWS = np.clip((np.arange(STEPS) - 1) / 4, 0, 1)  # how much of the content a module shows, by step


def fields(rng: np.random.Generator, *shape: int) -> Array:
    """Smooth maps (*shape, y, x) of unit variance."""
    maps = gaussian_filter(rng.normal(size=(*shape, *GRID)), (0,) * len(shape) + (1.2, 1.2), mode="wrap")
    return maps / maps.std()


@dataclass(frozen=True)
class World:
    """Images (sample) of training prompts and then of held-out ones, with features [step, sample, y, x, c]."""

    prompt: Array
    content: Array
    """[sample, 3, y, x]"""
    noise: Array
    """[sample, 4, y, x] the first latent"""
    latents: Array
    modules: dict[str, Array]
    permuted: Array

    @classmethod
    def of(cls, rng: np.random.Generator, held_out: int) -> World:
        """A world whose modules know contents 0 and 1 ("up") and 0 and 2 ("down")."""
        prompt = np.repeat(np.arange(TRAIN + held_out), IMAGES)
        content = (fields(rng, len(prompt), 3) + fields(rng, TRAIN + held_out, 3)[prompt]) / np.sqrt(2)
        noise = rng.normal(size=(len(prompt), 4, *GRID))
        part = np.linspace(0, 1, STEPS)[:, None, None, None, None]
        # Products, so that no linear reading of a latent, finished or not, finds the content itself.
        picture = content[:, [0, 1, 2, 0]] * content[:, [1, 2, 0, 0]]
        latents = np.moveaxis(np.sqrt(part) * picture + np.sqrt(1 - part) * noise, 2, -1)
        known = {"up": content[:, [0, 1]], "down": content[:, [0, 2]]}
        modules = {name: _module(rng, latents, shown) for name, shown in known.items()}
        return cls(prompt, content, noise, latents, modules, _module(rng, latents, None))

    @property
    def train(self) -> Array:
        return self.prompt < TRAIN


def _module(rng: np.random.Generator, latents: Array, known: Array | None) -> Array:
    """Random functions of latents and position, and content where it is known."""
    columns = [np.broadcast_to(fields(rng, 3)[None, None], (*latents.shape[:2], 3, *GRID)), np.moveaxis(latents, -1, 2)]
    if known is not None:
        columns.append(KNOWS[:, None, None, None, None] * known)
    both = np.concatenate(columns, 2)
    mixed = np.einsum("tsnyx,nc->tsyxc", both, rng.normal(size=(both.shape[2], CHANNELS)))
    return np.tanh(0.3 * mixed) + 0.2 * rng.normal(size=mixed.shape)


def findings(world: World, labels: Array, seed: int = 0) -> list[Finding]:
    """What is concluded of labels [label, sample, y, x]: modules chosen on training prompts, judged on the others."""
    train = world.train
    named = {str(i): label for i, label in enumerate(labels)}
    (targets,) = group_labels({name: label[train] for name, label in named.items()}, GRID)
    fold = assign_folds(int(train.sum()), FOLDS, world.prompt[train])
    parts = [Position(targets[fold == k], cosines(GRID, max(GRID))).alone for k in range(FOLDS)]
    basis = cosines(GRID, choose_side(parts, GRID))

    def read(features: Array) -> tuple[Array, Array]:
        """Gains on training folds [label], and values [label, prompt] on the others."""
        folds = []
        for k in range(FOLDS):
            some, maps = targets[fold == k], features[train][fold == k]
            folds.append(Position(some, basis).beside(maps))
        solved = solve_nested(folds, basis.shape[-1], ALPHAS)
        alone = np.einsum("yxk,lk->lyx", basis, solved.alone) + solved.alone_intercept[:, None, None]
        both = np.einsum("yxk,lk->lyx", basis, solved.known) + solved.intercept[:, None, None]
        said = both[:, None] + np.einsum("syxc,lc->lsyx", features[~train], solved.coef) - alone[:, None]
        left = labels[:, ~train] - alone[:, None]
        ones = np.ones(left.shape)
        sums = Residuals.of(ones, left, said, np.zeros(left.shape[:2]))
        return solved.gain, by_prompt(sums.explained, sums.rr, world.prompt[~train])

    def curves(features: Array) -> tuple[Array, Array]:
        gains, values = zip(*(read(one) for one in features), strict=True)
        return np.mean(gains, 0), np.stack(values, 1)

    found = {name: curves(features) for name, features in world.modules.items()}
    best = np.argmax([gain for gain, _ in found.values()], 0)
    latent, permuted = curves(world.latents)[1], curves(world.permuted)[1]
    names = list(found)
    return [
        find(
            str(i),
            names[module],
            found[names[module]][1][i],
            steps=range(STEPS),
            rivals=[Rival("raw latent", latent[i], earlier=True), Rival("permuted weights", permuted[i])],
            seed=seed,
        )
        for i, module in enumerate(best)
    ]


def image_fields(rng: np.random.Generator, world: World, count: int) -> Array:
    """Labels [count, sample, y, x] that have nothing to do with the picture: a field for each image."""
    return fields(rng, count, len(world.prompt))


def prompt_fields(rng: np.random.Generator, world: World, count: int) -> Array:
    """A field for each prompt, the same in all of its images."""
    return fields(rng, count, world.prompt.max() + 1)[:, world.prompt]


def position_only(rng: np.random.Generator, world: World, count: int) -> Array:
    """One pattern of positions, and noise."""
    return 2 * fields(rng, count, 1) + rng.normal(size=(count, len(world.prompt), *GRID))


def noise_channel(rng: np.random.Generator, world: World, count: int) -> Array:
    """A mixture of the first noise's channels."""
    weights = rng.normal(size=(count, 4))
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    return np.einsum("lc,scyx->lsyx", weights, world.noise) + 0.1 * rng.normal(size=(count, len(world.prompt), *GRID))


def under_position(rng: np.random.Generator, world: World, count: int) -> Array:
    """A pattern of positions plus 0.6 times a mask that modules know."""
    return 3 * fields(rng, count, 1) + 0.6 * (world.content[:, 0] > 0)[None]


def other_module(rng: np.random.Generator, world: World, count: int) -> Array:
    """What only the module knows that is named last, with as much noise again."""
    return world.content[None, :, 2] + fields(rng, count, len(world.prompt))
