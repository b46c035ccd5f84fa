"""Everything that the README and the documentation show is run, but for what their comments say isn't."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ldmscene import cli, testbed
from tests.conftest import bare_copy, make_manifest
from tests.test_cli import call

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = {"": README} | {"docs": "".join(page.read_text() for page in sorted((ROOT / "docs").glob("*.md")))}
WHOLE = "\n".join(PAGES.values())
EXCUSE = re.compile(r"<!-- not run by the tests: .+ -->\s*$")


def _blocks(language: str, text: str = README) -> list[str]:
    """What is to be run, in order."""
    found = re.finditer(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [match[1] for match in found if not EXCUSE.search(text[: match.start()])]


def python_blocks(text: str) -> list[str]:
    """The Python of a page that is to be run, in order."""
    return _blocks("python", text)


def _commands() -> list[str]:
    text = "".join(_blocks("console", WHOLE)).replace("\\\n", "")
    return [line[2:].split("  #")[0].strip() for line in text.splitlines() if line.startswith("$ ")]


@pytest.fixture
def folder(store, tmp_path, monkeypatch) -> Path:
    """Where a reader stands: the manifest, shorter than the real one, and what the README says is made elsewhere."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "manifests").mkdir()
    make_manifest(6, 2).to_csv(tmp_path / "manifests" / "demo.csv")
    (tmp_path / "pictures").mkdir()
    for i, image in enumerate(store.images().values[:12]):
        Image.fromarray(image).save(tmp_path / "pictures" / f"{i}.png")
    (tmp_path / "normals").mkdir()
    for sample_id in make_manifest(6, 2).frame["sample_id"]:
        np.save(tmp_path / "normals" / f"{sample_id}.npy", np.eye(64, dtype=np.float32))
    return tmp_path


def test_python_runs_from_top_to_bottom(store, folder):
    bare_copy(store, folder / "stores" / "demo")
    blocks, names = _blocks("python"), {}
    assert len(blocks) == 2
    assert "ldmscene.open" in blocks[0]
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert names["probe"].score(names["X"], names["y"]) > 0.5
    assert (folder / "report" / "index.html").exists()


def test_commands_of_the_command_line_run(store, folder, tmp_path):
    ours = [command for command in _commands() if command.startswith("ldmscene ")]
    assert len(ours) == 7
    for name, split in (("train_split_prompts_seeds.csv", 0), ("test_split_prompts_seeds.csv", 1)):
        rows = [f"{i},a red sphere {i + 10 * split},{i},{i + 10 * split}" for i in range(6)]
        (folder / name).write_text("\n".join([",prompts,seeds,prompt_inds", *rows]))
    bare_copy(store, folder / "stores" / "demo")
    for command in ours:
        words = shlex.split(command)[1:]
        words = ["tiny-scenes" if word == "MODEL" else word for word in words]
        if "--protocol" in words:  # Stable Diffusion's weights aren't here
            words += ["--model", str(testbed.MODELS["tiny-scenes"]), "--height", "64", "--width", "64"]
        code, _, err = call(*words)
        assert code == 0, f"{command}: {err}"


def test_the_table_that_is_shown_has_the_form_of_what_is_printed(store, monkeypatch):
    """`make demo` prints it at the end; here of another store, without the control."""
    monkeypatch.delenv("COLUMNS", raising=False)
    shown = re.search(r"^```\n( +depth.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert shown
    code, out, err = call("evaluate", store.root)
    assert code == 0, err
    for text, control in ((shown[1], ["perm"]), (out, [])):
        lines = [line.split() for line in text.splitlines() if line.strip()]
        assert lines[0] == ["depth", "mask", "shading"]
        assert lines[1] == ["gain,", "%", "spearman", "gain,", "%", "dice", "gain,", "%", "pearson"]
        columns = ["probe", *control, "x_t", "x_0", "score"]
        assert lines[2] == ["step", *columns * 3]
        rows = [line for line in lines if line[0].isdigit() and len(line) == 1 + 3 * len(columns)]
        assert [int(row[0]) for row in rows] == list(range(len(rows)))
        assert len(rows) == (15 if control else len(store.steps))
        for row in rows:
            groups = np.array([float(word) for word in row[1:]]).reshape(3, -1)
            assert (groups[:, :-1] <= 100).all()
            assert (np.abs(groups[:, -1]) <= 1).all()
        for words in ("score: the probe's published one", "in % of what position leaves unexplained"):
            assert words in " ".join(text.split())
        for target in ("depth", "mask", "shading"):
            assert sum(f"{target}: " in line for line in text.splitlines()) == 1


def test_what_else_is_typed_exists():
    makefile = (ROOT / "Makefile").read_text()
    for command in _commands():
        words = shlex.split(command)
        assert words[0] in ("make", "ldmscene", "python"), command
        if words[0] == "make":
            assert f"\n{words[1]}:" in makefile
    for verb in re.findall(r"`ldmscene ([a-z-]+)", WHOLE):
        assert verb in cli.cli.commands, verb
    verbs = re.search(r"`ldmscene extract \|([^`…]+)`", PAGES["docs"])
    assert verbs
    assert {"extract", *re.findall(r"[a-z-]+", verbs[1])} == set(cli.cli.commands)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for extra in re.findall(r"ldmscene\[([a-z0-9]+)\]", WHOLE):
        assert extra in extras
    for folder, text in PAGES.items():
        for module in re.findall(r"python -m\s+(benchmarks\.\w+)", text):
            assert (ROOT / f"{module.replace('.', '/')}.py").exists()
        for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
            assert (ROOT / folder / link).exists(), link
