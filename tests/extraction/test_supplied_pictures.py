"""Extraction from supplied pictures, to labels that are known exactly, and on to probes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import ldmscene
from ldmscene.errors import FingerprintError, InputError
from ldmscene.extraction.supplied import read_images
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


def test_a_picture_that_is_to_change_its_split_is_named(tiny, pictures, tmp_path):
    _extract(tiny, pictures[:2], tmp_path / "s", splits=["train", "test"])
    with pytest.raises(InputError, match=r"^image 1 is a test sample of the store already and can't become a train"):
        _extract(tiny, pictures[:2], tmp_path / "s", splits=["train", "train"])


def test_parts_of_supplied_pictures_make_up_the_whole(tiny, pictures, tmp_path):
    whole = _extract(tiny, pictures, tmp_path / "whole", batch_size=2)
    for part, done in (("2/2", 2), ("1/2", 6)):
        told = _extract(tiny, pictures, tmp_path / "parts", batch_size=2, part=part, dry_run=True)
        store = _extract(tiny, pictures, tmp_path / "parts", batch_size=2, part=part)
        assert store.samples["complete"].sum() == done
        assert told["samples"] == (2 if part == "2/2" else 4)
    np.testing.assert_array_equal(store.activations(FIRST).values, whole.activations(FIRST).values)


def test_probes_are_fitted_on_supplied_pictures_as_on_generated_ones(tiny, pictures, tmp_path):
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
        (
            np.zeros((2, 64, 64, 3), np.uint8),
            {},
            InputError,
            "image 0 and image 1 are the same picture, prompt and seed",
        ),
        (
            np.zeros((2, 64, 64, 3), np.uint8),
            {"seeds": [0, 1], "splits": ["train", "test"]},
            InputError,
            r"image 0 \(train\) and image 1 \(test\) are the same picture, which would leak",
        ),
        (np.zeros((2, 64, 64, 3), np.uint8), {"splits": ["test"]}, InputError, "splits must be .* 2 images; got 1"),
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


GREY = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) * 16
TURNED = Image.Exif()
TURNED[0x0112] = 6  # to be shown after a quarter turn clockwise


def _saved(array: np.ndarray, path, **options) -> np.ndarray:
    Image.fromarray(array).save(path, **options)
    return read_images([path]).load(read_images([path]).hashes)[0]


@pytest.mark.parametrize(
    ("array", "name"),
    [(GREY, "a.png"), (GREY, "a.tif"), ((GREY / 65535).astype(np.float32), "a.tif")],
    ids=["16-bit PNG", "16-bit TIFF", "float TIFF"],
)
@pytest.mark.parametrize("options", [{}, {"exif": TURNED}], ids=["as it lies", "turned"])
def test_deep_grey_pictures_span_what_their_type_spans(tmp_path, array, name, options):
    expected = np.round(GREY / 65535 * 255).astype(np.uint8)
    expected = np.rot90(expected, -1) if options else expected
    np.testing.assert_array_equal(_saved(array, tmp_path / name, **options), np.repeat(expected[..., None], 3, -1))


def test_pictures_are_turned_as_their_exif_says(pictures, tmp_path):
    found = _saved(pictures[0], tmp_path / "a.png", exif=TURNED)
    np.testing.assert_array_equal(found, np.rot90(pictures[0], -1))


def test_what_is_transparent_lies_over_white(tmp_path):
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[..., 0], rgba[..., 3] = 200, np.arange(64) * 4
    share = np.arange(64)[None, :, None] * 4 / 255
    expected = share * np.array([200, 0, 0]) + (1 - share) * 255
    np.testing.assert_allclose(_saved(rgba, tmp_path / "a.png"), np.broadcast_to(expected, (64, 64, 3)), atol=1)
    assert (_saved(np.zeros((64, 64), np.uint8), tmp_path / "keyed.png", transparency=0) == 255).all()


def test_pictures_of_unknown_range_and_several_pictures_in_one_file_are_refused(tmp_path):
    first, *others = (Image.new("RGB", (64, 64), color) for color in ("red", "blue"))
    first.save(tmp_path / "two.tif", save_all=True, append_images=others)
    Image.fromarray(GREY.astype(np.int32)).save(tmp_path / "deep.tif")
    Image.fromarray(GREY.astype(np.float32)).save(tmp_path / "float.tif")
    for name, message in (
        ("two", "holds 2 pictures"),
        ("deep", "holds int32 from 0 to 65520"),
        ("float", r"holds float32 from 0 to 65520; expected .* floats from 0 to 1"),
    ):
        with pytest.raises(InputError, match=rf"{name}\.tif can't be read as an image: it {message}"):
            read_images([tmp_path / f"{name}.tif"])


def test_the_same_picture_twice_is_named_by_its_files(pictures, tmp_path):
    for name in ("a.png", "b.png"):
        Image.fromarray(pictures[0]).save(tmp_path / name)
    given = read_images(tmp_path)
    with pytest.raises(InputError, match=r"a\.png and .*b\.png are the same picture"):
        given.check_distinct(["", ""], [0, 0], None)
    given.check_distinct(["", ""], [0, 1], ["test", "test"])


def test_an_image_that_changes_under_way_is_noticed(tiny, pictures, tmp_path):
    Image.fromarray(pictures[0]).save(tmp_path / "a.png")
    given = read_images(tmp_path)
    Image.fromarray(pictures[1]).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="was changed"):
        given.load(given.hashes)
