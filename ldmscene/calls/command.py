"""A call as the command line that does the same."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path


def command(verb: str, *words: object, **options: object) -> str:
    """The command line that does the same; "" where something can't be typed, such as a loaded pipeline."""
    typed = [str(word) for word in words]
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if name == "labelers" and isinstance(value, Mapping):
            value = [f"{target}={labeler}" if isinstance(labeler, str) else None for target, labeler in value.items()]
            option = "--labeler"
        if name == "inputs" and isinstance(value, Mapping):
            value = [f"{one}={json.dumps(what) if isinstance(what, bool) else what}" for one, what in value.items()]
            option = "--input"
        if isinstance(value, bool):
            typed += [option if value else f"--no-{option[2:]}"]
            continue
        for one in value if isinstance(value, list | tuple) else [] if value is None else [value]:
            if not isinstance(one, str | int | float | Path):
                return ""
            typed += [option, str(one)]
    return shlex.join(["ldmscene", verb, *typed])
