"""The figures carry the grid's numbers, and are saved the same way each time."""

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from ldmscene import conclusions, gains
from ldmscene import grid as grids
from ldmscene.errors import IncompleteError, UnknownNameError
from ldmscene.report import animate, curves, four_panels, heatmap, save, seven_rows, transfer, write_figures
from ldmscene.report.animation import GAP, HEAD, TILE
from ldmscene.report.colours import levels, palette
from ldmscene.report.figures import file_names
from ldmscene.report.fonts import SMALL
from ldmscene.report.marks import leads
from ldmscene.report.saving import in_small_font
from ldmscene.verdicts import Lead
from tests.report.conftest import MODULES, published, with_steps


@pytest.mark.parametrize("target", ["depth", "mask", "shading"])
def test_curves_of_scores_are_the_means_of_the_grid(data, target):
    drawn = curves(data.grid, target, measure="score").get_lines()
    lines = {line.get_label(): line.get_ydata() for line in drawn}
    expected = {
        "probe, up 3.0": grids.scores(data.grid, target),
        "permuted weights": grids.scores(data.grid, target, variable="permuted"),
    }
    for name in grids.baselines(data.grid, target):
        expected[name] = grids.scores(data.grid, target, variable="baseline", name=name)
    assert lines.keys() == expected.keys()
    for name, scores in expected.items():
        np.testing.assert_allclose(lines[name], scores.mean("sample"))


def test_curves_of_gains_are_ratios_of_sums_with_all_that_was_compared(data):
    ax = curves(data.grid, "mask")
    lines = {line.get_label(): line.get_ydata() for line in ax.get_lines()}
    ours = data.grid.sel(target="mask", module=MODULES[13])
    np.testing.assert_allclose(lines.pop("probe, up 3.0"), ours["explained"].sum("sample") / ours["left"].sum("sample"))
    for what in ("rival", "labeler"):
        for name in data.grid[what].values:
            one = data.grid.sel({"target": "mask", what: name})
            gain = one[f"{what}_explained"].sum("sample") / one[f"{what}_left"].sum("sample")
            np.testing.assert_allclose(lines.pop(name), gain)
    assert lines == {}
    assert ax.get_ylabel() == "Gain beyond position (%)"
    assert ax.yaxis.get_major_formatter()(0.4, 0) == "40"


def test_bands_of_scores_are_intervals_and_those_of_gains_hold_for_all_steps(data):
    band = curves(data.grid, "depth", measure="score").collections[0].get_paths()[0].vertices
    bounds = grids.interval(grids.scores(data.grid, "depth"))
    assert band[:, 1].min() == pytest.approx(float(bounds["low"].min()))
    assert band[:, 1].max() == pytest.approx(float(bounds["high"].max()))
    values = gains.of_probe(data.grid, "depth")
    wide = curves(data.grid, "depth").collections[0].get_paths()[0].vertices
    assert wide[:, 1].max() == pytest.approx(float(gains.band(values)["high"].max()))
    assert wide[:, 1].max() > float(gains.interval(values)["high"].max())


def test_both_steps_of_the_verdict_are_marked_with_their_intervals(data):
    found = conclusions.finding(data.grid, "shading")
    drawn = curves(data.grid, "shading").collections
    points = [c.get_offsets().tolist() for c in drawn if isinstance(c, PathCollection)]
    mean = gains.band(gains.of_probe(data.grid, "shading"))["mean"].values
    expected = []
    for step in (found.first, found.most):
        height = pytest.approx(mean[step.at])
        expected += [[[step.low, height], [step.high, height]], [[step.at, height]]]
    assert points == expected
    of_scores = curves(data.grid, "shading", measure="score").collections
    assert not any(isinstance(c, PathCollection) for c in of_scores)


def test_labelers_are_named_with_their_leads(data):
    found = conclusions.finding(data.grid, "shading")
    lead = found.readings[grids.LABELER_NOISY].lead_most.steps
    ax = curves(data.grid, "shading")
    texts = {text.get_text() for text in ax.texts}
    assert lead > 1
    assert f"labeler on xₜ, +{lead} steps" in texts
    assert not any("steps" in text.get_text() for text in curves(data.grid, "shading", measure="score").texts)
    ax.figure.draw_without_rendering()
    assert max(Text.get_window_extent(text).x1 for text in ax.texts) <= ax.figure.bbox.x1
    never = replace(found.readings[grids.LABELER_NOISY], lead_most=Lead(None, None, None))
    assert leads(replace(found, readings={"one": never})) == {"one": "not shown"}


