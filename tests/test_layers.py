"""The layers hold: siblings don't know each other, and importing the package costs little."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "ldmscene"
LAYERS = [
    {
        "errors",
        "manifest",
        "module_names",
        "cells",
        "grid",
        "hashing",
        "hub",
        "device",
        "imported_torch",
        "progress",
        "table",
    }
    | {"registry", "halves", "rows", "text", "options", "verdicts", "gains", "conclusions", "prompts", "array_types"}
    | {"presets", "selection", "picture_files", "choices", "words", "axes", "tensors"},
    {"store", "capture", "labelers", "probes", "metrics", "report", "testbed", "edits"},
    {"extraction", "labeling", "evaluation"},
    {"intervention"},
    {"painting"},
    {"calls", "protocols", "plot", "terminal", "parameters"},
    {"commands"},
    {"cli"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


@cache
def _imports(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text())
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("ldmscene"):
            parts = node.module.split(".")
            names |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        if isinstance(node, ast.Import):
            names |= {a.name.split(".")[1] for a in node.names if a.name.startswith("ldmscene.")}
    return frozenset(names)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_imports_only_lower_layers(path: Path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own in ("__init__", "__main__"):
        return
    for other in _imports(path) - {own}:
        assert other in LEVEL, f"{path} imports ldmscene.{other}, which has no layer"
        same_top = LEVEL[own] == LEVEL[other] and LEVEL[own] in (0, LEVEL["calls"])
        assert LEVEL[other] < LEVEL[own] or same_top, (
            f"{own} (layer {LEVEL[own]}) imports {other} (layer {LEVEL[other]})"
        )


def _runs(node: ast.AST) -> Iterator[ast.AST]:
    """All that can run below a node: of a test for type checkers nothing."""
    yield node
    if not (isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
        for child in ast.iter_child_nodes(node):
            yield from _runs(child)


def _files_imported(path: Path, files: Mapping[str, Path]) -> set[str]:
    """Names of the package's own files that a file imports, at its top or in a function."""
    found = set()
    for node in _runs(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {full if (full := f"{node.module}.{a.name}") in files else node.module for a in node.names}
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & files.keys()


def test_no_file_imports_one_that_imports_it():
    named = {".".join(p.relative_to(PACKAGE.parent).with_suffix("").parts): p for p in PACKAGE.rglob("*.py")}
    files = {name.removesuffix(".__init__"): path for name, path in named.items()}
    TopologicalSorter({name: _files_imported(path, files) for name, path in files.items()}).prepare()


def _modules_of(name: str) -> list[Path]:
    found = PACKAGE / f"{name}.py"
    return [found] if found.exists() else list((PACKAGE / name).rglob("*.py"))


def _reached(name: str) -> set[str]:
    """All parts of the package that a part imports, and what those import."""
    seen, todo = set(), [name]
    while todo:
        part = todo.pop()
        seen.add(part)
        todo += [other for path in _modules_of(part) for other in _imports(path) if other not in seen]
    return seen


def test_evaluation_never_sees_capture():
    assert not {"capture", "extraction", "labelers", "testbed", "hashing", "hub"} & _reached("evaluation")
    assert "store" in _reached("evaluation")


def test_every_part_of_the_package_has_a_layer():
    parts = {
        p.name.removesuffix(".py") for p in PACKAGE.iterdir() if not p.name.startswith("_") and p.name != "py.typed"
    }
    assert parts == set(LEVEL)


@pytest.mark.parametrize(
    "module", ["ldmscene", "ldmscene.cli", "ldmscene.manifest", "ldmscene.probes", "ldmscene.metrics"]
)
def test_importing_loads_nothing_heavy(module: str):
    code = f"import {module}, sys; print([m for m in ('torch', 'diffusers', 'matplotlib') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
