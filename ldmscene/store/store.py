"""An activation store, as its readers see it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import pandas as pd
import xarray as xr

from ldmscene.choices import SPLITS, Normalisation
from ldmscene.errors import IncompleteError, InputError, unknown
from ldmscene.selection import Steps, choose_one, choose_steps, several
from ldmscene.store import layout
from ldmscene.store.inventory import Inventory
from ldmscene.store.masks import as_mask
from ldmscene.store.summary import page
from ldmscene.store.which import Which, chosen, reads, remedy, said
from ldmscene.text import counted, human_bytes

THUMBNAILS = 8
MOST_PICTURE = 2**26  # bytes; larger ones aren't shown

if TYPE_CHECKING:
    from ldmscene.rows.dataset import RowDataset


class ActivationStore(Inventory):
    """A store in a folder or an object store. It serves complete samples only: those that the ledger lists.

    It shows the store as it was when opened; `refresh` looks again, and so does every function that it is handed to.
    Arrays are xarray's, backed by dask; where methods take `samples`, those are sample_ids, in the wanted order.

    Attributes
    ----------
    root : pathlib.Path or ObjectPath
    config : dict
        All that the activations depend on; `fingerprint` is its hash.
    manifest : Manifest
    model : str
        What people call the model; "" where that isn't known.
    timesteps : list of float
        The timestep of each denoiser call.
    terms : dict, optional
        Of a store that keeps statistics instead of activations: of which targets and folds.
    canary : dict, optional
        What the model answered to a fixed input when the store was begun: `device`, and `answers` by part.
    ledger : pandas.DataFrame
        One row for each array of a sample: `sample_id`, `what`, `crc32`, `bytes` (0 where it was dropped),
        `nonfinite` (values that are NaN or infinite), `written`.

    Examples
    --------
    >>> import ldmscene
    >>> store = ldmscene.open("stores/demo")
    >>> store.steps, store.targets
    ([0, 1, 2, 3], ['depth', 'mask', 'shading'])
    >>> store.samples["split"].value_counts().to_dict()
    {'train': 14, 'test': 6}
    >>> store.activations(store.modules[-1], step=2, split="test").dims
    ('sample', 'y', 'x', 'channel')
    """

    @reads
    def activations(
        self,
        module: str,
        step: Steps | None = None,
        split: str | None = None,
        branch: str | None = None,
        *,
        dtype: str | None = None,
        **which: Unpack[Which],
    ) -> xr.DataArray:
        """Activations of one module, dask-backed, (sample, step, y, x, channel); of tokens (…, token, channel).

        Of a module that runs at one step alone (`steps_of`) the axis has length 1.

        They come as float32 also where float16 is stored, since sums of float16 overflow: its largest number is 65504.

        Parameters
        ----------
        module : str
            Its name, or what no other name begins with, such as `up_blocks.3.attentions.0`, or a glob that fits no
            other.
        step : int, slice or iterable of int, optional
            One step (the axis is then dropped) or several; −1 is the last. All where not given.
        split : {"train", "val", "test", "unseen"}, optional
        branch : {"cond", "uncond"}, optional
            The half of classifier-free guidance; needed where the store holds both. A decoder's modules have none.
        dtype : str, optional
            What to hand out, such as "float16" for what is stored as it is. Default: float32, or what is stored where
            that is wider.
        which
            `samples`: sample_ids, in the order that is wanted. `prompt`, `seed`: one or several. `where`: a function
            of the manifest's table that says of each row whether it is wanted, or its answer. All that are said hold.

        Raises
        ------
        UnknownNameError
            If there is no such module, branch, split, prompt or sample.
        InputError
            If there is no such step, a name means several modules, a branch must be named or there is none to name, or
            no sample is left.
        IncompleteError
            If a sample of `samples` isn't complete, or none is. Others that aren't are left out.

        Examples
        --------
        >>> import ldmscene
        >>> store = ldmscene.open("stores/demo")
        >>> store.activations("up_blocks.3.attentions.0", step=-1, split="test").sizes["sample"]
        6
        >>> store.activations("mid_block", slice(0, 2), where=lambda samples: samples["seed"] < 103).shape
        (3, 2, 2, 2, 96)
        """
        name = choose_one("module in this store", module, self.modules)
        path = layout.activation_path(name)
        array = self.info(path)
        out = _floats(dtype) if dtype else np.promote_types(array.layout.dtype, np.float32)
        if "branch" not in array.dims:
            if branch is not None:
                raise InputError(f"{name} runs once for both branches; leave branch= out")
            return self._load(path, split, step, which, dtype=out)
        select = {"branch": [self._branch(branch)]}
        return self._load(path, split, step, which, select, out).squeeze("branch")

    def _branch(self, branch: str | None) -> int:
        """Position of a branch along the axis; of the only one where none is named."""
        branches: list[str] = self.config["branches"]
        if branch is None and len(branches) > 1:
            raise InputError(f"this store holds the branches {', '.join(branches)}; name one with branch=")
        if branch is not None and branch not in branches:
            raise unknown("branch in this store", branch, branches)
        return branches.index(branch) if branch else 0

    @reads
    def images(self, split: str | None = None, **which: Unpack[Which]) -> xr.DataArray:
        """Final images, uint8 (sample, Y, X, rgb).

        Parameters
        ----------
        split : {"train", "val", "test", "unseen"}, optional
            All where not given.
        which
            `samples`: sample_ids, in the order that is wanted. `prompt`, `seed`: one or several. `where`: a function
            of the manifest's table that says of each row whether it is wanted, or its answer. All that are said hold.

        Raises
        ------
        UnknownNameError
            If there is no such split or sample.
        IncompleteError
            If a sample of `samples` isn't complete, or none is. Others that aren't are left out.

        Examples
        --------
        >>> import ldmscene
        >>> store = ldmscene.open("stores/demo")
        >>> store.images("test").shape
        (6, 64, 64, 3)
        """
        return self._load(layout.IMAGE, split, which=which)

    @reads
    def latents(self, step: Steps | None = None, split: str | None = None, **which: Unpack[Which]) -> xr.DataArray:
        """The scheduler's x_t before each denoiser call, float32 (sample, step, c, latent_y, latent_x).

        Parameters
        ----------
        step : int, slice or iterable of int, optional
            One step (the axis is then dropped) or several; −1 is the last. All where not given.
        split : {"train", "val", "test", "unseen"}, optional
            All where not given.
        which
            `samples`: sample_ids, in the order that is wanted. `prompt`, `seed`: one or several. `where`: a function
            of the manifest's table that says of each row whether it is wanted, or its answer. All that are said hold.

        Raises
        ------
        UnknownNameError
            If there is no such split or sample.
        InputError
            If there is no such step.
        IncompleteError
            If a sample of `samples` isn't complete, or none is. Others that aren't are left out.

        Examples
        --------
        >>> import ldmscene
        >>> store = ldmscene.open("stores/demo")
        >>> store.latents(step=0, split="test").dims
        ('sample', 'c', 'latent_y', 'latent_x')
        """
        return self._load(layout.LATENTS, split, step, which)

    @reads
    def previews(
        self, source: str, split: str | None = None, *, step: Steps | None = None, **which: Unpack[Which]
    ) -> xr.DataArray:
        """Decoded x_t (`noisy`) or predicted x_0 (`predicted`) of each step, uint8 (sample, step, Y, X, rgb).

        Parameters
        ----------
        source : {"noisy", "predicted"}
            From x_t, or from the predicted x_0.
        split : {"train", "val", "test", "unseen"}, optional
            All where not given.
        step : int, slice or iterable of int, optional
            One step (the axis is then dropped) or several; −1 is the last. All where not given.
        which
            `samples`: sample_ids, in the order that is wanted. `prompt`, `seed`: one or several. `where`: a function
            of the manifest's table that says of each row whether it is wanted, or its answer. All that are said hold.

        Raises
        ------
        UnknownNameError
            If there is no such source, split or sample.
        IncompleteError
            If a sample of `samples` isn't complete, or none is. Others that aren't are left out.

        Examples
        --------
        >>> import ldmscene
        >>> store = ldmscene.open("stores/demo")
        >>> store.previews("noisy", "test", step=[0, 3]).dims
        ('sample', 'step', 'Y', 'X', 'rgb')
        """
        if source not in layout.PREVIEWS:
            raise unknown("kind of preview", source, layout.PREVIEWS)
        return self._load(layout.PREVIEWS[source], split, step, which)

    @reads
    def labels(
        self, target: str, split: str | None = None, *, binary: bool = False, **which: Unpack[Which]
    ) -> xr.DataArray:
        """Labels of the final images, float32 (sample, Y, X); NaN where a pixel has none.

        `binary` makes 1 of what lies above the threshold that is stored with a mask's labels (0.5 where there is none),
        and 0 of the rest, as a LogisticProbe learns them. InputError if the labels are no mask's.

        Parameters
        ----------
        target : str
            One of the store's, such as "depth".
        split : {"train", "val", "test", "unseen"}, optional
            All where not given.
        binary : bool, default False
            0 and 1, as a LogisticProbe learns them.
        which
            `samples`: sample_ids, in the order that is wanted. `prompt`, `seed`: one or several. `where`: a function
            of the manifest's table that says of each row whether it is wanted, or its answer. All that are said hold.

        Raises
        ------
        UnknownNameError
            If there is no such target, split or sample.
        IncompleteError
            If a sample of `samples` isn't complete, or none is. Others that aren't are left out.

        Examples
        --------
        >>> import ldmscene
        >>> store = ldmscene.open("stores/demo")
        >>> store.labels("mask", "test").shape
        (6, 64, 64)
        """
        if target not in self.targets:
            raise unknown("target with labels in this store", target, self.targets)
        found = self._load(layout.label_path(target), split, which=which)
        return as_mask(found, target) if binary else found

    @reads
    def predictions(self, target: str, split: str | None = None, **which: Unpack[Which]) -> xr.DataArray:
        """A classifier's probabilities for the final pictures, (sample, class); the attribute `classes` names them.

        Parameters
        ----------
        target : str
            As `ldmscene.label` was told.
        split : {"train", "val", "test", "unseen"}, optional
            All where not given.
        which
            `samples`: sample_ids, in the order that is wanted. `prompt`, `seed`: one or several. `where`: a function
            of the manifest's table that says of each row whether it is wanted, or its answer. All that are said hold.

        Raises
        ------
        UnknownNameError
            If there is no such target, split or sample.
        IncompleteError
            If a sample of `samples` isn't complete, or none is. Others that aren't are left out.

        Examples
        --------
        >>> import numpy as np
        >>> import ldmscene
        >>> class Light:  # a classifier: whole pictures to the probability of each class
        ...     provenance = {"labeler": "light", "kind": "classification", "classes": ["bright", "dark"]}
        ...     def __call__(self, images):
        ...         bright = images.mean((1, 2, 3)) / 255
        ...         return np.stack([bright, 1 - bright], 1)
        >>> store = ldmscene.label("stores/demo", "light", Light(), split="test", progress=False)
        >>> store.predictions("light", "test").attrs["classes"]
        ['bright', 'dark']
        """
        known = self._targets_of("predictions")
        if target not in known:
            raise unknown("target with predictions in this store", target, known)
        return self._load(layout.prediction_path(target), split, which=which)

    @reads
    def intermediate(
        self, source: str, target: str, split: str | None = None, *, step: Steps | None = None, **which: Unpack[Which]
    ) -> xr.DataArray:
        """A labeler's reading of the unfinished pictures, (sample, step, Y, X) or (sample, step, class).

        Parameters
        ----------
        source : {"noisy", "predicted"}
            From x_t, or from the predicted x_0.
        target : str
            One of the store's, such as "depth".
        split : {"train", "val", "test", "unseen"}, optional
            All where not given.
        step : int, slice or iterable of int, optional
            One step (the axis is then dropped) or several; −1 is the last. All where not given.
        which
            `samples`: sample_ids, in the order that is wanted. `prompt`, `seed`: one or several. `where`: a function
            of the manifest's table that says of each row whether it is wanted, or its answer. All that are said hold.

        Raises
        ------
        UnknownNameError
            If there is no such source, target, split or sample.
        IncompleteError
            If a sample of `samples` isn't complete, or none is. Others that aren't are left out.

        Examples
        --------
        >>> import ldmscene
        >>> store = ldmscene.open("stores/demo")
        >>> store.intermediate("noisy", "depth", "test", step=2).dims
        ('sample', 'Y', 'X')
        """
        if source not in layout.SOURCES:
            raise unknown("kind of unfinished pictures", source, layout.SOURCES)
        known = self._targets_of("intermediate", source)
        if target not in known:
            raise unknown(f"target with readings of {source} pictures in this store", target, known)
        return self._load(layout.intermediate_path(source, target), split, step, which)

    @reads
    def sel(
        self, *, module: str, step: Steps | None = None, branch: str | None = None, **which: Unpack[Which]
    ) -> xr.DataArray:
        """Activations of one module for the samples with a prompt, a seed or both, (sample, step, y, x, channel).

        Parameters
        ----------
        module : str
            Its name, or what no other name begins with.
        step : int, slice or iterable of int, optional
            One step (the axis is then dropped) or several; −1 is the last. All where not given.
        branch : {"cond", "uncond"}, optional
            The half of classifier-free guidance; needed where the store holds both.
        which
            `samples`: sample_ids, in the order that is wanted. `prompt`, `seed`: one or several. `where`: a function
            of the manifest's table that says of each row whether it is wanted, or its answer. All that are said hold.

        Raises
        ------
        InputError
            If no complete sample is meant.

        Examples
        --------
        >>> import ldmscene
        >>> store = ldmscene.open("stores/demo")
        >>> first = store.manifest.frame.iloc[0]
        >>> store.sel(module="mid_block", prompt=first["prompt"], seed=int(first["seed"]), step=1).sizes["sample"]
        1
        """
        return self.activations(module, step, branch=branch, **which)

    def torch_dataset(
        self,
        modules: str | Iterable[str],
        *,
        steps: Steps | None = None,
        branch: str | None = None,
        split: str | None = "train",
        batch: int = 4096,
        seed: int = 0,
        memory: str | int = "2GB",
        normalize: Normalisation | None = None,
        rank: int | None = None,
        ranks: int | None = None,
    ) -> RowDataset:
        """Shuffled batches of rows (cells or tokens) for trainers of sparse autoencoders and other dictionaries.

        The order depends on `seed` and the epoch alone, whatever the number of workers and ranks. To be used with
        `torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=1)`, or by itself: threads read ahead.

        Parameters
        ----------
        modules : str or iterable of str
            Names, beginnings of names or globs. Of several, the rows of a batch are of the same cells; a coarser map's
            row stands for all the cells that it covers.
        steps : int, slice or iterable of int, optional
            −1 is the last. Where not said, all at which every one of the modules runs (`steps_of`).
        branch : {"cond", "uncond"}, optional
            The half of classifier-free guidance; all that are stored where not said. Rows of a decoder's modules
            alone have none: `provenance` says −1.
        split : {"train", "val", "test", "unseen"}, optional
            "train" unless said otherwise, so that no held-out prompt is trained on. None: all.
        batch : int
            Rows.
        seed : int
        memory : str or int
            For rows of each process that reads, such as "2GB" (the default), or bytes. Half of it is shuffled together.
        normalize : {"standard", "norm"}, optional
            "standard": each channel less its mean, by its deviation. "norm": rows times a number, so that their mean
            length is √channels. By constants of all training rows, which are computed once and saved in the store.
        rank, ranks : int, optional
            This process's number and how many train together: each serves its share of the batches. As
            `torch.distributed` or its environment say, where not said.

        Returns
        -------
        RowDataset
            An IterableDataset of dicts: `x`, `provenance` and `state`.

        Raises
        ------
        UnknownNameError
            If there is no such module, branch, split or way to normalise.
        InputError
            If there is no such step, or the memory isn't enough for a batch.
        ShapeError
            If the modules' grids can't be aligned.
        IncompleteError
            If no sample of the split is complete in these modules.

        Examples
        --------
        >>> import ldmscene
        >>> store = ldmscene.open("stores/demo")
        >>> rows = store.torch_dataset("up_blocks.3.attentions.2", steps=[1, 3], batch=1024, normalize="norm")
        >>> next(iter(rows))["x"].shape  # what an autoencoder trains on
        torch.Size([1024, 48])
        """
        from ldmscene.rows.dataset import RowDataset  # loads torch
        from ldmscene.store import training

        names = training.chosen_modules(self, modules)
        source = training.source_of(self, names, steps, branch, split)
        return RowDataset(
            source,
            training.training_of(self, source) if normalize else None,
            single=isinstance(modules, str) and len(names) == 1,
            batch=batch,
            seed=seed,
            memory=training.parse_memory(memory),
            normalize=normalize,
            rank=rank,
            ranks=ranks,
        )

    def _load(
        self,
        path: str,
        split: str | None,
        step: Steps | None = None,
        which: Which | None = None,
        select: dict[str, Any] | None = None,
        dtype: np.dtype | None = None,
    ) -> xr.DataArray:
        array, frame = self.info(path), self._chosen(path, split, which or {})
        select, steps = dict(select or {}), []
        if "step" in array.dims or array.path.kind == "activations":
            known = self._steps_in(array)
            steps = choose_steps(step, known, "this store" if known == self.steps else array.path.module)
        if "step" in array.dims:
            select["step"] = steps
        rows = frame.index.tolist()
        data = array.dask(rows, select, [self.fingerprint, self._finished.crc32_of(path, rows)], dtype)
        coords: dict[str, Any] = {
            name: ("sample", frame[name].to_numpy()) for name in ("prompt_id", "prompt", "seed", "split")
        }
        coords["sample"] = frame["sample_id"].to_numpy()
        if "step" in array.dims:
            coords["step"] = steps
        found = xr.DataArray(data, dims=("sample", *array.dims), coords=coords, name=path, attrs=dict(array.attributes))
        if steps and "step" not in array.dims:
            found = found.expand_dims(step=steps, axis=1)
        return found.isel(step=0) if isinstance(step, int | np.integer) else found

    def _chosen(self, path: str, split: str | None, which: Which) -> pd.DataFrame:
        """Rows of the manifest, of samples that are complete, in the order that is wanted."""
        if split is not None and split not in SPLITS:
            raise unknown("split", split, SPLITS)
        of_it = f" of split {split!r}" if split else ""
        others: Any = dict(which)
        samples = others.pop("samples", None)
        frame, have = self._frame, self._finished.stored(path)
        wanted = chosen(frame, **others)
        if samples is not None:
            rows = self._complete_rows(path, several(samples))
            frame, have, wanted = frame.loc[rows], have[rows], wanted[rows]
            if frame.empty or (split and not frame["split"].eq(split).any()):
                raise InputError(f"samples: expected at least one{of_it}, got {samples!r}")
        of_split = frame["split"].eq(split).to_numpy() if split else np.ones(len(frame), bool)
        have = have & of_split
        if not have.any():
            dropped = bool((self._finished.dropped(path)[frame.index] & of_split).any())
            todo = remedy(dropped) if of_split.any() else f"the manifest has none; its splits are {self._splits()}"
            raise IncompleteError(f"no sample{of_it} has {path} in {self.root}; {todo}")
        if not (have & wanted).any():
            raise InputError(f"no complete sample{of_it} has {said(which)}; see store.samples")
        return frame[have & wanted]

    def _splits(self) -> str:
        """Those of the manifest, each with its count."""
        counts = self._frame["split"].value_counts(sort=False)
        return ", ".join(f"{split} ({count})" for split, count in counts.items())

    def _complete_rows(self, path: str, samples: Sequence[str]) -> list[int]:
        stored = self._finished.stored(path)
        for sample_id in samples:
            if sample_id not in self._index:
                raise unknown(f"sample in {self.root}", sample_id, self._index)
            if not stored[self._index[sample_id]]:
                todo = remedy(sample_id in self.dropped(path))
                raise IncompleteError(f"sample {sample_id} has no {path} in {self.root}; {todo}")
        return self.rows(samples)

    def __repr__(self) -> str:
        done = int(self.samples["complete"].sum())
        counts = f"{done} of {counted(len(self.manifest), 'sample')}, {counted(len(self.modules), 'module')}, "
        counts += counted(len(self.steps), "step")
        return f"<ActivationStore {self.root}: {counts}>"

    def _repr_html_(self) -> str:
        samples = self.samples
        facts = {
            "samples": f"{int(samples['complete'].sum())} of {len(samples)} complete",
            "modules": len(self.modules),
            "steps": len(self.steps),
            "targets": ", ".join(self.targets) or "none yet",
            "size": human_bytes(int(self._finished.totals["bytes"].sum())),
            "fingerprint": self.fingerprint,
        }
        if samples["dropped"].any():
            facts["of these in statistics alone"] = int(samples["dropped"].sum())
        return page(str(self.root), facts, self._pictures(), self.contents)

    def _pictures(self) -> Iterator[tuple[str, str, np.ndarray]]:
        """The first complete samples' ids, prompts and pictures."""
        shown = self._frame[self._finished.stored(layout.IMAGE)].head(THUMBNAILS)
        if len(shown) and self.info(layout.IMAGE).layout.chunk_bytes <= MOST_PICTURE:
            images = self.info(layout.IMAGE).read(shown.index.tolist(), {})
            yield from zip(shown["sample_id"], shown["prompt"], images, strict=True)


def _floats(dtype: str) -> np.dtype:
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = np.dtype(object)
    if found.kind != "f":
        raise InputError(f"dtype: expected float16, float32 or float64, got {dtype!r}")
    return found
