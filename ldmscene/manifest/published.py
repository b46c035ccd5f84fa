"""The published experiment's manifest."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from ldmscene.errors import ManifestError
from ldmscene.manifest.files import read_csv
from ldmscene.manifest.samples import SCHEMA, Manifest

PUBLISHED_COLUMNS = {"prompts": pa.string(), "seeds": pa.int64(), "prompt_inds": pa.int64()}
PUBLISHED_ENCODING = "ISO-8859-1"


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
        table = read_csv(path, columns, PUBLISHED_ENCODING)
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
    return pa.table(rows, schema=SCHEMA)
