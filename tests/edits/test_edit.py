"""Edits as data: saved, read back, told apart."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

from ldmscene.edits import Edit, Readout, brief_edit
from ldmscene.edits.edit import FORMAT
from ldmscene.errors import InputError, ShapeError
from ldmscene.intervention.filling import in_order
from tests.edits.worlds import edit_of, make_world

MAP = np.eye(8, 12)


@settings(deadline=None)
@given(
    st.integers(0, 99),
    st.integers(2, 9),
    st.sampled_from(["swap", "shift:1,-2", MAP, {"a": MAP, "b/c": MAP + 1}]),
    st.sampled_from(["conditional", "adam"]),
    st.floats(-3, 3),
    st.sampled_from(["cond", "uncond", "both"]),
)
def test_an_edit_comes_back_from_its_file(tmp_path_factory, seed, channels, wanted, rule, strength, branch):
    edit = edit_of(make_world(seed, channels), wanted=wanted, rule=rule, strength=strength, branch=branch)
    path = tmp_path_factory.mktemp("edit") / "edit.safetensors"
    edit.save(path)
    again = Edit.load(path)
    assert again.header == edit.header
    assert again.fingerprint == edit.fingerprint
    np.testing.assert_equal(again.wanted, edit.wanted)
    assert list(again.readouts) == list(edit.readouts)
    for position, readout in edit.readouts.items():
        np.testing.assert_equal(again.readouts[position].arrays(), readout.arrays())
        assert again.readouts[position].intercept == readout.intercept


def test_readouts_come_back_in_their_order(tmp_path):
    """In which an edited store lists them: modules, and then those to spare, each at every step."""
    world = make_world()
    readouts = {(name, step): world.readout for name in ("m", "n", "a") for step in (10, 9, 0)}
    edit = edit_of(world, readouts=readouts, modules=("m", "n"), steps=(10, 9, 0), spare=("a",))
    edit.save(tmp_path / "edit")
    assert list(Edit.load(tmp_path / "edit").readouts) == list(readouts)


def test_a_file_holds_the_header_alone_which_all_versions_read(tmp_path):
    edit = edit_of(make_world())
    edit.save(tmp_path / "edit")
    with safe_open(tmp_path / "edit", framework="numpy") as file:
        assert json.loads(file.metadata()["edit"]) == edit.header


def test_readouts_take_the_order_of_a_store_that_has_all_of_them():
    world = make_world()
    edit = edit_of(world, readouts={(name, 0): world.readout for name in "mna"})
    again = in_order(edit, ["a 0", "n 0", "m 0"])
    assert (list(again.readouts), again.fingerprint) == ([("a", 0), ("n", 0), ("m", 0)], edit.fingerprint)
    for others in (["a 0", "m 0"], ["a 0", "m 0", "n 1"], []):
        assert list(in_order(edit, others).readouts) == list(edit.readouts)


def test_another_reader_finds_the_arrays(tmp_path):
    edit = edit_of(make_world())
    edit.save(tmp_path / "edit")
    with safe_open(tmp_path / "edit", framework="numpy") as file:
        np.testing.assert_array_equal(file.get_tensor("m|0|covariance"), edit.readouts["m", 0].covariance)


def test_every_field_and_number_is_part_of_the_fingerprint():
    edit, world = edit_of(make_world()), make_world()
    nudged = replace(world.readout, coef=world.readout.coef + 1e-9)
    others = [
        replace(edit, **change)
        for change in (
            {"target": "depth"}, {"wanted": "shift:0,1"}, {"wanted": MAP}, {"wanted": MAP + 1}, {"branch": "both"},
            {"rule": "erase"}, {"strength": 2.0}, {"margin": 3.0}, {"only_where": "wrong"}, {"null": "random:1"},
            {"spare": ()}, {"origin": {"store": "x"}}, {"binary": False},
            {"readouts": {**edit.readouts, ("m", 0): nudged}},
        )
    ]  # fmt: skip
    assert len({one.fingerprint for one in [edit, *others]}) == len(others) + 1
    assert edit_of(make_world()).fingerprint == edit.fingerprint


@pytest.mark.parametrize(("plain", "kinds"), [(int, (np.int64, np.uint8)), (float, (np.float32, np.float64))])
def test_numpys_numbers_make_the_edits_that_pythons_make(tmp_path, plain, kinds):
    edit = edit_of(make_world(), strength=plain(2), margin=plain(3))
    for kind in kinds:
        other = edit_of(make_world(), strength=kind(2), margin=kind(3))
        assert other.fingerprint == edit.fingerprint
        other.save(tmp_path / "edit")
        assert Edit.load(tmp_path / "edit").header == edit.header


def test_numbers_are_in_a_fingerprint_as_they_were_written():
    """A store whose edit was made with strength=2 goes on: its fingerprint has 2, and not 2.0."""
    for strength, margin, written in ((2, 3, ("2", "3")), (2.0, 3.0, ("2.0", "3.0"))):
        header = edit_of(make_world(), strength=strength, margin=margin).header
        assert (json.dumps(header["strength"]), json.dumps(header["margin"])) == written


def test_an_array_that_names_its_samples_is_of_these():
    maps = np.random.default_rng(0).normal(size=(3, 8, 12))
    array = xr.DataArray(
        maps, dims=("sample", "Y", "X"), coords={"sample": ["c", "a", "b"], "seed": ("sample", [1, 2, 3])}
    )
    edit = edit_of(make_world(), wanted=array)
    assert list(edit.wanted) == ["c", "a", "b"]
    np.testing.assert_array_equal(edit.wanted["a"], maps[1])
    by_id = array.rename(sample="row").assign_coords(sample_id=("row", ["c", "a", "b"])).drop_vars("row")
    for same in (by_id, dict(zip("cab", maps, strict=True)), array[::-1]):
        assert edit_of(make_world(), wanted=same).fingerprint == edit.fingerprint
    for one in (array[0], array[0].transpose("X", "Y")):
        np.testing.assert_array_equal(edit_of(make_world(), wanted=one).wanted, maps[0])
    turned = edit_of(make_world(), wanted=array.transpose("sample", "X", "Y"))
    assert turned.fingerprint == edit.fingerprint
    for rows in ([0, 1, 2], [5.0, 1.0, 3.0]):  # numbers of rows name nobody
        numbered = array.assign_coords(sample=rows)
        assert edit_of(make_world(), wanted=numbered).fingerprint == edit_of(make_world(), wanted=maps).fingerprint
        named = numbered.assign_coords(sample_id=("sample", ["c", "a", "b"]))
        assert edit_of(make_world(), wanted=named).fingerprint == edit.fingerprint
    with pytest.raises(InputError, match="wanted: expected one map for each sample, got two of the same"):
        edit_of(make_world(), wanted=array[[0, 0]])


def test_it_says_what_it_does():
    edit = edit_of(make_world(), wanted="shift:0,16", strength=2.0)
    assert str(edit) == (
        "conditional edit of mask to shift:0,16 in 1 module at step 0, cond branch, strength 2, margin 2, everywhere"
    )
    assert "at step 0, both branches, strength 1," in str(edit_of(make_world(), branch="both"))


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({}, "strength 1, in 1 module at step 0"),
        ({"steps": (0, 1, 2)}, "strength 1, in 1 module at 3 steps from 0"),
        ({"steps": (3, 2)}, "strength 1, in 1 module at 2 steps from 2"),
        ({"steps": (4, 0, 2)}, "strength 1, in 1 module at steps 0, 2 and 4"),
        ({"branch": "both", "strength": 0.5}, "strength 0.5, in 1 module at step 0, both branches"),
        ({"branch": "uncond"}, "strength 1, in 1 module at step 0, unconditional branch"),
        ({"only_where": "wrong"}, "strength 1, in 1 module at step 0, where the reading was wrong"),
    ],
)
def test_in_brief_it_says_all_that_a_finding_depends_on(change, where):
    world = make_world()
    readouts = {(name, step): world.readout for name in "mn" for step in range(5)}
    assert brief_edit(edit_of(world, readouts=readouts, **change).header) == f"conditional, {where}"


def test_functions_arent_saved(tmp_path):
    for change in ({"rule": lambda x, goal, readout: x}, {"wanted": lambda own: own}):
        with pytest.raises(InputError, match="a callable can't be saved"):
            edit_of(make_world(), **change).save(tmp_path / "edit")
    assert not list(tmp_path.iterdir())


def test_other_files_are_refused(tmp_path):
    save_file({"a": np.zeros(1)}, tmp_path / "other")
    (tmp_path / "text").write_text("no")
    FORMAT.write(tmp_path / "later", {}, {**edit_of(make_world()).header, "order": 0, "hue": 1})
    for name, message in (
        ("other", "expected format ldmscene-edit-1"),
        ("later", "holds an edit with hue and order, which this version doesn't know"),
        ("text", "no safetensors"),
        ("x", "no file"),
    ):
        with pytest.raises(InputError, match=message):
            Edit.load(tmp_path / name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modules": ()}, "modules: expected at least one"),
        ({"steps": ()}, "steps: expected at least one"),
        ({"steps": (3,)}, "readouts: expected one for m at step 3"),
        ({"branch": "left"}, "branch must be one of cond, uncond, both"),
        ({"only_where": "here"}, "only_where must be one of everywhere, wrong"),
        ({"strength": float("nan")}, "strength must be a finite number"),
        ({"margin": 0.0}, "margin must be a finite number above 0"),
    ],
)
def test_what_cant_be_used_is_named(change, message):
    with pytest.raises(InputError, match=message):
        edit_of(make_world(), **change)


def test_a_readout_checks_its_arrays():
    zero, eye = np.zeros(3), np.eye(3)
    with pytest.raises(ShapeError, match=r"expected covariance of shape \(3, 3\), got \(2, 2\)"):
        Readout(zero, 0.0, zero, np.eye(2), zero)
    with pytest.raises(InputError, match="mean holds NaN or infinity"):
        Readout(zero, 0.0, zero + np.nan, eye, zero)
