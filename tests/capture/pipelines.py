"""Small pipelines of diffusers' own classes with random weights, and tokenizers made on the spot."""

from __future__ import annotations

from collections.abc import Callable

import torch
import transformers
from diffusers import (
    AuraFlowPipeline,
    AuraFlowTransformer2DModel,
    AutoencoderDC,
    AutoencoderKL,
    ChromaPipeline,
    ChromaTransformer2DModel,
    CogVideoXDDIMScheduler,
    CogView3PlusPipeline,
    CogView3PlusTransformer2DModel,
    CogView4Pipeline,
    CogView4Transformer2DModel,
    DDIMScheduler,
    DDPMScheduler,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    HunyuanDiT2DModel,
    HunyuanDiTPipeline,
    Kandinsky3Pipeline,
    Kandinsky3UNet,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    LuminaNextDiT2DModel,
    LuminaPipeline,
    PixArtAlphaPipeline,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
    PNDMScheduler,
    SanaPipeline,
    SanaTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPAGPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    VQModel,
)
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from ldmscene.testbed.model import build_tokenizer

VOCABULARY = 600
WIDTH = 32  # of every text encoder


def words() -> transformers.PreTrainedTokenizerFast:
    """One token a letter, in the place of SentencePiece."""
    vocabulary = {"<pad>": 0, "</s>": 1, "<unk>": 2, **{chr(c): c for c in range(3, 128)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=77
    )


def clip(kind=transformers.CLIPTextModel):
    tokenizer = build_tokenizer()
    config = transformers.CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=37, projection_dim=WIDTH, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return kind(config)


def t5() -> transformers.T5EncoderModel:
    return transformers.T5EncoderModel(
        transformers.T5Config(vocab_size=VOCABULARY, d_model=WIDTH, d_kv=8, d_ff=37, num_layers=1, num_heads=2)
    )


def vae(blocks: int = 2, **options) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8,) * blocks, down_block_types=("DownEncoderBlock2D",) * blocks,
        up_block_types=("UpDecoderBlock2D",) * blocks, latent_channels=4, norm_num_groups=4, **options,
    )  # fmt: skip


def unet(**options) -> UNet2DConditionModel:
    return UNet2DConditionModel(**{
        "sample_size": 16, "block_out_channels": (16, 32), "layers_per_block": 1, "cross_attention_dim": WIDTH,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"), "attention_head_dim": 2, "norm_num_groups": 8,
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"), **options,
    })  # fmt: skip


