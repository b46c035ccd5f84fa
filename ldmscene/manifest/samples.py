"""The samples to generate, checked and in order."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from ldmscene.array_types import AnyArray
from ldmscene.choices import SPLITS
from ldmscene.errors import ManifestError
from ldmscene.prompts import normal

COLUMNS = ("sample_id", "prompt_id", "prompt", "seed", "split")
IMAGE = "image"
READ = "read"
INPUTS = "inputs"
OPTIONAL = (IMAGE, READ, INPUTS)
MAX_SEED = 2**63 - 1
SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("prompt_id", pa.int64()),
        ("prompt", pa.string()),
        ("seed", pa.int64()),
        ("split", pa.string()),
    ]
)


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
        """What makes each sample the one it is: prompt, seed, and the hashes of its pictures."""
        return _keys(self.table)

    @property
    def groups(self) -> AnyArray:
        """What samples share that aren't independent: their picture, or the prompt, however it is spelled.

        Prompts of which a model reads the same are one group, by the name of the first in alphabetical order. Samples
        without a prompt share nothing but a seed.
        """
        if IMAGE in self.table.column_names:
            images: AnyArray = self.table[IMAGE].to_numpy(zero_copy_only=False)
            return images
        spelled = np.array([unit(prompt, seed) for prompt, seed in self.pairs], dtype=object)
        if READ not in self.table.column_names:
            return spelled
        names, before = pd.Series(spelled), None
        read = self.table[READ].to_pandas().where(~names.str.startswith(" "), names)
        while before is None or not names.equals(before):  # each pass joins groups that share a spelling or a reading
            before = names
            names = names.groupby(read).transform("min").groupby(spelled).transform("min")
        return np.array(names, dtype=object)

    def to_csv(self, path: str | Path) -> None:
        """Write the samples as CSV, which `read_manifest` reads.

        Parameters
        ----------
        path : path

        Examples
        --------
        >>> from ldmscene import read_manifest
        >>> read_manifest([("a red cube", 1)]).to_csv("one.csv")
        >>> len(read_manifest("one.csv"))
        1
        """
        pyarrow.csv.write_csv(self.table, path)

    def only(self, sample_ids: Collection[str]) -> Manifest:
        """Some of the samples, in the same order.

        Parameters
        ----------
        sample_ids : collection of str

        Examples
        --------
        >>> from ldmscene import read_manifest
        >>> manifest = read_manifest([("a red cube", 1), ("a blue sphere", 2)])
        >>> len(manifest.only(manifest.frame["sample_id"][:1].tolist()))
        1
        """
        return Manifest(self.table.filter(pa.array([s in sample_ids for s in self.table["sample_id"].to_pylist()])))

    def with_splits(self, splits: Sequence[str]) -> Manifest:
        """A manifest of these samples, each in the split that is named for it.

        Parameters
        ----------
        splits : sequence of {"train", "val", "test", "unseen"}
            One for each sample.

        Examples
        --------
        >>> from ldmscene import read_manifest
        >>> manifest = read_manifest([("a red cube", 1), ("a blue sphere", 2)])
        >>> manifest.with_splits(["train", "test"]).frame["split"].tolist()
        ['train', 'test']
        """
        column = self.table.column_names.index("split")
        return Manifest(self.table.set_column(column, "split", pa.array(splits, pa.string())))

    def with_readings(self, readings: Sequence[Hashable]) -> Manifest:
        """A manifest of these samples, with what a model reads of each prompt.

        Parameters
        ----------
        readings : sequence of hashable
            One for each sample, such as its tokens; equal ones make prompts equal to the model.

        Examples
        --------
        >>> from ldmscene import read_manifest
        >>> manifest = read_manifest([("a red cube", 1), ("a blue sphere", 2)])
        >>> len(manifest.with_readings([(1, 2, 3), (1, 4, 5)]))
        2
        """
        read = [hashlib.sha256(repr(one).encode()).hexdigest()[:16] for one in readings]
        rest = self.table.drop_columns([READ]) if READ in self.table.column_names else self.table
        return Manifest(rest.append_column(READ, pa.array(read, pa.string())))

    def extended(self, other: Manifest) -> Manifest:
        """These samples, then those of `other` that aren't among them (by prompt and seed).

        Parameters
        ----------
        other : Manifest

        Raises
        ------
        ManifestError
            If a sample stands in another split here than there.

        Examples
        --------
        >>> from ldmscene import read_manifest
        >>> manifest = read_manifest([("a red cube", 1), ("a blue sphere", 2)])
        >>> len(manifest.extended(read_manifest([("a red cube", 1), ("a red cube", 3)])))
        3
        """
        same = self.table.filter(self._prompts_of(other))
        known = dict(zip(_keys(same), same["split"].to_pylist(), strict=True))
        theirs = list(zip(other.keys, other.table["split"].to_pylist(), strict=True))
        for key, split in theirs:
            if known.get(key, split) != split:
                raise ManifestError(
                    f"prompt {key[0][:60]!r}, seed {key[1]} is a {known[key]} sample already and can't become "
                    f"a {split} sample; give it its old split, or use another store"
                )
        new = pa.array([key not in known for key, _ in theirs], pa.bool_())
        self._check_pictures(other.table.filter(new))
        # What a model reads counts only where it is known of all.
        shared = [name for name in self.table.column_names if name in other.table.column_names or name != READ]
        if shared == self.table.column_names and not pc.any(new).as_py():
            return self
        return Manifest(pa.concat_tables([self.table.select(shared), other.table.filter(new).select(shared)]))

    def _check_pictures(self, new: pa.Table) -> None:
        """Refuse samples that have the name of one with other pictures."""
        taken = pc.is_in(new["sample_id"], value_set=self.table["sample_id"])
        if INPUTS in new.column_names and pc.any(taken).as_py():
            name = new["sample_id"].filter(taken)[0].as_py()
            raise ManifestError(
                f"sample {name!r} was made from another picture, prompt or seed; give the new one a sample_id of its "
                "own, or leave that column out"
            )

    def among(self, other: Manifest) -> NDArray[np.bool_]:
        """Which of these samples are among those of another manifest (by prompt and seed), bool (n,).

        Parameters
        ----------
        other : Manifest

        Examples
        --------
        >>> from ldmscene import read_manifest
        >>> manifest = read_manifest([("a red cube", 1), ("a blue sphere", 2)])
        >>> manifest.among(read_manifest([("a blue sphere", 2)])).tolist()
        [False, True]
        """
        wanted, found = set(other.keys), np.array(self._prompts_of(other))
        shared = self.table.filter(pa.array(found))
        found[found] = [key in wanted for key in _keys(shared)]
        return found

    def _prompts_of(self, other: Manifest) -> pa.ChunkedArray:
        """Which of these samples have a prompt of another manifest: a few of many, where that is small."""
        return pc.is_in(self.table["prompt"], value_set=pc.unique(other.table["prompt"]))


def _keys(table: pa.Table) -> list[tuple[Any, ...]]:
    columns = [name for name in ("prompt", "seed", IMAGE, INPUTS) if name in table.column_names]
    return list(zip(*(table[name].to_pylist() for name in columns), strict=True))


def unit(prompt: str, seed: int) -> str:
    """What a sample shares with those that aren't independent of it: the normal prompt; of an empty one, the seed."""
    return normal(prompt) or f" seed {seed}"


