"""Shading by Intrinsic (Careaga and Aksoy, "Intrinsic Image Decomposition via Ordinal Shading", 2023).

The package isn't on PyPI (what is called `intrinsic` there is another thing), its licence is for academic use
only, and nothing of it is part of ldmscene: it is imported where the user has installed it.
"""

from __future__ import annotations

import numpy as np

from ldmscene.device import best_device
from ldmscene.errors import InputError, ShapeError
from ldmscene.hashing import weights_hash
from ldmscene.labelers.weights import naming_the_download, need, weights_only

INSTALL = "pip install https://github.com/compphoto/Intrinsic/archive/main.zip"
WEIGHTS = "paper_weights"
DOWNLOAD = f'python -c \'from intrinsic.pipeline import load_models; load_models("{WEIGHTS}", device="cpu")\''
LICENCE = "academic use only, see https://github.com/compphoto/Intrinsic"


class Intrinsic:
    """The grayscale pipeline, with the released weights of the paper.

    Stored is inverse shading, 1 / (1 + shading), which is bounded: smaller is brighter.
    """

    def __init__(self, weights: str = WEIGHTS, device: str | None = None) -> None:
        self.pipeline = need("intrinsic.pipeline", INSTALL)
        if not hasattr(self.pipeline, "run_gray_pipeline"):
            raise InputError(f"the installed `intrinsic` isn't Intrinsic by compphoto; get it with `{INSTALL}`")
        self.device = best_device(device)
        with naming_the_download("Intrinsic's weights", DOWNLOAD), weights_only("Intrinsic's weights"):
            self.models = self.pipeline.load_models(weights, device=self.device)
        self.provenance = {
            "labeler": "Intrinsic, grayscale shading",
            **({"model": WEIGHTS} if weights == WEIGHTS else {}),  # files of one's own lie elsewhere on each machine
            "weights": weights_hash(*(self.models[name] for name in sorted(self.models))),
            "kind": "continuous",
            "range": "0 to 1, inverse shading 1 / (1 + s): smaller is brighter",
            "metric": "pearson",
            "transform": "s = 1 / clip(x, 0.001, 1) − 1",
            "licence": LICENCE,
        }

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 (n, Y, X, 3) to float32 (n, Y, X)."""
        return np.stack([self._read(image) for image in images])

    def _read(self, image: np.ndarray) -> np.ndarray:
        found = self.pipeline.run_gray_pipeline(
            self.models,
            image.astype(np.float32) / 255,
            resize_conf=0.0,
            base_size=384,
            maintain_size=True,
            linear=False,
            device=self.device,
        )
        shading = np.asarray(found["gry_shd"], np.float32)
        if shading.shape != image.shape[:2]:
            raise ShapeError(f"Intrinsic gave shading of {shading.shape} for a picture of {image.shape[:2]}")
        return np.clip(shading, 0, 1)


def load_intrinsic(weights: str = "", device: str | None = None) -> Intrinsic:
    return Intrinsic(weights or WEIGHTS, device)
