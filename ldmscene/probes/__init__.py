"""Linear probes: statistics, solvers and the estimators around them."""

from typing import TYPE_CHECKING, Any

from ldmscene.probes.blocks import gather_moments, merged
from ldmscene.probes.discriminant import log_odds
from ldmscene.probes.folds import assign_folds
from ldmscene.probes.fourier import FourierFeatures
from ldmscene.probes.logistic import LogisticSolution, fit_logistic
from ldmscene.probes.logistic_probe import LogisticProbe
from ldmscene.probes.nested import NestedSolution, Projection, solve_nested
from ldmscene.probes.position import SIDE, Position, choose_side, cosines, terms
from ldmscene.probes.ridge import RidgeSolution, Spectrum, held_out_errors, solve
from ldmscene.probes.ridge_probe import RidgeProbe
from ldmscene.probes.stats import Moments, merge_all
from ldmscene.probes.subspace import Subspace
from ldmscene.probes.supplied import LabelProducts, supply
from ldmscene.probes.targets import Targets, group_labels, group_targets, moments

if TYPE_CHECKING:
    from ldmscene.probes.adam import AdamProbe

__all__ = [
    "SIDE",
    "AdamProbe",
    "FourierFeatures",
    "LabelProducts",
    "LogisticProbe",
    "LogisticSolution",
    "Moments",
    "NestedSolution",
    "Position",
    "Projection",
    "RidgeProbe",
    "RidgeSolution",
    "Spectrum",
    "Subspace",
    "Targets",
    "assign_folds",
    "choose_side",
    "cosines",
    "fit_logistic",
    "gather_moments",
    "group_labels",
    "group_targets",
    "held_out_errors",
    "log_odds",
    "merge_all",
    "merged",
    "moments",
    "solve",
    "solve_nested",
    "supply",
    "terms",
]


def __getattr__(name: str) -> Any:
    if name == "AdamProbe":  # the only one that needs torch
        from ldmscene.probes.adam import AdamProbe

        return AdamProbe
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
