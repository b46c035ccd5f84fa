"""Work in a process of its own that is killed at a random moment."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from typing import Any

from ldmscene import testbed

Work = Callable[..., None]  # of a pipeline, then words


def preloaded(*modules: str) -> ForkServerContext:
    """Processes that have imported these, torch and diffusers already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*modules, "torch", "diffusers"])
    return context


def killed(context: ForkServerContext, work: Work, words: Sequence[Any], after: float | None = None) -> bool:
    """Whether the work was killed before it ended; seconds count from when the embedded model is loaded."""
    here, there = context.Pipe()
    process = context.Process(target=_work, args=(there, dict(os.environ), work, *words))
    process.start()
    assert here.recv()
    process.join(after)
    process.kill()  # which may be too late
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def _work(ready: Connection, environment: dict[str, str], work: Work, *words: Any) -> None:
    os.environ.update(environment)  # the server of processes has that of its own start
    import torch

    from ldmscene import capture

    torch.set_num_threads(1)
    pipeline = capture.load_pipeline(testbed.MODELS["tiny-scenes"], "cpu")
    ready.send(True)
    work(pipeline, *words)
