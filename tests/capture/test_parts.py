"""Modules of text encoders and of the autoencoder: what is captured is what an independent hook saw."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ldmscene import capture
from ldmscene.capture.decoding import _as_maps
from ldmscene.capture.layout import GRID, TOKENS
from ldmscene.errors import InputError, LdmsceneError, UnknownNameError
from tests.capture import noise_pipelines
from tests.capture.known import KNOWN, PROMPT, SEED, STEPS, plan_of
from tests.capture.pipelines import build

LAYER = "{}.encoder.layers.1"
DECODER = ["vae.decoder.mid_block", "vae.decoder.up_blocks.*.resnets.0", "vae.decoder.conv_norm_out"]
# In the order in which diffusers' source reads them, with a negative prompt; of encoders whose layers are named alike.
TEXTS = {
    "stable_diffusion": {LAYER.format("text_encoder"): ("cond", "uncond")},
    "stable_diffusion_xl": {
        "text_encoder.encoder.layers.1": ("cond", "uncond"),
        "text_encoder_2.text_model.encoder.layers.1": ("cond", "uncond"),
    },
    "pixart": {"text_encoder.encoder.block.0": ("cond", "uncond")},
    "flux": {LAYER.format("text_encoder"): ("cond",), "text_encoder_2.encoder.block.0": ("cond",)},
    "sana": {"text_encoder.layers.0": ("cond", "uncond")},
    "qwen_image": {},
}
NEGATIVE = "ugly"


class Hooks:
    """Outputs of modules in a run of diffusers alone, by their dotted names inside the pipeline."""

    def __init__(self, pipeline, names):
        self.outputs: dict[str, list[torch.Tensor]] = {name: [] for name in names}
        parts = {name: getattr(pipeline, name.split(".")[0]).get_submodule(name.partition(".")[2]) for name in names}
        self.handles = [parts[n].register_forward_hook(lambda _m, _a, out, n=n: self._add(n, out)) for n in names]

    def _add(self, name, output):
        self.outputs[name].append((output[0] if isinstance(output, tuple) else output).detach().clone())

    def __enter__(self):
        return self.outputs

    def __exit__(self, *_):
        for handle in self.handles:
            handle.remove()


def _call(pipeline, name, prompts, seeds, **more):
    known = KNOWN[name]
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(
        prompt=prompts, height=known.size[0], width=known.size[1],
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
        **{"num_inference_steps": STEPS} | known.arguments | more,
    )  # fmt: skip


def _plan(pipeline, name, modules, **changes):
    negative = {} if name == "flux" else {"negative_prompt": NEGATIVE}
    one = {"branch": "cond"} if name == "sana" else {}  # which reads more of the prompt than of the negative one
    return plan_of(pipeline, name, modules, **negative | one | changes)


def _hold_listed(pipeline, plan, modules):
    """What configurations alone tell of modules is what is captured, at the denoiser's own size."""
    listed = capture.outlined(pipeline, modules)
    assert [(m.name, m.dims) for m in listed] == [(m.name, m.dims) for m in plan.every]
    own = capture.default_latent(capture.denoiser_of(pipeline)[1])
    for alone, captured in zip(listed, plan.every, strict=True):
        if captured.dims == GRID:  # tests draw smaller pictures than some denoisers were made for
            y, x = (length * side // of for length, side, of in zip(captured.shape[:2], own, plan.latent, strict=True))
            assert alone.shape == (y, x, captured.shape[2])
        else:
            assert alone.shape[1] == captured.shape[1]
            # Others pad beyond what these small tokenizers take.
            assert alone.shape == captured.shape or "StableDiffusion" not in type(pipeline).__name__


@pytest.mark.parametrize("name", ["stable_diffusion", "stable_diffusion_xl", "flux", "sana", "qwen_image", "pixart"])
def test_parts_are_captured_as_they_run(name):
    pipeline = build(name)
    texts = TEXTS[name]
    modules = [*texts, *(DECODER if name not in ("sana", "qwen_image") else ["vae.decoder.conv_in"])]
    plan = _plan(pipeline, name, modules)
    _hold_listed(pipeline, plan, modules)
    (ours,) = capture.run(plan, [PROMPT], [SEED])
    negative = {} if name == "flux" else {"negative_prompt": [NEGATIVE]}
    with Hooks(pipeline, ours.activations) as outputs:
        _call(pipeline, name, [PROMPT], [SEED], output_type="np", **negative)
    for module, order in texts.items():
        assert len(outputs[module]) == len(order)
        wanted = np.concatenate([outputs[module][order.index(branch)].numpy() for branch in plan.branches])
        np.testing.assert_array_equal(ours.activations[module], wanted, err_msg=module)
        assert len(wanted) == 1 or not np.array_equal(*wanted)  # or the order would say nothing
    drawn = [module for module in plan.every if module.part == "vae"]
    assert drawn
    assert not plan.modules
    for module in drawn:
        (output,) = outputs[module.name]
        theirs = (output[:, :, 0] if output.ndim == 5 else output)[0].permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(ours.activations[module.name], theirs, err_msg=module.name)
        assert (module.dims, module.step, module.axes) == (GRID, len(plan.timesteps) - 1, ())


def test_a_pipeline_that_reads_its_negative_prompt_first_is_told():
    """LDMTextToImagePipeline calls its `bert`, and then once more, the other way round than most."""
    pipeline = noise_pipelines.build("ldm_text")
    plan = capture.make_plan(
        pipeline, modules=["bert.encoder.layers.0", "vqvae.decoder.mid_block"], steps=2, guidance_scale=4.0,
        negative_prompt="", height=None, width=None, branch="both", dtype="float32",
    )  # fmt: skip
    assert plan.texts == {"bert": ("uncond", "cond")}
    (ours,) = capture.run(plan, [PROMPT], [SEED])
    pipeline.set_progress_bar_config(disable=True)
    with Hooks(pipeline, ours.activations) as outputs:
        pipeline(
            PROMPT, num_inference_steps=2, guidance_scale=4.0, generator=torch.Generator().manual_seed(SEED),
            output_type="np",
        )  # fmt: skip
    theirs = torch.cat(outputs["bert.encoder.layers.0"]).numpy()
    np.testing.assert_array_equal(ours.activations["bert.encoder.layers.0"], theirs)
    (output,) = outputs["vqvae.decoder.mid_block"]
    np.testing.assert_array_equal(ours.activations["vqvae.decoder.mid_block"], output[0].permute(1, 2, 0).numpy())


def test_at_every_step_the_decoder_draws_what_is_predicted_and_at_the_last_the_picture():
    pipeline, name = build("stable_diffusion"), "vae.decoder.up_blocks.0.resnets.0"
    plan = _plan(pipeline, "stable_diffusion", [name, "mid_block"], decode_each=True, steps=3)
    (ours,) = capture.run(plan, [PROMPT], [SEED])
    with Hooks(pipeline, [name]) as outputs:
        for x0 in ours.predicted[:-1]:
            pipeline.vae.decode(torch.from_numpy(x0[None]) / pipeline.vae.config.scaling_factor)
        _call(
            pipeline, "stable_diffusion", [PROMPT], [SEED],
            num_inference_steps=3, negative_prompt=[NEGATIVE], output_type="np",
        )  # fmt: skip
    theirs = torch.cat(outputs[name]).permute(0, 2, 3, 1).numpy()
    assert theirs.shape[0] == len(plan.timesteps)
    np.testing.assert_array_equal(ours.activations[name], theirs)
    assert plan.every[-1].axes == ("step",)


@pytest.mark.parametrize("sliced", [False, True])
def test_a_batch_of_two_holds_what_each_would_alone(sliced):
    pipeline = build("stable_diffusion")
    text, prompts = LAYER.format("text_encoder"), [PROMPT, "a large red cube, of another kind"]
    plan = _plan(pipeline, "stable_diffusion", [text, *DECODER])
    if sliced:
        pipeline.vae.enable_slicing()
    together = capture.run(plan, prompts, [SEED, SEED + 1])
    with Hooks(pipeline, [text]) as outputs:
        final = _call(
            pipeline,
            "stable_diffusion",
            prompts,
            [SEED, SEED + 1],
            negative_prompt=[NEGATIVE] * 2,
            output_type="latent",
        ).images
    cond, uncond = (one.numpy() for one in outputs[text])
    for i, ours in enumerate(together):
        np.testing.assert_array_equal(ours.activations[text], [uncond[i], cond[i]])
        with Hooks(pipeline, DECODER[:1]) as outputs:
            pipeline.vae.decode(final[i : i + 1] / pipeline.vae.config.scaling_factor)
        (output,) = outputs[DECODER[0]]
        np.testing.assert_array_equal(ours.activations[DECODER[0]], output[0].permute(1, 2, 0).numpy())


@pytest.mark.parametrize(
    ("module", "changes", "error", "message"),
    [
        ("vae.decoder.up_block.1", {}, UnknownNameError, r"no module of vae named .* vae\.decoder\.up_blocks\.1"),
        ("text_encoder_2.encoder", {}, UnknownNameError, r"nearest: text_encoder\.encoder"),
        ("vea.decoder.mid_block", {}, UnknownNameError, r"nearest: vae\.decoder\.mid_block"),
        ("vae.decoder.up_blocks", {}, InputError, r"a list of modules, .* or all by 'vae\.decoder\.up_blocks\.\*'"),
        ("up_blocks", {}, InputError, r"up_blocks is a list of modules, which is never called; name one of them"),
        ("vae.encoder.mid_block", {}, InputError, "vae.encoder.mid_block is never called while a picture is decoded"),
        ("vae.decoder.mid_block.resnets.0.nonlinearity", {}, InputError, "2 times called"),
        ("text_encoder.encoder.layers.0.mlp.activation_fn", {"branch": "uncond", "negative_prompt": ""}, None, ""),
        ("text_encoder.embeddings.position_embedding", {"branch": "cond"}, InputError, "it doesn't depend on the text"),
        ("text_encoder.pooler", {}, UnknownNameError, "no module of text_encoder named"),
    ],
)  # fmt: skip
def test_what_cannot_be_captured_is_told_in_one_sentence(module, changes, error, message):
    pipeline = build("stable_diffusion")
    if error is None:
        assert _plan(pipeline, "stable_diffusion", module, **changes).every[0].dims == TOKENS
        return
    with pytest.raises(error, match=message) as caught:
        _plan(pipeline, "stable_diffusion", module, **changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["stable_diffusion_xl", "flux"])
def test_a_saved_pipelines_modules_are_listed_without_its_weights(name, tmp_path):
    pipeline = build(name)
    words = ["self-attention", "vae", "text_encoder", "text_encoder_2"]
    wanted = capture.outlined(pipeline, words)
    pipeline.save_pretrained(tmp_path)
    for weights in tmp_path.rglob("*.safetensors"):
        weights.unlink()
    assert capture.outlined(str(tmp_path), words) == wanted
    assert {m.part for m in wanted} == {"", "vae", "text_encoder", "text_encoder_2"}
    assert capture.part_names(str(tmp_path)) == capture.part_names(pipeline) == words[2:] + words[1:2]
    with pytest.raises(UnknownNameError, match=r"nearest: vae\.decoder\.mid_block"):
        capture.outlined(str(tmp_path), "vea.decoder.mid_block")


def test_what_is_listed_of_a_text_encoder_is_captured_in_a_batch():
    pipeline = build("stable_diffusion")
    names = [m.name for m in capture.outlined(pipeline, "text_encoder")]
    assert len(names) == 28  # all but its lists, and the embedding of positions
    plan = _plan(pipeline, "stable_diffusion", names)
    together = capture.run(plan, [PROMPT, "a cone"], [SEED, 2])
    (alone,) = capture.run(plan, ["a cone"], [2])
    for name in names:
        np.testing.assert_allclose(together[1].activations[name], alone.activations[name], rtol=1e-4, atol=1e-5)


def test_an_unconditional_models_autoencoder_is_listed_by_its_own_name(tmp_path):
    pipeline = noise_pipelines.build("ldm_text")
    pipeline.save_pretrained(tmp_path)
    for model in (pipeline, str(tmp_path)):
        layer, block = capture.outlined(model, ["bert.encoder.layers.0", "vqvae.decoder.mid_block"])
        assert (layer.name, layer.dims) == ("bert.encoder.layers.0", TOKENS)
        assert (block.name, block.dims) == ("vqvae.decoder.mid_block", GRID)


def test_shapes_of_a_decoder_are_told_without_decoding(monkeypatch):
    pipeline = build("stable_diffusion")
    wanted = _plan(pipeline, "stable_diffusion", DECODER).drawing
    monkeypatch.setattr(pipeline.vae, "decode", None)
    assert _plan(pipeline, "stable_diffusion", DECODER).drawing == wanted


def test_a_decoder_in_tiles_and_texts_that_are_not_read_are_refused():
    pipeline = build("stable_diffusion")
    pipeline.vae.enable_tiling()
    with pytest.raises(InputError, match=r"vae decodes in tiles.*disable_tiling\(\)"):
        _plan(pipeline, "stable_diffusion", DECODER[0])
    wide = build("stable_diffusion_xl")  # whose unconditional input is zeros where there is no negative prompt
    with pytest.raises(InputError, match="text_encoder reads no negative prompt in StableDiffusionXLPipeline"):
        _plan(wide, "stable_diffusion_xl", LAYER.format("text_encoder"), negative_prompt="")


@pytest.mark.parametrize(
    ("name", "module", "message"),
    [
        ("qwen_image", "text_encoder.model.language_model.layers.0", "returns 218 or 220 or 250 tokens, for prompts"),
        ("sana", "text_encoder.layers.0", r"returns 300 or 1356 tokens, .* or for the two branches"),
    ],
)  # fmt: skip
def test_tokens_of_several_lengths_are_refused(name, module, message):
    with pytest.raises(InputError, match=message):
        _plan(build(name), name, module, branch="both")


def test_a_text_encoder_that_reads_more_than_two_texts_is_refused():
    pipeline = build("stable_diffusion")
    once, name = pipeline.encode_prompt, LAYER.format("text_encoder")

    def twice(*args, **kwargs):
        once(*args, **kwargs)
        return once(*args, **kwargs)

    pipeline.encode_prompt = twice
    with pytest.raises(InputError, match="text_encoder reads 4 texts for one picture, of which 2 depend on the prompt"):
        _plan(pipeline, "stable_diffusion", name)


def test_a_compiled_decoder_is_told(monkeypatch):
    """A compiled graph runs past hooks: as if the module were never called."""
    pipeline = build("stable_diffusion")
    plan = _plan(pipeline, "stable_diffusion", DECODER[0])
    block = pipeline.vae.decoder.mid_block
    monkeypatch.setattr(type(block), "__call__", lambda self, *a, **k: self.forward(*a, **k))
    with pytest.raises(
        LdmsceneError, match="returned 0 results for 1 pictures; a compiled autoencoder runs past hooks"
    ):
        capture.run(plan, [PROMPT], [SEED])


def test_maps_are_those_of_latents_in_whole_numbers():
    for shape in ((1, 5, 16, 24), (1, 5, 1, 16, 24), (1, 5, 4, 6)):
        assert _as_maps("m", torch.zeros(shape), (8, 12)).shape == (1, *shape[-2:], 5)
    assert _as_maps("m", torch.zeros(1, 96, 5), (8, 12)).shape == (1, 8, 12, 5)
    for shape in ((1, 5), (1, 95, 5), (1, 16, 24, 5), (1, 5, 12, 18)):
        with pytest.raises(InputError, match="which is no map"):
            _as_maps("m", torch.zeros(shape), (8, 12))
