"""The samples to generate: how a manifest is read, checked, split and written.

A manifest is a table with the columns `prompt` and `seed`, and where given `sample_id`, `prompt_id` and
`split`. What isn't given is derived from the prompt alone, so that it is the same in every manifest: `prompt_id`
is a hash, and `split` is drawn by prompt, so that no prompt lies on both sides.

Samples of supplied pictures have a column `image` too, the picture's hash, which takes the prompt's part in all this.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ldmscene.array_types import AnyArray
from ldmscene.errors import ManifestError
from ldmscene.prompts import normal

COLUMNS = ("sample_id", "prompt_id", "prompt", "seed", "split")
IMAGE = "image"
SPLITS = ("train", "val", "test")
PUBLISHED_COLUMNS = {"prompts": pa.string(), "seeds": pa.int64(), "prompt_inds": pa.int64()}
PUBLISHED_ENCODING = "ISO-8859-1"
TEST_SHARE = 0.2
MAX_SEED = 2**63 - 1
MAX_BLOCK = 2**31 - 1  # bytes that pyarrow reads at once

_SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("prompt_id", pa.int64()),
        ("prompt", pa.string()),
        ("seed", pa.int64()),
        ("split", pa.string()),
    ]
)
SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True)
class Manifest:
    """Samples in order; checked when built and never changed.

    Attributes
    ----------
    table : pyarrow.Table
        Columns `sample_id`, `prompt_id`, `prompt`, `seed`, `split`.

    Examples
    --------
    >>> from ldmscene import read_manifest
    >>> manifest = read_manifest([("a red cube", 1), ("a blue sphere", 2)])
    >>> len(manifest), list(manifest.frame.columns)
    (2, ['sample_id', 'prompt_id', 'prompt', 'seed', 'split'])
    >>> manifest.with_splits(["train", "test"]).frame["split"].tolist()
    ['train', 'test']
    """

    table: pa.Table

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", _checked(self.table))

    def __len__(self) -> int:
        samples: int = self.table.num_rows
        return samples

    @property
    def frame(self) -> pd.DataFrame:
        """The samples as a pandas DataFrame."""
        return self.table.to_pandas(ignore_metadata=True)

    @property
    def pairs(self) -> list[tuple[str, int]]:
        """Prompt and seed of each sample."""
        return list(zip(self.table["prompt"].to_pylist(), self.table["seed"].to_pylist(), strict=True))

    @property
    def keys(self) -> list[tuple[Any, ...]]:
        """What makes each sample the one it is: prompt, seed, and the hash of a supplied picture."""
        columns = [name for name in ("prompt", "seed", IMAGE) if name in self.table.column_names]
        return list(zip(*(self.table[name].to_pylist() for name in columns), strict=True))

    @property
    def groups(self) -> AnyArray:
        """What samples share that aren't independent: the supplied image, or the prompt, however it is spelled."""
        if IMAGE in self.table.column_names:
            images: AnyArray = self.table[IMAGE].to_numpy(zero_copy_only=False)
            return images
        return np.array([normal(prompt) for prompt in self.table["prompt"].to_pylist()], dtype=object)

    def to_csv(self, path: str | Path) -> None:
        pyarrow.csv.write_csv(self.table, path)

    def only(self, sample_ids: Collection[str]) -> Manifest:
        """Some of the samples, in the same order."""
        return Manifest(self.table.filter(pa.array([s in sample_ids for s in self.table["sample_id"].to_pylist()])))

    def with_splits(self, splits: Sequence[str]) -> Manifest:
        """A manifest of these samples, each in the split that is named for it."""
        column = self.table.column_names.index("split")
        return Manifest(self.table.set_column(column, "split", pa.array(splits, pa.string())))

    def extended(self, other: Manifest) -> Manifest:
        """These samples, then those of `other` that aren't among them (by prompt and seed).

        Raises
        ------
        ManifestError
            If a sample stands in another split here than there.
        """
        known = dict(zip(self.keys, self.table["split"].to_pylist(), strict=True))
        theirs = list(zip(other.keys, other.table["split"].to_pylist(), strict=True))
        for key, split in theirs:
            if known.get(key, split) != split:
                raise ManifestError(
                    f"prompt {key[0][:60]!r}, seed {key[1]} is a {known[key]} sample already and can't become "
                    f"a {split} sample; give it its old split, or use another store"
                )
        new = pa.array([key not in known for key, _ in theirs], pa.bool_())
        return Manifest(pa.concat_tables([self.table, other.table.filter(new)]))


