"""Manifests from files, tables and pairs; what isn't there is derived from the prompt."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from ldmscene.errors import ManifestError
from ldmscene.manifest.files import delimited, read_table
from ldmscene.manifest.published import PUBLISHED_COLUMNS
from ldmscene.manifest.samples import COLUMNS, MAX_SEED, SCHEMA, Manifest, unit

TEST_SHARE = 0.2
KNOWN = (*COLUMNS, "class")


def read_manifest(source: str | Path | Manifest | pd.DataFrame | Sequence[tuple[str, int]]) -> Manifest:
    """Read a CSV or Parquet file, or take a table or (prompt, seed) pairs.

    Parameters
    ----------
    source
        A file, "demo" for the embedded model's manifest, or a pandas.DataFrame, with the columns `prompt` and `seed`,
        and perhaps `split` ("train", "val", "test" or "unseen"), `sample_id` and `prompt_id`, others being left out; or
        pairs; or a `Manifest`, which is returned. Splits are drawn by prompt where they aren't named, a fifth of all
        prompts for "test" and the rest for "train", so that no prompt lies in two, nor one that differs in capitals and
        spaces alone. Probes are fitted to "train" and judged on
        "test"; samples of "val" and "unseen" are stored, for `evaluate(held_out=…)`.

    Raises
    ------
    ManifestError
        If the file is missing or empty, lacks a column, or holds a bad seed, split or duplicate.

    Examples
    --------
    >>> from ldmscene import read_manifest
    >>> manifest = read_manifest([("a red cube", 1), ("a red cube", 2), ("a blue sphere", 1)])
    >>> manifest.frame["prompt"].nunique(), len(manifest)
    (2, 3)
    """
    if isinstance(source, Manifest):
        return source
    with naming(source):
        return Manifest(with_defaults(rows_of(source)))


@contextmanager
def naming(source: Any) -> Iterator[None]:
    """Errors of a manifest that say in which file it stands."""
    try:
        yield
    except ManifestError as error:
        if not isinstance(source, str | Path) or str(source) in str(error):
            raise
        raise ManifestError(f"{source}: {error}") from error


def rows_of(source: str | Path | pd.DataFrame | Sequence[tuple[str, int]], also: Sequence[str] = ()) -> pa.Table:
    """A manifest as it is, before anything is derived; `also` are columns of text beside those of every manifest."""
    if isinstance(source, pd.DataFrame):
        return _from_frame(source, also)
    table = read_table(Path(source), also) if isinstance(source, str | Path) else _from_pairs(source)
    if len(set(table.column_names)) < len(table.column_names):
        raise ManifestError(f"a column stands twice in the manifest; it has {', '.join(table.column_names)}")
    _check_spelling(table.column_names, also)
    return table


def _check_spelling(columns: Sequence[str], also: Sequence[str]) -> None:
    """Refuse a column that would be left out for its spelling, as `Split` or `splits`, whose splits would be drawn."""
    for column in columns:
        meant = column.strip().lower()
        if "split" not in columns and _is_nearly_split(meant):
            meant = "split"
        if column != meant and meant in (*KNOWN, *also) and column not in also:
            raise ManifestError(f"no column of a manifest is called {column!r}; rename it to {meant!r}, or drop it")


def _is_nearly_split(name: str) -> bool:
    """As by a slip of the hand; `split1` and `resplit` are columns of another meaning."""
    other = name.endswith("split") or any(map(str.isdigit, name))
    return not other and bool(get_close_matches(name, ["split"], cutoff=0.8))


def _from_frame(frame: pd.DataFrame, also: Sequence[str] = ()) -> pa.Table:
    if not frame.columns.is_unique:
        raise ManifestError(f"a column stands twice in the table; it has {', '.join(map(str, frame.columns))}")
    _check_spelling([str(column) for column in frame.columns], also)
    known = [column for column in frame.columns if column in (*KNOWN, *PUBLISHED_COLUMNS, *also)]
    try:
        return pa.Table.from_pandas(frame[known], preserve_index=False)
    except (pa.ArrowException, UnicodeEncodeError) as error:
        raise ManifestError(f"the table can't be read: {error}") from error


def _from_pairs(pairs: Iterable[tuple[str, int]]) -> pa.Table:
    rows = list(pairs) if isinstance(pairs, Iterable) else [pairs]
    for row in rows:
        if not (isinstance(row, tuple | list) and len(row) == 2 and isinstance(row[0], str)):
            raise ManifestError(f"expected a path, a table, a Manifest or a list of (prompt, seed) pairs; got {row!r}")
        if not (isinstance(row[1], int | np.integer) and 0 <= row[1] <= MAX_SEED):
            raise ManifestError(
                f"prompt {row[0][:60]!r}: the seed must be a whole number from 0 to 2⁶³ − 1, got {row[1]!r}"
            )
    try:
        prompts = pa.array([prompt for prompt, _ in rows], pa.string())
    except UnicodeEncodeError as error:
        raise ManifestError(f"a prompt isn't valid Unicode: {error}") from error
    return pa.table({"prompt": prompts, "seed": pa.array([int(seed) for _, seed in rows], pa.int64())})


def with_defaults(table: pa.Table, prefixes: Sequence[str] = (), units: Sequence[str] = ()) -> pa.Table:
    """A manifest's columns; `prefixes` of sample ids, and `units` by which splits are drawn instead of by prompt."""
    table = _with_prompts(table)
    missing = {"prompt", "seed"} - set(table.column_names)
    if set(PUBLISHED_COLUMNS) <= set(table.column_names):
        raise ManifestError(
            "this is one split of the published experiment; give both: `run --protocol scenes TRAIN TEST`"
        )
    if missing:
        raise ManifestError(
            f"the manifest lacks the column{'s' * (len(missing) > 1)} {', '.join(sorted(missing))}; "
            f"it has {', '.join(table.column_names) or 'none'}{delimited(table.column_names)}"
        )
    if table.num_rows == 0:
        raise ManifestError("the manifest is empty; expected at least one row with a prompt and a seed")
    frame = table.to_pandas()
    check_text(frame, "prompt")
    _check_whole(frame, "seed")
    if "prompt_id" in frame:
        _check_whole(frame, "prompt_id")
    else:
        frame["prompt_id"] = [_number(prompt, 6) for prompt in frame["prompt"].fillna("")]
    if "sample_id" not in frame:
        names = [f"{p:x}-{s}" for p, s in zip(frame["prompt_id"], frame["seed"], strict=True)]
        frame["sample_id"] = [f"{one}-{name}" for one, name in zip(prefixes, names, strict=True)] if prefixes else names
    if "split" not in frame:
        pairs = zip(frame["prompt"].fillna(""), frame["seed"], strict=True)
        frame["split"] = [*map(draw_split, units or (unit(prompt, seed) for prompt, seed in pairs))]
    try:
        return pa.Table.from_pandas(frame[list(COLUMNS)], schema=SCHEMA, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ManifestError(f"a column has values of the wrong type: {error}") from error


def _with_prompts(table: pa.Table) -> pa.Table:
    """A column `class` as prompts, for models of classes; a table of seeds alone without any."""
    columns = set(table.column_names)
    if "class" in columns and "prompt" not in columns:
        return table.append_column("prompt", table["class"].cast(pa.string()))
    if "seed" in columns and columns <= {"seed", "split", "sample_id"}:
        return table.append_column("prompt", pa.array([""] * table.num_rows, pa.string()))
    return table


def check_text(frame: pd.DataFrame, column: str) -> None:
    strange = [value for value in frame[column].dropna() if not isinstance(value, str)]
    if strange:
        raise ManifestError(f"{column}s must be text; the column holds {strange[0]!r}, for example")


def draw_split(prompt: str) -> str:
    return "test" if _number(prompt, 4) < TEST_SHARE * 2**32 else "train"


def _number(prompt: str, size: int) -> int:
    return int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:size], "big")


def _check_whole(frame: pd.DataFrame, column: str) -> None:
    values = frame[column]
    if not pd.api.types.is_integer_dtype(values):
        raise ManifestError(
            f"{column}s must be whole numbers; the column holds {values.dtype}, for example {values.iloc[0]}"
        )
