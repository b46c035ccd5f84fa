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


@pytest.mark.parametrize("width", [40, 80, 200])
def test_an_effect_fits_the_terminal(edited, store, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    code, out, err = call("effect", edited.root, store.root)
    assert code == 0, err
    table = out.splitlines()[1:-1]
    assert max(map(len, table)) <= width
    row = ldmscene.effect(edited, store).loc["shuffled", "dice"]
    said = " ".join(" ".join(table).split())
    for name, sign in (("mean", ""), ("gain", "+"), ("lead", "+")):
        low, high = ("low", "high") if name == "mean" else (f"{name}_low", f"{name}_high")
        assert f"{row[name]:{sign}.3f} ({row[low]:{sign}.3f} to {row[high]:{sign}.3f})" in said


def test_refusals_are_one_sentence(store, tmp_path):
    code, _, err = call(
        "intervene", store.root, "mask", "--edited", tmp_path / "edited", "--steps", 0, "--wanted", "left"
    )
    assert code == 2
    assert "expected 'shift:DY,DX'" in err
    words = ["--edited", tmp_path / "edited", "--steps", 0, "--wanted", "shift:0,16"]
    code, _, err = call("intervene", store.root, "mask", *words, "--control", "none,randon:5")
    assert code == 2
    assert err.strip() == "error: no control named 'randon'; nearest: random, none, donor"
    assert not (tmp_path / "edited").exists()
