"""Models of no prompt, of classes, and of pixels: what is captured is what an independent hook saw."""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd
import pytest
import torch

import ldmscene
from ldmscene import capture
from ldmscene.errors import InputError
from ldmscene.manifest import read_manifest
from tests.capture.noise_pipelines import NOISE_PIPELINES, build

GUIDED = {"ldm_text": "a blue cone", "dit": "ostrich"}
SEEDS = [5, 8]
PARTS = {"ldm_text": ("uncond", "cond"), "dit": ("cond", "uncond")}


@pytest.fixture(scope="module", params=NOISE_PIPELINES)
def pipeline(request):
    made = build(request.param)
    made.name = request.param
    return made


def _plan(pipeline, modules=("self-attention", "all-blocks"), **changes):
    guided = pipeline.name in GUIDED
    options = {"steps": 2, "guidance_scale": 3.0 if guided else 1.0, "negative_prompt": "", "dtype": "float32"}
    options |= {"height": None, "width": None, "branch": "both" if guided else "cond"}
    return capture.make_plan(pipeline, modules=list(modules), **(options | changes))


def _prompt(pipeline) -> str:
    return GUIDED.get(pipeline.name, "")


def _by_diffusers(pipeline, modules: list[str], seeds: list[int]):
    """Outputs of modules, x_t of each step, and pictures, by diffusers alone."""
    parts, outputs, seen = dict(capture.denoiser_of(pipeline)[1].named_modules()), {m: [] for m in modules}, []
    handles = [
        parts[m].register_forward_hook(lambda _m, _a, out, m=m: outputs[m].append(_tensor(out).clone()))
        for m in modules
    ]
    take_step = pipeline.scheduler.step

    @functools.wraps(take_step)
    def step(output, timestep, sample, *args, **kwargs):
        seen.append(sample[: len(seeds)].clone())
        return take_step(output, timestep, sample, *args, **kwargs)

    pipeline.scheduler.step = step
    pipeline.set_progress_bar_config(disable=True)
    told = {"batch_size": len(seeds)}
    if pipeline.name == "ldm_text":
        told = {"prompt": [GUIDED["ldm_text"]] * len(seeds), "guidance_scale": 3.0, "height": 128, "width": 128}
    if pipeline.name == "dit":
        told = {"class_labels": [9] * len(seeds), "guidance_scale": 3.0}
    try:
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        pictures = pipeline(generator=generators, num_inference_steps=2, output_type="np", **told).images
    finally:
        del pipeline.scheduler.step
        for handle in handles:
            handle.remove()
    return outputs, torch.stack(seen, 1).numpy(), (pictures * 255).round().astype(np.uint8)


def _tensor(output):
    return output if isinstance(output, torch.Tensor) else output[0]


def _as_maps(values: torch.Tensor, shape: tuple[int, ...], count: int) -> np.ndarray:
    """(part, sample, y, x, channel)."""
    if values.ndim == 4:
        values = values.permute(0, 2, 3, 1)
    return values.reshape(-1, count, *shape).numpy()


def test_every_such_pipeline_is_captured_as_it_runs(pipeline):
    plan = _plan(pipeline)
    found = capture.run(plan, [_prompt(pipeline)] * 2, SEEDS)
    outputs, latents, _ = _by_diffusers(pipeline, [m.name for m in plan.modules], SEEDS)
    np.testing.assert_array_equal([one.latents for one in found], latents)
    names = PARTS.get(pipeline.name, ("cond",))
    for module in plan.modules:
        assert module.dims == ("y", "x", "channel")
        theirs = np.stack([_as_maps(one, module.shape, 2) for one in outputs[module.name]])
        for i, one in enumerate(found):
            wanted = theirs[:, [names.index(branch) for branch in plan.branches], i]
            np.testing.assert_array_equal(one.activations[module.name], wanted, err_msg=module.name)


def test_a_picture_is_the_pipelines_own(pipeline):
    (found,) = capture.run(_plan(pipeline), [_prompt(pipeline)], SEEDS[:1])
    _, _, pictures = _by_diffusers(pipeline, [], SEEDS[:1])
    np.testing.assert_array_equal(found.image, np.broadcast_to(pictures[0], found.image.shape))


