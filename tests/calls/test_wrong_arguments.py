"""What somebody passes by mistake is told in a sentence that names it; one of several may stand alone."""

from __future__ import annotations

import json
import re

import pytest
import xarray as xr

import ldmscene
from ldmscene import conclusions, plot
from ldmscene.edits import controlled
from ldmscene.errors import IncompleteError, InputError, StoreError, UnknownNameError
from ldmscene.evaluation.task import check_splits
from ldmscene.report.saving import new_axes
from ldmscene.text import counted
from tests.conftest import FIRST

ONE = [("a red cube", 1)]


@pytest.fixture(scope="module")
def grid(store) -> xr.Dataset:
    return ldmscene.evaluate(store, ["mask"], [FIRST], [0, 3], alphas=(1e1, 1e3), cv=3, progress=False)


def test_values_of_a_wrong_type_are_told(store, grid):

    def edit(**how: object) -> ldmscene.Edit:
        return ldmscene.Edit.of(grid, "mask", wanted="swap", modules=FIRST, **how)

    for call, message in (
        (lambda: store.activations(3), "no module in this store named 3; nearest: "),
        (lambda: store.activations(FIRST, step=0, samples=[0, 1]), "no sample in .* named 0; nearest: "),
        (lambda: store.labels(3), "no target with labels in this store named 3; nearest: depth"),
        (lambda: store.torch_dataset([3]), "no module in this store named 3"),
        (lambda: plot.seven_rows(store, grid, 0), "no held-out sample in this grid named 0"),
        (lambda: ldmscene.evaluate(store, modules=3), "no module in this store named 3"),
        (lambda: ldmscene.evaluate(store, targets=3), "no target with labels in this store named 3"),
        (lambda: ldmscene.label(store, 3, "tiny-mask"), "a target's name is letters, .*; got 3$"),
        (lambda: edit(strength="2"), "strength must be a finite number, got '2'"),
        (lambda: edit(margin="6"), "margin must be a finite number above 0, got '6'"),
        (
            lambda: ldmscene.extract_images("tiny-scenes", "pictures", "s", timesteps=50),
            "timesteps must be a list of numbers, got 50",
        ),
        (lambda: ldmscene.extract("tiny-scenes", ONE, "s", part=2), "part must be text, got 2"),
    ):
        with pytest.raises(InputError, match=message):
            call()


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("steps", "a whole number"),
        ("batch_size", "a whole number"),
        ("guidance_scale", "a number"),
        ("modules", "a name or a list of names"),
        ("part", "text"),
        ("branch", "one of cond, uncond, both;"),
        ("negative_prompt", "text"),
    ],
)
def test_none_is_refused_where_there_is_no_such_choice(name, wanted):
    with pytest.raises(InputError, match=f"^{name} must be {wanted},? got None$"):
        ldmscene.extract("tiny-scenes", ONE, "s", **{name: None})


def test_an_estimator_is_told_where_it_goes(store):
    for one in (ldmscene.RidgeProbe(), ldmscene.RidgeProbe):
        with pytest.raises(
            InputError, match=r"expected a name \(ridge, logistic.*\) or a Kind.*examples/own_probe\.py"
        ):
            ldmscene.evaluate(store, "mask", probe=one)


def test_a_word_that_no_read_takes_is_refused_under_the_name_of_the_read(store):
    for read, name in (
        (lambda: store.activations(FIRST, steps=0), "activations"),
        (lambda: store.sel(module=FIRST, steps=0), "sel"),
        (lambda: store.latents(steps=0), "latents"),
        (lambda: store.intermediate("noisy", "mask", steps=0), "intermediate"),
    ):
        with pytest.raises(
            TypeError, match=rf"^{name}\(\) got an unexpected keyword argument 'steps'; did you mean step=$"
        ):
            read()
    for read in (store.images, lambda **which: store.labels("mask", **which)):
        with pytest.raises(TypeError, match=r"'prompts'; did you mean prompt=$"):
            read(prompts="a red cube")


def test_a_split_that_the_manifest_lacks_is_told_with_those_that_it_has(store):
    with pytest.raises(IncompleteError, match=r"the manifest has none; its splits are train \(14\), test \(6\)$"):
        store.activations(FIRST, step=0, split="val")
    with pytest.raises(InputError, match=r"^no complete sample has seed 99; see store\.samples$"):
        store.images(seed=99)
    with pytest.raises(
        InputError, match=r"^no complete sample has seed 0 and what where= asks for; see store\.samples$"
    ):
        store.images(seed=0, where=lambda samples: samples["prompt"] == "")


