"""Run by test_depth in a process of its own: transformers looks for torchvision once, when it is imported.

ZoeDepth and Depth Pro, the real classes with random weights, against the bare model and what its paper adds.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import interpolate

from tests.labelers.beside import import_torchvision

import_torchvision()

from transformers import (  # noqa: E402
    BeitConfig,
    DepthProConfig,
    DepthProForDepthEstimation,
    DepthProImageProcessor,
    Dinov2Config,
    ZoeDepthConfig,
    ZoeDepthForDepthEstimation,
    ZoeDepthImageProcessorPil,
)

from ldmscene import labelers  # noqa: E402

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)


def zoe():
    backbone = BeitConfig(
        image_size=32, patch_size=16, hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=37,
        out_features=["stage1", "stage2", "stage3", "stage4"], reshape_hidden_states=False,
    )  # fmt: skip
    config = ZoeDepthConfig(
        backbone_config=backbone, backbone=None, backbone_hidden_size=32, neck_hidden_sizes=[16] * 4,
        fusion_hidden_size=16, bottleneck_features=16, num_out_features=[16] * 4, num_relative_features=16,
        reassemble_factors=[4, 2, 1, 0.5], num_attractors=[2] * 4, bin_embedding_dim=16,
        bin_configurations=[{"n_bins": 8, "min_depth": 0.001, "max_depth": 10.0}],
    )  # fmt: skip
    size = {"height": 32, "width": 32}
    return ZoeDepthForDepthEstimation(config), ZoeDepthImageProcessorPil(
        size=size, ensure_multiple_of=32, keep_aspect_ratio=False
    )


def zoe_of(raw: torch.Tensor) -> torch.Tensor:
    """The picture was padded by 3 √(side / 2) at each end (Bhat et al. 2023), and so is the depth."""
    y, x = (int(3 * (side / 2) ** 0.5) for side in IMAGES.shape[1:3])
    padded = interpolate(raw[:, None], (64 + 2 * y, 96 + 2 * x), mode="bicubic", align_corners=False)
    return padded[:, 0, y:-y, x:-x]


def depth_pro():
    sizes = {"image_size": 32, "patch_size": 16, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    encoder = Dinov2Config(**sizes, mlp_ratio=2).to_dict()
    config = DepthProConfig(
        fusion_hidden_size=16, patch_size=32, intermediate_hook_ids=[1, 0], intermediate_feature_dims=[8, 8],
        scaled_images_feature_dims=[8, 8, 8], use_fov_model=False, image_model_config=encoder,
        patch_model_config=encoder, fov_model_config=encoder,
    )  # fmt: skip
    return DepthProForDepthEstimation(config), DepthProImageProcessor(size={"height": 128, "width": 128})


def depth_pro_of(raw: torch.Tensor) -> torch.Tensor:
    """The model gives inverse depth (Bochkovskii et al. 2024)."""
    return 1 / interpolate(raw[:, None], (64, 96), mode="bilinear", align_corners=False)[:, 0].clamp(1e-4, 1e4)


def check(folder: Path, make, expected) -> None:
    torch.manual_seed(0)
    model, processor = make()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    labeler = labelers.find(f"depth:{folder}", "cpu")
    found = labeler(IMAGES)
    with torch.no_grad():
        raw = model(**processor(images=list(IMAGES), return_tensors="pt")).predicted_depth
    wanted = expected(raw).numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * wanted.std())
    assert wanted.std() > 1e-3  # not a constant, which would agree with anything
    assert "metres" in labeler.provenance["range"]


if __name__ == "__main__":
    check(Path(sys.argv[1]) / "zoe", zoe, zoe_of)
    check(Path(sys.argv[1]) / "depth_pro", depth_pro, depth_pro_of)
