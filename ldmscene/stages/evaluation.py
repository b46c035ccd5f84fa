"""The same probe at every (target, module, step), and readings to hold it against."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import dask
import numpy as np
import pandas as pd
import xarray as xr
from threadpoolctl import threadpool_limits

from ldmscene.capture import stage
from ldmscene.cells import Cells
from ldmscene.errors import IncompleteError, InputError, unknown
from ldmscene.manifest import Manifest
from ldmscene.metrics import METRICS, Truth
from ldmscene.probes import assign_folds, fit_logistic, fold_moments, group_targets, merge_all, solve
from ldmscene.store import ActivationStore
from ldmscene.store.layout import LATENTS, activation_path
from ldmscene.store.prepare import differences

PRIMARY = {"depth": "spearman", "shading": "pearson"}
PRIMARY_OF_KIND = {"continuous": "pearson", "binary": "dice"}


@dataclass(frozen=True)
class Labels:
    """One target's labels in both splits, ready to be reduced to any grid."""

    name: str
    kind: str  # continuous or binary
    threshold: float | None  # labels above it are foreground
    train: np.ndarray  # [sample, Y, X], binary targets as 0 and 1
    test: np.ndarray

    @property
    def metrics(self) -> list[str]:
        return [name for name, metric in METRICS.items() if metric.kind == self.kind]

    @property
    def primary(self) -> str:
        named = PRIMARY.get(self.name)
        return named if named in self.metrics else PRIMARY_OF_KIND[self.kind]

    @cached_property
    def truth(self) -> Truth:
        """Held-out labels at their own resolution."""
        return Truth.of(self.test)

    @cached_property
    def cells(self) -> Cells:
        return Cells.of(self.train, self.train.shape[1:])


@dataclass(frozen=True)
class Task:
    """What every fit shares: labels, folds, penalties."""

    labels: tuple[Labels, ...]
    train: tuple[str, ...]  # sample_ids
    test: tuple[str, ...]
    fold: np.ndarray  # [train sample]
    alphas: tuple[float, ...]

    def on(self, grid: Sequence[int]) -> Prepared:
        """Labels reduced to an activation grid (y, x), once for all its modules and steps."""
        y, x = grid
        return Prepared(
            self,
            cells={one.name: one.cells.coarsen((y, x)) for one in self.labels},
            truths={one.name: one.truth.coarsen((y, x)) for one in self.labels},
        )


@dataclass(frozen=True)
class Prepared:
    task: Task
    cells: Mapping[str, Cells]
    truths: Mapping[str, Truth]


@dataclass(frozen=True)
class Fit:
    """One target's probe at one place, and its scores on held-out images."""

    coef: np.ndarray  # [channel]
    intercept: float
    alpha: float
    cv_score: float  # share of the training samples' variance (or log loss) explained on held-out folds
    scores: Mapping[str, np.ndarray]  # metric -> [test sample]
    degenerate: Mapping[str, int]


@dataclass(frozen=True)
class Scope:
    """What is to be evaluated; names checked against the store."""

    targets: list[str]
    modules: list[str]
    steps: list[int]

    @classmethod
    def of(
        cls,
        store: ActivationStore,
        targets: str | Iterable[str] | None,
        modules: str | Iterable[str] | None,
        steps: Iterable[int] | None,
    ) -> Scope:
        """All that the store has, where not given.

        Raises
        ------
        InputError
            If something isn't in the store, or there is nothing to evaluate.
        """
        if not store.targets:
            raise InputError(f"{store.root} has no labels yet; label it first")
        chosen_steps = [int(s) for s in (store.steps if steps is None else steps)]
        for step in chosen_steps:
            if step not in store.steps:
                raise InputError(f"no step {step} in this store; its steps are 0 to {len(store.steps) - 1}")
        return cls(
            _chosen("target with labels in this store", targets, store.targets),
            _chosen("module in this store", modules, store.modules),
            chosen_steps,
        )


