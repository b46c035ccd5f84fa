"""How a pipeline is found, loaded and varied: folders of every kind, and names on the hub without a network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler, KandinskyV22Pipeline, KandinskyV22PriorPipeline
from safetensors.torch import load_file

import ldmscene
from ldmscene import capture, testbed
from ldmscene.errors import InputError
from ldmscene.labelers import find
from tests.capture.pipelines import build
from tests.test_cli import call

TINY = testbed.MODELS["tiny-scenes"]
KANDINSKY = "ignore:`callback_steps` is deprecated:FutureWarning"


@pytest.fixture
def folder(tmp_path):
    """A copy of the embedded pipeline that a test may change."""
    return shutil.copytree(TINY, tmp_path / "model")


def _edit(folder, **changes) -> None:
    path = folder / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_folder_of_one_variant_is_loaded(folder, tiny):
    for path in folder.rglob("*.safetensors"):
        path.rename(path.with_name(f"{path.stem}.fp16.safetensors"))
    assert capture.identity(capture.load_pipeline(folder, "cpu")) == capture.identity(tiny)
    unet = next((folder / "unet").glob("*.safetensors"))
    shutil.copy(unet, unet.with_name("diffusion_pytorch_model.ema.safetensors"))
    with pytest.raises(InputError, match="aren't safetensors"):  # which of the two isn't for us to choose
        capture.load_pipeline(folder, "cpu")
    assert capture.identity(capture.load_pipeline(folder, "cpu", variant="fp16")) == capture.identity(tiny)


def test_a_safety_checker_is_not_loaded(folder, tiny):
    (folder / "safety_checker").mkdir()
    (folder / "safety_checker/pytorch_model.bin").write_bytes(b"a pickle")
    _edit(folder, safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"], requires_safety_checker=True)
    loaded = capture.load_pipeline(folder, "cpu")
    assert loaded.safety_checker is None
    assert capture.identity(loaded) == capture.identity(tiny)


def test_a_model_runs_in_the_precision_that_is_asked_for(folder):
    loaded = capture.load_pipeline(folder, "cpu", compute_dtype="bfloat16")
    assert {loaded.unet.dtype, loaded.vae.dtype, loaded.text_encoder.dtype} == {torch.bfloat16}
    assert capture.identity(loaded)["compute_dtype"] == "bfloat16"
    with pytest.raises(InputError, match="float32, bfloat16, float16; got 'int8'"):
        capture.load_pipeline(folder, "cpu", compute_dtype="int8")
    with pytest.raises(InputError, match="this one is loaded"):
        capture.load_pipeline(loaded, compute_dtype="float32")


def test_a_pipelines_own_settings_are_part_of_its_identity():
    first, second = build("stable_diffusion_xl"), build("stable_diffusion_xl")
    assert capture.identity(first) == capture.identity(second)
    second.register_to_config(force_zeros_for_empty_prompt=False)  # another unconditional branch
    config = capture.identity(first)["pipeline_config"]
    assert config == {"force_zeros_for_empty_prompt": True}
    assert capture.identity(second)["pipeline_config"] == {"force_zeros_for_empty_prompt": False}


@pytest.mark.filterwarnings(KANDINSKY)
def test_the_pipe_inside_that_denoises_gets_the_scheduler_and_the_permuted_weights():
    pipeline = build("kandinsky_2")
    own = pipeline.scheduler
    other = EulerDiscreteScheduler()
    with capture.with_scheduler(pipeline, other):
        assert pipeline.scheduler is pipeline.decoder_pipe.scheduler is other
        assert pipeline.prior_pipe.scheduler is pipeline.prior_scheduler is not other
    assert pipeline.scheduler is pipeline.decoder_pipe.scheduler is own
    control = capture.permute_weights(pipeline)
    assert control.decoder_pipe.unet is control.unet is not pipeline.unet
    assert pipeline.decoder_pipe.unet is pipeline.unet
    asked = {"steps": 1, "guidance_scale": 4.0, "negative_prompt": "", "height": 32, "width": 48, "branch": "cond"}
    runs = [
        capture.run(capture.make_plan(one, modules="mid_block", dtype="float32", **asked), ["a cone"], [1])[0]
        for one in (pipeline, control)
    ]
    assert not np.array_equal(runs[0].activations["mid_block"], runs[1].activations["mid_block"])


def test_kandinskys_decoder_is_loaded_with_the_prior_that_its_card_names(tmp_path):
    whole = build("kandinsky_2")
    parts = whole.components
    KandinskyV22PriorPipeline(
        **{name.removeprefix("prior_"): part for name, part in parts.items() if name.startswith("prior_")}
    ).save_pretrained(tmp_path / "prior")
    KandinskyV22Pipeline(**{name: parts[name] for name in ("unet", "scheduler", "movq")}).save_pretrained(
        tmp_path / "decoder"
    )
    (tmp_path / "decoder/README.md").write_text(f"---\nprior:\n- {tmp_path / 'prior'}\n---\n")
    assert capture.identity(capture.load_pipeline(tmp_path / "decoder", "cpu")) == capture.identity(whole)


def test_names_that_lead_nowhere_say_where_to_go(tmp_path):
    weights = next((TINY / "unet").glob("*.safetensors"))
    assert load_file(weights)
    for name, message in (
        (str(weights), "is a single file.*pass the result, or save that as a folder"),
        ("./no/such/folder", "is no local folder, and can't be a hub id"),
        ("nobody/nothing", "isn't in the hub's cache.*`hf download nobody/nothing`, or name a local folder"),
    ):
        for load in (capture.load_pipeline, capture.load_outline, lambda one: find(f"depth:{one}")):
            with pytest.raises(InputError, match=message) as caught:
                load(name)
            assert len(str(caught.value).splitlines()) == 1
    (tmp_path / "stable-cascade").mkdir()
    _index = {"_class_name": "StableCascadeCombinedPipeline", "decoder": ["stable_cascade", "StableCascadeUNet"]}
    (tmp_path / "stable-cascade/model_index.json").write_text(json.dumps(_index))
    with pytest.raises(InputError, match="as unet or transformer, and not as prior and decoder"):
        capture.load_pipeline(tmp_path / "stable-cascade")


CACHED = """
import ldmscene
from ldmscene import capture
assert len(ldmscene.list_modules("me/tiny", "self-attention")) == 16
loaded = capture.load_pipeline("me/tiny", "cpu")
print(capture.identity(loaded)["components"]["unet"]["weights"])
"""


def test_a_hub_id_is_loaded_from_the_hubs_cache(tmp_path, tiny):
    hub = tmp_path / "hub/models--me--tiny"
    shutil.copytree(TINY, hub / "snapshots/abc")
    (hub / "refs").mkdir()
    (hub / "refs/main").write_text("abc")
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", CACHED], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == capture.identity(tiny)["components"]["unet"]["weights"]


def test_what_cannot_be_loaded_ends_the_commands_with_one_line(folder, tmp_path):
    manifest = tmp_path / "m.csv"
    manifest.write_text("prompt,seed\na red cube,1\n")
    pickled, remote, headless = (shutil.copytree(folder, tmp_path / name) for name in ("pickled", "remote", "headless"))
    for path in pickled.rglob("*.safetensors"):
        path.rename(path.with_suffix(".bin"))
    _edit(remote, _class_name=["pipeline", "Mine"])
    (remote / "pipeline.py").write_text("raise SystemError('this was run')")
    _edit(headless, unet=[None, None])
    for model, message in (
        (pickled, "are pickles and can run code"),
        (remote, "needs code of its own"),
        (headless, "has no denoiser"),
        ("nobody/nothing", "`hf download nobody/nothing`"),
    ):
        code, out, err = call("extract", model, manifest, "--store", tmp_path / "store")
        assert (code, out) == (2, "")
        assert message in err
        assert err.startswith("error: ")
        assert len(err.strip().splitlines()) == 1
        assert not (tmp_path / "store").exists()
    code, _, err = call("modules", "nobody/nothing")
    assert (code, len(err.strip().splitlines())) == (2, 1)


def test_what_is_no_pipeline_is_told_before_anything_is_looked_for(tiny):
    for wrong, name in ((tiny.unet, "UNet2DConditionModel"), (None, "NoneType"), (3, "int")):
        with pytest.raises(InputError, match=f"expected a name, a folder or a whole pipeline, got {name}"):
            ldmscene.extract(wrong, [("a cube", 1)], steps=1)


def test_an_unknown_name_is_told_without_quotes_around_the_sentence(tiny):
    with pytest.raises(InputError) as told:
        capture.find_modules(tiny.unet, "mid_blok")
    assert str(told.value).startswith("no module or preset named 'mid_blok'; nearest: mid_block")
