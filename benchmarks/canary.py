"""What asking a model again costs, against the batch of samples that is generated then.

python -m benchmarks.canary

On the embedded model in processor seconds, which other programs don't disturb; at Stable Diffusion v1.4's size in
floating-point operations, counted without computing any.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from rich.console import Console
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import harness
from benchmarks.capture import GUIDANCE, autoencoder_v1_4, denoiser_v1_4, make_manifest
from ldmscene import capture, testbed
from ldmscene.capture.canary import CALLS, canary, strip

SAMPLES, STEPS = 8, 15


def tiny(pipeline=None, rounds: int = 5) -> dict:
    """Processor seconds of one canary, and of a batch with its pictures, on the embedded model."""
    plan = capture.make_plan(
        pipeline or capture.load_pipeline(testbed.MODELS["tiny-scenes"], "cpu"), modules="self-attention", steps=STEPS,
        guidance_scale=GUIDANCE, negative_prompt="", height=None, width=None, branch="cond", dtype="float16",
    )  # fmt: skip
    frame = make_manifest(SAMPLES).frame
    asked, made = (
        _seconds(lambda: canary(plan), rounds),
        _seconds(lambda: capture.run(plan, frame["prompt"].tolist(), frame["seed"].tolist()), rounds),
    )
    return _row("tiny-scenes, processor seconds", asked, made)


def full() -> dict:
    """Operations of one canary, and of a batch with its pictures, at Stable Diffusion v1.4's size; text left out."""
    with torch.device("meta"):
        denoiser, autoencoder = denoiser_v1_4(), autoencoder_v1_4()
        latents, text = torch.empty(2, 4, 64, 64), torch.empty(2, 77, 768)
        call = _operations(lambda: denoiser(latents, torch.empty(()), text))
        whole = _operations(lambda: autoencoder.decode(latents[:1]))
        part = _operations(lambda: autoencoder.decode(strip(latents[:1])))
    asked, made = CALLS * call + part, SAMPLES * (STEPS * call + whole)
    return _row("v1.4's size, 10¹² operations", asked / 1e12, made / 1e12)


def _seconds(way: Callable[[], object], rounds: int) -> float:
    way()
    found = []
    for _ in range(rounds):
        start = time.process_time()
        way()
        found.append(time.process_time() - start)
    return statistics.median(found)


def _operations(way: Callable[[], object]) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        way()
    return counter.get_total_flops()


def _row(what: str, asked: float, made: float) -> dict:
    share = f"{100 * asked / made:.2f} %"
    return {
        "what": what,
        "canary": round(asked, 3),
        f"{SAMPLES} samples, {STEPS} steps": round(made, 3),
        "share": share,
    }


if __name__ == "__main__":
    rows = [full(), tiny()]
    harness.save("canary", rows)
    Console().print(harness.table(rows, "canary: aim, at most 3 %"))
