"""What capture and store add to the pipeline that they listen to, and what they hold in memory.

python -m benchmarks.capture tiny      on the embedded model
python -m benchmarks.capture unet      on a denoiser of Stable Diffusion v1.4's size with random weights
python -m benchmarks.capture memory    peak memory with ten times more samples
python -m benchmarks.capture full      a whole extraction at v1.4's size, against what the dry run foretold
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DiffusionPipeline, StableDiffusionPipeline, UNet2DConditionModel
from rich.console import Console
from transformers import CLIPTextConfig, CLIPTextModel

import ldmscene
from benchmarks import harness
from ldmscene import capture, testbed
from ldmscene.device import peak_memory
from ldmscene.extraction.fill import Batch, array_specs, generate
from ldmscene.manifest import Manifest, read_manifest
from ldmscene.store import StoreWriter
from ldmscene.store.prepare import prepare_store
from ldmscene.testbed.model import build_scheduler, build_tokenizer
from ldmscene.testbed.prompts import random_prompts

GUIDANCE = 7.5


def build_v1_4(dtype: torch.dtype = torch.float32) -> StableDiffusionPipeline:
    """Stable Diffusion v1.4's classes and sizes with random weights; the tokenizer is the testbed's."""
    tokenizer = build_tokenizer()
    tokenizer.model_max_length = 77
    text = CLIPTextConfig(
        vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    return StableDiffusionPipeline(
        vae=autoencoder_v1_4(), text_encoder=CLIPTextModel(text), tokenizer=tokenizer, unet=denoiser_v1_4(),
        scheduler=build_scheduler(), safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    ).to(dtype)  # fmt: skip


def denoiser_v1_4() -> UNet2DConditionModel:
    return UNet2DConditionModel(sample_size=64, cross_attention_dim=768)  # the other defaults are v1.4's own


def autoencoder_v1_4() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4, sample_size=512,
    )  # fmt: skip


def make_manifest(samples: int) -> Manifest:
    return read_manifest([(prompt, i) for i, prompt in enumerate(random_prompts(samples, seed=1))])


def overhead(pipeline: DiffusionPipeline, samples: int, steps: int, batch_size: int, rounds: int) -> list[dict]:
    """The pipeline alone, with pictures decoded, beside the same run captured and stored in all 16 modules."""
    manifest = make_manifest(samples)
    plan = capture.make_plan(
        pipeline, modules="self-attention", steps=steps, guidance_scale=GUIDANCE, negative_prompt="", height=None,
        width=None, branch="cond", dtype="float16",
    )  # fmt: skip
    specs = array_specs(plan, previews=False)
    everything = frozenset(spec.path for spec in specs)
    pipeline.set_progress_bar_config(disable=True)

    def batches() -> list[range]:
        return [range(i, min(i + batch_size, samples)) for i in range(0, samples, batch_size)]

    def alone() -> None:
        for rows in batches():
            some = manifest.frame.iloc[list(rows)]
            with torch.no_grad():
                latents = pipeline(**plan.arguments(some["prompt"].tolist(), some["seed"].tolist()))[0]
            capture.decode(pipeline, latents)

    with tempfile.TemporaryDirectory() as folder, counted(pipeline) as calls:
        names, roots = [m.name for m in plan.modules], []

        def prepare() -> None:  # anew for each run, since what is finished isn't written again
            roots.append(Path(folder) / str(len(roots)))
            prepare_store(roots[-1], {"branches": ["cond"]}, manifest, names, plan.timesteps, specs, list)

        def stored() -> None:
            with StoreWriter(roots[-1], specs) as writer:
                for rows in batches():
                    batch = Batch(tuple(rows), (everything,) * len(rows))
                    for row in generate(plan, manifest, batch):
                        writer.put(row)

        prepare()
        stored()
        assert len(calls) == len(batches()) * len(plan.timesteps), "capturing must cost no denoiser call"
        seconds = harness.measure({"pipeline alone": alone, "captured and stored": stored}, rounds, before=prepare)
    return harness.compare(seconds, "pipeline alone", samples=samples)


@contextmanager
def counted(pipeline: DiffusionPipeline):
    """Count the denoiser's calls."""
    calls: list[int] = []
    handle = capture.denoiser_of(pipeline)[1].register_forward_hook(lambda *_: calls.append(1))
    try:
        yield calls
    finally:
        handle.remove()


def memory() -> list[dict]:
    """Peak memory of whole extractions on the embedded model beyond that of one batch, each in its own process."""
    peaks = {samples: _apart("many", str(samples))["bytes_of_memory"] / 1e6 for samples in (8, 24, 240)}
    return [
        {"samples": samples, "peak MB": round(peak, 1), "beyond one batch, MB": round(peak - peaks[8], 1)}
        for samples, peak in peaks.items()
    ]


def full() -> list[dict]:
    """Two images, two steps, 16 modules at v1.4's full size in float32, and what the dry run said of it."""
    told, found = _apart("foretell"), _apart("whole")
    return [
        {"what": what, "foretold": told[what], "measured": found[what], "ratio": round(found[what] / told[what], 3)}
        for what in ("bytes", "seconds", "bytes_of_memory")
    ]


def _apart(name: str, *words: str) -> dict[str, float]:
    """What a function of this file measures in a process of its own, so that its peak memory is its own."""
    command = [sys.executable, "-m", "benchmarks.capture", name, *words]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def many(samples: str) -> dict[str, float]:
    """So many samples of the embedded model."""
    return _measured("tiny-scenes", int(samples), steps=5, batch_size=8)


def whole() -> dict[str, float]:
    """The extraction at v1.4's size."""
    return _measured(build_v1_4(), 2, steps=2)


def foretell() -> dict[str, float]:
    """The same as a dry run."""
    return ldmscene.extract(build_v1_4(), make_manifest(2), "nowhere", steps=2, dry_run=True)


def _measured(model: str | DiffusionPipeline, samples: int, **options) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        store = ldmscene.extract(model, make_manifest(samples), f"{folder}/s", progress=False, **options)
        seconds = time.perf_counter() - start
        stored = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    assert store.samples["complete"].all()
    return {"bytes": stored, "seconds": seconds, "bytes_of_memory": peak_memory()}


def main(what: str, *words: str) -> None:
    torch.manual_seed(0)
    if part := {"many": many, "whole": whole, "foretell": foretell}.get(what):
        print(json.dumps(part(*words)))
        return
    if what == "tiny":
        rows = overhead(capture.load_pipeline(testbed.MODELS["tiny-scenes"]), 24, 15, 8, rounds=5)
    elif what == "unet":
        rows = overhead(build_v1_4(torch.bfloat16), 1, 2, 1, rounds=2)
    else:
        rows = {"memory": memory, "full": full}[what]()
    harness.save(f"capture-{what}", rows)
    Console().print(harness.table(rows, f"capture: {what}"))


if __name__ == "__main__":
    main(*sys.argv[1:])