def _chosen(kind: str, asked: str | Iterable[str] | None, known: Sequence[str]) -> list[str]:
    names = list(known) if asked is None else [asked] if isinstance(asked, str) else list(asked)
    for name in names:
        if name not in known:
            raise unknown(kind, name, known)
    return names


def check_splits(manifest: Manifest, cv: int) -> None:
    """Refuse a manifest that can't be evaluated, before anything is computed for it.

    Raises
    ------
    InputError
        If a split is empty, or there are fewer training prompts than folds.
    """
    frame = manifest.frame
    for split in ("train", "test"):
        if not frame["split"].eq(split).any():
            raise InputError(f"the manifest has no sample in split {split!r}; probes need both train and test")
    prompts = frame["prompt"][frame["split"] == "train"]
    assign_folds(len(prompts), cv, prompts.to_numpy())


def load_task(store: ActivationStore, scope: Scope, cv: int, alphas: Sequence[float]) -> Task:
    """Read the labels and check that both splits are complete.

    Raises
    ------
    IncompleteError
        If a sample of either split lacks activations or labels.
    InputError
        If a split is empty, there are fewer prompts than folds, or there is nothing to choose between.
    """
    if len(alphas) < 2:
        raise InputError("alphas: expected at least two, since the modules are ranked by cross-validating them")
    frame = store.manifest.frame
    train, test = (tuple(frame["sample_id"][frame["split"] == split]) for split in ("train", "test"))
    check_complete(store, scope.modules, [*train, *test])
    labels = tuple(_labels(store, t, train, test) for t in scope.targets)
    check_splits(store.manifest, cv)
    fold = assign_folds(len(train), cv, frame["prompt"][frame["split"] == "train"].to_numpy())
    return Task(labels, train, test, fold, tuple(alphas))


def check_complete(store: ActivationStore, modules: Sequence[str], sample_ids: Sequence[str]) -> None:
    """Refuse a store that lacks activations of a sample.

    Raises
    ------
    IncompleteError
        With how many samples, and one of them.
    """
    for path in (LATENTS, *map(activation_path, modules)):
        absent = [s for s in sample_ids if s not in store.complete(path)]
        if absent:
            raise IncompleteError(
                f"{len(absent)} samples lack {path} in {store.root}, {absent[0]} among them; run extract again"
            )


def check_control(store: ActivationStore, control: ActivationStore, scope: Scope, task: Task) -> None:
    """Refuse a control that isn't the same run of the same samples with other denoiser weights.

    Raises
    ------
    InputError
        With what differs.
    """
    ours, theirs = (s.manifest.frame.set_index("sample_id")[["prompt", "seed"]] for s in (store, control))
    for sample_id in (*task.train, *task.test):
        if sample_id not in theirs.index or not theirs.loc[sample_id].equals(ours.loc[sample_id]):
            raise InputError(f"the control {control.root} has no sample {sample_id} with the same prompt and seed")
    differing = differences(store.config, control.config)
    if [path for path, *_ in differing] != ["components.unet.weights"]:
        found = "; ".join(f"{path}: {a} and {b}" for path, a, b in differing) or "nothing"
        raise InputError(
            f"the control {control.root} must differ in the denoiser's weights alone; what differs: {found}"
        )
    check_complete(control, scope.modules, [*task.train, *task.test])


def _labels(store: ActivationStore, target: str, train: Sequence[str], test: Sequence[str]) -> Labels:
    found = store.labels(target)
    absent = sorted({*train, *test} - set(found["sample"].values))
    if absent:
        raise IncompleteError(
            f"{len(absent)} samples have no label {target!r}, {absent[0]} among them; label them first"
        )
    kind, threshold = found.attrs.get("kind", "continuous"), found.attrs.get("threshold")
    maps = [found.sel(sample=list(ids)).to_numpy() for ids in (train, test)]
    if kind == "binary":
        maps = [foreground(m, threshold) for m in maps]
    for ids, split in zip((train, test), maps, strict=True):
        blank = np.isnan(split).all((1, 2))
        if blank.any():
            raise InputError(
                f"sample {ids[int(blank.argmax())]} has no labelled pixel for {target!r}; leave it out of the manifest"
            )
    return Labels(target, kind, threshold, *maps)


