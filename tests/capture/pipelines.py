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
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    BriaPipeline,
    BriaTransformer2DModel,
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
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    FluxPipeline,
    FluxTransformer2DModel,
    HunyuanDiT2DModel,
    HunyuanDiTPipeline,
    Kandinsky3Pipeline,
    Kandinsky3UNet,
    KandinskyV22CombinedPipeline,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    Lumina2Pipeline,
    Lumina2Transformer2DModel,
    LuminaNextDiT2DModel,
    LuminaPipeline,
    PixArtAlphaPipeline,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
    PNDMScheduler,
    PriorTransformer,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
    SanaPipeline,
    SanaSprintPipeline,
    SanaTransformer2DModel,
    SCMScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPAGPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UnCLIPScheduler,
    UNet2DConditionModel,
    VQModel,
    ZImagePipeline,
    ZImageTransformer2DModel,
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


def sana(kind=SanaPipeline, scheduler=None, **options) -> DiffusionPipeline:
    return kind(
        transformer=SanaTransformer2DModel(
            patch_size=1, in_channels=4, out_channels=4, num_layers=2, num_attention_heads=2, attention_head_dim=4,
            num_cross_attention_heads=2, cross_attention_head_dim=4, cross_attention_dim=8, caption_channels=WIDTH,
            sample_size=16, **options,
        ),
        vae=AutoencoderDC(
            in_channels=3, latent_channels=4, attention_head_dim=2, encoder_block_types=("ResBlock", "ResBlock"),
            decoder_block_types=("ResBlock", "ResBlock"), encoder_block_out_channels=(8, 8),
            decoder_block_out_channels=(8, 8), encoder_layers_per_block=(1, 1), decoder_layers_per_block=(1, 1),
            encoder_qkv_multiscales=((), ()), decoder_qkv_multiscales=((), ()), downsample_block_type="conv",
            upsample_block_type="interpolate", scaling_factor=0.41,
        ),
        text_encoder=_gemma(transformers.Gemma2Model, transformers.Gemma2Config), tokenizer=words(),
        scheduler=scheduler or FlowMatchEulerDiscreteScheduler(shift=7.0),
    )  # fmt: skip


def sana_sprint() -> DiffusionPipeline:
    return sana(SanaSprintPipeline, SCMScheduler(), guidance_embeds=True, qk_norm="rms_norm_across_heads")


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


def lumina_2() -> DiffusionPipeline:
    return Lumina2Pipeline(
        transformer=Lumina2Transformer2DModel(
            sample_size=16, patch_size=2, in_channels=4, hidden_size=24, num_layers=2, num_refiner_layers=1,
            num_attention_heads=2, num_kv_heads=1, multiple_of=2, axes_dim_rope=(4, 4, 4), axes_lens=(300, 32, 32),
            cap_feat_dim=WIDTH,
        ),
        vae=vae(4, shift_factor=0.1, scaling_factor=1.5), tokenizer=words(),
        text_encoder=_gemma(transformers.Gemma2Model, transformers.Gemma2Config),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )  # fmt: skip


def _chat() -> transformers.PreTrainedTokenizerFast:
    tokenizer = words()
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    return tokenizer


def _qwen(layers: int) -> transformers.Qwen3Config:
    return transformers.Qwen3Config(
        vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=37, num_hidden_layers=layers, num_attention_heads=2,
        num_key_value_heads=2, head_dim=16, pad_token_id=0, bos_token_id=2, eos_token_id=1,
    )  # fmt: skip


def z_image() -> DiffusionPipeline:
    return ZImagePipeline(
        transformer=ZImageTransformer2DModel(
            in_channels=4, dim=32, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=WIDTH,
            axes_dims=[8, 4, 4], axes_lens=[256, 32, 32],
        ),
        vae=vae(shift_factor=0.1, scaling_factor=1.5), text_encoder=transformers.Qwen3Model(_qwen(3)),
        tokenizer=_chat(), scheduler=FlowMatchEulerDiscreteScheduler(),
    )  # fmt: skip


