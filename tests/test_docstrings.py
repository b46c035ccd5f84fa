"""Public docstrings stand alone, and their examples run."""

from __future__ import annotations

import doctest
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import ldmscene
from ldmscene.capture.families import Family
from ldmscene.edits import ControlEntry, NullEntry, RuleEntry
from ldmscene.labelers import LabelerEntry
from ldmscene.metrics import Metric
from ldmscene.presets import Preset
from ldmscene.registry import Registry
from ldmscene.store.layout import Key
from tests.conftest import bare_copy, make_manifest

LEANING = re.compile(r"(The same|As above|As of|As for|Others as)\b")
IMPORTS = ("import ", "from ")
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def _public() -> Iterator[tuple[str, Any]]:
    """What users import, by name: the package's calls, its figures, and the classes with their own methods."""
    for name in ldmscene.__all__:
        thing = getattr(ldmscene, name)
        names = vars(thing)["__all__"] if inspect.ismodule(thing) else ()
        yield from ((f"{name}.{each}", getattr(thing, each)) for each in names)
        if inspect.ismodule(thing):
            continue
        yield name, thing
        if inspect.isclass(thing):
            own = {
                each: value for kind in reversed(thing.__mro__) if _is_ours(kind) for each, value in vars(kind).items()
            }
            yield from (
                (f"{name}.{each}", value) for each, value in own.items() if not each.startswith("_") and _doc(value)
            )


def _is_ours(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "ldmscene"


def _doc(thing: Any) -> str:
    return inspect.getdoc(thing) or "" if callable(thing) or isinstance(thing, property | classmethod) else ""


PUBLIC = dict(_public())
CALLS = {name: thing for name, thing in PUBLIC.items() if "." not in name or name.startswith("plot.")}
METHODS = {
    name: getattr(thing, "__func__", thing)
    for name, thing in PUBLIC.items()
    if name not in CALLS and not isinstance(thing, property)
}
# What packages that add something are made of.
PARTS = {
    kind.__name__: kind
    for kind in (ControlEntry, Family, Key, LabelerEntry, Metric, NullEntry, Preset, Registry, RuleEntry)
}
EXAMPLES = CALLS | PARTS | {name: thing for name, thing in METHODS.items() if ">>>" in _doc(thing)}
MADE_BY_CALLS = {"ActivationStore", "Edit", "Grid", "Manifest"}  # their docstrings tell what they hold
NOT_RUN = {
    "editing": "needs a pipeline that diffusers has loaded",
    "paint": "serves until it is stopped",
}


@pytest.fixture(scope="module")
def example_folder(store, tmp_path_factory) -> Path:
    """A manifest, a store with labels and previews, two of its samples edited, and a folder of pictures."""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "manifests").mkdir()
    make_manifest(6, 2).to_csv(folder / "manifests" / "demo.csv")
    _edit(bare_copy(store, folder / "stores" / "demo"), folder / "stores" / "edited")
    (folder / "pictures").mkdir()
    for i, image in enumerate(store.images().values[:8]):
        Image.fromarray(image).save(folder / "pictures" / f"{i}.png")
    return folder


def _edit(store: ldmscene.ActivationStore, root: Path) -> None:
    grid = ldmscene.evaluate(store, "mask", steps=[1, 3], cv=3, progress=False)
    edit = ldmscene.Edit.of(grid, "mask", wanted="shift:0,16", modules="best:1", steps=[1, 3])
    edited = ldmscene.intervene(store, edit, root, controls=("none",), samples=2, batch_size=2, progress=False)
    ldmscene.label(edited, "mask", "tiny-mask", progress=False)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_docstring_stands_alone(name: str):
    doc = _doc(PUBLIC[name])
    assert doc, f"{name} has no docstring"
    assert not LEANING.match(doc)
    assert "thers as for" not in doc


@pytest.mark.parametrize("name", sorted(CALLS.keys() - MADE_BY_CALLS))
def test_a_public_calls_parameters_are_all_told(name: str):
    _, told = re.split(r"\n *Parameters\n *-+\n", _doc(CALLS[name]))
    for parameter in inspect.signature(CALLS[name]).parameters.values():
        if parameter.name not in ("self", "args", "kwargs"):
            assert re.search(rf"(^|\n|, ){parameter.name}\b", told), f"{name} doesn't tell {parameter.name}"


@pytest.mark.parametrize("name", METHODS)
def test_a_public_methods_parameters_are_all_told(name: str):
    for parameter in inspect.signature(METHODS[name]).parameters:
        assert parameter in ("self", "cls") or re.search(rf"\b{parameter}\b", _doc(METHODS[name])), parameter


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_public_docstrings_example_runs(name: str, example_folder, monkeypatch, capsys):
    """Where the examples run there are a manifest, a store with labels and a folder of pictures."""
    examples = doctest.DocTestParser().get_doctest(_doc(EXAMPLES[name]), {}, name, None, 0)
    runs = [e for e in examples.examples if not e.options.get(doctest.SKIP) and not e.source.startswith(IMPORTS)]
    assert bool(runs) != (name in NOT_RUN), f"{name} has no example that runs"
    monkeypatch.chdir(example_folder)
    monkeypatch.setenv("COLUMNS", "200")
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    runner.run(examples, out=(said := []).append)
    assert not runner.failures, "".join(said)
