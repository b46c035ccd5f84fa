"""Pictures in, targets out: what any estimator must look like to label a store."""

from ldmscene.labelers.protocol import Labeler, provenance, read

__all__ = ["Labeler", "provenance", "read"]
