"""Where a model runs when nobody says, with which digits, and what this process has held in memory."""

from __future__ import annotations

import resource
import sys
from operator import attrgetter
from pathlib import Path

import torch
from torch import Tensor

_ONEDNN = {"products": "mkldnn.matmul", "convolutions": "mkldnn.conv"}
_SETTINGS = {"cuda": {"products": "cuda.matmul", "convolutions": "cudnn.conv"}, "cpu": _ONEDNN, "xpu": _ONEDNN}


def best_device(device: str | None) -> str:
    """The device that is named, or the fastest there is: cuda, xpu, mps …, else the CPU."""
    if device:
        return device
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found.type if found is not None else "cpu"


def in_float64(x: Tensor) -> Tensor:
    """A tensor as float64 on its device, or on the CPU where the device has none, as Apple's and some of Intel's."""
    try:
        return x.double()
    except (TypeError, RuntimeError):
        return x.cpu().double()


def rounded_float32(kind: str) -> dict[str, str]:
    """Operations in which a kind of device may round float32 numbers, as torch is set: "products", "convolutions".

    Each with the type to whose digits: "tf32" or "bf16".

    Examples
    --------
    >>> from ldmscene.device import rounded_float32
    >>> rounded_float32("cpu")
    {}
    """
    try:
        said = {what: attrgetter(f"{name}.fp32_precision")(torch.backends) for what, name in _SETTINGS[kind].items()}
    except KeyError:
        return {}
    except (
        AttributeError
    ):  # torch before 2.9; of later ones this is refused where the precision was set for one backend
        rounds = torch.get_float32_matmul_precision() != "highest", kind == "cuda" and torch.backends.cudnn.allow_tf32
        said = dict(zip(_SETTINGS[kind], ("tf32" if one else "none" for one in rounds), strict=True))
    return {what: precision for what, precision in said.items() if precision in ("tf32", "bf16")}


def peak_memory() -> int:
    """Bytes of the host's memory that this process has held at most; a GPU's own memory isn't among them."""
    try:  # unlike rusage's, without what its parent held at the fork
        status = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    except (OSError, StopIteration):  # not Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
