"""Extraction from given images, to labels that are known exactly, and on to probes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import ldmscene
from ldmscene.errors import FingerprintError, InputError, ManifestError
from tests.conftest import FIRST, files


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (6, 64, 64, 3), np.uint8)


def _extract(model, images, root, **options):
    return ldmscene.extract_images(
        model, images, root, [FIRST], **({"timesteps": [50, 300], "batch_size": 3} | options)
    )


def test_a_folder_an_array_and_a_list_of_files_are_the_same_samples(tiny, pictures, tmp_path):
    for i, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{i}.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    store = _extract(tiny, pictures, tmp_path / "store")
    before = files(store.root)
    for same in (tmp_path, [tmp_path / f"{i}.png" for i in range(6)]):
        assert _extract(tiny, same, store.root).samples["complete"].all()
    assert files(store.root) == before
    np.testing.assert_array_equal(store.images().values, pictures)
    assert store.timesteps == [50.0, 300.0]
    assert store.config["source"] == "images"


def test_more_images_extend_a_store_and_other_timesteps_are_refused(tiny, pictures, tmp_path):
    _extract(tiny, pictures[:4], tmp_path / "s")
    longer = _extract(tiny, pictures, tmp_path / "s")
    assert longer.samples["complete"].sum() == 6
    assert longer.manifest.frame["prompt_id"].nunique() == 6  # folds are groups of images
    with pytest.raises(FingerprintError, match="steps"):
        _extract(tiny, pictures, tmp_path / "s", timesteps=[50, 301])
    with pytest.raises(FingerprintError, match="source: images in the store, prompts now"):
        ldmscene.extract(tiny, [("a", 1)], tmp_path / "s", [FIRST], steps=2)


def test_parts_of_given_images_make_up_the_whole(tiny, pictures, tmp_path):
    whole = _extract(tiny, pictures, tmp_path / "whole", batch_size=2)
    for part, done in (("2/2", 2), ("1/2", 6)):
        told = _extract(tiny, pictures, tmp_path / "parts", batch_size=2, part=part, dry_run=True)
        store = _extract(tiny, pictures, tmp_path / "parts", batch_size=2, part=part)
        assert store.samples["complete"].sum() == done
        assert told["samples"] == (2 if part == "2/2" else 4)
    np.testing.assert_array_equal(store.activations(FIRST).values, whole.activations(FIRST).values)


def test_probes_are_fitted_on_given_images_as_on_generated_ones(tiny, pictures, tmp_path):
    store = _extract(tiny, pictures, tmp_path / "s", splits=["train"] * 4 + ["test"] * 2)
    ldmscene.label(store, "brightness", lambda images: images.mean(-1) / 255)
    grid = ldmscene.evaluate(store, cv=2)
    assert grid.sizes["step"] == 2
    assert np.isfinite(grid["probe"].values).any()


@pytest.mark.parametrize(
    ("images", "options", "error", "message"),
    [
        ("nowhere", {}, InputError, "no folder of images at nowhere"),
        ([], {}, InputError, "there are no images"),
        (np.zeros((2, 64, 64, 3)), {}, InputError, "must be uint8"),
        (np.zeros((2, 64, 64), np.uint8), {}, InputError, "must be uint8"),
        (np.zeros((1, 60, 60, 3), np.uint8), {}, InputError, "multiples of 8"),
        (np.zeros((2, 64, 64, 3), np.uint8), {}, ManifestError, "the same prompt and seed stand in an earlier row"),
        (np.zeros((2, 64, 64, 3), np.uint8), {"prompts": ["a"]}, InputError, "one for each of the 2 images; got 1"),
        (np.zeros((1, 64, 64, 3), np.uint8), {"timesteps": [1000]}, InputError, "from 0 to 999"),
    ],
)
def test_bad_input_writes_nothing(tiny, tmp_path, images, options, error, message):
    with pytest.raises(error, match=message):
        _extract(tiny, images, tmp_path / "s", **options)
    assert not (tmp_path / "s").exists()


def test_files_of_several_sizes_or_of_something_else_are_refused(tiny, tmp_path):
    for name, side in (("a", 64), ("b", 32)):
        Image.new("RGB", (side, side)).save(tmp_path / f"{name}.png")
    with pytest.raises(InputError, match=r"b\.png has 32 × 32 pixels, the first image has 64 × 64"):
        _extract(tiny, tmp_path, tmp_path / "s")
    (tmp_path / "b.png").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"b\.png can't be read as an image"):
        _extract(tiny, tmp_path, tmp_path / "s")


def test_an_image_that_changes_under_way_is_noticed(tiny, pictures, tmp_path):
    from ldmscene.extraction.supplied import read_images

    Image.fromarray(pictures[0]).save(tmp_path / "a.png")
    given = read_images(tmp_path)
    Image.fromarray(pictures[1]).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="was changed"):
        given.load(given.hashes)