def _checked(table: pa.Table) -> pa.Table:
    if table.num_rows == 0:
        raise ManifestError("the manifest is empty; expected at least one row with a prompt and a seed")
    image = [name for name in (IMAGE, INPUTS) if name in table.column_names]
    if not _is_sound(table, image):
        _refuse_rows(table, image)
    return table.select([*COLUMNS, *(name for name in OPTIONAL if name in table.column_names)])


def _is_sound(table: pa.Table, image: Sequence[str]) -> bool:
    """Whether no row is to be refused; quick, and of few types, so that it may say no where nothing is wrong."""
    if any(table[name].null_count for name in COLUMNS) or table["sample_id"].type != pa.string():
        return False

    def different(*names: str) -> int:
        distinct: int = table.group_by(list(names)).aggregate([]).num_rows
        return distinct

    low, high = pc.min_max(table["seed"]).as_py().values()
    unit = IMAGE if image else "prompt"
    return bool(
        0 <= low <= high <= MAX_SEED
        and pc.all(pc.is_in(table["split"], value_set=pa.array(SPLITS))).as_py()
        and pc.all(pc.match_substring_regex(table["sample_id"], rf"^(?:{SAFE_ID.pattern})\z")).as_py()
        and different("sample_id") == different("prompt", "seed", *image) == len(table)
        and different(unit) == different(unit, "split")
    )


def _refuse_rows(table: pa.Table, image: Sequence[str]) -> None:
    """Name the first row that can't be."""
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
    _refuse(
        frame,
        frame.duplicated(["prompt", "seed", *image]),
        f"the same prompt{', seed and picture' if image else ' and seed'} stand in an earlier row",
    )
    _refuse(frame, frame.duplicated("sample_id"), "the same sample_id stands in an earlier row")
    shared = frame[IMAGE] if image else frame["prompt"].where(frame["prompt"].str.strip() != "", frame["sample_id"])
    splits = frame.groupby(shared)["split"].transform("nunique")
    kind = IMAGE if image else "prompt"
    _refuse(frame, splits > 1, f"its {kind} lies in more than one split, which would leak into the test scores")


def _refuse(frame: pd.DataFrame, bad: pd.Series, why: str) -> None:
    if bad.any():
        row = frame[bad].iloc[0]
        raise ManifestError(
            f"sample {row.sample_id!r} (prompt {row.prompt[:60]!r}, seed {row.seed}, split {row.split!r}): {why}"
        )
