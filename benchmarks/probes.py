"""Probes and metrics against their peers and their bounds, at the size of Stable Diffusion's finest self-attention.

    python -m benchmarks.probes [--quick]

Every row is a ratio of two ways that took turns in one run; a fit that takes seconds has one turn. Both have their
features in memory, labels of metrics are prepared for both, and "memory" is what lies ready and what a way allocates.
"""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import click
import numpy as np
import torch
from himalaya.ridge import RidgeCV as HimalayaRidgeCV
from rich.console import Console
from scipy.linalg import eigh
from scipy.linalg.blas import dsyrk, ssyrk
from scipy.stats import pearsonr, rankdata, spearmanr
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
    maps, labels = torch.from_numpy(X), torch.from_numpy(y)[:, None]
    features = torch.empty(batch, *maps.shape[1:])
    torch.manual_seed(0)
    probe = torch.nn.Conv2d(X.shape[-1], 1, 1, bias=False)
    optimizer, huber = torch.optim.Adam(probe.parameters(), lr=1e-3), torch.nn.HuberLoss()
    for _ in range(epochs):
        for rows in torch.randperm(len(maps)).split(batch):
            some = torch.index_select(maps, 0, rows, out=features[: len(rows)]).movedim(-1, 1)
            predicted = torch.nn.functional.interpolate(probe(some), size=labels.shape[2:], mode="nearest")
            loss = huber(predicted, labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return probe.weight.detach().numpy().ravel()


def plain_ridge(X: np.ndarray, y: np.ndarray, weight: np.ndarray, fold: np.ndarray) -> tuple[np.ndarray, float]:
    """Coefficients and α by our own method, written plainly: products of each fold, an eigenbasis of all but one."""
    sums = []
    for k in np.unique(fold):
        A = np.column_stack([X[fold == k], y[fold == k], np.ones((fold == k).sum(), X.dtype)])
        A *= np.sqrt(weight[fold == k, None])
        sums.append((A.T @ A).astype(np.float64))

    def about_means(sums: np.ndarray) -> np.ndarray:
        return (sums - np.outer(sums[-1], sums[-1]) / sums[-1, -1])[:-1, :-1]

    def path(sums: np.ndarray) -> np.ndarray:
        about = about_means(sums)
        values, vectors = eigh(about[:-1, :-1])
        return (vectors.T @ about[:-1, -1] / (np.maximum(values, 0) + ALPHAS[:, None])) @ vectors.T

    errors = []
    for test in sums:
        train = sum(sums) - test
        coef = path(train)
        shift = (train[-1, -2] - coef @ train[-1, :-2]) / train[-1, -1]
        whole = np.column_stack([-coef, np.ones(len(coef)), -shift])
        errors.append(np.einsum("ai,ij,aj->a", whole, test, whole) / test[-1, -1])
    best = int(np.mean(errors, 0).argmin())
    return path(sum(sums))[best], float(ALPHAS[best])


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
    published_loop(ready[:8], y[:8], 1)  # torch's first steps take longer
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


def ridge_against(world: World, peers: Sequence[str]) -> Iterator[dict]:
    """Libraries, and our own method written plainly, by the same folds, on float32 cells that lie in memory.

    himalaya makes a matrix of training × held-out cells, so that it gets few cells.
    """
    rows, y, weight = world.cells(world.y[0])
    ready, maps = rows.astype(np.float32), world.X[world.train]
    groups = world.groups[world.train]
    fold = assign_folds(len(groups), 5, groups).repeat(world.grid**2)
    splits = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(5)]
    found: dict[str, tuple[np.ndarray, float]] = {}

    def ours(precision: str = "float64") -> None:
        probe = RidgeProbe(ALPHAS, cv=5, precision=precision).fit(maps, world.y[0][world.train], groups=groups)
        found["ours"] = probe.coef_.ravel(), float(probe.alpha_)

    def scikit_learn() -> None:
        fitted = RidgeCV(ALPHAS, cv=splits, scoring="neg_mean_squared_error").fit(ready, y, sample_weight=weight)
        found["scikit-learn"] = fitted.coef_, float(fitted.alpha_)

    def himalaya() -> None:
        options = {"warn": False, "n_alphas_batch": 1}
        alphas = ALPHAS / weight[0]  # it takes no weights, and all are equal
        fitted = HimalayaRidgeCV(alphas, cv=splits, fit_intercept=True, solver_params=options).fit(ready, y)
        found["himalaya"] = fitted.coef_.ravel(), float(np.ravel(fitted.best_alphas_)[0] * weight[0])

    def plain() -> None:
        found["plain numpy"] = plain_ridge(ready, y, weight.astype(np.float32), fold)

    ways = {"scikit-learn": scikit_learn, "himalaya": himalaya, "plain numpy": plain}
    against = {
        "scikit-learn": "scikit-learn RidgeCV, which fits anew for each α",
        "himalaya": "himalaya RidgeCV, made for many targets",
        "plain numpy": "the same method in plain numpy, float32 products",
    }
    for peer in peers:
        mine = partial(ours, "float32") if peer == "plain numpy" else ours
        seconds = measure({"ours": mine, peer: ways[peer]}, rounds=1, warm=peer == "plain numpy")
        needed, theirs = ((allocated(way) + had.nbytes) / 1e6 for way, had in ((mine, maps), (ways[peer], ready)))
        (own, alpha), (other, chosen) = found["ours"], found[peer]
        note = (
            f"{theirs / needed:.1f} times the memory: {theirs:.0f} MB, ours {needed:.0f} MB; coefficients apart by "
            f"{np.abs(own - other).max() / np.abs(own).max():.0e} of the largest, α {alpha:.3g} and {chosen:.3g}"
        )
        goal = "–" if peer == "plain numpy" else "3"
        work = f"ridge, {len(groups)} samples, {world.grid} × {world.grid}"
        yield row(f"{work}, float32 products" if peer == "plain numpy" else work, against[peer], seconds, goal, note)


