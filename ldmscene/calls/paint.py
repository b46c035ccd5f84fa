"""A page on which a person paints what a probe is to read."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import xarray as xr
from diffusers import DiffusionPipeline

from ldmscene import capture
from ldmscene.calls.evaluate import evaluate
from ldmscene.calls.loading import load_model
from ldmscene.calls.opening import opened
from ldmscene.errors import InputError
from ldmscene.store import ActivationStore

if TYPE_CHECKING:
    from ldmscene.painting import Painting


def paint(
    store: ActivationStore | str | Path,
    grid: xr.Dataset | None = None,
    *,
    model: str | Path | DiffusionPipeline | capture.Model | None = None,
    device: str | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
) -> Painting:
    """Serve a page on which a person paints a map, and watches the model draw what reads as painted.

    The page shows the model's own picture, each step of the edited one with what the probes read in it, the label of
    the finished picture with its agreement with what was painted, and what a random edit of the same size gives.
    Nothing is written.

    Parameters
    ----------
    store
        A store of pictures from prompts, or its location.
    grid
        What `evaluate` made of it, with linear probes; made anew where not given, from what is cached.
    model
        The pipeline that made the store; by the name that the store has for it where not given. It must not be used
        elsewhere meanwhile.
    device
        "cpu", "cuda", …; the fastest there is where not given.
    host
        "127.0.0.1": only this machine can open the page; "0.0.0.0": all that reach it and know the address.
    port
        0: any that is free.

    Returns
    -------
    Painting
        With its `address`, `wait()` and `close()`; a context manager, and in a notebook the page itself.

    Raises
    ------
    InputError
        If Starlette or uvicorn is missing, the port can't be had, the model isn't the store's, or the grid has no
        linear probes.

    Examples
    --------
    >>> import ldmscene
    >>> with ldmscene.paint("stores/demo") as page:  # doctest: +SKIP
    ...     print(page.address)
    ...     page.wait()
    """
    _check_extra()
    from ldmscene.painting import Studio, listen, sentence, serve

    listen(host, port).close()  # what can't be had is refused before anything is loaded
    source = opened(store)
    found = evaluate(source) if grid is None else grid
    studio = Studio(source, found, load_model(source.model if model is None else model, device), device)
    about = {"model": source.model, "measured": sentence(source.config)}
    return serve(studio, about, host=host, port=port)


def _check_extra() -> None:
    """Refuse before anything is loaded where what serves a page is missing."""
    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise InputError(f"paint needs {' and '.join(missing)}; get what it needs with: pip install 'ldmscene[paint]'")
