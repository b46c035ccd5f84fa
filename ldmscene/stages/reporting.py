"""From a store and a grid to what the report is made from, and the grid's own file."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import shlex
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import xarray as xr

from ldmscene.errors import CorruptError, InputError, WriteError, unknown
from ldmscene.report import ReportData, samples_that_fit
from ldmscene.stages.places import Activations
from ldmscene.store import ActivationStore
from ldmscene.store.files import write_file
from ldmscene.store.layout import IMAGE, PREVIEWS, PROBES, intermediate_path, label_path
from ldmscene.store.places import Place
from ldmscene.store.prepare import fingerprint
from ldmscene.store.seal import seal, unseal

MARK = "made-from.txt"  # in a report's folder
BLOCK = 16  # samples whose activations are in memory at once


def report_data(store: ActivationStore, grid: xr.Dataset, samples: int | Sequence[str] | None = None) -> ReportData:
    """Everything that a report shows of some held-out samples: these ids, the first so many, or as many as fit.

    Pictures stay on disk until they are needed.

    Raises
    ------
    InputError
        If a count is below 1.
    UnknownNameError
        If no held-out sample is called so.
    """
    ids = shown_samples(store, grid, samples)
    frame = store.manifest.frame.set_index("sample_id").loc[ids]
    targets = list(zip(grid["target"].values, grid["labels"].values, grid["of_class"].values, strict=True))
    steps = grid["step"].values.tolist()

    kept = {source: set(ids) <= store.complete(path) for source, path in PREVIEWS.items()}
    read = {
        (source, str(target)): _shown(store.intermediate(source, str(labels), step=steps, samples=ids), value)
        for source in PREVIEWS
        for target, labels, value in targets
        if set(ids) <= store.complete(intermediate_path(source, str(labels)))
    }
    return ReportData(
        grid=grid,
        samples=frame,
        image=store.images(samples=ids),
        noisy=store.previews("noisy", step=steps, samples=ids) if kept["noisy"] else None,
        predicted=store.previews("predicted", step=steps, samples=ids) if kept["predicted"] else None,
        labels={str(t): _shown(store.labels(str(labels), samples=ids), value) for t, labels, value in targets},
        intermediate=read,
        predict=_predictor(store, grid, ids),
        provenance={**about(store), **json.loads(grid.attrs["provenance"])},
    )


def shown_samples(store: ActivationStore, grid: xr.Dataset, samples: int | Sequence[str] | None = None) -> list[str]:
    """The held-out samples that a report shows: these, the first so many, or as many as fit; errors as above."""
    held_out = [str(s) for s in grid["sample"].values]
    if samples is None:
        shape = store.info(IMAGE).layout.shape[:2]
        samples = samples_that_fit(grid.sizes["step"], grid.sizes["target"], max(shape))
    if isinstance(samples, str):
        samples = [samples]
    if isinstance(samples, int):
        if samples < 1:
            raise InputError(f"samples: expected a count of at least 1, or ids; got {samples}")
        return held_out[:samples]
    for sample_id in samples:
        if sample_id not in held_out:
            raise unknown("held-out sample in this grid", sample_id, held_out)
    return list(dict.fromkeys(samples))


def _shown(maps: xr.DataArray, of_class: float) -> xr.DataArray:
    """Labels as they are drawn: of one class, where it is."""
    return maps if np.isnan(of_class) else (maps == of_class).where(maps.notnull())


def _predictor(store: ActivationStore, grid: xr.Dataset, ids: Sequence[str]) -> Callable[[str, str, int], xr.DataArray]:
    """(target, module, step) to a fitted probe's maps (sample, y, x); probabilities for binary targets."""
    order = ("module", "step", "target")
    coef, intercept = grid["coef"].transpose(*order, "channel").values, grid["intercept"].transpose(*order).values
    positions = [{str(name): i for i, name in enumerate(grid[dim].values)} for dim in order]
    binary = grid["kind"].values == "binary"

    @functools.lru_cache(maxsize=1)  # the targets of a module and step follow each other, and share what is read
    def of_all_targets(module: str, step: int) -> np.ndarray:
        cell = positions[0][module], positions[1][str(step)]
        place, blocks = Activations.of(store, module, step), []
        for begin in range(0, len(ids), BLOCK):
            maps = place.read(store, ids[begin : begin + BLOCK]).astype(np.float64)
            blocks.append(maps @ coef[cell][:, : maps.shape[-1]].T + intercept[cell])
        values = np.concatenate(blocks)
        values[..., binary] = 1 / (1 + np.exp(-np.clip(values[..., binary], -50, 50)))
        return values

    def predict(target: str, module: str, step: int) -> xr.DataArray:
        value = of_all_targets(module, step)[..., positions[2][target]]
        return xr.DataArray(value, dims=("sample", "y", "x"), coords={"sample": list(ids)})

    return predict


