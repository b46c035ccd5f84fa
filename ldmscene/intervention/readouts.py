"""From a grid and its store to the readouts of an edit: the grid's probes, and moments of what they read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import xarray as xr

from ldmscene.axes import check_grid, told
from ldmscene.edits import Edit, Readout
from ldmscene.edits.controls import SHUFFLED
from ldmscene.errors import InputError
from ldmscene.evaluation.bench import Bench
from ldmscene.evaluation.features import ModuleOutput, read_branch
from ldmscene.evaluation.nesting import features_alone
from ldmscene.evaluation.predicting import bench_of
from ldmscene.evaluation.provenance import fitting_of
from ldmscene.evaluation.ridge import ridge_of
from ldmscene.evaluation.states import fold_keys, fold_states
from ldmscene.evaluation.targets import Target
from ldmscene.intervention.runs import check_labels
from ldmscene.probes import Moments, Spectrum, merge_all
from ldmscene.store import ActivationStore
from ldmscene.store.layout import label_path

E = TypeVar("E", bound=Edit)


class Readouts:
    """Makes readouts for a grid's target; what `evaluate` cached is not read again.

    Parameters
    ----------
    store : ActivationStore
        That the grid was made of.
    grid : xarray.Dataset
    target : str

    Raises
    ------
    InputError
        If the grid lacks something that a readout needs, or was made of another store or of other labels.
    """

    def __init__(self, store: ActivationStore, grid: xr.Dataset, target: str) -> None:
        check_grid(grid, "labels", "coef", "intercept", "alpha")
        _check_origin(store, grid, target.partition("=")[0])
        self._store, self._grid, self._name = store, grid, target

    def edit(
        self,
        kind: type[E],
        *,
        modules: Sequence[str],
        steps: Sequence[int],
        spare: Sequence[str] = (),
        branch: str | None = None,
        **how: Any,
    ) -> E:
        """An edit of the target by the grid's probes, of the branch that they read where none is named.

        `how` are other attributes of `ldmscene.edits.Edit`.
        """
        return kind(
            target=self._name,
            binary=self.target.kind == "binary",
            modules=tuple(modules),
            steps=tuple(steps),
            readouts={(m, s): self.at(m, s) for m in (*modules, *spare) for s in steps},
            origin=self.origin,
            spare=tuple(spare),
            branch=branch or read_branch(self._store),
            **how,
        )

    @cached_property
    def origin(self) -> dict[str, Any]:
        """Where the probes come from, as an edit says it."""
        names = {str(name) for name in self._grid["labels"].values}
        labels = {name: dict(self._store.info(label_path(name)).attributes) for name in names}
        return {"store": self._store.fingerprint, "config": self._store.config, "labels": labels}

    @property
    def target(self) -> Target:
        return next(one for one in self._bench.task.targets if one.name == self._name)

    def at(self, module: str, step: int) -> Readout:
        """The readout of a module's output at a step."""
        train, column, shuffled = self._moments(module, step)
        here, channels = self._grid.sel(module=module, step=step), len(train.mean_x)
        coefs = {str(name): here["coef"].sel(target=name).values[:channels] for name in here["target"].values}
        alpha = np.array([float(here["alpha"].sel(target=self._name))])
        rivals = {name: coef for name, coef in coefs.items() if name != self._name and np.isfinite(coef).all()}
        rivals[SHUFFLED] = Spectrum.of(train).coef(alpha)[0, shuffled].astype(np.float32)
        return Readout(
            coef=coefs[self._name],
            intercept=float(here["intercept"].sel(target=self._name)),
            mean=train.mean_x.astype(np.float32),
            covariance=(train.cxx / train.weight).astype(np.float32),
            cross=(train.cxy[:, column] / train.weight).astype(np.float32),
            rivals=rivals,
        )

    @cached_property
    def _bench(self) -> Bench:
        return bench_of(self._store, self._grid, ridge_of(fitting_of(self._grid).probe))

    def _moments(self, module: str, step: int) -> tuple[Moments, int, int]:
        """Of all training samples, and in which columns the target and its shuffled labels are."""
        bench = self._bench
        group = next(g for g, some in enumerate(bench.groups) if any(r.name == self._name for r in some))
        names = [(response.target, response.shuffled) for response in bench.groups[group]]
        features = ModuleOutput.of(self._store, module, step)
        keys = fold_keys(bench, features, self._store.checksums(features.path))
        train = features_alone(merge_all(fold[group] for fold in fold_states(bench, features, keys)), features.size)
        return train, names.index((self._name, False)), names.index((self._name, True))


def _check_origin(store: ActivationStore, grid: xr.Dataset, labels: str) -> None:
    """Refuse a grid whose probes of these labels read something else than a store holds."""
    made_from = told(grid)
    if made_from.get("fingerprint", store.fingerprint) != store.fingerprint:
        raise InputError(f"grid: it was made of a store of another configuration than {store.root}; name its own store")
    check_labels({name: said for name, said in made_from.get("labels", {}).items() if name == labels}, store)
