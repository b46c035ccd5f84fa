"""How names and steps are chosen: against plain comprehensions over the names."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ldmscene
from ldmscene.errors import InputError, UnknownNameError, nearest
from ldmscene.grid import scores
from ldmscene.intervention.choosing import choose_modules
from ldmscene.selection import choose_names, choose_one, choose_steps
from tests.conftest import FIRST, LAST

SHORT = "up_blocks.3.attentions.2"


@given(st.integers(1, 9), st.slices(9))
def test_a_slice_of_steps_is_pythons(n: int, asked: slice):
    expected = list(range(n))[asked]
    if expected:
        assert choose_steps(asked, range(n)) == expected
    else:
        with pytest.raises(InputError, match="expected at least one"):
            choose_steps(asked, range(n))


def test_steps_count_from_the_end_too_and_what_is_no_step_is_refused():
    assert choose_steps(-1, range(4)) == [3]
    assert choose_steps(np.int64(2), range(4)) == [2]
    assert choose_steps(np.array([0, -2]), range(4)) == [0, 2]
    assert choose_steps(None, [1, 3]) == choose_steps(slice(None), [1, 3]) == [1, 3]
    assert choose_steps(-1, [1, 3]) == [3]
    for asked, message in (
        (4, "0 to 3"),
        (-5, "no step -5"),
        ([1, 9], "no step 9"),
        (1.5, "whole numbers"),
        ("0", "whole"),
    ):
        with pytest.raises(InputError, match=message):
            choose_steps(asked, range(4))
    with pytest.raises(InputError, match=r"its steps are 1, 3$"):
        choose_steps(
            2,
            [
                1,
                3,
            ],
        )


def test_a_name_is_meant_by_itself_by_how_it_begins_or_by_a_glob(store):
    known = store.modules
    assert choose_names("module", SHORT, known) == [LAST]
    assert choose_names("module", "up_blocks.3", known) == [m for m in known if m.startswith("up_blocks.3.")]
    assert choose_names("module", ["mid_block", "*.attentions.2.*", "mid*"], known) == [
        *[m for m in known if m.startswith("mid_block.")],
        *[m for m in known if ".attentions.2." in m],
    ]
    assert choose_names("module", ["a", "a.b"], ["a.b", "a"]) == ["a", "a.b"]  # a name, before what begins with it
    with pytest.raises(InputError, match="means 3, up_blocks"):
        choose_one("module in this store", "up_blocks.3", known)
    for part in ("up_block", "up_blocks.3.attention", "2"):
        with pytest.raises(UnknownNameError, match="nearest"):
            choose_one("module", part, known)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("up_blocks.3.attention.2", LAST),
        ("up_blocks.3.attentions2", LAST),
        ("attentions.0.transformer_blocks.0.attn2.to_out.0", FIRST),
        ("down_block.0.attentions.0", FIRST),
        (FIRST.replace("attn1", "attn3"), FIRST),
        ("up_blocks.9.attentions.2", LAST),
    ],
)
def test_near_names_are_near(typed: str, meant: str, store):
    assert meant in nearest(typed, store.modules)


def test_short_names_serve_wherever_a_module_of_a_store_is_named(store):
    whole = store.activations(LAST, step=3)
    np.testing.assert_array_equal(store.activations(SHORT, step=-1), whole)
    np.testing.assert_array_equal(store.sel(module=SHORT, step=3), whole)
    ours, whole = (store.torch_dataset(*asked, batch=8) for asked in ((SHORT,), (LAST,)))
    np.testing.assert_array_equal(next(iter(ours))["x"], next(iter(whole))["x"])
    grid = ldmscene.evaluate(store, "mask", [SHORT, "mid_block"], slice(2, None), cv=3)
    assert grid["module"].values.tolist() == [LAST, next(m for m in store.modules if m.startswith("mid"))]
    assert grid["step"].values.tolist() == [2, 3]
    np.testing.assert_array_equal(scores(grid, "mask", name=SHORT), scores(grid, "mask", name=LAST))
    assert choose_modules(grid, "mask", SHORT, [2]) == [LAST]
    assert ldmscene.Edit.of(grid, "mask", wanted="shift:0,8", modules=SHORT, steps=-1).steps == (3,)


def test_reads_choose_samples_by_prompt_seed_and_a_function(store):
    frame = store.manifest.frame
    prompts, seeds = frame["prompt"].tolist()[4:7], frame["seed"].tolist()[5:9]
    reads = (
        lambda **which: store.activations(SHORT, 0, **which),
        store.images,
        store.latents,
        lambda **which: store.labels("mask", **which),
    )
    by_table = frame["sample_id"][frame["prompt"].isin(prompts) & frame["seed"].isin(seeds)].tolist()
    held_out = frame["sample_id"][frame["split"] == "test"].tolist()
    for read in reads:
        assert read(prompt=prompts, seed=seeds)["sample"].values.tolist() == by_table
        assert read(prompt=prompts[0])["prompt"].values.tolist() == prompts[:1]
        assert read(prompt=iter(prompts), seed=iter(seeds))["sample"].values.tolist() == by_table
        for where in (lambda rows: rows["split"] == "test", frame["split"] == "test", frame["split"].values == "test"):
            assert read(where=where)["sample"].values.tolist() == held_out
        assert (
            read(where=lambda rows: rows["split"] == "test", samples=held_out[:2][::-1], seed=frame["seed"].tolist())[
                "sample"
            ].values.tolist()
            == held_out[:2][::-1]
        )
    assert store.previews("noisy", where=lambda rows: rows["seed"] > 110).sizes["sample"] == 6
    assert store.intermediate("noisy", "mask", seed=frame["seed"].tolist()).sizes["sample"] == 6
    for which, message in (
        ({"prompt": prompts[0][:-1]}, f"nearest: {prompts[0]}"),
        ({"prompt": iter([prompts[0][:-1]])}, f"nearest: {prompts[0]}"),
        ({"seed": 1}, "has seed 1"),
        ({"prompt": prompts[0], "seed": 1}, "has prompt '.*' and seed 1"),
        ({"where": lambda rows: rows["seed"]}, "expected True or False for each of the 20 samples, got int64"),
        ({"where": [True]}, "of shape \\(1,\\)"),
    ):
        with pytest.raises(InputError, match=message):
            store.images(**which)


def test_labels_as_a_mask_are_by_the_threshold_that_is_stored(store, tiny, tmp_path):
    mask, found = store.labels("mask").values, store.labels("mask", "test", binary=True)
    held_out = (store.samples["split"] == "test").values
    np.testing.assert_array_equal(found, np.where(np.isnan(mask), np.nan, mask > 0.5)[held_out])
    assert found.dims == ("sample", "Y", "X")
    with pytest.raises(InputError, match=r"'depth' is continuous; compare yourself: labels\('depth'\) > NUMBER"):
        store.labels("depth", binary=True)
    two = ldmscene.extract(tiny, [("a red cube", 1), ("a cone", 2)], tmp_path / "two", [FIRST], steps=1)
    ldmscene.label(two, "bright", lambda images: images.mean(-1), kind="binary", threshold=90)
    np.testing.assert_array_equal(two.labels("bright", binary=True), two.images().values.mean(-1) > 90)
