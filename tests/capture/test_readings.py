"""Which prompts are one to a model, against what its text encoders make of them."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import pytest
import torch

import ldmscene
from ldmscene import capture
from ldmscene.errors import LeakWarning, ManifestError
from ldmscene.evaluation.samples import training_folds
from ldmscene.manifest import read_manifest
from tests.capture.pipelines import build
from tests.conftest import FIRST

RED = "a red cube"
SAME = [RED, "A  Red Cube ", "a red\tcube", "a blue cube", "a red cube.", "a redcube"]
LONG = " ".join(["a large red cube left of"] * 12)


def test_prompts_with_equal_readings_are_those_with_equal_embeddings(tiny):
    with pytest.warns(UserWarning, match="2 of 8 prompts are longer than the 48 tokens that the model reads"):
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


def test_a_pair_on_both_sides_is_an_error_on_request_and_an_estimate_tells_it_too(tiny, tmp_path):
    table = read_manifest([(RED, 1), ("A red  cube", 2), ("a blue cube", 3)]).with_splits(["train", "test", "test"])
    with pytest.raises(ManifestError, match=r"'a red cube' \(train\) and 'A red  cube' \(test\)"):
        ldmscene.extract(tiny, table, tmp_path / "s", [FIRST], steps=1, leaks="refuse")
    with warnings.catch_warnings():
        warnings.simplefilter("error", LeakWarning)
        with pytest.raises(LeakWarning, match="1 pairs of prompts are one to the model"):
            ldmscene.estimate(tiny, table, tmp_path / "s", [FIRST], steps=1)
    assert not (tmp_path / "s").exists()


@pytest.mark.filterwarnings("ignore:.*longer than the 48 tokens")
def test_folds_are_of_what_the_model_reads(tiny, tmp_path):
    """Two prompts that differ after the last token that is read, and others: one group in the store, and in folds."""
    prompts = [f"{LONG} a sphere", "a blue cube", f"{LONG} a cone", "a red cube", "A red cube"]
    table = read_manifest([(prompt, i) for i, prompt in enumerate(prompts)]).with_splits(["train"] * 5)
    first = ldmscene.extract(tiny, read_manifest(table.frame.iloc[:2]), tmp_path / "s", [FIRST], steps=1)
    assert len(set(first.manifest.groups)) == 2
    store = ldmscene.extract(tiny, table, tmp_path / "s", [FIRST], steps=1)
    groups = store.manifest.groups
    assert groups[0] == groups[2]
    assert groups[3] == groups[4]
    assert len(set(groups)) == 3
    fold_of = {sample: k for k, fold in enumerate(training_folds(store.manifest, 2)) for sample in _ids(fold)}
    ids = store.manifest.frame["sample_id"].tolist()
    assert fold_of[ids[0]] == fold_of[ids[2]]


def _ids(fold):
    return [sample for block in fold for sample in block.ids]
