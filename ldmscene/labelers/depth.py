"""Depth by MiDaS, and by any other depth estimator of transformers."""

from __future__ import annotations

import inspect
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import AutoImageProcessor, AutoModelForDepthEstimation, DPTForDepthEstimation

from ldmscene.device import best_device
from ldmscene.errors import InputError
from ldmscene.hashing import weights_hash
from ldmscene.hub import check_there

MIDAS = "Intel/dpt-large"  # DPT_Large, which the published experiment used
BATCH = 8  # pictures at a time
INSTALL = "pip install 'ldmscene[torchvision]'"
# DPT has this layer and never calls it; Intel's checkpoints leave it out, so that it would be random.
UNUSED = "neck.fusion_stage.layers.0.residual_layer1."
INVERSE = "relative inverse depth: larger is nearer, no unit, scale and shift unknown"
METRIC = "depth in metres: larger is farther"
_METRIC_FAMILIES = ("depth_pro", "glpn", "zoedepth")


class DepthLabeler:
    """A depth estimator of transformers, with its image processor.

    What the model predicts is resized to the picture's size as its own processor does it (MiDaS: bicubic,
    align_corners=False) and stored as it is: no normalisation.
    """

    def __init__(self, model: nn.Module, processor: Any, device: str | None = None) -> None:
        self.device = best_device(device)
        self.model = model.eval().to(self.device)
        self.processor = processor
        self.provenance = {
            "labeler": type(model).__name__,
            "weights": weights_hash(model),
            "kind": "continuous",
            "range": _range(model.config),
            "metric": "spearman",
            "transform": f"resized to the picture by {type(processor).__name__}, raw otherwise",
        }

    @torch.no_grad()
    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 (n, Y, X, 3) to float32 (n, Y, X)."""
        parts = [images[i : i + BATCH] for i in range(0, len(images), BATCH)]
        return np.concatenate([self._read(part) for part in parts])

    def _read(self, images: np.ndarray) -> np.ndarray:
        inputs = self.processor(images=list(images), return_tensors="pt").to(self.device)
        sizes = [images.shape[1:3]] * len(images)
        resize = self.processor.post_process_depth_estimation
        takes = inspect.signature(resize).parameters
        own = {"source_sizes": sizes} if "source_sizes" in takes else {}  # ZoeDepth's, which pads pictures
        try:
            found = resize(self.model(**inputs), target_sizes=sizes, **own)
        except NameError as error:  # ZoeDepth's PIL processor calls torchvision without having asked for it
            raise InputError(_torchvision(self.provenance["labeler"])) from error
        return torch.stack([one["predicted_depth"] for one in found]).float().cpu().numpy()


def load_midas(name: str = "", device: str | None = None) -> DepthLabeler:
    """MiDaS (DPT) from a local folder or a hub id; `Intel/dpt-large` where not named."""
    return _load(DPTForDepthEstimation, name or MIDAS, device)


def load_depth(name: str, device: str | None = None) -> DepthLabeler:
    """Any model that `AutoModelForDepthEstimation` knows, such as `depth-anything/Depth-Anything-V2-Small-hf`."""
    return _load(AutoModelForDepthEstimation, name, device)


def _load(kind: Any, name: str, device: str | None) -> DepthLabeler:
    check_there(name, "config.json")
    try:
        # The processor that needs no torchvision: what is installed must not change the labels.
        processor = AutoImageProcessor.from_pretrained(name, backend="pil", trust_remote_code=False)
        model, notes = kind.from_pretrained(
            name, use_safetensors=True, trust_remote_code=False, dtype=torch.float32, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise InputError(_advice(name, str(error))) from error
    missing = sorted(key for key in notes["missing_keys"] if not key.startswith(UNUSED))
    if missing:
        raise InputError(f"{name} holds no depth estimator: it lacks {len(missing)} tensors, {missing[0]} …")
    with torch.no_grad():  # equal weights must have an equal hash
        for key, weight in model.named_parameters():
            if key.startswith(UNUSED):
                weight.zero_()
    labeler = DepthLabeler(model, processor, device)
    if not Path(name).is_dir():  # a folder lies elsewhere on another machine
        labeler.provenance["model"] = name
    return labeler


def _advice(name: str, error: str) -> str:
    reason = textwrap.shorten(error.strip().split(". ")[0], 200, placeholder=" …")
    if "torchvision" in error.lower():
        return _torchvision(name)
    if "trust_remote_code" in error:
        return f"{name} brings code of its own, which is never run; choose a model that transformers knows"
    if Path(name).is_dir():
        return (
            f"no depth estimator could be loaded from the folder {name}: {reason}; expected what save_pretrained "
            "writes, with config.json, preprocessor_config.json and weights as safetensors"
        )
    return (
        f"no depth estimator could be loaded from {name!r} (a local folder, or a hub id with safetensors weights): "
        f"{reason}; with network: `hf download {name}`"
    )


def _torchvision(name: str) -> str:
    return f"{name} needs torchvision for its pictures; get it with `{INSTALL}`"


def _range(config: Any) -> str:
    if config.model_type in _METRIC_FAMILIES or getattr(config, "depth_estimation_type", None) == "metric":
        return METRIC
    return INVERSE
