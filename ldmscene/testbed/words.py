"""Captions: what a picture shows, in words that are sometimes left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from ldmscene.testbed.drawing import relation
from ldmscene.testbed.scenes import COLORS, FLOORS, LIGHTS, PATTERNS, RELATIONS, SIZES, WALLS, Rooms
from ldmscene.testbed.solids import SHAPES

VIEWS = {"above": 35.0, "the side": 12.0}  # pitch in degrees: more than the first, less than the second
SAID = {"size": 0.5, "block": 0.8, "relation": 0.85, "floor": 0.6, "room": 0.6, "view": 0.4, "light": 0.5}


@dataclass(frozen=True)
class Setting:
    """What is said of a scene apart from its solids; None isn't said."""

    floor: str | None = None  # such as "checked grey"
    room: str | None = None  # such as "white"; "" for open ground
    view: str | None = None
    light: str | None = None


def describe(solids: Sequence[str], how: str | None = None, setting: Setting = Setting()) -> str:
    """One caption.

    Parameters
    ----------
    solids : sequence of str
        One to three, such as "large red sphere on a block".
    how : str, optional
        One of `RELATIONS`, between two solids; without one they are listed.
    setting : Setting, default says nothing
        Floor, room, view and light.

    Examples
    --------
    >>> describe(["red sphere", "small blue cube"], "left of", Setting(floor="grey", light="left"))
    'a red sphere left of a small blue cube on a grey floor, lit from the left'
    """
    nouns = [f"a {solid}" for solid in solids]
    text = f" {how} ".join(nouns) if how else " and ".join([", ".join(nouns[:-1]), nouns[-1]] if nouns[1:] else nouns)
    if setting.floor:
        text += f" on a {setting.floor} floor"
    if setting.room is not None:
        text += f" in a {setting.room} room" if setting.room else " in the open"
    if setting.view:
        text += f", seen from {setting.view}"
    if setting.light:
        text += f", lit from the {setting.light}"
    return text


def captions(rooms: Rooms, seed: int) -> list[str]:
    """Describe each scene: colour and shape are always named, the rest sometimes. The same seed, the same words."""
    rng = np.random.default_rng(seed)
    drawn = rng.random((len(rooms), len(SAID) + 1)) < [*SAID.values(), 0.5]
    said, swapped = drawn[:, :-1], drawn[:, -1]
    how = [relation(rooms, *pair).tolist() for pair in ((0, 1), (1, 0))]
    texts = []
    for i, says in enumerate(said):
        say = dict(zip(SAID, says.tolist(), strict=True))
        order = list(range(int(rooms.count[i])))
        if swapped[i]:
            order.reverse()
        solids = [_solid(rooms, i, j, say) for j in order]
        related = RELATIONS[how[order[0]][i]] if len(order) == 2 and say["relation"] else None
        texts.append(describe(solids, related, _setting(rooms, i, say)))
    return texts


def _solid(rooms: Rooms, i: int, j: int, say: dict[str, bool]) -> str:
    words = [list(COLORS)[int(rooms.color[i, j])], SHAPES[int(rooms.shape[i, j])]]
    if say["size"]:
        words.insert(0, SIZES[int(rooms.large[i, j])])
    if say["block"] and rooms.block[i, j] > 0:
        words.append("on a block")
    return " ".join(words)


def _setting(rooms: Rooms, i: int, say: dict[str, bool]) -> Setting:
    floor, wall = (PATTERNS[int(p)] for p in rooms.patterns[i])
    room = _patterned(wall, list(WALLS)[int(rooms.wall[i])]) if rooms.indoors[i] else ""
    pitch = np.degrees(float(rooms.pitch[i]))
    view = "above" if pitch > VIEWS["above"] else "the side" if pitch < VIEWS["the side"] else None
    return Setting(
        floor=_patterned(floor, list(FLOORS)[int(rooms.floor[i])]) if say["floor"] else None,
        room=room if say["room"] else None,
        view=view if say["view"] else None,
        light=LIGHTS[int(rooms.light[i, 0] > 0)] if say["light"] else None,
    )


def _patterned(pattern: str, color: str) -> str:
    return color if pattern == PATTERNS[0] else f"{pattern} {color}"


def vocabulary() -> set[str]:
    """Every word that a caption can hold."""
    words = [*SIZES, *COLORS, *SHAPES, *FLOORS, *WALLS, *PATTERNS[1:], *LIGHTS]
    texts = [
        describe([f"{word} on a block"] * 3, None, Setting(room=room, view=view, light="left", floor="grey"))
        for word, room, view in product(words, ("white", ""), VIEWS)
    ]
    return {word for text in [*texts, *RELATIONS] for word in text.replace(",", "").split()} | {","}
