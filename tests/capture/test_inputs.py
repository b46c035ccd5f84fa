"""Pipelines that take pictures beside a prompt: what is captured is what an independent hook saw, value for value."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from PIL import Image

from ldmscene import capture
from ldmscene.capture.canary import canary
from ldmscene.capture.inputs import Inputs
from tests.capture.picture_pipelines import PICTURE_PIPELINES, picture

PROMPTS, SEEDS, STEPS, SCALE = ["a small blue cone", "two spheres"], [7, 8], 3, 4.0
SIZE = (32, 48)


@functools.cache
def built(name):
    made = PICTURE_PIPELINES[name].make()
    made.set_progress_bar_config(disable=True)
    return made


@functools.cache
def plan_of(name):
    return planned(name)


def planned(name, **changes):
    taken = PICTURE_PIPELINES[name]
    inputs = Inputs({one: {SIZE: "a.png"} for one in taken.pictures}, taken.settings)
    takes_size = name not in ("image_to_image", "image_to_image_xl")
    size = dict(zip(("height", "width"), SIZE if takes_size else (None, None), strict=True))
    options = {
        "inputs": inputs,
        "steps": STEPS,
        "guidance_scale": SCALE,
        "negative_prompt": "",
        "branch": "both",
        "dtype": "float32",
    }
    return capture.make_plan(built(name), modules=["self-attention", "up_blocks.0"], **(options | size | changes))


def pictures_of(name, numbers):
    return {one: [picture(10 * n + i) for n in numbers] for i, one in enumerate(PICTURE_PIPELINES[name].pictures)}


def independent(name, pictures, number, modules):
    """One sample by diffusers alone, with hooks that keep whatever a module returns, and x_t at each step."""
    pipeline, kept, steps = built(name), {m: [] for m in modules}, []
    parts = dict(pipeline.unet.named_modules())
    handles = [
        parts[m].register_forward_hook(lambda _m, _i, out, m=m: kept[m].append(_first(out).clone())) for m in modules
    ]
    take_step = type(pipeline.scheduler).step

    def step(self, output, t, sample, *args, **kwargs):
        steps.append((float(t), sample.clone()))
        return take_step(self, output, t, sample, *args, **kwargs)

    type(pipeline.scheduler).step = step
    taken, size = PICTURE_PIPELINES[name], dict(zip(("height", "width"), SIZE, strict=True))
    try:
        image = pipeline(
            prompt=PROMPTS[number], num_inference_steps=STEPS, guidance_scale=SCALE, output_type="np",
            generator=torch.Generator("cpu").manual_seed(SEEDS[number]),
            **{one: Image.fromarray(pictures[one][0]) for one in taken.pictures}, **taken.settings,
            **({} if "image_to_image" in name else size),
        ).images[0]  # fmt: skip
    finally:
        type(pipeline.scheduler).step = take_step
        for handle in handles:
            handle.remove()
    return kept, steps, (image * 255).round().astype(np.uint8)


def _first(output):
    return output if isinstance(output, torch.Tensor) else output[0]


def _as_stored(tensors, shape):
    """(step, branch, y, x, channel) of uncond and cond in one batch."""
    whole = torch.stack(tensors)
    whole = whole.unflatten(2, shape[:2]) if whole.ndim == 4 else whole.movedim(2, -1)
    return whole.numpy()


@pytest.mark.parametrize("name", PICTURE_PIPELINES)
def test_what_is_captured_is_what_an_independent_hook_saw(name):
    plan = plan_of(name)
    assert (plan.height, plan.width) == SIZE
    for number in (0, 1):
        pictures = pictures_of(name, [number])
        (ours,) = capture.run(plan, [PROMPTS[number]], [SEEDS[number]], pictures=pictures)
        kept, steps, image = independent(name, pictures, number, [m.name for m in plan.modules])
        assert list(plan.timesteps) == [t for t, _ in steps]
        np.testing.assert_array_equal(ours.latents, torch.cat([x for _, x in steps]).numpy())
        np.testing.assert_array_equal(ours.image, image)
        for module in plan.modules:
            theirs = _as_stored(kept[module.name], module.shape)
            np.testing.assert_array_equal(ours.activations[module.name], theirs, err_msg=module.name)


@pytest.mark.parametrize("name", PICTURE_PIPELINES)
def test_a_batch_of_two_is_each_alone_up_to_rounding_and_pictures_count(name):
    plan = plan_of(name)
    capture.check_batches(plan)
    both = capture.run(plan, PROMPTS, SEEDS, pictures=pictures_of(name, [0, 1]))
    for number, one in enumerate(both):
        (alone,) = capture.run(
            plan, PROMPTS[number : number + 1], SEEDS[number : number + 1], pictures=pictures_of(name, [number])
        )
        for module, values in alone.activations.items():
            np.testing.assert_allclose(
                one.activations[module], values, rtol=0, atol=1e-4 * np.abs(values).max(), err_msg=module
            )
    swapped = capture.run(plan, PROMPTS, SEEDS, pictures=pictures_of(name, [1, 0]))
    for one, other in zip(both, swapped, strict=True):
        apart = np.abs(one.activations["up_blocks.0"] - other.activations["up_blocks.0"]).max()
        assert apart > 1e-3 * np.abs(one.activations["up_blocks.0"]).max()


@pytest.mark.parametrize("name", PICTURE_PIPELINES)
def test_the_canary_answers_the_same_twice_and_hears_a_changed_weight(name):
    plan = plan_of(name)
    first = canary(plan)
    assert first == canary(plan)
    weight = built(name).unet.conv_out.weight
    with torch.no_grad():
        weight.mul_(1.01)
    try:
        assert canary(plan) != first
    finally:
        with torch.no_grad():
            weight.div_(1.01)


def test_fewer_steps_are_planned_where_strength_leaves_fewer():
    for strength, left in ((0.4, 1), (0.7, 2), (1.0, 3)):
        inputs = Inputs({"image": {SIZE: "a.png"}}, {"strength": strength})
        assert len(planned("image_to_image", inputs=inputs).timesteps) == left
