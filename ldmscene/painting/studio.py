"""A model, a store and its grid: pictures on demand, with and without an edit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from ldmscene import capture
from ldmscene.edits import Edit, Maps
from ldmscene.evaluation.features import read_branch
from ldmscene.intervention.planning import plan_for, scheduler_of
from ldmscene.intervention.running import Worker
from ldmscene.painting.asked import Asked, Change
from ldmscene.painting.drawing import Shown, draw
from ldmscene.painting.judges import Finished, Judges, wanted_map
from ldmscene.painting.offer import BEGIN, Offer
from ldmscene.painting.readings import probes_of
from ldmscene.painting.recent import Cached, Recent
from ldmscene.painting.script import script_of
from ldmscene.painting.telling import EDIT, OWN, RANDOM, Teller
from ldmscene.store import ActivationStore

REMEMBERED = 16  # own pictures with their labels and steps
READOUTS = 2**31  # bytes of probes with their covariances


class Studio:
    """Draws what a page asks for; one call at a time.

    Parameters
    ----------
    store : ActivationStore
        Of pictures that were generated from prompts.
    grid : xarray.Dataset
        What `evaluate` made of it, with linear probes.
    loaded : capture.Model
        The model that made the store.
    device : str, optional
        Where labelers run.

    Raises
    ------
    InputError
        If the model isn't the store's, or the grid has no linear probes.
    """

    def __init__(
        self, store: ActivationStore, grid: xr.Dataset, loaded: capture.Model, device: str | None = None
    ) -> None:
        self.store, self.offer, recent = store, Offer.of(store, grid), Recent(READOUTS)
        self._loaded = loaded
        self._sources = {one.name: Cached(store, grid, one.name, recent) for one in self.offer.targets}
        self._judges = Judges.of(self.offer, self._sources[self.offer.targets[0].name].origin["labels"], device)
        self._probes = probes_of(grid, self.offer)
        self._known: dict[tuple[str, int, bool], tuple[Finished, list[dict[str, Any]]]] = {}
        with self._scheduler():
            self._plan = plan_for(
                loaded,
                self.edit(_first_change(self.offer)),
                modules=list(dict.fromkeys(probe.module for probe in self._probes.values())),
                branches=[self._branch],
            )

    @property
    def steps(self) -> int:
        """Denoiser calls of a picture."""
        return len(self._plan.timesteps)

    def edit(self, change: Change) -> Edit:
        """The edit that a page asks for."""
        return self._sources[change.target].edit(
            Edit,
            wanted=wanted_map(change, self.offer),
            modules=change.modules,
            steps=change.steps,
            rule=change.rule,
            strength=change.strength,
        )

    def draw(self, asked: Asked, tell: Callable[..., None]) -> None:
        """Draw what is asked for: the model's own picture, the edited one, and that of a random edit of its size.

        Parameters
        ----------
        asked
            From a page.
        tell
            Takes the name of an event and its words, as `ldmscene.painting.telling` has them: for each run `step` at
            each step, and `picture` at its end; then `edit`. It stops the work by raising.
        """
        change = asked.change
        judges = self._judges if asked.labelers else None
        teller = Teller(self.offer, change, self._probes, self.steps, tell, judges)
        own = self._own(asked, teller)
        teller.finish(OWN, own)
        if change is None:
            return
        edit = self.edit(change)
        for run, one in ((EDIT, edit), (RANDOM, replace(edit, null="random:0"))):
            start, worker = time.perf_counter(), self._worker(one, own)
            found = self._finished(asked, partial(teller.step, run), worker)
            size = float(np.mean([sizes[0] for sizes in worker.sizes.values()])) if worker.sizes else 0.0
            teller.finish(run, found, size=size, seconds=time.perf_counter() - start)
        tell("edit", **script_of(self.store, asked, change, self.offer, edit.fingerprint))

    def _own(self, asked: Asked, teller: Teller) -> Finished:
        """The model's own picture; its steps are told as they are made, or from the cache."""
        key = asked.prompt, asked.seed, asked.labelers
        if key in self._known:
            found, steps = self._known[key]
            for words in steps:
                teller.tell("step", **words, cached=True)
            return found
        steps = []
        found = self._finished(asked, lambda shown: steps.append(teller.step(OWN, shown)))
        while len(self._known) >= REMEMBERED:
            self._known.pop(next(iter(self._known)))
        self._known[key] = found, steps
        return found

    def _finished(self, asked: Asked, show: Callable[[Shown], object], editor: Worker | None = None) -> Finished:
        with self._scheduler():
            picture = draw(
                self._plan, asked.prompt, asked.seed, probes=self._probes, branch=self._branch, show=show, editor=editor
            )
        return self._judges(picture)

    def _worker(self, edit: Edit, own: Finished) -> Worker:
        label = own.labels.get(edit.target, np.zeros(self.offer.size, np.float32))
        return Worker(edit, Maps(label[None], np.asarray(edit.wanted)[None], edit.binary, edit.margin))

    @property
    def _branch(self) -> str:
        """Which half of the guidance the probes were fitted on."""
        return read_branch(self.store)

    @contextmanager
    def _scheduler(self) -> Iterator[None]:
        with capture.with_scheduler(self._loaded.pipeline, scheduler_of(self._loaded, self.store)):
            yield


def _first_change(offer: Offer) -> Change:
    """As the page begins: its probes are cached before somebody waits for them."""
    return Change(
        target=offer.targets[0].name,
        levels=np.zeros(offer.size, np.uint8),
        rule=offer.rules[0],
        strength=BEGIN["strength"],
        modules=offer.modules[: BEGIN["modules"]],
        steps=offer.steps[: BEGIN["steps"]],
    )
