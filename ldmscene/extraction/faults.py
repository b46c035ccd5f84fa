"""Samples with values that are infinite or NaN: they are set aside, and named with what to try."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ldmscene.errors import LdmsceneError
from ldmscene.store import Row
from ldmscene.store.layout import Key

# Of an edit: NaN leaves a pixel of a wanted map alone, and no reading agrees or disagrees with a map of such pixels.
_NOT_COMPUTED = ("wanted", "edit")


@dataclass(frozen=True)
class Fault:
    """Where a sample's first value is that isn't a number.

    Attributes
    ----------
    text : str
        The sample, the array, the step, and how many values of that array.
    too_large : bool
        Only float16 has values that are infinite, and none is NaN: the store's precision is too narrow for them.
    """

    text: str
    too_large: bool


def sound(rows: Iterable[Row], faults: list[Fault], *, allow: bool = False) -> Iterator[Row]:
    """Rows whose values are all finite; of the others, their faults are added to the list."""
    for row in rows:
        fault = None if allow else find_fault(row)
        if fault is None:
            yield row
        else:
            faults.append(fault)


def find_fault(row: Row) -> Fault | None:
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
    return Fault(f"{row.sample_id}: {place}", too_large)


def _name(path: str) -> str:
    return Key(path).module or path


def refuse(faults: Sequence[Fault], compute_dtype: str) -> None:
    """LdmsceneError with every fault and what to try, if there are any."""
    if faults:
        raise LdmsceneError(
            f"values of {len(faults)} samples are infinite or NaN; these were not stored, all others were:\n"
            + "\n".join(f"  {fault.text}" for fault in faults)
            + f"\n{_advice(faults, compute_dtype)}, or store them with allow_nonfinite=True"
        )


def _advice(faults: Sequence[Fault], compute_dtype: str) -> str:
    if all(fault.too_large for fault in faults):
        return "They are too large for float16: use dtype='float32' and another store"
    if compute_dtype != "float32":
        return f"The model computes them in {compute_dtype}: use compute_dtype='float32' and another store"
    return "The model itself computes them: check its weights and its scheduler"
