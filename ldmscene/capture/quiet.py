"""Without the advice that other libraries print while a model is loaded and tried."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from diffusers.utils import logging as of_diffusers
from transformers.utils import logging as of_transformers


@contextmanager
def quietly() -> Iterator[None]:
    """Errors alone of diffusers and transformers: they speak of packages and prompts that no user chose.

    It is a decorator, too.
    """
    libraries = (of_diffusers, of_transformers)
    before = [library.get_verbosity() for library in libraries]
    for library in libraries:
        library.set_verbosity_error()
    try:
        yield
    finally:
        for library, verbosity in zip(libraries, before, strict=True):
            library.set_verbosity(verbosity)
