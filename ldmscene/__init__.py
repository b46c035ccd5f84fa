"""ldmscene: capture a latent diffusion model's internals once, probe them for ever.

>>> import ldmscene
>>> store = ldmscene.extract("tiny-scenes", "manifests/demo.csv", store="stores/demo")  # doctest: +SKIP

Importing the package loads neither torch nor diffusers nor matplotlib; the first use of a name does.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ldmscene import plot
    from ldmscene.experiment import run
    from ldmscene.grid import emergence
    from ldmscene.manifest import Manifest, read_manifest, read_published
    from ldmscene.pipeline import (
        evaluate,
        extract,
        extract_images,
        label,
        list_modules,
        recognition,
        verify,
        write_report,
    )
    from ldmscene.pipeline import open_store as open
    from ldmscene.probes import AdamProbe, LogisticProbe, RidgeProbe
    from ldmscene.probes.published import load_published_probe
    from ldmscene.store import ActivationStore
    from ldmscene.store.check import repair
    from ldmscene.table import Grid

_HOMES = {
    "ActivationStore": ("ldmscene.store", "ActivationStore"),
    "AdamProbe": ("ldmscene.probes", "AdamProbe"),
    "Grid": ("ldmscene.table", "Grid"),
    "LogisticProbe": ("ldmscene.probes", "LogisticProbe"),
    "Manifest": ("ldmscene.manifest", "Manifest"),
    "RidgeProbe": ("ldmscene.probes", "RidgeProbe"),
    "emergence": ("ldmscene.grid", "emergence"),
    "evaluate": ("ldmscene.pipeline", "evaluate"),
    "extract": ("ldmscene.pipeline", "extract"),
    "extract_images": ("ldmscene.pipeline", "extract_images"),
    "label": ("ldmscene.pipeline", "label"),
    "list_modules": ("ldmscene.pipeline", "list_modules"),
    "load_published_probe": ("ldmscene.probes.published", "load_published_probe"),
    "open": ("ldmscene.pipeline", "open_store"),
    "read_manifest": ("ldmscene.manifest", "read_manifest"),
    "read_published": ("ldmscene.manifest", "read_published"),
    "recognition": ("ldmscene.pipeline", "recognition"),
    "repair": ("ldmscene.store.check", "repair"),
    "run": ("ldmscene.experiment", "run"),
    "verify": ("ldmscene.pipeline", "verify"),
    "write_report": ("ldmscene.pipeline", "write_report"),
}

__all__ = [
    "ActivationStore",
    "AdamProbe",
    "Grid",
    "LogisticProbe",
    "Manifest",
    "RidgeProbe",
    "emergence",
    "evaluate",
    "extract",
    "extract_images",
    "label",
    "list_modules",
    "load_published_probe",
    "open",
    "plot",
    "read_manifest",
    "read_published",
    "recognition",
    "repair",
    "run",
    "verify",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name == "plot":
        return import_module("ldmscene.plot")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
