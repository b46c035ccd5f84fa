"""One picture, shown step by step as it forms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ldmscene import capture
from ldmscene.painting.readings import ModuleProbe, Reader

Array = np.ndarray


@dataclass(frozen=True)
class Shown:
    """What a step shows.

    Attributes
    ----------
    step : int
    timestep : float
        As the scheduler has it.
    picture : numpy.ndarray
        uint8 (Y, X, rgb), the decoded x_t.
    maps : mapping of str to numpy.ndarray
        What each target's probe reads, (y, x).
    """

    step: int
    timestep: float
    picture: Array
    maps: Mapping[str, Array]


def draw(
    plan: capture.Plan,
    prompt: str,
    seed: int,
    *,
    probes: Mapping[str, ModuleProbe],
    branch: str,
    show: Callable[[Shown], object],
    editor: capture.Editor | None = None,
) -> Array:
    """The finished picture, uint8 (Y, X, rgb).

    Parameters
    ----------
    plan
        Of the probes' modules, with its branches told.
    probes
        By target.
    branch
        That they read.
    show
        Called at each step; it stops the run by raising.
    editor
        What changes activations.
    """
    reader = Reader(probes, branch)

    def on_step(recording: capture.Recording) -> None:
        picture = capture.decode(plan.pipeline, recording.latents[-1], running=True)[0]
        show(Shown(len(recording.timesteps) - 1, recording.timesteps[-1], picture, dict(reader.maps)))

    (trajectory,) = capture.run(plan, [prompt], [seed], sink=reader, editor=editor, on_step=on_step)
    return trajectory.image
