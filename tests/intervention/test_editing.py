"""An edit around the caller's own call, and a pipeline that is given back without a trace."""

from __future__ import annotations

import copy
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
import torch

import ldmscene
from ldmscene import capture, testbed
from ldmscene.errors import InputError

STEPS = 4


def _call(pipeline, prompt="a large red cube on a grey floor, lit from the left", seed: int = 3, **options):
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator("cpu").manual_seed(seed)
    how = {"num_inference_steps": STEPS, "guidance_scale": 7.5, "output_type": "np", **options}
    return pipeline(prompt, generator=generator, **how).images[0]


def _state(pipeline) -> dict:
    """Everything by which a trace could show."""
    hooks = {n: (len(m._forward_hooks), len(m._forward_pre_hooks)) for n, m in pipeline.unet.named_modules()}
    weights = sum(p.double().sum().item() for p in pipeline.unet.parameters())
    return {"hooks": hooks, "weights": weights, "scheduler": vars(pipeline.scheduler).keys() - {"derivatives"}}


PROMPT = "a large red cube on a grey floor, lit from the left"


def test_the_picture_is_that_of_an_edited_store(tiny, store, edit, edited):
    row = edited.manifest.frame.iloc[0]
    alone = ldmscene.intervene(store, edit, edited.root.parent / "alone", controls=(), model=tiny, progress=False)
    with ldmscene.editing(tiny, edit, prompt=row.prompt, seed=int(row.seed)) as log:
        image = _call(tiny, row.prompt, int(row.seed))
    theirs = alone.images(samples=[row.sample_id]).values[0]
    np.testing.assert_allclose(np.round(image * 255), theirs, atol=1)
    np.testing.assert_array_equal(log.own, store.labels("mask", samples=[row.sample_id]).values[0] > 0.5)
    assert len(log.frame) == len(edit.positions)
    assert (log.frame["size"] > 0).all()


def test_strength_zero_changes_nothing(tiny, edit):
    plain = _call(tiny)
    with ldmscene.editing(tiny, replace(edit, strength=0.0), prompt=PROMPT, seed=3) as log:
        same = _call(tiny)
    np.testing.assert_array_equal(plain, same)
    assert (log.frame["size"] == 0).all()


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_the_pipeline_is_given_back_whatever_happens(tiny, edit, failure):
    plain, before = _call(tiny), _state(tiny)

    def failing(x, goal, readout):
        raise failure

    with (
        suppress(failure),
        ldmscene.editing(tiny, replace(edit, rule=failing), prompt=PROMPT, seed=3, own=np.ones((64, 64))),
    ):
        _call(tiny)
        pytest.fail("the rule fails")
    assert _state(tiny) == before
    np.testing.assert_array_equal(_call(tiny), plain)


@pytest.mark.filterwarnings("ignore:the denoiser is compiled")
@pytest.mark.parametrize("how", ["compiled", "offloaded"])
def test_compiled_and_offloaded_pipelines_are_edited_alike(tiny, edit, how):
    own = np.zeros((64, 64))
    own[20:40, 10:30] = 1
    if how == "compiled":
        other = copy.copy(tiny)
        other.register_modules(unet=torch.compile(copy.deepcopy(tiny.unet), backend="eager"))
    else:
        other = capture.load_pipeline(testbed.MODELS["tiny-scenes"], "cpu")
        other.enable_model_cpu_offload(device="cpu")
    images = []
    for pipeline in (tiny, other):
        with ldmscene.editing(pipeline, edit, prompt=PROMPT, seed=3, own=own):
            images.append(_call(pipeline))
    np.testing.assert_array_equal(*images)
    assert np.abs(images[0] - _call(tiny)).max() > 0.1


def test_other_settings_are_refused(tiny, edit):
    own = np.zeros((64, 64))
    for options, message in (
        ({"num_inference_steps": 7}, "the pipeline takes 7; call it with num_inference_steps=4"),
        (
            {"guidance_scale": 3},
            r"at guidance 7\.5, .* called at 3; call it with guidance_scale=7\.5",
        ),
        ({"timesteps": [900, 600, 300, 100]}, "and the pipeline takes 4 others; call it with .*, without timesteps or"),
        ({"height": 128, "width": 128}, "or call the pipeline at the height and width that the edit is of"),
        ({"prompt": [PROMPT] * 2}, "the edit is of 1 pictures, and the pipeline makes 2"),
    ):
        with (
            pytest.raises(InputError, match=message),
            ldmscene.editing(tiny, edit, prompt=PROMPT, seed=3, own=own),
        ):
            _call(tiny, **{"prompt": PROMPT, **options})


def test_what_it_lacks_is_said(tiny, edit):
    donor = replace(edit, rule="donor")
    with pytest.raises(InputError, match=r"use ldmscene\.intervene"), ldmscene.editing(tiny, donor, prompt="", seed=0):
        pass
    for own, message in (
        (np.full((64, 64), 255, np.uint8), "own: expected a mask of 0 and 1"),
        (np.zeros((1, 64, 64)), r"own: expected a label \(Y, X\), got shape \(1, 64, 64\)"),
    ):
        with pytest.raises(InputError, match=message), ldmscene.editing(tiny, edit, prompt=PROMPT, seed=0, own=own):
            pass
    several, own = replace(edit, wanted=dict.fromkeys("ab", np.zeros((64, 64)))), np.zeros((64, 64))
    with (
        pytest.raises(InputError, match=r"wanted: expected one map, .*, got those of 2 samples"),
        ldmscene.editing(tiny, several, prompt=PROMPT, seed=0, own=own),
    ):
        pass
    with ldmscene.editing(tiny, replace(edit, wanted={"a": own + 1}), prompt=PROMPT, seed=0, own=own) as log:
        np.testing.assert_array_equal(log.wanted, own + 1)
    labels = {"mask": {**edit.origin["labels"]["mask"], "labeler": "array"}}
    lost = replace(edit, origin={**edit.origin, "labels": labels})
    lacks = "'array' of the edit's store can't be had; pass own="
    with pytest.raises(InputError, match=lacks), ldmscene.editing(tiny, lost, prompt=PROMPT, seed=0):
        pass
