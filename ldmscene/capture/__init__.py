"""Hooks, branches and steps: a pipeline and a manifest become a stream of activations."""

from ldmscene.capture.given import given_scheduler
from ldmscene.capture.identity import identity
from ldmscene.capture.latents import latent_channels
from ldmscene.capture.modules import PRESETS, ModuleShape, find_modules, presets_in, stage
from ldmscene.capture.pictures import decode
from ldmscene.capture.shapes import outline_shapes
from ldmscene.capture.source import (
    autoencoder_of,
    denoiser_of,
    load_outline,
    load_pipeline,
    permute_weights,
    with_scheduler,
)
from ldmscene.capture.trajectory import Plan, Trajectory, make_plan, run

__all__ = [
    "PRESETS",
    "ModuleShape",
    "Plan",
    "Trajectory",
    "autoencoder_of",
    "decode",
    "denoiser_of",
    "find_modules",
    "given_scheduler",
    "identity",
    "latent_channels",
    "load_outline",
    "load_pipeline",
    "make_plan",
    "outline_shapes",
    "permute_weights",
    "presets_in",
    "run",
    "stage",
    "with_scheduler",
]
