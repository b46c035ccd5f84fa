"""Which grid and samples a finished report shows, noted beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import xarray as xr

from ldmscene.store.files import write_file
from ldmscene.store.prepare import fingerprint

MARK = "made-from.txt"


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
