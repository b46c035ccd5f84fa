"""How well painting works, as `python -m benchmarks.paint dice` measured it, for the page to say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MEASURED = Path(__file__).parent / "measured.json"


def sentence(config: Mapping[str, Any]) -> str:
    """What was measured of a store's model, in words."""
    found = json.loads(MEASURED.read_text()) if MEASURED.exists() else {}
    if not found or weights(config) != found["weights"]:
        return (
            "How well this works was not measured for this model: `python -m benchmarks.paint dice STORE` does it. "
            "Judge a picture by what the random edit gives beside it."
        )
    return (
        f"On {found['prompts']} held-out prompts, drawn in {found['steps']} steps at guidance {found['guidance']:g} "
        "with this page's first settings and masks painted at random sound positions, what was drawn had a mean Dice "
        f"of {found['edit']:.2f} with what was painted; the own pictures had {found['none']:.2f}, those of random "
        f"edits of the same size {found['random']:.2f}."
    )


def weights(config: Mapping[str, Any]) -> str:
    """The hash of a denoiser's weights, by which a measured model is known again."""
    components = config["components"]
    return str(next((components[role]["weights"] for role in ("unet", "transformer") if role in components), ""))
