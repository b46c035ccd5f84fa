"""Optional packages of the labelers, wherever they can be had; what they do is never mocked."""

from __future__ import annotations

import importlib.util
import shutil
import sys

import numpy as np
import pytest

import ldmscene
from tests.conftest import FIRST, make_manifest
from tests.labelers.beside import BESIDE, import_torchvision


@pytest.fixture(scope="module")
def torchvision():
    # For these tests alone: workers of a cluster inherit the path, and would import it as everybody else does.
    sys.path.append(str(BESIDE))
    try:
        if importlib.util.find_spec("torchvision") is None:
            pytest.skip("torchvision isn't installed; `make test` gets it")
        yield import_torchvision()
    finally:
        sys.path.remove(str(BESIDE))


@pytest.fixture(scope="module")
def carvekit(torchvision):
    return pytest.importorskip("carvekit", reason="carvekit isn't installed; `make test` gets it")


@pytest.fixture(scope="session")
def small(tiny, tmp_path_factory) -> ldmscene.ActivationStore:
    """Two samples without labels, for what must leave no trace."""
    root = tmp_path_factory.mktemp("labelers") / "small"
    return ldmscene.extract(tiny, make_manifest(1, 1), root, [FIRST], steps=2, batch_size=2)


@pytest.fixture
def two(small, tmp_path) -> ldmscene.ActivationStore:
    """A copy of it that a test may label."""
    return ldmscene.open(shutil.copytree(small.root, tmp_path / "two"))


@pytest.fixture
def pictures() -> np.ndarray:
    """Three pictures of noise, uint8 (3, 48, 64, 3)."""
    return np.random.default_rng(0).integers(0, 256, (3, 48, 64, 3), dtype=np.uint8)
