"""Pictures in, targets out: the estimators that label a store, each an adapter behind one protocol."""

from ldmscene.labelers.protocol import CLASSIFICATION, Labeler, as_numpy, check_given, provenance, read
from ldmscene.labelers.registry import LABELERS, LabelerEntry, find, named
from ldmscene.labelers.supplied import SuppliedLabels, from_arrays, from_files

__all__ = [
    "CLASSIFICATION",
    "LABELERS",
    "Labeler",
    "LabelerEntry",
    "SuppliedLabels",
    "as_numpy",
    "check_given",
    "find",
    "from_arrays",
    "from_files",
    "named",
    "provenance",
    "read",
]
