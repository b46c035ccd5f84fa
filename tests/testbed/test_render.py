"""The public renderer: what it promises to those who measure tools on it."""

from __future__ import annotations

import doctest
from dataclasses import fields

import numpy as np
import pytest
import torch
import xarray as xr

import ldmscene
from ldmscene.errors import InputError
from ldmscene.testbed import LABELERS, PARTS, render, words
from ldmscene.testbed import truth as module
from ldmscene.testbed.drawing import UNSEEN_NOUNS
from ldmscene.testbed.labelers import TARGETS


@pytest.mark.parametrize("documented", [module, words])
def test_the_examples_run(documented):
    found = doctest.testmod(documented)
    assert found.attempted > 0
    assert found.failed == 0


def test_autocast_around_a_call_changes_nothing():
    truth, words = render(3, seed=7)
    with torch.autocast("cpu", torch.bfloat16):
        cast, cast_words = render(3, seed=7)
        labels = {target: LABELERS[f"tiny-{target}"](truth.image)[target] for target in TARGETS}
    assert cast_words == words
    for field in fields(truth):
        np.testing.assert_array_equal(getattr(cast, field.name), getattr(truth, field.name))
    for target, found in labels.items():
        np.testing.assert_array_equal(found, LABELERS[f"tiny-{target}"](truth.image)[target])


def test_more_scenes_of_a_seed_begin_with_the_fewer():
    few, many = render(4, seed=3), render(40, seed=3)
    np.testing.assert_array_equal(few[0].image, many[0].image[:4])
    assert few[1] == many[1][:4]


def test_splits_are_other_scenes_and_only_one_says_what_is_unseen():
    nouns = [f"{color} {shape}" for color, shape in UNSEEN_NOUNS]
    said = {}
    for split in ("train", "test", "unseen"):
        _, said[split] = render(60, seed=1, split=split)
    assert not set(said["train"]) & set(said["test"])
    assert not any(noun in text for split in ("train", "test") for text in said[split] for noun in nouns)
    assert sum(any(noun in text for noun in nouns) for text in said["unseen"]) > 20


@pytest.mark.parametrize("bad", [{"split": "held-out"}, {"count": 0}, {"seed": -1}, {"seed": 1_000_000}, {"pixels": 0}])
def test_what_cant_be_rendered_is_refused(bad):
    with pytest.raises(InputError, match=str(next(iter(bad.values())))):
        render(**{"count": 1, **bad})


def test_pictures_and_truth_go_through_extract_images_label_and_evaluate(tiny, tmp_path):
    train, _ = render(24, seed=5)
    test, _ = render(12, seed=5, split="test")
    store = ldmscene.extract_images(
        tiny,
        np.concatenate([train.image, test.image]),
        tmp_path / "store",
        ["up_blocks.3.attentions.2.*attn1.to_out.0"],
        timesteps=[100],
        splits=["train"] * 24 + ["test"] * 12,
        batch_size=12,
    )
    samples = {"sample_id": ("sample", list(store.samples["sample_id"]))}
    for target in ("depth", "mask", "shading"):
        labels = np.concatenate([getattr(train, target), getattr(test, target)])
        kind = "binary" if target == "mask" else "continuous"
        ldmscene.label(store, target, xr.DataArray(labels, dims=("sample", "y", "x"), coords=samples), kind=kind)
    np.testing.assert_array_equal(store.images(split="test"), test.image)
    grid = ldmscene.evaluate(store, progress=False)
    dice = grid["probe"].sel(target="mask", metric="dice").max()
    assert float(dice) > 0.5
    assert len(PARTS) == 10
