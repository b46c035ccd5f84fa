"""Which grid, samples and edits a finished report shows, noted beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import xarray as xr

from ldmscene.errors import InputError
from ldmscene.intervention.controls import controls_of
from ldmscene.store import ActivationStore
from ldmscene.store.causes import naming_the_cause
from ldmscene.store.files import write_file
from ldmscene.store.fingerprints import fingerprint

MARK = "made-from.txt"


def check_folder(folder: Path) -> None:
    """Refuse a report's folder that holds anything else, before work is done for a report.

    Raises
    ------
    InputError
        If the folder holds something, and no report, or is none.
    WriteError
        If it can't be looked into.
    """
    with naming_the_cause(folder):
        if folder.exists() and not folder.is_dir():
            raise InputError(f"folder: expected a folder for a report, got the file {folder}; name another")
        names = sorted(path.name for path in folder.iterdir() if path.name[0] != ".") if folder.is_dir() else []
        if names and not (folder / MARK).exists():
            raise InputError(
                f"folder: expected an empty one or an earlier report, got {folder} with {', '.join(names[:3])}; "
                "name another"
            )


def unmark(folder: Path) -> None:
    """Forget what the report in a folder shows, before anything of it is replaced.

    Raises
    ------
    InputError
        If the folder holds something, and no report.
    """
    check_folder(folder)
    write_file(folder / MARK, b"unfinished")


def mark(folder: Path, grid: xr.Dataset, samples: Sequence[str], edited: Sequence[ActivationStore] = ()) -> None:
    """Note beside a finished report which grid, samples and edited stores it shows."""
    write_file(folder / MARK, _key(grid, samples, edited).encode())


def up_to_date(
    folder: Path, grid: xr.Dataset, samples: Sequence[str], edited: Sequence[ActivationStore] = ()
) -> Path | None:
    """The first page of the report in a folder, if it shows this very grid, these samples and edited stores."""
    noted, page = folder / MARK, folder / "index.html"
    return page if page.exists() and noted.exists() and noted.read_text() == _key(grid, samples, edited) else None


def _key(grid: xr.Dataset, samples: Sequence[str], edited: Sequence[ActivationStore]) -> str:
    numbers = {name: hashlib.sha256(v.values.tobytes()).hexdigest() for name, v in grid.data_vars.items()}
    edits = [[store.fingerprint, sorted(controls_of(store))] for store in edited]
    return fingerprint(
        {"provenance": grid.attrs["provenance"], "numbers": numbers, "samples": list(samples), "edits": edits}
    )
