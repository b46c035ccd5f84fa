"""Captured activations against an independent capture of the same pipeline, bit for bit."""

from __future__ import annotations

import copy
import json
import shutil
import warnings
from dataclasses import replace

import diffusers
import numpy as np
import pytest
import torch

import ldmscene
from ldmscene import capture, testbed
from ldmscene.capture.clean import predict_clean
from ldmscene.capture.families import Family
from ldmscene.capture.fold import Folding
from ldmscene.capture.sinks import Arrays
from ldmscene.errors import InputError, LdmsceneError, UnknownNameError
from ldmscene.presets import PRESETS
from tests.conftest import FIRST, LAST

PROMPT, SEED, STEPS = "a large red cube on a grey floor, lit from the left", 5, 3
MID = "mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0"


def _plan(pipeline, modules=(FIRST, MID, LAST), **changes) -> capture.Plan:
    options = {"steps": STEPS, "guidance_scale": 5.0, "negative_prompt": "", "height": None, "width": None}
    options |= {"branch": "both", "dtype": "float32"}
    return capture.make_plan(pipeline, modules=list(modules), **(options | changes))


def _independent(pipeline, guidance_scale: float = 5.0, steps: int = STEPS):
    """The same run by diffusers alone, listening with forward hooks and step callbacks of our own."""
    outputs = {name: [] for name in (FIRST, MID, LAST)}
    parts = dict(pipeline.unet.named_modules())
    handles = [
        parts[name].register_forward_hook(lambda _m, _i, out, name=name: outputs[name].append(out.clone().numpy()))
        for name in outputs
    ]
    after = []

    def keep(_pipe, _index, _timestep, tensors):
        after.append(tensors["latents"].clone().numpy())
        return tensors

    pipeline.set_progress_bar_config(disable=True)
    try:
        generator = torch.Generator("cpu").manual_seed(SEED)
        image = pipeline(
            PROMPT,
            num_inference_steps=steps,
            guidance_scale=guidance_scale,
            generator=generator,
            callback_on_step_end=keep,
        ).images[0]
    finally:
        for handle in handles:
            handle.remove()
        pipeline.set_progress_bar_config(disable=False)
    return outputs, np.array(image), after


def _warm_up(tiny):
    """PNDM as it was published: Runge-Kutta steps first, four calls for each."""
    return diffusers.PNDMScheduler.from_config(tiny.scheduler.config, skip_prk_steps=False)


CALLS = {
    "LMSDiscreteScheduler": 3,
    "DDIMScheduler": 3,
    "PNDMScheduler": 4,
    "EulerDiscreteScheduler": 3,
    "EulerAncestralDiscreteScheduler": 3,
    "HeunDiscreteScheduler": 5,
    "KDPM2DiscreteScheduler": 5,
    "KDPM2AncestralDiscreteScheduler": 5,
}


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # diffusers' KDPM2 schedulers
@pytest.mark.parametrize("scheduler", [*CALLS, _warm_up])
def test_every_value_is_what_the_pipeline_computed(tiny, scheduler):
    steps = 5 if callable(scheduler) else STEPS
    with capture.with_scheduler(tiny, scheduler(tiny) if callable(scheduler) else scheduler):
        plan = _plan(tiny, steps=steps)
        (ours,) = capture.run(plan, [PROMPT], [SEED])
        outputs, image, after = _independent(tiny, steps=steps)
    assert len(plan.timesteps) == (14 if callable(scheduler) else CALLS[scheduler])
    for shape in plan.modules:
        y, x, c = shape.shape
        theirs = np.stack(outputs[shape.name]).reshape(len(plan.timesteps), 2, y, x, c)
        np.testing.assert_array_equal(ours.activations[shape.name], theirs)
    np.testing.assert_array_equal(ours.image, image)
    np.testing.assert_array_equal(ours.latents[1:], np.concatenate(after[:-1]))


def test_branches_are_recorded_and_conditional_means_with_the_prompt(tiny):
    (both,) = capture.run(_plan(tiny), [PROMPT], [SEED])
    (cond,) = capture.run(_plan(tiny, branch="cond"), [PROMPT], [SEED])
    (other,) = capture.run(_plan(tiny), ["a small blue cone"], [SEED])
    np.testing.assert_array_equal(both.activations[LAST][:, 1:], cond.activations[LAST])
    # Before the first step the two samples differ in their prompt alone.
    np.testing.assert_array_equal(both.activations[LAST][0, 0], other.activations[LAST][0, 0])
    assert np.abs(both.activations[LAST][0, 1] - other.activations[LAST][0, 1]).max() > 1e-3


