"""Supplied pictures: where they are, and what identifies them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from ldmscene.errors import InputError
from ldmscene.manifest import IMAGE, Manifest
from ldmscene.picture_files import SUFFIXES, pixels_hash, read_picture


class Pictures(Protocol):
    """Pictures of samples, for the length of an extraction."""

    def batch(self, frame: pd.DataFrame) -> dict[str, Any]:
        """Arguments of `capture.run` for some rows of a manifest."""


@dataclass(frozen=True)
class SuppliedPictures:
    """Pictures by the hash of their pixels, read when they are needed.

    Attributes
    ----------
    sources : dict of str to (Path or numpy.ndarray)
        In the order in which they came; one that came twice stands once.
    hashes, names : list of str
        Of each picture that came: the hash of its pixels, and what to call it.
    size : (int, int)
        Height and width.
    """

    sources: dict[str, Path | np.ndarray]
    hashes: list[str]
    names: list[str]
    size: tuple[int, int]

    def check_distinct(self, prompts: Sequence[str], seeds: Sequence[int], splits: Sequence[str] | None) -> None:
        """InputError if a picture came twice with one prompt and seed, or in two splits."""
        samples: dict[tuple[Any, ...], str] = {}
        sides: dict[str, tuple[str, str]] = {}
        for i, (pixels, name) in enumerate(zip(self.hashes, self.names, strict=True)):
            twin = samples.setdefault((pixels, prompts[i], seeds[i]), name)
            if twin is not name:
                raise InputError(
                    f"{twin} and {name} are the same picture, prompt and seed; leave one out, or give it another seed"
                )
            split = splits[i] if splits is not None else ""
            first, other = sides.setdefault(pixels, (split, name))
            if first != split:
                raise InputError(
                    f"{other} ({first}) and {name} ({split}) are the same picture, which would leak into the test "
                    "scores; give them one split"
                )

    def check_splits(self, there: Manifest, splits: Sequence[str]) -> None:
        """InputError if a picture that a store holds already is to lie in another split."""
        known = dict(zip(there.groups, there.table["split"].to_pylist(), strict=True))
        for pixels, name, split in zip(self.hashes, self.names, splits, strict=True):
            if known.get(pixels, split) != split:
                raise InputError(
                    f"{name} is a {known[pixels]} sample of the store already and can't become a {split} sample; give "
                    "it its old split, or use another store"
                )

    def batch(self, frame: pd.DataFrame) -> dict[str, Any]:
        """The pictures of some samples, as `capture.run` takes them."""
        return {"supplied": self.load(frame[IMAGE].tolist())}

    def load(self, hashes: Sequence[str]) -> np.ndarray:
        """uint8 (n, Y, X, rgb).

        Raises
        ------
        InputError
            If a file was changed or lost since it was first read.
        """
        images = [_pixels(self.sources[name]) for name in hashes]
        for name, image in zip(hashes, images, strict=True):
            if pixels_hash(image) != name:
                raise InputError(f"{self.sources[name]} was changed while its activations were being extracted")
        return np.stack(images)


def read_images(source: np.ndarray | str | Path | Sequence[str | Path]) -> SuppliedPictures:
    """Images from an array, uint8 (n, Y, X, rgb), a folder, sorted by name as text, or a list of files in its order.

    Files are read as their viewers show them: turned as EXIF says, over white where they are transparent, 16 bits from
    0 to 65535 and floats from 0 to 1.

    Raises
    ------
    InputError
        If there are none, one can't be read as a picture, or they are of several sizes.
    """
    sources = list(source) if isinstance(source, np.ndarray) else _files(source)
    if not sources:
        raise InputError("there are no images; expected an array, a folder or a list of files with at least one")
    names = [str(picture) if isinstance(picture, Path) else f"image {i}" for i, picture in enumerate(sources)]
    first = _pixels(sources[0]).shape[:2]
    hashes = []
    for name, picture in zip(names, sources, strict=True):
        image = _pixels(picture)
        if image.shape[:2] != first:
            raise InputError(
                f"{name} has {image.shape[0]} × {image.shape[1]} pixels, the first image has {first[0]} × "
                f"{first[1]}; bring them to one size, and their labels with them"
            )
        hashes.append(pixels_hash(image))
    return SuppliedPictures(dict(zip(hashes, sources, strict=True)), hashes, names, (first[0], first[1]))


def _files(source: str | Path | Sequence[str | Path]) -> list[Path]:
    if not isinstance(source, str | Path):
        return [Path(path) for path in source]
    folder = Path(source)
    if not folder.is_dir():
        raise InputError(f"no folder of images at {folder}; expected an array, a folder or a list of files")
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def _pixels(picture: Path | np.ndarray) -> np.ndarray:
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise InputError(f"images must be uint8 (n, Y, X, 3); got {picture.dtype} {('n', *picture.shape)}")
        return picture
    return read_picture(picture)