def foreground(soft: np.ndarray, threshold: float | None) -> np.ndarray:
    """A soft map as 0 and 1, float32; NaN stays NaN."""
    return np.where(np.isnan(soft), np.nan, soft > (0.5 if threshold is None else threshold)).astype(np.float32)


# --- fits ---


def fit_place(train: np.ndarray, test: np.ndarray, prepared: Prepared) -> dict[str, Fit]:
    """Fit and score a probe for every target on maps (sample, y, x, channel) of both splits."""
    task = prepared.task
    fits = _ridges(train, test, prepared)
    for one in task.labels:
        if one.kind == "binary":
            fits[one.name] = _logistic(one, train, test, prepared)
    return {one.name: fits[one.name] for one in task.labels}


def _ridges(train: np.ndarray, test: np.ndarray, prepared: Prepared) -> dict[str, Fit]:
    task = prepared.task
    cells = {one.name: prepared.cells[one.name] for one in task.labels if one.kind == "continuous"}
    fits = {}
    for group in group_targets(cells):
        folds = fold_moments(train, group, task.fold, int(task.fold.max()) + 1)
        solution, whole = solve(folds, task.alphas), merge_all(folds)
        for i, name in enumerate(group.names):
            variance = whole.cyy[i] / whole.weight
            value = _linear(test, solution.coef[i], solution.intercept[i])
            scores, degenerate = score(name, task, prepared.truths[name], value, value > 0)
            fits[name] = Fit(
                solution.coef[i],
                float(solution.intercept[i]),
                float(solution.alpha[i]),
                float(1 - solution.path[:, i].min() / variance),
                scores,
                degenerate,
            )
    return fits


def _logistic(one: Labels, train: np.ndarray, test: np.ndarray, prepared: Prepared) -> Fit:
    cells, task = prepared.cells[one.name], prepared.task
    solution = fit_logistic(train, cells.weight, cells.total, task.fold, task.alphas)
    logit = _linear(test, solution.coef[0], solution.intercept[0])
    scores, degenerate = score(one.name, task, prepared.truths[one.name], logit, logit > 0)
    share = cells.total.sum() / cells.weight.sum()
    chance = -(share * np.log(share) + (1 - share) * np.log1p(-share))
    return Fit(
        solution.coef[0],
        float(solution.intercept[0]),
        solution.alpha,
        float(1 - solution.path.min() / chance),
        scores,
        degenerate,
    )


def _linear(X: np.ndarray, coef: np.ndarray, intercept: float) -> np.ndarray:
    return X.astype(np.float64) @ coef + intercept


