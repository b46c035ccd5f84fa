"""The simulation of verdicts runs, and its worlds are what they say they are."""

from __future__ import annotations

import json

import numpy as np

from benchmarks import harness, verdicts, worlds


def test_the_table_has_a_line_for_every_figure(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(harness.save, "__defaults__", (tmp_path,))
    monkeypatch.setattr(verdicts, "PROMPTS", (4, 5, 6))
    verdicts.main("--quick")
    lines = capsys.readouterr().out.splitlines()
    rows = json.loads((tmp_path / "verdicts.json").read_text())["rows"]
    assert len(lines) == len(rows) + 2
    assert lines[2] == "| " + " | ".join(str(value) for value in rows[0].values()) + " |"
    figures = {row["figure"] for row in rows}
    assert {f"claimed: {name}" for name in (*verdicts.NULLS, *verdicts.KNOWN)} < figures
    assert {row["met"] for row in rows} <= {"yes", "no"}


def test_verdicts_tell_labels_that_are_known_from_those_that_are_not():
    rng = np.random.default_rng(1)
    world = worlds.World.of(rng, 12)
    known = worlds.findings(world, worlds.under_position(rng, world, 4))
    assert all(finding.first.shown for finding in known)
    other = worlds.findings(world, worlds.other_module(rng, world, 4))
    assert {finding.module for finding in other} == {"down"}
    for make in verdicts.NULLS.values():
        assert not any(finding.first.shown for finding in worlds.findings(world, make(rng, world, 4)))


def test_the_first_noise_is_read_until_its_rival_is_asked():
    rng = np.random.default_rng(2)
    world = worlds.World.of(rng, 12)
    (found,) = worlds.findings(world, worlds.noise_channel(rng, world, 1))
    assert found.decided == "raw latent"
    assert np.corrcoef(world.noise[:, 0].ravel(), world.latents[0, ..., 0].ravel())[0, 1] > 0.99
