"""Figures from a store and its grid in one call each."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

import ldmscene
from ldmscene.errors import IncompleteError, UnknownNameError
from tests.conftest import FIRST, LAST, bare_copy
from tests.test_cli import call


@pytest.fixture(scope="module")
def grid(store) -> ldmscene.Grid:
    return ldmscene.evaluate(store, modules=[FIRST, LAST], cv=5)


def test_each_figure_is_one_call(store, grid, tmp_path):
    sample_id = str(grid["sample"].values[-1])
    ax = ldmscene.plot.curves(grid, "depth")
    np.testing.assert_array_equal(ax.get_lines()[0].get_xdata(), grid["step"])
    assert ldmscene.plot.heatmap(grid, "mask", ax=Figure().add_subplot()).get_title("left") == "Mask"
    moved = ldmscene.plot.transfer(store, grid, "mask")
    np.testing.assert_allclose(moved.collections[0].get_array(), ldmscene.transfer(store, grid, "mask"))
    for figure in (
        ldmscene.plot.seven_rows(store, grid, sample_id),
        ldmscene.plot.seven_rows(store, grid, sample_id, compact=True),
        ldmscene.plot.four_panels(store, grid, sample_id),
    ):
        assert isinstance(figure, Figure)
    picture = ldmscene.plot.four_panels(store, grid, sample_id).axes[0].images[0].get_array()
    np.testing.assert_array_equal(picture, store.images().sel(sample=sample_id))
    assert [p.suffix for p in ldmscene.plot.save(figure, tmp_path / "one")] == [".pdf", ".svg", ".png"]


def test_what_cannot_be_drawn_is_said(store, grid, tmp_path):
    with pytest.raises(UnknownNameError, match="held-out sample"):
        ldmscene.plot.seven_rows(store, grid, "p9999-s1")
    train = store.manifest.frame.query("split == 'train'")["sample_id"].iloc[0]
    with pytest.raises(UnknownNameError, match="held-out sample"):
        ldmscene.plot.figures(store, grid, tmp_path / "figures", [train])
    assert not (tmp_path / "figures").exists()


def test_seven_rows_need_previews(tiny, manifest, tmp_path):
    store = ldmscene.extract(tiny, manifest, tmp_path / "store", LAST, steps=2, batch_size=10)
    ldmscene.label(store, "red", lambda images: images[..., 0] / 255)
    grid = ldmscene.evaluate(store, cv=3)
    sample_id = str(grid["sample"].values[0])
    with pytest.raises(IncompleteError, match="previews=True"):
        ldmscene.plot.seven_rows(store, grid, sample_id)
    names = {path.name for path in ldmscene.plot.figures(store, grid, tmp_path / "figures")}
    assert f"four-panels-{sample_id}.pdf" in names
    assert not any(name.startswith("seven-rows") for name in names)


def test_the_command_line_saves_those_of_chosen_samples(store, tmp_path):
    copy = bare_copy(store, tmp_path / "copy")
    first, _, sample_id = copy.manifest.frame.query("split == 'test'")["sample_id"].iloc[:3]
    code, _, err = call("figures", copy.root, tmp_path / "figures", "--sample", sample_id)
    assert code == 0, err
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    pictures = {f"seven-rows-{sample_id}.png", f"four-panels-{sample_id}.pdf"}
    assert {"curves-depth.pdf", "heatmap-mask.svg", *pictures} <= names
    assert f"seven-rows-{first}.png" not in names
    code, _, err = call("figures", copy.root, tmp_path / "others", "--sample", "p9")
    assert code == 2
    assert "held-out sample" in err
