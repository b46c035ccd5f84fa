"""One resumable training loop for every stage.

A batch depends on (seed, step) alone and checkpoints hold model, optimiser and average, so that a run
that was killed continues as if it had not been.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

SAVE_EVERY = 60.0  # seconds
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")  # where models learn; the rest is done on the CPU


@dataclass(frozen=True)
class Schedule:
    """Steps of AdamW, with a linear warm-up and a cosine decay to a fiftieth of the learning rate."""

    steps: int
    learning_rate: float
    warmup: int = 200
    average: float = 0.999  # decay of the weights' exponential moving average

    def rate(self, step: int) -> float:
        done = max(0.0, (step - self.warmup) / max(1, self.steps - self.warmup))
        return min(1.0, (step + 1) / self.warmup) * (0.51 + 0.49 * math.cos(math.pi * done))


def fit(
    model: nn.Module,
    loss: Callable[[torch.Generator], Tensor],
    schedule: Schedule,
    checkpoint: Path,
    *,
    seed: int,
) -> None:
    """Train on `DEVICE` until the schedule ends, then leave the averaged weights in `model`, on the CPU, in eval mode.

    `loss` gets a generator that depends on (seed, step) and draws its batch and noise from that alone.
    """
    learnt = dict(model.to(DEVICE).named_parameters())
    optimizer = torch.optim.AdamW(
        learnt.values(), lr=schedule.learning_rate, betas=(0.9, 0.99), weight_decay=1e-3, fused=True
    )
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule.rate)
    average = {name: p.detach().clone() for name, p in learnt.items()}
    step = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True, map_location=DEVICE)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        rates.load_state_dict(state["rates"])
        average, step = {name: state["average"][name] for name in learnt}, state["step"]

    def save() -> None:
        state = {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "rates": rates.state_dict(),
        }
        save_whole(checkpoint, {**state, "average": average, "step": step})
        with checkpoint.with_suffix(".log").open("a") as log:
            log.write(f"{datetime.now():%F %T} step {step} loss {running:.5f}\n")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    saved, running = time.monotonic(), math.nan
    model.train()
    with Progress(*columns, TextColumn("loss {task.fields[loss]:.4f}")) as progress:
        task = progress.add_task(checkpoint.stem, total=schedule.steps, completed=step, loss=running)
        while step < schedule.steps:
            value = loss(torch.Generator().manual_seed(seed * 1_000_003 + step))
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            nn.utils.clip_grad_norm_(learnt.values(), 1.0)
            optimizer.step()
            rates.step()
            step += 1
            decay = min(schedule.average, (1 + step) / (10 + step))
            torch._foreach_lerp_(list(average.values()), [p.detach() for p in learnt.values()], 1 - decay)
            running = value.item() if math.isnan(running) else 0.98 * running + 0.02 * value.item()
            progress.update(task, completed=step, loss=running)
            if time.monotonic() - saved > SAVE_EVERY or step == schedule.steps:
                save()
                saved = time.monotonic()
    model.load_state_dict({**model.state_dict(), **average})
    model.cpu().eval()


def load_average(model: nn.Module, checkpoint: Path) -> None:
    """Take a checkpoint's averaged weights, in eval mode."""
    state = torch.load(checkpoint, weights_only=True, map_location="cpu")
    model.load_state_dict({**model.state_dict(), **state["average"]})
    model.eval()


def save_whole(path: Path, state: dict[str, Any]) -> None:
    """Save so that a kill leaves the old file or the new one."""
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(path)


def draw(items: int, batch: int, generator: torch.Generator) -> Tensor:
    """Row numbers of a random batch, [batch]."""
    return torch.randint(items, (batch,), generator=generator)
