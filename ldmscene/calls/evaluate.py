"""From activations and labels to a grid of scores."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import xarray as xr

from ldmscene.axes import told
from ldmscene.calls.opening import opened as open_store
from ldmscene.choices import POSITION, HeldOut
from ldmscene.errors import ControlWarning, InputError, unknown
from ldmscene.evaluation import assembly, grid_file, provenance, task
from ldmscene.evaluation.beyond import Beyond
from ldmscene.evaluation.kind import Kind
from ldmscene.evaluation.kinds import KINDS
from ldmscene.evaluation.nonlinear import check_stored
from ldmscene.evaluation.ridge import PRECISIONS, RIDGE, Ridge, for_store
from ldmscene.evaluation.scope import Scope
from ldmscene.evaluation.task import CV
from ldmscene.gains import chosen_module, has_gains
from ldmscene.grid import interval
from ldmscene.metrics import METRICS
from ldmscene.selection import Steps, several
from ldmscene.store import ActivationStore
from ldmscene.store.cache import doubting
from ldmscene.table import Grid

VERSION = 3  # of grids; to be counted up when they hold something new
_NO_CONTROL = (
    "permuted: there is no control with permuted weights, so that what a network of this shape reads without training "
    "isn't excluded, as sentences say; make one by `extract(…, control=store)`"
)
_SHARED_SEED = (
    "training and held-out samples share seed {seed}, and maybe others: what their first noise shows counts as read; "
    "draw held-out samples from other seeds"
)


def evaluate(
    store: ActivationStore | str | Path,
    targets: str | Sequence[str] | None = None,
    modules: str | Sequence[str] | None = None,
    steps: Steps | None = None,
    *,
    probe: str | Kind = "ridge",
    beyond: str | Sequence[str] | None = "position",
    cv: int = CV,
    alphas: Sequence[float] | None = None,
    permuted: ActivationStore | str | Path | None = None,
    held_out: HeldOut = "test",
    nonlinear: bool = False,
    precision: str = "float64",
    device: str | None = None,
    client: Any = None,
    progress: bool = True,
) -> Grid:
    """Fit a probe at every (target, module, step) on the training samples and score it on held-out samples.

    By default a ridge for each target, exact at label resolution; binary targets get log odds from it, by the linear
    discriminant of the same statistics. The penalty is chosen by cross-validation over groups of prompts. Each
    activation is read once, in blocks: memory doesn't grow with the number of samples. The grid is cached in the store,
    so that the same call again reads it, and so are statistics: other `alphas` read no training sample, and held-out
    ones only where what is cached of them would be less exact than 1e-6 of a prediction's deviation.

    Parameters
    ----------
    store
        A store, or its location.
    targets, modules
        Names or globs of what to evaluate, or how names of modules begin, such as `up_blocks.3`; where not given, all
        that the store has and the probe fits. Modules of tokens, as text encoders' are, can't be probed. The decoder's
        have rows at their own steps, and never speak for a target beside the denoiser's.
    steps
        Which denoiser calls, from 0 (`store.steps`), rather than how many: a number, several or a slice; −1 is the
        last. All at which the modules run where not given.
    probe : {"ridge", "logistic"}, or a `ldmscene.evaluation.kind.Kind`
        The kind of probe. "logistic" maximises the likelihood of masks, which takes several passes over the features
        and training samples that are stored. Packages add others by entry points of the group `ldmscene.probes`. A
        `Kind` must be registered, there or by `ldmscene.evaluation.kinds.KINDS.register`, before its grid can be
        reported.
    beyond : "position", "latent", names of targets, or a list of them; None
        What probes may use anyway. "latent" is x_t, averaged over the module's positions: what is left is more than a
        linear probe reads in the denoiser's own input; it needs activations, not statistics. Effects are the share of
        what all of it leaves unexplained that features explain, on held-out images. None: no effects, but the published
        comparison of scores alone, as of kinds of probe that have no nested fits ("logistic").
    cv
        Folds over groups of prompts, at least 2, by which the penalty is chosen.
    alphas
        Penalties to choose from, at least two, all positive; where not given, the kind's own. Of a ridge they stand in
        Σ over label pixels (y − prediction)² + alpha × |coefficients|², of a logistic regression in
        Σ over label pixels of the log loss + ½ alpha × |coefficients|².
    permuted
        A store of the same samples from the model with permuted weights, such as `extract(control=…)` makes: the same
        probes are fitted on it.
    held_out : {"test", "val", "unseen"}
        The split that judges. Fits and the chosen module are the same for all, so that "val" may serve to decide on
        something, and "unseen" hold prompts of a kind that training lacks, with "test" untouched. The labels' own
        labeler on unfinished pictures is compared where it has read those of the whole split. A control that holds
        scores instead of activations has those of "test" alone.
    nonlinear
        Also fit 256 random functions of the features of each target's own module (Rahimi and Recht 2007), beside the
        features: what a linear probe misses. It needs `beyond` and training samples that are stored.
    precision : {"float64", "float32"}
        Of a ridge's products of features that are stored as float16. float32 takes half as long, in blocks that are
        added up in float64, and rounds less than storing did. Features of more digits always have float64's, and so has
        a store with statistics instead of activations.
    device
        Where a ridge sums and projects features, such as "cuda"; numpy on the CPU where not given. Blocks of 16 samples
        go there, sums and the few coordinates that predict come back, and the grid is that of the CPU to rounding
        (1e-9 of a product, 1e-6 of a score). Memory there doesn't grow with the samples, and is said before.
    client
        A `dask.distributed` client; local threads where not given.
    progress
        Show a bar where there is a terminal.

    Returns
    -------
    Grid
        An `xarray.Dataset` as `ldmscene.grid` describes it; its `to_dataframe` is a tidy table.

    Warns
    -----
    ControlWarning
        If a grid is computed without `permuted`.

    Raises
    ------
    IncompleteError
        If a sample lacks activations or labels.
    InputError
        If a name, the splits, the control or the device don't fit, `nonlinear` lacks what it needs, a target is none
        that the kind of probe fits, or one that is named in `beyond`, too.

    Examples
    --------
    >>> import ldmscene
    >>> grid = ldmscene.evaluate("stores/demo", ["depth", "mask"], steps=[1, 3], cv=3, progress=False)
    >>> grid["probe"].sizes["module"], grid["target"].values.tolist()
    (16, ['depth', 'mask'])
    """
    opened = open_store(store)
    control = open_store(permuted) if permuted is not None else None
    if held_out not in get_args(HeldOut):
        raise unknown("held_out", str(held_out), get_args(HeldOut))
    kind = _kind(probe, precision, device, opened)
    known = _known(beyond, kind, opened)
    scope = Scope.of(opened, _without(opened, targets, known), modules, steps, kind.target_kinds)
    supplied = known.targets if known else ()
    for one in (opened, control):
        if known and one:
            known.check_stored(one)
    if nonlinear and known is None:
        raise InputError("nonlinear: expected something in beyond=, and a probe that has effects, such as 'ridge'")
    if nonlinear:
        check_stored(opened, scope.modules)
    cv, alphas = task.check_choice(cv, kind.alphas if alphas is None else alphas)
    made_from = {
        "version": VERSION,
        **vars(scope),
        "cv": cv,
        "alphas": alphas,
        "kind": kind.key(),
        "beyond": known and known.names,
        "held_out": held_out,
        "nonlinear": nonlinear,
        "metrics": [metric.key() for metric in METRICS.values()],
        "ldmscene": version("ldmscene"),
        "data": provenance.state(opened, [*scope.targets, *supplied]),
        "permuted": provenance.state(control, []) if control else None,
    }
    path = grid_file.grid_file(opened, made_from)
    if path.exists():
        return _as_grid(grid_file.load_grid(path), opened)
    todo = task.load_task(opened, scope, cv, alphas, supplied, held_out)
    if control is None:
        shared = task.shared_seed(opened.manifest, held_out)
        also = [] if shared is None else [_SHARED_SEED.format(seed=shared)]
        warnings.warn("; ".join([_NO_CONTROL, *also]), ControlWarning, stacklevel=2)
    else:
        task.check_control(opened, control, scope, todo, held_out)
    if device is not None and progress:
        from ldmscene.evaluation.on_device import say_memory

        latent = known is not None and known.latent
        say_memory(opened, scope.modules, device, len(todo.targets), latent=latent, nonlinear=nonlinear)
    with doubting(opened, *([control] if control else [])):
        bench = assembly.set_up(opened, kind, todo, scope, known, client, progress=progress)
        rival = None if control is None else assembly.of_control(bench, control, known)
        grid = assembly.fit(bench, scope, rival, client, "fitting" if progress else "", nonlinear=nonlinear)
    bounds = interval(grid["probe"])
    grid["low"], grid["high"] = bounds["low"], bounds["high"]
    grid.attrs["beyond"] = json.dumps(known.names if known else [])
    grid.attrs["provenance"] = json.dumps(provenance.provenance(opened, made_from, control))
    grid_file.keep_grid(grid, path)
    return _as_grid(grid, opened)


def _kind(probe: str | Kind, precision: str, device: str | None, store: ActivationStore) -> Kind:
    if precision not in PRECISIONS:
        raise InputError(f"precision: expected one of {', '.join(PRECISIONS)}, got {precision!r}")
    if not isinstance(probe, str | Kind):
        raise InputError(
            f"probe: expected a name ({', '.join(KINDS)}) or a Kind, got {probe!r}; an estimator is fitted to "
            "store.activations and store.labels, as in examples/own_probe.py"
        )
    kind = KINDS[probe] if isinstance(probe, str) else probe
    if precision != PRECISIONS[0] and kind is not RIDGE:
        raise InputError(
            f"precision: leave it out with probe={kind.name!r}: it is of the ridge's products alone, got {precision!r}"
        )
    if device is not None:
        from ldmscene.evaluation.on_device import DeviceRidge, check_device  # torch, which nothing else here loads

        if kind is not RIDGE:
            raise InputError(f"device: expected none with probe={kind.name!r}, since the ridge alone runs on one")
        return for_store(DeviceRidge(precision, check_device(device)), store)
    return for_store(Ridge(precision) if kind is RIDGE else kind, store)


def _known(beyond: str | Sequence[str] | None, kind: Kind, store: ActivationStore) -> Beyond | None:
    if beyond is None:
        return None
    if kind.nests:
        return Beyond.of(beyond, store.targets)
    if several(beyond) != [POSITION]:  # the default
        raise InputError(
            f"beyond: expected None with probe={kind.name!r}, whose fits don't nest, got {beyond!r}; leave it out, or "
            "use probe='ridge'"
        )
    return None


def _without(store: ActivationStore, targets: str | Sequence[str] | None, known: Beyond | None) -> Any:
    """What is to be predicted: of what wasn't chosen, all but what is known anyway."""
    if targets is not None or known is None or not known.targets:
        if known:
            known.check(() if targets is None else several(targets))
        return targets
    return [name for name in store.targets if name not in known.targets]


def _as_grid(dataset: xr.Dataset, store: ActivationStore) -> Grid:
    there = {**told(dataset), "store": store.root.name}  # which may be a copy of the one that it was computed in
    said = {"run_steps": len(store.steps), "store": str(store.root), "provenance": json.dumps(there)}
    if has_gains(dataset):
        said["chosen"] = json.dumps({target: chosen_module(dataset, target) for target in dataset["target"].values})
    return Grid(dataset.data_vars, dataset.coords, {**dataset.attrs, **said})
