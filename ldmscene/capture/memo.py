"""Hashes of large weights, remembered beside their files' sizes and modification times."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import platformdirs
from torch import nn

LARGE = 2**26  # bytes; less is hashed faster than it is worth remembering


def remembered(part: nn.Module, compute: Callable[[nn.Module], str], cache: Path | None = None) -> str:
    """The hash of a component that was just loaded from its folder, computed where its files aren't known.

    A file is known by its place, size and modification time in nanoseconds; the libraries' versions count too, since
    they name the tensors. Only for components that nothing has changed since they were loaded, and whose folder holds
    one variant.
    """
    files = _files(part)
    if sum(size for _, size, _ in files) < LARGE:
        return compute(part)
    path = (cache or platformdirs.user_cache_path("ldmscene")) / "weights.json"
    key = json.dumps([files, str(part.dtype), *(version(library) for library in ("diffusers", "transformers"))])
    known = _read(path)
    if key not in known:
        known[key] = compute(part)
        _write(path, known)
    return known[key]


def _files(part: nn.Module) -> list[tuple[str, int, int]]:
    name = getattr(part.config, "_name_or_path", None)
    folder = Path(str(name)) if name else None
    if folder is None or not folder.is_dir():
        return []
    found = list(folder.glob("*.safetensors"))
    if len({re.sub(r"-\d+-of-\d+", "", path.name) for path in found}) > 1:
        return []  # of several variants, and nobody says which was loaded
    resolved = sorted(path.resolve() for path in found)
    return [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in resolved]


def _read(path: Path) -> dict[str, str]:
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):  # none yet, or damaged: it only saves time
        return {}
    return known if isinstance(known, dict) else {}


def _write(path: Path, known: dict[str, str]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        temporary.write_text(json.dumps(known, indent=1))
        temporary.replace(path)
    except OSError:
        pass  # a cache that can't be written to costs a minute, not the run