def read_manifest(source: str | Path | Manifest | pd.DataFrame | Sequence[tuple[str, int]]) -> Manifest:
    """Read a CSV or Parquet file, or take a table or (prompt, seed) pairs.

    Parameters
    ----------
    source
        A file or a pandas.DataFrame with the columns `prompt` and `seed`, and perhaps `split` ("train", "val" or
        "test"), `sample_id` and `prompt_id`, others being left out; or pairs; or a `Manifest`, which is returned.
        Splits are drawn by prompt where not given, so that no prompt lies in two, nor one that differs in capitals
        and spaces alone. Samples of "val" are stored, and
        neither fitted to nor scored.

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
    if isinstance(source, pd.DataFrame):
        return Manifest(_with_defaults(_from_frame(source)))
    table = _read(Path(source)) if isinstance(source, str | Path) else _from_pairs(source)
    return Manifest(_with_defaults(table))


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
        "split": pa.array(list(splits) if splits is not None else [_draw_split(h) for h in hashes], pa.string()),
        IMAGE: pa.array(list(hashes), pa.string()),
    }
    return Manifest(pa.table(columns))


def _read(path: Path) -> pa.Table:
    if not path.is_file():
        raise ManifestError(f"no manifest at {path}; expected a CSV or Parquet file with columns prompt and seed")
    try:
        if path.suffix == ".parquet":
            return pyarrow.parquet.read_table(path)
        text = pyarrow.csv.ConvertOptions(
            column_types={"prompt": pa.string(), "sample_id": pa.string(), "split": pa.string()}
        )
        return _read_csv(path, text)
    except (pa.ArrowException, OSError) as error:
        raise ManifestError(f"{path} can't be read as {path.suffix.lstrip('.') or 'CSV'}: {error}") from error


def _read_csv(path: Path, columns: pyarrow.csv.ConvertOptions, encoding: str = "utf8") -> pa.Table:
    """As one block: pyarrow drops the LF of a quoted CRLF that lies across two (apache/arrow#51368)."""
    size = 2 * path.stat().st_size + 1  # a byte of ISO-8859-1 is up to two of UTF-8
    if size > MAX_BLOCK:
        raise ManifestError(f"{path} holds more than 1 GiB of CSV; write it as Parquet")
    return pyarrow.csv.read_csv(
        path,
        read_options=pyarrow.csv.ReadOptions(encoding=encoding, block_size=size),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=columns,
    )


def read_published(train: str | Path, test: str | Path) -> Manifest:
    """The published experiment's two files, each a split.

    They hold the columns `prompts`, `seeds` and `prompt_inds` and are read as ISO-8859-1, as the published code
    read them, so that each prompt is the text that its picture was made from ("GEÂ®", where a UTF-8 reader
    sees "GE®"). A sample_id is "prompt index-seed".

    Parameters
    ----------
    train, test
        The two files.

    Raises
    ------
    ManifestError
        If a file is missing, isn't of that form, or a prompt lies in both.

    Examples
    --------
    >>> from pathlib import Path
    >>> import ldmscene
    >>> for name, subject in (("train", "cube"), ("test", "sphere")):
    ...     _ = Path(f"{name}.csv").write_text(f",prompts,seeds,prompt_inds\\n0,a red {subject},7,{len(name)}\\n")
    >>> ldmscene.read_published("train.csv", "test.csv").frame["split"].tolist()
    ['train', 'test']
    """
    parts = [_read_published(Path(path), split) for path, split in ((train, "train"), (test, "test"))]
    return Manifest(pa.concat_tables(parts))


def _read_published(path: Path, split: str) -> pa.Table:
    if not path.is_file():
        raise ManifestError(
            f"no file at {path}; expected the {split} split with columns {', '.join(PUBLISHED_COLUMNS)}"
        )
    try:
        columns = pyarrow.csv.ConvertOptions(column_types=PUBLISHED_COLUMNS, strings_can_be_null=False)
        table = _read_csv(path, columns, PUBLISHED_ENCODING)
    except (pa.ArrowException, OSError) as error:
        raise ManifestError(f"{path} can't be read as the {split} split: {error}") from error
    missing = set(PUBLISHED_COLUMNS) - set(table.column_names)
    if missing:
        raise ManifestError(
            f"{path} lacks {', '.join(sorted(missing))}; it has {', '.join(table.column_names) or 'no columns'}"
        )
    prompts, seeds, indices = (table[name].to_pylist() for name in PUBLISHED_COLUMNS)
    rows = {
        "sample_id": [f"{i}-{s}" for i, s in zip(indices, seeds, strict=True)],
        "prompt_id": indices,
        "prompt": prompts,
        "seed": seeds,
        "split": [split] * len(prompts),
    }
    return pa.table(rows, schema=_SCHEMA)


def _from_frame(frame: pd.DataFrame) -> pa.Table:
    if not frame.columns.is_unique:
        raise ManifestError(f"a column stands twice in the table; it has {', '.join(map(str, frame.columns))}")
    known = [column for column in frame.columns if column in (*COLUMNS, *PUBLISHED_COLUMNS)]
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


def _with_defaults(table: pa.Table) -> pa.Table:
    missing = {"prompt", "seed"} - set(table.column_names)
    if set(PUBLISHED_COLUMNS) <= set(table.column_names):
        raise ManifestError(
            "this is one split of the published experiment; give both: `run --protocol scenes TRAIN TEST`"
        )
    if missing:
        raise ManifestError(
            f"the manifest lacks the column{'s' * (len(missing) > 1)} {', '.join(sorted(missing))}; "
            f"it has {', '.join(table.column_names) or 'none'}"
        )
    if len(set(table.column_names)) < len(table.column_names):
        raise ManifestError(f"a column stands twice in the manifest; it has {', '.join(table.column_names)}")
    if table.num_rows == 0:
        raise ManifestError("the manifest is empty; expected at least one row with a prompt and a seed")
    frame = table.to_pandas()
    _check_whole(frame, "seed")
    if "prompt_id" in frame:
        _check_whole(frame, "prompt_id")
    else:
        frame["prompt_id"] = [_number(prompt, 6) for prompt in frame["prompt"].fillna("")]
    if "sample_id" not in frame:
        frame["sample_id"] = [f"{p:x}-{s}" for p, s in zip(frame["prompt_id"], frame["seed"], strict=True)]
    if "split" not in frame:
        frame["split"] = [_draw_split(normal(prompt)) for prompt in frame["prompt"].fillna("")]
    try:
        return pa.Table.from_pandas(frame[list(COLUMNS)], schema=_SCHEMA, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ManifestError(f"a column has values of the wrong type: {error}") from error


def _draw_split(prompt: str) -> str:
    return "test" if _number(prompt, 4) < TEST_SHARE * 2**32 else "train"


def _number(prompt: str, size: int) -> int:
    return int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:size], "big")


