"""Salient foreground by TRACER, through carvekit.

carvekit's network is TRACER with an EfficientNet-B7 encoder at 640 × 640, trained further by its authors; the
published experiment used TE-5 at 512 × 512, so that the masks aren't the published ones.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ldmscene.device import best_device
from ldmscene.hashing import weights_hash
from ldmscene.labelers.weights import fill, load_state, naming_the_download, need

INSTALL = "pip install 'ldmscene[tracer]'"
DOWNLOAD = "python -c 'from carvekit.ml.files.models_loc import tracer_b7_pretrained as get; get()'"
BATCH = 4  # pictures at a time


class Tracer:
    """TRACER-B7 as carvekit has it.

    Parameters
    ----------
    weights : path, optional
        A state dict, as .pth of tensors only or as safetensors; carvekit's own where not given.
    size : int
        Pixels of a side that the network sees.
    threshold : float
        The soft map is stored; a pixel above this is foreground. Published: 0.
    """

    def __init__(
        self,
        weights: str | Path | None = None,
        *,
        size: int = 640,
        threshold: float = 0.0,
        device: str | None = None,
    ) -> None:
        wrap = need("carvekit.ml.wrap.tracer_b7", INSTALL)
        path = Path(weights) if weights else _own_weights()
        state = load_state(path)
        # Named a path, carvekit downloads nothing; it would load one without looking for what is missing.
        self.model = wrap.TracerUniversalB7(
            device=best_device(device), input_image_size=size, batch_size=BATCH, load_pretrained=False, model_path=path
        )
        fill(self.model, state, path)
        self.provenance = {
            "labeler": "TRACER-B7 (carvekit)",
            "weights": weights_hash(self.model),
            "kind": "binary",
            "range": "0 to 1 in steps of 1/255, saliency",
            "threshold": float(threshold),
            "transform": f"read at {size} × {size}, resized to the picture (bilinear)",
        }

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 (n, Y, X, 3) to float32 (n, Y, X)."""
        masks = self.model([Image.fromarray(image) for image in images])
        return np.stack([np.asarray(mask, np.float32) / 255 for mask in masks])


def load_tracer(weights: str = "", device: str | None = None) -> Tracer:
    return Tracer(weights or None, device=device)


def _own_weights() -> Path:
    """Where carvekit keeps its weights, downloaded if they aren't there yet."""
    files = need("carvekit.ml.files", INSTALL)
    downloaded = files.checkpoints_dir / "tracer_b7.pth"
    with naming_the_download("TRACER's weights", DOWNLOAD, downloaded):
        return (
            downloaded
            if downloaded.is_file()
            else Path(need("carvekit.ml.files.models_loc", INSTALL).tracer_b7_pretrained())
        )
