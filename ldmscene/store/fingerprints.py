"""Short names for configurations."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def fingerprint(config: dict[str, Any]) -> str:
    """A short name for a configuration: equal configurations have equal names."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]