def test_without_guidance_there_is_one_branch(tiny):
    plan = _plan(tiny, guidance_scale=1.0, branch="cond")
    (ours,) = capture.run(plan, [PROMPT], [SEED])
    outputs, image, _ = _independent(tiny, guidance_scale=1.0)
    np.testing.assert_array_equal(ours.activations[LAST][:, 0].reshape(STEPS, 1, 256, -1), np.stack(outputs[LAST]))
    np.testing.assert_array_equal(ours.image, image)
    with pytest.raises(InputError, match="no unconditional branch"):
        _plan(tiny, guidance_scale=1.0, branch="uncond")


@pytest.mark.parametrize("batch", [[0, 1, 2], [2, 0, 1]])
def test_noise_belongs_to_the_seed_and_not_to_the_place_in_a_batch(tiny, batch):
    prompts, seeds = [PROMPT, "a small blue cone", "a green sphere"], [SEED, 6, 7]
    plan = _plan(tiny)
    alone = [capture.run(plan, [p], [s])[0] for p, s in zip(prompts, seeds, strict=True)]
    together = capture.run(plan, [prompts[i] for i in batch], [seeds[i] for i in batch])
    for i, found in zip(batch, together, strict=True):
        np.testing.assert_array_equal(found.latents[0], alone[i].latents[0])
        # Convolutions of another batch size add in another order: float32's own rounding, over three steps.
        np.testing.assert_allclose(found.activations[LAST], alone[i].activations[LAST], atol=2e-4)


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # diffusers' KDPM2 schedulers
@pytest.mark.parametrize(
    "scheduler",
    [
        "LMSDiscreteScheduler",
        "DDIMScheduler",
        "EulerDiscreteScheduler",
        "HeunDiscreteScheduler",
        "KDPM2DiscreteScheduler",
        "KDPM2AncestralDiscreteScheduler",
        "EDMEulerScheduler",
    ],
)
def test_the_predicted_clean_image_is_the_schedulers_own(tiny, scheduler, monkeypatch):
    kept = []
    real = getattr(diffusers, scheduler)
    step = real.step

    def spy(self, *args, **kwargs):
        kept.append(step(self, *args, **kwargs | {"return_dict": True}))
        return (kept[-1].prev_sample,)

    monkeypatch.setattr(real, "step", spy)
    with capture.with_scheduler(tiny, real.from_config(tiny.scheduler.config)):
        (ours,) = capture.run(_plan(tiny), [PROMPT], [SEED])
    theirs = np.stack([out.pred_original_sample[0].numpy() for out in kept])
    np.testing.assert_allclose(ours.predicted, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize(
    "name", ["DDIMScheduler", "LMSDiscreteScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler"]
)
def test_predicting_the_clean_image_inverts_adding_noise(name, kind):
    scheduler = getattr(diffusers, name)(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type=kind
    )
    scheduler.set_timesteps(15)
    timestep = scheduler.timesteps[4]
    clean, noise = torch.randn(2, 2, 4, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noisy = scheduler.add_noise(clean, noise, timestep[None])
    # Timesteps may fall between the training ones, where schedulers with sigmas interpolate those.
    alpha = (
        1 / (1 + scheduler.sigmas[4].double() ** 2)
        if hasattr(scheduler, "sigmas")
        else scheduler.alphas_cumprod[timestep].double()
    )
    output = {
        "epsilon": noise,
        "sample": clean,
        "v_prediction": alpha.sqrt() * noise - (1 - alpha).sqrt() * clean,
    }[kind]
    found = predict_clean(scheduler, output, timestep, noisy)
    # Schedulers with sigmas round the timestep's noise level to float32.
    torch.testing.assert_close(found, clean, rtol=1e-3, atol=1e-3)


def test_the_pipeline_comes_back_as_it_was(tiny):
    scheduler, step = tiny.scheduler, tiny.scheduler.step
    hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in tiny.unet.modules())
    with capture.with_scheduler(tiny, "DDIM"):
        capture.run(_plan(tiny), [PROMPT], [SEED])
    plan = _plan(tiny)
    failing = tiny.unet.register_forward_hook(_stop)
    with pytest.raises(RuntimeError, match="stop"):
        capture.run(plan, [PROMPT], [SEED])
    failing.remove()
    assert tiny.scheduler is scheduler
    assert tiny.scheduler.step == step
    assert sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in tiny.unet.modules()) == hooks


def _stop(*_):
    raise RuntimeError("stop")


def test_a_users_own_step_is_taken_and_given_back(tiny):
    with capture.with_scheduler(tiny, None):
        plan, taken, own = _plan(tiny), [], tiny.scheduler.step

        def counted(*args, **kwargs):
            taken.append(1)
            return own(*args, **kwargs)

        tiny.scheduler.step = counted
        capture.run(plan, [PROMPT], [SEED])
        assert tiny.scheduler.step is counted
    assert len(taken) == STEPS


