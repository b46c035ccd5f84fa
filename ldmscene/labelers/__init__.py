"""Pictures in, targets out: the estimators that label a store, each an adapter behind one protocol."""

from ldmscene.labelers.given import GivenLabels, from_arrays, from_files
from ldmscene.labelers.protocol import CLASSIFICATION, Labeler, provenance, read
from ldmscene.labelers.table import CLASSIFIERS, GIVEN, LABELERS, find

__all__ = [
    "CLASSIFICATION",
    "CLASSIFIERS",
    "GIVEN",
    "LABELERS",
    "GivenLabels",
    "Labeler",
    "find",
    "from_arrays",
    "from_files",
    "provenance",
    "read",
]
