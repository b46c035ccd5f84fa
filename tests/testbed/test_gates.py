"""The gates' code, on pictures of which the answer is known: maps made by hand, renderings, and spoilt renderings."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import zscore
from sklearn.metrics import f1_score

from ldmscene.testbed import gates
from ldmscene.testbed.drawing import draw_rooms
from ldmscene.testbed.labelers import relative
from ldmscene.testbed.palette import fell_apart, foreign
from ldmscene.testbed.rendering import render_rooms
from ldmscene.testbed.scenes import COLORS
from ldmscene.testbed.solids import SHAPES
from ldmscene.testbed.spotting import Spotted, solids, targets
from ldmscene.testbed.words import captions


def square(noun: str, y: int, x: int, side: int = 8) -> Spotted:
    pixels = np.zeros((64, 64), bool)
    pixels[y : y + side, x : x + side] = True
    return Spotted(noun, pixels)


def logits(nouns: list[tuple[str, slice, slice]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Of shapes and colours, for nouns in rectangles of a picture; later ones lie in front."""
    shapes, colors = torch.zeros(1 + len(SHAPES), 64, 64), torch.zeros(len(COLORS), 64, 64)
    shapes[0] = 5
    for noun, y, x in nouns:
        color, shape = noun.split()
        shapes[:, y, x], colors[:, y, x] = 0, 0
        shapes[1 + SHAPES.index(shape), y, x], colors[list(COLORS).index(color), y, x] = 5, 5
    return shapes, colors


def test_connected_pixels_of_a_colour_are_a_solid_and_specks_are_none():
    found = solids(
        *logits(
            [
                ("red cube", slice(2, 12), slice(2, 12)),
                ("blue cone", slice(2, 12), slice(12, 20)),
                ("red cube", slice(40, 46), slice(40, 46)),
                ("green cone", slice(60, 61), slice(60, 61)),
            ]
        )
    )
    assert [(s.noun, s.pixels.sum()) for s in found] == [("red cube", 100), ("blue cone", 80), ("red cube", 36)]


def test_a_solid_has_the_shape_that_most_of_it_shows():
    edge = ("red cylinder", slice(2, 5), slice(2, 12))
    found = solids(*logits([("red cube", slice(2, 12), slice(2, 12)), edge]))
    assert [(s.noun, s.pixels.sum()) for s in found] == [("red cube", 100)]


def test_class_numbers_are_those_of_the_nouns():
    noun = list(COLORS).index("cyan") * len(SHAPES) + SHAPES.index("cylinder")
    shape, color = targets(torch.tensor([[0, 1 + noun]]))
    assert shape.tolist() == [[0, 3]]  # sphere, cube, cylinder from 1 on
    assert color.tolist() == [[-1, 3]]  # red, yellow, green, cyan from 0 on


@pytest.mark.parametrize(
    ("caption", "nouns", "how"),
    [
        ("a small red cube on a block in the open, lit from the left", ["red cube"], None),
        ("a red cube left of a large blue cone, lit from the right", ["red cube", "blue cone"], "left of"),
        ("a red cube on a block in front of a cyan cone in a grey room", ["red cube", "cyan cone"], "in front of"),
        ("a red cube, a blue cone and a cyan sphere", ["red cube", "blue cone", "cyan sphere"], None),
    ],
)
def test_captions_are_read_as_they_are_written(caption, nouns, how):
    assert gates.Asked.of(caption) == gates.Asked(caption, nouns, how)


def test_asked_for_captions_are_new_and_of_their_kind():
    known = {a.caption for a in gates.ask(15, 2, seed=4)}
    fresh = gates.ask(15, 2, seed=4, known=known)
    assert len({a.caption for a in fresh}) == 15
    assert not known & {a.caption for a in fresh}
    assert all(len(a.nouns) == 2 and a.how for a in fresh)
    assert all(len(a.nouns) == 1 and a.how is None for a in gates.ask(15, 1, seed=4))


def test_a_picture_is_right_when_it_shows_just_what_was_asked_where_it_was_asked():
    left, right = square("red cube", 20, 5), square("blue cone", 20, 40)
    depth = np.zeros((64, 64))
    depth[right.pixels] = 1  # inverse: the cone is nearer
    asked = {how: gates.Asked.of(f"a red cube {how} a blue cone") for how in gates.RELATIONS}
    told = {how: gates.judge(a, [left, right], depth) for how, a in asked.items()}
    assert told == {
        "left of": (True, True),
        "right of": (True, False),
        "in front of": (True, False),
        "behind": (True, True),
    }
    wrong = square("red cone", 20, 40)
    for seen in ([left], [left, wrong], [left, right, wrong], [left, right, square("red cube", 50, 50)], []):
        assert gates.judge(asked["left of"], seen, depth) == (False, False)


def test_swapped_colours_are_wrong():
    asked = gates.Asked.of("a red cube left of a blue cone")
    seen = [square("blue cube", 20, 5), square("red cone", 20, 40)]
    assert gates.judge(asked, seen, np.zeros((64, 64))) == (False, False)


