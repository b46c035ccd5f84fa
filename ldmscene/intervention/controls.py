"""Where the stores of an edited store's controls are, and which there are."""

from __future__ import annotations

import json
from collections.abc import Iterable

from ldmscene.store import ActivationStore
from ldmscene.store.documents import Documents
from ldmscene.store.history import Published, publish, read
from ldmscene.store.layout import CONTROLS
from ldmscene.store.locations import location
from ldmscene.store.places import Place

FOLDER = "controls"


def control_place(root: Place, name: str) -> Place:
    """Of the control of this name; "" is the edit itself.

    Raises
    ------
    StoreError
        If a link leads out of the edited store.
    """
    if not name:
        return root
    location(root).names(f"{FOLDER}/{name}")
    return root / FOLDER / name


def note_controls(root: Place, names: Iterable[str]) -> None:
    """Add controls to those that an edited store knows of."""

    def noted(now: Published) -> Documents:
        return {CONTROLS: json.dumps(list(dict.fromkeys([*_listed(now), *names]))).encode()}

    publish(root, noted)


def controls_of(store: ActivationStore) -> dict[str, ActivationStore]:
    """The stores of an edited store's controls, by name; none of a store that isn't edited."""
    if "edit" not in store.config:
        return {}
    places = {name: control_place(store.root, name) for name in _listed(read(store.location))}
    return {name: ActivationStore(place) for name, place in places.items()}


def _listed(now: Published) -> list[str]:
    return list(now.said.controls) if now.said else []
