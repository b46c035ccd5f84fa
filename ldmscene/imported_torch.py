"""torch where it is imported anyway: to import it takes longer than much of what it would speed up."""

from __future__ import annotations

import sys
from typing import Any

TORCH_PIECE = 1 << 15  # values: torch casts more on several threads, which wouldn't live on in a forked process


def imported_torch() -> Any:
    """torch, or None where it isn't imported, or isn't yet: half of it lies there while another thread imports it."""
    torch = sys.modules.get("torch")
    return None if torch is None or getattr(torch.__spec__, "_initializing", False) else torch