class Oracle(torch.nn.Module):
    """A net that answers with what it was told, batch after batch."""

    def __init__(self, answers: torch.Tensor) -> None:
        super().__init__()
        self.answers, self.at = answers, 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        start, self.at = self.at, self.at + len(images)
        return self.answers[start : self.at]


def truth_as_maps(truth) -> torch.Tensor:
    lit = torch.from_numpy(np.isfinite(truth.shading)).float() * 2 - 1
    shading = torch.from_numpy(np.nan_to_num(truth.shading))
    mask = torch.from_numpy(truth.mask).float() * 2 - 1
    return torch.stack([5 * torch.from_numpy(truth.depth), mask, shading, lit], 1)


def test_labelers_gates_are_sklearns_f1_and_numpys_correlation():
    truth, other = (render_rooms(draw_rooms(12, seed)) for seed in (1, 2))
    position = relative(other.depth).mean(0)
    perfect = gates.labeler_gates(Oracle(truth_as_maps(truth)), truth.image, truth, position)
    assert all(value == pytest.approx(1, abs=1e-4) for value in perfect.values())
    guess = truth_as_maps(truth) + torch.randn(12, 4, 64, 64, generator=torch.Generator().manual_seed(0))
    found = gates.labeler_gates(Oracle(guess), truth.image, truth, position)
    scores = [f1_score(t.ravel(), (g > 0).ravel()) for t, g in zip(truth.mask, guess[:, 1].numpy(), strict=True)]
    assert found["mask, Dice"] == pytest.approx(np.mean(scores))
    seen, true = (zscore(d.reshape(12, -1), axis=1) - position.ravel() for d in (guess[:, 0].numpy(), truth.depth))
    wanted = np.corrcoef(seen.ravel(), true.ravel())[0, 1]
    assert found["depth beyond position, correlation"] == pytest.approx(wanted, abs=1e-6)
    lit = np.isfinite(truth.shading) & (guess[:, 3].numpy() > 0)
    wanted = np.corrcoef(guess[:, 2].numpy()[lit], truth.shading[lit])[0, 1]
    assert found["shading, correlation"] == pytest.approx(wanted, abs=1e-6)


def test_position_alone_is_worth_nothing_beyond_position():
    truth, other = (render_rooms(draw_rooms(40, seed)) for seed in (1, 2))
    maps = truth_as_maps(truth)
    position = relative(other.depth).mean(0)
    maps[:, 0] = torch.from_numpy(position) + 1e-3 * torch.randn(40, 64, 64)
    found = gates.labeler_gates(Oracle(maps), truth.image, truth, position)
    assert abs(found["depth beyond position, correlation"]) < 0.05


def test_right_pictures_pass_with_a_spotter_that_knows():
    """Renderings with their own captions, and the same captions shuffled."""
    rooms = draw_rooms(60, 3)
    rooms = rooms[torch.nonzero(rooms.count == 1).flatten()]
    truth, asked = render_rooms(rooms), [gates.Asked.of(text) for text in captions(rooms, 3)]
    shape, color = rooms.shape[:, 0], rooms.color[:, 0]
    solid = torch.from_numpy(truth.mask).long()
    maps = torch.zeros(len(rooms), 11, 64, 64)
    maps.scatter_(1, (solid * (1 + shape[:, None, None]))[:, None], 1.0)
    maps[torch.arange(len(rooms)), 5 + color] = 1.0
    labels = truth_as_maps(truth)
    found = gates.picture_gates(asked, truth.image, Oracle(maps), Oracle(labels))
    assert found["one solid, right in colour and shape"] > 0.95
    assert found["whole pictures"] == 1
    wrong = gates.picture_gates(asked[1:] + asked[:1], truth.image, Oracle(maps), Oracle(labels))
    assert wrong["one solid, right in colour and shape"] < 0.3


def test_pairs_and_their_relations_are_counted_apart(monkeypatch):
    left, right = square("red cube", 20, 5), square("blue cone", 20, 40)
    monkeypatch.setattr(gates, "spot", lambda net, images: [[left, right], [left, right], [left], [left]])
    monkeypatch.setattr(gates, "label_maps", lambda net, images: {"depth": np.zeros((4, 64, 64))})
    pairs = [f"a red cube {how} a blue cone" for how in ("left of", "right of", "left of")]
    asked = [gates.Asked.of(text) for text in (*pairs, "a red cube")]
    found = gates.picture_gates(asked, np.full((4, 64, 64, 3), 140, np.uint8), None, None)
    assert found == pytest.approx(
        {
            "one solid, right in colour and shape": 1,
            "two solids, both right": 2 / 3,
            "two solids, relation right": 1 / 3,
            "whole pictures": 1,
        }
    )


def test_renderings_are_whole_and_blurred_too_but_negatives_are_not():
    truth = render_rooms(draw_rooms(60, 9))
    assert not fell_apart(truth.image).any()
    blurred = (truth.image.astype(int) + np.roll(truth.image, 1, 2)) // 2
    assert not fell_apart(blurred).any()
    assert fell_apart(255 - truth.image).mean() > 0.9
    glowing = truth.image.astype(int) * [3, 1, 3] % 256
    assert fell_apart(glowing).mean() > 0.9
    assert (foreign(truth.image) < 0.02).all()
