"""Salient foreground by rembg's models (U²-Net, IS-Net, BiRefNet …): an alternative to TRACER.

Their weights are ONNX files, which hold no code; those of its models that send pictures elsewhere are refused.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

from ldmscene.errors import InputError, unknown
from ldmscene.labelers.weights import naming_the_download, need

INSTALL = "pip install 'ldmscene[rembg]'"
DEFAULT = "u2net"


class Rembg:
    """One of rembg's models, on the device that its onnxruntime was built for.

    Parameters
    ----------
    name : str
        As `rembg.new_session` knows it.
    file : str
        The ONNX file of one of rembg's custom models, which have none of their own.
    threshold : float
        The soft map is stored; a pixel above this is foreground.
    """

    def __init__(self, name: str = DEFAULT, threshold: float = 0.5, file: str = "") -> None:
        need("onnxruntime", INSTALL)  # without it, importing rembg ends the process
        kinds = {one.name(): one for one in need("rembg.sessions", INSTALL).sessions_class}
        if name not in kinds or not kinds[name].is_local():
            raise unknown("model of rembg that runs here", name, [n for n, one in kinds.items() if one.is_local()])
        if name.endswith("_custom") != bool(file):
            raise InputError(
                f"rembg: expected 'rembg:{name}:FILE', of an ONNX file, got no file"
                if not file
                else f"rembg: {name} has weights of its own, got {file}; a file goes with u2net_custom and dis_custom"
            )
        if file and not Path(file).is_file():
            raise InputError(f"rembg: no ONNX file at {file}")
        where = {"model_path": file} if file else {}
        with naming_the_download(
            f"rembg's weights of {name}", f"python -c 'import rembg; rembg.new_session(\"{name}\")'"
        ):
            try:
                path = Path(kinds[name].download_models(**where))
                self.session = need("rembg", INSTALL).new_session(name, **where)
            except ValueError as error:  # rembg opens files of its own folder alone
                raise InputError(f"rembg: {error}; move {file} there, or set U2NET_HOME to its folder") from error
        self.provenance = {
            "labeler": f"{name} (rembg)",
            "weights": hashlib.sha256(path.read_bytes()).hexdigest()[:16],
            "kind": "binary",
            "range": "0 to 1 in steps of 1/255, saliency; each picture's own least is 0 and greatest 1",
            "threshold": float(threshold),
            "transform": "resized to the picture by rembg (Lanczos)",
        }

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 (n, Y, X, 3) to float32 (n, Y, X)."""
        return np.stack([self._read(Image.fromarray(image)) for image in images])

    def _read(self, image: Image.Image) -> np.ndarray:
        masks = self.session.predict(image)
        if len(masks) != 1:
            raise InputError(
                f"{self.provenance['labeler']} gives {len(masks)} masks a picture; choose a salient-object model"
            )
        return np.asarray(masks[0], np.float32) / 255


def load_rembg(name: str = "", device: str | None = None) -> Rembg:
    """A `Rembg` labeler from text: "NAME" of a model, or "NAME:FILE" with its weights; "" is the default model."""
    kind, _, file = name.partition(":")
    return Rembg(kind or DEFAULT, file=file)
