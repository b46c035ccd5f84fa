"""The benchmark of painting runs, and what it writes is what the page says."""

from __future__ import annotations

import gc
import json

import pytest
import torch

from benchmarks import harness, paint
from ldmscene.painting import measured


def test_it_runs_and_the_page_says_what_it_found(studio_on_store, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(harness.save, "__defaults__", (tmp_path,))
    monkeypatch.setattr(paint, "studio_of", lambda store: studio_on_store)
    monkeypatch.setattr(paint, "PROMPTS", 1)
    monkeypatch.setattr(paint, "TIMED", 1)
    for module in (paint, measured):
        monkeypatch.setattr(module, "MEASURED", tmp_path / "measured.json")
    paint.dice()
    paint.speed(rounds=1)
    (row, *_) = json.loads((tmp_path / "paint-dice-test.json").read_text())["rows"]
    config = studio_on_store.store.config
    assert f"On 1 held-out prompts, drawn in {config['steps']} steps at guidance 7.5 with" in measured.sentence(config)
    assert f"mean Dice of {row['edit']:.2f} with what was painted" in measured.sentence(config)
    other = {"components": {"unet": {"weights": "another"}}}
    assert "not measured for this model" in measured.sentence(other)
    first, picture = json.loads((tmp_path / "paint-speed.json").read_text())["rows"]
    assert 0 < first["seconds"] < picture["seconds"]


def test_more_pictures_leave_no_more_tensors(studio_on_store):
    (mask,) = paint.sound_masks(studio_on_store, 1)

    def tensors_after(draws: int) -> int:
        for _ in range(draws):
            paint.draw(studio_on_store, paint.asked_of(studio_on_store, *mask))
        gc.collect()
        return sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects())

    assert tensors_after(2) == tensors_after(2)


@pytest.mark.slow
def test_many_pictures_leave_memory_as_it_was(studio_on_store, tmp_path, monkeypatch):
    monkeypatch.setattr(harness.save, "__defaults__", (tmp_path,))
    monkeypatch.setattr(paint, "studio_of", lambda store: studio_on_store)
    paint.memory(draws=30)
    (row,) = json.loads((tmp_path / "paint-memory.json").read_text())["rows"]
    assert row["growth"] <= paint.GROWTH