def test_supplied_pictures_are_noised_by_their_seeds(pipeline):
    size = _plan(pipeline).height
    pictures = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    seen: list[torch.Tensor] = []
    handle = capture.denoiser_of(pipeline)[1].register_forward_pre_hook(
        lambda _m, args, kwargs: seen.append((args[0] if args else kwargs["hidden_states"]).clone()), with_kwargs=True
    )
    along = capture.supplied_scheduler(pipeline.scheduler, [400, 100])
    try:
        with capture.with_scheduler(pipeline, along):
            found = capture.run(_plan(pipeline), [_prompt(pipeline)] * 2, SEEDS, pictures)
    finally:
        handle.remove()
    noise = torch.stack(
        [torch.randn(found[0].latents.shape[1:], generator=torch.Generator().manual_seed(s)) for s in SEEDS]
    )
    alphas = pipeline.scheduler.alphas_cumprod
    clean = torch.from_numpy(np.stack([one.latents[0] for one in found])) - (1 - alphas[400]) ** 0.5 * noise
    clean = clean / alphas[400] ** 0.5
    later = alphas[100] ** 0.5 * clean + (1 - alphas[100]) ** 0.5 * noise
    np.testing.assert_allclose([one.latents[1] for one in found], later, atol=2e-5)
    for call, step in zip(seen[-2:], range(2), strict=True):
        np.testing.assert_array_equal(call[:2], [one.latents[step] for one in found])
    if pipeline.name == "ddpm":
        np.testing.assert_allclose(clean, pictures.transpose(0, 3, 1, 2) / 127.5 - 1, atol=2e-5)


def _picture(name: str, seed: int) -> np.ndarray:
    alone = build(name)
    alone.name = name
    return _by_diffusers(alone, [], [seed])[2][0]


def test_a_store_of_seeds_and_one_of_classes(tmp_path):
    ddpm = build("ddpm")
    seeds = pd.DataFrame({"seed": [1, 2, 3], "split": ["train", "train", "test"]})
    store = ldmscene.extract(ddpm, seeds, tmp_path / "seeds", "self-attention", steps=2, guidance_scale=1.0)
    assert len(set(store.manifest.groups)) == 3
    assert store.images().shape == (3, 12, 12, 3)
    np.testing.assert_array_equal(store.images().values[2], _picture("ddpm", 3))
    classes = pd.DataFrame({"class": [7, 9], "seed": [1, 1]})
    store = ldmscene.extract(build("dit"), classes, tmp_path / "classes", "self-attention", steps=2, guidance_scale=3.0)
    assert store.samples["prompt"].tolist() == ["7", "9"]
    np.testing.assert_array_equal(store.images().values[1], _picture("dit", 1))
    assert not np.array_equal(*store.images().values)


@pytest.mark.parametrize(("name", "prompt"), [("ldm", ""), ("dit", "ostrich")])
def test_tokens_of_such_a_model_that_isnt_known_are_captured(name, prompt):
    made = build(name)
    made.name = name
    denoiser = capture.denoiser_of(made)[1]
    denoiser.__class__ = type("OwnDenoiser", (type(denoiser),), {})
    with pytest.warns(UserWarning, match="OwnDenoiser isn't a denoiser that ldmscene knows"):
        plan = _plan(made, ["self-attention"], guidance_scale=1.0, branch="cond")
    module, heard = plan.modules[0], []
    handle = denoiser.get_submodule(module.name).register_forward_hook(lambda _m, _a, out: heard.append(out.clone()))
    (found,) = capture.run(plan, [prompt], SEEDS[:1])
    handle.remove()
    assert module.dims == ("token", "channel")
    np.testing.assert_array_equal(found.activations[module.name][:, 0], torch.cat(heard[-2:]).numpy())


def test_what_such_models_are_not_told_is_refused():
    ddpm, dit = build("ddpm"), build("dit")
    ddpm.name, dit.name = "ddpm", "dit"
    with pytest.raises(InputError, match="DDPMPipeline takes no prompt"):
        capture.run(_plan(ddpm), ["a cube"], [1])
    with pytest.raises(InputError, match="DDPMPipeline draws 12 × 12 alone, got 24 × 12"):
        _plan(ddpm, height=24)
    with pytest.raises(InputError, match="no class of DiTPipeline, which takes numbers from 0 to 999"):
        capture.run(_plan(dit), ["emu"], [1])
    with pytest.raises(InputError, match="ask for guidance_scale=1"):
        _plan(ddpm, guidance_scale=7.5)


def test_prompts_that_are_numbers_are_refused():
    with pytest.raises(InputError, match="prompts must be text; the column holds 3"):
        read_manifest(pd.DataFrame({"prompt": [3, 4], "seed": [1, 2]}))
