"""The command line, as a shell sees it: output, exit code, and what is left on disk."""

from __future__ import annotations

import functools
import html
import json
import os
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from diffusers import UNet2DConditionModel
from diffusers import schedulers as diffusers_schedulers
from PIL import Image

import ldmscene
from ldmscene import cli, labelers, parameters, testbed
from ldmscene.commands import output
from ldmscene.errors import ControlWarning, LdmsceneError, WriteError
from ldmscene.presets import PRESETS
from ldmscene.store import check
from ldmscene.store.space import check_space
from tests.conftest import FIRST, LAST, bare_copy, files, make_manifest
from tests.test_progress import in_a_terminal


def call(*words: object) -> tuple[int, str, str]:
    """Run the command line in this process: exit code, stdout, stderr."""
    runner = CliRunner()
    with runner.isolation() as (out, err, _):
        with pytest.raises(SystemExit) as stop:
            cli.main([str(w) for w in words])
        sys.stdout.flush()
        sys.stderr.flush()
        return int(stop.value.code or 0), out.getvalue().decode(), err.getvalue().decode()


def strict(text: str) -> object:
    """JSON as others read it, which knows no -Infinity and no NaN."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} isn't JSON"))


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "manifest.csv"
    make_manifest(6, 2).to_csv(path)
    return path


@functools.wraps(UNet2DConditionModel.forward)
def only_shapes(denoiser, sample, *args, forward=UNet2DConditionModel.forward, **kwargs):
    """A denoiser's call that may ask for shapes on the meta device, and nothing else."""
    assert sample.is_meta
    return forward(denoiser, sample, *args, **kwargs)


def _sorted_options(words: tuple) -> list:
    """The command, its options in the order in which they are taken."""
    given = dict(zip(words[2::2], words[3::2], strict=True))
    order = ["--store", "--report", *(name for name in given if name not in ("--store", "--report"))]
    return [*words[:2], *(word for name in order for word in (name, given[name]))]


def test_no_number_is_printed_that_json_lacks(capsys):
    output.print_json({"low": -np.inf, "high": 0.5, "rows": [[np.float64("nan")], {"mean": np.inf}]})
    assert strict(capsys.readouterr().out) == {"low": None, "high": 0.5, "rows": [[None], {"mean": None}]}


def test_the_whole_path_and_its_single_steps(table, tmp_path, monkeypatch):
    store, report = tmp_path / "store", tmp_path / "report"
    words = ("run", table, "--store", store, "--report", report, "--modules", FIRST, "--steps", 2, "--batch-size", 8)
    code, out, err = call(*words)
    assert code == 0, err
    for word in ("depth", "mask", "shading", "spearman", "dice", "pearson", "held-out prompts"):
        assert word in out
    page = (report / "index.html").read_text()
    assert html.escape(shlex.join(["ldmscene", *map(str, _sorted_options(words))]), quote=False) in page
    with monkeypatch.context() as patch:  # a second run has no use for the denoiser
        patch.setattr(UNet2DConditionModel, "forward", only_shapes)
        code, out, _ = call(*words, "--json")
    rows = strict(out)
    assert code == 0
    assert [row["low"] for row in rows] == [None] * 6  # two held-out prompts say nothing of how sure a gain is
    assert {(row["target"], row["step"]) for row in rows} == {
        (t, s) for t in ("depth", "mask", "shading") for s in (0, 1)
    }
    code, out, _ = call("info", store, "--json")
    assert code == 0
    assert json.loads(out)["complete"] == 8
    assert call("verify", store)[0] == 0
    some = ("--targets", "mask", "--steps", 1, "--cv", 2, "--alphas", 1, "--alphas", 100)
    code, out, err = call("evaluate", store, *some, "--json")
    assert (code, len(strict(out))) == (0, 1), err
    kept = files(store / "probes")
    code, out, _ = call("report", store, tmp_path / "again", *some, "--json")
    assert code == 0
    page = json.loads(out)["page"]
    again = shlex.join(map(str, ("--targets", "mask", "--steps", 1, "--cv", 2, "--alphas", 1.0, "--alphas", 100.0)))
    assert html.escape(again) in Path(page).read_text()
    code, out, _ = call("figures", store, tmp_path / "figures", *some, "--json")
    assert code == 0
    assert {Path(name) for name in json.loads(out)["files"]} == set((tmp_path / "figures").iterdir())
    assert files(store / "probes") == kept  # all three are of the very same grid


