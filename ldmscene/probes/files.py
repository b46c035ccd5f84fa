"""Fitted probes on disk: safetensors with their provenance, never a pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from ldmscene.tensors import Format

PROBE = Format("probe")


def jsonable(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that JSON can hold; explicit splits or splitters are left out."""
    kept = {}
    for name, value in params.items():
        plain = value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
        try:
            kept[name] = json.loads(json.dumps(plain))
        except (TypeError, ValueError):
            continue
    return kept
