"""Readouts are held by what they take in memory, and what was asked for longest ago goes first."""

from __future__ import annotations

import numpy as np

from ldmscene.edits import Readout
from ldmscene.painting.recent import Recent


def _readout(channels: int) -> Readout:
    vector = np.ones(channels, np.float32)
    return Readout(vector, 0.0, vector, np.eye(channels, dtype=np.float32), vector)


def _held(recent: Recent, *keys: tuple[str, str, int]) -> list[bool]:
    return [recent.find(key) is not None for key in keys]


def test_what_was_asked_for_longest_ago_goes_first():
    a, b, c, large = (("mask", "module", step) for step in range(4))
    recent = Recent(2 * 5 * 4 * 8 * 8)
    first = _readout(8)
    recent.hold(a, first)
    recent.hold(b, _readout(8))
    assert recent.find(a) is first
    recent.hold(c, _readout(8))
    assert _held(recent, a, b, c) == [True, False, True]
    recent.hold(large, _readout(16))  # twice what there is room for: held alone, since it is needed now
    assert _held(recent, a, c, large) == [False, False, True]
    recent.hold(b, _readout(8))
    assert _held(recent, large, b) == [False, True]
