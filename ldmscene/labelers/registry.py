"""Labelers by name, with what one has to know of them before they are loaded.

A new one is a file and an entry here, or in another package an entry point of the group `ldmscene.labelers`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Literal

from ldmscene.errors import InputError
from ldmscene.labelers.protocol import Labeler
from ldmscene.labelers.supplied import SuppliedLabels
from ldmscene.registry import Registry

Load = Callable[[str, str | None], Labeler | SuppliedLabels]


@dataclass(frozen=True)
class LabelerEntry:
    """A labeler that can be called by its name.

    Examples
    --------
    >>> from ldmscene.labelers import LABELERS
    >>> LABELERS["midas"].gives, LABELERS["midas"].argument
    ('maps', 'MODEL')
    """

    name: str
    load: str | Load
    """(argument, device) to the labeler, ready to read pictures; "module:function" is imported when it is wanted"""
    gives: Literal["maps", "classification", "supplied"] = "maps"
    """maps of what it sees; one answer for a whole picture; or maps that were made elsewhere, without looking"""
    argument: str = ""
    """what may follow a colon behind the name, in one word; nothing where it is empty"""
    needs_argument: bool = False
    """whether it can't be without"""
    model: str = ""
    """the embedded model whose pictures alone it knows"""
    target: str = ""
    """what it reads, for a run in which nobody names targets"""

    def loaded(self, argument: str = "", device: str | None = None) -> Labeler | SuppliedLabels:
        """The labeler.

        Raises
        ------
        InputError
            If its package or its weights aren't there; the message has the command that gets them.
        """
        if callable(self.load):
            return self.load(argument, device)
        module, _, function = self.load.partition(":")
        labeler: Labeler | SuppliedLabels = getattr(import_module(module), function)(argument, device)
        return labeler


_HERE = "ldmscene.labelers"
LABELERS: Registry[LabelerEntry] = Registry(
    "labeler",
    "ldmscene.labelers",
    (
        *(
            LabelerEntry(
                f"tiny-{target}", f"ldmscene.testbed.labelers:load_{target}", model="tiny-scenes", target=target
            )
            for target in ("depth", "mask", "shading")
        ),
        LabelerEntry("midas", f"{_HERE}.depth:load_midas", argument="MODEL"),
        LabelerEntry("depth", f"{_HERE}.depth:load_depth", argument="MODEL", needs_argument=True),
        LabelerEntry("tracer", f"{_HERE}.tracer:load_tracer", argument="WEIGHTS"),
        LabelerEntry("rembg", f"{_HERE}.background:load_rembg", argument="NAME"),
        LabelerEntry("intrinsic", f"{_HERE}.intrinsic:load_intrinsic", argument="WEIGHTS"),
        LabelerEntry("files", f"{_HERE}.supplied:load_files", "supplied", "FOLDER", needs_argument=True),
        LabelerEntry("masks", f"{_HERE}.supplied:load_masks", "supplied", "FOLDER", needs_argument=True),
        LabelerEntry("classes", f"{_HERE}.supplied:load_classes", "supplied", "FOLDER", needs_argument=True),
        LabelerEntry("vgg16", f"{_HERE}.classifier:load_vgg16", "classification", "WEIGHTS"),
        LabelerEntry(
            "torchvision", f"{_HERE}.classifier:load_torchvision", "classification", "NAME", needs_argument=True
        ),
    ),
)


def named(text: str) -> tuple[LabelerEntry, str]:
    """The entry that "name" or "name:argument" names, and the argument; nothing is loaded.

    Raises
    ------
    UnknownNameError
        If there is no such name.
    InputError
        If it takes no argument, or needs one.
    """
    name, colon, argument = text.partition(":")
    entry = LABELERS[name]
    if entry.needs_argument and not argument:
        raise InputError(f"labeler: expected '{name}:{entry.argument}', got {text!r}")
    if colon and not entry.argument:
        raise InputError(f"labeler: expected {name!r}, which takes nothing behind a colon, got {text!r}")
    return entry, argument


def find(text: str, device: str | None = None) -> Labeler | SuppliedLabels:
    """The labeler that "name" or "name:argument" names, ready to read pictures.

    Raises
    ------
    UnknownNameError
        If there is no such name.
    InputError
        If its package or its weights aren't there; the message has the command that gets them.
    """
    entry, argument = named(text)
    return entry.loaded(argument, device)
