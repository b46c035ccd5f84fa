"""A changed model is found by what it answers, whatever changed it."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from accelerate.hooks import ModelHook, add_hook_to_module, remove_hook_from_module
from hypothesis import given, settings
from hypothesis import strategies as st

from ldmscene import capture
from ldmscene.capture.canary import (
    BUCKETS,
    PICTURE,
    _changed,
    canary,
    difference,
    first_difference,
    sketch,
    tolerance,
    turned_on,
)
from tests.capture.pipelines import build

OPTIONS = {"guidance_scale": 7.5, "negative_prompt": "", "height": None, "width": None, "branch": "cond"}


def plan_of(pipeline, steps: int = 15, **options) -> capture.Plan:
    options = {**OPTIONS, "modules": "self-attention", "dtype": "float16", **options}
    return capture.make_plan(pipeline, steps=steps, **options)


@pytest.fixture
def pipeline(tiny):
    """A copy that a test may change."""
    return capture.load_pipeline(tiny.__class__(**{**copy.deepcopy(tiny.components)}), None)


@pytest.fixture(scope="module")
def before(tiny):
    return canary(plan_of(tiny))


@settings(deadline=None, max_examples=30)
@given(st.integers(100, 5000), st.floats(1e-6, 1.0), st.integers(0, 10**6))
def test_sketches_differ_as_what_they_are_of(size, share, seed):
    draw = np.random.default_rng(seed)
    one, change = (torch.from_numpy(draw.standard_normal(size)) for _ in range(2))
    change *= share * one.norm() / change.norm()
    found = difference(sketch(one), sketch(one + change))
    assert share / 3 < found < 3 * share


def test_sketches_of_another_length_differ():
    assert difference([1.0], [1.0] * BUCKETS) == difference([], [1.0] * BUCKETS) == np.inf


def test_the_same_model_answers_the_same_and_is_given_back(pipeline, before):
    plan = plan_of(pipeline)
    scheduler, state = pipeline.scheduler, {name: id(value) for name, value in vars(pipeline.scheduler).items()}
    assert canary(plan) == before
    assert pipeline.scheduler is scheduler
    assert {name: id(value) for name, value in vars(scheduler).items()} == state
    assert turned_on(pipeline) == []
    names = list(before)
    assert names[0].startswith("text_encoder, ")
    assert names[-1] == PICTURE
    assert sum(name.startswith("unet, ") for name in names) == 3


def _hook(pipeline):
    pipeline.unet.mid_block.register_forward_hook(lambda _module, _args, output: output * 1.05)


def _forward(pipeline):
    part = pipeline.unet.up_blocks[3].resnets[0]
    forward = part.forward
    part.forward = lambda *args, **kwargs: forward(*args, **kwargs) * 1.02


def _weights(pipeline):
    with torch.no_grad():
        pipeline.unet.conv_out.bias += 0.01


def _tiling(pipeline):
    pipeline.vae.enable_tiling()
    pipeline.vae.tile_sample_min_size, pipeline.vae.tile_latent_min_size = 32, 8


def _decoder(pipeline):
    pipeline.vae.decoder.conv_in.register_forward_pre_hook(lambda _module, args: (args[0] + 0.05,))


def _text(pipeline):
    pipeline.text_encoder.register_forward_hook(
        lambda _module, _args, output: output.__class__(last_hidden_state=output[0] * 1.01)
    )


def _skipping(pipeline):
    """As caches of whole blocks do it: every second call answers as the one before."""
    part, last = pipeline.unet.mid_block, []
    forward = part.forward

    def skipping(*args, **kwargs):
        if len(last) % 2 == 0:
            last.append(forward(*args, **kwargs))
        else:
            last.append(last[-1])
        return last[-1]

    part.forward = skipping


def _deep_cache(pipeline):
    helper = pytest.importorskip("DeepCache").DeepCacheSDHelper(pipe=pipeline)
    helper.set_params(cache_interval=3, cache_branch_id=0)
    helper.enable()


def _merged_tokens(pipeline):
    pytest.importorskip("tomesd").apply_patch(pipeline, ratio=0.5)


@pytest.mark.parametrize(
    ("change", "first", "told"),
    [
        (_hook, "mid_block", "a forward hook of unet.mid_block"),
        (_forward, "up_blocks.3", "a replaced forward of unet.up_blocks.3.resnets.0"),
        (_weights, "unet, step 0", None),
        (_tiling, PICTURE, "vae.use_tiling"),
        (_decoder, PICTURE, "a forward hook of vae.decoder.conv_in"),
        (_text, "text_encoder", "a forward hook of text_encoder"),
        (_skipping, "mid_block, step 1", "a replaced forward of unet.mid_block"),
        (_deep_cache, "down_blocks.0, step 1", "a replaced forward of unet"),
        (_merged_tokens, "down_blocks.0", "a forward hook of unet"),
    ],
)
def test_what_changes_a_model_is_found_at_the_first_part_that_differs(pipeline, before, change, first, told):
    change(pipeline)
    found = first_difference(before, canary(plan_of(pipeline)), tolerance("float32", same_device=True))
    assert found is not None
    assert found.startswith(first)
    assert told is None or told in turned_on(pipeline)


def test_autocast_around_the_call_is_found(pipeline, before):
    with torch.autocast("cpu", torch.bfloat16):
        found, told = first_difference(before, canary(plan_of(pipeline)), 1e-5), turned_on(pipeline)
    assert found
    assert told == ["autocast to torch.bfloat16 on cpu"]


@pytest.mark.parametrize(
    "name", ["stable_diffusion_xl", "stable_diffusion_3", "flux", "pixart_sigma", "kandinsky_2", "lumina_2"]
)
def test_every_family_answers_the_same_twice(name):
    pipeline = build(name)
    plan = plan_of(pipeline, steps=6, height=32, width=32) if name != "kandinsky_2" else plan_of(pipeline, steps=6)
    first, again = canary(plan), canary(plan)
    assert first_difference(first, again, tolerance("float32", same_device=True)) is None
    assert list(first)[-1] == PICTURE
    assert len(first) > 4


def test_a_block_cache_of_diffusers_is_found():
    from diffusers import FirstBlockCacheConfig, PyramidAttentionBroadcastConfig

    for config in (
        FirstBlockCacheConfig(threshold=0.9),
        PyramidAttentionBroadcastConfig(
            spatial_attention_block_skip_range=2,
            spatial_attention_timestep_skip_range=(0, 1000),
            current_timestep_callback=lambda: 500,
            spatial_attention_block_identifiers=("blocks",),
        ),
    ):
        pipeline = build("flux")
        plan = plan_of(pipeline, modules="all-blocks", height=32, width=32)
        before = canary(plan)
        pipeline.transformer.enable_cache(config)
        found = first_difference(before, canary(plan), tolerance("float32", same_device=True))
        assert found is not None, config
        assert any("diffusers' hooks" in one for one in turned_on(pipeline))


def test_a_solver_of_stochastic_equations_answers_otherwise_twice(pipeline):
    with capture.with_scheduler(pipeline, "DPMSolverSDEScheduler"):
        plan = plan_of(pipeline)
        assert first_difference(canary(plan), canary(plan), tolerance("float32", same_device=True))


def test_a_scheduler_that_draws_noise_of_its_own_answers_otherwise_twice():
    from diffusers import FlowMatchEulerDiscreteScheduler

    pipeline = build("flux")
    pipeline.scheduler = FlowMatchEulerDiscreteScheduler.from_config(
        pipeline.scheduler.config, stochastic_sampling=True
    )
    plan = plan_of(pipeline, height=32, width=32)
    first, again = canary(plan), canary(plan)
    assert first_difference(first, again, tolerance("float32", same_device=True))


def test_what_accelerate_leaves_behind_is_no_replaced_forward():
    """Where its hooks are taken off, a module's own forward stays among the module's attributes."""
    part = build("flux").vae
    add_hook_to_module(part, ModelHook())
    remove_hook_from_module(part)
    assert "forward" in vars(part)
    assert list(_changed(part)) == []
    part.forward = lambda *args: args
    assert list(_changed(part)) == [("", "a replaced forward")]
