"""Labels, colours and charts: small functions against what they promise."""

import re
from dataclasses import replace

import matplotlib
import numpy as np
import pytest

from ldmscene import conclusions
from ldmscene import grid as grids
from ldmscene.errors import IncompleteError, InputError, ShapeError, UnknownNameError
from ldmscene.report import marks
from ldmscene.report.colours import ink_on, levels, limits, palette
from ldmscene.report.labels import labels
from ldmscene.report.marks import of_probe
from ldmscene.report.measures import MEASURES, all_cells, measure_of, measures
from ldmscene.report.series import dodge, span
from ldmscene.report.site.chart import Scale, chart
from ldmscene.report.site.context import context
from ldmscene.report.site.facts import flat, shown
from ldmscene.report.site.findings import card, lead_sentence, line_of_steps
from ldmscene.report.site.moves import moved
from ldmscene.report.site.room import reduction
from ldmscene.report.site.tables import heat, leaderboard
from ldmscene.report.transfer import NOTHING
from ldmscene.verdicts import Lead
from tests.report.conftest import published

END = "transformer_blocks.0.attn1.to_out.0"


@pytest.mark.parametrize(
    ("modules", "expected"),
    [
        ([f"up_blocks.3.attentions.0.{END}", f"mid_block.attentions.0.{END}"], ["up 3.0", "mid 0"]),
        (["up_blocks.1.attentions.0.a.k", "up_blocks.1.attentions.0.a.v"], ["up 1.0 a.k", "up 1.0 a.v"]),
        (["up_blocks.1.attentions.0.a.x", "up_blocks.1.attentions.0.b.x"], ["up 1.0 a", "up 1.0 b"]),
        (["up_blocks.1.attentions.0", "up_blocks.1.resnets.0"], None),
        (["conv_in", "conv_out"], ["conv_in", "conv_out"]),
        ([f"transformer_blocks.{i}.attn.to_out.0" for i in (3, 11)], ["3", "11"]),
        (["blocks.0.attn", "blocks.0.mlp", "blocks.1.attn"], ["0.attn", "0.mlp", "1.attn"]),
        (["blocks.0", "blocks.0.mlp"], None),
        (["transformer_blocks.5.attn"], None),
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


GAIN, SCORE = MEASURES["gain"], MEASURES["score"]


def drawn(grid, target="depth", measure=SCORE):
    return chart(grid, target, measure, measure.series(grid, target))


def points(path):
    return np.array([pair.split(",") for pair in re.split("[ML]", path.rstrip("Z")) if pair], float)


def test_a_curve_has_a_gap_where_a_step_has_no_score(data):
    grid = data.grid.copy(deep=True)
    grid["probe"][{"step": [5, 7]}] = np.nan
    lines = {line["role"]: line for line in drawn(grid)["lines"]}
    assert lines["probe"]["line"].count("M") == 3
    assert "nan" not in lines["probe"]["line"]
    assert lines["permuted"]["line"].count("M") == 1
    assert [len(lines[role]["points"]) for role in ("probe", "permuted")] == [1, 0]


def test_curves_and_bands_are_where_their_scores_are(data):
    found = drawn(data.grid)
    ends = found["y_ticks"][0], found["y_ticks"][-1]
    up = Scale(*(float(text) for _, text in ends), *(y for y, _ in ends))
    probe = next(line for line in found["lines"] if line["role"] == "probe")
    bounds = grids.interval(grids.scores(data.grid, "depth"))
    line, band = points(probe["line"]), points(probe["band"])
    np.testing.assert_allclose(line[:, 1], [up(v) for v in bounds["mean"].values], atol=0.11)
    np.testing.assert_allclose(band[:15, 1], [up(v) for v in bounds["low"].values], atol=0.11)
    np.testing.assert_allclose(band[15:, 1], [up(v) for v in bounds["high"].values[::-1]], atol=0.11)
    np.testing.assert_allclose(line[:, 0], [strip["centre"] for strip in found["strips"]])


def test_the_axis_ends_near_the_scores(data):
    found = drawn(data.grid)
    low, high = span(SCORE.series(data.grid, "depth"))
    ends = [Scale(*(y for y, _ in found["y_ticks"][:2]), *(float(t) for _, t in found["y_ticks"][:2]))(y)
            for y in (found["bottom"], found["top"])]  # fmt: skip
    np.testing.assert_allclose(ends, [low, high], atol=0.1)
    assert len(found["y_ticks"]) >= 3


def test_strips_of_uneven_steps_meet_half_way(data):
    chosen = [0, 1, 2, 5, 14]
    strips = drawn(data.grid.isel(step=chosen))["strips"]
    centres, ends = np.array([s["centre"] for s in strips]), np.array([s["x"] + s["width"] for s in strips])
    np.testing.assert_allclose(np.diff(centres) / (centres[1] - centres[0]), np.diff(chosen), atol=0.02)
    np.testing.assert_allclose(ends[:-1], (centres[1:] + centres[:-1]) / 2, atol=0.11)
    np.testing.assert_allclose([s["x"] for s in strips[1:]], ends[:-1], atol=0.11)


def test_one_step_and_none_of_the_scores_are_drawn(data):
    one = drawn(data.grid.isel(step=[7]))
    assert len(one["strips"]) == 1
    assert all(len(line["points"]) == 1 for line in one["lines"])
    grid = data.grid.drop_vars(["permuted", "baseline"]).copy(deep=True)
    grid["probe"][{"target": 0}] = np.nan
    assert drawn(grid)["lines"] == []


def test_gains_are_drawn_in_per_cent_below_their_ceilings(data):
    found = drawn(data.grid, "mask", GAIN)
    ticks = [float(text) for _, text in found["y_ticks"]]
    assert (min(ticks), max(ticks)) == (0, 80)
    assert [size for _, size in found["ceilings"]] == ["16 × 16", "8 × 8", "4 × 4", "2 × 2"]
    up = Scale(ticks[0], ticks[-1], found["y_ticks"][0][0], found["y_ticks"][-1][0])
    assert [y for y, _ in found["ceilings"]] == pytest.approx([up(100 * side / 18) for side in (16, 8, 4, 2)], abs=0.2)


def test_the_steps_of_a_verdict_are_marked_on_the_probes_curve(data):
    finding = conclusions.finding(data.grid, "mask")
    found = chart(data.grid, "mask", GAIN, GAIN.series(data.grid, "mask"), of_probe(finding))
    line = points(next(one["line"] for one in found["lines"] if one["role"] == "probe"))
    first, most = found["marks"]
    assert (first["kind"], most["kind"]) == ("first", "most")
    for mark, step in ((first, finding.first), (most, finding.most)):
        assert [mark["x"], mark["y"]] == pytest.approx(line[step.at], abs=0.11)
        assert [mark["low"], mark["high"]] == pytest.approx(line[[step.low, step.high], 0], abs=0.11)


def test_an_interval_begins_after_the_last_step_that_was_looked_at_before(data):
    """Between steps 3 and 7 what is there at 7 may have begun at 4: so say the sentence and the drawings."""
    some = data.grid.isel(step=[0, 1, 3, 7, 14])
    finding = conclusions.finding(some, "mask")
    assert (finding.most.low, finding.steps[finding.most.low]) == (3, 7)
    assert "(95 % interval 4 to 7)" in conclusions.sentence(some, "mask")
    *_, most = of_probe(finding)
    assert (finding.steps[most.at], most.low, most.high) == (7, 4, 7)
    drawn = chart(some, "mask", GAIN, GAIN.series(some, "mask"), of_probe(finding))
    at_7, at_14 = (strip["centre"] for strip in drawn["strips"][3:])
    assert drawn["marks"][-1]["low"] == pytest.approx(at_7 - (at_14 - at_7) * 3 / 7, abs=0.11)
    line = line_of_steps(finding)
    ticks = {step: x for x, step in line["ticks"]}
    mark = line["rows"][0]["marks"][-1]
    assert mark["low"] == pytest.approx(ticks[3] + (ticks[7] - ticks[3]) / 4, abs=0.11)
    assert (mark["x"], mark["high"]) == (ticks[7], ticks[7])


def test_the_line_of_steps_has_the_probe_and_each_labeler_with_its_lead(data):
    finding = conclusions.finding(data.grid, "mask")
    rows = line_of_steps(finding)["rows"]
    assert [row["name"] for row in rows] == ["probe of up_blocks.3.attentions.0", *finding.readings]
    lead = finding.readings[grids.LABELER_NOISY].lead_most
    assert lead.steps > 1
    assert rows[1]["said"].startswith(f"{lead.steps} steps later (")
    assert line_of_steps(replace(finding, readings={}))["rows"] == rows[:1]
    long = replace(finding, module="down_blocks.2.attentions.1.transformer_blocks.9.attn1.to_out.0")
    assert line_of_steps(long)["rows"][0]["name"] == "probe"  # which a card has no room for


def test_the_line_of_a_gain_that_is_lost_again_does_not_last(data):
    finding = conclusions.finding(data.grid, "mask")
    assert [mark["lasts"] for mark in line_of_steps(finding)["rows"][0]["marks"]] == [True, True]
    lost = line_of_steps(replace(finding, lost=True))
    assert [[mark["lasts"] for mark in row["marks"]] for row in lost["rows"]] == [[True, False], *[[True] * 2] * 2]


def never_seen(finding):
    """Its readings when no labeler ever sees as much as the probe reads in the unfinished picture."""
    reading = finding.readings[grids.LABELER_NOISY]
    return {
        grids.LABELER_NOISY: replace(reading, most=replace(reading.most, at=None), lead_most=Lead(None, None, None))
    }


def test_a_labeler_that_never_sees_as_much_says_by_which_step_when_not_all_were_looked_at(data):
    mask = conclusions.finding(data.grid, "mask")
    some = replace(mask, run=30, readings=never_seen(mask))
    assert marks.leads(some) == {grids.LABELER_NOISY: "not shown by step 14"}
    assert line_of_steps(some)["rows"][1]["said"] == "not shown by step 14"
    whole = replace(some, run=15)
    assert marks.leads(whole) == {grids.LABELER_NOISY: "not shown"}
    assert line_of_steps(whole)["rows"][1]["said"] == "not shown"


def test_the_first_sentence_says_what_is_shown_and_what_is_not(data):
    mask = conclusions.finding(data.grid, "mask")
    first, most = mask.first.at, mask.most.at
    noisy, predicted = (mask.readings[name].most.at for name in (grids.LABELER_NOISY, grids.LABELER_PREDICTED))
    assert lead_sentence([mask]) == (
        f"Beyond position, a linear probe reads mask from step {first} on, and 90 % of what it ever reads by step "
        f"{most}. A labeler sees as much in the unfinished picture by step {noisy}, and in the finished one that the "
        f"model predicts by step {predicted}."
    )
    seen_once = replace(mask, readings={grids.LABELER_NOISY: mask.readings[grids.LABELER_NOISY]})
    assert lead_sentence([seen_once]).endswith(f"sees as much in the unfinished picture by step {noisy}.")
    last = replace(mask, target="depth", most=replace(mask.most, at=14), readings={})
    other = replace(mask, target="light", first=replace(mask.first, at=None))
    assert lead_sentence([replace(mask, readings={}), last, other]) == (
        f"Beyond position, a linear probe reads mask and depth from step {first} on, and 90 % of what it ever reads by "
        f"steps {most} and 14 (the last). Light: not shown."
    )
    assert lead_sentence([other]) == "Light: not shown."
    unseen = never_seen(mask)
    never = lead_sentence([replace(mask, readings=unseen)])
    assert never.endswith(". A labeler is not shown to see as much in the unfinished picture.")
    some = lead_sentence([replace(mask, readings=unseen, run=30)])
    assert some.endswith(". A labeler is not shown to see as much in the unfinished picture by step 14.")
    later = {grids.LABELER_PREDICTED: mask.readings[grids.LABELER_PREDICTED]}
    assert lead_sentence([replace(mask, readings=unseen | later)]).endswith(
        f"A labeler sees as much in the finished picture that the model predicts by step {predicted}. It is not shown "
        "to see as much in the unfinished picture."
    )
    error = lead_sentence([replace(mask, lower_is_better=True)])
    assert error == f"Beyond position, a linear probe reads mask from step {first} on."
    assert "90 % of what it reads at any of those looked at by step" in some
    few = replace(other, prompts=3)
    assert lead_sentence([few]) == "Light: not shown, since 3 held-out prompts are too few."
    assert lead_sentence([replace(few, prompts=1)]) == "Light: not shown, since 1 held-out prompt is too few."
    light = replace(other, earlier=(3, 4, 5))
    assert lead_sentence([light]) == "Light: read at steps 3 to 5, and not shown to be read later."
    alone = replace(seen_once, steps=(7,), first=replace(mask.first, at=0), run=15)
    labeler = replace(alone.readings[grids.LABELER_NOISY], most=replace(mask.most, at=0))
    assert lead_sentence([replace(alone, readings={grids.LABELER_NOISY: labeler})]) == (
        "Beyond position, a linear probe reads mask at step 7, the only one that was looked at. A labeler sees as much "
        "in the unfinished picture at step 7."
    )
    assert lead_sentence([replace(mask, readings={}, beyond=())]).startswith("A linear probe reads mask")


@pytest.mark.parametrize("end", ["", " by step 14"])
def test_the_first_sentence_says_of_which_targets_a_labeler_sees_as_much(data, end):
    mask = replace(conclusions.finding(data.grid, "mask"), run=30 if end else 15)
    once = {grids.LABELER_NOISY: mask.readings[grids.LABELER_NOISY]}
    noisy = once[grids.LABELER_NOISY].most.at
    depth = replace(mask, target="depth", readings=never_seen(mask))
    for two in ([replace(mask, readings=once), depth], [depth, replace(mask, readings=once)]):
        assert lead_sentence(two).endswith(
            f"A labeler sees as much of mask in the unfinished picture by step {noisy}. It is not shown to see as much "
            f"of depth in the unfinished picture{end}."
        )


def test_gains_of_too_few_prompts_have_no_interval(data):
    few = data.grid.isel(sample=[0, 1, 2])
    cells = all_cells(few)[GAIN.key, "mask"]
    groups = heat(few, "mask", GAIN, cells)["groups"]
    full = [cell["full"] for rows in groups.values() for row in rows for cell in row["cells"]]
    assert all(re.fullmatch(r"−?\d+ %, not shown to be above 2 %", one) for one in full)
    assert all(re.fullmatch(r"−?\d+ %", row["last"]) for row in leaderboard(few, "mask", GAIN, cells)["rows"])


def test_a_card_shows_what_is_shown(data):
    mask = conclusions.finding(data.grid, "mask")
    first, most = (f"step {one.at}" for one in (mask.first, mask.most))
    assert card(mask)["numbers"] == [(first, "first readable"), (most, "90 % of what it reads")]
    unknown = replace(mask.first, at=None)
    assert card(replace(mask, most=unknown, lower_is_better=True))["numbers"] == [(first, "first readable")]
    lost = replace(mask, first=unknown, most=unknown)
    assert card(lost)["numbers"] == []
    assert card(replace(lost, earlier=(3, 4, 5)))["numbers"] == [("steps 3 to 5", "readable, not shown later on")]
    alone = replace(mask, steps=(7,), first=replace(mask.first, at=0, low=0, high=0), most=unknown, readings={})
    assert card(alone)["numbers"] == [("step 7", "readable, the only one looked at")]


def test_cells_and_leaders_are_the_means_and_intervals_of_the_grid(data):
    for measure, scores in ((SCORE, data.grid["probe"].sel(target="mask", metric="dice")), (GAIN, None)):
        held_out = all_cells(data.grid)[measure.key, "mask"]
        groups = heat(data.grid, "mask", measure, held_out)["groups"]
        cells = [cell for rows in groups.values() for row in rows for cell in row["cells"]]
        if scores is None:
            means = (data.grid["explained"].sum("sample") / data.grid["left"].sum("sample")).sel(target="mask")
            assert [cell["text"] for cell in cells] == [f"{100 * m:.0f}".replace("-0", "0") for m in means.values.flat]
        else:
            assert [float(c["text"]) for c in cells] == pytest.approx(scores.mean("sample").values.ravel(), abs=0.0051)
        bounds = zip(*(held_out[k].values.ravel() for k in ("mean", "low", "high")), strict=True)
        text = measure.text
        assert [c["full"].split(", not")[0] for c in cells] == [
            f"{text(m)} ({text(a)} to {text(b)})" for m, a, b in bounds
        ]
        for row in leaderboard(data.grid, "mask", measure, held_out)["rows"]:
            last = held_out["mean"].isel(module=row["index"], step=-1)
            assert row["last"].startswith(f"{measure.text(float(last))} (")


def test_cells_that_are_not_shown_to_count_are_marked(data):
    held_out = all_cells(data.grid)["gain", "depth"]
    found = heat(data.grid, "depth", GAIN, held_out)
    cells = [cell for rows in found["groups"].values() for row in rows for cell in row["cells"]]
    np.testing.assert_array_equal([not cell["faint"] for cell in cells], held_out["stands_out"].values.ravel())
    assert {cell["full"].endswith(", not shown to be above 2 %") for cell in cells if cell["faint"]} == {True}
    assert found["faint"]
    assert 0 < sum(cell["faint"] for cell in cells) < len(cells)


def test_the_table_of_numbers_is_the_grids(data):
    table = context(data, all_cells(data.grid))["views"][1]["numbers"][0]
    position = table["names"].index(grids.LABELER_PREDICTED)
    bounds = grids.interval(grids.scores(data.grid, "depth", variable="baseline", name=grids.LABELER_PREDICTED))
    for i, (step, _, cells) in enumerate(table["rows"]):
        mean, low, high = (float(bounds[k][i]) for k in ("mean", "low", "high"))
        assert (step, cells[position]) == (i, f"{mean:.3f} ({low:.3f} to {high:.3f})")


def test_heat_and_leaderboard_bear_cells_without_scores(data):
    grid = data.grid.copy(deep=True)
    grid["probe"][{"module": 3}] = np.nan
    probes = all_cells(grid)["score", "depth"]
    cells = heat(grid, "depth", SCORE, probes)["groups"]["encoder"][3]["cells"]
    assert {cell["text"] for cell in cells} == {"–"}
    rows = leaderboard(grid, "depth", SCORE, probes)["rows"]
    assert rows[0]["label"] == "up 3.0"
    assert next(row for row in rows if row["index"] == 3)["last"] == "–"


@pytest.mark.parametrize(("measure", "chooses"), [(SCORE, "cv_score"), (GAIN, "gain_cv")])
def test_leaders_and_their_best_steps_are_those_of_training_folds(data, measure, chooses):
    grid = data.grid.copy(deep=True)
    grid[chooses][{"module": 0}] = 2.0  # whatever held-out images say
    grid[chooses][{"module": 0, "step": 6}] = 3.0
    grid[chooses][{"module": 0, "step": 2}] = np.nan
    row = leaderboard(grid, "mask", measure, all_cells(grid)[measure.key, "mask"])["rows"][0]
    assert (row["label"], row["peak"]) == ("down 0.0", 6)


def test_probes_at_other_steps_have_their_numbers_and_grey_where_they_mislead(data):
    gain = data.transfer["mask"]
    found = moved(gain, "mask", "up 3.0")
    texts = np.array([[cell["text"] for cell in cells] for _, cells in found["rows"]])
    expected = np.array([[f"{round(100 * value)}".replace("-", "−") for value in row] for row in gain.values])
    np.testing.assert_array_equal(texts, expected)
    colours = np.array([[cell["colour"] for cell in cells] for _, cells in found["rows"]])
    np.testing.assert_array_equal(colours == NOTHING, gain.values < 0)
    assert colours[3, 3] == found["ramp"][-1]  # the most
    assert found["early"] == f"{round(100 * float(gain[0, -1]))} %".replace("-", "−")


def test_a_grid_without_effects_has_its_scores_alone(data):
    grid = published(data).grid
    assert [measure.key for measure in measures(grid)] == ["score"]
    assert measure_of(data.grid) is GAIN
    with pytest.raises(InputError, match="'gain'"):
        measure_of(grid, "gain")


@pytest.mark.parametrize(("side", "expected"), [(2, 1), (64, 1), (65, 2), (128, 2), (256, 4)])
def test_large_maps_are_averaged_down(side, expected):
    assert reduction(side, 2, 64) == expected


def test_provenance_is_flattened():
    assert list(flat({"a": {"b": {"c_d": 1}}, "e": None})) == [("a.b.c d", "1"), ("e", "–")]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, "yes"),
        (31.622776601683793, "31.62"),
        (["cond", "uncond"], "cond, uncond"),
        ([], "–"),
        ([0.1, 1.0], "0.1, 1"),
        (list(np.logspace(-2, 8, 21)), "21 values, 0.01 to 1e+08"),
    ],
)
def test_facts_are_words_and_not_what_python_prints(value, expected):
    assert shown(value) == expected


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
