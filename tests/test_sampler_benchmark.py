"""The count of samplers runs, and its judge sees what renderings show."""

from __future__ import annotations

from click.testing import CliRunner

from benchmarks import samplers
from ldmscene.testbed.scenes import COLORS, SHAPES, render, sample_scenes


def test_every_sampler_has_its_line(monkeypatch):
    monkeypatch.setattr(samplers, "SCHEDULERS", ("LMSDiscrete", "DDIM"))
    monkeypatch.setattr(samplers, "GUIDANCE", (7.5,))
    shown = []
    monkeypatch.setattr(samplers, "table", lambda rows, _: shown.extend(rows) or "")
    done = CliRunner().invoke(samplers.main, ["--quick"], catch_exceptions=False)
    assert done.exit_code == 0
    assert [(row["scheduler"], row["guidance"]) for row in shown] == [("LMSDiscrete", 7.5), ("DDIM", 7.5)]
    assert [row["one object"] for row in shown] == [2, 2]  # of the manifest's first four
    assert [row["of them right"] for row in shown][1] == 2


def test_the_judge_sees_colour_and_shape_of_a_rendering():
    scenes = sample_scenes(40, seed=12, one_object_share=1)
    found = samplers.judged(render(scenes).image)
    assert ((found[:, 0] == scenes.color[:, 0].numpy()) & (found[:, 1] == scenes.shape[:, 0].numpy())).mean() > 0.95


def test_prompts_with_two_objects_are_left_out():
    one = samplers.only_object("a small cyan cone on a grey floor, lit from the left")
    assert one == (list(COLORS).index("cyan"), SHAPES.index("cone"))
    assert samplers.only_object("a large red cube behind a small red cone on a grey floor") is None
