"""The command line's words lead to the same edit and the same numbers."""

from __future__ import annotations

import json

import pytest

import ldmscene
from tests.test_cli import call


def test_intervene_and_effect(store, edit, tmp_path):
    root = str(tmp_path / "edited")
    words = ["--wanted", "shift:0,16", "--modules", "best:3", "--steps", "0", "--steps", "1", "--strength", "2"]
    words += ["--control", "none", "--batch-size", "6", "--json"]
    code, out, err = call("intervene", store.root, "mask", "--edited", root, *words)
    assert code == 0, err
    made = json.loads(out)
    assert made["samples"] == 6
    assert made["edit"]["steps"] == list(edit.steps)
    assert made["edit"]["strength"] == 2
    call("label", root, "mask", "tiny-mask")
    rows = json.loads(call("effect", root, store.root, "--json")[1])
    expected = ldmscene.effect(root, store)
    assert {(row["variant"], row["measure"]) for row in rows} == set(expected.index)
    found = next(row for row in rows if (row["variant"], row["measure"]) == ("edit", "dice"))
    assert found["gain"] == pytest.approx(expected.loc["edit", "dice"]["gain"])
    assert "nothing is said of causes" in call("effect", root, store.root)[1]


def test_refusals_are_one_sentence(store, tmp_path):
    code, _, err = call(
        "intervene", store.root, "mask", "--edited", tmp_path / "edited", "--steps", 0, "--wanted", "left"
    )
    assert code == 2
    assert "expected 'shift:DY,DX'" in err
    assert not (tmp_path / "edited").exists()
