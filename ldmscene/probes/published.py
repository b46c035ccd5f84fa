"""The published experiment's own probe checkpoints. Needs torch.

A checkpoint is the state_dict of a module whose one layer is called `dense1`: a linear map without bias from
channels to 1 output (depth, shading) or 2 (saliency), upsampled to the picture (nearest).
"""

from __future__ import annotations

import pickle
from os import PathLike
from pathlib import Path

import numpy as np
import torch

from ldmscene.array_types import Array
from ldmscene.errors import InputError
from ldmscene.probes.adam import AdamProbe

WEIGHT = "dense1.weight"


def load_published_probe(path: str | PathLike[str], scale: int) -> AdamProbe:
    """A published `.pth` checkpoint as a probe.

    Parameters
    ----------
    path : path
        The `.pth` file.
    scale : int
        Pixels of a picture's side over one position: 512 / h, that is 8, 16, 32 or 64. The file doesn't say.

    Returns
    -------
    AdamProbe
        With cross entropy for two outputs, else Huber. Depth is in the published standardised units,
        (raw − 15.740597) / 9.281932.

    Raises
    ------
    InputError
        If the file holds another thing. Code in a pickle is never run.

    Examples
    --------
    >>> import torch
    >>> import ldmscene
    >>> torch.save({"dense1.weight": torch.ones(1, 320)}, "probe.pth")
    >>> ldmscene.load_published_probe("probe.pth", scale=8).coef_.shape
    (320,)
    """
    weight = _read(Path(path))
    if weight.ndim != 2 or weight.shape[0] not in (1, 2):
        raise InputError(f"path: {WEIGHT} in {path} has shape {tuple(weight.shape)}, expected (1 or 2, channel)")
    probe = AdamProbe("cross_entropy" if len(weight) == 2 else "huber")
    probe.scale_, probe.n_features_in_ = (scale, scale), weight.shape[1]
    meta = {"classes": [0, 1], "classes_dtype": "<i8"} if len(weight) == 2 else {}
    probe._restore({"coef": weight, "losses": np.empty(0)}, meta)
    return probe


def _read(path: Path) -> Array:
    if not path.is_file():
        raise InputError(f"path: no file at {path}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).strip().splitlines()[0][:120]
        raise InputError(f"path: {path} isn't a file of weights alone ({reason}); pickled code is never run") from error
    found = sorted(state) if isinstance(state, dict) else [type(state).__name__]
    if found != [WEIGHT] or not isinstance(state[WEIGHT], torch.Tensor):
        raise InputError(f"path: {path} holds {', '.join(map(str, found[:4]))}; a published probe holds {WEIGHT} alone")
    weight: Array = state[WEIGHT].double().numpy()
    return weight