def test_heatmap_is_the_mean_of_each_cell(data):
    ax = heatmap(data.grid, "mask", measure="score")
    expected = data.grid["probe"].sel(target="mask", metric="dice").mean("sample")
    np.testing.assert_allclose(ax.collections[0].get_array(), expected.values.ravel())
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names[:2] == ["down 0.0", "down 0.1"]
    assert names[-1] == "up 3.2"
    bold = [label.get_text() for label in ax.get_yticklabels() if label.get_fontweight() == "bold"]
    assert bold == ["up 3.0"]


def test_gains_that_do_not_stand_out_are_hatched(data):
    ax = heatmap(data.grid, "shading")
    cells = gains.of_modules(data.grid, "shading")
    np.testing.assert_allclose(ax.collections[0].get_array(), cells["mean"].values.ravel())
    hatched = next(c for c in ax.collections if c.get_hatch())
    assert len(hatched.get_paths()) == int((~cells["stands_out"]).sum()) > 0
    assert {path.vertices[0, 0] for path in hatched.get_paths()} <= set(range(15))


def test_a_cell_that_lacks_a_score_is_empty_as_it_is_on_the_page(data):
    grid = data.grid.copy(deep=True)
    grid["probe"][{"module": 3, "step": 2, "sample": 0}] = np.nan
    cells = heatmap(grid, "mask", measure="score").collections[0].get_array()
    means = grids.interval(grid["probe"].sel(target="mask", metric="dice"))["mean"]
    np.testing.assert_array_equal(cells.mask, np.isnan(means.values.ravel()))
    assert cells.mask.sum() == 1


def test_a_score_without_neighbours_is_a_point(data):
    grid = data.grid.copy(deep=True)
    grid["probe"][{"step": [3, 5]}] = np.nan
    probe, permuted = curves(grid, "depth", measure="score").get_lines()[:2]
    assert (probe.get_marker(), probe.get_markevery(), permuted.get_markevery()) == ("o", [4], [])
    assert curves(grid.isel(step=[7]), "depth", measure="score").get_lines()[0].get_markevery() == [0]


def test_a_target_without_any_score_is_drawn_empty(data):
    grid = published(data).grid.drop_vars(["permuted", "baseline"]).copy(deep=True)
    grid["probe"][{"target": 0}] = np.nan
    ax = curves(grid, "depth")
    assert ax.get_lines() == []
    assert [text.get_text() for text in ax.texts] == ["no scores"]


@pytest.mark.parametrize("steps", [[14], list(range(15))])
def test_labels_at_the_lines_ends_lie_apart_and_inside_the_figure(data, steps):
    ax = curves(data.grid.isel(step=steps), "depth", measure="score")
    ax.figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in ax.texts]  # an annotation's own has its leader in it
    assert len(boxes) == 6
    assert all(low.y1 <= high.y0 + 1 for low, high in pairwise(sorted(boxes, key=lambda box: box.y0)))
    assert max(box.x1 for box in boxes) <= ax.figure.bbox.x1
    leaders = [text.arrow_patch.get_window_extent() for text in ax.texts]
    assert max(leader.x1 for leader in leaders) <= min(box.x0 for box in boxes) + 1


@pytest.mark.parametrize("draw", [curves, heatmap])
def test_plots_draw_where_they_are_told_to(data, draw):
    ax = Figure().add_subplot()
    assert draw(data.grid, "depth", ax=ax) is ax


@pytest.mark.parametrize("draw", [curves, heatmap])
def test_an_unknown_target_is_answered_with_the_known(data, draw):
    with pytest.raises(UnknownNameError, match="depth"):
        draw(data.grid, "dept")


def test_curves_of_a_bare_grid_have_the_probe_alone(data):
    bare = published(data).grid.drop_vars(["permuted", "baseline"])
    assert [line.get_label() for line in curves(bare, "depth").get_lines()] == ["probe, up 3.0"]


