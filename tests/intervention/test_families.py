"""An edit's arithmetic in every family of models: as an independent hook in diffusers' plain loop has it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from ldmscene import capture
from ldmscene.edits import Edit, Maps, Readout
from ldmscene.errors import InputError
from ldmscene.intervention.running import Worker
from tests.capture.known import KNOWN, STEPS, plan_of
from tests.capture.pipelines import build
from tests.capture.test_sinks import PROMPTS, SEEDS, _denoiser, _final

# A UNet; one with three parts of guidance; joint attention with two parts, and with one; a cross-attention transformer.
FAMILIES = ["stable_diffusion_xl", "perturbed_attention", "stable_diffusion_3", "flux", "pixart"]
MARGIN = 2.0


def _readout(channels: int) -> Readout:
    rng = np.random.default_rng(channels)
    mixing = rng.normal(size=(channels, channels))
    zero = np.zeros(channels)
    return Readout(rng.normal(size=channels), 0.3, zero, mixing @ mixing.T / channels, zero)


@pytest.mark.parametrize("name", FAMILIES)
def test_an_edit_is_its_arithmetic_in_a_hook_of_ones_own(name):
    pipeline = build(name)
    module = capture.find_modules(_denoiser(pipeline), "self-attention")[-1]
    plan = capture.rehearsed(plan_of(pipeline, name, [module], branch="cond"))
    y, x, channels = plan.modules[0].shape
    readout, steps = _readout(channels), tuple(range(len(plan.timesteps)))
    own, wanted = (np.random.default_rng(seed).random((len(PROMPTS), y, x)) < 0.5 for seed in (0, 1))
    edit = Edit("mask", True, "swap", (module,), steps, {(module, step): readout for step in steps}, margin=MARGIN)

    def change(sample: int, tokens: np.ndarray) -> np.ndarray:
        short = np.where(wanted[sample].ravel(), MARGIN, -MARGIN) - (tokens @ readout.coef + readout.intercept)
        along = readout.covariance @ readout.coef
        return tokens + np.outer(short, along / (readout.coef @ along))

    worker = Worker(edit, Maps(own.astype(float), wanted.astype(float), True, MARGIN))
    ours = _final(pipeline, lambda: capture.run(plan, PROMPTS, SEEDS, editor=worker))
    theirs = _final(pipeline, lambda: _by_hand(pipeline, name, module, change, y * x))
    plain = _final(pipeline, lambda: capture.run(plan, PROMPTS, SEEDS))
    # Random weights carry one rounding of an activation on to a ten-thousandth of what the edit does.
    torch.testing.assert_close(ours, theirs, atol=1e-3 * float((ours - plain).abs().max()), rtol=0)
    assert set(worker.sizes) == {(module, step, "cond") for step in steps}
    assert (ours - plain).abs().max() > 0.01


def _by_hand(pipeline, name: str, module: str, change: Callable, count: int) -> None:
    """Diffusers' own call; the conditional part's image tokens are changed in a hook."""
    known, calls = KNOWN[name], iter(range(1000))
    together = len(known.parts) * len(PROMPTS)
    cond = known.parts.index("cond")

    def hook(_module, _args, output):
        call, tensor = next(calls), output if isinstance(output, torch.Tensor) else output[0]
        if len(tensor) != together and call % len(known.parts) != cond:
            return None
        row, new = cond * len(PROMPTS) if len(tensor) == together else 0, tensor.clone()
        start = 0 if known.image_first else tensor.shape[1] - count
        for i in range(len(PROMPTS)):
            tokens = tensor[row + i, start : start + count]
            new[row + i, start : start + count] = torch.from_numpy(change(i, tokens.double().numpy()))
        return new if tensor is output else (new, *output[1:])

    pipeline.set_progress_bar_config(disable=True)
    handle = dict(_denoiser(pipeline).named_modules())[module].register_forward_hook(hook)
    negative = {"negative_prompt": [""] * len(PROMPTS)} if "negative_prompt" in known.arguments else {}
    try:
        pipeline(
            prompt=PROMPTS, height=known.size[0], width=known.size[1], num_inference_steps=STEPS,
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in SEEDS], output_type="latent",
            **known.arguments | negative,
        )  # fmt: skip
    finally:
        handle.remove()


def test_a_joint_modules_text_is_not_edited():
    pipeline = build("stable_diffusion_3")
    text = "transformer_blocks.0.attn.add_k_proj"
    plan = plan_of(pipeline, "stable_diffusion_3", [text], branch="cond")
    channels = plan.modules[0].shape[-1]
    edit = Edit("mask", True, "swap", (text,), (0,), {(text, 0): _readout(channels)})
    maps = Maps(np.zeros((2, 8, 12)), np.zeros((2, 8, 12)), True, MARGIN)
    with pytest.raises(InputError, match=f"{text} returns tokens that lie on no"):
        capture.run(plan, PROMPTS, SEEDS, editor=Worker(edit, maps))
