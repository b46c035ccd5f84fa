"""The embedded world: a scene renderer, a small latent diffusion model of it, and labelers that know the truth."""

from ldmscene.testbed.labelers import TARGETS, WEIGHTS, TinyLabeler
from ldmscene.testbed.rendering import Truth
from ldmscene.testbed.tracing import PARTS
from ldmscene.testbed.truth import render

MODELS = {"tiny-scenes": WEIGHTS / "tiny-scenes"}
LABELERS = {f"tiny-{target}": TinyLabeler(target) for target in TARGETS}

__all__ = ["LABELERS", "MODELS", "PARTS", "TinyLabeler", "Truth", "render"]
