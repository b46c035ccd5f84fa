"""What a picture shows, by any classifier of torchvision: the probability of each class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ldmscene.device import best_device
from ldmscene.errors import InputError, unknown
from ldmscene.hashing import weights_hash
from ldmscene.labelers.protocol import CLASSIFICATION
from ldmscene.labelers.weights import (
    fill,
    load_state,
    naming_the_download,
    need,
    weights_only,
)

INSTALL = "pip install 'ldmscene[torchvision]'"
BATCH = 16  # pictures at a time
# As these were trained; torchvision says so to them only where it downloads the weights itself.
_ARGUMENTS = {name: {"transform_input": True, "init_weights": False} for name in ("googlenet", "inception_v3")}


class Classifier:
    """A classifier of whole pictures.

    Parameters
    ----------
    model : torch.nn.Module
        Pictures as `transform` gives them to logits (n, class).
    transform : callable
        uint8 (n, 3, Y, X) to what the model reads.
    classes : sequence of str
        Their names, in the logits' order.
    about : mapping, optional
        What its provenance says besides, such as the model's name.
    """

    def __init__(
        self,
        model: nn.Module,
        transform: Callable[[torch.Tensor], torch.Tensor],
        classes: Sequence[str],
        device: str | None = None,
        about: Mapping[str, str] | None = None,
    ) -> None:
        self.device = best_device(device)
        self.model = model.eval().to(self.device)
        self.transform = transform
        self.provenance = {
            "labeler": type(model).__name__,
            "weights": weights_hash(model),
            "kind": CLASSIFICATION,
            "range": "0 to 1, probability of each class (softmax)",
            "classes": list(classes),
            **(about or {}),
        }

    @torch.no_grad()
    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 (n, Y, X, 3) to float32 (n, class)."""
        pictures = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
        parts = [self.model(self.transform(part.to(self.device))) for part in pictures.split(BATCH)]
        return torch.cat(parts).float().softmax(-1).cpu().numpy()


def load_vgg16(weights: str = "", device: str | None = None) -> Classifier:
    """VGG-16 with IMAGENET1K_V1, or with a file of its weights."""
    return _load("vgg16", weights, device)


def load_torchvision(text: str, device: str | None = None) -> Classifier:
    """Any classifier of torchvision, as "resnet50" or "resnet50:FILE"."""
    name, _, weights = text.partition(":")
    return _load(name, weights, device)


def _load(name: str, weights: str, device: str | None) -> Classifier:
    models: Any = need("torchvision.models", INSTALL)
    known = models.list_models(module=models)
    if name not in known:
        raise unknown("classifier of torchvision", name, known)
    entry = models.get_model_weights(name).DEFAULT
    model = models.get_model(name, weights=None, **_ARGUMENTS.get(name, {}))
    fill(model, load_state(weights) if weights else _download(name, entry), weights or name)
    transform = entry.transforms()
    said = {"labeler": f"torchvision's {name}", "transform": " ".join(repr(transform).split())}
    return Classifier(model, transform, entry.meta["categories"], device, said)


def _download(name: str, entry: Any) -> dict[str, torch.Tensor]:
    command = f'python -c \'import torchvision.models as m; m.get_model("{name}", weights="DEFAULT")\''
    downloaded = Path(torch.hub.get_dir()) / "checkpoints" / Path(entry.url).name
    what = f"torchvision's weights of {name}"
    with naming_the_download(what, command, downloaded), weights_only(what):
        try:
            state: dict[str, torch.Tensor] = entry.get_state_dict(map_location="cpu", check_hash=True)
        except RuntimeError as error:
            raise InputError(f"{what} are damaged: {error}") from error
    return state
