"""Which prompts are one to a model, against what its text encoders make of them."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import pytest
import torch

import ldmscene
from ldmscene import capture
from ldmscene.errors import LeakWarning
from ldmscene.manifest import read_manifest
from tests.capture.pipelines import build
from tests.conftest import FIRST

RED = "a red cube"
SAME = [RED, "A  Red Cube ", "a red\tcube", "a blue cube", "a red cube.", "a redcube"]
LONG = " ".join(["a large red cube left of"] * 6)


def test_prompts_with_equal_readings_are_those_with_equal_embeddings(tiny):
    with pytest.warns(UserWarning, match="2 of 8 prompts are longer than the 24 tokens that the model reads"):
        found = capture.readings(tiny, [*SAME, f"{LONG} a sphere", f"{LONG} a cone"])
    with torch.no_grad():
        embedded = [
            tiny.encode_prompt(prompt, "cpu", 1, False)[0] for prompt in [*SAME, f"{LONG} a sphere", f"{LONG} a cone"]
        ]
    for i in range(len(found)):
        for j in range(len(found)):
            assert (found[i] == found[j]) == torch.equal(embedded[i], embedded[j])
    assert len(set(found)) == 5


def test_what_one_of_two_tokenizers_reads_is_not_cut_off():
    pipeline = build("flux")
    pipeline.tokenizer_2.model_max_length = 512
    one, other = capture.readings(pipeline, [f"{LONG} a sphere", f"{LONG} a cone"])
    assert one[0] == other[0]
    assert one[1] != other[1]


def test_without_a_tokenizer_the_normal_text_is_what_is_read():
    assert capture.readings(SimpleNamespace(components={}), SAME[:4]) == [RED, RED, RED, "a blue cube"]


def test_a_pair_on_both_sides_is_told_or_refused_before_anything_is_written(tiny, tmp_path):
    table = read_manifest([(RED, 1), ("A red  cube", 2), ("a blue cube", 3)]).with_splits(["train", "test", "test"])
    message = r"lie in two splits.*: 'a red cube' \(train\) and 'A red  cube' \(test\); give each pair one split"
    with warnings.catch_warnings():
        warnings.simplefilter("error", LeakWarning)
        with pytest.raises(LeakWarning, match=message):
            ldmscene.extract(tiny, table, tmp_path / "s", [FIRST], steps=1)
        assert not (tmp_path / "s").exists()
        warnings.simplefilter("ignore", LeakWarning)
        assert ldmscene.extract(tiny, table, tmp_path / "s", [FIRST], steps=1).samples["complete"].all()


def test_one_side_and_equal_prompts_are_no_leak(tiny, tmp_path):
    table = read_manifest([(RED, 1), ("A red  cube", 2), ("a blue cube", 3)]).with_splits(["train", "train", "test"])
    ldmscene.extract(tiny, table, tmp_path / "s", [FIRST], steps=1, dry_run=True)