def test_a_dry_run_prints_and_writes_nothing(table, tmp_path):
    code, out, _ = call("extract", "tiny-scenes", table, "--store", tmp_path / "s", "--dry-run", "--json")
    assert code == 0
    assert json.loads(out)["samples"] == 8
    assert not (tmp_path / "s").exists()


def test_modules_lists_the_sixteen(tmp_path):
    code, out, _ = call("modules", "tiny-scenes", "--modules", "self-attention", "--json")
    assert code == 0
    assert len(json.loads(out)) == 16
    code, out, _ = call("modules", "tiny-scenes", "--json")
    assert len(json.loads(out)) == 2 * 16 + 22 + 9  # cross-attention, ResNets and blocks too


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("extract", "tiny-scenes", "nowhere.csv", "--store", "{tmp}/s"), "no manifest at nowhere.csv"),
        (("extract", "tiny-scenes", "{table}", "--store", "{tmp}/s", "--modules", "up_blocks.9"), "nearest: "),
        (("extract", "tiny-scenes", "{empty}", "--store", "{tmp}/s"), "the manifest is empty"),
        (("extract", "tiny-scenes", "{twice}", "--store", "{tmp}/s"), "same prompt and seed"),
        (("extract", "tiny-scenes", "{short}", "--store", "{tmp}/s"), "lacks the column seed"),
        (("extract", "tiny-scenes", "{hostile}", "--store", "{tmp}/s"), "can't be read"),
        (("extract", "tiny-scenes", "{table}", "--store", "{table}/s"), "part of the path is a file"),
        (("extract", "tiny-scenes", "{table}", "--store", "{tmp}/s", "--height", "36"), "multiples of 8"),
        (("extract", "tiny-scenes", "{table}", "--store", "{tmp}/s", "--height", "0"), "multiples of 8"),
        (("extract", "tiny-scenes", "{table}", "--store", "{tmp}/s", "--device", "gpu"), "device 'gpu'"),
        (("extract", "tiny-scenes", "{table}", "--store", "{tmp}/s", "--guidance-scale", "nan"), "finite"),
        (
            ("extract", "tiny-scenes", "{table}", "--store", "{tmp}/s", "--previews", "tset"),
            "'all', 'train', 'val', 'test'",
        ),
        (
            ("extract", "tiny-scenes", "{table}", "--store", "{tmp}/s", "--steps", "2000", "--scheduler", "DDIM"),
            "2000 steps",
        ),
        (("run", "{table}", "--store", "{tmp}/s", "--report", "{tmp}/r", "--labeler", "depth=tiny-dept"), "tiny-depth"),
        (("run", "{untested}", "--store", "{tmp}/s", "--report", "{tmp}/r"), "no sample in split 'test'"),
        (("repair", "{tmp}"), "not an ldmscene store"),
        (("extract", "{tmp}", "{table}", "--store", "{tmp}/s"), "no model_index.json"),
        (("extract", "tiny-scenes", "{table}", "--store", "{tmp}/s", "--scheduler", "Foo"), "no scheduler"),
        (("extract", "tiny-scenes", "{table}", "--branch", "left"), "left"),
        (("info", "{tmp}/nothing"), "no store at"),
        (("evaluate", "{tmp}/nothing"), "no store at"),
        (("label", "{tmp}/nothing", "depth", "tiny-depth"), "no store at"),
        (("run", "{table}", "--store", "{tmp}/s", "--report", "{tmp}/r", "--labeler", "depth"), "TARGET=LABELER"),
        (("run", "{table}", "--model", "{tmp}", "--store", "{tmp}/s", "--report", "{tmp}/r"), "name the labelers"),
        (("nonsense",), "nonsense"),
        (("extract", "tiny-scenes", "{tmp}"), "is a directory"),
        (("extract", "tiny-scenes", "{binary}", "--store", "{tmp}/s"), "can't be read as csv"),
        (("extract", "tiny-scenes", "{table}", "--store", "{tmp}/s", "--steps", "-1"), "at least 1, got -1"),
        (("extract", "tiny-scenes", "{table}", "--store", "{tmp}/s", "--part", "5/4"), "got '5/4'"),
        (("extract", "tiny-scenes", "{table}", "--store", "gs://b/s"), "s3://bucket/prefix"),
        (("extract", "tiny-scenes", "{table}", "--store", "{tmp}/s", "--client", "nowhere"), "tcp://HOST:PORT"),
        (
            ("extract-images", "tiny-scenes", "{tmp}/none", "--store", "{tmp}/s", "--timestep", "1"),
            "no folder of images",
        ),
        (("verify", "{tmp}"), "not an ldmscene store"),
        (("info", "{table}"), "is a file"),
        (("report", "{tmp}/nothing", "{table}"), "is a file"),
        (("modules", "tiny-scenes", "--modules", "self-atention"), "nearest: self-attention"),
        (("extrakt", "tiny-scenes", "{table}"), "Did you mean"),
        (
            ("extract", "tiny-scene", "{table}", "--store", "{tmp}/s"),
            "a hub id; nearest: tiny-scenes",
        ),
        (("modules", "tinyscenes"), "nearest: tiny-scenes"),
        (("modules", "kv/tiny-scenes"), "it isn't in the hub's cache"),
        (("extract", "tiny-scenes", "{split}", "--store", "{tmp}/s"), "split must be one of train, val, test"),
        (("extract", "tiny-scenes", "{nothing}", "--store", "{tmp}/s"), "expected a table with the columns prompt and"),
        (("extract", "tiny-scenes", "{table}", "--store", "{tmp}/s", "--steps", "0"), "at least 1, got 0"),
        (
            ("extract", "tiny-scenes", "{table}", "--store", "{tmp}/s", "--labeler", "depth=tiny-depth"),
            "label the store",
        ),
        (("extract", "tiny-scenes", "{table}", "--store", "{tmp}/s", "--beyond", "latent"), "pass it to evaluate"),
    ],
)
def test_bad_input_gets_one_sentence_and_exit_code_two(table, tmp_path, words, message):
    written = {
        "empty": "prompt,seed\n",
        "twice": "prompt,seed\na,1\na,1\n",
        "short": "prompt\na\n",
        "hostile": "prompt,seed\n\x1b[2J,1,2\n",
        "split": "prompt,seed,split\na,1,training\n",
        "nothing": "",
        "binary": "prompt,seed\n\0\1,\2,\3,\n",
        "untested": "prompt,seed,split\n" + "".join(f"p{i},{i},train\n" for i in range(6)),
    }
    paths = {name: tmp_path / f"{name}.csv" for name in written}
    for name, text in written.items():
        paths[name].write_text(text)
    before = files(tmp_path)
    code, _, err = call(*(w.format(tmp=tmp_path, table=table, **paths) for w in words))
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert "\x1b" not in err
    assert max(map(len, err.splitlines())) < 400 + len(str(tmp_path))
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("label", "depth", "nope"), "nearest: tiny-depth"),
        (("label", "a/b", "tiny-depth"), "letters, digits"),
        (("label", "a" * 201, "tiny-depth"), "200 at most"),
        (("label", "depth", "tiny-mask"), "name the target differently"),
        (("label", "depth", "tiny-mask"), "'tiny-depth' there, 'tiny-mask' now and 2 more; name"),
        (("label", "x", "files:{root}/nowhere"), "no folder at"),
        (("label", "x", "tiny-depth", "--split", "val"), "no sample of split 'val'"),
        (("evaluate", "--targets", "nope"), "nearest: depth"),
        (("evaluate", "--modules", "nope"), "nearest: "),
        (("evaluate", "--steps", "-5"), "its steps are 0 to 3"),
        (("evaluate", "--cv", "1"), "at least 2, got 1"),
        (("evaluate", "--cv", "99"), "lower cv or add prompts"),
        (
            ("evaluate", "--alphas", "3"),
            "alphas: expected at least two, since the modules",
        ),
        (("evaluate", "--alphas", "-1", "--alphas", "1"), "expected positive numbers"),
        (("evaluate", "--alphas", "nan", "--alphas", "1"), "expected positive numbers"),
        (("evaluate", "--permuted", "{root}"), "must differ in the denoiser's weights"),
        (("report", "{root}/manifest.parquet"), "is a file"),
    ],
)
def test_what_a_store_lacks_is_said_in_one_sentence(store, words, message):
    before = files(store.root)
    verb, *others = (word.format(root=store.root) for word in words)
    code, _, err = call(verb, store.root, *others)
    assert (code, files(store.root)) == (2, before)
    assert message in err
    assert "Traceback" not in err


