"""The site as files: complete, small, closed, and true to the grid."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from PIL import Image

from ldmscene import conclusions, gains
from ldmscene import grid as grids
from ldmscene.errors import ShapeError, WriteError
from ldmscene.report import write_figures, write_site
from ldmscene.report.colours import levels, limits, palette
from ldmscene.report.site.room import MAP, longest_side, samples_that_fit, shrunk
from ldmscene.report.site.sheets import APART, LONGEST, SheetRow, averaged, plan
from ldmscene.report.site.strips import shrink
from ldmscene.report.site.write import links, render
from tests.report.conftest import MODULES, published, with_steps


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
        text = text.replace('<a href="https://arxiv.org/', "<a ")  # to follow, not to load
        assert not re.search(r"https?:|//[a-z]|@import|url\(|fetch\(|XMLHttp|type=.?module", text), path.name


def test_every_file_that_the_page_names_exists(site):
    page = Page((site / "index.html").read_text())
    named = {v for _, a in page.tags for k, v in a.items() if k in ("src", "href")}
    local = {v for v in named if not v.startswith(("#", "data:", "https:"))}
    assert len(local) == 12
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
    provenance = {hostile: {hostile: hostile}, "command": hostile, "model": {"name": hostile}}
    page = Page(render(replace(small, grid=grid, provenance=provenance)))
    assert not any(tag == "img" for tag, _ in page.tags)
    assert page.text.count(hostile) >= 5


def test_prompts_arrive_as_they_are(site, data):
    assert [s["prompt"] for s in numbers(site)["samples"]] == list(data.samples["prompt"])


def test_findings_are_the_grids_own_sentences(site, data):
    text = " ".join("".join(Page((site / "index.html").read_text()).text).split())
    for target in data.targets:
        _, _, said = conclusions.sentence(data.grid, target).partition(": ")
        start, _, rest = said.replace("x_t", "xt").replace("x_0", "x0").partition(". ")
        assert f"{start[0].upper()}{start[1:]}. The whole verdict {rest}" in text


def test_scores_are_those_of_the_grid(site, data):
    found = numbers(site)["targets"][1]
    expected = data.grid["probe"].sel(target="mask", metric="dice").values.round(3)
    np.testing.assert_array_equal(found["scores"], expected)
    noisy = grids.scores(data.grid, "mask", variable="baseline", name=grids.LABELER_NOISY)
    np.testing.assert_array_equal(found["readings"]["noisy"], noisy.values.round(3))


def tile(sheet, row, i):
    top, height, width, columns = row
    y, x = top + i // columns * height, i % columns * width
    return sheet[y : y + height, x : x + width]


def sheet_of(site, sample, target):
    return pixels(site / numbers(site)["samples"][sample]["folder"] / f"maps-{target}.png")


@pytest.mark.parametrize(("sample", "module", "step"), [(0, 0, 0), (5, 6, 3), (11, 13, 14)])
def test_a_sheet_holds_the_probes_map_where_the_page_looks(site, data, sample, module, step):
    found = numbers(site)
    cut = tile(sheet_of(site, sample, 0), found["targets"][0]["probes"][module], step)
    expected = data.predict("depth", found["modules"][module]["name"], step)[sample].values
    bounds = limits(data.labels["depth"][sample].values, "continuous")
    np.testing.assert_array_equal(cut, levels(expected, *bounds))


@pytest.mark.parametrize("target", [0, 1, 2])
def test_labels_and_readings_lose_nothing_and_keep_what_has_no_label(site, data, target):
    found = numbers(site)["targets"][target]
    label = data.labels[found["name"]][5].values
    bounds = limits(label, str(data.grid["kind"].values[target]))
    sheet = sheet_of(site, 5, target)
    np.testing.assert_array_equal(tile(sheet, found["label"], 0), levels(label, *bounds))
    assert (tile(sheet, found["label"], 0) == 255).any() == np.isnan(label).any()
    for source in ("noisy", "predicted"):
        reading = data.intermediate[source, found["name"]][5, 3].values
        shown = tile(sheet, found["read"][source], 3).astype(int)
        assert abs(shown - levels(reading, *bounds)).max() <= APART / 2
    with Image.open(site / "samples/0005" / f"maps-{target}.png") as picture:
        table = np.reshape(picture.getpalette(), (-1, 3))
    np.testing.assert_array_equal(table, palette(found["name"]))


def test_ranges_beside_the_maps_are_those_of_their_colours(site, data):
    for i, target in enumerate(data.targets):
        bounds = limits(data.labels[target][7].values, str(data.grid["kind"].values[i]))
        assert numbers(site)["targets"][i]["ranges"][7] == [f"{bound:.2g}" for bound in bounds]


def test_pictures_are_near_the_originals(site, data):
    strip = pixels(site / "samples/0004/pictures.webp").astype(float)
    assert strip.shape == (2 * 64, 15 * 64, 3)
    predicted = strip[64:, 14 * 64 :]
    assert abs(predicted - data.predicted[4, 14].values).mean() < 6


def test_where_room_is_short_maps_of_other_modules_are_smaller_and_none_is_missing(small, monkeypatch, tmp_path):
    assert plan(small)["depth"].probes[MODULES[15]].height == 16
    monkeypatch.setattr("ldmscene.report.site.room.PROBES", 40_000)
    found = numbers(write_site(small, tmp_path).parent)["targets"][0]
    heights = [row[1] for row in found["probes"]]
    assert heights[found["best"]] == 16
    assert max(heights[:13] + heights[14:]) == 8
    for sample in range(2):
        sheet, bounds = sheet_of(tmp_path, sample, 0), limits(small.labels["depth"][sample].values, "continuous")
        for i, module in enumerate(MODULES):
            whole = small.predict("depth", module, 14)[sample].values
            small_map = whole.reshape(heights[i], len(whole) // heights[i], heights[i], -1).mean((1, 3))
            assert abs(tile(sheet, found["probes"][i], 14).astype(int) - levels(small_map, *bounds)).max() <= 1


@pytest.mark.parametrize(("sizes", "count", "longest"), [
    ([(64, 64)] * 5 + [(32, 32)] * 5 + [(16, 16)] * 5, 45 * 48, 32),
    ([(64, 64)] * 5 + [(32, 32)] * 5 + [(16, 16)] * 5, 45 * 250, 8),
    ([(16, 16)] * 15, 45 * 48, 64),
    ([(64, 1)], 1, 64),
])  # fmt: skip
def test_maps_of_all_modules_together_stay_within_bounds(sizes, count, longest):
    assert longest_side(sizes, count) == longest


def test_by_default_a_site_of_any_model_stays_within_bounds():
    assert samples_that_fit(15, 3, 64) > 48
    assert 200 < samples_that_fit(15, 3, 512) < 371
    assert samples_that_fit(15, 3, 512) == samples_that_fit(15, 3, 1024)
    assert 1 <= samples_that_fit(1000, 20, 1024) < 10


def test_a_bare_report_is_written_too(small, tmp_path):
    bare = replace(small, noisy=None, predicted=None, intermediate={}, provenance={})
    bare = replace(bare, grid=published(small).grid.drop_vars(["permuted", "baseline"]))
    site = write_site(bare, tmp_path).parent
    assert numbers(site)["pictures"] == {}
    assert not (site / "samples/0000/pictures.webp").exists()
    text = " ".join("".join(Page((site / "index.html").read_text()).text).split())
    assert "gain beyond" not in text  # nothing to choose from
    assert "Not run, and so not excluded: raw latent, shuffled labels and permuted weights." in text
    first = re.sub(r"Not run, and so not excluded: [^.]*", "", text.partition("Glossary A")[0])
    for word in ("labelers", "huffled labels"):
        assert word not in first.partition("Step One call")[0]
    assert "Unfinished pictures weren’t kept" in text


def test_the_page_says_of_which_run_and_split_it_is(small, tmp_path):
    told = json.dumps(json.loads(small.grid.attrs.get("provenance", "{}")) | {"held_out": "unseen"})
    some = replace(small, grid=small.grid.assign_attrs(run_steps=30, provenance=told))
    for data, count, words in ((some, 30, ", of which 15 were looked at"), (small, 15, ". At each of them")):
        text = " ".join(Page((write_site(data, tmp_path).parent / "index.html").read_text()).text)
        text = " ".join(text.split())
        assert f"draws a picture in {count} steps, from noise to the finished image{words}" in text
        assert ("those of the split unseen" in text) == (data is some)


def test_the_page_counts_one_and_several(small):
    one = small.grid.sel(module=small.grid["module"].values[-2:-1]).isel(sample=[0]).assign_attrs(run_steps=15)
    alone = with_steps(replace(small, grid=one, samples=small.samples), [7])
    text = " ".join("".join(Page(render(alone)).text).split())
    assert "draws a picture in 15 steps, from noise to the finished image, of which 1 was looked at. There a" in text
    assert "1 module was probed. Every number here is of 1 image of 1 prompt that no probe had seen." in text
    assert "Gain beyond position (%) at step 7" in text
    assert "at the last step" not in text.partition("Leaderboard Modules")[2]
    assert "3 modules were probed. Every number here is of " in " ".join(
        "".join(Page(render(replace(small, grid=small.grid.isel(module=[6, 12, 13])))).text).split()
    )


@pytest.mark.parametrize("prompts", [9, 10])
def test_the_page_says_whose_intervals_those_of_few_prompts_are(small, prompts):
    many = small.grid.isel(sample=[0] * prompts).assign_coords(
        sample=[f"sample-{i}" for i in range(prompts)], prompt=("sample", np.arange(prompts))
    )
    text = " ".join("".join(Page(render(replace(small, grid=many))).text).split())
    assert ("its band Student’s 98 % interval at each step" in text) == (prompts < 10)
    assert ("its band a 95 % interval at each step" in text) == (prompts >= 10)
    assert ("those of a single number are Student’s at 98 %" in text) == (prompts < 10)


def test_the_page_says_what_stands_beside_a_labeler_of_an_error(small):
    """A share of an error means nothing, so that it is how much later anything is read."""
    bare = published(small)
    error = bare.grid.assign_coords(
        higher_is_better=("metric", [name != "spearman" for name in bare.grid["metric"].values])
    )
    texts = [" ".join("".join(Page(render(replace(bare, grid=one))).text).split()) for one in (bare.grid, error)]
    said = "beside each stands how many steps after the probe it reads as much"
    assert f"{said}." in texts[0]
    assert f"{said}; of an error, how many steps after it reads anything." in texts[1]


def test_the_page_says_why_a_module_of_another_part_comes_last(small):
    last = small.grid.isel(module=[-1]).assign_coords(module=["vae.decoder.mid_block"])
    grid = xr.concat([small.grid.isel(module=[0]), last], "module", data_vars="minimal")
    texts = ["".join(Page(render(replace(small, grid=one))).text) for one in (grid, grid.isel(module=[0]))]
    assert ["come\n    last: they don’t run at the same steps" in text for text in texts] == [True, False]


def test_the_page_says_what_gains_are_beyond(small):
    def text(beyond: list[str]) -> str:
        grid = small.grid.assign_attrs(beyond=json.dumps(beyond))
        return " ".join("".join(Page(render(replace(small, grid=grid))).text).split())

    two = text(["position", "mask"])
    assert "something is read beyond the position and mask: more than 2 % of what is left, and more" in two
    assert "the share of what is left beyond the position and mask that" in two
    assert "so that it is taken off first" in two
    assert "so that it is taken off first" not in text(["latent"])
    mean = text([])
    assert "Hatched gains are not shown to be above 2 %" in mean
    assert "The share of what is left beyond the mean that features explain" in mean
    assert "At step 14 the probe of step 0 gains −52 %, that of step 14 itself 60 %." in mean


@pytest.mark.parametrize("steps", [[7], list(range(15)) * 10])
def test_one_step_and_very_many_are_drawn(small, tmp_path, steps):
    some = replace(small, grid=small.grid.sel(module=[MODULES[6], MODULES[13]]))
    many = with_steps(some, steps, list(range(len(steps))))
    found = numbers(write_site(many, tmp_path).parent)
    last = len(steps) - 1
    expected = small.predict("depth", MODULES[13], small.steps[steps[-1]])[1].values
    cut = tile(sheet_of(tmp_path, 1, 0), found["targets"][0]["probes"][1], last)
    bounds = limits(small.labels["depth"][1].values, "continuous")
    np.testing.assert_array_equal(cut, levels(expected, *bounds))
    strip = pixels(tmp_path / "samples/0001/pictures.webp").astype(float)
    assert max(strip.shape) <= LONGEST
    predicted = tile(strip, found["pictures"]["predicted"], last)
    assert abs(predicted - small.predicted[1, steps[-1]].values).mean() < 8


def test_numbers_to_download_are_the_grids(site, data):
    table = pd.read_csv(site / "scores.csv", keep_default_na=False)
    assert len(table) == 3 * 15 * (2 * 16 + 4 + 16 + 4)
    probe = grids.interval(data.grid["probe"].sel(target="mask", metric="dice", module=MODULES[4], step=3))
    row = table.query(
        f"target == 'mask' and metric == 'dice' and reading == 'probe' and module == {MODULES[4]!r} and step == 3"
    ).iloc[0]
    np.testing.assert_allclose(
        row[["mean", "low", "high"]].astype(float), [probe[k] for k in ("mean", "low", "high")], atol=1e-5
    )
    noisy = grids.scores(data.grid, "depth", variable="baseline", name=grids.LABELER_NOISY).mean("sample")
    rows = table.query(f"target == 'depth' and metric == 'spearman' and reading == {grids.LABELER_NOISY!r}")
    np.testing.assert_allclose(rows["mean"].astype(float), noisy, atol=1e-5)
    rows = table.query(f"target == 'depth' and metric == 'partial_r2' and module == {MODULES[4]!r}")
    expected = gains.band(gains.of_probe(data.grid, "depth", MODULES[4]))["mean"]
    np.testing.assert_allclose(rows["mean"].astype(float), expected, atol=1e-5)
    again = json.loads((site / "scores.json").read_text())
    assert again["columns"] == list(table.columns)
    assert again["rows"][7] == table.iloc[7].tolist()
    assert again["provenance"]["fingerprint"] == data.provenance["fingerprint"]


def test_the_page_names_the_model_and_what_was_run(site):
    html = (site / "index.html").read_text()
    assert "<h1>What tiny-scenes knows, step by step</h1>" in html
    assert "<title>What tiny-scenes knows, step by step</title>" in html
    page = "".join(Page(html).text)
    for fact in ("LMSDiscreteScheduler", "943bbe5e4865b33f", "cross validation folds", "prompts"):
        assert fact in page


def test_a_grid_may_score_more_samples_than_are_shown(small, tmp_path):
    found = numbers(write_site(small, tmp_path).parent)
    assert "2 of 12 held-out samples are shown" in (tmp_path / "index.html").read_text()
    some = list(small.samples.index)
    assert [sample["id"] for sample in found["samples"]] == some
    expected = small.grid["probe"].sel(target="depth", metric="spearman", sample=some).values.round(3)
    np.testing.assert_array_equal(found["targets"][0]["scores"], expected)


def test_figures_are_linked_from_the_page_with_whose_they_are(small, tmp_path):
    sample = small.samples.index[1]
    figures = write_figures(small, tmp_path / "figures", samples=[sample])
    assert len(figures) == 3 * (3 + 3) + 1
    page = Page(render(small, links(small, figures, tmp_path)))
    linked = {a["href"] for tag, a in page.tags if tag == "a"}
    assert {
        "figures/curves-depth.pdf",
        f"figures/seven-rows-{sample}.svg",
        f"figures/seven-rows-{sample}.webp",
    } <= linked
    shown = {a["src"] for tag, a in page.tags if tag == "img"}
    assert len(shown) == 6
    assert all((tmp_path / address).is_file() for address in linked | shown if address.startswith("figures"))
    assert f"Seven rows over steps of {sample}, “a large red ball on a plane, number 7”" in page.text


@pytest.mark.parametrize("shape", [(64, 64), (128, 64), (200, 130), (7, 5)])
def test_pictures_and_maps_of_one_size_stay_of_one_size(shape):
    row = SheetRow.below(0, *shrunk(*shape, MAP), 1)
    values, picture = np.full(shape, 0.5), np.full((*shape, 3), 9, np.uint8)
    assert max(row.height, row.width) <= MAP
    assert (averaged(values, row) == np.full((row.height, row.width), 0.5, np.float32)).all()
    assert shrink(picture, MAP).shape == (row.height, row.width, 3)


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
    sizes = {path: path.stat().st_size for path in site.rglob("*") if path.is_file()}
    pictures = sum(size for path, size in sizes.items() if path.is_relative_to(site / "samples"))
    # Readings of pure noise, as here, are the largest that there are; 15 MB at 48 samples is the promise.
    assert sum(sizes.values()) - pictures + 48 * pictures / len(data.samples) < 15e6


def test_a_folder_that_cannot_be_written_is_one_error(small, tmp_path):
    (tmp_path / "report").touch()
    with pytest.raises(WriteError, match="another folder"):
        write_site(small, tmp_path / "report")


def test_maps_of_another_size_are_refused(small, tmp_path):
    wrong = replace(small, predict=lambda target, module, step: small.predict(target, module, step)[:, ::2])
    with pytest.raises(ShapeError, match="grid says"):
        write_site(wrong, tmp_path)
