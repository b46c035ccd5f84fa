"""A pipeline that several extractions share, so that its weights are hashed once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from diffusers import DiffusionPipeline

from ldmscene.capture.identity import WeightHashes
from ldmscene.capture.source import load_pipeline, permute_weights


@dataclass(frozen=True)
class Model:
    """A pipeline and the hashes of its weights, which nobody changes as long as this is in use."""

    pipeline: DiffusionPipeline
    hashes: WeightHashes

    @classmethod
    def load(cls, model: str | Path | DiffusionPipeline | Model, device: str | None = None, **how: str | None) -> Model:
        """From a local folder, a hub id or a loaded pipeline; a `Model` as it is. As `load_pipeline`, `how` too."""
        if isinstance(model, Model):
            return model
        pipeline = load_pipeline(model, device, **how)
        return cls(pipeline, WeightHashes(None if pipeline is model else pipeline))

    def permuted(self) -> Model:
        """The published control, as `permute_weights` makes it."""
        return replace(self, pipeline=permute_weights(self.pipeline))
