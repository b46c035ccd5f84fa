"""Short, unique labels for modules: `up_blocks.3.attentions.0.….to_out.0` becomes `up 3.0`, which a phone has room for.

Of other denoisers' names what all of them share is left out: `transformer_blocks.7.attn.to_out.0` becomes `7`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

_PLACE = re.compile(r"^(down|mid|up)_blocks?(?:\.(\d+))?\.(?:attentions|resnets|motion_modules)\.(\d+)\.?")


def labels(modules: Sequence[str]) -> dict[str, str]:
    """Each module's full name to a label that no other of these modules has."""
    parts = {module: _split(module) for module in modules}
    shared = Counter(place for place, _ in parts.values())
    tails = _without_common_end({m: tail for m, (place, tail) in parts.items() if shared[place] > 1})
    short = {m: f"{place} {tails.get(m, '')}".strip() for m, (place, _) in parts.items()}
    if all(tail == "" and place == m for m, (place, tail) in parts.items()):
        short = _without_common_ends(modules)
    return short if len(set(short.values())) == len(short) else {m: m for m in modules}


def _split(module: str) -> tuple[str, str]:
    found = _PLACE.match(module)
    if not found:
        return module, ""
    block, level, layer = found.groups()
    return f"{block} {level}.{layer}" if level else f"{block} {layer}", module[found.end() :]


def _without_common_end(tails: dict[str, str]) -> dict[str, str]:
    words = {module: tail.split(".") for module, tail in tails.items()}
    while words and len({w[-1] if w else "" for w in words.values()}) == 1 and all(words.values()):
        words = {module: w[:-1] for module, w in words.items()}
    return {module: ".".join(w) for module, w in words.items()}


def _without_common_ends(modules: Sequence[str]) -> dict[str, str]:
    """Names without the words that all begin and end with; whole, where a name is one word or would be empty."""
    words = {module: module.split(".") for module in modules}
    if len(words) < 2 or min(map(len, words.values())) < 2:
        return {module: module for module in modules}
    columns = zip(*words.values(), strict=False)
    begin = next((i for i, column in enumerate(columns) if len(set(column)) > 1), min(map(len, words.values())))
    tails = _without_common_end({module: ".".join(w[begin:]) for module, w in words.items()})
    return tails if all(tails.values()) else {module: module for module in modules}