def test_a_store_of_another_fingerprint_and_a_report_that_cannot_be_written_are_refused(two, table, tmp_path):
    before = files(two.root)
    code, _, err = call("extract", "tiny-scenes", table, "--store", two.root, "--steps", 3)
    assert (code, files(two.root)) == (2, before)
    assert "steps: 2 in the store, 3 now" in err
    store, report = tmp_path / "s", tmp_path / "manifest.csv" / "report"
    code, _, err = call(
        "run", table, "--store", store, "--report", report, "--steps", 1, "--modules", FIRST, "--batch-size", 8
    )
    assert code == 2
    assert "part of the path is a file" in err


def test_pixels_without_a_label_are_no_fault(store):
    rows = store.ledger
    assert rows["nonfinite"][rows["what"].str.startswith("labels/")].sum() > 0
    code, out, _ = call("verify", store.root, "--json")
    assert (code, json.loads(out)["nonfinite"]) == (0, 0)


def test_a_run_has_places_of_its_own_where_none_are_named(table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = call("run", table, "--steps", 1, "--modules", FIRST, "--batch-size", 8, "--no-control")
    assert code == 0, err
    assert ldmscene.open(f"stores/{table.stem}").samples["complete"].all()
    assert Path(f"reports/{table.stem}/index.html").is_file()
    other = tmp_path / "elsewhere" / table.name
    other.parent.mkdir()
    make_manifest(7, 3).only(make_manifest(7, 3).frame["sample_id"][2:].tolist()).to_csv(other)
    code, _, err = call("run", other, "--steps", 1, "--modules", FIRST, "--batch-size", 8, "--no-control")
    assert code == 2
    assert "samples that this manifest lacks" in err


def test_paths_are_printed_as_they_are_and_no_markup(store, tmp_path):
    root = bare_copy(store, tmp_path / "[/old]" / "[red]s").root
    for words in (["verify", root], ["repair", root], ["label", root, "depth", "tiny-depth"]):
        code, out, err = call(*words)
        assert code == 0, err
        assert f"{root}: " in out + err
    assert f"{root}: 20 of 20 samples" in call("info", root)[1]


def _interrupted(words: list[str], begun) -> tuple[int, str]:
    """A real SIGINT to a real process, as soon as it has begun."""
    with subprocess.Popen(
        [sys.executable, "-m", "ldmscene.cli", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # also where pytest runs in the background
    ) as process:
        while not begun() and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.stderr
        said = process.stderr.read()
    return process.returncode, said


def test_an_interrupted_extraction_keeps_what_is_finished_and_the_same_command_goes_on(tmp_path):
    table, root = tmp_path / "many.csv", tmp_path / "store"
    make_manifest(25, 5).to_csv(table)
    words = ["extract", "tiny-scenes", str(table), "--store", str(root), "--modules", FIRST, "--steps", "1"]

    def complete() -> int:
        try:
            return int(ldmscene.open(root).samples["complete"].sum())
        except LdmsceneError:  # not there yet
            return 0

    code, said = _interrupted(words, lambda: complete() > 0)
    assert code == 130, said
    assert "the same command goes on from there" in said
    assert "Traceback" not in said
    assert 0 < complete() < 30
    assert ldmscene.verify(root) == []
    code, out, err = call(*words, "--json")
    assert code == 0, err
    assert json.loads(out)["complete"] == complete() == 30
    assert ldmscene.verify(root) == []


def test_an_interrupt_while_the_command_line_loads_is_no_traceback(monkeypatch, capsys):
    class Loading:
        @property
        def main(self):
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "ldmscene.cli", Loading())
    with pytest.raises(SystemExit, match="130"):
        runpy.run_module("ldmscene", run_name="__main__")
    assert capsys.readouterr().err == "\ninterrupted; nothing was changed\n"


def test_an_interrupt_promises_no_more_than_holds(store, monkeypatch):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # also where pytest runs in the background
    monkeypatch.setattr(check, "whole_checksum", lambda _: signal.raise_signal(signal.SIGINT))
    try:
        code, _, said = call("verify", store.root)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (code, said.strip()) == (130, "interrupted; nothing was changed")
    said_of = {verb: cli._after_an_interrupt(verb) for verb in cli.cli.commands}
    goes_on = {verb for verb, text in said_of.items() if "goes on from there" in text}
    assert goes_on == {"extract", "extract-images", "label", "evaluate", "intervene", "run"}
    assert {verb for verb, text in said_of.items() if "what is left" in text} == {"repair", "tidy"}


def test_a_disk_that_is_too_small_is_seen_before_anything_is_written(table, tmp_path, monkeypatch):
    with pytest.raises(WriteError, match=r"would take 1e\+06 TB more"):
        check_space(tmp_path / "not" / "there", 10**18)
    nearly_full = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: nearly_full)
    before = files(tmp_path)
    words = ("extract", "tiny-scenes", table, "--store", tmp_path / "s", "--steps", 1, "--modules", FIRST)
    code, _, err = call(*words)
    assert (code, files(tmp_path)) == (2, before)
    assert "1 kB are free" in err
    monkeypatch.undo()
    code, _, err = call(*words)
    assert code == 0
    assert "8 samples to generate, " in err
    assert f"to write to {tmp_path / 's'}; " in err


