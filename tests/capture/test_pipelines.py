"""Pipelines of many kinds: what is captured is what an independent hook saw, value for value."""

from __future__ import annotations

import copy
import functools
import inspect
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, PNDMScheduler

from ldmscene import capture
from ldmscene.capture.families import FAMILIES, Family, entry_of
from ldmscene.capture.fold import Folding
from ldmscene.capture.latents import unpack
from ldmscene.capture.layout import GRID, TOKENS
from ldmscene.errors import InputError
from tests.capture.known import KNOWN, PROMPT, SEED, STEPS, Known, plan_of
from tests.capture.pipelines import PIPELINES, build


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
            generator=[torch.Generator("cpu").manual_seed(SEED)], output_type="np", **known.arguments,
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
            mine = slice(side) if known.image_first else slice(-side, None)
            tensor = tensor.flatten(2)[:, mine].reshape(len(tensor), *(n // scale for n in known.tokens), -1)
        maps += list(tensor)
    return torch.stack(maps).reshape(steps, len(known.parts), *maps[0].shape).numpy()


KANDINSKY = "ignore:`callback_steps` is deprecated:FutureWarning"  # its combined pipeline's own


def _attentions(pipeline, name: str) -> list[str]:
    denoiser = getattr(pipeline, "unet", None) or pipeline.transformer
    # The self-attention of kandinsky_2 sees the prior's embedding, too.
    crossed = not entry_of(denoiser).joint and name != "kandinsky_2"
    return ["self-attention", "cross-attention"] if crossed else ["self-attention"]


@pytest.mark.filterwarnings(KANDINSKY)
@pytest.mark.parametrize("name", PIPELINES)
def test_every_pipeline_is_captured_as_it_runs(name):
    _check_captured_as_it_runs(name)


def test_a_family_from_outside_is_captured_as_it_runs(monkeypatch):
    monkeypatch.setattr(FAMILIES, "_values", dict(FAMILIES))
    FAMILIES.register(Family("BriaTransformer2DModel", (2,), joint=True, text_first=True, packed=True))
    _check_captured_as_it_runs("bria")


def _check_captured_as_it_runs(name: str) -> None:
    pipeline, known = build(name), KNOWN[name]
    plan = plan_of(pipeline, name, [*_attentions(pipeline, name), "all-blocks"])
    (ours,) = capture.run(plan, [PROMPT], [SEED])
    with _listening(pipeline.scheduler) as steps:
        outputs, image = _independent(pipeline, name, [m.name for m in plan.modules])
    np.testing.assert_array_equal(ours.image, image)
    assert ours.latents.shape == ours.predicted.shape == (len(plan.timesteps), 4, *plan.latent)
    size = (plan.height, plan.width)
    theirs = torch.cat([unpack(pipeline, sample, size) for sample, _ in steps]).numpy()
    np.testing.assert_array_equal(ours.latents, theirs)
    if steps[0][1] is None:  # a flow ends where its last step says that it will
        np.testing.assert_array_equal(capture.decode(pipeline, ours.predicted[-1:])[0], image)
    else:
        clean = torch.cat([unpack(pipeline, found, size) for _, found in steps]).numpy()
        found = ours.predicted.clip(-1, 1) if isinstance(pipeline.scheduler, DDPMScheduler) else ours.predicted
        np.testing.assert_allclose(found, clean, rtol=1e-3, atol=2e-3)
    for module in plan.modules:
        assert module.dims == GRID, module
        theirs = _expected(module.name, outputs[module.name], known, module.dims, len(plan.timesteps))
        wanted = theirs[:, [known.parts.index(branch) for branch in plan.branches]]
        np.testing.assert_array_equal(ours.activations[module.name], wanted, err_msg=module.name)
        assert module.shape == ours.activations[module.name].shape[2:]
    if len(plan.branches) == 2:  # or the comparison of branches would say nothing
        assert not np.array_equal(wanted[:, 0], wanted[:, 1])


@contextmanager
def _listening(scheduler) -> Iterator[list[tuple[torch.Tensor, torch.Tensor | None]]]:
    """For each step x_t, and the x_0 that the scheduler itself makes of it where it does."""
    kept: list = []
    take_step = scheduler.step

    @functools.wraps(take_step)
    def step(model_output, timestep, sample, *args, **kwargs):
        clean = None
        if isinstance(scheduler, DPMSolverMultistepScheduler):
            begun = copy.deepcopy(scheduler)
            begun._init_step_index(timestep) if begun.step_index is None else None
            clean = begun.convert_model_output(model_output[:, : sample.shape[1]], sample=sample)
        if isinstance(scheduler, PNDMScheduler):  # which makes none
            alpha = scheduler.alphas_cumprod[timestep]
            clean = (sample - (1 - alpha).sqrt() * model_output) / alpha.sqrt()
        found = take_step(model_output, timestep, sample, *args, **kwargs | {"return_dict": True})
        kept.append((sample.clone(), clean if clean is not None else found.get("pred_original_sample")))
        return tuple(found.to_tuple()) if kwargs.get("return_dict") is False else found

    scheduler.step = step
    try:
        yield kept
    finally:
        del scheduler.step


# The others have the same denoisers.
@pytest.mark.parametrize(
    "name",
    [
        name
        for name in PIPELINES
        if not name.startswith(
            ("stable_diffusion_2", "stable_diffusion_xl", "pixart_", "perturbed", "latent", "kandinsky_2")
        )
    ],
)
def test_what_is_changed_in_one_place_of_the_latents_moves_the_activation_there(name):
    """Rows and columns, and text and image, by what the denoiser does: no rule of ours says where a token is."""
    pipeline, known = build(name), KNOWN[name]
    plan = plan_of(pipeline, name, [known.first], branch="cond", steps=2)
    (plain,) = capture.run(plan, [PROMPT], [SEED])
    y, x = 2, 5
    denoiser = getattr(pipeline, "unet", None) or pipeline.transformer
    handle = denoiser.register_forward_pre_hook(lambda _m, a, k: _moved(pipeline, plan, a, k, y, x), with_kwargs=True)
    try:
        (moved,) = capture.run(plan, [PROMPT], [SEED])
    finally:
        handle.remove()
    change = np.abs(moved.activations[known.first][0, 0] - plain.activations[known.first][0, 0]).sum(-1)
    if known.first == "conv_in":  # 3 × 3
        np.testing.assert_array_equal(np.argwhere(change > 0).mean(0), (y, x))
    else:
        assert np.unravel_index(change.argmax(), change.shape) == (y, x)
        assert change.max() > 2 * np.sort(change.ravel())[-2]


def _moved(pipeline, plan, args: tuple, kwargs: dict, y: int, x: int):
    """The denoiser's arguments with much added to what its position (y, x) is made of."""
    shape = plan.modules[0].shape
    side = plan.latent[0] // shape[0]
    mark = torch.zeros(1, 4, *plan.latent)
    mark[:, :, y * side : (y + 1) * side, x * side : (x + 1) * side] = 20
    key = next((one for one in ("hidden_states", "sample") if one in kwargs), None)
    given = kwargs[key] if key else args[0]
    if isinstance(given, list):
        changed = [one + mark[0][:, None] for one in given]
    elif given.ndim == 3:  # packed: by the pipeline's own unpacking of each token
        every = torch.eye(given.shape[1])[:, :, None].expand(-1, -1, given.shape[2])
        lit = unpack(pipeline, every, (plan.height, plan.width)).abs().sum(1)
        token = int(lit[:, y * side, x * side].argmax())
        changed = given + 20 * (torch.arange(given.shape[1]) == token)[:, None]
    else:
        changed = given + mark
    return (args, kwargs | {key: changed}) if key else ((changed, *args[1:]), kwargs)


def test_image_tokens_are_found_behind_texts_of_several_lengths_in_one_batch():
    pipeline = build("lumina_2")
    plan = plan_of(pipeline, "lumina_2", ["layers.0", "layers.1.attn.to_out.0"])
    prompts = [PROMPT, "a"]
    alone = [capture.run(plan, [prompt], [SEED])[0] for prompt in prompts]
    for one, other in zip(alone, capture.run(plan, prompts, [SEED, SEED]), strict=True):
        for module in plan.modules:
            wanted = one.activations[module.name]
            np.testing.assert_allclose(
                other.activations[module.name], wanted, rtol=0, atol=1e-3 * np.abs(wanted).max(), err_msg=module.name
            )


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
    pipeline, known = build(name), KNOWN[name]
    plan = plan_of(pipeline, name, [module])
    assert plan.modules[0].dims == TOKENS
    (ours,) = capture.run(plan, [PROMPT], [SEED])
    outputs, _ = _independent(pipeline, name, [module])
    theirs = _expected(module, outputs[module], known, TOKENS, len(plan.timesteps))
    wanted = theirs[:, [known.parts.index(branch) for branch in plan.branches]]
    np.testing.assert_array_equal(ours.activations[module], wanted)


@pytest.mark.parametrize("name", ["flux", "latent_consistency"])
def test_a_distilled_denoiser_says_that_it_has_no_unconditional_branch(name):
    pipeline = build(name)
    for change in ({"branch": "both"}, {"branch": "uncond"}, {"negative_prompt": "ugly"}):
        with pytest.raises(InputError, match="distilled into its denoiser"):
            plan_of(pipeline, name, "self-attention", **change)


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
        plan_of(build("kandinsky_3"), "kandinsky_3", "self-attention", height=72, width=64)


def test_a_joint_attention_is_not_passed_off_as_cross_attention():
    with pytest.raises(InputError, match=r"no cross-attention.*'self-attention'"):
        plan_of(build("stable_diffusion_3"), "stable_diffusion_3", "cross-attention")


def test_a_denoiser_that_is_not_known_is_captured_as_tokens_with_a_warning():
    pipeline = build("bria")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        plan = plan_of(pipeline, "bria", ["self-attention", "all-blocks"])
    assert any("BriaTransformer2DModel isn't a denoiser that ldmscene knows" in str(w.message) for w in seen)
    (ours,) = capture.run(plan, [PROMPT], [SEED])
    outputs, image = _independent(pipeline, "bria", [m.name for m in plan.modules])
    np.testing.assert_array_equal(ours.image, image)
    of_both = "single_transformer_blocks.0.attn"  # text, always padded to one length, and image
    for module in plan.modules:
        assert module.dims == TOKENS
        assert module.shape == (96 + 128 * (module.name == of_both), 16)
        theirs = [
            o if isinstance(o, torch.Tensor) else next(t for t in o if t.shape[1] == 96) for o in outputs[module.name]
        ]
        np.testing.assert_array_equal(ours.activations[module.name], torch.stack(theirs).numpy(), err_msg=module.name)


@pytest.mark.filterwarnings("ignore:BriaTransformer2DModel isn't a denoiser")
def test_of_a_denoiser_that_is_not_known_nothing_is_guessed(monkeypatch):
    pipeline = build("bria")
    with pytest.raises(InputError, match=r"returns 2 tensors.*which of them is the image's can't be told"):
        plan_of(pipeline, "bria", "transformer_blocks.0", height=32, width=64)  # 128 tokens, as the text has
    monkeypatch.setattr(type(pipeline), "_unpack_latents", lambda latents, *_: latents)
    with pytest.raises(InputError, match="it can't be told how its latents become a picture"):
        plan_of(pipeline, "bria", "self-attention")


def test_outputs_whose_length_is_the_prompts_are_refused():
    for name, module in (("qwen_image", "transformer_blocks.0.attn.add_k_proj"), ("z_image", "context_refiner.0")):
        with pytest.raises(InputError, match=r"tokens for an empty prompt and .* for a longer one"):
            plan_of(build(name), name, module)


def test_guidance_that_a_pipeline_does_not_take_is_refused(monkeypatch):
    pipeline = build("chroma")
    call = type(pipeline).__call__
    takes = inspect.signature(call).parameters
    without = inspect.Signature([p for name, p in takes.items() if name != "guidance_scale"])
    monkeypatch.setattr(type(pipeline).__call__, "__signature__", without, raising=False)
    with pytest.raises(InputError, match=r"takes no guidance_scale.*ask for guidance_scale=1"):
        plan_of(pipeline, "chroma", "self-attention")


def test_a_family_names_modules_of_its_own_that_see_text_only():
    tokens, plain = torch.zeros(2, 24, 7), Family("any", (2,), joint=True)
    own = Family("any", (2,), joint=True, text_side=r"words\.\d+")
    for family, module, expected in ((plain, "words.0", GRID), (own, "words.0", TOKENS), (own, "blocks.0", GRID)):
        assert Folding(family, (8, 12), text_tokens=24)(module, tokens)[1] == expected
    assert own.is_text_side("blocks.0.ff_context")


@pytest.mark.parametrize("heads", [2, 4])
def test_heads_before_tokens_are_told_by_the_number_of_tokens(heads):
    tokens, width = 24, 7
    found = torch.arange(2 * heads * tokens * width).reshape(2, heads, tokens, width)
    family = Family("any", (2,), joint=True)
    folded, dims = Folding(family, (8, 12), text_tokens=5)("attn.norm_q", found)
    assert dims == GRID
    torch.testing.assert_close(folded, found.movedim(2, 1).reshape(2, 4, 6, heads * width))
    swapped, _ = Folding(family, (8, 12), text_tokens=5)("attn.norm_q", found.movedim(2, 1))
    torch.testing.assert_close(swapped, folded)
    text, dims = Folding(family, (8, 12), text_tokens=5)("attn.norm_added_q", found[:, :, :5])
    assert (dims, text.shape) == (TOKENS, (2, 5, heads * width))
    with pytest.raises(InputError, match="can't be told which axis is tokens"):
        Folding(family, (4, heads), text_tokens=5)("attn.norm_q", found[:, :, :heads])


@pytest.mark.parametrize(
    "name",
    [
        "stable_diffusion",
        "stable_diffusion_xl",
        "stable_diffusion_3",
        "pixart",
        "sana",
        "sana_sprint",
        "aura_flow",
        "cogview_4",
        "kandinsky_2",
    ],
)
def test_modules_are_listed_from_the_configuration_alone(name):
    pipeline = build(name)
    denoiser = capture.load_outline(pipeline)
    assert all(weight.is_meta for weight in denoiser.parameters())
    listed = capture.outline_shapes(denoiser, capture.find_modules(denoiser, "all-blocks"))
    plan = plan_of(pipeline, name, "all-blocks", height=16 * 2, width=16 * 2)  # what these denoisers are made for
    assert listed == list(plan.modules)


@pytest.mark.parametrize(("name", "width"), [("flux", 32), ("flux_2", 32), ("qwen_image", 48)])
def test_modules_of_a_packed_denoiser_are_listed_at_its_pipelines_own_size(name, width):
    denoiser = capture.load_outline(build(name))
    (block,) = capture.outline_shapes(denoiser, ["transformer_blocks.0"])
    assert (block.dims, block.shape) == (GRID, (64, 64, width))


def test_modules_of_hunyuan_are_listed_at_a_size_smaller_than_its_pipeline_draws():
    (block,) = capture.outline_shapes(capture.load_outline(build("hunyuan")), ["blocks.0"])
    assert (block.dims, block.shape) == (GRID, (8, 8, 24))


@pytest.mark.parametrize("name", ["lumina", "lumina_2", "z_image"])
def test_listing_what_a_configuration_does_not_tell_says_so(name):
    with pytest.raises(InputError, match="can't be told from its configuration"):
        capture.outline_shapes(capture.load_outline(build(name)), ["layers.0"])


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
