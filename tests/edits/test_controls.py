"""Controls: as large as the edit in every cell, the same for the same seed, and nowhere else the edit's."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ldmscene.edits import (
    CONTROLS,
    NULLS,
    RULES,
    ControlEntry,
    NullEntry,
    RuleEntry,
    controlled,
    edited,
    is_null,
    not_run,
)
from ldmscene.errors import InputError, UnknownNameError
from tests.edits.worlds import World, edit_of, make_world, worlds

ALL = ("none", "random:2", "shuffled", "other-target", "wrong-region", "worst-module", "donor", "rule:adam", "from")


def _change(world: World, **options: object) -> np.ndarray:
    exact = replace(world, x=world.x.double())
    return (edited(edit_of(world, **options), "m", 0, exact.x, world.maps) - exact.x).numpy()


@given(worlds(), st.sampled_from(["conditional", "minimum-norm", "erase"]), st.integers(0, 99))
def test_nulls_have_the_norm_of_the_edit_in_every_cell(world, rule, seed):
    own = np.linalg.norm(_change(world, rule=rule), axis=-1)
    for null in (f"random:{seed}", "rival:shuffled", "rival:depth"):
        np.testing.assert_allclose(np.linalg.norm(_change(world, rule=rule, null=null), axis=-1), own, rtol=1e-6)
    moved = np.linalg.norm(_change(world, rule=rule, null="wrong-region"), axis=-1)
    np.testing.assert_allclose(np.roll(own, (2, 3), (1, 2)), moved, rtol=1e-6)


def test_a_seed_names_one_direction():
    world = make_world()
    one, again, other = (_change(world, null=null) for null in ("random:1", "random:1", "random:2"))
    np.testing.assert_array_equal(one, again)
    cosine = (one * other).sum(-1) / np.linalg.norm(one, axis=-1) / np.linalg.norm(other, axis=-1)
    assert np.abs(cosine).max() < 0.999


def test_random_directions_are_distributed_as_the_features():
    world = make_world(2, channels=3)
    draws = np.stack([np.random.default_rng(s).standard_normal(3) for s in range(20000)]) @ world.readout.root.T
    np.testing.assert_allclose(np.cov(draws.T), world.readout.covariance, rtol=0.1, atol=0.1)
    unit = draws / np.linalg.norm(draws, axis=1, keepdims=True)
    own = []
    for seed in range(400):
        change = _change(world, null=f"random:{seed}").reshape(-1, 3)[0]
        own.append(change / np.linalg.norm(change))
    np.testing.assert_allclose(np.cov(np.stack(own).T), np.cov(unit.T), atol=0.12)


def test_a_random_change_rises_where_the_reading_is_to_rise():
    world = make_world(3)
    own = _change(world) @ world.readout.coef
    drawn = _change(world, null="random:0").reshape(-1, world.x.shape[-1])
    along = drawn @ drawn[np.abs(drawn).sum(1).argmax()]
    same = np.sign(along) * np.sign(own.ravel())
    assert len(set(same[own.ravel() != 0])) == 1


def test_every_control_of_the_table():
    edit = edit_of(make_world())
    found = controlled(edit, ALL)
    assert list(found) == [
        "none", "random-0", "random-1", "shuffled", "other-target-depth", "wrong-region", "worst-module", "donor",
        "rule-adam",
    ]  # fmt: skip
    assert found["none"].strength == 0
    assert found["worst-module"].modules == ("n",)
    assert (found["donor"].rule, found["rule-adam"].rule) == ("donor", "adam")
    assert {name for name in found if not is_null(name)} == {"none", "donor", "rule-adam"}
    assert len({one.fingerprint for one in found.values()} | {edit.fingerprint}) == len(found) + 1


def test_rules_nulls_and_controls_from_outside_go_by_their_names(monkeypatch):
    for registry in (RULES, NULLS, CONTROLS):
        monkeypatch.setattr(registry, "_values", dict(registry))
    RULES.register(RuleEntry("add", lambda x, goal, readout: x + 1))
    NULLS.register(NullEntry("times", lambda factor: lambda change, goal, readout, key: change * float(factor)))
    CONTROLS.register(
        ControlEntry("times", lambda edit, factor: {f"by-{factor}": replace(edit, null=f"times:{factor}")})
    )
    world = make_world()
    np.testing.assert_allclose(_change(world, rule="add"), 1)
    found = controlled(edit_of(world, rule="add"), ["times:3"])["by-3"]
    np.testing.assert_allclose(_change(world, rule=found.rule, null=found.null), 3)


def test_the_same_edit_is_begun_at_later_steps():
    world = make_world()
    edit = edit_of(world, steps=range(5), spare=(), readouts={("m", step): world.readout for step in range(5)})
    found = {name: one.steps for name, one in controlled(edit, ["from:2"]).items()}
    assert found == {"from-2": (2, 3, 4), "from-4": (4,)}
    assert len(controlled(edit, ["from"])) == 4
    assert not any(map(is_null, found))


def test_a_control_may_be_any_function():
    def backwards(edit):
        return replace(edit, strength=-edit.strength)

    assert controlled(edit_of(make_world()), [backwards])["backwards"].strength == -1
    assert is_null("backwards")


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("edit", "the edit"),
        ("none", "what its control 'none' makes"),
        ("shuffled", "what its control 'shuffled' makes"),
        ("random-9", "what its control 'random' makes"),
        ("other-target-x", "what its control 'other-target' makes"),
    ],
)
def test_a_function_takes_no_name_that_findings_read_otherwise(name, meaning):
    def own(edit):
        return replace(edit, strength=0.0)

    own.__name__ = name
    with pytest.raises(InputError, match=f"controls: '{name}' is what ldmscene itself calls {meaning}; rename your"):
        controlled(edit_of(make_world()), [own])


def test_no_function_takes_the_place_of_another():
    def scaled(edit, by):
        return replace(edit, strength=by)

    half, twice = partial(scaled, by=0.5), partial(scaled, by=2.0)
    with pytest.raises(InputError, match="expected functions of different names, got 'partial' twice"):
        controlled(edit_of(make_world()), [half, twice])
    half.__name__, twice.__name__ = "half", "twice"
    found = controlled(edit_of(make_world()), [half, twice])
    assert {name: one.strength for name, one in found.items()} == {"half": 0.5, "twice": 2.0}


def test_a_function_that_returns_no_edit_is_named():
    def lost(edit):
        replace(edit, strength=0.0)

    with pytest.raises(InputError, match="controls: expected lost to return an edit, got NoneType"):
        controlled(edit_of(make_world()), [lost])


def test_a_variant_is_of_the_control_with_the_longest_name_that_it_begins_with(monkeypatch):
    monkeypatch.setattr(CONTROLS, "_values", dict(CONTROLS))
    for name in ("other", "random-walk"):
        CONTROLS.register(ControlEntry(name, lambda edit, _: {}, null=False))
    assert is_null("other-target-depth")
    assert not is_null("other-1")
    assert not is_null("random-walk-3")
    assert not_run(["random-walk-3"]) == ["shuffled", "random", "wrong-region", "other-target", "worst-module"]
    assert not_run(["random-3", "other-target-depth"]) == ["shuffled", "wrong-region", "worst-module"]


@pytest.mark.parametrize(
    ("control", "message"),
    [
        ("shuffled", "needs a probe of shuffled labels"),
        ("other-target", "needs a grid with several targets"),
        ("worst-module", "needs modules that the edit leaves alone"),
        ("random:0", "expected 'random:N' with N at least 1, got 'random:0'"),
        ("random:few", "expected 'random:N'"),
        ("from:0", "expected 'from:N' with N at least 1, got 'from:0'"),
        ("rule:Adam", "no rule named 'Adam'; nearest: adam"),
    ],
)
def test_controls_say_what_they_lack(control, message):
    world = make_world()
    bare = replace(world, readout=replace(world.readout, rivals={}))
    with pytest.raises(InputError, match=message):
        controlled(edit_of(bare, spare=()), [control])


def test_a_control_without_a_name_is_refused():
    with pytest.raises(InputError, match="expected a function with a name of letters"):
        controlled(edit_of(make_world()), [lambda edit: edit])


def test_an_unknown_control_is_named_with_the_nearest():
    with pytest.raises(UnknownNameError, match="no control named 'randon'; nearest: random"):
        controlled(edit_of(make_world()), ["randon:5"])
    with pytest.raises(UnknownNameError, match="no null named 'nothing'"):
        edited(edit_of(make_world(), null="nothing"), "m", 0, torch.zeros(3, 4, 6, 7), make_world().maps)
