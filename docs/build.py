"""Write the reference, from docstrings, as static pages: python docs/build.py FOLDER"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import pdoc

MODULES = ("ldmscene", "ldmscene.errors", "ldmscene.grid", "ldmscene.labelers", "ldmscene.metrics", "ldmscene.probes")


def build(folder: Path) -> None:
    """Write the pages of all public names."""
    for module in map(import_module, MODULES):
        for name in getattr(module, "__all__", ()):  # pdoc doesn't see names that are loaded at their first use
            setattr(module, name, getattr(module, name))
    pdoc.render.configure(docformat="numpy", footer_text="ldmscene")
    pdoc.pdoc(*MODULES, output_directory=folder)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