def test_supplied_pictures_take_the_options_of_an_extraction(tmp_path):
    (tmp_path / "pictures").mkdir()
    for i in range(3):
        Image.fromarray(np.full((64, 64, 3), 60 * i, np.uint8)).save(tmp_path / "pictures" / f"{i}.png")
    code, _, err = call(
        "extract-images", "tiny-scenes", tmp_path / "pictures", "--store", tmp_path / "s", "--timestep", 100,
        "--modules", FIRST, "--guidance-scale", 3, "--negative-prompt", "dark", "--branch", "both", "--previews", "all",
        "--compression", "lossless",
    )  # fmt: skip
    assert code == 0, err
    made = ldmscene.open(tmp_path / "s")
    assert (made.config["guidance_scale"], made.config["branches"]) == (3.0, ["uncond", "cond"])
    assert made.previews("noisy").shape == (3, 1, 64, 64, 3)
    assert "at most" in err


def test_a_cluster_that_runs_already_takes_the_work(table, tmp_path):
    from dask.distributed import LocalCluster

    few = ("--modules", FIRST, "--steps", 1)
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp://", dashboard_address=":0"
    ) as at:
        code, out, err = call(
            "extract", "tiny-scenes", table, "--store", tmp_path / "s", *few, "--client", at.scheduler_address, "--json"
        )
        assert (code, json.loads(out)["complete"]) == (0, 8), err
        assert call("label", tmp_path / "s", "depth", "tiny-depth", "--json")[0] == 0
        code, out, err = call("evaluate", tmp_path / "s", "--cv", 2, "--client", at.scheduler_address, "--json")
        assert (code, len(json.loads(out))) == (0, 1), err


