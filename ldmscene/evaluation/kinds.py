"""All kinds of probe by name."""

from __future__ import annotations

from ldmscene.evaluation.kind import Kind
from ldmscene.evaluation.logistic import Logistic
from ldmscene.evaluation.ridge import RIDGE
from ldmscene.registry import Registry

KINDS: Registry[Kind] = Registry("kind of probe", "ldmscene.probes", (RIDGE, Logistic()))
