"""The embedded world: a scene renderer, a small latent diffusion model of it, and labelers that know the truth."""

from ldmscene.testbed.labelers import TARGETS, WEIGHTS, TinyLabeler

MODELS = {"tiny-scenes": WEIGHTS / "tiny-scenes"}
LABELERS = {f"tiny-{target}": TinyLabeler(target) for target in TARGETS}

__all__ = ["LABELERS", "MODELS", "TinyLabeler"]
