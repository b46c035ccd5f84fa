"""How large a change is, and whether it leads where training never was. Needs torch."""

from __future__ import annotations

import torch
from scipy.special import chdtri
from torch import Tensor

from ldmscene.array_types import Array
from ldmscene.edits.goal import like
from ldmscene.edits.readout import Readout

MEASURES = ("size", "mahalanobis", "beyond")
_RARE = 0.001  # the share of normally distributed features that count as beyond


def size_of(new: Tensor, old: Tensor, readout: Readout) -> Array:
    """What a change is, of each sample: float32 [measure, sample], in the order of `MEASURES`.

    The norm of the change over the norm of what it changed; the mean over cells of the change's Mahalanobis norm
    (Mahalanobis 1936), in the covariance of training samples; and the share of cells whose new activation lies farther
    from the training samples' mean, by that norm, than 99.9 % of normally distributed features do.

    Parameters
    ----------
    new, old : Tensor (sample, y, x, channel)
    readout : Readout
        With the moments of their features.
    """
    change = new.float() - old.float()
    norm, whole = (one.flatten(1).norm(dim=1) for one in (change, old.float()))
    whitener = like(readout.whitener, old).float()
    far = (change @ whitener).norm(dim=-1)
    away = ((new.float() - like(readout.mean, old).float()) @ whitener).norm(dim=-1)
    beyond = away > chdtri(whitener.shape[1], _RARE) ** 0.5
    relative = norm / whole.clamp(min=torch.finfo(torch.float32).tiny)
    found: Array = torch.stack([relative, far.mean((1, 2)), beyond.float().mean((1, 2))]).cpu().numpy()
    return found
