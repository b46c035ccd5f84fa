"""Hooks, branches and steps: a pipeline and a manifest become a stream of activations."""

from ldmscene.capture.batches import check_batches
from ldmscene.capture.families import default_latent
from ldmscene.capture.foretelling import rehearsed
from ldmscene.capture.identity import WeightHashes, configs, environment, identity
from ldmscene.capture.inputs import Inputs
from ldmscene.capture.latents import latent_channels
from ldmscene.capture.model import Model
from ldmscene.capture.modules import ModuleShape, find_modules, presets_in
from ldmscene.capture.outline import load_outline, outlined, part_names
from ldmscene.capture.pictures import at_once, decode, decode_counting
from ldmscene.capture.plan import Plan, has_two_branches, make_plan
from ldmscene.capture.readings import readings
from ldmscene.capture.record import Recording
from ldmscene.capture.shapes import outline_shapes
from ldmscene.capture.sinks import Editor, Sink
from ldmscene.capture.source import (
    autoencoder_of,
    denoiser_of,
    load_pipeline,
    name_of,
    permute_weights,
    with_scheduler,
)
from ldmscene.capture.supplied import supplied_scheduler
from ldmscene.capture.trajectory import Trajectory, run, watching

__all__ = [
    "Editor",
    "Inputs",
    "Model",
    "ModuleShape",
    "Plan",
    "Recording",
    "Sink",
    "Trajectory",
    "WeightHashes",
    "at_once",
    "autoencoder_of",
    "check_batches",
    "configs",
    "decode",
    "decode_counting",
    "default_latent",
    "denoiser_of",
    "environment",
    "find_modules",
    "has_two_branches",
    "identity",
    "latent_channels",
    "load_outline",
    "load_pipeline",
    "make_plan",
    "name_of",
    "outline_shapes",
    "outlined",
    "part_names",
    "permute_weights",
    "presets_in",
    "readings",
    "rehearsed",
    "run",
    "supplied_scheduler",
    "watching",
    "with_scheduler",
]