def _check_whole(frame: pd.DataFrame, column: str) -> None:
    values = frame[column]
    if not pd.api.types.is_integer_dtype(values):
        raise ManifestError(
            f"{column}s must be whole numbers; the column holds {values.dtype}, for example {values.iloc[0]!r}"
        )


def _checked(table: pa.Table) -> pa.Table:
    if table.num_rows == 0:
        raise ManifestError("the manifest is empty; expected at least one row with a prompt and a seed")
    frame = table.to_pandas(ignore_metadata=True)
    for column in COLUMNS:
        if frame[column].isna().any():
            raise ManifestError(f"row {int(frame[column].isna().argmax())} has no {column}")
    _refuse(frame, ~frame["seed"].between(0, MAX_SEED), "the seed must lie between 0 and 2⁶³ − 1")
    _refuse(frame, ~frame["split"].isin(SPLITS), f"the split must be one of {', '.join(SPLITS)}")
    _refuse(
        frame,
        ~frame["sample_id"].map(lambda s: bool(SAFE_ID.fullmatch(s))),
        "a sample_id is letters, digits, '.', '_' and '-'",
    )
    image = [IMAGE] if IMAGE in frame else []
    _refuse(frame, frame.duplicated(["prompt", "seed", *image]), "the same prompt and seed stand in an earlier row")
    _refuse(frame, frame.duplicated("sample_id"), "the same sample_id stands in an earlier row")
    unit = IMAGE if image else "prompt"
    splits = frame.groupby(unit)["split"].transform("nunique")
    _refuse(frame, splits > 1, f"its {unit} lies in more than one split, which would leak into the test scores")
    return table.select([*COLUMNS, *image])


def _refuse(frame: pd.DataFrame, bad: pd.Series, why: str) -> None:
    if bad.any():
        row = frame[bad].iloc[0]
        raise ManifestError(
            f"sample {row.sample_id!r} (prompt {row.prompt[:60]!r}, seed {row.seed}, split {row.split!r}): {why}"
        )
