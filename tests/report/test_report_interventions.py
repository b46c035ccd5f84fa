"""The page of interventions and its figure: complete, escaped, and true to the numbers."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
from PIL import Image

from ldmscene.report import effects, save, write_figures, write_site
from tests.report.edited import GAINS, KINDS


def test_every_file_that_the_page_names_exists_and_nothing_points_elsewhere(edited_site):
    text = (edited_site / "interventions.html").read_text()
    named = {name for name in re.findall(r'(?:src|href)="([^"#]+)"', text) if not name.startswith("data:")}
    assert {"index.html", "page.css", "interventions.css", "interventions/01/001-3.webp"} <= named
    assert all((edited_site / name).is_file() for name in named)
    assert not re.search(r"https?:|//[a-z]|<script", text)
    assert 'href="interventions.html"' in (edited_site / "index.html").read_text()


def test_pictures_are_the_samples_own(edited_site, intervention):
    shown = np.asarray(Image.open(edited_site / "interventions/00/001-2.webp"), float)
    assert np.abs(shown - intervention.pictures["edit"][1]).mean() < 60  # WebP of noise
    wanted = np.asarray(Image.open(edited_site / "interventions/00/000-1.png"))
    assert set(np.unique(wanted)) == {0, 254}
    np.testing.assert_array_equal(wanted == 254, intervention.wanted[0] == 1)


def test_words_and_numbers_are_those_of_the_frame(edited_site):
    text = (edited_site / "interventions.html").read_text()
    assert text.count("A causal role is not shown.") == 2
    assert "causal for the picture" not in text
    assert text.count("+0.30 (+0.25 to +0.35)") == 4  # as a dot and in the table, of two edits
    assert text.count("control: shuffled") == 8
    assert "&lt;script&gt;" in text


def test_names_are_printed_as_the_rest_of_the_report_prints_them(edited_site, intervention):
    text = (edited_site / "interventions.html").read_text()
    shown = re.sub(r"<[^>]*>", "", text)
    assert "Gain in Dice of the new picture’s label" in shown
    for head in ("Dice", "Mahalanobis norm", "the edit’s lead"):
        assert f'<th scope="col">{head}</th>' in text
    assert "Dice of what the probe reads" in shown
    assert not re.search(r"\b(dice|mahalanobis)\b|[a-z](?:'|&#39;)[a-z]", shown)
    dots, _, above = effects(intervention).axes
    assert dots.get_xlabel() == "gain in Dice over no edit"
    assert above.get_ylabel() == "Dice"
    continuous = replace(intervention, effects=intervention.effects.rename(index={"dice": "average_precision"}))
    continuous.effects.attrs = intervention.effects.attrs | {"metric": "average_precision"}
    dots, _, above = effects(continuous).axes
    assert dots.get_xlabel() == "gain in average precision over no edit"
    assert above.get_ylabel() == "Average precision"


def test_too_few_prompts_for_intervals_are_dots_alone(small, intervention, tmp_path):
    bounds = dict.fromkeys(("gain_low", "gain_high", "lead_low", "lead_high"), np.nan)
    later = intervention.later.assign(gain_low=np.nan, gain_high=np.nan)
    emergence = intervention.emergence.assign(low=np.nan * intervention.emergence["low"])
    few = replace(intervention, effects=intervention.effects.assign(**bounds), later=later, emergence=emergence)
    few.effects.attrs = intervention.effects.attrs
    write_site(replace(small, interventions=[few]), tmp_path)
    text = (tmp_path / "interventions.html").read_text()
    assert not re.search(r"\b(nan|inf)\b", text, re.IGNORECASE)
    assert text.count("+0.30 (too few prompts for an interval)") == 2
    (drawn,) = re.findall(r'<title>edit .*?d="M([0-9.]+),\d+H([0-9.]+)"/><circle cx="([0-9.]+)"', text)
    assert len(set(drawn)) == 1
    assert len(effects(few).axes) == 3


def test_what_could_not_be_judged_is_no_dot(small, intervention, tmp_path):
    blank = replace(intervention, effects=intervention.effects.copy())
    blank.effects.loc[("random-0", "dice"), ["mean", "gain", "gain_low", "gain_high"]] = np.nan
    write_site(replace(small, interventions=[blank]), tmp_path)
    text = (tmp_path / "interventions.html").read_text()
    assert not re.search(r"\bnan\b", text, re.IGNORECASE)
    drawn = re.findall(r"<title>([a-z0-9-]+) \(", text)
    assert drawn == ["edit", "shuffled", "donor", "rule-adam"]
    assert '<th scope="row">random-0</th><td>–</td><td>–</td>' in text


def test_of_a_metric_that_falls_a_gain_is_said_to_be_a_fall(small, intervention, tmp_path):
    falling = replace(intervention, effects=intervention.effects.rename(index={"dice": "rmse"}))
    falling.effects.attrs = intervention.effects.attrs | {"metric": "rmse", "higher_is_better": False}
    write_site(replace(small, interventions=[falling]), tmp_path)
    text = (tmp_path / "interventions.html").read_text()
    assert "Gain in RMSE (by how much it falls) of the new picture’s label" in text
    assert effects(falling).axes[0].get_xlabel() == "gain in RMSE (by how much it falls) over no edit"


def test_a_report_without_interventions_leaves_no_page_of_an_earlier_one(small, tmp_path):
    (tmp_path / "interventions" / "00").mkdir(parents=True)
    (tmp_path / "interventions" / "00" / "000-0.webp").touch()
    (tmp_path / "interventions.html").touch()
    write_site(small, tmp_path)
    assert not (tmp_path / "interventions.html").exists()
    assert not list(tmp_path.glob("interventions/*/*"))
    assert "interventions.html" not in (tmp_path / "index.html").read_text()


def test_the_figure_has_a_dot_for_each_variant_and_the_same_bytes_twice(intervention, tmp_path):
    figure = effects(intervention)
    dots, below, above = figure.axes
    drawn = {
        label.get_text(): line.get_xdata()[0] for label, line in zip(dots.get_yticklabels(), dots.lines, strict=False)
    }
    compared = [name for name, kind in KINDS.items() if kind not in ("none", "later")]
    assert drawn == {name: dict(zip(KINDS, GAINS, strict=True))[name] for name in compared}
    np.testing.assert_allclose(below.lines[0].get_ydata(), [0.3, 0.15, 0.02])
    np.testing.assert_allclose(above.lines[0].get_ydata(), 0.8)
    assert above.get_xlim() == below.get_xlim()
    one, other = (save(effects(intervention), tmp_path / name) for name in ("one", "other"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]
    assert len(effects(replace(intervention, later=intervention.later[:1])).axes) == 1


def test_figures_of_a_report_hold_each_interventions(small, intervention, tmp_path):
    paths = write_figures(replace(small, interventions=[intervention]), tmp_path, samples=[])
    assert {"effects-mask.pdf", "effects-mask.svg", "effects-mask.png"} <= {path.name for path in paths}
