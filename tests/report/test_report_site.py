"""The site as files: complete, small, closed, and true to the grid."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from ldmscene import grid as grids
from ldmscene.errors import ShapeError, WriteError
from ldmscene.report import write_figures, write_site
from ldmscene.report.colours import levels, limits
from ldmscene.report.site.maps import plan
from ldmscene.report.site.strips import READING, coloured, shrink
from ldmscene.report.site.write import links, render


def numbers(site):
    text = (site / "data.js").read_text("ascii")
    return json.loads(re.fullmatch(r"window\.ldmscene=(.*);\n", text, re.DOTALL)[1])


def pixels(path):
    return np.asarray(Image.open(path))


class Page(HTMLParser):
    """Every tag's attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


def test_nothing_in_the_site_points_elsewhere(site):
    for path in [p for p in site.iterdir() if p.is_file()]:
        text = path.read_text("utf-8")
        assert not re.search(r"https?:|//[a-z]|@import|url\(|fetch\(|XMLHttp|type=.?module", text), path.name


def test_every_file_that_the_page_names_exists(site):
    page = Page((site / "index.html").read_text())
    named = {v for _, a in page.tags for k, v in a.items() if k in ("src", "href")}
    local = {v for v in named if not v.startswith(("#", "data:"))}
    assert len(local) == 6
    assert all((site / v).is_file() for v in local)
    anchors = {a["id"] for _, a in page.tags if "id" in a}
    assert {v[1:] for v in named if v.startswith("#")} <= anchors


def test_texts_are_escaped(site):
    html = (site / "index.html").read_text()
    assert "<b>not bold</b>" not in html
    assert "&lt;b&gt;not bold&lt;/b&gt;" in html
    assert "<script>" not in (site / "data.js").read_text()


def test_hostile_names_are_escaped_too(small):
    hostile = '"><img src=x onerror=alert(1)>'
    grid = small.grid.assign_coords(block=("module", [hostile] * small.grid.sizes["module"]))
    page = Page(render(replace(small, grid=grid, provenance={hostile: hostile, "command": hostile})))
    assert not any(tag == "img" for tag, _ in page.tags)


def test_prompts_arrive_as_they_are(site, data):
    assert [s["prompt"] for s in numbers(site)["samples"]] == list(data.samples["prompt"])


def test_findings_are_the_grids_own_sentences(site, data):
    text = " ".join("".join(Page((site / "index.html").read_text()).text).split())
    for target in data.targets:
        start = grids.sentence(data.grid, target).split(";")[0]
        assert start in text


def test_scores_are_those_of_the_grid(site, data):
    found = numbers(site)["targets"][1]
    expected = data.grid["probe"].sel(target="mask", metric="dice").values.round(3)
    np.testing.assert_array_equal(found["scores"], expected)
    noisy = grids.scores(data.grid, "mask", variable="baseline", name=grids.LABELER_NOISY)
    np.testing.assert_array_equal(found["readings"]["noisy"], noisy.values.round(3))


@pytest.mark.parametrize(("sample", "module", "step"), [(0, 0, 0), (5, 6, 3), (11, 13, 14)])
def test_an_atlas_holds_the_probes_map_where_the_page_looks(site, data, sample, module, step):
    found = numbers(site)
    top, height, width = found["targets"][0]["tiles"][module]
    sheet = pixels(site / found["samples"][sample]["folder"] / "probe-0.png")
    cut = sheet[top : top + height, step * width : (step + 1) * width]
    expected = data.predict("depth", found["modules"][module]["name"], step)[sample].values
    bounds = limits(data.labels["depth"][sample].values, "continuous")
    np.testing.assert_array_equal(cut, levels(expected, *bounds))


def test_pictures_are_near_the_originals(site, data):
    strip = pixels(site / "samples/0004/pictures.webp").astype(float)
    assert strip.shape == (2 * 64, 15 * 64, 3)
    predicted = strip[64:, 14 * 64 :]
    assert abs(predicted - data.predicted[4, 14].values).mean() < 6


def test_maps_are_kept_for_as_many_samples_as_there_is_room(small, monkeypatch, tmp_path):
    assert plan(small).complete == 2
    monkeypatch.setattr("ldmscene.report.site.maps.PIXELS", 40_000)
    site = write_site(small, tmp_path).parent
    assert [s["complete"] for s in numbers(site)["samples"]] == [True, False]
    first, last = (len(pixels(site / f"samples/{i:04d}/probe-0.png")) for i in (0, 1))
    assert first > last == 16


def test_a_bare_report_is_written_too(small, tmp_path):
    bare = replace(small, noisy=None, predicted=None, intermediate={}, provenance={})
    bare = replace(bare, grid=small.grid.drop_vars(["permuted", "baseline"]))
    site = write_site(bare, tmp_path).parent
    assert numbers(site)["pictures"]["rows"] == []
    assert not (site / "samples/0000/pictures.webp").exists()


def test_a_grid_may_score_more_samples_than_are_shown(small, tmp_path):
    found = numbers(write_site(small, tmp_path).parent)
    some = list(small.samples.index)
    assert [sample["id"] for sample in found["samples"]] == some
    expected = small.grid["probe"].sel(target="depth", metric="spearman", sample=some).values.round(3)
    np.testing.assert_array_equal(found["targets"][0]["scores"], expected)


def test_figures_are_linked_from_the_page(small, tmp_path):
    figures = write_figures(small, tmp_path / "figures", samples=[small.samples.index[1]])
    assert len(figures) == 3 * (2 + 3)
    page = Page(render(small, links(figures, tmp_path)))
    linked = {a["href"] for tag, a in page.tags if tag == "a"}
    assert {"figures/curves-depth.pdf", "figures/seven-rows-0001.svg"} <= linked
    assert all((tmp_path / address).is_file() for address in linked if address.startswith("figures"))


@pytest.mark.parametrize("shape", [(64, 64), (128, 64), (200, 130), (7, 5)])
def test_pictures_and_maps_of_one_size_stay_of_one_size(shape):
    picture, values = np.full((*shape, 3), 9, np.uint8), np.full(shape, 0.5)
    small = shrink(picture, READING)
    assert max(small.shape[:2]) <= READING
    assert (small == 9).all()
    assert coloured("depth", values, (0, 1)).shape == small.shape


def test_an_earlier_report_is_replaced_and_other_files_stay(small, tmp_path):
    old, own = tmp_path / "samples/0099/image.webp", tmp_path / "samples/0099/notes.txt"
    old.parent.mkdir(parents=True)
    old.touch()
    own.touch()
    write_site(small, tmp_path)
    first = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert old not in first
    assert own in first
    write_site(small, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == first


def test_the_site_is_small(site, data):
    size = sum(p.stat().st_size for p in site.rglob("*") if p.is_file())
    # Readings of pure noise, as here, are the largest that there are; 15 MB at 48 samples is the promise.
    assert size / len(data.samples) < 15e6 / 48


def test_a_folder_that_cannot_be_written_is_one_error(small, tmp_path):
    (tmp_path / "report").touch()
    with pytest.raises(WriteError, match="another folder"):
        write_site(small, tmp_path / "report")


def test_maps_of_another_size_are_refused(small, tmp_path):
    wrong = replace(small, predict=lambda target, module, step: small.predict(target, module, step)[:, ::2])
    with pytest.raises(ShapeError, match="grid says"):
        write_site(wrong, tmp_path)
