"""Packages and weights that labelers need: loaded safely, named where they are missing."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ldmscene.errors import InputError

_FORCE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"  # torch's own switch


def need(module: str, command: str) -> ModuleType:
    """Import a module of an optional package.

    Raises
    ------
    InputError
        With the command that installs it, or with why it can't be imported.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} isn't installed; get it with `{command}`") from error
    except ImportError as error:
        raise InputError(f"{module} can't be imported ({_first_line(error)}); try `{command}`") from error
    except RuntimeError as error:  # torchvision's, beside another build of torch
        reason = f"{module} can't be imported ({_first_line(error)})"
        raise InputError(f"{reason}; torch and torchvision must be of one release and from one index") from error


def load_state(path: str | Path) -> dict[str, torch.Tensor]:
    """A state dict from safetensors, or from a file of torch.save that holds tensors only.

    Raises
    ------
    InputError
        If there is no such file, or it holds anything else: code in a pickle is never run.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no weights at {path}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, SafetensorError, RuntimeError, EOFError, ValueError) as error:
        raise InputError(
            f"{path} isn't a file of weights alone ({_first_line(error)}); "
            "pickled code is never run: save a state_dict, best as safetensors"
        ) from error
    if not (isinstance(state, dict) and all(isinstance(t, torch.Tensor) for t in state.values())):
        raise InputError(f"{path} holds no state_dict; expected tensors by name")
    return state


def fill(model: nn.Module, state: dict[str, torch.Tensor], path: str | Path) -> None:
    """Put weights into a model; what it has no place for is ignored.

    Raises
    ------
    InputError
        If weights are missing or of another shape.
    """
    try:
        missing = model.load_state_dict(state, strict=False).missing_keys
    except RuntimeError as error:
        raise InputError(f"{path} doesn't fit {type(model).__name__}: {str(error).splitlines()[-1].strip()}") from error
    if missing:
        raise InputError(f"{path} doesn't fit {type(model).__name__}: it lacks {len(missing)} tensors, {missing[0]} …")


@contextmanager
def naming_the_download(what: str, command: str, file: Path | None = None) -> Iterator[None]:
    """Turn a failed download into one sentence with the command that gets the weights.

    Where `file` says which file a download leaves, none is tried while HF_HUB_OFFLINE is set: without a route, that
    may take minutes to fail.
    """
    if file is not None and not file.is_file() and _offline():
        raise InputError(f"{what} aren't in {file.parent}, and HF_HUB_OFFLINE is set; with network: `{command}`")
    try:
        yield
    except OSError as error:  # urllib's and requests' errors are its subclasses
        raise InputError(
            f"{what} aren't here and can't be had ({_first_line(error)}); with network: `{command}`"
        ) from error


@contextmanager
def weights_only(what: str) -> Iterator[None]:
    """Inside the block no torch.load runs pickled code, whatever another package asks it for."""
    before = os.environ.get(_FORCE)
    os.environ[_FORCE] = "1"
    try:
        yield
    except pickle.UnpicklingError as error:
        raise InputError(f"{what} hold more than tensors ({_first_line(error)}); pickled code is never run") from error
    finally:
        os.environ.pop(_FORCE)
        os.environ |= {} if before is None else {_FORCE: before}


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:120]


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
