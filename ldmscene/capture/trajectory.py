"""From prompts and seeds to trajectories: one run of the pipeline for each batch of samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ldmscene.array_types import AnyArray
from ldmscene.capture.decoding import draw
from ldmscene.capture.foretelling import rehearsed
from ldmscene.capture.hooks import call, hearing, quiet
from ldmscene.capture.inputs import MASK
from ldmscene.capture.latents import unpack
from ldmscene.capture.parts import modules_by_name
from ldmscene.capture.pictures import Picture, at_once
from ldmscene.capture.plan import Plan
from ldmscene.capture.record import Recording, recording
from ldmscene.capture.sinks import Arrays, Editor, Sink
from ldmscene.capture.supplied import along
from ldmscene.capture.texts import take_texts
from ldmscene.errors import LdmsceneError


@dataclass(frozen=True)
class Trajectory:
    """One sample, run to its end.

    Attributes
    ----------
    activations : dict of str to numpy.ndarray
        (step, branch, y, x, channel) for each module; of other parts than the denoiser less the axes they don't have.
    image : numpy.ndarray
        uint8 (Y, X, rgb).
    latents, predicted : numpy.ndarray
        float32 (step, c, y, x): x_t before each denoiser call and the x_0 predicted by it.
    lost : int
        Values of the picture that the autoencoder left infinite or NaN, which uint8 can't show.
    previews : list of (numpy.ndarray, int)
        The pictures predicted at the first steps, uint8 (1, Y, X, rgb), with such a count each, where the decoder's
        modules had to be heard there, and pictures are as large as `decode` decodes alone.
    """

    activations: dict[str, np.ndarray]
    image: np.ndarray
    latents: np.ndarray
    predicted: np.ndarray
    lost: int = 0
    previews: list[Picture] = field(default_factory=list)


def run(
    plan: Plan,
    prompts: Sequence[str],
    seeds: Sequence[int],
    supplied: np.ndarray | None = None,
    *,
    pictures: Mapping[str, Sequence[AnyArray]] | None = None,
    sink: Sink | None = None,
    editor: Editor | None = None,
    on_step: Callable[[Recording], None] | None = None,
) -> list[Trajectory]:
    """Generate a batch of samples, or lead it along supplied pictures, and return each one's trajectory.

    Every sample has a generator of its own, seeded by its seed on the CPU, so that its noise doesn't
    depend on the batch, the order or the device.

    Parameters
    ----------
    supplied : numpy.ndarray, optional
        uint8 (n, Y, X, rgb); for a pipeline with a scheduler of `supplied_scheduler`.
    pictures : mapping of str to sequence of numpy.ndarray, optional
        For each of the plan's inputs of which every sample has its own, uint8 (Y, X, rgb).
    sink : Sink, optional
        What takes the outputs of the plan's modules; the trajectories hold none of them then.
    editor : Editor, optional
        Changes outputs as they are computed, of modules that need not be the plan's. A plan that is `rehearsed`
        already saves a rehearsal.
    on_step : callable, optional
        Called at each step with what the run has shown so far, once the sink has the step's outputs; it stops the run
        by raising.

    Raises
    ------
    LdmsceneError
        If the pipeline takes other steps than its scheduler planned.
    """
    arrays = Arrays.empty(
        plan.every if sink is None else (), len(seeds), len(plan.timesteps), plan.branches, plan.dtype
    )
    arguments = plan.arguments(prompts, seeds, pictures)
    plan = rehearsed(plan) if editor else plan
    if supplied is not None:
        arguments["latents"] = along(plan.pipeline, supplied, seeds)
    readers = hearing(modules_by_name(plan.pipeline, plan.reading), getattr(torch, plan.dtype))
    with (
        torch.no_grad(),
        quiet(plan.pipeline),
        readers as read,
        recording(plan, sink or arrays, editor, on_step=on_step) as recorded,
    ):
        returned = _called(plan.pipeline, arguments)
    _check_steps(plan, recorded)
    final = _unmasked(plan, recorded, returned) if MASK in plan.inputs.names else recorded.final
    take_texts(plan.reading, plan.texts, plan.branches, read, len(seeds), sink or arrays)
    previews = _previews(plan, recorded.predicted, sink or arrays)
    decoded = (
        [(image[None], 0) for image in supplied]
        if supplied is not None
        else draw(plan.pipeline, plan.drawing, final, len(recorded.predicted) - 1, plan.dtype, sink or arrays)
    )
    latents, predicted = (torch.stack(steps, 1).numpy() for steps in (recorded.latents, recorded.predicted))
    return [
        Trajectory(
            {name: all[i] for name, all in arrays.found.items()},
            image[0],
            latents[i],
            predicted[i],
            lost,
            [step[i] for step in previews],
        )
        for i, (image, lost) in enumerate(decoded)
    ]


def _called(pipeline: Any, arguments: dict[str, Any]) -> Any:
    try:
        return call(pipeline, arguments)
    except BaseException:  # what a pipeline does at the end of each call: the next one may be of another run
        pipeline.maybe_free_model_hooks()
        raise


def _previews(plan: Plan, predicted: Sequence[Tensor], sink: Sink) -> list[list[Picture]]:
    """By step, what is predicted before the last, where decoders are captured at every step."""
    if all(module.step is not None for module in plan.drawing):
        return []
    drawn = [
        draw(plan.pipeline, plan.drawing, latents, step, plan.dtype, sink)
        for step, latents in enumerate(predicted[:-1])
    ]
    # Smaller ones are decoded together elsewhere, which rounds otherwise: to use both would make stores differ.
    return drawn if at_once(plan.height, plan.width) == 1 else []


@contextmanager
def watching(plan: Plan, *, sink: Sink | None = None, editor: Editor | None = None) -> Iterator[None]:
    """Hand outputs to a sink, or to an editor, while the caller runs the plan's pipeline inside the block.

    The pipeline is to be called with the plan's guidance, size and negative prompt, as often as one likes; steps are
    counted from 0 in each call. It is given back without a trace, whatever happens.

    Raises
    ------
    InputError
        If an editor needs to know the branches before a step is over, and they can't be told.
    LdmsceneError
        If a call's branches can't be told, or aren't those of the plan.
    """
    plan = rehearsed(plan) if editor else plan
    silent = replace(plan, modules=()) if sink is None else plan  # of other parts nothing is heard here
    with recording(silent, sink or Arrays({}, plan.branches), editor):
        yield


def _unmasked(plan: Plan, recorded: Recording, returned: Any) -> torch.Tensor:
    """The last latents, once the pipeline has put the picture back where the mask is off, (n, c, y, x)."""
    final = unpack(plan.pipeline, returned.images.float(), (plan.height, plan.width)).cpu()
    if final.shape != recorded.final.shape:
        raise LdmsceneError(
            f"{type(plan.pipeline).__name__} returns latents of {tuple(final.shape)}, and steps those of "
            f"{tuple(recorded.final.shape)}; a pipeline that repaints otherwise can't be captured"
        )
    return final


def _check_steps(plan: Plan, recorded: Recording) -> None:
    if recorded.timesteps != list(plan.timesteps):
        raise LdmsceneError(
            f"the denoiser was called at timesteps {recorded.timesteps}, the scheduler planned {list(plan.timesteps)}; "
            "a pipeline that skips or repeats calls can't be captured"
        )
