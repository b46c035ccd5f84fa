"""Words that an argument may be, as types: a type checker and the check at run time read one list."""

from __future__ import annotations

from typing import Literal

EMBEDDED = "tiny-scenes"  # the model that comes with the package
EMBEDDED_GUIDANCE = 3.0  # at which it is run where nothing else is asked for
Branches = Literal["cond", "uncond", "both"]
Compression = Literal["none", "lossless", "rounded"]
ComputeDtype = Literal["float32", "bfloat16", "float16"]
EditedCells = Literal["everywhere", "wrong"]
HeldOut = Literal["test", "val", "unseen"]
Keep = Literal["activations", "statistics"]
LabelKind = Literal["continuous", "binary", "classes"]
UnfinishedPictures = Literal["noisy", "predicted"]
LabelledPictures = Literal["image", UnfinishedPictures]
Leaks = Literal["warn", "refuse"]
Loss = Literal["huber", "cross_entropy"]
Normalisation = Literal["standard", "norm"]
StoredDtype = Literal["float16", "float32"]
Upsampling = Literal["nearest", "bilinear"]

POSITION, LATENT = "position", "latent"  # what probes may use anyway beside targets, none of which is called so
SPLITS = ("train", "val", "test", "unseen")
