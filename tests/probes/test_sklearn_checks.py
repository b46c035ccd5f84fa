"""scikit-learn's own checks of the estimators, on tables."""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from ldmscene.probes import AdamProbe, LogisticProbe, RidgeProbe

ESTIMATORS = [
    RidgeProbe(),
    LogisticProbe(),
    AdamProbe(epochs=2),
    AdamProbe("cross_entropy", epochs=2),
]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_accepts(estimator: Any, check: Any) -> None:
    check(estimator)
