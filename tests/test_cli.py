"""The command line, as a shell sees it: output, exit code, and what is left on disk."""

from __future__ import annotations

import functools
import html
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from diffusers import UNet2DConditionModel

from ldmscene import cli
from tests.conftest import FIRST, files, make_manifest


def call(*words: object) -> tuple[int, str, str]:
    """Run the command line in this process: exit code, stdout, stderr."""
    runner = CliRunner()
    with runner.isolation() as (out, err, _):
        with pytest.raises(SystemExit) as stop:
            cli.main([str(w) for w in words])
        sys.stdout.flush()
        sys.stderr.flush()
        return int(stop.value.code or 0), out.getvalue().decode(), err.getvalue().decode()


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


def test_the_whole_path_and_its_single_steps(table, tmp_path, monkeypatch):
    store, report = tmp_path / "store", tmp_path / "report"
    words = ("run", table, "--store", store, "--report", report, "--modules", FIRST, "--steps", 2, "--batch-size", 8)
    code, out, err = call(*words)
    assert code == 0, err
    for word in ("depth", "mask", "shading", "spearman", "dice", "pearson", "95 % interval"):
        assert word in out
    page = (report / "index.html").read_text()
    assert html.escape(shlex.join(["ldmscene", *map(str, _sorted_options(words))]), quote=False) in page
    with monkeypatch.context() as patch:  # a second run has no use for the denoiser
        patch.setattr(UNet2DConditionModel, "forward", only_shapes)
        code, out, _ = call(*words, "--json")
    rows = json.loads(out)
    assert code == 0
    assert {(row["target"], row["step"]) for row in rows} == {
        (t, s) for t in ("depth", "mask", "shading") for s in (0, 1)
    }
    code, out, _ = call("info", store, "--json")
    assert code == 0
    assert json.loads(out)["complete"] == 8
    assert call("verify", store)[0] == 0
    assert call("evaluate", store, "--targets", "mask", "--cv", 2)[0] == 0
    assert call("report", store, tmp_path / "again")[0] == 0


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
        (("extract", "tiny-scenes", "{table}", "--store", "{tmp}/s", "--previews", "tset"), "train, val, test"),
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
    ],
)
def test_bad_input_gets_one_sentence_and_exit_code_two(table, tmp_path, words, message):
    written = {
        "empty": "prompt,seed\n",
        "twice": "prompt,seed\na,1\na,1\n",
        "short": "prompt\na\n",
        "hostile": "prompt,seed\n\x1b[2J,1,2\n",
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
    assert files(tmp_path) == before


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


def test_an_interrupt_says_how_to_go_on(table, tmp_path, monkeypatch):
    def stop(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("ldmscene.pipeline.extract", stop)
    code, _, err = call("extract", "tiny-scenes", table)
    assert code == 130
    assert "same command goes on" in err


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
    assert [fault["sample_id"] for fault in json.loads(out)] == [row.sample_id]
    assert call("repair", two.root)[0] == 0
    assert call("verify", two.root)[0] == 0


@pytest.mark.parametrize(
    "verb",
    ["", *cli.cli.commands],
)
def test_every_verb_explains_itself(verb):
    code, out, _ = call(*([verb] if verb else []), "--help")
    assert code == 0
    assert out.startswith("Usage:")
    assert len(out.splitlines()) > 5


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_the_shells_own(shell):
    code, out, _ = call("completion", shell)
    assert code == 0
    assert f"_LDMSCENE_COMPLETE={shell}_complete" in out
    asked = {"COMP_WORDS": "ldmscene ev", "COMP_CWORD": "1", "_LDMSCENE_COMPLETE": "bash_complete"}
    words = [Path(sys.executable).with_name("ldmscene")]
    done = subprocess.run(words, env={**os.environ, **asked}, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "plain,evaluate"


def test_the_command_is_installed_and_quick_to_help():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "ldmscene.cli", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "0.1.0" in done.stdout
    assert "torch" not in done.stderr


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
