"""What lies in a store beside its arrays: how much it is, and what of it can be made again."""

from __future__ import annotations

from ldmscene.store.cache import STATISTICS
from ldmscene.store.layout import LEDGER, PROBES
from ldmscene.store.locations import Location

KINDS = ("ledger and metadata", "statistics", "grids", "set aside by repair")
AGAIN = KINDS[1:]  # what is made again where it is missing, or is broken


def sizes(where: Location) -> dict[str, int]:
    """Bytes of each kind."""
    found = dict.fromkeys(KINDS, 0)
    for key, size in _files(where).items():
        found[_kind(key)] += size
    return found


def keys_of(where: Location, kinds: tuple[str, ...]) -> dict[str, int]:
    """The files of some kinds, each with its bytes."""
    return {key: size for key, size in _files(where).items() if _kind(key) in kinds}


def _files(where: Location) -> dict[str, int]:
    return {key: size for folder in (LEDGER, STATISTICS, PROBES) for key, size in where.sizes(folder).items()}


def _kind(key: str) -> str:
    if key.endswith(".broken"):
        return KINDS[3]
    if key.endswith(".safetensors"):
        return KINDS[1]
    return KINDS[2] if key.startswith(f"{PROBES}/") else KINDS[0]