def test_verify_names_what_is_wrong_and_repair_drops_it(two, tmp_path):
    row = two.ledger.iloc[0]
    path = two.info(row.what).file(two.rows([row.sample_id])[0])
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    path.write_bytes(data)
    code, out, err = call("verify", two.root)
    assert code == 2
    assert row.sample_id in out
    assert "repair" in err
    code, out, _ = call("verify", two.root, "--json")
    assert code == 2
    said = json.loads(out)
    assert [fault["sample_id"] for fault in said["faults"]] == [row.sample_id]
    assert (said["orphans"], said["nonfinite"]) == (0, 0)
    before = files(two.root)
    code, out, err = call("repair", two.root, "--dry-run")
    assert (code, files(two.root)) == (0, before)
    assert row.sample_id in out
    assert "1 fault would be mended or dropped" in err
    code, out, _ = call("repair", two.root, "--json")
    assert code == 0
    assert [fault["sample_id"] for fault in json.loads(out)["faults"]] == [row.sample_id]
    code, out, err = call("verify", two.root, "--json")
    assert (code, json.loads(out)) == (0, {"faults": [], "orphans": 0, "nonfinite": 0})
    path.write_bytes(data)  # as a writer leaves it that is killed before its row
    code, out, err = call("verify", two.root)
    assert code == 0
    assert "1 shards belong to unfinished samples" in err
    (two.root / "activations.zarr" / "zarr.json").write_text("{")
    code, out, _ = call("verify", two.root, "--json")
    assert code == 2
    assert [fault["what"] for fault in json.loads(out)["faults"]] == ["activations.zarr/zarr.json"]


