"""Hooks, branches and steps: a pipeline and a manifest become a stream of activations."""

from ldmscene.capture.modules import PRESETS, ModuleShape, find_modules, module_shapes, stage
from ldmscene.capture.source import load_pipeline, permute_weights, with_scheduler
from ldmscene.capture.trajectory import Plan, Trajectory, decode, make_plan, run

__all__ = [
    "PRESETS",
    "ModuleShape",
    "Plan",
    "Trajectory",
    "decode",
    "find_modules",
    "load_pipeline",
    "make_plan",
    "module_shapes",
    "permute_weights",
    "run",
    "stage",
    "with_scheduler",
]
