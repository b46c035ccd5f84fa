"""torch is used where it is imported wholly, and left alone where another thread is about to."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from ldmscene.halves import widen
from ldmscene.imported_torch import imported_torch
from ldmscene.probes.threads import one_thread_each
from ldmscene.probes.widening import subtract


def test_torch_is_there_once_it_is_imported() -> None:
    assert imported_torch() is torch


@pytest.mark.parametrize("state", ["absent", "half imported"])
def test_what_isnt_wholly_imported_is_left_alone(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if state == "absent":
        monkeypatch.delitem(sys.modules, "torch")
    else:
        half = ModuleType("torch")
        half.__spec__ = type("Spec", (), {"_initializing": True})()
        monkeypatch.setitem(sys.modules, "torch", half)
    X = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float16)
    out = np.empty((7, 5))
    with one_thread_each():
        subtract(X, np.ones(5), out)
    np.testing.assert_array_equal(out, X.astype(np.float64) - 1)
    np.testing.assert_array_equal(widen(X, np.dtype(np.float32)), X.astype(np.float32))
    assert imported_torch() is None
