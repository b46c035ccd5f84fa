"""A manifest whose samples have pictures: what identifies them, what is refused, and how a store grows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import ldmscene
from ldmscene import capture
from ldmscene.cli import main
from ldmscene.errors import FingerprintError, InputError, LdmsceneError, ManifestError
from tests.capture.picture_pipelines import PICTURE_PIPELINES, picture
from tests.conftest import files

MODULE = "up_blocks.0"
OPTIONS = {"modules": [MODULE], "steps": 3, "guidance_scale": 1.0, "dtype": "float32", "progress": False}


@pytest.fixture(scope="module")
def inpainting():
    return PICTURE_PIPELINES["inpainting"].make()


@pytest.fixture
def folders(tmp_path):
    """Two inputs for three samples, and the options for them."""
    for name, first in (("pictures", 0), ("masks", 20)):
        (tmp_path / name).mkdir()
        for number in range(3):
            Image.fromarray(picture(first + number)).save(tmp_path / name / f"{number}.png")
    return {"image": tmp_path / "pictures", "mask_image": tmp_path / "masks", "strength": 0.7}


def table(images=(0, 1, 2), masks=(0, 1, 2), **columns):
    named = {"image": [f"{n}.png" for n in images], "mask_image": [f"{n}.png" for n in masks]}
    prompts = {"prompt": ["a cone", "a cone", "a cube"], "seed": [1, 1, 2], "split": ["train", "test", "train"]}
    return pd.DataFrame(prompts | named | columns)


def extract(pipeline, frame, root, inputs, **options):
    options = OPTIONS | {"height": 32, "width": 48} | options
    return ldmscene.extract(pipeline, frame, root, inputs=inputs, **options)


def test_a_sample_is_its_prompt_its_seed_and_its_pictures(inpainting, folders, tmp_path):
    store = extract(inpainting, table(), tmp_path / "s", folders)
    assert len(store.timesteps) == 2  # 3 steps at strength 0.7
    inputs = capture.Inputs({one: {(32, 48): ""} for one in ("image", "mask_image")}, {"strength": 0.7})
    plan = capture.make_plan(
        inpainting, modules=MODULE, steps=3, guidance_scale=1.0, negative_prompt="", height=32, width=48,
        branch="cond", dtype="float32", inputs=inputs,
    )  # fmt: skip
    for row, (prompt, seed) in enumerate((("a cone", 1), ("a cone", 1), ("a cube", 2))):
        pictures = {"image": [picture(row)], "mask_image": [picture(20 + row)]}
        (theirs,) = capture.run(plan, [prompt], [seed], pictures=pictures)
        np.testing.assert_array_equal(store.activations(MODULE).values[row], theirs.activations[MODULE][:, 0])
        np.testing.assert_array_equal(store.images().values[row], theirs.image)
        np.testing.assert_array_equal(store.latents().values[row], theirs.latents)
    assert store.config["inputs"] == {
        "image": "a picture of each sample", "mask_image": "a picture of each sample", "strength": 0.7
    }  # fmt: skip
    assert len(set(store.manifest.groups)) == 3  # of one prompt, but two pictures
    before = files(store.root)
    assert extract(inpainting, table(), tmp_path / "s", folders, batch_size=2).samples["complete"].all()
    assert files(store.root) == before
    assert ldmscene.verify(store, progress=False) == []


def test_what_a_file_shows_makes_the_sample_and_not_its_name(inpainting, folders, tmp_path):
    extract(inpainting, table(), tmp_path / "s", folders)
    (folders["image"] / "0.png").rename(folders["image"] / "renamed.png")
    Image.open(folders["image"] / "1.png").save(folders["image"] / "1.tif")
    same = table(image=["renamed.png", "1.tif", "2.png"])
    assert len(extract(inpainting, same, tmp_path / "s", folders).samples) == 3
    Image.fromarray(picture(9)).save(folders["image"] / "2.png")
    told = extract(inpainting, same, tmp_path / "s", folders, dry_run=True)
    assert told["samples"] == 1
    changed = extract(inpainting, same, tmp_path / "s", folders)
    assert changed.samples["complete"].tolist() == [True] * 4
    assert not np.array_equal(changed.images().values[2], changed.images().values[3])
    swapped = extract(
        inpainting, table(image=["1.tif", "renamed.png", "2.png"], split="train"), tmp_path / "t", folders
    )
    assert set(swapped.samples["sample_id"]) & set(changed.samples["sample_id"]) == {changed.samples["sample_id"][3]}


def test_names_that_lead_nowhere_are_refused_before_anything_is_written(inpainting, folders, tmp_path):
    def refused(match, frame=None, error=InputError, inputs=None, **options):
        with pytest.raises(error, match=match) as told:
            extract(inpainting, table() if frame is None else frame, tmp_path / "s", inputs or folders, **options)
        assert "\n" not in str(told.value)

    refused(r"image: .*pictures lacks 2 of the files that the manifest names: '7\.png', '8\.png'", table((7, 8, 2)))
    refused(
        "the manifest has no column mask_image, .* it has .*image", table().drop(columns="mask_image"), ManifestError
    )
    refused("row 1 has no image", table(image=["0.png", None, "2.png"]), ManifestError)
    refused(r"image: '\.\./masks/0\.png' leads out of", table(image=["../masks/0.png", "1.png", "2.png"]))
    refused(
        "the same prompt, seed and picture stand in an earlier row",
        table((0, 0, 2), (0, 0, 2), split="train"),
        ManifestError,
    )
    refused("image lies in more than one split", table((0, 0, 2)), ManifestError)
    refused("a Manifest has no column image", ldmscene.read_manifest(table()[1:]), ManifestError)
    refused(
        r"no input of StableDiffusionInpaintPipeline.*mask_imag.*mask_image",
        inputs=folders | {"mask_imag": folders["image"] / "0.png"},
    )
    refused("strength: expected a folder, a picture's file or a finite number", inputs=folders | {"strength": None})
    refused("there is neither a folder nor a picture at nowhere", inputs=folders | {"mask_image": "nowhere"})
    refused("guidance_scale is what ldmscene sets itself", inputs=folders | {"guidance_scale": 3})
    refused(
        "can't draw from a prompt and image alone, and takes mask_image; supply it by inputs",
        inputs={"image": folders["image"]},
    )
    (folders["image"] / "1.png").write_text("not a picture")
    refused(r"1\.png can't be read as an image")
    assert not (tmp_path / "s").exists()


def test_pictures_of_several_sizes_go_where_the_pipeline_resizes_them(inpainting, folders, tmp_path):
    Image.fromarray(picture(0, (64, 96))).save(folders["image"] / "0.png")
    assert extract(inpainting, table(), tmp_path / "s", folders).samples["complete"].all()
    from_picture = PICTURE_PIPELINES["image_to_image"].make()
    frame, inputs = table().drop(columns="mask_image"), {"image": folders["image"], "strength": 0.7}
    with pytest.raises(
        InputError, match=r"image: 0\.png has 64 × 96 pixels, 1\.png 32 × 48; .* bring them to one size"
    ):
        ldmscene.extract(from_picture, frame, tmp_path / "t", inputs=inputs, **OPTIONS)
    with pytest.raises(InputError, match="draws 32 × 48, the size of its picture, got 64 × 64"):
        ldmscene.extract(from_picture, frame[1:], tmp_path / "t", inputs=inputs, height=64, width=64, **OPTIONS)
    assert not (tmp_path / "t").exists()


def test_what_all_samples_share_is_part_of_the_fingerprint(inpainting, folders, tmp_path):
    shared = folders | {"mask_image": folders["mask_image"] / "0.png"}
    frame = table().drop(columns="mask_image")
    store = extract(inpainting, frame, tmp_path / "s", shared, batch_size=2)
    each = extract(inpainting, table(masks=(0, 0, 0)), tmp_path / "t", folders, batch_size=2)
    np.testing.assert_array_equal(store.activations(MODULE).values, each.activations(MODULE).values)
    with pytest.raises(FingerprintError, match=r"inputs.strength: 0.7 in the store, 1.0 now"):
        extract(inpainting, frame, tmp_path / "s", shared | {"strength": 1.0})
    with pytest.raises(FingerprintError, match=r"inputs.mask_image"):
        extract(inpainting, frame, tmp_path / "s", shared | {"mask_image": folders["mask_image"] / "1.png"})


def test_an_interrupted_extraction_ends_as_an_undisturbed_one(inpainting, folders, tmp_path, monkeypatch):
    whole = extract(inpainting, table(), tmp_path / "whole", folders, batch_size=2)
    run, calls = capture.run, []

    def stopped(*args, **options):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return run(*args, **options)

    monkeypatch.setattr(capture, "run", stopped)
    with pytest.raises(KeyboardInterrupt):
        extract(inpainting, table(), tmp_path / "s", folders, batch_size=2)
    monkeypatch.undo()
    assert ldmscene.open(tmp_path / "s").samples["complete"].sum() == 2
    resumed = extract(inpainting, table(), tmp_path / "s", folders, batch_size=2)
    for path in ("activations", "images", "latents"):
        ours, theirs = (
            (one.activations(MODULE) if path == "activations" else getattr(one, path)()) for one in (resumed, whole)
        )
        np.testing.assert_array_equal(ours.values, theirs.values)


def test_a_file_that_changes_while_samples_are_generated_is_named(inpainting, folders, tmp_path, monkeypatch):
    run = capture.run

    def changing(*args, **options):
        Image.fromarray(picture(9)).save(folders["image"] / "2.png")
        return run(*args, **options)

    monkeypatch.setattr(capture, "run", changing)
    with pytest.raises(LdmsceneError, match=r"2\.png was changed while activations were being extracted"):
        extract(inpainting, table(), tmp_path / "s", folders)


def test_a_sample_id_of_ones_own_stays_with_its_picture(inpainting, folders, tmp_path):
    named = table(sample_id=["a", "b", "c"])
    extract(inpainting, named, tmp_path / "s", folders)
    Image.fromarray(picture(9)).save(folders["image"] / "2.png")
    with pytest.raises(ManifestError, match="sample 'c' was made from another picture"):
        extract(inpainting, named, tmp_path / "s", folders)


def test_splits_are_drawn_by_picture(folders):
    from ldmscene.extraction.inputs import read_inputs

    for number in range(40):
        Image.fromarray(picture(number)).save(folders["image"] / f"{number}.png")
    rows = pd.DataFrame({"prompt": "", "seed": [0, 1] * 40, "image": [f"{n // 2}.png" for n in range(80)]})
    manifest, _ = read_inputs(rows, {"image": folders["image"]})
    splits = manifest.frame.groupby("image")["split"]
    assert splits.nunique().max() == 1
    assert set(splits.first()) == {"train", "test"}
    assert manifest.frame["sample_id"].is_unique


def test_edits_of_such_a_store_are_refused_in_one_sentence(inpainting, folders, tmp_path):
    store = extract(inpainting, table(), tmp_path / "s", folders)
    ldmscene.label(store, "bright", lambda images: images.mean(-1) / 255, progress=False)
    grid = ldmscene.evaluate(store, ["bright"], cv=2, progress=False)
    edit = ldmscene.Edit.of(grid, "bright", wanted="shift:0,8", modules=[MODULE], steps=[0])
    with pytest.raises(InputError, match=r"an edit needs a pipeline that takes a prompt alone; .* image, mask_image"):
        ldmscene.intervene(store, edit, tmp_path / "edited", model=inpainting)


@pytest.mark.slow
def test_the_command_line_hands_inputs_on(inpainting, folders, tmp_path, capsys):
    inpainting.save_pretrained(tmp_path / "model")
    table().to_csv(tmp_path / "m.csv", index=False)
    words = ["extract", str(tmp_path / "model"), str(tmp_path / "m.csv"), "--store", str(tmp_path / "s"), "--json"]
    words += ["--modules", MODULE, "--steps", "3", "--guidance-scale", "1", "--height", "32", "--width", "48"]
    words += ["--dtype", "float32"]
    for name in ("image", "mask_image", "strength"):
        words += ["--input", f"{name}={folders[name]}"]
    with pytest.raises(SystemExit, match="0"):
        main(words)
    store = ldmscene.open(tmp_path / "s")
    assert store.config["inputs"]["strength"] == 0.7
    theirs = extract(inpainting, table(), tmp_path / "t", folders)
    np.testing.assert_array_equal(store.activations(MODULE).values, theirs.activations(MODULE).values)
    with pytest.raises(SystemExit, match="2"):
        main([*words, "--input", "strength"])
    assert "expected NAME=FOLDER" in capsys.readouterr().err