@pytest.mark.parametrize(
    "verb",
    ["", *cli.cli.commands],
)
def test_every_verb_explains_itself(verb):
    code, out, _ = call(*([verb] if verb else []), "--help")
    assert code == 0
    assert out.startswith("Usage:")
    group = cli.cli
    text = (group.commands[verb] if verb else group).help or ""
    examples = [line.strip() for line in text.replace("\\\n", "").splitlines() if line.strip().startswith("ldmscene ")]
    assert examples
    for example in examples:
        _, *words = shlex.split(example.partition(" >> ")[0])
        assert words[0] == verb or not verb
        group.commands[words[0]].make_context(words[0], words[1:])  # raises where an option or a value isn't one
        for line in example.split():
            assert line in out


def test_the_list_of_verbs_cuts_no_sentence():
    """In a terminal of 80 characters."""
    code, out, _ = call("--help")
    listed = out.partition("Commands:\n")[2].splitlines()
    assert code == 0
    assert [line.split()[0] for line in listed] == sorted(cli.cli.commands)
    assert not [line for line in listed if not line.endswith(".") or line.endswith("...")]


def test_sample_ids_in_the_help_look_like_those_of_the_demo():
    shape = r"[0-9a-f]{12}-\d+"
    assert re.fullmatch(shape, make_manifest(1, 1).frame["sample_id"][0])
    assert re.search(rf"--sample {shape}\n", cli.cli.commands["figures"].help or "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_the_shells_own(shell):
    code, out, _ = call("completion", shell)
    assert code == 0
    assert f"_LDMSCENE_COMPLETE={shell}_complete" in out
    asked = {"COMP_WORDS": "ldmscene ev", "COMP_CWORD": "1", "_LDMSCENE_COMPLETE": "bash_complete"}
    words = [Path(sys.executable).with_name("ldmscene")]
    done = subprocess.run(words, env={**os.environ, **asked}, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "plain,evaluate"
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=out, text=True, check=True)


def test_several_values_may_stand_between_commas_and_steps_in_ranges(store, tmp_path):
    asked = {
        ("--targets", "depth,mask", "--steps", "0,2"): ({"depth", "mask"}, {0, 2}),
        ("--targets", "depth", "--targets", "mask", "--steps", "1:3"): ({"depth", "mask"}, {1, 2}),
        ("--targets", "mask", "--steps", ":2", "--steps", "3"): ({"mask"}, {0, 1, 3}),
    }
    copied = bare_copy(store, tmp_path / "store").root
    for words, (targets, steps) in asked.items():
        code, out, err = call("evaluate", copied, *words, "--modules", f"{FIRST},{LAST}", "--cv", 3, "--json")
        assert code == 0, err
        rows = json.loads(out)
        assert ({row["target"] for row in rows}, {row["step"] for row in rows}) == (targets, steps)
        assert {row["module"] for row in rows} <= {FIRST, LAST}
    for words, message in (
        (("--steps", "2:0"), "expected a whole number, or a range such as 0:5, got '2:0'"),
        (("--steps", "3:"), "range such as 0:5"),
        (("--steps", "1,,2"), "range such as 0:5"),
        (("--steps", "two"), "got 'two'"),
        (("--alphas", "1,many"), "expected a number, got '1,many'"),
        (("--targets", ""), "expected a name"),
    ):
        code, _, err = call("evaluate", copied, *words)
        assert code == 2
        assert message in err


def test_the_package_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "ldmscene", "--version"], capture_output=True, text=True, check=True)
    assert version("ldmscene") in done.stdout