def test_previews_of_one_split_are_labelled_by_its_name(store):
    with pytest.raises(IncompleteError, match=r"14 samples have no noisy previews, .* label the split .* by split=$"):
        ldmscene.label(store, "light", lambda images: images.mean(-1), on="noisy")


def test_a_manifest_without_held_out_samples_is_told_what_to_do(manifest):
    with pytest.raises(InputError, match=r"no sample in split 'test'; .*: add a column split, or more prompts$"):
        check_splits(manifest.with_splits(["train"] * len(manifest)), cv=2)


def test_one_sample_has_and_two_have():
    assert [counted(n, "sample", "has", "have") for n in (1, 2)] == ["1 sample has", "2 samples have"]
    assert [counted(n, "step") for n in (1, 2)] == ["1 step", "2 steps"]


def test_one_of_several_may_stand_alone(store, grid, tmp_path):
    edit = ldmscene.Edit.of(grid, "mask", wanted="swap", modules=FIRST)
    assert list(controlled(edit, "none")) == list(controlled(edit, ["none"])) == ["none"]
    with pytest.raises(UnknownNameError, match=r"no sample of split 'test' in .* named 'abc'"):
        ldmscene.intervene(store, edit, tmp_path / "edited", samples="abc")
    with pytest.raises(StoreError, match=re.escape(f"no store at {tmp_path / 'none'}")):
        ldmscene.write_report(store, grid, tmp_path / "report", interventions=str(tmp_path / "none"))


def test_a_folder_around_a_store_or_in_it_is_answered_with_the_store(store, tmp_path):
    for somewhere, message in (
        (store.root.parent, f"is not an ldmscene store; name one that lies in it: .*{re.escape(str(store.root))}"),
        (store.root / "activations.zarr", f"not an ldmscene store; name the folder that holds it, {store.root}$"),
        (tmp_path, r"not an ldmscene store; name a folder that holds activations\.zarr$"),
    ):
        (tmp_path / "notes.txt").write_text("mine")
        with pytest.raises(StoreError, match=message):
            ldmscene.open(somewhere)
        with pytest.raises(StoreError, match=message):
            ldmscene.verify(somewhere)
    with pytest.raises(StoreError, match="and not empty; name another location"):
        ldmscene.extract("tiny-scenes", ONE, tmp_path)


def test_samples_are_counted_by_split_before_they_are_made(tiny, manifest, tmp_path, capsys):
    few = manifest.only(manifest.frame["sample_id"].tolist()[-8:-3])
    ldmscene.extract(tiny, few, tmp_path / "few", FIRST, steps=1)
    assert (
        "samples: 2 train, 3 test (3 prompts); below 4 held-out prompts nothing can be shown\n"
        in capsys.readouterr().err
    )
    ldmscene.extract(tiny, manifest, tmp_path / "few", FIRST, steps=1, dry_run=True)
    assert "samples: " not in capsys.readouterr().err


def test_a_figure_is_saved_under_a_name_with_or_without_its_kind(tmp_path):
    for name in ("mask", "mask.png", "mask.PDF", "mask.svg"):
        files = plot.save(new_axes(1, 1), tmp_path / name)
        assert [file.name for file in files] == ["mask.pdf", "mask.svg", "mask.png"]
    assert plot.save(new_axes(1, 1), tmp_path / "mask.v2")[0].name == "mask.v2.pdf"


def test_an_edit_changes_the_first_five_steps_that_there_are(grid, monkeypatch):
    """A store of four steps has no step 4, and nobody named one."""
    assert ldmscene.Edit.of(grid, "mask", wanted="swap", modules=FIRST).steps == (0, 3)
    monkeypatch.setattr("ldmscene.calls.edit.FIRST_STEPS", 1)
    assert ldmscene.Edit.of(grid, "mask", wanted="swap", modules=FIRST).steps == (0,)


def test_a_grid_says_of_which_run_it_is_and_which_modules_spoke(store, grid):
    """By which sentences know that it is of some steps, and whose rivals it holds."""
    assert grid.attrs["run_steps"] == len(store.steps) == 4
    assert json.loads(grid.attrs["chosen"]) == {"mask": FIRST}
    assert conclusions.sentence(grid, "mask").startswith("mask: at the steps looked at (0 and 3 of 0 to 3), ")
