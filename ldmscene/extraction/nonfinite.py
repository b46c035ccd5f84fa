"""Samples with values that are infinite or NaN: they are set aside, and named with what to try."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from ldmscene.errors import NonfiniteError
from ldmscene.store import Row
from ldmscene.store.layout import Key

# Of an edit: NaN leaves a pixel of a wanted map alone, and no reading agrees or disagrees with a map of such pixels.
_NOT_COMPUTED = ("wanted", "edit")


@dataclass(frozen=True)
class Nonfinite:
    """Where a sample's first value is that isn't a number.

    Attributes
    ----------
    sample_id : str
    text : str
        The sample, the array, the step, and how many values of that array.
    too_large : bool
        Only float16 has values that are infinite, and none is NaN: the store's precision is too narrow for them.
    """

    sample_id: str
    text: str
    too_large: bool


def sound(
    rows: Iterable[Row], nonfinite: list[Nonfinite], *, allow: bool = False, summed: Collection[str] = ()
) -> Iterator[Row]:
    """Rows whose values are all finite; of the others, what isn't is added to the list.

    Where others are allowed, arrays of the paths that are `summed` must be finite all the same: no sum would be.
    """
    for row in rows:
        found = find_nonfinite(_of(row, summed) if allow else row)
        if found is None:
            yield row
        else:
            nonfinite.append(found)


def _of(row: Row, paths: Collection[str]) -> Row:
    return replace(row, arrays={path: array for path, array in row.arrays.items() if path in paths}, lost={})


def find_nonfinite(row: Row) -> Nonfinite | None:
    """What is infinite or NaN in a row, pictures that were so before they became uint8 included."""
    computed = {path: array for path, array in row.arrays.items() if Key(path).kind not in _NOT_COMPUTED}
    bad = {path: ~np.isfinite(array) for path, array in computed.items() if array.dtype.kind == "f"}
    found = [(path, where) for path, where in bad.items() if where.any()]
    lost = {path: count for path, count in row.lost.items() if count}
    if found:
        path, where = found[0]
        step, dtype = int(where.reshape(len(where), -1).any(1).argmax()), row.arrays[path].dtype
        place = f"{_name(path)}, step {step}: {int(where.sum())} values in {dtype}"
    elif lost:
        path, count = next(iter(lost.items()))
        place = f"{_name(path)}: {count} values that the autoencoder computed"
    else:
        return None
    narrow = [row.arrays[path] for path, _ in found if row.arrays[path].dtype == np.float16]
    too_large = len(narrow) == len(found) and not lost and not any(np.isnan(array).any() for array in narrow)
    return Nonfinite(row.sample_id, f"{row.sample_id}: {place}", too_large)


def _name(path: str) -> str:
    return Key(path).module or path


def refuse(
    nonfinite: Collection[Nonfinite],
    compute_dtype: str,
    done: str = "these were not stored, all others were",
    anew: str = "another store",
    instead: str = "store them with allow_nonfinite=True, which extract and extract_images take",
    computed: str | None = None,
) -> None:
    """NonfiniteError with every sample and what to try, if there are any.

    `done` says what was made of these and of other samples, `anew` what is to be made with other options, `instead`
    what can be done without them. `computed` is what to try where it isn't the store's precision that is too narrow.
    """
    if nonfinite:
        raise NonfiniteError(
            f"values of {len({one.sample_id for one in nonfinite})} samples are infinite or NaN; {done}:\n"
            + "\n".join(f"  {one.text}" for one in nonfinite)
            + f"\n{_advice(nonfinite, compute_dtype, anew, computed)}, or {instead}"
        )


def _advice(nonfinite: Collection[Nonfinite], compute_dtype: str, anew: str, computed: str | None) -> str:
    if all(one.too_large for one in nonfinite):
        return f"They are too large for float16: use dtype='float32' and {anew}"
    if computed:
        return computed
    if compute_dtype != "float32":
        return f"The model computes them in {compute_dtype}: use compute_dtype='float32' and {anew}"
    return "The model itself computes them: check its weights and its scheduler"