def test_an_empty_prompt_is_said(tmp_path):
    path = tmp_path / "manifest.csv"
    path.write_text("prompt,seed\na red cube,1\n,2\n   ,3\n")
    words = ("extract", "tiny-scenes", path, "--store", tmp_path / "s", "--modules", FIRST, "--steps", 1, "--dry-run")
    code, _, err = call(*words)
    assert code == 0
    assert "2 of 3 prompts are empty" in err


def test_names_that_a_shell_completes_are_the_librarys_own():
    assert list(PRESETS) == parameters.presets()
    assert parameters.labelers() == list(labelers.LABELERS)
    assert set(testbed.LABELERS) < set(labelers.LABELERS)
    assert {"DDIMScheduler", "LMSDiscreteScheduler"} <= set(parameters.schedulers())
    for name in parameters.schedulers():
        assert hasattr(diffusers_schedulers, name)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("run man", ["run", "manifest.csv"]),
        ("run manifest.csv --store sto", ["run", "manifest.csv", "--store", "stores/"]),
        ("info stores/de", ["info", "stores/demo/"]),
        ("info s3://bucket/de", ["info", "s3://bucket/de"]),
        ("extract tiny", ["extract", "tiny-scenes"]),
        ("extract mod", ["extract", "models/"]),
        ("label stores/demo depth tiny-d", ["label", "stores/demo", "depth", "tiny-depth"]),
        ("modules tiny-scenes --modules cro", ["modules", "tiny-scenes", "--modules", "cross-attention"]),
        ("modules tiny-scenes --modules va", ["modules", "tiny-scenes", "--modules", "vae"]),
        ("label stores/demo d l --split tr", ["label", "stores/demo", "d", "l", "--split", "train"]),
        ("report stores/demo rep", ["report", "stores/demo", "report/"]),
        ("verify stores/demo --js", ["verify", "stores/demo", "--json"]),
    ],
)
def test_a_real_bash_completes(tmp_path, typed, words):
    for folder in ("stores/demo", "models", "report"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "manifest.csv").touch()
    (tmp_path / "rc").write_text(
        f'PATH={Path(sys.executable).parent}:$PATH; cd {tmp_path}; eval "$(ldmscene completion bash)"\n'
        "ldmscene() { printf '<%s>' \"$@\"; echo; exit; }\n"  # shows what stood on the line in the end
    )
    seen = in_a_terminal(["bash", "--noprofile", "--rcfile", str(tmp_path / "rc"), "-i"], f"ldmscene {typed}\t\n")
    assert "".join(f"<{word}>" for word in words) in seen