def test_transfer_has_rows_of_fitting_and_columns_of_reading(data):
    gain = data.transfer["depth"].copy()
    gain[2, 5] = 0.01
    ax = transfer(gain, "depth")
    np.testing.assert_allclose(ax.collections[0].get_array(), gain)
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first step is at the top
    framed = [patch.get_xy() for patch in ax.patches]
    assert framed == [(i, i) for i in range(15)]


def pictures(figure: Figure) -> list[np.ndarray]:
    (ax,) = figure.axes
    return [image.get_array() for image in ax.get_images()]


def test_seven_rows_have_a_picture_for_each_step(data):
    sample = data.samples.index[4]
    found = pictures(seven_rows(data, sample))
    assert len(found) == 7 * 15
    np.testing.assert_array_equal(found[3], data.noisy.sel(sample=sample)[3])
    for row, target in enumerate(["mask", "depth", "shading"]):
        module = gains.chosen_module(data.grid, target)  # whose probe the sentence is of
        np.testing.assert_array_equal(found[15 * (2 * row + 1) + 3], data.predict(target, module, 3).sel(sample=sample))
    np.testing.assert_array_equal(found[30 + 3], data.intermediate["noisy", "mask"].sel(sample=sample)[3])


def test_compact_rows_have_the_first_steps_and_the_last(data):
    figure = seven_rows(data, data.samples.index[4], compact=True)
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["0", "1", "2", "3", "4", "14"]
    assert len(pictures(figure)) == 7 * 6


def test_of_many_steps_some_are_shown_on_the_same_paper_and_it_says_so(data):
    few, many = (with_steps(data, list(range(15)) * n, list(range(15 * n))) for n in (1, 4))
    sample = data.samples.index[4]
    ax = seven_rows(many, sample).axes[0]
    names = [label.get_text() for label in ax.get_xticklabels()]
    assert (names[0], names[-1], len(names)) == ("0", "59", 15)
    assert ax.get_xlabel() == "15 of 60 steps"
    np.testing.assert_array_equal(ax.get_images()[1].get_array(), data.noisy.sel(sample=sample)[int(names[1])])
    assert tuple(ax.figure.get_size_inches()) == tuple(seven_rows(few, sample).get_size_inches())
    assert seven_rows(few, sample).axes[0].get_xlabel() == ""


def test_figures_are_named_by_target_and_sample(data, tmp_path):
    some, asked = data.samples.index[[4, 6]], Counter()

    def predict(*cell):
        asked.update([cell])
        return data.predict(*cell)

    files = write_figures(replace(data, predict=predict), tmp_path, [some[0], some[1], some[0]])
    assert len(files) == len(set(files)) == 3 * (3 * 3 + 2 * 3) + 2
    assert all((tmp_path / f"{kind}-{one}.pdf").exists() for one in some for kind in ("seven-rows", "four-panels"))
    assert set(asked.values()) == {1}  # six figures show what a probe reads at a step
    with in_small_font():
        small = save(heatmap(data.grid, "depth"), tmp_path / "small")[0]
    assert (tmp_path / "heatmap-depth.pdf").read_bytes() == small.read_bytes()


def test_names_that_a_path_cannot_hold_stay_apart():
    assert file_names(["a b", "a/b", "A-B", "a-b-2", "../x"]) == {
        "a b": "a-b", "a/b": "a-b-2", "A-B": "A-B-3", "a-b-2": "a-b-2-2", "../x": "..-x",
    }  # fmt: skip


