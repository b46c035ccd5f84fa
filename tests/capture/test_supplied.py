"""Supplied pictures: the denoiser sees x_t as its definition says, in every kind of pipeline."""

from __future__ import annotations

import diffusers
import numpy as np
import pytest
import torch

from ldmscene import capture
from ldmscene.capture.pictures import encode
from ldmscene.errors import InputError
from tests.capture.pipelines import build
from tests.conftest import LAST

TIMESTEPS, SEEDS, PROMPTS = (100, 600, 250), [3, 8], ["a large red cube", "a small blue cone"]


def _pictures(height: int = 64, width: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, height, width, 3), np.uint8)


def _run(pipeline, modules, given, **changes) -> tuple[capture.Plan, list[capture.Trajectory]]:
    options = {"guidance_scale": 1.0, "negative_prompt": "", "branch": "cond", "dtype": "float32"}
    with capture.with_scheduler(pipeline, capture.supplied_scheduler(pipeline.scheduler, TIMESTEPS)):
        plan = capture.make_plan(
            pipeline, modules=modules, steps=len(TIMESTEPS), height=given.shape[1], width=given.shape[2],
            **(options | changes),
        )  # fmt: skip
        return plan, capture.run(plan, PROMPTS, SEEDS, given)


def _noise(shape) -> torch.Tensor:
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in SEEDS])


def test_each_activation_is_that_of_one_denoiser_call_at_the_noised_image(tiny):
    given = _pictures()
    plan, ours = _run(tiny, [LAST], given)
    assert plan.timesteps == TIMESTEPS
    tokens = tiny.tokenizer(PROMPTS, padding="max_length", return_tensors="pt").input_ids
    kept: list[torch.Tensor] = []
    handle = dict(tiny.unet.named_modules())[LAST].register_forward_hook(lambda _m, _i, out: kept.append(out.clone()))
    pixels = torch.from_numpy(given).permute(0, 3, 1, 2) / 127.5 - 1
    adding = diffusers.DDIMScheduler.from_config(tiny.scheduler.config)
    with torch.no_grad():
        text = tiny.text_encoder(tokens)[0]
        clean = tiny.vae.encode(pixels).latent_dist.mode() * tiny.vae.config.scaling_factor
        noisy = [adding.add_noise(clean, _noise(clean.shape[1:]), torch.tensor([t, t])) for t in TIMESTEPS]
        try:
            for x_t, t in zip(noisy, TIMESTEPS, strict=True):
                tiny.unet(x_t, t, text)
        finally:
            handle.remove()
    for i, found in enumerate(ours):
        np.testing.assert_array_equal(found.image, given[i])
        np.testing.assert_array_equal(found.latents, torch.stack([x_t[i] for x_t in noisy]).numpy())
        theirs = torch.stack([out[i] for out in kept]).reshape(found.activations[LAST][:, 0].shape)
        np.testing.assert_array_equal(found.activations[LAST][:, 0], theirs.numpy())


@pytest.mark.parametrize(
    "name",
    [
        "stable_diffusion_3",
        "flux",
        "aura_flow",
        "sana",
        "stable_diffusion_xl",
        "cogview_3",
        "flux_2",
        "qwen_image",
        "lumina_2",
    ],
)
def test_every_kind_of_pipeline_is_led_along_the_image(name):
    pipeline = build(name)
    given = _pictures(64, 64)
    plan, ours = _run(pipeline, "self-attention", given)
    clean = encode(pipeline, given)
    noise = _noise(clean.shape[1:])
    for k, t in enumerate(TIMESTEPS):
        if hasattr(pipeline.scheduler, "alphas_cumprod"):
            alpha = pipeline.scheduler.alphas_cumprod[t]
            x_t = alpha.sqrt() * clean + (1 - alpha).sqrt() * noise
        else:
            x_t = (1 - t / 1000) * clean + t / 1000 * noise
        np.testing.assert_array_equal(np.stack([found.latents[k] for found in ours]), x_t.numpy())
    assert all(np.isfinite(found.activations[m.name]).all() for found in ours for m in plan.modules)


def test_a_perfect_denoisers_prediction_is_the_image(tiny):
    """With the true noise as its output, x_0 comes back."""
    scheduler = capture.supplied_scheduler(tiny.scheduler, TIMESTEPS)
    scheduler.set_timesteps()
    clean, noise = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    x_t = scheduler.follow(clean, noise)
    for t in scheduler.timesteps:
        alpha = scheduler.alphas_cumprod[t]
        velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * clean
        torch.testing.assert_close(
            capture.clean.predict_clean(scheduler, velocity, t, x_t), clean, rtol=1e-4, atol=1e-4
        )
        x_t = scheduler.step(velocity, t, x_t)[0]


class Elsewhere(torch.Tensor):
    """A tensor as on a GPU, where one number can't be multiplied with tensors of the CPU."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if any(type(one) is torch.Tensor for one in args):
            raise RuntimeError("Expected all tensors to be on the same device, but found at least two devices")
        result = super().__torch_function__(function, types, args, kwargs or {})
        return result.as_subclass(torch.Tensor) if function is torch.Tensor.cpu else result


def test_a_scheduler_that_noised_on_another_device_leads_along_pictures(tiny):
    own = type(tiny.scheduler).from_config(tiny.scheduler.config)
    first = capture.supplied_scheduler(own, TIMESTEPS)
    own.alphas_cumprod = own.alphas_cumprod.as_subclass(Elsewhere)  # as `add_noise` leaves them
    moved = capture.supplied_scheduler(own, TIMESTEPS)
    clean, noise = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    assert torch.equal(moved.follow(clean, noise), first.follow(clean, noise))


def test_encoding_undoes_decoding_up_to_the_autoencoders_loss(tiny):
    plan = capture.make_plan(
        tiny, modules=[LAST], steps=4, guidance_scale=5.0, negative_prompt="", height=None, width=None,
        branch="cond", dtype="float32",
    )  # fmt: skip
    (sample,) = capture.run(plan, [PROMPTS[0]], [5])
    again = capture.decode(tiny, encode(tiny, sample.image[None]))
    assert np.abs(again[0].astype(int) - sample.image).mean() < 8


def test_a_consistency_model_of_trigflow_is_refused():
    with pytest.raises(InputError, match="can't be led along supplied pictures"):
        capture.supplied_scheduler(build("sana_sprint").scheduler, [300])


@pytest.mark.parametrize("timesteps", [(), (-1,), (1000,), (0.5,), (float("nan"),)])
def test_timesteps_that_the_model_never_saw_are_refused(tiny, timesteps):
    with pytest.raises(InputError, match="whole numbers from 0 to 999"):
        capture.supplied_scheduler(tiny.scheduler, timesteps)


def test_a_scheduler_that_hides_its_noise_is_refused():
    with pytest.raises(InputError, match="EDMEulerScheduler doesn't say"):
        capture.supplied_scheduler(diffusers.EDMEulerScheduler(), [1])