def test_the_command_is_installed_and_quick_to_help():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "ldmscene.cli", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "0.1.0" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "ldmscene.cli" not in imported  # which runs as __main__
    assert "ldmscene" in imported
    assert "torch" not in imported


def test_the_reports_table_of_stable_diffusions_modules_comes_from_configurations_alone(tmp_path):
    """Table 1 of the report, for CompVis/stable-diffusion-v1-4; the folder holds its configurations, no weights."""
    unet = UNet2DConditionModel.load_config(_write_v1_4(tmp_path), subfolder="unet")
    assert unet["block_out_channels"] == [320, 640, 1280, 1280]
    code, out, err = call("modules", tmp_path, "--modules", "self-attention", "--json")
    assert code == 0, err
    rows = json.loads(out)
    found = [(row["block"], *row["shape"]) for row in rows]
    assert found == (
        [("encoder", 64, 64, 320)] * 2 + [("encoder", 32, 32, 640)] * 2 + [("encoder", 16, 16, 1280)] * 2
        + [("bottleneck", 8, 8, 1280)]
        + [("decoder", 16, 16, 1280)] * 3 + [("decoder", 32, 32, 640)] * 3 + [("decoder", 64, 64, 320)] * 3
    )  # fmt: skip
    assert rows[-3]["module"] == "up_blocks.3.attentions.0.transformer_blocks.0.attn1.to_out.0"
    assert rows[-3]["bytes_per_step"] == 2 * 4096 * 320


def _write_v1_4(folder):
    """The two files that matter, with the published values."""
    (folder / "unet").mkdir()
    index = {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}
    config = {
        "_class_name": "UNet2DConditionModel", "act_fn": "silu", "attention_head_dim": 8,
        "block_out_channels": [320, 640, 1280, 1280], "center_input_sample": False, "cross_attention_dim": 768,
        "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"], "downsample_padding": 1,
        "flip_sin_to_cos": True, "freq_shift": 0, "in_channels": 4, "layers_per_block": 2,
        "mid_block_scale_factor": 1, "norm_eps": 1e-05, "norm_num_groups": 32, "out_channels": 4, "sample_size": 64,
        "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    }  # fmt: skip
    (folder / "model_index.json").write_text(json.dumps(index))
    (folder / "unet" / "config.json").write_text(json.dumps(config))
    return folder


def test_effects_may_be_beyond_other_targets(store):
    words = ("evaluate", store.root, "--targets", "depth", "--modules", FIRST, "--steps", "1", "--cv", 3)
    code, out, err = call(*words, "--beyond", "position,mask")
    assert code == 0, err
    assert "beyond position and mask" in " ".join(out.split())
    code, _, err = call(*words, "--beyond", "depth")
    assert code != 0
    assert "'depth' is to be predicted, too" in err


def test_a_terminal_of_ascii_gets_question_marks_and_no_traceback(store):
    words = [sys.executable, "-m", "ldmscene", "info", str(store.root)]
    found = subprocess.run(
        words, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    )
    assert found.returncode == 0, found.stderr
    assert b"?" in found.stdout
    assert found.stdout.isascii()


def test_a_warning_is_a_line_without_our_files_and_comes_with_what_is_done_alone(store):
    words = ("evaluate", store.root, "--modules", FIRST, "--targets", "depth", "--steps", 0, "--cv", 4)
    with warnings.catch_warnings():
        warnings.simplefilter("always", ControlWarning)
        code, _, err = call(*words, "--held-out", "val")
        assert (code, err.count("\n")) == (2, 1)  # what is refused, and nothing else
        code, _, err = call(*words)
    assert code == 0
    assert re.search(r"^warning: permuted: there is no control with permuted weights", err, re.MULTILINE)
    assert "ControlWarning" not in err
    assert ".py" not in err