def test_an_animation_has_a_frame_for_each_step_with_what_the_rows_show(data, tmp_path):
    sample = data.samples.index[4]
    path = animate(data, sample, tmp_path / "steps.webp")
    moving = Image.open(path)
    assert (moving.n_frames, moving.info["loop"]) == (15, 0)
    for step in (0, 9):
        moving.seek(step)
        frame = np.asarray(moving.convert("RGB")).astype(float)
        assert frame.shape[1] == 7 * (TILE + GAP) - GAP
        picture = Image.fromarray(data.noisy.sel(sample=sample)[step].values).resize((TILE, TILE))
        # Compression takes colour from noise, pixel by pixel; means over blocks stay.
        found, expected = (np.asarray(one, float).reshape(36, 4, 36, 4, 3).mean((1, 3)) for one in
                           (frame[HEAD : HEAD + TILE, :TILE], picture))  # fmt: skip
        assert abs(found - expected).mean() < 6
        left = TILE + GAP  # the probe of the mask: its colours are those of the figure
        expected = palette("mask")[levels(data.predict("mask", MODULES[13], step).sel(sample=sample).values, 0, 1)]
        shown = frame[HEAD + 4 : HEAD + TILE : 9, left + 4 : left + TILE : 9]
        assert abs(shown - expected).mean() < 12
    with pytest.raises(IncompleteError, match="previews"):
        animate(replace(data, noisy=None), sample, tmp_path / "none.webp")


def test_four_panels_are_image_and_labels(data):
    sample = data.samples.index[4]
    figure = four_panels(data, sample)
    names = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert names == ["image", "mask", "depth", "shading"]
    np.testing.assert_array_equal(pictures(figure)[2], data.labels["depth"].sel(sample=sample))


def test_pictures_say_what_is_missing(data):
    with pytest.raises(UnknownNameError, match="sample"):
        four_panels(data, "nobody")
    with pytest.raises(IncompleteError, match="previews"):
        seven_rows(replace(data, noisy=None), data.samples.index[0])


def test_saved_figures_are_the_same_bytes_each_time(data, tmp_path):
    files = [save(curves(data.grid, "depth"), tmp_path / folder / "depth.v1") for folder in "ab"]
    assert [path.name for path in files[0]] == ["depth.v1.pdf", "depth.v1.svg", "depth.v1.png"]
    with Image.open(files[0][2]) as png:
        assert png.size == (1500, 780)
    for one, other in zip(*files, strict=True):
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("compact", [True, False])
def test_nothing_of_a_saved_figure_is_cut_off(data, tmp_path, compact):
    png = save(seven_rows(data, data.samples.index[0], compact=compact), tmp_path / "seven")[2]
    with Image.open(png) as picture:
        rgb = np.asarray(picture.convert("RGB"))
    assert (rgb[:, :2] == 255).all()
    assert (rgb[:2] == 255).all()


def test_pdf_embeds_its_fonts_as_truetype(data, tmp_path):
    pdf = save(four_panels(data, data.samples.index[0]), tmp_path / "four")[0].read_bytes()
    assert b"/Type3" not in pdf
    assert b"/FontFile2" in pdf


def test_letters_beyond_latin_are_in_the_same_font(data, tmp_path):
    pdf = save(seven_rows(data, data.samples.index[0]), tmp_path / "seven")[0].read_bytes()
    assert pdf.count(b"/FontFile2 ") == 1  # that of x, whose index is a letter of its own


@pytest.mark.parametrize("name", ["shuffled, Tα ≤ xₜ", "глубина"])
def test_figures_in_the_small_font_look_as_in_the_whole_one(data, tmp_path, name):
    grid = data.grid.assign_coords(target=[name, *data.targets[1:]])

    def drawn(folder):
        return save(heatmap(grid, name), tmp_path / folder / "cells")  # one module is in bold

    whole = drawn("whole")
    with in_small_font():
        assert matplotlib.rcParams["font.family"][0] == SMALL
        small = drawn("small")
    assert whole[2].read_bytes() == small[2].read_bytes()
    assert matplotlib.rcParams["font.family"] == ["sans-serif"]


def test_the_small_font_leaves_another_font_alone():
    with matplotlib.rc_context({"font.family": ["STIXGeneral"]}), in_small_font():
        assert matplotlib.rcParams["font.family"] == ["STIXGeneral"]


def test_figures_return_what_matplotlib_users_expect(data):
    assert isinstance(curves(data.grid, "depth"), Axes)
    assert isinstance(four_panels(data, data.samples.index[0]), Figure)


def test_the_package_leaves_pyplot_and_torch_alone():
    code = "import sys, ldmscene.report; print('matplotlib.pyplot' in sys.modules, 'torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["False", "False"]
