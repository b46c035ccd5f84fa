"""The world's benchmark runs, and scores as scikit-learn and scipy would."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import f1_score

from benchmarks import harness, world


def test_it_scores_every_target_on_both_splits_and_keeps_the_rows(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(harness.save, "__defaults__", (tmp_path,))
    world.main({"train": 30, "test": 8, "unseen": 8})
    rows = json.loads((tmp_path / "world.json").read_text())["rows"]
    assert [(row["target"], row["split"]) for row in rows] == [
        (target, split) for target in world.TARGETS for split in ("test", "unseen")
    ]
    by = {(row["target"], row["split"]): row for row in rows}
    assert by["mask", "test"]["true mask"] > 0.8
    assert by["mask", "test"]["tiny-scenes"] > by["mask", "test"]["position"] + 0.3
    assert by["depth", "test"]["true mask"] > by["depth", "test"]["position"]
    assert "exact truth" in capsys.readouterr().out


def test_cells_hold_their_own_pixels():
    maps = np.arange(2 * 64 * 64 * 3).reshape(2, 64, 64, 3)
    cells = world._cells(maps)
    assert cells.shape == (2, 16, 16, 48)
    np.testing.assert_array_equal(cells[1, 3, 5], maps[1, 12:16, 20:24].ravel())


def test_dice_is_sklearns_f1_and_correlation_leaves_out_what_is_unknown():
    rng = np.random.default_rng(0)
    truth, guess = rng.random((64, 64)), rng.random((64, 64))
    wanted = f1_score((truth > 0.5).ravel(), (guess > 0.5).ravel())
    assert world.dice(truth, guess) == pytest.approx(wanted)
    truth[:20] = np.nan
    assert world.correlation(truth, guess) == pytest.approx(np.corrcoef(truth[20:].ravel(), guess[20:].ravel())[0, 1])
