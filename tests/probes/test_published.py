"""The published checkpoints, against the published module's own forward."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from torch import nn

import ldmscene
from ldmscene.errors import InputError


class Published(nn.Module):
    """Linear without bias, reshaped to h × w, upsampled (nearest) to 512 × 512."""

    def __init__(self, channels: int, outputs: int, factor: int) -> None:
        super().__init__()
        self.dense1 = nn.Linear(channels, outputs, bias=False)
        self.side, self.factor = 512 // factor, factor

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(n, h·w, channel) to (n, out, 512, 512)."""
        maps = self.dense1(tokens).transpose(1, 2).unflatten(2, (self.side, self.side))
        return nn.functional.interpolate(maps, scale_factor=self.factor)


@pytest.mark.parametrize(("channels", "factor"), [(320, 8), (1280, 64)])
@pytest.mark.parametrize("outputs", [1, 2])
def test_a_published_checkpoint_predicts_as_its_module_does(tmp_path, channels, factor, outputs):
    torch.manual_seed(0)
    module = Published(channels, outputs, factor)
    torch.save(module.state_dict(), tmp_path / "probe.pth")
    probe = ldmscene.load_published_probe(tmp_path / "probe.pth", scale=factor)
    maps = np.random.default_rng(0).normal(size=(2, 512 // factor, 512 // factor, channels)).astype(np.float32)
    with torch.no_grad():
        out = module(torch.from_numpy(maps).flatten(1, 2)).numpy()
    if outputs == 1:
        np.testing.assert_allclose(probe.predict(maps), out[:, 0], atol=1e-5)
    else:
        close = np.abs(out[:, 1] - out[:, 0]) < 1e-5  # rounding may decide these
        assert close.mean() < 1e-3
        np.testing.assert_array_equal(probe.predict(maps)[~close], out.argmax(1)[~close])
        share = torch.from_numpy(out).softmax(1).permute(0, 2, 3, 1).numpy()
        np.testing.assert_allclose(probe.predict_proba(maps), share, atol=1e-6)
    probe.save(tmp_path / "probe.safetensors")
    again = ldmscene.AdamProbe.load(tmp_path / "probe.safetensors")
    np.testing.assert_array_equal(again.predict(maps), probe.predict(maps))


class Exploit:
    def __reduce__(self):
        return os.mkdir, ("code-was-run",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Exploit(), "pickled code is never run"),
        ({"dense1.weight": Exploit()}, "pickled code is never run"),
        ({"dense1.weight": torch.zeros(3, 4)}, "expected \\(1 or 2, channel\\)"),
        (
            {"dense1.weight": torch.zeros(1, 4), "dense2.weight": torch.zeros(1, 1)},
            "holds dense1.weight, dense2.weight",
        ),
        ({"dense1.weight": 1}, "a published probe holds"),
        ([torch.zeros(1, 4)], "holds list"),
    ],
)
def test_another_file_is_refused_and_no_code_is_run(tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    torch.save(content, "probe.pth")
    with pytest.raises(InputError, match=message):
        ldmscene.load_published_probe("probe.pth", scale=8)
    assert not (tmp_path / "code-was-run").exists()


def test_a_missing_or_damaged_file_is_named(tmp_path):
    with pytest.raises(InputError, match="no file at"):
        ldmscene.load_published_probe(tmp_path / "nowhere.pth", scale=8)
    (tmp_path / "damaged.pth").write_bytes(b"PK\x03\x04nonsense")
    with pytest.raises(InputError, match="isn't a file of weights alone"):
        ldmscene.load_published_probe(tmp_path / "damaged.pth", scale=8)
