"""An edit while the caller runs the pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from diffusers import DiffusionPipeline

from ldmscene import capture, edits
from ldmscene.calls.loading import load_model
from ldmscene.edits import Maps, parse
from ldmscene.errors import InputError, ShapeError
from ldmscene.intervention.judging import Judge
from ldmscene.intervention.planning import check_edit, plan_for
from ldmscene.intervention.running import Worker

SAMPLE = "this picture"


@dataclass(frozen=True)
class Log:
    """What an edit did, filled while the pipeline runs.

    Attributes
    ----------
    own, wanted : numpy.ndarray (Y, X)
        The label of the picture without the edit, and what the probe was to read.
    """

    own: np.ndarray
    wanted: np.ndarray
    worker: Worker

    @property
    def frame(self) -> pd.DataFrame:
        """One row for each change: `module`, `step`, `branch`, and its measures, as `ldmscene.effect` has them."""
        rows = [(*key, *sizes[:, 0].tolist()) for key, sizes in self.worker.sizes.items()]
        return pd.DataFrame(rows, columns=["module", "step", "branch", *edits.MEASURES])


@contextmanager
def editing(
    pipeline: DiffusionPipeline,
    edit: edits.Edit,
    *,
    prompt: str,
    seed: int,
    own: np.ndarray | None = None,
) -> Iterator[Log]:
    """Change a pipeline's activations inside the block; it is given back without a trace, whatever happens.

    The pipeline runs once without the edit, for the own label of its picture, from which the wanted map is made. Then
    it is the caller's, to be called with the same prompt, and a generator of the same seed, on the CPU.

    Parameters
    ----------
    pipeline
        The one that the edit's probes were fitted on.
    edit
        From `Edit.of`, or loaded.
    prompt, seed
        Of the picture.
    own
        Its label (Y, X) without the edit, of 0 and 1 for a mask; made by the labeler of the edit's store where not
        given.

    Yields
    ------
    Log

    Raises
    ------
    InputError
        If the pipeline is another one, or is called with another guidance scale, other steps or another size than the
        probes were fitted for. What else it is called with, such as a negative prompt, can't be seen: it is to be the
        store's.

    Examples
    --------
    >>> import torch
    >>> how = {"num_inference_steps": 15, "guidance_scale": 7.5}  # doctest: +SKIP
    >>> with ldmscene.editing(pipeline, edit, prompt="a red cube", seed=7) as log:  # doctest: +SKIP
    ...     generator = torch.Generator("cpu").manual_seed(7)
    ...     image = pipeline("a red cube", generator=generator, **how).images[0]
    """
    check_edit(edit)
    if edit.borrows:
        raise InputError(f"rule {edit.rule_name!r} needs the activations of another trajectory; use ldmscene.intervene")
    asked = _only(edit.wanted)
    plan = plan_for(load_model(pipeline, None), edit)
    label = _own_label(plan, edit, prompt, seed) if own is None else _checked(np.asarray(own), edit.binary)
    wanted = parse(asked, (SAMPLE,), binary=edit.binary).map(SAMPLE, lambda _: label)
    worker = Worker(edit, Maps(label[None], wanted[None], edit.binary, edit.margin), check=_same_settings(plan))
    with capture.watching(plan, editor=worker):
        yield Log(label, wanted, worker)


def _only(wanted: Any) -> Any:
    """The one map of a mapping by sample_id; all else as it is."""
    if not isinstance(wanted, Mapping):
        return wanted
    if len(wanted) != 1:
        raise InputError(
            f"wanted: expected one map, of the picture that is called for, got those of {len(wanted)} samples"
        )
    return next(iter(wanted.values()))


def _checked(own: np.ndarray, binary: bool) -> np.ndarray:
    """A caller's own label."""
    if own.ndim != 2:
        raise ShapeError(f"own: expected a label (Y, X), got shape {own.shape}")
    return edits.fitting(own, own.shape, binary, "own")


def _same_settings(plan: capture.Plan) -> Any:
    """A check of the guidance, and of the steps that the scheduler takes, since an edit's are counted among them."""

    def check() -> None:
        timesteps = [float(t) for t in plan.pipeline.scheduler.timesteps]
        if timesteps != list(plan.timesteps):
            others = f"{len(timesteps)}{' others' if len(timesteps) == len(plan.timesteps) else ''}"
            raise InputError(
                f"the edit is of a run of {plan.steps} steps, and the pipeline takes {others}; call it with "
                f"num_inference_steps={plan.steps}, without timesteps or sigmas of your own"
            )
        scale = _called_scale(plan)
        if scale not in (None, plan.guidance_scale):
            raise InputError(
                f"the edit is of a run at guidance {plan.guidance_scale:g}, and the pipeline was called at {scale:g}; "
                f"call it with guidance_scale={plan.guidance_scale:g}"
            )

    return check


def _called_scale(plan: capture.Plan) -> float | None:
    """The guidance scale of the pipeline's present call, where it says so as it was told."""
    family = plan.folding.family
    if family.guidance != "guidance_scale" or family.added_guidance:
        return None
    scale = getattr(plan.pipeline, "_guidance_scale", None)
    return None if scale is None else float(scale)


def _own_label(plan: capture.Plan, edit: edits.Edit, prompt: str, seed: int) -> np.ndarray:
    """The target's label of the picture without the edit, by the labeler of the store."""
    labels = edit.target.partition("=")[0]
    meaning = edit.origin["labels"][labels]
    try:
        judge = Judge.of(labels, meaning)
    except InputError as error:
        said = f"the labeler {meaning['labeler']!r} of the edit's store can't be had"
        raise InputError(f"own: {said}; pass own=") from error
    return judge.values(judge.read(capture.run(plan, [prompt], [seed])[0].image), edit.target, binary=edit.binary)
