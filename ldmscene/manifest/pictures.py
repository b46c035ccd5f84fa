"""Manifests of samples that have pictures: those that are noised, and those that a pipeline is handed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa

from ldmscene.errors import ManifestError
from ldmscene.manifest.reading import check_text, draw_split, rows_of, with_defaults
from ldmscene.manifest.samples import IMAGE, INPUTS, Manifest


def file_names(
    source: str | Path | Manifest | pd.DataFrame | Sequence[tuple[str, int]], inputs: Sequence[str]
) -> tuple[pa.Table, dict[str, list[str]]]:
    """A manifest's rows, for `picture_manifest`, and of some inputs the file that each row names.

    Raises
    ------
    ManifestError
        If the manifest can't be read, or a column isn't there, or not filled.
    """
    if isinstance(source, Manifest):
        raise ManifestError(f"a Manifest has no column {inputs[0]}; pass the table or the file that it was read from")
    rows = rows_of(source, inputs)
    for name in inputs:
        if name not in rows.column_names:
            raise ManifestError(
                f"the manifest has no column {name}, which names the file of each sample's {name}; it has "
                f"{', '.join(rows.column_names)}"
            )
        check_text(rows.select([name]).to_pandas(), name)
        filled = [*map(bool, rows[name].to_pylist())]
        if not all(filled):
            raise ManifestError(f"row {filled.index(False)} has no {name}")
    return rows, {name: rows[name].to_pylist() for name in inputs}


def picture_manifest(rows: pa.Table, hashes: Mapping[str, Sequence[str]]) -> Manifest:
    """The manifest of samples with pictures of their own, by the hashes of these; other pictures are other samples.

    Their `image`, or the first input by name where there is none, takes the prompt's part: samples that share it are
    one group, and splits are drawn by it.

    Raises
    ------
    ManifestError
        As `read_manifest`, or if a picture lies in two splits.
    """
    units = hashes[IMAGE if IMAGE in hashes else min(hashes)]
    each = [
        json.dumps(dict(zip(hashes, one, strict=True)), sort_keys=True) for one in zip(*hashes.values(), strict=True)
    ]
    plain = rows.drop_columns([name for name in hashes if name in rows.column_names])
    found = with_defaults(plain, [hashlib.sha256(one.encode()).hexdigest()[:12] for one in each], units)
    return Manifest(found.append_column(IMAGE, pa.array(units, pa.string())).append_column(INPUTS, pa.array(each)))


def pictures_of(inputs: str) -> dict[str, str]:
    """Of a sample's `inputs`, as `picture_manifest` writes them: the hash of each picture."""
    found: dict[str, str] = json.loads(inputs)
    return found


def image_manifest(
    hashes: Sequence[str], prompts: Sequence[str], seeds: Sequence[int], splits: Sequence[str] | None = None
) -> Manifest:
    """The manifest of supplied pictures, by the hashes of their pixels; splits are drawn by image where not given.

    Raises
    ------
    ManifestError
        If an image stands there twice with one prompt and seed, or in two splits.
    """
    names = [f"{name[:12]}-{seed}" for name, seed in zip(hashes, seeds, strict=True)]
    columns = {
        "sample_id": pa.array(names, pa.string()),
        "prompt_id": pa.array([int(name[:12], 16) for name in hashes], pa.int64()),
        "prompt": pa.array(list(prompts), pa.string()),
        "seed": pa.array([int(seed) for seed in seeds], pa.int64()),
        "split": pa.array(list(splits) if splits is not None else [draw_split(h) for h in hashes], pa.string()),
        IMAGE: pa.array(list(hashes), pa.string()),
    }
    return Manifest(pa.table(columns))
