"""Depth estimators of transformers: the real classes, small and with random weights, from folders as users have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import interpolate
from transformers import (
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    DPTConfig,
    DPTForDepthEstimation,
    DPTImageProcessorPil,
    GLPNConfig,
    GLPNForDepthEstimation,
    GLPNImageProcessorPil,
    ViTConfig,
    ViTModel,
)
from transformers.utils import is_torchvision_available

import ldmscene
from ldmscene import labelers
from ldmscene.errors import InputError
from tests.conftest import files
from tests.labelers.beside import BESIDE

SIDE = 32


def _dpt() -> DPTForDepthEstimation:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32}
    sizes["initializer_range"] = 0.2  # so that the depth varies
    neck = {"backbone_out_indices": [0, 1, 2, 3], "neck_hidden_sizes": [8, 8, 8, 8], "fusion_hidden_size": 8}
    return DPTForDepthEstimation(DPTConfig(**sizes, **neck, image_size=SIDE, patch_size=8, is_hybrid=False))


def _depth_anything(kind: str) -> DepthAnythingForDepthEstimation:
    torch.manual_seed(0)
    backbone = Dinov2Config(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=8,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    neck = {"neck_hidden_sizes": [8, 8, 8, 8], "fusion_hidden_size": 8, "head_hidden_size": 8}
    return DepthAnythingForDepthEstimation(
        DepthAnythingConfig(
            backbone_config=backbone, reassemble_hidden_size=16, patch_size=8, depth_estimation_type=kind, **neck
        )
    )


def _processor() -> DPTImageProcessorPil:
    return DPTImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, image_mean=[0.5] * 3, image_std=[0.5] * 3, keep_aspect_ratio=False
    )


def _saved(model, folder):
    model.save_pretrained(folder)
    _processor().save_pretrained(folder)
    return folder


@pytest.fixture
def midas(tmp_path):
    return _saved(_dpt(), tmp_path / "midas")


def test_midas_is_the_model_on_its_processor_resized_bicubically(midas, pictures):
    found = labelers.find(f"midas:{midas}")(pictures)
    model = DPTForDepthEstimation.from_pretrained(midas).eval()
    for image, depth in zip(pictures, found, strict=True):
        pixels = torch.from_numpy(_resized(image)).permute(2, 0, 1)[None] / 127.5 - 1
        with torch.no_grad():
            raw = model(pixels).predicted_depth[None]
        expected = interpolate(raw, image.shape[:2], mode="bicubic", align_corners=False)[0, 0]
        np.testing.assert_allclose(depth, expected.numpy(), rtol=0, atol=1e-4 * float(expected.std()))
        assert depth.std() > 0.01  # not a constant, which would agree with anything


def _resized(image: np.ndarray) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float32)


def test_many_pictures_are_read_as_each_alone(midas, pictures):
    labeler = labelers.find(f"midas:{midas}")
    many = np.concatenate([pictures] * 4)
    alone = np.concatenate([labeler(many[i : i + 1]) for i in range(len(many))])
    np.testing.assert_allclose(labeler(many), alone, rtol=0, atol=1e-4 * alone.std())


def test_weights_have_one_name_wherever_they_lie(midas, tmp_path):
    elsewhere = _saved(_dpt(), tmp_path / "elsewhere")
    other = _dpt()
    with torch.no_grad():
        next(other.parameters()).add_(1)
    first, second, third = (
        labelers.find(f"midas:{folder}").provenance for folder in (midas, elsewhere, _saved(other, tmp_path / "other"))
    )
    assert first == second
    assert first["weights"] != third["weights"]
    assert "inverse" in first["range"]


def test_intels_own_files_load_though_a_layer_that_is_never_called_is_not_in_them(midas, tmp_path, pictures):
    expected = labelers.find(f"midas:{midas}")
    published = _saved(_dpt(), tmp_path / "published")
    weights = load_file(published / "model.safetensors")
    kept = {k: v for k, v in weights.items() if "fusion_stage.layers.0.residual_layer1" not in k}
    assert len(weights) - len(kept) == 4
    save_file(kept, published / "model.safetensors", metadata={"format": "pt"})
    processor = {
        "do_normalize": True,
        "do_resize": True,
        "ensure_multiple_of": 1,
        "feature_extractor_type": "DPTFeatureExtractor",
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "keep_aspect_ratio": False,
        "resample": 3,
        "size": SIDE,
    }
    (published / "preprocessor_config.json").write_text(json.dumps(processor))
    found = labelers.find(f"midas:{published}")
    assert found.provenance == expected.provenance
    np.testing.assert_array_equal(found(pictures), expected(pictures))


def _glpn() -> GLPNForDepthEstimation:
    torch.manual_seed(0)
    sizes = {"hidden_sizes": [8, 8, 16, 16], "depths": [1] * 4, "num_attention_heads": [1, 1, 2, 2]}
    return GLPNForDepthEstimation(GLPNConfig(**sizes, decoder_hidden_size=8))


@pytest.mark.parametrize(
    ("make", "meaning"),
    [
        (lambda: (_depth_anything("relative"), _processor()), "larger is nearer"),
        (lambda: (_depth_anything("metric"), _processor()), "metres"),
        (lambda: (_glpn(), GLPNImageProcessorPil()), "metres"),
    ],
)
def test_any_depth_estimator_of_transformers_is_read(tmp_path, pictures, make, meaning):
    model, processor = make()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)  # as they are made, the depth is a constant
    model.eval().save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    labeler = labelers.find(f"depth:{tmp_path}")
    with torch.no_grad():
        raw = model(**processor(images=list(pictures), return_tensors="pt")).predicted_depth
    wanted = interpolate(raw[:, None], pictures.shape[1:3], mode="bicubic", align_corners=False)[:, 0].numpy()
    np.testing.assert_allclose(labeler(pictures), wanted, rtol=0, atol=1e-4 * wanted.std())
    assert wanted.std() > 1e-3
    assert labeler.provenance["labeler"] == type(model).__name__
    assert meaning in labeler.provenance["range"]


def test_depth_estimators_whose_processors_need_torchvision(torchvision, tmp_path):
    path = os.pathsep.join([str(BESIDE), str(Path(__file__).parents[2])])
    done = subprocess.run(
        [sys.executable, "-m", "tests.labelers.torchvision_depths", tmp_path],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_without_torchvision_it_is_named(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "depth_pro"}))
    processor = {"image_processor_type": "DepthProImageProcessor", "size": {"height": SIDE, "width": SIDE}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    if is_torchvision_available():
        pytest.skip("torchvision is installed here")
    with pytest.raises(InputError, match=r"needs torchvision.*pip install 'ldmscene\[torchvision\]'"):
        labelers.find(f"depth:{tmp_path}")


def test_a_store_is_labelled_once_and_by_one_model(midas, two, tmp_path):
    ldmscene.label(two, "depth", f"midas:{midas}")
    kept = two.labels("depth")
    np.testing.assert_array_equal(kept, labelers.find(f"midas:{midas}")(two.images().values))
    assert kept.attrs == labelers.find(f"midas:{midas}").provenance
    before = files(two.root)
    ldmscene.label(two, "depth", f"midas:{midas}")
    assert files(two.root) == before


def _without(name):
    def spoil(folder):
        (folder / name).unlink()

    return spoil


def _pickled(folder):
    torch.save(_dpt().state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def _remote(folder):
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", "AutoModelForDepthEstimation": "mine.M"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mine.py").write_text("raise SystemExit('this was run')")


def _another_model(folder):
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    ViTModel(ViTConfig(image_size=SIDE, patch_size=8, **sizes)).save_pretrained(folder)


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("midas", _without("config.json"), "config.json"),
        ("midas", _without("preprocessor_config.json"), "preprocessor_config.json"),
        ("midas", _without("model.safetensors"), "model.safetensors"),
        ("midas", _pickled, "safetensors"),
        ("depth", _remote, "code of its own, which is never run"),
        ("depth", _another_model, "depth estimator"),
    ],
)
def test_a_folder_that_holds_no_depth_estimator_is_refused_in_one_sentence(midas, small, name, spoil, message):
    spoil(midas)
    before = files(small.root)
    with pytest.raises(InputError, match=message) as error:
        ldmscene.label(small, "depth", f"{name}:{midas}")
    assert "\n" not in str(error.value)
    assert files(small.root) == before


def test_without_network_a_hub_id_is_named_with_the_command_that_gets_it():
    with pytest.raises(InputError, match="hf download Intel/dpt-large"):
        labelers.find("midas")
    with pytest.raises(InputError, match="labeler: expected 'depth:MODEL', got 'depth'"):
        labelers.find("depth")
