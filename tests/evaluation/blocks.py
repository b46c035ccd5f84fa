"""Samples in smaller blocks than usual, for stores of few."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ldmscene.evaluation import samples


def blocks_of(count: int) -> Any:
    """A fixture that is in force for a whole module."""

    @pytest.fixture(scope="module", autouse=True)
    def small_blocks() -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(samples, "BLOCK", count)
            yield

    return small_blocks