def flux_2() -> DiffusionPipeline:
    autoencoder = AutoencoderKLFlux2(
        sample_size=32, down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8), layers_per_block=1, latent_channels=4, norm_num_groups=4, use_quant_conv=False,
        use_post_quant_conv=False,
    )  # fmt: skip
    autoencoder.bn.running_mean.normal_()
    autoencoder.bn.running_var.uniform_(0.5, 2)
    return Flux2KleinPipeline(
        transformer=Flux2Transformer2DModel(
            patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
            num_attention_heads=2, joint_attention_dim=3 * WIDTH, timestep_guidance_channels=32,
            axes_dims_rope=[4, 4, 4, 4], guidance_embeds=False,
        ),
        vae=autoencoder, text_encoder=transformers.Qwen3ForCausalLM(_qwen(28)), tokenizer=_chat(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )  # fmt: skip


def qwen_image() -> DiffusionPipeline:
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1000000.0}
    encoder = transformers.Qwen2_5_VLConfig(
        text_config={
            "hidden_size": WIDTH, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 2,
            "num_key_value_heads": 2, "rope_parameters": rope, "vocab_size": VOCABULARY, "bos_token_id": 2,
            "eos_token_id": 1, "pad_token_id": 0,
        },
        vision_config={
            "depth": 1, "hidden_size": WIDTH, "intermediate_size": 37, "num_heads": 2, "out_hidden_size": WIDTH,
        },
        vision_start_token_id=590, vision_end_token_id=591, image_token_id=592, video_token_id=593,
    )  # fmt: skip
    return QwenImagePipeline(
        transformer=QwenImageTransformer2DModel(
            patch_size=2, in_channels=16, out_channels=4, num_layers=2, attention_head_dim=16, num_attention_heads=3,
            joint_attention_dim=WIDTH, guidance_embeds=False, axes_dims_rope=(8, 4, 4),
        ),
        vae=AutoencoderKLQwenImage(
            base_dim=24, z_dim=4, dim_mult=[1, 2, 4], num_res_blocks=1, temperal_downsample=[False, True],
            latents_mean=[0.1, 0.2, 0.0, -0.1], latents_std=[1.1, 0.9, 1.0, 1.2],
        ),
        text_encoder=transformers.Qwen2_5_VLForConditionalGeneration(encoder), tokenizer=words(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )  # fmt: skip


def bria() -> DiffusionPipeline:
    """Of a kind that ldmscene has no entry for."""
    return BriaPipeline(
        transformer=BriaTransformer2DModel(
            patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=8,
            num_attention_heads=2, joint_attention_dim=WIDTH, pooled_projection_dim=None, axes_dims_rope=[0, 4, 4],
        ),
        vae=vae(shift_factor=0.0, scaling_factor=0.13), text_encoder=t5(), tokenizer=words(),
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


def kandinsky_2() -> DiffusionPipeline:
    """The prior and the decoder in one, as they are used for text."""
    sizes = {"hidden_size": WIDTH, "projection_dim": WIDTH, "intermediate_size": 37, "num_hidden_layers": 2}
    sizes["num_attention_heads"] = 4
    prior = PriorTransformer(
        num_attention_heads=2, attention_head_dim=12, embedding_dim=WIDTH, num_layers=1, num_embeddings=77,
        additional_embeddings=4,
    )  # fmt: skip
    prior.clip_std = torch.nn.Parameter(torch.ones(WIDTH)[None])
    tokenizer = build_tokenizer()
    tokenizer.model_max_length = 77
    text = transformers.CLIPTextConfig(
        vocab_size=len(tokenizer), max_position_embeddings=77, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, **sizes,
    )  # fmt: skip
    vision = transformers.CLIPVisionConfig(image_size=224, patch_size=56, num_channels=3, **sizes)
    learned = {"in_channels": 4, "out_channels": 8, "encoder_hid_dim": WIDTH, "encoder_hid_dim_type": "image_proj"}
    return KandinskyV22CombinedPipeline(
        unet=unet(
            **learned, addition_embed_type="image", resnet_time_scale_shift="scale_shift", attention_head_dim=4,
            down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
            up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
            mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        ),
        scheduler=DDIMScheduler(beta_start=0.00085, clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        movq=VQModel(
            block_out_channels=[32, 32], down_block_types=["DownEncoderBlock2D"] * 2, latent_channels=4,
            up_block_types=["UpDecoderBlock2D"] * 2, norm_num_groups=8, norm_type="spatial", num_vq_embeddings=12,
            vq_embed_dim=4, in_channels=3, out_channels=3, layers_per_block=1,
        ),
        prior_prior=prior, prior_image_encoder=transformers.CLIPVisionModelWithProjection(vision),
        prior_text_encoder=transformers.CLIPTextModelWithProjection(text), prior_tokenizer=tokenizer,
        prior_scheduler=UnCLIPScheduler(variance_type="fixed_small_log", prediction_type="sample"),
        prior_image_processor=transformers.CLIPImageProcessorPil(crop_size=224, size=224),
    )  # fmt: skip


PIPELINES: dict[str, Callable[[], DiffusionPipeline]] = {
    maker.__name__: maker
    for maker in (
        stable_diffusion, stable_diffusion_2, perturbed_attention, latent_consistency, stable_diffusion_xl,
        stable_diffusion_3, pixart, pixart_sigma, flux, flux_2, chroma, sana, sana_sprint, aura_flow, lumina, lumina_2,
        z_image, qwen_image, cogview_3, cogview_4, hunyuan, kandinsky_2, kandinsky_3,
    )
}  # fmt: skip


def build(name: str) -> DiffusionPipeline:
    """One of them, or "bria", with the same weights at every call."""
    torch.manual_seed(0)
    pipeline = bria() if name == "bria" else PIPELINES[name]()
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()
            for weight in part.parameters():  # zero initialisation would make the text count for nothing
                torch.nn.init.normal_(weight, std=0.2) if not weight.any() else None
    return pipeline
