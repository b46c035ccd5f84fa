"""Labels, colours and charts: small functions against what they promise."""

from dataclasses import replace

import matplotlib
import numpy as np
import pytest

from ldmscene.errors import IncompleteError, ShapeError, UnknownNameError
from ldmscene.report.colours import ink_on, levels, limits, palette
from ldmscene.report.labels import labels
from ldmscene.report.series import dodge
from ldmscene.report.site.chart import chart
from ldmscene.report.site.context import flat
from ldmscene.report.site.maps import reduction
from ldmscene.report.site.tables import heat, leaderboard

END = "transformer_blocks.0.attn1.to_out.0"


@pytest.mark.parametrize(
    ("modules", "expected"),
    [
        ([f"up_blocks.3.attentions.0.{END}", f"mid_block.attentions.0.{END}"], ["up 3.0", "mid 0"]),
        (["up_blocks.1.attentions.0.a.k", "up_blocks.1.attentions.0.a.v"], ["up 1.0 a.k", "up 1.0 a.v"]),
        (["up_blocks.1.attentions.0.a.x", "up_blocks.1.attentions.0.b.x"], ["up 1.0 a", "up 1.0 b"]),
        (["up_blocks.1.attentions.0", "up_blocks.1.resnets.0"], None),
        (["conv_in", "conv_out"], ["conv_in", "conv_out"]),
        ([], []),
    ],
)
def test_labels_are_short_and_unique(modules, expected):
    assert list(labels(modules).values()) == (modules if expected is None else expected)


def test_levels_and_palette_give_the_colour_map_back():
    values = np.array([[-1.0, 0.0, 0.5], [1.0, 2.0, np.nan]])
    index = levels(values, 0, 1)
    np.testing.assert_array_equal(index, [[0, 0, 127], [254, 254, 255]])
    expected = np.round(np.array(matplotlib.colormaps["magma"](0.5)[:3]) * 255)
    np.testing.assert_array_equal(palette("depth")[127], expected)


@pytest.mark.parametrize("target", ["depth", "mask", "shading", "a user's own"])
def test_colours_rise_in_lightness_so_that_a_grey_copy_reads(target):
    lightness = palette(target)[:255].astype(float) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) > -1.5).all()
    assert lightness[-1] > lightness[0] + 150


def test_numbers_on_any_cell_can_be_read():
    for rgb in matplotlib.colormaps["viridis"](np.linspace(0, 1, 64))[:, :3]:
        light = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
        luminance = float(np.dot(light, [0.2126, 0.7152, 0.0722]))
        text = 0.0 if ink_on(tuple(rgb)) == "#000" else 1.0
        bright, dark = max(text, luminance), min(text, luminance)
        assert (bright + 0.05) / (dark + 0.05) >= 4.5


@pytest.mark.parametrize(
    ("label", "kind", "expected"),
    [
        (np.arange(101.0), "continuous", (1, 99)),
        (np.arange(101.0), "binary", (0, 1)),
        (np.full(4, np.nan), "continuous", (0, 1)),
        (np.full(4, 3.0), "continuous", (2.5, 3.5)),
    ],
)
def test_limits_are_never_empty(label, kind, expected):
    assert limits(label, kind) == expected


def test_dodge_keeps_order_and_distance():
    wanted = np.array([0.9, 0.1, 0.91, 0.5, 0.9])
    placed = dodge(wanted, 0.1)
    assert (np.diff(np.sort(placed)) > 0.099).all()
    assert (np.argsort(placed, kind="stable") == np.argsort(wanted, kind="stable")).all()


def test_a_curve_has_a_gap_where_a_step_has_no_score(data):
    grid = data.grid.copy(deep=True)
    grid["probe"][{"step": 5}] = np.nan
    lines = {line["role"]: line["line"] for line in chart(grid, "depth")["lines"]}
    assert lines["probe"].count("M") == 2
    assert "nan" not in lines["probe"]
    assert lines["permuted"].count("M") == 1


def test_heat_and_leaderboard_bear_cells_without_scores(data):
    grid = data.grid.copy(deep=True)
    grid["probe"][{"module": 3}] = np.nan
    cells = heat(grid, "depth")["groups"]["encoder"][3]["cells"]
    assert {cell["text"] for cell in cells} == {"–"}
    assert leaderboard(grid, "depth")["rows"][0]["label"] == "up 3.0"


def test_leaders_are_ranked_by_training_folds(data):
    grid = data.grid.copy(deep=True)
    grid["cv_score"][{"module": 0}] = 2.0  # whatever held-out images say
    assert leaderboard(grid, "mask")["rows"][0]["label"] == "down 0.0"


@pytest.mark.parametrize(("side", "expected"), [(2, 1), (64, 1), (65, 2), (128, 2), (256, 4)])
def test_large_maps_are_averaged_down(side, expected):
    assert reduction(side, 2) == expected


def test_provenance_is_flattened():
    assert list(flat({"a": {"b": {"c": 1}}, "d": None})) == [("a.b.c", "1"), ("d", "None")]


def test_data_that_does_not_fit_is_refused(data):
    with pytest.raises(ShapeError, match="transpose"):
        replace(data, image=data.image.transpose("sample", "X", "Y", "rgb"))
    with pytest.raises(ShapeError, match="in order"):
        replace(data, image=data.image[::-1])
    with pytest.raises(ShapeError, match="images' size"):
        replace(data, noisy=data.noisy[:, :, ::2])
    with pytest.raises(IncompleteError, match="depth"):
        replace(data, labels={})
    with pytest.raises(UnknownNameError, match="mask"):
        replace(data, labels={**data.labels, "masks": data.labels["mask"]})