def score(
    target: str, task: Task, truth: Truth, value: np.ndarray, mask: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Every metric of a target's kind, for predictions (..., sample, y, x) and their thresholded form."""
    (one,) = (label for label in task.labels if label.name == target)
    scores, degenerate = {}, {}
    for name in one.metrics:
        metric = METRICS[name]
        prediction = mask if metric.needs == "mask" else value
        scores[name] = metric.score(truth, prediction)
        degenerate[name] = int(metric.degenerate(truth, prediction).sum())
    return scores, degenerate


# --- the grid ---


def fit_grid(
    store: ActivationStore, task: Task, modules: Sequence[str], steps: Sequence[int], client=None
) -> dict[tuple[str, int], dict[str, Fit]]:
    """Fits at every (module, step); each activation is read once.

    Runs on dask's threads, or on a `dask.distributed` client whose workers see the same disk.
    """
    grids = {m: store.info(activation_path(m)).layout.shape[2:-1] for m in modules}
    flat = [m for m, grid in grids.items() if len(grid) != 2]
    if flat:
        raise InputError(
            f"{flat[0]} has no (y, x) grid, so that it has no place for a pixel's label; leave it out of modules="
        )
    prepared = {grid: dask.delayed(task.on(grid)) for grid in set(grids.values())}
    places = [(m, s) for m in modules for s in steps]
    jobs = [dask.delayed(_fit_stored)(store, m, s, prepared[grids[m]]) for m, s in places]
    if client is not None:
        return dict(zip(places, dask.compute(*jobs, scheduler=client), strict=True))
    with threadpool_limits(1, "blas"):  # places run side by side; BLAS threads would only compete
        return dict(zip(places, dask.compute(*jobs, scheduler="threads"), strict=True))


def fit_store(store: ActivationStore, task: Task, scope: Scope, client=None) -> xr.Dataset:
    """The grid of a store, with coordinates that say what its modules, steps and samples are."""
    modules, steps = scope.modules, scope.steps
    grid = assemble(fit_grid(store, task, modules, steps, client), task, modules, steps)
    height, width, channels = zip(*(store.info(activation_path(m)).layout.shape[2:] for m in modules), strict=True)
    prompts = store.manifest.frame.set_index("sample_id")["prompt"].loc[list(task.test)]
    timesteps = store.timesteps
    return grid.assign_coords(
        timestep=("step", [timesteps[s] for s in steps]),
        prompt=("sample", pd.factorize(prompts)[0].astype(np.int32)),
        block=("module", [stage(m) for m in modules]),
        level=("module", [".".join(m.split(".")[:2]) for m in modules]),
        height=("module", list(height)),
        width=("module", list(width)),
        channels=("module", list(channels)),
    )


def _fit_stored(store: ActivationStore, module: str, step: int, prepared: Prepared) -> dict[str, Fit]:
    array = store.info(activation_path(module))
    train, test = (read_place(store, array, ids, step) for ids in (prepared.task.train, prepared.task.test))
    return fit_place(train, test, prepared)


def read_place(store: ActivationStore, array, sample_ids: Iterable[str], step: int) -> np.ndarray:
    """Maps (sample, y, x, channel) of one module and step, of the conditional branch where there are two."""
    branches = store.config["branches"]
    select = {"step": [step], "branch": [branches.index("cond") if "cond" in branches else 0]}
    return array.read(store.rows(sample_ids), select)[:, 0, 0]


def assemble(
    fits: Mapping[tuple[str, int], Mapping[str, Fit]],
    task: Task,
    modules: Sequence[str],
    steps: Sequence[int],
) -> xr.Dataset:
    """`probe`, `alpha`, `cv_score`, `coef`, `intercept` and `degenerate` of a grid of fits."""
    names = [one.name for one in task.labels]
    metrics = list(dict.fromkeys(m for one in task.labels for m in one.metrics))
    places = (len(names), len(modules), len(steps))
    channels = max(len(f.coef) for cell in fits.values() for f in cell.values())
    probe = np.full((places[0], len(metrics), *places[1:], len(task.test)), np.nan, np.float32)
    degenerate = np.zeros((places[0], len(metrics), *places[1:]), np.int32)
    coef = np.full((*places, channels), np.nan, np.float32)
    scalars = {name: np.full(places, np.nan) for name in ("alpha", "cv_score", "intercept")}
    for (module, step), cell in fits.items():
        m, s = modules.index(module), steps.index(step)
        for t, name in enumerate(names):
            fit = cell[name]
            coef[t, m, s, : len(fit.coef)] = fit.coef
            for key, array in scalars.items():
                array[t, m, s] = getattr(fit, key)
            for metric, values in fit.scores.items():
                probe[t, metrics.index(metric), m, s] = values
                degenerate[t, metrics.index(metric), m, s] = fit.degenerate[metric]
    axes = ("target", "module", "step")
    return xr.Dataset(
        {
            "probe": (("target", "metric", "module", "step", "sample"), probe),
            "degenerate": (("target", "metric", "module", "step"), degenerate),
            "coef": ((*axes, "channel"), coef),
            **{key: (axes, array) for key, array in scalars.items()},
        },
        coords={
            "target": names,
            "metric": metrics,
            "module": list(modules),
            "step": list(steps),
            "sample": list(task.test),
            "primary": ("target", [one.primary for one in task.labels]),
            "kind": ("target", [one.kind for one in task.labels]),
        },
    )