def test_a_check_that_fails_stops_the_run_at_its_step(tiny):
    plan, checks, calls = _plan(tiny), [], []

    def check(recorded):
        checks.append(recorded)
        if len(checks) == 2:
            raise OSError("the disk is gone")

    handle = tiny.unet.register_forward_hook(lambda *_: calls.append(1))
    try:
        with pytest.raises(OSError, match="the disk is gone"):
            capture.run(plan, [PROMPT], [SEED], on_step=check)
    finally:
        handle.remove()
    assert len(calls) == 2 < STEPS


def test_guidance_that_cannot_be_told_apart_is_refused(tiny):
    plan = _plan(tiny)
    lying = capture.Plan(**{**vars(plan), "guidance_scale": 3.0})
    recorder = capture.trajectory.recording

    def other_scale(plan, *args, **kwargs):
        return recorder(replace(plan, guidance_scale=9.0), *args, **kwargs)

    capture.trajectory.recording = other_scale
    try:
        with pytest.raises(LdmsceneError, match="can't be told apart"):
            capture.run(lying, [PROMPT], [SEED])
    finally:
        capture.trajectory.recording = recorder


def test_presets_globs_and_names(tiny):
    sixteen = capture.find_modules(tiny.unet, "self-attention")
    assert len(sixteen) == 16
    assert sixteen[0] == FIRST
    assert sixteen[6] == MID
    assert sixteen[-1] == LAST
    assert capture.find_modules(tiny.unet, "up_blocks.3.*attn1.to_out.0") == sixteen[-3:]
    assert capture.find_modules(tiny.unet, [MID, FIRST]) == [FIRST, MID]
    inside = {name.removeprefix(MID.rpartition(".to_out")[0]) for name in capture.find_modules(tiny.unet, "mid*attn1*")}
    assert inside == {"", ".to_q", ".to_k", ".to_v", ".to_out.0", ".to_out.1"}  # without the list that is `.to_out`
    assert len(capture.find_modules(tiny.unet, "resnet")) == 22
    assert len(capture.find_modules(tiny.unet, "all-blocks")) == 9
    with pytest.raises(UnknownNameError, match=FIRST):
        capture.find_modules(tiny.unet, FIRST.replace("to_out", "to_oot"))
    with pytest.raises(InputError, match="no modules"):
        capture.find_modules(tiny.unet, [])


@pytest.mark.parametrize("preset", [*PRESETS, "*.attn2.to_k"])
def test_shapes_foretold_are_shapes_captured(tiny, preset):
    plan = _plan(tiny, [preset], steps=1)
    (found,) = capture.run(plan, [PROMPT], [SEED])
    for module in plan.modules:
        assert found.activations[module.name].shape == (1, 2, *module.shape), module
    spatial = preset != "*.attn2.to_k"
    assert all((module.dims[0] == "y") == spatial for module in plan.modules)


def test_folding_keeps_rows_before_columns():
    maps = torch.arange(2 * 3 * 4 * 6).reshape(2, 3, 4, 6)
    tokens = maps.flatten(2).transpose(1, 2)
    for output in (maps, tokens):
        folded, dims = Folding(Family("any", (1, 2)), (4, 6))("block", output)
        assert dims == ("y", "x", "channel")
        torch.testing.assert_close(folded, maps.permute(0, 2, 3, 1))


def test_permuting_weights_keeps_each_tensors_values_and_changes_their_order(tiny):
    control = capture.permute_weights(tiny)
    assert control.vae is tiny.vae
    assert control.unet is not tiny.unet
    changed = 0
    for own, other in zip(tiny.unet.parameters(), control.unet.parameters(), strict=True):
        torch.testing.assert_close(own.flatten().sort().values, other.flatten().sort().values, rtol=0, atol=0)
        if own.numel() > 16 and own.unique().numel() > 1:
            assert not torch.equal(own, other)
            changed += 1
    assert changed > 200


def test_bad_arguments_name_what_would_do(tiny):
    for changes, message in (
        ({"branch": "conditional"}, "cond, uncond, both"),
        ({"dtype": "int8"}, "float16, float32"),
        ({"steps": 0}, "at least 1"),
        ({"height": 36}, "multiples of 8"),
        ({"guidance_scale": float("inf")}, "finite"),
    ):
        with pytest.raises(InputError, match=message):
            _plan(tiny, **changes)
    with pytest.raises(UnknownNameError, match="DDIM"), capture.with_scheduler(tiny, "DDIMM"):
        pass