def logistic(world: World, solver: str) -> dict:
    """Against scikit-learn on cells, each of which is two weighted rows, in float64."""
    X, y, groups = world.X[world.train], world.mask[world.train], world.groups[world.train]
    probe = LogisticProbe(alphas=PENALTY)
    peer = LogisticRegression(C=1 / PENALTY, tol=1e-8, max_iter=5000, solver=solver)
    cells = Cells.of(y, (world.grid, world.grid))
    hits, weight = cells.total.reshape(-1), cells.weight.reshape(-1)
    rows = X.reshape(-1, world.channels).astype(np.float64)
    keep = np.concatenate([hits > 0, hits < weight])
    data = np.concatenate([rows, rows])[keep], np.repeat([1, 0], len(rows))[keep]
    weights = np.concatenate([hits, weight - hits])[keep]
    seconds = measure(
        {"ours": lambda: probe.fit(X, y, groups=groups), "theirs": lambda: peer.fit(*data, weights)},
        rounds=1,
        warm=False,
    )
    apart = np.abs(probe.coef_ - peer.coef_).max() / np.abs(probe.coef_).max()
    ours, theirs = (_penalised(world, one) for one in (probe, peer))
    note = f"coefficients apart by {apart:.0e} of the largest; its loss is {theirs / ours - 1:+.0e} of ours"
    return row(f"logistic, {len(X)} samples", f"scikit-learn {solver} on cells", seconds, "10", note)


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
    """Of one more prediction, on cells; peers have it on pixels, and the label prepared as ours."""
    cells = world.X[world.test][:1, ..., 0].astype(np.float64)
    pixels = spread(cells, (world.side // world.grid,) * 2).ravel()
    label, mask = (maps[world.test][:1] for maps in (world.y[0], world.mask))
    ranks, values = (_centred(one) for one in (rankdata(label), label.ravel().astype(np.float64)))
    known, called = mask.ravel() > 0, pixels > 0
    total = np.count_nonzero(known)
    plain: dict[str, tuple[str, Callable[[], float]]] = {
        "spearman": ("scipy's rankdata and a product", lambda: float(ranks @ _centred(rankdata(pixels)))),
        "pearson": ("a product in numpy", lambda: float(values @ _centred(pixels))),
        "dice": ("counts in numpy", lambda: 2 * np.count_nonzero(known & called) / (total + np.count_nonzero(called))),
        "average_precision": (
            "scikit-learn, which prepares the label each time",
            lambda: float(average_precision_score(known, pixels)),
        ),
    }
    whole: dict[str, Callable[[], float]] = {
        "spearman": lambda: spearmanr(pixels, label.ravel()).statistic,
        "pearson": lambda: pearsonr(pixels, label.ravel()).statistic,
        "dice": lambda: float(f1_score(known, called)),
    }
    truth, of_mask = (Truth.of(one, (world.grid, world.grid)) for one in (label, mask))
    found = []
    for name, (peer, way) in plain.items():
        binary = name in ("dice", "average_precision")
        ours = partial(METRICS[name].score, of_mask if binary else truth, cells > 0 if name == "dice" else cells)
        seconds = measure({"ours": ours, "theirs": way}, rounds=rounds)
        apart = max(abs(float(ours()[0]) - other()) for other in {way, whole.get(name, way)})
        against = f"{peer}, {world.side} × {world.side} pixels"
        found.append(
            row(
                f"{name} of one image", against, seconds, "15", f"apart by {apart:.0e}, from scipy or scikit-learn, too"
            )
        )
    return found


def _centred(values: np.ndarray) -> np.ndarray:
    about = values - values.mean()
    return about / np.sqrt(about @ about)


def discriminant_against_logistic(world: World) -> dict:
    """What `evaluate` fits to masks against a logistic regression, both with five folds and eight strengths."""
    X, y, groups = world.X[world.train], world.mask[world.train], world.groups[world.train]
    alphas = np.logspace(-1, 6, 8)
    fold = assign_folds(len(X), 5, groups)
    probes: dict[str, tuple[np.ndarray, float]] = {}

    def discriminant() -> None:
        cells = Cells.of(y, (world.grid, world.grid))
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
    yield from ridge_against(World(samples if quick else 24, min(grid, 16), channels, side), ["himalaya"])
    yield from ridge_against(World(samples if quick else 60, grid, channels, side), ["plain numpy", "scikit-learn"])
    yield logistic(few, "newton-cholesky")
    yield logistic(few, "lbfgs")
    yield from against_published(world, epochs)


if __name__ == "__main__":
    main()
