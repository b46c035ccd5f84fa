"""ldmscene: capture a latent diffusion model's internals once, probe them for ever.

>>> import ldmscene
>>> store = ldmscene.extract("tiny-scenes", "manifests/demo.csv", store="stores/demo")  # doctest: +SKIP

Importing the package loads neither torch nor diffusers nor matplotlib; the first use of a name does.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ldmscene import plot
    from ldmscene.calls.check import check
    from ldmscene.calls.edit import Edit
    from ldmscene.calls.editing import editing
    from ldmscene.calls.effect import effect, until_when
    from ldmscene.calls.effect_sentence import effect_sentence
    from ldmscene.calls.evaluate import evaluate
    from ldmscene.calls.extract import estimate, extract
    from ldmscene.calls.extract_images import extract_images
    from ldmscene.calls.intervene import intervene
    from ldmscene.calls.label import label
    from ldmscene.calls.list_modules import list_modules
    from ldmscene.calls.opening import open_store as open
    from ldmscene.calls.paint import paint
    from ldmscene.calls.recognition import recognition
    from ldmscene.calls.run import run
    from ldmscene.calls.tidy import tidy
    from ldmscene.calls.transfer import transfer
    from ldmscene.calls.verify import verify
    from ldmscene.calls.write_report import write_report
    from ldmscene.conclusions import emergence
    from ldmscene.manifest import Manifest, read_manifest, read_published
    from ldmscene.probes import AdamProbe, LogisticProbe, RidgeProbe
    from ldmscene.probes.published import load_published_probe
    from ldmscene.store import ActivationStore
    from ldmscene.store.check import repair
    from ldmscene.table import Grid

_HOMES = {
    "ActivationStore": ("ldmscene.store", "ActivationStore"),
    "AdamProbe": ("ldmscene.probes", "AdamProbe"),
    "Edit": ("ldmscene.calls.edit", "Edit"),
    "Grid": ("ldmscene.table", "Grid"),
    "LogisticProbe": ("ldmscene.probes", "LogisticProbe"),
    "Manifest": ("ldmscene.manifest", "Manifest"),
    "RidgeProbe": ("ldmscene.probes", "RidgeProbe"),
    "check": ("ldmscene.calls.check", "check"),
    "editing": ("ldmscene.calls.editing", "editing"),
    "effect": ("ldmscene.calls.effect", "effect"),
    "effect_sentence": ("ldmscene.calls.effect_sentence", "effect_sentence"),
    "emergence": ("ldmscene.conclusions", "emergence"),
    "estimate": ("ldmscene.calls.extract", "estimate"),
    "evaluate": ("ldmscene.calls.evaluate", "evaluate"),
    "extract": ("ldmscene.calls.extract", "extract"),
    "extract_images": ("ldmscene.calls.extract_images", "extract_images"),
    "intervene": ("ldmscene.calls.intervene", "intervene"),
    "label": ("ldmscene.calls.label", "label"),
    "list_modules": ("ldmscene.calls.list_modules", "list_modules"),
    "load_published_probe": ("ldmscene.probes.published", "load_published_probe"),
    "open": ("ldmscene.calls.opening", "open_store"),
    "paint": ("ldmscene.calls.paint", "paint"),
    "read_manifest": ("ldmscene.manifest", "read_manifest"),
    "read_published": ("ldmscene.manifest", "read_published"),
    "recognition": ("ldmscene.calls.recognition", "recognition"),
    "repair": ("ldmscene.store.check", "repair"),
    "run": ("ldmscene.calls.run", "run"),
    "until_when": ("ldmscene.calls.effect", "until_when"),
    "tidy": ("ldmscene.calls.tidy", "tidy"),
    "transfer": ("ldmscene.calls.transfer", "transfer"),
    "verify": ("ldmscene.calls.verify", "verify"),
    "write_report": ("ldmscene.calls.write_report", "write_report"),
}

__all__ = [
    "ActivationStore",
    "AdamProbe",
    "Edit",
    "Grid",
    "LogisticProbe",
    "Manifest",
    "RidgeProbe",
    "check",
    "editing",
    "effect",
    "effect_sentence",
    "emergence",
    "estimate",
    "evaluate",
    "extract",
    "extract_images",
    "intervene",
    "label",
    "list_modules",
    "load_published_probe",
    "open",
    "paint",
    "plot",
    "read_manifest",
    "read_published",
    "recognition",
    "repair",
    "run",
    "tidy",
    "transfer",
    "until_when",
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
