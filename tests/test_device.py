"""What a device lacks, and with how many digits it multiplies: tried on the CPU, in the place of others."""

from __future__ import annotations

import pytest
import torch

from ldmscene import device
from ldmscene.capture.batches import _fits
from ldmscene.capture.branches import fitting_orders
from ldmscene.capture.canary import sketch, turned_on
from ldmscene.device import in_float64, rounded_float32


class Elsewhere(torch.Tensor):
    """A tensor as on Apple's GPUs, which have no float64."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        result = super().__torch_function__(function, types, args, kwargs or {})
        if isinstance(result, cls) and result.dtype == torch.float64:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        return result.as_subclass(torch.Tensor) if function is torch.Tensor.cpu else result


def _elsewhere(x: torch.Tensor) -> torch.Tensor:
    return x.as_subclass(Elsewhere)


def test_float64_is_the_processors_where_a_device_has_none():
    x = torch.randn(5, generator=torch.Generator().manual_seed(0))
    with pytest.raises(TypeError, match="float64"):
        _elsewhere(x).double()
    assert type(in_float64(_elsewhere(x))) is torch.Tensor
    assert torch.equal(in_float64(_elsewhere(x)), x.double())
    assert in_float64(torch.empty(2, device="meta")).is_meta


def test_a_model_is_watched_where_there_is_no_float64():
    draw = torch.Generator().manual_seed(0)
    uncond, cond = torch.randn(2, 2, 4, 8, 8, generator=draw)
    guided, moved = uncond + 4 * (cond - uncond), [_elsewhere(cond), _elsewhere(uncond)]
    assert fitting_orders(moved, _elsewhere(guided), 4.0) == [("cond", "uncond")]
    assert sketch(_elsewhere(guided)) == sketch(guided)
    assert _fits(_elsewhere(torch.stack([cond[0], uncond[0]])), _elsewhere(cond[:1]))
    assert not _fits(_elsewhere(torch.stack([uncond[0], cond[0]])), _elsewhere(cond[:1]))


@pytest.fixture
def settings():
    """All as they were, afterwards."""
    backends = (torch.backends, torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)
    before = [one.fp32_precision for one in backends]
    yield torch.backends
    for one, own in zip(backends, before, strict=True):
        one.fp32_precision = own


def test_rounded_operations_are_told_however_they_were_chosen(settings):
    assert rounded_float32("cuda") == {"convolutions": "tf32"}  # as torch has it unless told otherwise
    assert rounded_float32("cpu") == rounded_float32("mps") == {}
    settings.cuda.matmul.fp32_precision = "tf32"
    assert rounded_float32("cuda") == {"products": "tf32", "convolutions": "tf32"}
    settings.cuda.matmul.fp32_precision = "ieee"
    settings.mkldnn.matmul.fp32_precision = "bf16"
    assert rounded_float32("cuda") == {"convolutions": "tf32"}
    assert rounded_float32("cpu") == rounded_float32("xpu") == {"products": "bf16"}


def test_rounded_operations_are_told_by_an_older_torch(monkeypatch):
    monkeypatch.setattr(device, "_SETTINGS", {"cuda": {"products": "no.such", "convolutions": "cudnn.conv"}})
    asked = iter(["highest", "high"])
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: next(asked))
    assert rounded_float32("cuda") == {"convolutions": "tf32"}
    assert rounded_float32("cuda") == {"products": "tf32", "convolutions": "tf32"}


def test_a_model_under_tf32_is_told_so(tiny, settings, monkeypatch):
    settings.cuda.matmul.fp32_precision = "tf32"
    assert turned_on(tiny) == []
    monkeypatch.setattr(type(tiny), "_execution_device", torch.device("cuda:1"))
    told = ["products of float32 in tf32 on cuda", "convolutions of float32 in tf32 on cuda"]
    assert turned_on(tiny) == told
