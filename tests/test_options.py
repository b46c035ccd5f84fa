"""One field is one option: of the call, its checks, its help and the command line."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import ldmscene
from ldmscene import cli, parameters
from ldmscene.calls.extract import extract
from ldmscene.choices import EMBEDDED
from ldmscene.errors import InputError
from ldmscene.extraction.options import (
    INDEX,
    RUNS_DECIDE,
    Extraction,
    FromPrompts,
    ImageExtraction,
)
from ldmscene.options import about, about_of, takes
from tests.conftest import FIRST

# As they were before they were made from fields.
BEFORE = {
    "extract": {
        "model": "", "manifest": "", "store": None, "modules": "self-attention", "steps": 15, "guidance_scale": 7.5,
        "negative_prompt": "", "scheduler": None, "height": None, "width": None, "branch": "cond", "dtype": "float16",
        "device": None, "compute_dtype": None, "variant": None, "revision": None, "batch_size": 1, "previews": False,
        "compression": "none", "dry_run": False, "progress": True, "part": "1/1", "client": None,
        "allow_nonfinite": False, "keep": "activations", "labelers": None, "leaks": "warn",
        "control": None, "inputs": None,
        "beyond": "position",
    },
    "extract_images": {
        "model": "", "images": "", "store": "", "modules": "self-attention", "timesteps": "", "prompts": "", "seeds": 0,
        "splits": None, "guidance_scale": 1.0, "negative_prompt": "", "branch": "cond", "dtype": "float16",
        "device": None, "compute_dtype": None, "variant": None, "revision": None, "batch_size": 1, "previews": False,
        "compression": "none", "dry_run": False, "progress": True, "part": "1/1", "allow_nonfinite": False,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", BEFORE)
def test_public_calls_take_what_they_took(name):
    found = inspect.signature(getattr(ldmscene, name)).parameters
    empty = inspect.Parameter.empty
    assert {p.name: "" if p.default is empty else p.default for p in found.values()} == BEFORE[name]
    by_place = [p.name for p in found.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert by_place == list(BEFORE[name])[:4]
    assert all(p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) for p in found.values())
    estimated = inspect.signature(ldmscene.estimate).parameters
    assert set(estimated) == set(BEFORE["extract"]) - {"dry_run"}


@dataclass(frozen=True)
class Salted(Extraction):
    """An extraction with one option more, from outside."""

    salt: str = field(
        default="rock", kw_only=True, metadata=about("Which salt to add. There are two.", choices=("rock", "sea"))
    )
    spoons: int = field(default=1, kw_only=True, metadata=about("How much of it.", least=0))


@takes(Salted)
def season(asked: Salted) -> dict:
    """Season.

    Parameters
    ----------
    {parameters}
    """
    return {"salt": asked.salt, "spoons": asked.spoons, "steps": asked.steps}


def test_a_field_is_an_option_of_the_call_its_checks_its_help_and_the_command_line():
    assert season("tiny-scenes", [("a cube", 1)], salt="sea") == {"salt": "sea", "spoons": 1, "steps": 15}
    assert inspect.signature(season).parameters["salt"].default == "rock"
    assert "salt : {'rock', 'sea'}, default 'rock'\n    Which salt to add. There are two." in inspect.getdoc(season)
    for wrong, message in (
        ({"salt": "pink"}, "salt must be one of rock, sea; got 'pink'"),
        ({"spoons": -1}, "spoons must be at least 0, got -1"),
        ({"spoons": "2"}, "spoons must be a whole number, got '2'"),
        ({"steps": 2.5}, "steps must be a whole number, got 2.5"),
        ({"height": "64"}, "height must be a whole number, got '64'"),
        ({"guidance_scale": "high"}, "guidance_scale must be a number, got 'high'"),
        ({"modules": 3}, "modules must be a name or a list of names, got 3"),
    ):
        with pytest.raises(InputError, match=message):
            season("tiny-scenes", [("a cube", 1)], **wrong)

    @click.command()
    @parameters.options_of(Salted)
    def command(**options):
        print(json.dumps(options))

    told = CliRunner().invoke(command, ["--help"]).output
    assert "--salt [rock|sea]" in told
    assert "Which salt to add." in told
    assert "There are two" not in told
    typed = json.loads(CliRunner().invoke(command, ["--salt", "sea", "--spoons", "2"]).output)
    assert (typed["salt"], typed["spoons"], typed["steps"]) == ("sea", 2, 15)
    assert CliRunner().invoke(command, ["--salt", "pink"]).exit_code == 2


def test_an_option_that_does_not_exist_is_refused_by_the_name_of_the_call():
    with pytest.raises(TypeError, match=r"^extract\(\) got an unexpected keyword argument 'stepss'$"):
        ldmscene.extract("tiny-scenes", [("a cube", 1)], stepss=3)
    with pytest.raises(TypeError, match=r"^extract_images\(\) missing a required argument: 'timesteps'$"):
        ldmscene.extract_images("tiny-scenes", "folder", "store")
    with pytest.raises(TypeError, match="stepss"):
        ldmscene.run([("a cube", 1)], store="s", report="r", stepss=3)


@pytest.mark.parametrize("kind", [Extraction, ImageExtraction])
def test_every_option_is_documented_and_stands_in_help(kind):
    call = extract if kind is Extraction else ldmscene.extract_images
    told = inspect.getdoc(call)
    for option in fields(kind):
        assert about_of(option).text.endswith((".", "!")), option.name
        assert f"\n{option.name} : " in told
    listed = CliRunner().invoke(cli.cli, ["extract" if kind is Extraction else "extract-images", "--help"])
    for option in fields(kind):
        flag = about_of(option).flag
        if flag != "" and option.name not in ("model", "manifest", "images"):
            assert (flag or f"--{option.name.replace('_', '-')}".replace("labelers", "labeler")) in listed.output


def test_the_plan_and_the_fingerprint_are_made_from_the_same_fields(tiny, tmp_path):
    """What is marked as the plan's changes the configuration; what isn't leaves it."""
    from ldmscene.calls.extracting import planned

    plain = FromPrompts(tiny, [("a cube", 1)], tmp_path / "s", [FIRST], steps=2)

    def config(**changes) -> dict:
        with planned(replace(plain, **changes)) as (plan, _root):
            return plan.config()

    others = {
        "steps": 3, "guidance_scale": 2.0, "negative_prompt": "blue", "height": 32, "width": 32, "branch": "both",
        "dtype": "float32",
    }  # fmt: skip
    assert {option.name for option in fields(FromPrompts) if about_of(option).plan} == {*others, "modules"}
    own = config()
    for name, value in others.items():
        assert config(**{name: value}) != own, name
    for name, value in {"batch_size": 2, "previews": True, "progress": False, "modules": ["mid_block"]}.items():
        assert config(**{name: value}) == own, name


def test_names_that_options_know_are_the_librarys_own():
    from ldmscene import testbed
    from ldmscene.capture import plan, source

    assert set(testbed.MODELS) == {EMBEDDED}
    assert INDEX == source.INDEX
    choices = {option.name: about_of(option).choices for option in fields(FromPrompts)}
    assert choices["branch"] == tuple(plan.BRANCH_CHOICES)
    assert set(choices) > RUNS_DECIDE


@pytest.mark.parametrize("beyond", [None, ["mask"], "mask"])
def test_what_is_known_anyway_is_for_a_control(tiny, tmp_path, beyond):
    with pytest.raises(InputError, match="beyond= is for control="):
        ldmscene.extract(tiny, [("a red cube", 1)], tmp_path / "s", [FIRST], steps=1, beyond=beyond)


def test_an_estimate_has_a_call_of_its_own(tiny, tmp_path):
    asked = ([("a red cube", 1), ("a blue cone", 2)], tmp_path / "s", [FIRST])
    own = ldmscene.estimate(tiny, *asked, steps=2)
    dry = ldmscene.extract(tiny, *asked, steps=2, dry_run=True)
    same = ("samples", "modules", "bytes", "files", "bytes_per_sample", "denoiser_calls_per_sample")
    assert {name: own[name] for name in same} == {name: dry[name] for name in same}
    assert own["samples"] == 2
    assert not (tmp_path / "s").exists()
    stored = ldmscene.extract(tiny, *asked, steps=2)
    assert own["bytes"] == stored.ledger["bytes"].sum()


TYPED = """
import ldmscene
ldmscene.extract("tiny-scenes", [("a", 1)], "s", steps=3).samples
ldmscene.extract("tiny-scenes", [("a", 1)], dry_run=True)["bytes"]
ldmscene.estimate("tiny-scenes", [("a", 1)], "s")["bytes"]
ldmscene.extract_images("tiny-scenes", "folder", "s", timesteps=[1.0]).samples
store = ldmscene.open("s")
store.activations("up_blocks.3", slice(0, 5), seed=[1, 2], where=lambda samples: samples["seed"] < 3).mean("channel")
store.labels("mask", binary=True, prompt="a red cube").sel(sample="a")
grid = ldmscene.evaluate(ldmscene.label(store, "mask", "tiny-mask"), "mask", steps=-1)
ldmscene.emergence(grid).loc["mask"]
ldmscene.plot.curves(grid).set_title("mask")
ldmscene.write_report(store, grid, "report").name
"""
MISTYPED = {
    'ldmscene.extract("tiny-scenes", [("a", 1)], stepss=3)': "stepss",
    'ldmscene.extract("tiny-scenes", [("a", 1)], steps="3")': '"str"',
    'ldmscene.extract("tiny-scenes", [("a", 1)]).bytes_per_sample': "bytes_per_sample",
    'ldmscene.estimate("tiny-scenes", [("a", 1)], dry_run=True)': "dry_run",
    'ldmscene.extract_images("tiny-scenes", "folder", "s")': "No overload",
    'ldmscene.extract("tiny-scenes", [("a", 1)], branch="conds")': "No overload",
    'ldmscene.extract("tiny-scenes", [("a", 1)], keep="statistic")': "No overload",
    'ldmscene.label(store, "mask", "tiny-mask", on="noise")': "'noise'",
    'ldmscene.RidgeProbe(upsample="linear")': "'linear'",
    'store.torch_dataset("up_blocks.3", normalize="unit")': "'unit'",
    'store.images(promt="a red cube")': "promt",
    'store.activations("up_blocks.3", step="last")': '"str"',
    'store.labels("mask", binary="yes")': '"str"',
    'ldmscene.evaluate(store, target="mask")': "target",
    "ldmscene.plot.curves(store)": '"ActivationStore"',
    'ldmscene.label("mask", "tiny-mask")': "labeler",
    "ldmscene.write_report(grid, store, 'report')": '"Grid"',
}


@pytest.mark.slow
def test_a_type_checker_knows_arguments_and_results(tmp_path):
    pytest.importorskip("mypy")
    path = tmp_path / "script.py"
    path.write_text(TYPED + "\n".join(MISTYPED) + "\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-incremental", path], capture_output=True, text=True,
        cwd=Path(ldmscene.__file__).parents[1],
    )  # fmt: skip
    errors = [line for line in done.stdout.splitlines() if "script.py" in line and ": error: " in line]
    wrong = {int(line.split(":")[1]) for line in errors}
    first = len(TYPED.splitlines()) + 1
    assert wrong == set(range(first, first + len(MISTYPED))), done.stdout
    for number, word in enumerate(MISTYPED.values(), first):
        assert any(f":{number}:" in line and word in line for line in errors), word