def test_models_that_cannot_be_loaded_are_refused_in_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"no model_index\.json"):
        capture.load_pipeline(tmp_path)
    with pytest.raises(InputError) as caught:
        capture.load_pipeline("nobody/nothing")
    assert str(caught.value) == (
        "'nobody/nothing' is no local folder, it isn't in the hub's cache, and the hub can't be reached "
        "(HF_HUB_OFFLINE is set); get it with network by `hf download nobody/nothing`, or name a local folder"
    )


def test_an_output_is_kept_as_it_was_before_anything_changed_it_in_place(tiny):
    plan = _plan(tiny)
    (before,) = capture.run(plan, [PROMPT], [SEED])
    part = dict(tiny.unet.named_modules())[FIRST]
    sink = Arrays.empty(plan.modules, 1, STEPS, plan.branches, plan.dtype)
    with capture.watching(plan, sink=sink):
        wiping = part.register_forward_hook(_wipe)  # runs after ours
        try:
            with torch.no_grad():
                tiny(**plan.arguments([PROMPT], [SEED]))
        finally:
            wiping.remove()
    np.testing.assert_array_equal(sink.found[FIRST][0][0], before.activations[FIRST][0])


def _wipe(_module, _args, output):
    output.zero_()


@pytest.mark.parametrize("how", ["wrapped", "in place"])
def test_a_compiled_denoiser_is_captured_uncompiled_and_stays_compiled(tiny, how):
    (plain,) = capture.run(_plan(tiny), [PROMPT], [SEED])
    pipeline = copy.copy(tiny)
    denoiser = copy.deepcopy(tiny.unet)
    if how == "wrapped":
        pipeline.register_modules(unet=torch.compile(denoiser, backend="eager"))
    else:
        denoiser.compile(backend="eager")
        pipeline.register_modules(unet=denoiser)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        (ours,) = capture.run(_plan(pipeline), [PROMPT], [SEED])
    assert any("runs uncompiled" in str(warning.message) for warning in seen)
    np.testing.assert_array_equal(ours.activations[LAST], plain.activations[LAST])
    assert pipeline.unet._compiled_call_impl is not None or hasattr(pipeline.unet, "_orig_mod")
    assert capture.identity(pipeline) == capture.identity(tiny)


def test_a_pipeline_with_model_offload_is_captured_all_the_same(tiny):
    plan = _plan(tiny)
    (plain,) = capture.run(plan, [PROMPT], [SEED])
    offloaded = capture.load_pipeline(testbed.MODELS["tiny-scenes"], "cpu")
    offloaded.enable_model_cpu_offload(device="cpu")
    (ours,) = capture.run(_plan(offloaded), [PROMPT], [SEED])
    for module in (FIRST, LAST):
        np.testing.assert_array_equal(ours.activations[module], plain.activations[module])
    np.testing.assert_array_equal(ours.image, plain.image)
    assert capture.identity(offloaded) == capture.identity(tiny)
    offloaded.enable_sequential_cpu_offload(device="cpu")
    with pytest.raises(InputError, match="use enable_model_cpu_offload"):
        capture.identity(offloaded)


def _pickled(folder):
    """Weights as .bin files only."""
    for path in folder.rglob("*.safetensors"):
        path.rename(path.with_suffix(".bin"))


def _of_its_own_code(folder):
    _edit(folder, lambda index: index | {"_class_name": ["pipeline", "Mine"]})
    (folder / "pipeline.py").write_text("raise SystemError('this was run')")


def _without_denoiser(folder):
    _edit(folder, lambda index: index | {"unet": [None, None]})


def _truncated(folder):
    path = next((folder / "unet").glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:1000])


def _edit(folder, change):
    path = folder / "model_index.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_pickled, "aren't safetensors.*pickles and can run code"),
        (_of_its_own_code, "needs code of its own, and ldmscene runs none"),
        (_without_denoiser, "has no denoiser"),
        (_truncated, "no pipeline could be loaded"),
    ],
)
def test_a_folder_that_is_no_usable_pipeline_is_refused_in_one_sentence(tmp_path, damage, message):
    shutil.copytree(testbed.MODELS["tiny-scenes"], tmp_path / "model")
    damage(tmp_path / "model")
    with pytest.raises(InputError, match=message) as caught:
        ldmscene.extract(tmp_path / "model", [(PROMPT, SEED)], tmp_path / "store")
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "store").exists()


def test_a_pipeline_without_pictures_or_that_begins_with_one_is_refused(tiny):
    blind = diffusers.DDPMPipeline(diffusers.UNet2DModel(16, in_channels=4), diffusers.DDPMScheduler())
    with pytest.raises(InputError, match="has no autoencoder"):
        capture.load_pipeline(blind)
    from_picture = diffusers.StableDiffusionImg2ImgPipeline(**tiny.components, requires_safety_checker=False)
    with pytest.raises(InputError, match="needs image beside a prompt"):
        _plan(from_picture)
