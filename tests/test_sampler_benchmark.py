"""The count of samplers runs, and its net names what renderings show."""

from __future__ import annotations

from click.testing import CliRunner

from benchmarks import samplers
from ldmscene.manifest import read_manifest
from ldmscene.testbed.drawing import draw_rooms
from ldmscene.testbed.rendering import render_rooms
from ldmscene.testbed.scenes import COLORS
from ldmscene.testbed.solids import SHAPES
from ldmscene.testbed.words import captions


def test_every_sampler_has_its_line(monkeypatch):
    monkeypatch.setattr(samplers, "SCHEDULERS", ("LMSDiscrete", "DDIM"))
    monkeypatch.setattr(samplers, "GUIDANCE", (3.0,))
    shown = []
    monkeypatch.setattr(samplers, "table", lambda rows, _: shown.extend(rows) or "")
    done = CliRunner().invoke(samplers.main, ["--quick"], catch_exceptions=False)
    assert done.exit_code == 0
    assert [(row["scheduler"], row["guidance"]) for row in shown] == [("LMSDiscrete", 3.0), ("DDIM", 3.0)]
    counts = [text for row in shown for name, text in row.items() if name.startswith("right")]
    assert sum(int(text.split()[2]) for text in counts) == 8  # the manifest's first four, twice


def test_the_net_names_the_solids_of_a_rendering():
    rooms = draw_rooms(60, 12)
    rooms = rooms[rooms.count == 1]
    wanted = [
        [f"{list(COLORS)[color]} {SHAPES[shape]}"]
        for color, shape in zip(rooms.color[:, 0].tolist(), rooms.shape[:, 0].tolist(), strict=True)
    ]
    found = samplers.nouns(render_rooms(rooms).image)
    assert sum(f == w for f, w in zip(found, wanted, strict=True)) > 0.9 * len(wanted)


def test_a_line_counts_what_is_right_and_what_fell_apart(monkeypatch):
    rooms = draw_rooms(40, 12)
    rooms = rooms[rooms.count <= 2]
    asked, images = captions(rooms, 12), render_rooms(rooms).image
    images[::2] = 255 - images[::2]
    drawn_with = []
    monkeypatch.setattr(samplers, "draw", lambda *how: drawn_with.append(how[1:]) or images)
    row = samplers.count(read_manifest([(text, i) for i, text in enumerate(asked)]), "DDIM", 3.0)
    assert drawn_with == [("DDIM", 3.0)]
    assert row["fell apart"] == len(images[::2])
    right = [int(row[f"right of those with {solids}"].split()[0]) for solids in ("one", "two")]
    assert 0.8 * len(images[1::2]) < sum(right) < 1.2 * len(images[1::2])
