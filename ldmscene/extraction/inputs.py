"""What a pipeline is handed beside prompts: pictures by a manifest's columns, and what all samples share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from ldmscene.array_types import AnyArray
from ldmscene.errors import InputError
from ldmscene.manifest import INPUTS, Manifest, file_names, naming, picture_manifest, pictures_of, read_manifest
from ldmscene.picture_files import pixels_hash, read_picture

SHOWN = 3


@dataclass(frozen=True)
class SampleInputs:
    """Inputs that were read once: pictures by the hash of their pixels, read again when they are needed.

    Attributes
    ----------
    files : mapping of str to (mapping of str to Path), default {}
        For each input of which every sample has its own: the file of each hash.
    sizes : mapping of str to (mapping of (int, int) to str), default {}
        Of these: which sizes (y, x) there are, and a file of each.
    same : mapping of str to (numpy.ndarray or float), default {}
        Pictures, uint8 (Y, X, rgb), and settings that all samples share.
    """

    files: Mapping[str, Mapping[str, Path]] = field(default_factory=dict)
    sizes: Mapping[str, Mapping[tuple[int, int], str]] = field(default_factory=dict)
    same: Mapping[str, AnyArray | float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.files or self.same)

    def batch(self, frame: pd.DataFrame) -> dict[str, Any]:
        """The pictures of some samples, as `capture.run` takes them.

        Raises
        ------
        InputError
            If a file was changed or lost since it was first read.
        """
        each = [pictures_of(text) for text in frame[INPUTS]]
        return {"pictures": {name: [self._load(name, one[name]) for one in each] for name in self.files}}

    def _load(self, name: str, known: str) -> AnyArray:
        path = self.files[name][known]
        image = read_picture(path)
        if pixels_hash(image) != known:
            raise InputError(f"{path} was changed while activations were being extracted")
        return image


def shared_inputs(inputs: Mapping[str, Any] | None) -> dict[str, Any]:
    """Inputs that are all pictures' files and settings.

    Raises
    ------
    InputError
        If one is neither.
    """
    for name, one in (inputs or {}).items():
        if isinstance(one, str | Path) and Path(one).is_dir():
            raise InputError(f"inputs: {name}: expected the file of one picture or a number, got the folder {one}")
    return {name: _shared(name, one) for name, one in (inputs or {}).items()}


def read_inputs(source: Any, inputs: Mapping[str, Any] | SampleInputs | None) -> tuple[Manifest, SampleInputs]:
    """A manifest whose samples know their pictures, and the inputs; `source` is as `read_manifest` takes it.

    Raises
    ------
    ManifestError
        If the manifest can't be used, or lacks a column of file names.
    InputError
        If an input is neither a folder, nor a picture, nor a number, or a file isn't there; nothing was run.
    """
    if isinstance(inputs, SampleInputs) or inputs is None:
        return read_manifest(source), inputs or SampleInputs()
    folders = {name: Path(one) for name, one in inputs.items() if isinstance(one, str | Path) and Path(one).is_dir()}
    same = {name: _shared(name, one) for name, one in inputs.items() if name not in folders}
    if not folders:
        return read_manifest(source), SampleInputs(same=same)
    hashes: dict[str, list[str]] = {}
    files: dict[str, dict[str, Path]] = {}
    sizes: dict[str, dict[tuple[int, int], str]] = {}
    with naming(source):
        rows, named = file_names(source, list(folders))
        for name, folder in folders.items():
            hashes[name], files[name], sizes[name] = _read(name, folder, named[name])
        return picture_manifest(rows, hashes), SampleInputs(files, sizes, same)


def _shared(name: str, value: Any) -> Any:
    """A picture, or a setting as it is."""
    if isinstance(value, str | Path):
        if not Path(value).is_file():
            raise InputError(f"inputs: {name}: there is neither a folder nor a picture at {value}")
        return read_picture(Path(value))
    if isinstance(value, bool | int | float) and math.isfinite(value):
        return value
    raise InputError(f"inputs: {name}: expected a folder, a picture's file or a finite number, got {value!r}")


def _read(
    name: str, folder: Path, named: Sequence[str]
) -> tuple[list[str], dict[str, Path], dict[tuple[int, int], str]]:
    """The hash of each sample's picture, the files by hash, and the sizes; each file is read once."""
    known: dict[str, str] = {}
    files: dict[str, Path] = {}
    sizes: dict[tuple[int, int], str] = {}
    _check_there(name, folder, named)
    for one in dict.fromkeys(named):
        image = read_picture(folder / one)
        known[one] = pixels_hash(image)
        files.setdefault(known[one], (folder / one).absolute())
        sizes.setdefault((image.shape[0], image.shape[1]), one)
    return [known[one] for one in named], files, sizes


def _check_there(name: str, folder: Path, named: Sequence[str]) -> None:
    """Refuse names that lead out of the folder, or nowhere."""
    outside = [one for one in named if Path(one).is_absolute() or ".." in Path(one).parts]
    if outside:
        raise InputError(f"inputs: {name}: {outside[0]!r} leads out of {folder}; name files in it")
    lost = [one for one in dict.fromkeys(named) if not (folder / one).is_file()]
    if lost:
        shown = ", ".join(map(repr, lost[:SHOWN])) + (", …" if len(lost) > SHOWN else "")
        raise InputError(f"inputs: {name}: {folder} lacks {len(lost)} of the files that the manifest names: {shown}")
