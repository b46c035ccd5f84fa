"""Pipelines of seventeen kinds: what is captured is what an independent hook saw, value for value."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from ldmscene import capture
from ldmscene.capture.families import is_joint
from ldmscene.capture.fold import GRID, TOKENS
from ldmscene.errors import InputError
from tests.capture.pipelines import PIPELINES, build

PROMPT, SEED, STEPS, SCALE = "a small blue cone", 7, 2, 4.0


@dataclass(frozen=True)
class Known:
    """What diffusers' source says of a pipeline, written down by hand.

    `parts`: the branches in the order of batches and calls. `tokens`: of an image, as (y, x). `image_part`: which of
    the tensors that a block returns is the image's.
    """

    parts: tuple[str, ...] = ("uncond", "cond")
    size: tuple[int, int] = (32, 48)
    tokens: tuple[int, int] = (8, 12)
    image_part: int = 0


KNOWN = {
    "stable_diffusion": Known(),
    "stable_diffusion_2": Known(),
    "perturbed_attention": Known(parts=("uncond", "cond", "perturbed")),
    "latent_consistency": Known(parts=("cond",)),
    "stable_diffusion_xl": Known(),
    "stable_diffusion_3": Known(image_part=-1),
    "pixart": Known(),
    "pixart_sigma": Known(),
    "flux": Known(parts=("cond",), image_part=-1),
    "chroma": Known(parts=("cond", "uncond"), image_part=-1),
    "sana": Known(size=(64, 64), tokens=(32, 32)),
    "aura_flow": Known(image_part=-1),
    "lumina": Known(parts=("cond", "uncond"), size=(128, 192)),
    "cogview_3": Known(),
    "cogview_4": Known(parts=("cond", "uncond")),
    "hunyuan": Known(size=(128, 192)),
    "kandinsky_3": Known(size=(64, 192), tokens=(8, 24)),
}

# Sizes and prompts are taken as they are given.
AS_GIVEN = {
    "sana": {"use_resolution_binning": False},
    "hunyuan": {"use_resolution_binning": False},
    "lumina": {"clean_caption": False},
    "pixart": {"use_resolution_binning": False, "clean_caption": False},
    "pixart_sigma": {"use_resolution_binning": False, "clean_caption": False},
}


def _plan(pipeline, name: str, modules, **changes) -> capture.Plan:
    height, width = KNOWN[name].size
    options = {"steps": STEPS, "guidance_scale": SCALE, "negative_prompt": "", "height": height, "width": width}
    options |= {"branch": "both" if "uncond" in KNOWN[name].parts else "cond", "dtype": "float32"}
    return capture.make_plan(pipeline, modules=modules, **(options | changes))


def _independent(pipeline, name: str, modules: list[str]) -> tuple[dict[str, list], np.ndarray]:
    """A run by diffusers alone, with hooks that keep whatever a module returns."""
    known, kept = KNOWN[name], {module: [] for module in modules}
    denoiser = getattr(pipeline, "unet", None) or pipeline.transformer
    parts = dict(denoiser.named_modules())
    handles = [parts[m].register_forward_hook(lambda _m, _i, out, m=m: kept[m].append(_copied(out))) for m in modules]
    pipeline.set_progress_bar_config(disable=True)
    try:
        image = pipeline(
            prompt=[PROMPT], height=known.size[0], width=known.size[1], num_inference_steps=STEPS,
            guidance_scale=SCALE, generator=[torch.Generator("cpu").manual_seed(SEED)], output_type="np",
            **AS_GIVEN.get(name, {}),
        ).images[0]  # fmt: skip
    finally:
        for handle in handles:
            handle.remove()
    return kept, (image * 255).round().astype(np.uint8)


def _copied(output):
    return (
        output.clone() if isinstance(output, torch.Tensor) else tuple(o.clone() for o in output if torch.is_tensor(o))
    )


def _expected(module: str, outputs: list, known: Known, dims: tuple[str, ...], steps: int) -> np.ndarray:
    """(step, part, y, x, channel) or (step, part, token, channel), by hand."""
    block = not module.rpartition(".")[2].startswith("attn")
    maps = []
    for output in outputs:
        tensor = output if isinstance(output, torch.Tensor) else output[known.image_part if block else 0]
        if tensor.ndim == 4 and dims == GRID and tensor.shape[1] != np.prod(known.tokens):
            tensor = tensor.permute(0, 2, 3, 1)
        elif dims == GRID:
            side = int(np.prod(known.tokens)) if tensor.shape[1] >= np.prod(known.tokens) else tensor.shape[1]
            scale = round((np.prod(known.tokens) / side) ** 0.5)
            tensor = tensor.flatten(2)[:, -side:].reshape(len(tensor), *(n // scale for n in known.tokens), -1)
        maps += list(tensor)
    return torch.stack(maps).reshape(steps, len(known.parts), *maps[0].shape).numpy()


@pytest.mark.parametrize("name", PIPELINES)
def test_every_pipeline_is_captured_as_it_runs(name):
    pipeline, known = build(name), KNOWN[name]
    denoiser = getattr(pipeline, "unet", None) or pipeline.transformer
    presets = ["self-attention", "all-blocks"] + ([] if is_joint(denoiser) else ["cross-attention"])
    plan = _plan(pipeline, name, presets)
    (ours,) = capture.run(plan, [PROMPT], [SEED])
    outputs, image = _independent(pipeline, name, [m.name for m in plan.modules])
    np.testing.assert_array_equal(ours.image, image)
    assert ours.latents.shape == ours.predicted.shape == (len(plan.timesteps), 4, *plan.latent)
    for module in plan.modules:
        assert module.dims == GRID, module
        theirs = _expected(module.name, outputs[module.name], known, module.dims, len(plan.timesteps))
        wanted = theirs[:, [known.parts.index(branch) for branch in plan.branches]]
        np.testing.assert_array_equal(ours.activations[module.name], wanted, err_msg=module.name)
        assert module.shape == ours.activations[module.name].shape[2:]
    if len(plan.branches) == 2:  # or the comparison of branches would say nothing
        assert not np.array_equal(wanted[:, 0], wanted[:, 1])


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("stable_diffusion", "mid_block.attentions.0.transformer_blocks.0.attn2.to_k"),
        ("stable_diffusion_3", "transformer_blocks.0.attn.add_k_proj"),
        ("flux", "transformer_blocks.0.ff_context"),
        ("pixart", "caption_projection"),
    ],
)
def test_text_tokens_are_never_taken_for_a_picture(name, module):
    plan = _plan(build(name), name, [module])
    assert plan.modules[0].dims == TOKENS
    (ours,) = capture.run(plan, [PROMPT], [SEED])
    assert ours.activations[module].shape[2:] == plan.modules[0].shape


@pytest.mark.parametrize("name", ["flux", "latent_consistency"])
def test_a_distilled_denoiser_says_that_it_has_no_unconditional_branch(name):
    pipeline = build(name)
    for change in ({"branch": "both"}, {"branch": "uncond"}, {"negative_prompt": "ugly"}):
        with pytest.raises(InputError, match="distilled into its denoiser"):
            _plan(pipeline, name, "self-attention", **change)


def test_presets_of_a_denoiser_with_names_of_its_own():
    pipeline = build("kandinsky_3")
    chosen = {preset: capture.find_modules(pipeline.unet, preset) for preset in ("self-attention", "cross-attention")}
    of_itself: dict[str, bool] = {}

    def attends(name: str):
        return lambda _module, args, _out: of_itself.update({f"{name}.to_out.0": args[0] is args[1]})

    for name, part in pipeline.unet.named_modules():
        if name.endswith(".attention") and name.startswith(("down", "up")):
            part.register_forward_hook(attends(name))
    _independent(pipeline, "kandinsky_3", [])
    assert set(chosen["self-attention"]) == {name for name, itself in of_itself.items() if itself}
    assert set(chosen["cross-attention"]) == {name for name, itself in of_itself.items() if not itself}
    assert all(len(found) > 2 for found in chosen.values())
    assert len(capture.find_modules(pipeline.unet, "resnet")) == 16


def test_a_size_that_the_pipeline_would_round_is_refused():
    with pytest.raises(InputError, match="Kandinsky3Pipeline draws 128 × 64 where 72 × 64 is asked for"):
        _plan(build("kandinsky_3"), "kandinsky_3", "self-attention", height=72, width=64)


def test_a_joint_attention_is_not_passed_off_as_cross_attention():
    with pytest.raises(InputError, match=r"no cross-attention.*'self-attention'"):
        _plan(build("stable_diffusion_3"), "stable_diffusion_3", "cross-attention")


def test_a_denoiser_that_is_not_known_is_captured_as_tokens_with_a_warning(monkeypatch):
    pipeline = build("pixart")
    monkeypatch.delitem(capture.families._FAMILIES, "PixArtTransformer2DModel")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        plan = _plan(pipeline, "pixart", "self-attention")
    assert any("PixArtTransformer2DModel isn't a denoiser that ldmscene knows" in str(w.message) for w in seen)
    (ours,) = capture.run(plan, [PROMPT], [SEED])
    outputs, _ = _independent(pipeline, "pixart", [m.name for m in plan.modules])
    for module in plan.modules:
        assert module.dims == TOKENS
        assert module.shape == (96, 24)
        theirs = torch.stack(outputs[module.name]).numpy()
        np.testing.assert_array_equal(ours.activations[module.name], theirs)


@pytest.mark.parametrize(
    "name",
    ["stable_diffusion", "stable_diffusion_xl", "stable_diffusion_3", "pixart", "sana", "aura_flow", "cogview_4"],
)
def test_modules_are_listed_from_the_configuration_alone(name):
    pipeline = build(name)
    denoiser = capture.load_outline(pipeline)
    assert all(weight.is_meta for weight in denoiser.parameters())
    listed = capture.outline_shapes(denoiser, capture.find_modules(denoiser, "all-blocks"))
    plan = _plan(pipeline, name, "all-blocks", height=16 * 2, width=16 * 2)  # what these denoisers are made for
    assert listed == list(plan.modules)


def test_modules_of_a_packed_denoiser_are_listed_at_its_pipelines_own_size():
    denoiser = capture.load_outline(build("flux"))
    (block,) = capture.outline_shapes(denoiser, ["transformer_blocks.0"])
    assert (block.dims, block.shape) == (GRID, (64, 64, 32))


def test_listing_what_a_configuration_does_not_tell_says_so():
    with pytest.raises(InputError, match="can't be told from its configuration"):
        capture.outline_shapes(capture.load_outline(build("hunyuan")), ["blocks.0"])


@pytest.mark.parametrize("name", ["stable_diffusion_xl", "stable_diffusion_3", "flux"])
def test_a_saved_pipeline_loads_and_has_the_same_identity(name, tmp_path):
    pipeline = build(name)
    pipeline.save_pretrained(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = capture.load_pipeline(tmp_path, "cpu")
    ours, theirs = (capture.identity(p)["components"] for p in (pipeline, loaded))
    assert ours == theirs
    permuted = capture.permute_weights(loaded)
    changed = capture.identity(permuted)["components"]
    role = "unet" if "unet" in ours else "transformer"
    assert {part for part in ours if ours[part] != changed[part]} == {role}
