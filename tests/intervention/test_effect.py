"""Effects: scores equal to plain numpy's, intervals paired by sample, words only where they are earned."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import pinvh
from scipy.stats import chi2

import ldmscene
from ldmscene.calls.effect import effect_sentence, until_when
from ldmscene.calls.shown_edits import shown_edits
from ldmscene.errors import InputError, UnknownNameError
from ldmscene.intervention.controls import controls_of
from tests.test_cli import call


@pytest.fixture(scope="module")
def frame(edited, store) -> pd.DataFrame:
    return ldmscene.effect(edited, store)


def _dice(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    both = a.sum((1, 2)) + b.sum((1, 2))
    return np.where(both > 0, 2 * (a & b).sum((1, 2)) / np.maximum(both, 1), 1.0)


def test_every_control_has_a_row(frame, edited):
    variants = list(dict.fromkeys(frame.index.get_level_values("variant")))
    assert variants == ["edit", *controls_of(edited)]
    assert {"random-0", "random-1", "other-target-depth", "worst-module", "donor", "from-1"} < set(variants)


def test_agreement_and_gain_are_plain_numpys(frame, edited, store):
    own = store.labels("mask", split="test").values > 0.5
    wanted = edited.info("wanted/mask").read(range(len(own)), {}) > 0.5
    none = controls_of(edited)["none"]
    now, before = (one.labels("mask").values > 0.5 for one in (edited, none))
    np.testing.assert_array_equal(before, own)
    row = frame.loc["edit", "dice"]
    assert row["mean"] == pytest.approx(_dice(now, wanted).mean())
    assert row["gain"] == pytest.approx((_dice(now, wanted) - _dice(before, wanted)).mean())
    assert row["gain_low"] < row["gain"] < row["gain_high"]
    assert frame.loc["edit", "dice with the own map"]["mean"] == pytest.approx(_dice(now, own).mean())
    other = controls_of(edited)["random-1"].labels("mask").values > 0.5
    ahead = _dice(now, wanted) - _dice(other, wanted)
    lead = frame.loc["random-1", "dice"]
    assert lead["lead"] == pytest.approx(ahead.mean())
    assert lead["lead_low"] < lead["lead"] < lead["lead_high"]
    assert (frame.loc["edit"]["lead"].dropna() == 0).all()


def test_no_edit_is_no_change(frame):
    none = frame.loc["none"]
    assert none.loc["dice with the own map", "mean"] == 1
    assert none.loc["size", "mean"] == 0
    assert none.loc["picture outside", "mean"] < 1e-3  # grey levels: roundings of another batch size
    assert none.loc["depth outside (spearman)", "mean"] == pytest.approx(1)
    assert (none["gain"].dropna() == 0).all()


def test_the_picture_outside_both_masks(frame, edited, store):
    region = (store.labels("mask", split="test").values > 0.5) | (edited.info("wanted/mask").read(range(6), {}) > 0.5)
    change = np.abs(edited.images().values.astype(float) - store.images("test").values).mean(-1)
    expected = np.mean([one[~where].mean() for one, where in zip(change, region, strict=True)])
    assert frame.loc["edit", "picture outside"]["mean"] == pytest.approx(expected, rel=1e-5)


def test_without_an_edit_as_many_cells_are_beyond_as_in_the_store(frame, edit, store):
    shares = []
    for module, step in edit.positions:
        readout = edit.readouts[module, step]
        X = store.activations(module, step=step, split="test").values.astype(np.float64)
        away = (X - readout.mean) @ pinvh(readout.covariance.astype(np.float64))
        shares.append(((away * (X - readout.mean)).sum(-1) > chi2.ppf(0.999, X.shape[-1])).mean())
    none = frame.loc["none"]
    assert none.loc["mahalanobis", "mean"] == 0
    assert none.loc["beyond", "mean"] == pytest.approx(np.mean(shares), abs=1e-2)  # activations are stored as float16
    assert frame.loc["edit", "beyond"]["gain"] > 0
    assert frame.loc["edit", "mahalanobis"]["mean"] > 1


def test_readings_follow_the_edit_and_sizes_are_those_of_its_nulls(frame):
    assert frame.loc["edit", "reading"]["mean"] > 0.8 > frame.loc["none", "reading"]["mean"]
    assert frame.loc["edit", "size"]["mean"] > 0.05


def test_from_which_step_on_the_picture_follows(frame):
    found = until_when(frame)
    assert found.index.tolist() == [0, 1]
    assert found["gain"].tolist() == [frame.loc[name, "dice"]["gain"] for name in ("edit", "from-1")]
    assert found["follows"].tolist() == [frame.loc[name, "dice"]["gain_low"] > 0 for name in ("edit", "from-1")]


def _made(**gains: tuple[float, float, float]) -> pd.DataFrame:
    rows = {(name, "dice"): dict(zip(("gain", "gain_low", "gain_high"), g, strict=True)) for name, g in gains.items()}
    frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis(["variant", "measure"])
    frame.attrs = {"metric": "dice", "target": "mask", "judge": "mask"}
    return frame


def test_causal_is_said_only_where_every_control_is_cleared():
    edit = (0.4, 0.3, 0.5)
    clear = _made(edit=edit, none=(0, 0, 0), shuffled=(0.1, 0.0, 0.2), donor=(0.6, 0.5, 0.7))
    assert effect_sentence(clear) == (
        "mask: the edit gains +0.40 (95 % interval +0.30 to +0.50) in Dice over no edit; the nearest control, "
        "shuffled, gains +0.10 (95 % interval +0.00 to +0.20). What the probe reads is causal for the picture."
    )
    met = effect_sentence(_made(edit=edit, none=(0, 0, 0), shuffled=(0.2, 0.1, 0.35)))
    assert met.endswith("and the edit’s interval doesn’t lie above it: a causal role is not shown.")
    assert "causal for the picture" not in met
    assert "nothing is said of causes" in effect_sentence(_made(edit=edit, none=(0, 0, 0)))
    few = effect_sentence(_made(edit=(0.4, -np.inf, np.inf), none=(0, 0, 0), shuffled=(0.1, -np.inf, np.inf)))
    assert few.endswith("gains +0.10 (no interval). With so few prompts nothing is shown of causes.")


@pytest.mark.parametrize(("metric", "words"), [("spearman", "Spearman’s ρ"), ("iou", "IoU"), ("my_own", "my own")])
def test_a_metric_has_its_printed_name(metric, words):
    made = _made(edit=(0.4, 0.3, 0.5), none=(0, 0, 0)).rename(index={"dice": metric})
    made.attrs = {"metric": metric, "target": "depth"}
    assert f" in {words} over no edit;" in effect_sentence(made)


def test_what_is_missing_is_said(edited, store, two, edit, tiny, tmp_path):
    with pytest.raises(InputError, match="is no edited store"):
        ldmscene.effect(store, store)
    with pytest.raises(InputError, match="is no edited store; name the edited one first"):
        ldmscene.effect(store, edited)
    with pytest.raises(UnknownNameError, match=r"no target with labels in .* \(edit\) named 'judge'"):
        ldmscene.effect(edited, store, judge="judge")
    with pytest.raises(UnknownNameError, match=r"no target with labels in .* named 'mask'"):
        ldmscene.effect(edited, two)
    half = ldmscene.intervene(
        store, edit, tmp_path / "half", controls=(), model=tiny, batch_size=3, part="1/2", progress=False
    )
    with pytest.raises(UnknownNameError, match=r"no target with labels in .* named 'mask'"):
        ldmscene.effect(half, store)


def test_gains_need_pictures_without_an_edit(store, grid, edit, tiny, tmp_path):
    alone = ldmscene.intervene(store, edit, tmp_path / "s", controls=(), model=tiny, samples=2, progress=False)
    ldmscene.label(alone, "mask", "tiny-mask", progress=False)
    found, refused = ldmscene.effect(alone, store), "gains need pictures .* the control 'none', too"
    for of in (effect_sentence, until_when):
        with pytest.raises(InputError, match=refused):
            of(found)
    with pytest.raises(InputError, match=refused):
        shown_edits(store, grid, [alone])
    code, out, err = call("effect", alone.root, store.root)
    assert code == 0, err
    assert f"{found.loc['edit', 'dice']['mean']:.3f}" in out
    assert "the control 'none', too" in out

    ldmscene.intervene(store, edit, alone.root, controls=("none",), model=tiny, samples=2, progress=False)
    ldmscene.label(ldmscene.open(alone.root), "mask", "tiny-mask", progress=False)
    (shown,) = shown_edits(store, grid, [alone.root])
    assert " (no interval) in Dice over no edit; no control was run" in shown.sentence
    assert not np.isinf(shown.effects).any(axis=None)
    assert np.isnan(shown.gains["gain_low"]).all()
    assert shown.effects.attrs["metric"] == "dice"


def test_an_edit_of_modules_that_a_grid_lacks_is_refused(store, grid, edited):
    other = grid.sel(module=[name for name in grid["module"].values if name not in edited.config["edit"]["modules"]])
    with pytest.raises(InputError, match="the grid has no module that the edit of mask changes"):
        shown_edits(store, other, [edited])
