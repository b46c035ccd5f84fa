"""The architecture of `tiny-scenes`: a Stable Diffusion v1.4 in miniature.

The UNet has SD v1.4's block structure (three cross-attention down blocks and a plain one, mirrored up
blocks, two layers a block), so that its 16 self-attention modules carry exactly SD v1.4's names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, StableDiffusionPipeline, UNet2DConditionModel
from tokenizers import AddedToken, pre_tokenizers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from ldmscene.testbed.words import vocabulary

PIXELS = 64
LATENT_CHANNELS = 4
LATENT_PIXELS = 16
TOKENS = 48
START, END = "<|startoftext|>", "<|endoftext|>"


def build_vae() -> AutoencoderKL:
    """64 × 64 × 3 pixels to 16 × 16 × 4 latents."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(32, 32, 64),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=16,
        sample_size=PIXELS,
        scaling_factor=1.0,
    )


def build_unet() -> UNet2DConditionModel:
    """The denoiser, with SD v1.4's blocks in a twentieth of its width."""
    return UNet2DConditionModel(
        sample_size=LATENT_PIXELS,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        layers_per_block=2,
        block_out_channels=(48, 64, 96, 96),
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        cross_attention_dim=64,
        attention_head_dim=2,  # diffusers reads this as the number of heads
        norm_num_groups=16,
    )


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=256,
            projection_dim=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=tokenizer.model_max_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_tokenizer() -> CLIPTokenizer:
    """A byte-level BPE whose merges make one token of every word of the captions."""
    merges = merge_words(sorted(vocabulary()))
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    symbols = dict.fromkeys([*alphabet, *(f"{c}</w>" for c in alphabet), *("".join(pair) for pair in merges)])
    vocab = {symbol: i for i, symbol in enumerate([*symbols, START, END])}
    special = {
        "bos_token": AddedToken(START, special=True, normalized=False),
        "eos_token": AddedToken(END, special=True, normalized=False),
    }
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=TOKENS, **special)


def merge_words(words: Sequence[str]) -> list[tuple[str, str]]:
    """Merge the most frequent pair of neighbours until each word is one symbol (Sennrich et al. 2016, algorithm 1).

    Ties go to the pair that sorts last, so that the same words always give the same merges.
    """
    split = [[*word[:-1], f"{word[-1]}</w>"] for word in words]
    merges = []
    while pairs := Counter(pair for symbols in split for pair in pairwise(symbols)):
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        split = [_merged(symbols, best) for symbols in split]
    return merges


def _merged(symbols: list[str], pair: tuple[str, str]) -> list[str]:
    out: list[str] = []
    for symbol in symbols:
        if out and (out[-1], symbol) == pair:
            out[-1] += symbol
        else:
            out.append(symbol)
    return out


def build_scheduler() -> DPMSolverMultistepScheduler:
    """SD v1.4's noise schedule, with v-prediction (Salimans and Ho 2022, section 4).

    DPM-Solver++ of order 2 (Lu et al. 2022), since LMS lets pictures fall apart at guidance 7.5, SD v1.4's: see
    `python -m benchmarks.samplers`.
    """
    return DPMSolverMultistepScheduler.from_config(
        {
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "beta_schedule": "scaled_linear",
            "num_train_timesteps": 1000,
            "prediction_type": "v_prediction",
            # For DDIM and PNDM, which are made from this config: as SD v1.4 has them.
            "clip_sample": False,
            "set_alpha_to_one": False,
            "skip_prk_steps": True,
            "steps_offset": 1,
        }
    )


def build_pipeline(
    vae: AutoencoderKL, tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel, unet: UNet2DConditionModel
) -> StableDiffusionPipeline:
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
