"""From a ridge on 0 and 1 to log odds: Fisher's linear discriminant, from the same statistics.

Regressing a class's indicator gives the direction of the linear discriminant (Fisher 1936; Hastie, Tibshirani and
Friedman 2009, 4.3 and exercise 4.2), with a ridge that of the penalised one (Hastie, Buja and Tibshirani 1995).
Where the regression's value is cut at ½, rare classes are called too seldom; the discriminant puts the cut where
two normal classes of one variance are equally likely.
"""

from __future__ import annotations

import numpy as np

from ldmscene.array_types import Array
from ldmscene.probes.stats import Moments


def log_odds(train: Moments, target: int, coef: Array) -> tuple[Array, float]:
    """Coefficients [c] and intercept of the log odds of class 1, along a ridge's direction.

    Parameters
    ----------
    train : Moments
        Of the samples that the ridge was fitted on, with a target of 0 and 1 in pixels.
    target : int
        Which of its targets.
    coef : array (c,)
        The ridge's.

    Returns
    -------
    coef : array (c,)
    intercept : float
        Equal to those of scikit-learn's LinearDiscriminantAnalysis fitted on the ridge's predictions.
    """
    share = train.mean_y[target]
    spread = share * (1 - share)
    centre, total = coef @ train.mean_x, coef @ train.cxx @ coef / train.weight
    gap = coef @ train.cxy[:, target] / train.weight / spread  # between the means of the classes
    # Rounding may leave nothing, or less, where the classes are told apart perfectly.
    within = max(total - spread * gap**2, np.finfo(np.float64).eps * total)
    prior = float(np.log(share / (1 - share)))
    if not within > 0:
        return np.zeros_like(coef), prior
    slope = gap / within
    return slope * coef, float(prior - slope * (centre + (0.5 - share) * gap))