def stable_diffusion(scheduler=PNDMScheduler, kind=StableDiffusionPipeline, **options) -> DiffusionPipeline:
    schedule = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
    schedule["skip_prk_steps" if scheduler is PNDMScheduler else "clip_sample"] = scheduler is PNDMScheduler
    return kind(
        vae=vae(), text_encoder=clip(), tokenizer=build_tokenizer(), unet=unet(**options),
        scheduler=scheduler(**schedule), safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def stable_diffusion_2() -> DiffusionPipeline:
    made = stable_diffusion(DDIMScheduler, attention_head_dim=(2, 4), use_linear_projection=True)
    made.scheduler = DDIMScheduler.from_config(made.scheduler.config, prediction_type="v_prediction")
    return made


def perturbed_attention() -> DiffusionPipeline:
    return stable_diffusion(DDIMScheduler, StableDiffusionPAGPipeline)


def latent_consistency() -> DiffusionPipeline:
    return stable_diffusion(LCMScheduler, LatentConsistencyModelPipeline, time_cond_proj_dim=32)


def stable_diffusion_xl() -> DiffusionPipeline:
    wide = {"addition_embed_type": "text_time", "addition_time_embed_dim": 8, "attention_head_dim": (2, 4)}
    return StableDiffusionXLPipeline(
        vae=vae(latents_mean=[0.1, 0.2, 0.0, -0.1], latents_std=[1.1, 0.9, 1.0, 1.2], scaling_factor=0.13),
        text_encoder=clip(), text_encoder_2=clip(transformers.CLIPTextModelWithProjection),
        tokenizer=build_tokenizer(), tokenizer_2=build_tokenizer(),
        unet=unet(**wide, projection_class_embeddings_input_dim=6 * 8 + WIDTH, cross_attention_dim=2 * WIDTH,
                  use_linear_projection=True, transformer_layers_per_block=(1, 2)),
        scheduler=EulerDiscreteScheduler(), add_watermarker=False,
    )  # fmt: skip


def stable_diffusion_3() -> DiffusionPipeline:
    projected = transformers.CLIPTextModelWithProjection
    return StableDiffusion3Pipeline(
        transformer=SD3Transformer2DModel(
            sample_size=16, patch_size=2, in_channels=4, out_channels=4, num_layers=2, attention_head_dim=8,
            num_attention_heads=4, caption_projection_dim=32, joint_attention_dim=2 * WIDTH,
            pooled_projection_dim=2 * WIDTH, pos_embed_max_size=16, dual_attention_layers=(0,),
        ),
        vae=vae(shift_factor=0.06, scaling_factor=1.5, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=clip(projected), tokenizer=build_tokenizer(), text_encoder_2=clip(projected),
        tokenizer_2=build_tokenizer(), text_encoder_3=_wide_t5(), tokenizer_3=words(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )  # fmt: skip


def _wide_t5() -> transformers.T5EncoderModel:
    config = transformers.T5Config(vocab_size=VOCABULARY, d_model=2 * WIDTH, d_kv=8, d_ff=37, num_layers=1, num_heads=2)
    return transformers.T5EncoderModel(config)


def pixart(kind=PixArtAlphaPipeline) -> DiffusionPipeline:
    return kind(
        transformer=PixArtTransformer2DModel(
            sample_size=16, num_layers=2, patch_size=2, attention_head_dim=8, num_attention_heads=3, in_channels=4,
            caption_channels=WIDTH, cross_attention_dim=24, out_channels=8, use_additional_conditions=False,
        ),
        vae=vae(), text_encoder=t5(), tokenizer=words(), scheduler=DPMSolverMultistepScheduler(),
    )  # fmt: skip


def pixart_sigma() -> DiffusionPipeline:
    return pixart(PixArtSigmaPipeline)


def flux() -> DiffusionPipeline:
    return FluxPipeline(
        transformer=FluxTransformer2DModel(
            in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
            joint_attention_dim=WIDTH, pooled_projection_dim=WIDTH, axes_dims_rope=(4, 4, 8), guidance_embeds=True,
        ),
        vae=vae(shift_factor=0.06, scaling_factor=1.5), text_encoder=clip(), tokenizer=build_tokenizer(),
        text_encoder_2=t5(), tokenizer_2=words(), scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
    )  # fmt: skip


def chroma() -> DiffusionPipeline:
    return ChromaPipeline(
        transformer=ChromaTransformer2DModel(
            in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
            joint_attention_dim=WIDTH, axes_dims_rope=(4, 4, 8), approximator_hidden_dim=32, approximator_layers=1,
            approximator_num_channels=16,
        ),
        vae=vae(shift_factor=0.06, scaling_factor=1.5), text_encoder=t5(), tokenizer=words(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )  # fmt: skip


def sana() -> DiffusionPipeline:
    return SanaPipeline(
        transformer=SanaTransformer2DModel(
            patch_size=1, in_channels=4, out_channels=4, num_layers=2, num_attention_heads=2, attention_head_dim=4,
            num_cross_attention_heads=2, cross_attention_head_dim=4, cross_attention_dim=8, caption_channels=WIDTH,
            sample_size=16,
        ),
        vae=AutoencoderDC(
            in_channels=3, latent_channels=4, attention_head_dim=2, encoder_block_types=("ResBlock", "ResBlock"),
            decoder_block_types=("ResBlock", "ResBlock"), encoder_block_out_channels=(8, 8),
            decoder_block_out_channels=(8, 8), encoder_layers_per_block=(1, 1), decoder_layers_per_block=(1, 1),
            encoder_qkv_multiscales=((), ()), decoder_qkv_multiscales=((), ()), downsample_block_type="conv",
            upsample_block_type="interpolate", scaling_factor=0.41,
        ),
        text_encoder=_gemma(transformers.Gemma2Model, transformers.Gemma2Config), tokenizer=words(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
    )  # fmt: skip


def _gemma(kind, config):
    return kind(config(
        vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=37, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, head_dim=16, pad_token_id=0, bos_token_id=2, eos_token_id=1,
    ))  # fmt: skip


def aura_flow() -> DiffusionPipeline:
    return AuraFlowPipeline(
        transformer=AuraFlowTransformer2DModel(
            sample_size=16, patch_size=2, in_channels=4, out_channels=4, num_mmdit_layers=1, num_single_dit_layers=1,
            attention_head_dim=8, num_attention_heads=4, caption_projection_dim=32, joint_attention_dim=WIDTH,
            pos_embed_max_size=256,
        ),
        vae=vae(), text_encoder=t5(), tokenizer=words(), scheduler=FlowMatchEulerDiscreteScheduler(),
    )  # fmt: skip


def lumina() -> DiffusionPipeline:
    return LuminaPipeline(
        transformer=LuminaNextDiT2DModel(
            sample_size=16, patch_size=2, in_channels=4, hidden_size=32, num_layers=2, num_attention_heads=2,
            num_kv_heads=1, multiple_of=16, cross_attention_dim=WIDTH, learn_sigma=True, scaling_factor=1.0,
        ),
        vae=vae(4), text_encoder=_gemma(transformers.GemmaModel, transformers.GemmaConfig), tokenizer=words(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )  # fmt: skip


def cogview_3() -> DiffusionPipeline:
    return CogView3PlusPipeline(
        transformer=CogView3PlusTransformer2DModel(
            patch_size=2, in_channels=4, out_channels=4, num_layers=2, attention_head_dim=4, num_attention_heads=2,
            text_embed_dim=WIDTH, time_embed_dim=8, condition_dim=2, pos_embed_max_size=16, sample_size=16,
        ),
        vae=vae(), text_encoder=t5(), tokenizer=words(), scheduler=CogVideoXDDIMScheduler(),
    )  # fmt: skip


def cogview_4() -> DiffusionPipeline:
    encoder = transformers.GlmConfig(
        vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=8, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, pad_token_id=0,
    )  # fmt: skip
    return CogView4Pipeline(
        transformer=CogView4Transformer2DModel(
            patch_size=2, in_channels=4, out_channels=4, num_layers=2, attention_head_dim=8, num_attention_heads=4,
            text_embed_dim=WIDTH, time_embed_dim=8, condition_dim=4, sample_size=16, rope_axes_dim=(16, 16),
        ),
        vae=vae(), text_encoder=transformers.GlmForCausalLM(encoder), tokenizer=words(),
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, time_shift_type="linear"),
    )  # fmt: skip


def hunyuan() -> DiffusionPipeline:
    encoder = transformers.BertConfig(
        vocab_size=VOCABULARY, hidden_size=WIDTH, num_hidden_layers=1, num_attention_heads=2, intermediate_size=37
    )
    return HunyuanDiTPipeline(
        transformer=HunyuanDiT2DModel(
            sample_size=16, num_layers=2, patch_size=2, attention_head_dim=8, num_attention_heads=3, in_channels=4,
            cross_attention_dim=WIDTH, cross_attention_dim_t5=WIDTH, pooled_projection_dim=16, hidden_size=24,
        ),
        vae=vae(4), text_encoder=transformers.BertModel(encoder), tokenizer=words(), text_encoder_2=t5(),
        tokenizer_2=words(), scheduler=DDPMScheduler(), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip


def kandinsky_3() -> DiffusionPipeline:
    return Kandinsky3Pipeline(
        unet=Kandinsky3UNet(
            in_channels=4, time_embedding_dim=4, groups=2, attention_head_dim=4, layers_per_block=2,
            block_out_channels=(8, 16), cross_attention_dim=WIDTH, encoder_hid_dim=WIDTH,
        ),
        movq=VQModel(
            block_out_channels=(8,) * 4, down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=4, norm_num_groups=4, num_vq_embeddings=12,
            vq_embed_dim=4, in_channels=3, out_channels=3, layers_per_block=1,
        ),
        text_encoder=t5(), tokenizer=words(),
        scheduler=DDPMScheduler(beta_schedule="squaredcos_cap_v2", clip_sample=True, thresholding=False),
    )  # fmt: skip


PIPELINES: dict[str, Callable[[], DiffusionPipeline]] = {
    maker.__name__: maker
    for maker in (
        stable_diffusion, stable_diffusion_2, perturbed_attention, latent_consistency, stable_diffusion_xl,
        stable_diffusion_3, pixart, pixart_sigma, flux, chroma, sana, aura_flow, lumina, cogview_3, cogview_4, hunyuan,
        kandinsky_3,
    )
}  # fmt: skip


def build(name: str) -> DiffusionPipeline:
    """One of them, with the same weights at every call."""
    torch.manual_seed(0)
    pipeline = PIPELINES[name]()
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()
            for weight in part.parameters():  # zero initialisation would make the text count for nothing
                torch.nn.init.normal_(weight, std=0.2) if not weight.any() else None
    return pipeline
