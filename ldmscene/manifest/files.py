"""Tables from CSV and Parquet."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ldmscene.errors import ManifestError

MAX_BLOCK = 2**31 - 1  # bytes that pyarrow reads at once
EMBEDDED = {"demo": Path(__file__).parents[1] / "testbed" / "demo.csv"}
DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars"}


def read_table(path: Path, text: Sequence[str] = ()) -> pa.Table:
    """A manifest's columns as they are, from CSV or Parquet, or by an embedded one's name where no file has it.

    `text` are columns beside a manifest's own that hold text, whatever it looks like.

    Raises
    ------
    ManifestError
        If there is no such file, or it can't be read.
    """
    path = path if path.is_file() else EMBEDDED.get(str(path), path)
    if not path.is_file():
        raise ManifestError(f"no manifest at {path}; expected a CSV or Parquet file with columns prompt and seed")
    try:
        if path.suffix == ".parquet":
            return pyarrow.parquet.read_table(path)
        text = pyarrow.csv.ConvertOptions(
            column_types={name: pa.string() for name in ("prompt", "sample_id", "split", *text)}
        )
        return read_csv(path, text)
    except (pa.ArrowException, OSError) as error:
        kind = "parquet" if path.suffix == ".parquet" else "csv"
        advice = (
            ""
            if path.suffix == ".parquet"
            else _not_unicode(path) or delimited([_first_line(path)]) or _too_many_cells(path, error)
        )
        wanted = "; expected a table with the columns prompt and seed"
        raise ManifestError(f"{path} can't be read as {kind}: {error}{advice or wanted}") from error


def _not_unicode(path: Path) -> str:
    """What to do with a file of other letters than UTF-8's."""
    try:
        with path.open(encoding="utf-8") as file:
            for _ in file:
                pass
    except UnicodeDecodeError:
        return "; save it as UTF-8"
    return ""


def _too_many_cells(path: Path, error: Exception) -> str:
    """What to do with a row of more cells than columns, which a comma makes, at its end or in a prompt."""
    cells = re.search(r"Expected (\d+) columns, got (\d+): (.*)", str(error), re.DOTALL)
    if not cells or int(cells[2]) <= int(cells[1]):
        return ""
    row = cells[3].removesuffix(" ...").rpartition("\n")[2]  # long ones are cut there
    with path.open(encoding="utf-8") as file:
        if any(line.startswith(row) and line.rstrip().endswith(",") for line in file):
            return "; drop the comma at the end of the row"
    return '; put prompts that hold a comma between quotes: "a red cube, lit from the left",1'


def _first_line(path: Path) -> str:
    with path.open(errors="replace") as file:
        return file.readline()


def read_csv(path: Path, columns: pyarrow.csv.ConvertOptions, encoding: str = "utf8") -> pa.Table:
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


def delimited(columns: Sequence[str]) -> str:
    """What to do with a table whose only column is named as the header of several."""
    for delimiter, name in DELIMITERS.items():
        if len(columns) == 1 and {"prompt", "seed"} <= {word.strip() for word in columns[0].split(delimiter)}:
            return (
                f". Its columns seem to be set apart by {name}; write commas, or pandas.read_csv(…, sep={delimiter!r})"
            )
    return ""
