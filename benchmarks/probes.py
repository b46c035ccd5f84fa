"""Probes and metrics against their peers and their bounds, at the size of Stable Diffusion's finest self-attention.

    python -m benchmarks.probes [--quick]

Every row is a ratio of two ways that took turns in one run. "Memory" is the peak of what a way allocates.
"""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import click
import numpy as np
import torch
from himalaya.ridge import RidgeCV as HimalayaRidgeCV
from rich.console import Console
from scipy.linalg.blas import dsyrk, ssyrk
from scipy.stats import pearsonr, spearmanr
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import average_precision_score, f1_score
from threadpoolctl import threadpool_limits

from benchmarks.harness import measure, row, save, table
from benchmarks.synthetic import features, smooth
from ldmscene.cells import Cells, spread
from ldmscene.metrics import METRICS, Truth
from ldmscene.probes import (
    AdamProbe,
    LogisticProbe,
    RidgeProbe,
    Targets,
    assign_folds,
    gather_moments,
    log_odds,
    merge_all,
    moments,
    solve,
)

ALPHAS = np.logspace(-2, 6, 33)
PENALTY = 10.0  # of the logistic regressions


class World:
    """Activations and labels of one (module, step); a third of the samples is held out."""

    def __init__(self, samples: int, grid: int, channels: int, side: int) -> None:
        rng = np.random.default_rng(0)
        self.y = np.stack([smooth(rng, samples, side), smooth(rng, samples, side)]).astype(np.float32)
        self.X = features(rng, self.y, grid, channels)
        self.mask = (self.y[1] > 0.5).astype(np.float32)
        self.groups = np.arange(samples) // 2
        self.train, self.test = slice(0, 2 * samples // 3), slice(2 * samples // 3, samples)
        self.grid, self.side, self.channels = grid, side, channels

    def cells(self, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows, their mean labels and their weights, as a plain library wants them."""
        cells = Cells.of(maps[self.train], (self.grid, self.grid))
        rows = self.X[self.train].reshape(-1, self.channels)
        return rows, cells.mean.reshape(-1), cells.weight.reshape(-1)

    def held_out(self, probe) -> float:
        """Mean Pearson correlation with the held-out labels."""
        return self.pearson(probe.predict_cells(self.X[self.test]))

    def pearson(self, predicted: np.ndarray) -> float:
        """The same of predictions (sample, y, x)."""
        truth = Truth.of(self.y[0][self.test], (self.grid, self.grid), ranks=False)
        return float(METRICS["pearson"].score(truth, predicted).mean())


def allocated(way: Callable[[], object]) -> int:
    """Peak of the bytes that a way allocates, in a run that isn't timed."""
    tracemalloc.start()
    try:
        way()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def published_loop(X: np.ndarray, y: np.ndarray, epochs: int, batch: int = 4) -> np.ndarray:
    """The published training of a depth probe, written plainly: float32 maps in memory, no bias, batches of 4."""
    features, labels = torch.from_numpy(X).movedim(-1, 1), torch.from_numpy(y)[:, None]
    torch.manual_seed(0)
    probe = torch.nn.Conv2d(X.shape[-1], 1, 1, bias=False)
    optimizer, huber = torch.optim.Adam(probe.parameters(), lr=1e-3), torch.nn.HuberLoss()
    for _ in range(epochs):
        for rows in torch.randperm(len(features)).split(batch):
            predicted = torch.nn.functional.interpolate(probe(features[rows]), size=labels.shape[2:], mode="nearest")
            loss = huber(predicted, labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return probe.weight.detach().numpy().ravel()


def against_published(world: World, epochs: int) -> Iterator[dict]:
    """Ridge and `AdamProbe`, of float16 maps, against the plain loop on float32 maps that lie in memory."""
    X, y, groups = world.X[world.train], world.y[0][world.train], world.groups[world.train]
    ready = X.astype(np.float32)
    found: dict[str, Any] = {}
    ways = {
        "plain": lambda: found.update(plain=published_loop(ready, y, epochs)),
        "ridge": lambda: found.update(ridge=RidgeProbe(ALPHAS).fit(X, y, groups=groups)),
        "single": lambda: found.update(single=RidgeProbe(ALPHAS, precision="float32").fit(X, y, groups=groups)),
        "adam": lambda: found.update(adam=AdamProbe(epochs=epochs, random_state=0).fit(X, y)),
    }
    seconds = measure(ways, rounds=1, warm=False)
    scores = {name: world.held_out(found[name]) for name in ("ridge", "single", "adam")}
    plain = f"the published loop in plain torch, {epochs} epochs"
    goals = {
        "ridge": ("ridge, float64 products", "15"),
        "single": ("ridge, float32 products", "15"),
        "adam": ("AdamProbe", "2"),
    }
    theirs = world.pearson(world.X[world.test].astype(np.float32) @ found["plain"])
    for name, (work, goal) in goals.items():
        note = f"held-out Pearson {scores[name]:.4f}, the loop's {theirs:.4f}"
        yield row(work, plain, {"ours": seconds[name], "theirs": seconds["plain"]}, goal, note)


def ridge_against(library: str, world: World) -> dict:
    """scikit-learn's and himalaya's, by the same folds; himalaya makes a matrix of training × held-out cells,
    so that it is given few cells."""
    rows, y, weight = world.cells(world.y[0])
    ready = rows.astype(np.float32)
    groups = world.groups[world.train]
    fold = assign_folds(len(groups), 5, groups).repeat(world.grid**2)
    splits = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(5)]

    def ours() -> None:
        RidgeProbe(ALPHAS, cv=5).fit(world.X[world.train], world.y[0][world.train], groups=groups)

    def scikit_learn() -> None:
        RidgeCV(ALPHAS, cv=splits).fit(ready, y, sample_weight=weight)

    def himalaya() -> None:
        options = {"warn": False, "n_alphas_batch": 1}
        HimalayaRidgeCV(ALPHAS, cv=splits, solver_params=options).fit(ready, y[:, None])

    way = {"scikit-learn": scikit_learn, "himalaya": himalaya}[library]
    seconds = measure({"ours": ours, library: way}, rounds=1, warm=False)
    needed, theirs = allocated(ours) / 1e6, (allocated(way) + ready.nbytes) / 1e6
    against = f"{library} RidgeCV, float32 cells in memory"
    work = f"ridge, {len(groups)} samples, {world.grid} × {world.grid}"
    note = f"{theirs / needed:.1f} times the memory: {theirs:.0f} MB with its cells, ours {needed:.0f} MB"
    return row(work, against, seconds, "3", note)


def logistic(world: World, solver: str, pixels: bool = False) -> dict:
    """On cells: with each cell as two weighted rows. On pixels: with every pixel as a row.

    In float64 solvers come to the same optimum; pixels are too many for that, and are passed in float32.
    """
    X, y, groups = world.X[world.train], world.mask[world.train], world.groups[world.train]
    probe = LogisticProbe(alphas=PENALTY)
    peer = LogisticRegression(C=1 / PENALTY, tol=1e-8, max_iter=5000, solver=solver)
    if pixels:
        scale = world.side // world.grid
        rows = spread(np.moveaxis(X, -1, 1), (scale, scale)).transpose(0, 2, 3, 1).reshape(-1, world.channels)
        data = rows.astype(np.float32), y.reshape(-1), None
    else:
        cells = Cells.of(y, (world.grid, world.grid))
        hits, weight = cells.total.reshape(-1), cells.weight.reshape(-1)
        rows = X.reshape(-1, world.channels).astype(np.float64)
        keep = np.concatenate([hits > 0, hits < weight])
        data = (
            np.concatenate([rows, rows])[keep],
            np.repeat([1, 0], len(rows))[keep],
            np.concatenate([hits, weight - hits])[keep],
        )
    seconds = measure(
        {"ours": lambda: probe.fit(X, y, groups=groups), "theirs": lambda: peer.fit(data[0], data[1], data[2])},
        rounds=1,
        warm=False,
    )
    apart = np.abs(probe.coef_ - peer.coef_).max() / np.abs(probe.coef_).max()
    ours, theirs = (_penalised(world, one) for one in (probe, peer))
    return row(
        f"logistic, {len(X)} samples",
        f"scikit-learn {solver} on {'pixels' if pixels else 'cells'}",
        seconds,
        "100" if pixels else "10",
        f"coefficients apart by {apart:.0e} of the largest; its loss is {theirs / ours - 1:+.0e} of ours",
    )


def _penalised(world: World, probe: LogisticProbe | LogisticRegression) -> float:
    """The loss that both minimise, over all pixels of the training samples."""
    cells = Cells.of(world.mask[world.train], (world.grid, world.grid))
    z = world.X[world.train].reshape(-1, world.channels).astype(np.float64) @ probe.coef_[0] + probe.intercept_[0]
    fit = cells.weight.reshape(-1) @ np.logaddexp(0, z) - cells.total.reshape(-1) @ z
    return float(fit + PENALTY / 2 * probe.coef_[0] @ probe.coef_[0])


def statistics_against_syrk(world: World, rounds: int) -> Iterator[dict]:
    """As `RidgeProbe` gathers them, on all cores; and as each job of `evaluate` does, on one.

    The bound is the BLAS's symmetric product of the same precision, of features that lie ready in it.
    """
    maps = world.X[world.train][: max(1, (1 << 18) // world.grid**2)]
    cells = Cells.of(world.y[0][world.train][: len(maps)], (world.grid, world.grid))
    targets, fold = Targets.of({"label": cells}), np.arange(len(maps)) % 5

    def gathered(precision: str) -> None:
        gather_moments(maps, targets, fold, 5, precision)

    def in_blocks(precision: str) -> None:
        for i in range(0, len(maps), 16):
            moments(maps[i : i + 16], targets[i : i + 16], precision)

    for precision, syrk in {"float32": ssyrk, "float64": dsyrk}.items():
        ready = np.asfortranarray(maps.reshape(-1, world.channels).astype(precision).T)
        for cores, ours in {"all cores": gathered, "one core": in_blocks}.items():
            ways = {"ours": partial(ours, precision), "syrk": partial(syrk, 1.0, ready)}
            with threadpool_limits(1 if cores == "one core" else None, "blas"):
                seconds = measure(ways, rounds=rounds)
            against = f"the BLAS's symmetric product of {precision} in memory, {cores}"
            yield row(f"statistics of float16 maps, {precision}, {cores}", against, seconds, "0.85")


def metrics(world: World, rounds: int) -> list[dict]:
    found = []
    cells = world.X[world.test][:1, ..., 0].astype(np.float64)
    pixels = spread(cells, (world.side // world.grid,) * 2)
    label = world.y[0][world.test][:1]
    truth = Truth.of(label, (world.grid, world.grid))
    for name, peer in {"spearman": spearmanr, "pearson": pearsonr}.items():
        mine = METRICS[name].score
        seconds = measure(
            {
                "ours": lambda mine=mine: mine(truth, cells),
                "scipy": lambda peer=peer: peer(pixels.ravel(), label.ravel()),
            },
            rounds=rounds,
        )
        apart = abs(float(mine(truth, cells)[0]) - peer(pixels.ravel(), label.ravel()).statistic)
        found.append(
            row(f"{name} of one image", f"scipy at {world.side} × {world.side}", seconds, "15", f"apart by {apart:.0e}")
        )
    mask = world.mask[world.test][:1]
    truth = Truth.of(mask, (world.grid, world.grid), ranks=False)
    for name, peer in {"dice": _dice, "average_precision": _average_precision}.items():
        mine = METRICS[name].score
        given, whole = (cells > 0, pixels > 0) if name == "dice" else (cells, pixels)
        seconds = measure(
            {
                "ours": lambda mine=mine, given=given: mine(truth, given),
                "theirs": lambda peer=peer, whole=whole: peer(mask, whole),
            },
            rounds=rounds,
        )
        apart = abs(float(mine(truth, given)[0]) - peer(mask, whole))
        found.append(row(f"{name} of one image", "scikit-learn on pixels", seconds, "15", f"apart by {apart:.0e}"))
    return found


def _dice(mask: np.ndarray, called: np.ndarray) -> float:
    return float(f1_score(mask.ravel() > 0, called.ravel()))


def _average_precision(mask: np.ndarray, value: np.ndarray) -> float:
    return float(average_precision_score(mask.ravel() > 0, value.ravel()))


def discriminant_against_logistic(world: World) -> dict:
    """What `evaluate` fits to masks against a logistic regression, both with five folds and eight strengths."""
    X, y, groups = world.X[world.train], world.mask[world.train], world.groups[world.train]
    alphas = np.logspace(-1, 6, 8)
    cells = Cells.of(y, (world.grid, world.grid))
    fold = assign_folds(len(X), 5, groups)
    probes: dict[str, tuple[np.ndarray, float]] = {}

    def discriminant() -> None:
        folds = gather_moments(X, Targets.of({"mask": cells}), fold, 5)
        probes["discriminant"] = log_odds(merge_all(folds), 0, solve(folds, alphas).coef[0])

    def newton() -> None:
        fitted = LogisticProbe(alphas).fit(X, y, groups=groups)
        probes["logistic"] = fitted.coef_[0], float(fitted.intercept_[0])

    seconds = measure({"ours": discriminant, "logistic": newton}, rounds=1, warm=False)
    truth = Truth.of(world.mask[world.test], (world.grid, world.grid), ranks=False)
    held_out = world.X[world.test].astype(np.float64)
    dice = {name: METRICS["dice"].score(truth, held_out @ w + b > 0).mean() for name, (w, b) in probes.items()}
    note = f"held-out Dice {dice['discriminant']:.4f}, logistic {dice['logistic']:.4f}"
    return row("discriminant from the ridge", "LogisticProbe, the same folds and α", seconds, "–", note)


@click.command(help=__doc__)
@click.option("--quick", is_flag=True, help="Small sizes: whether it runs, not how fast.")
@click.option("--samples", default=369, show_default=True, help="Two thirds of them are for training.")
def main(quick: bool, samples: int) -> None:
    rows: list[dict] = []
    for one in measured(quick, samples):
        rows.append(one)
        Console(stderr=True).print(f"{one['work']}: {one['times faster']} times {one['against']}", highlight=False)
        if not quick:
            save("probes", rows)
    Console(width=None if sys.stdout.isatty() else 180).print(table(rows))


def measured(quick: bool, samples: int) -> Iterator[dict]:
    """Every row, the quickest first."""
    samples, grid, channels, side = (30, 8, 16, 64) if quick else (samples, 64, 320, 512)
    epochs, rounds = (2, 1) if quick else (30, 7)
    world = World(samples, grid, channels, side)
    few = World(samples if quick else 24, grid, channels, side)
    yield from metrics(world, rounds)
    yield from statistics_against_syrk(world, rounds)
    yield discriminant_against_logistic(few)
    yield ridge_against("himalaya", World(samples if quick else 24, min(grid, 16), channels, side))
    yield ridge_against("scikit-learn", World(samples if quick else 60, grid, channels, side))
    yield logistic(few, "newton-cholesky")
    yield logistic(few, "lbfgs")
    yield logistic(few, "lbfgs", pixels=True)
    yield from against_published(world, epochs)


if __name__ == "__main__":
    main()
