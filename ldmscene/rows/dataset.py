"""Rows as torch's DataLoader and its kin take them."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from ldmscene.choices import Normalisation
from ldmscene.errors import InputError
from ldmscene.rows import batches
from ldmscene.rows.constants import Constants, Training, check_way
from ldmscene.rows.mixing import Mixing, mixing
from ldmscene.rows.order import Order
from ldmscene.rows.source import Source
from ldmscene.rows.windows import window_chunks
from ldmscene.text import listed


class RowDataset(IterableDataset[dict[str, Any]]):
    """Shuffled batches of rows, each a dict; made by `ActivationStore.torch_dataset`.

    `x` is a tensor [batch, channel] as stored, or float32 where it is normalised; of several modules a dict of them by
    name. `provenance` is a dict of int32 tensors [batch]: `sample` (row of the manifest), `step`, `branch` (0 is
    `uncond`, 1 `cond`, −1 none), and `y` and `x`, or `token`. `state` is what `load_state_dict` takes to go on behind
    it.

    An iteration is one epoch, in which each row comes once. The next begins where the last was served to its end.

    Attributes
    ----------
    batch, seed, rank, ranks : int
    normalize : str or None
    """

    def __init__(
        self,
        source: Source,
        training: Training | None,
        *,
        single: bool,
        batch: int,
        seed: int,
        memory: int,
        normalize: Normalisation | None,
        rank: int | None = None,
        ranks: int | None = None,
    ) -> None:
        check_way(normalize)
        _check_whole("batch", batch, 1)
        _check_whole("seed", seed, 0)
        self._source, self._training, self._single = source, training, single
        self.batch, self.seed, self.normalize = int(batch), int(seed), normalize
        self.rank, self.ranks = _ranks(rank, ranks)
        self._window = window_chunks(source, memory, self.batch)
        # Epoch, first batch, and whether workers have served. Shared with workers, which may live for several epochs.
        self._position = torch.zeros(3, dtype=torch.int64).share_memory_()
        self._last: dict[str, int] | None = None
        if normalize is not None:
            self.constants  # noqa: B018, found here rather than in every worker

    @cached_property
    def constants(self) -> dict[str, Constants]:
        """For each module the mean, mean square and mean norm of all training rows, whichever split is served.

        Raises
        ------
        InputError
            If the dataset doesn't normalise.
        """
        if self._training is None:
            raise InputError("constants are those of normalize=; make the dataset with normalize='norm' or 'standard'")
        return self._training.constants()

    def __len__(self) -> int:
        """Batches of this rank in an epoch."""
        return len(range(self.rank, self._count, self.ranks))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = get_worker_info()
        mine, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        epoch, start, _ = self._position.tolist()
        if worker is not None:
            self._position[2] = 1
        numbers = range(start + self.rank + mine * self.ranks, self._count, workers * self.ranks)
        for batch in batches.serve(self._source, self._order(epoch), self.batch, numbers):
            turns = (batch.number - start) // self.ranks + 1
            self._last = self._state(epoch, start + turns * self.ranks)
            yield self._tensors(batch) | {"state": self._last}
        if mine == 0:
            self.set_epoch(epoch + 1)

    def set_epoch(self, epoch: int) -> None:
        """Begin the next iteration with the first batch of an epoch."""
        self._position[:2] = torch.tensor([epoch, 0])
        self._last = None

    def state_dict(self) -> dict[str, int]:
        """Where this process stands, the same for all ranks that have served as many batches.

        Raises
        ------
        InputError
            If batches were served by workers: their `state` says which of them were received.
        """
        epoch, start, served_elsewhere = self._position.tolist()
        if self._last is not None:
            return dict(self._last)
        if served_elsewhere:
            raise InputError("this dataset's workers can't be asked how far you are; save batch['state'] instead")
        return self._state(epoch, start)

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Begin the next iteration behind the batch that a state came with, with any number of ranks and workers.

        Raises
        ------
        InputError
            If it is no such state, or rows would come in another order than those that were served before.
        """
        if lacking := [name for name in ("seed", "epoch", "batch", "order") if name not in state]:
            raise InputError(f"state: expected a batch's 'state', or that of state_dict(); it lacks {listed(lacking)}")
        if state["seed"] != self.seed or state["order"] != self._fingerprint:
            raise InputError(
                "this state is of a dataset with another order; load it with the same samples, modules, steps, branch, "
                "batch, seed and memory"
            )
        self._position.copy_(torch.tensor([state["epoch"], state["batch"], 0]))
        self._last = None

    def mixing(self, most: int = 256) -> Mixing:
        """How often two rows of a batch come from one picture, against the ideal; no activation is read.

        Parameters
        ----------
        most
            How many batches are looked at.
        """
        return mixing(self._order(int(self._position[0])), self.batch, most)

    @property
    def _count(self) -> int:
        return batches.count(self._order(0), self.batch)

    def _order(self, epoch: int) -> Order:
        source = self._source
        return Order(self.seed, epoch, len(source.samples), source.strata, source.rows, self._window)

    @cached_property
    def _fingerprint(self) -> int:
        source = self._source
        depends = [source.samples, source.steps, source.branches, source.grid, self.batch, self._window]
        return zlib.crc32(json.dumps([*depends, [module.name for module in source.modules]]).encode())

    def _state(self, epoch: int, batch: int) -> dict[str, int]:
        epoch, batch = (epoch, batch) if batch < self._count else (epoch + 1, 0)
        return {"seed": self.seed, "epoch": epoch, "batch": batch, "order": self._fingerprint}

    def _tensors(self, batch: batches.Batch) -> dict[str, Any]:
        names = [module.name for module in self._source.modules]
        x = {name: self._normalised(name, torch.from_numpy(rows)) for name, rows in zip(names, batch.x, strict=True)}
        origin = {name: torch.from_numpy(values) for name, values in batch.provenance.items()}
        return {"x": x[names[0]] if self._single else x, "provenance": origin}

    def _normalised(self, name: str, x: torch.Tensor) -> torch.Tensor:
        if self.normalize is None:
            return x
        shift, scale = (torch.from_numpy(one.astype(np.float32)) for one in self.constants[name].affine(self.normalize))
        return x.float().sub_(shift).mul_(scale)


def _ranks(rank: int | None, ranks: int | None) -> tuple[int, int]:
    """This process's number among those that train together, and how many there are."""
    if (rank is None) != (ranks is None):
        raise InputError(f"rank, ranks: expected both or neither, got rank={rank} and ranks={ranks}")
    if rank is None or ranks is None:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return torch.distributed.get_rank(), torch.distributed.get_world_size()
        rank, ranks = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if not 0 <= rank < ranks:
        raise InputError(f"rank: expected 0 to {ranks - 1}, got {rank}")
    return rank, ranks


def _check_whole(argument: str, value: object, least: int) -> None:
    if not isinstance(value, int | np.integer) or value < least:
        raise InputError(f"{argument}: expected a whole number, at least {least}, got {value!r}")
