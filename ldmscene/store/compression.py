"""What compression costs, and the rounding that makes it worth its cost.

Measured on activations of Stable Diffusion v1.4's shape (for the rates see `benchmarks/store.py`):

- `none`: read at the rate of plain files. The default, since reading is what users wait for.
- `lossless`: blosc with lz4 over bit-shuffled float16. Saves about a tenth, and reads at about half the rate.
- `rounded`: activations keep 7 bits of their mantissa (float16 has 10), then as above. Saves more than a quarter, and
  probes of targets that live in directions of low variance lose up to 0.02 of R². It changes what is stored, so it is
  part of the fingerprint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import numpy as np

from ldmscene.choices import Compression
from ldmscene.errors import unknown
from ldmscene.store.layout import ArraySpec

COMPRESSIONS = get_args(Compression)
KEPT = 7  # bits of the mantissa


def compress(specs: Sequence[ArraySpec], compression: str) -> list[ArraySpec]:
    """Arrays' specifications with a compression declared in them; only activations are ever rounded."""
    if compression not in COMPRESSIONS:
        raise unknown("compression", compression, COMPRESSIONS)
    return [_compressed(spec, compression) for spec in specs]


def _compressed(spec: ArraySpec, compression: str) -> ArraySpec:
    if compression == "rounded" and spec.path.kind == "activations":
        return replace(spec, compressed=True, kept_bits=KEPT, attributes=spec.attributes | settings(compression))
    return replace(spec, compressed=compression != "none")


def settings(compression: str) -> dict[str, int]:
    """What a compression adds to the configuration that activations depend on."""
    return {"kept_mantissa_bits": KEPT} if compression == "rounded" else {}


def as_stored(array: np.ndarray, spec: ArraySpec) -> np.ndarray:
    """An array with the digits that its store leaves it."""
    return array if spec.kept_bits is None else round_mantissa(array, spec.kept_bits)


def round_mantissa(array: np.ndarray, kept: int) -> np.ndarray:
    """Floats with the last bits of their mantissas rounded to zero: to nearest, ties to even.

    What would round to infinity is cut off instead; NaN and infinity stay.
    """
    unsigned = np.dtype(f"u{array.dtype.itemsize}")
    drop = unsigned.type(np.finfo(array.dtype).nmant - kept)
    bits = np.ascontiguousarray(array).view(unsigned)
    one = unsigned.type(1)
    cut = ~unsigned.type((1 << int(drop)) - 1)
    half = unsigned.type((1 << (int(drop) - 1)) - 1) + ((bits >> drop) & one)
    near = ((bits + half) & cut).view(array.dtype)
    return np.where(np.isfinite(near), near, np.where(np.isfinite(array), (bits & cut).view(array.dtype), array))
