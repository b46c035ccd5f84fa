"""Labelers by name. A new one is a file and a line here."""

from __future__ import annotations

from importlib import import_module

from ldmscene.errors import unknown
from ldmscene.labelers.given import GivenLabels
from ldmscene.labelers.protocol import Labeler

# Name to module and function; what follows a colon in "name:argument" goes to the function, with the device.
LABELERS = {
    "midas": ("depth", "load_midas"),
    "depth": ("depth", "load_depth"),
    "tracer": ("tracer", "load_tracer"),
    "rembg": ("background", "load_rembg"),
    "intrinsic": ("intrinsic", "load_intrinsic"),
    "files": ("given", "load_files"),
    "masks": ("given", "load_masks"),
    "classes": ("given", "load_classes"),
    "vgg16": ("classifier", "load_vgg16"),
    "torchvision": ("classifier", "load_torchvision"),
}
GIVEN = ("files", "masks", "classes")  # made elsewhere: these read no pictures
CLASSIFIERS = ("vgg16", "torchvision")  # of whole pictures: these give no maps


def find(text: str, device: str | None = None) -> Labeler | GivenLabels:
    """The labeler that "name" or "name:argument" names, ready to read pictures.

    Raises
    ------
    UnknownNameError
        If there is no such name.
    InputError
        If its package or its weights aren't there; the message has the command that gets them.
    """
    name, _, argument = text.partition(":")
    if name not in LABELERS:
        raise unknown("labeler", name, LABELERS)
    module, function = LABELERS[name]
    return getattr(import_module(f"ldmscene.labelers.{module}"), function)(argument, device)
