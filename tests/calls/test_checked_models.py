"""A model is held to hooks that know nothing of ours."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch

import ldmscene
from ldmscene import capture
from ldmscene.calls.checking_model import share_as_returned
from ldmscene.cli import main
from ldmscene.errors import InputError
from tests.capture.pipelines import build
from tests.conftest import FIRST, LAST


def test_a_sound_model_is_captured_as_it_is(tiny):
    found = ldmscene.check(tiny, [FIRST, LAST], steps=2)
    assert found["branches"] == ["uncond", "cond"]
    assert list(found["shapes"]) == [FIRST, LAST]
    assert (found["equal"], found["steady"], found["on"]) == (1.0, True, [])
    values = sum(y * x * c for y, x, c in found["shapes"].values())
    assert found["bytes"] > 2 * 2 * 2 * values  # float16, two steps, two branches; latents and the picture beside them


def test_joint_sequences_are_held_to_what_a_block_returns():
    found = ldmscene.check(build("stable_diffusion_3"), ["self-attention", "all-blocks"], steps=1)
    assert (found["equal"], found["steady"]) == (1.0, True)


def test_a_model_that_answers_otherwise_each_time_is_found(tiny):
    count = itertools.count()
    handle = tiny.unet.mid_block.register_forward_hook(lambda _m, _a, output: output * (1 + 0.01 * next(count)))
    try:
        found = ldmscene.check(tiny, [FIRST, LAST], steps=2)
    finally:
        handle.remove()
    assert found["equal"] == 1 / 4  # what comes before the hook in the first step is the same
    assert not found["steady"]
    assert found["unsteady"].startswith("mid_block, step 0")
    assert found["on"] == ["a forward hook of unet.mid_block"]


@pytest.fixture
def overflowing(tiny):
    """A model whose every answer is infinite somewhere."""
    bias = tiny.unet.conv_out.bias.data
    own = bias.clone()
    bias[0] = torch.inf
    yield tiny
    bias.copy_(own)


def test_a_model_that_overflows_is_checked_all_the_same(overflowing):
    found = ldmscene.check(overflowing, [FIRST, LAST], steps=2)  # in the second, all modules return NaN
    assert (found["branches"], found["equal"]) == (["uncond", "cond"], 1.0)


def test_an_edit_of_a_model_that_overflows_is_refused_with_a_way_out(overflowing):
    plan = capture.make_plan(
        overflowing, modules=LAST, steps=1, guidance_scale=7.5, negative_prompt="", height=None, width=None,
        branch="cond", dtype="float32",
    )  # fmt: skip
    with pytest.raises(InputError, match=r"holds infinity or NaN; .* torch_dtype=torch\.float32"):
        capture.rehearsed(plan)


def test_other_parts_are_held_to_what_they_return_when_prompts_are_read_and_the_picture_is_drawn(tiny):
    names = ["text_encoder.encoder.layers.0", LAST, "vae.decoder.mid_block"]
    found = ldmscene.check(tiny, names, steps=2)
    assert (list(found["shapes"]), found["equal"]) == (names, 1.0)
    count = itertools.count()
    decoder = tiny.vae.decoder.mid_block
    handle = decoder.register_forward_hook(lambda _m, _a, output: output * (1 + 0.01 * next(count)))
    try:
        apart = ldmscene.check(tiny, names, steps=2)
    finally:
        handle.remove()
    assert apart["equal"] == pytest.approx(6 / 7)  # two texts, two steps of two branches, and not the picture


def _returned(kind: str) -> tuple[np.ndarray, list[list[torch.Tensor]]]:
    """Two branches of a 3 × 3 map of 4 channels in one step, and one call's tensors that hold them."""
    maps = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 3, 4)).astype(np.float32))
    tokens, text = maps.flatten(1, 2), torch.ones(2, 5, 4)
    calls = {
        "map": [maps.permute(0, 3, 1, 2)],
        "tokens": [tokens],
        "after text": [torch.cat([text, tokens], 1)],
        "beside text": [text, tokens],
        "heads": [tokens.unflatten(2, (2, 2))],
        "heads first": [tokens.unflatten(2, (2, 2)).transpose(1, 2)],
    }
    return maps.numpy()[None], [calls[kind]]


@pytest.mark.parametrize("kind", ["map", "tokens", "after text", "beside text", "heads", "heads first"])
def test_what_is_not_in_its_order_is_not_what_was_returned(kind):
    right, raw = _returned(kind)
    assert share_as_returned({"m": right}, {"m": raw}, {"m": (0, 1)}) == 1
    first_row = np.broadcast_to(right[:, :, :1], right.shape)
    other_channels = right[..., ::-1]
    for wrong in (right[:, :, ::-1], right.swapaxes(2, 3), right[:, ::-1], first_row, other_channels, right * 0 + 1):
        assert share_as_returned({"m": wrong}, {"m": raw}, {"m": (0, 1)}) == 0
    assert share_as_returned({"m": np.concatenate([right, right[:, ::-1]])}, {"m": [*raw, *raw]}, {"m": (0, 1)}) == 0.5
    assert share_as_returned({"m": right}, {"m": raw}, {"m": (1, 0)}) == 0


def test_one_screen_says_it_all(capsys):
    words = ["check", "tiny-scenes", "--steps", "1", "--modules", FIRST]
    with pytest.raises(SystemExit, match="0"):
        main(words)
    shown = capsys.readouterr().out
    assert "100 % of all modules, branches and steps (1)" in shown
    assert "asked twice  the same" in shown
    assert len(shown.splitlines()) == 7
    with pytest.raises(SystemExit, match="0"):
        main([*words, "--json"])
    assert json.loads(capsys.readouterr().out)["equal"] == 1


def test_no_steps_are_refused(tiny):
    with pytest.raises(InputError, match="steps must be at least 1, got 0"):
        ldmscene.check(tiny, steps=0)
