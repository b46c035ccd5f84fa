"""What can't be captured is refused in one sentence, before anything is written."""

from __future__ import annotations

import pytest
from diffusers import (
    ControlNetModel,
    FluxKontextPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
)

from ldmscene import capture
from ldmscene.errors import InputError
from tests.capture.known import plan_of
from tests.capture.pipelines import build


@pytest.fixture(scope="module")
def pipeline():
    return build("stable_diffusion")


def test_a_pipeline_that_begins_with_a_picture_is_told_what_it_needs(pipeline):
    from_picture = StableDiffusionImg2ImgPipeline(**pipeline.components, requires_safety_checker=False)
    with pytest.raises(
        InputError, match=r"StableDiffusionImg2ImgPipeline needs image beside a prompt; supply it by inputs="
    ):
        plan_of(from_picture, "stable_diffusion", "self-attention")
    steered = StableDiffusionControlNetPipeline(
        **pipeline.components, controlnet=ControlNetModel.from_unet(pipeline.unet), requires_safety_checker=False
    )
    with pytest.raises(
        InputError,
        match=r"StableDiffusionControlNetPipeline can't draw from a prompt alone, and takes image; supply it by inputs",
    ):
        plan_of(steered, "stable_diffusion", "self-attention")


def test_a_pipeline_that_fails_on_its_call_is_quoted_within_one_sentence(pipeline, monkeypatch):
    def fails(*_args, **_options):
        raise ValueError("No\ntask_prompt. " + "More words. " * 100)

    monkeypatch.setattr(type(pipeline), "encode_prompt", fails)
    with pytest.raises(
        InputError, match=r"can't run \d steps from a prompt by \w+ \(it says: No task_prompt\. .* …\); "
    ) as told:
        plan_of(pipeline, "stable_diffusion", "self-attention")
    assert len(str(told.value)) < 350
    assert "\n" not in str(told.value)


def test_a_scheduler_of_another_kind_is_told(pipeline, monkeypatch):
    monkeypatch.setattr(type(pipeline.scheduler), "set_timesteps", lambda self, steps: None)
    kind = type(pipeline.scheduler).__name__
    monkeypatch.setattr(type(pipeline.scheduler).set_timesteps, "__qualname__", f"{kind}.set_timesteps")
    with pytest.raises(InputError, match=rf"StableDiffusionPipeline can't step by {kind}, which lacks what it calls"):
        plan_of(pipeline, "stable_diffusion", "self-attention")


def test_a_preset_that_means_no_module_of_a_model_says_which_there_are():
    with pytest.raises(InputError, match=r"FluxTransformer2DModel has no module that the preset 'resnet' means.*self"):
        plan_of(build("flux"), "flux", "resnet")


def test_a_denoiser_that_fails_on_what_it_is_handed_says_so(pipeline, monkeypatch):
    def fails(*_args, **_options):
        raise RuntimeError("shapes\ndon't fit")

    monkeypatch.setattr(type(pipeline.unet), "forward", fails)
    with pytest.raises(InputError, match=r"UNet2DConditionModel can't be run .*RuntimeError: shapes don't fit") as told:
        capture.make_plan(
            pipeline, modules="self-attention", steps=1, guidance_scale=1.0, negative_prompt="", height=None,
            width=None, branch="cond", dtype="float32",
        )  # fmt: skip
    assert "\n" not in str(told.value)
    assert isinstance(told.value.__cause__, RuntimeError)


def test_an_adapter_that_needs_a_picture_is_told():
    changed = build("stable_diffusion")
    changed.unet.register_to_config(encoder_hid_dim_type="ip_image_proj")
    with pytest.raises(
        InputError, match=r"an IP-Adapter is loaded into StableDiffusionPipeline.*'ip_adapter_image'.*unload_ip_adapter"
    ):
        plan_of(changed, "stable_diffusion", "self-attention")


def test_an_autoencoder_of_more_than_a_picture_is_refused():
    deep = build("stable_diffusion")
    deep.vae.register_to_config(out_channels=6)
    with pytest.raises(InputError, match="decodes 6 channels; expected 3"):
        plan_of(deep, "stable_diffusion", "self-attention")


def test_a_pipeline_that_is_stopped_leaves_no_attention_processors_behind():
    perturbed = build("perturbed_attention")
    before = perturbed.unet.attn_processors
    plan_of(perturbed, "perturbed_attention", "self-attention")
    assert perturbed.unet.attn_processors == before


def test_a_packed_size_that_the_pipeline_changes_is_refused():
    kontext = FluxKontextPipeline(**build("flux").components)
    with pytest.raises(InputError, match="FluxKontextPipeline draws another size than 32 × 48"):
        plan_of(kontext, "flux", "self-attention")