def state(store: ActivationStore, targets: Sequence[str]) -> dict:
    """What a grid depends on in a store: whose activations, which samples, which labels."""
    read = [label_path(t) for t in targets] + [p for p in store.complete_paths if not p.startswith("labels/")]
    rows = store.ledger[store.ledger["what"].isin(read)].sort_values(["what", "sample_id"])
    return {
        "fingerprint": store.fingerprint,
        "labels": {t: dict(store.info(label_path(t)).attributes) for t in targets},
        "arrays": fingerprint({"rows": rows[["what", "sample_id", "crc32"]].to_numpy().tolist()}),
    }


def about(store: ActivationStore) -> dict:
    """What a report says of a store: its model by name, and its manifest in numbers."""
    frame, config = store.manifest.frame, store.config
    return {
        "model": {"name": store.model or config.get("pipeline", ""), "pipeline": config.get("pipeline", "")},
        "manifest": {
            "samples": len(frame),
            "prompts": frame["prompt_id"].nunique(),
            **{split: int(count) for split, count in frame["split"].value_counts(sort=False).items()},
            "fingerprint": fingerprint({"samples": frame[["sample_id", "split"]].to_numpy().tolist()}),
        },
    }


def provenance(store: ActivationStore, made_from: Mapping, control: ActivationStore | None) -> dict:
    """What a report says of where its numbers come from."""
    packages = ("ldmscene", "torch", "diffusers", "transformers", "zarr", "xarray", "dask", "scikit-learn", "numpy")
    return {
        "store": store.root.name,
        "fingerprint": store.fingerprint,
        "configuration": store.config,
        "extracted_with": [
            ", ".join(f"{name} {value}" for name, value in one.items()) for one in store.attributes.get("made_with", [])
        ],
        "labels": made_from["data"]["labels"],
        "cross_validation_folds": made_from["cv"],
        "alphas": made_from["alphas"],
        "permuted_control": control.fingerprint if control else "not run",
        "versions": {name: version(name) for name in packages},
    }


def command(verb: str, *words: object, **options: object) -> str:
    """The command line that does the same; "" where something can't be typed, such as a loaded pipeline."""
    typed = [str(word) for word in words]
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if name == "labelers" and isinstance(value, Mapping):
            value = [f"{target}={labeler}" if isinstance(labeler, str) else None for target, labeler in value.items()]
            option = "--labeler"
        if isinstance(value, bool):
            typed += [option if value else f"--no-{option[2:]}"]
            continue
        for one in value if isinstance(value, list | tuple) else [] if value is None else [value]:
            if not isinstance(one, str | int | float | Path):
                return ""
            typed += [option, str(one)]
    return shlex.join(["ldmscene", verb, *typed])


def grid_file(store: ActivationStore, made_from: Mapping[str, object]) -> Place:
    """Where the grid that was computed from these inputs is kept."""
    return store.root / PROBES / f"grid-{fingerprint(dict(made_from))}.nc"


def keep_grid(grid: xr.Dataset, path: Place) -> None:
    """Write a grid as one netCDF 3 file, whole or not at all, its checksum behind it, where netCDF doesn't look.

    Where the store can't be written to, only warn.
    """
    try:
        write_file(path, seal(bytes(grid.to_netcdf(engine="scipy"))))
    except WriteError as error:
        warnings.warn(f"the grid isn't kept, so that the next evaluation computes it again: {error}", stacklevel=3)


def unmark(folder: Path) -> None:
    """Forget what the report in a folder shows, before anything of it is replaced."""
    (folder / MARK).unlink(missing_ok=True)


def mark(folder: Path, grid: xr.Dataset, samples: Sequence[str]) -> None:
    """Note beside a finished report which grid and samples it shows."""
    write_file(folder / MARK, _key(grid, samples).encode())


def up_to_date(folder: Path, grid: xr.Dataset, samples: Sequence[str]) -> Path | None:
    """The first page of the report in a folder, if it shows this very grid and these samples."""
    noted, page = folder / MARK, folder / "index.html"
    return page if page.exists() and noted.exists() and noted.read_text() == _key(grid, samples) else None


def _key(grid: xr.Dataset, samples: Sequence[str]) -> str:
    numbers = {name: hashlib.sha256(v.values.tobytes()).hexdigest() for name, v in grid.data_vars.items()}
    return fingerprint({"provenance": grid.attrs["provenance"], "numbers": numbers, "samples": list(samples)})


def load_grid(path: Place) -> xr.Dataset:
    """Read a grid back.

    Raises
    ------
    CorruptError
        If its bytes aren't those that were written.
    """
    data = unseal(path.read_bytes())
    if data is None:
        raise CorruptError(f"{path} is not the grid that was written; delete it and evaluate again")
    with xr.open_dataset(io.BytesIO(data), engine="scipy") as grid:
        return grid.load()
