"""Effects: scores equal to plain numpy's, intervals paired by sample, words only where they are earned."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import pinvh
from scipy.stats import chi2

import ldmscene
from ldmscene.calls.effect import until_when
from ldmscene.calls.effect_sentence import effect_sentence, nearest_null
from ldmscene.calls.shown_edits import shown_edits
from ldmscene.errors import InputError, StoreError, UnknownNameError
from ldmscene.intervention.controls import controls_of
from ldmscene.intervention.effects import Trial
from tests.test_cli import call


@pytest.fixture(scope="module")
def frame(edited, store) -> pd.DataFrame:
    return ldmscene.effect(edited, store)


def _dice(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    both = a.sum((1, 2)) + b.sum((1, 2))
    return np.where(both > 0, 2 * (a & b).sum((1, 2)) / np.maximum(both, 1), 1.0)


def test_an_edited_store_without_activations_is_not_evaluated(edited):
    with pytest.raises(InputError, match="holds no activations; an edited store holds none unless `intervene"):
        ldmscene.evaluate(edited)


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


@pytest.fixture(scope="module")
def falling(store, grid, tiny, tmp_path_factory) -> tuple[ldmscene.ActivationStore, ldmscene.ActivationStore]:
    """A store whose depth is judged by RMSE, and an edit of it."""
    root = tmp_path_factory.mktemp("falling")
    shutil.copytree(store.root, root / "store")
    ldmscene.label(root / "store", "depth", "tiny-depth", metric="rmse", progress=False)
    edit = ldmscene.Edit.of(grid, "depth", wanted="shift:0,16", modules="best:1", steps=[0], store=root / "store")
    made = ldmscene.intervene(
        root / "store", edit, root / "edited", controls=("none",), model=tiny, batch_size=6, progress=False
    )
    return ldmscene.open(root / "store"), ldmscene.label(made, "depth", "tiny-depth", progress=False)


def test_where_less_is_better_a_gain_is_by_how_much_it_falls(falling):
    source, made = falling
    found = ldmscene.effect(made, source)
    wanted = made.info("wanted/depth").read(range(6), {})
    own = source.labels("depth", split="test").values.astype(float)
    now, before = (one.labels("depth").values.astype(float) for one in (made, controls_of(made)["none"]))
    now, before, away = (np.sqrt(((a - b) ** 2).mean((1, 2))) for a, b in ((now, wanted), (before, wanted), (now, own)))
    row = found.loc["edit", "rmse"]
    assert found.attrs["metric"] == "rmse"
    assert row["mean"] == pytest.approx(now.mean())
    assert row["gain"] == pytest.approx((before - now).mean())
    assert row["gain"] != pytest.approx(0, abs=1e-6)
    assert row["gain_low"] < row["gain"] < row["gain_high"]
    assert found.loc["none", "rmse"]["lead"] == pytest.approx((before - now).mean())
    assert found.loc["edit", "rmse with the own map"]["gain"] == pytest.approx(-away.mean(), rel=1e-3)
    trial = Trial.of(made, source, None)
    better = {
        "rmse": False,
        "rmse with the own map": False,
        "reading": False,
        "mask outside (dice)": True,
        "size": True,
    }
    assert {name: trial._higher_is_better(name) for name in better} == better
    assert found.loc["edit", "reading"]["gain"] > 0  # stored in RMSE, too: the probe reads what was wanted
    assert found.loc["edit", "picture outside"]["gain"] > 0  # no agreement: more is more


def _judged(edited, root, blind: dict[str, list[int]]) -> ldmscene.ActivationStore:
    """A copy whose judge reads what the mask's labeler does, but nothing in these pictures of these variants."""
    shutil.copytree(edited.root, root)
    made, labels = ldmscene.open(root), {}
    for variant, one in {"edit": made, **controls_of(made)}.items():
        masks = one.labels("mask").values.copy()
        masks[blind.get(variant, [])] = np.nan
        labels |= zip((picture.tobytes() for picture in one.images().values), masks, strict=True)

    def judge(pictures: np.ndarray) -> np.ndarray:
        return np.stack([labels[np.ascontiguousarray(picture).tobytes()] for picture in pictures])

    return ldmscene.label(made, "judge", judge, kind="binary", threshold=0.5, progress=False)


def test_pictures_that_the_judge_cannot_read_fall_out_of_every_variant(frame, edited, store, tmp_path):
    made = _judged(edited, tmp_path / "edited", {"edit": [0, 3], "wrong-region": [4], "random-1": range(6)})
    found, seen = ldmscene.effect(made, store, judge="judge"), [1, 2, 5]
    wanted = edited.info("wanted/mask").read(range(6), {}) > 0.5
    variants = {"edit": edited, **controls_of(edited)}
    scores = {name: _dice(one.labels("mask").values > 0.5, wanted)[seen] for name, one in variants.items()}
    for name in {"edit", "none", "shuffled", "donor"}:
        row = found.loc[name, "dice"]
        assert row["mean"] == pytest.approx(scores[name].mean())
        assert row["gain"] == pytest.approx((scores[name] - scores["none"]).mean())
        assert row["lead"] == pytest.approx((scores["edit"] - scores[name]).mean())
        assert row["samples"] == 3
    assert found.loc["edit", "dice"]["gain"] != pytest.approx(frame.loc["edit", "dice"]["gain"])
    blank = found.loc["random-1", "dice"]
    assert (blank["samples"], blank["prompts"]) == (0, 0)
    assert blank[["mean", "gain", "lead"]].isna().all()
    said = effect_sentence(found)
    assert "and random-1 could not be judged: a causal role is not shown. Dice is " in said
    assert "on those 3 of 6 pictures that can be compared, of 3 prompts, too few for an interval, judged by " in said
    assert "judge, the probe having been fitted to labels of tiny-mask." in said
    assert (found.xs("size", level="measure")["samples"] == 6).all()
    assert (frame["samples"] == 6).all()
    assert (frame["prompts"] == len(set(edited.samples["prompt"]))).all()


def test_variants_that_different_labelers_judged_are_not_compared(edited, store, tmp_path):
    shutil.copytree(edited.root, tmp_path / "edited")
    made = ldmscene.open(tmp_path / "edited")
    red, green = (lambda pictures, at=at: (pictures[..., at] > 99).astype(np.float32) for at in range(2))
    red.__qualname__, green.__qualname__ = "red", "green"
    ldmscene.label(controls_of(made)["shuffled"].root, "judge", green, kind="binary", threshold=0.5, progress=False)
    with pytest.raises(StoreError, match=r"labeler .green. there, .red. now"):
        ldmscene.label(made, "judge", red, kind="binary", threshold=0.5, progress=False)
    with pytest.raises(InputError, match="labels 'judge' of shuffled were made by green, those of the edit by red"):
        ldmscene.effect(made, store, judge="judge")


def test_labels_that_no_labeler_read_are_of_one_variant_and_called_supplied(frame, edited, store, tmp_path):
    shutil.copytree(edited.root, tmp_path / "edited")
    made = ldmscene.open(tmp_path / "edited")
    variants = {"edit": made, **controls_of(made)}
    for name, variant in variants.items():
        lacking = [other for other, one in variants.items() if "judge" not in ldmscene.open(one.root).targets]
        assert name == lacking[0]  # labels of one variant's pictures are no other's
        with pytest.raises(
            UnknownNameError, match=rf"target with labels in .* \({re.escape(name)}\) named 'judge'"
        ) as told:
            ldmscene.effect(ldmscene.open(made.root), store, judge="judge")
        advice = (
            f"{variant.root} ({name}) named 'judge'; supplied labels are of one store's pictures alone, so label this"
        )
        assert (advice in str(told.value)) is (name != "edit")
        masks = np.round(variant.labels("mask").values)
        labels = dict(zip(variant.samples["sample_id"], masks, strict=True))
        ldmscene.label(variant.root, "judge", labels, kind="binary", progress=False)
    made = ldmscene.open(made.root)
    found = ldmscene.effect(made, store, judge="judge")
    np.testing.assert_allclose(found.xs("dice", level="measure")["mean"], frame.xs("dice", level="measure")["mean"])
    trial = Trial.of(made, store, "judge")
    assert trial.judged == "judged by supplied labels, the probe having been fitted to labels of tiny-mask"
    header = {**made.config["edit"], "labels": made.info("labels/judge").attributes}
    fitted = SimpleNamespace(config={"edit": header}, info=made.info)
    again = replace(trial, variants={"edit": fitted})
    assert again.judged == "judged by supplied labels, the probe having been fitted to supplied labels"
    by_name = replace(again, judge="mask")
    assert by_name.judged == "judged by tiny-mask, the probe having been fitted to supplied labels"


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


ALL = dict.fromkeys(["random-0", "wrong-region", "other-target-depth", "worst-module"], (0.0, -0.1, 0.05))
CAUSAL = "What the probe reads is causal for the picture."
EDIT, NONE, SHUFFLED = (0.4, 0.3, 0.5), (0, 0, 0), (0.1, 0.0, 0.2)


def test_causal_is_said_only_where_every_control_is_cleared():
    clear = _made(edit=EDIT, none=NONE, shuffled=SHUFFLED, donor=(0.6, 0.5, 0.7), **ALL)
    assert effect_sentence(clear) == (
        "mask: the edit gains +0.40 (95 % interval +0.30 to +0.50) in Dice over no edit; the nearest control, "
        "shuffled, gains +0.10 (95 % interval +0.00 to +0.20). What the probe reads is causal for the picture."
    )
    met = effect_sentence(_made(edit=EDIT, none=NONE, shuffled=(0.2, 0.1, 0.35), **ALL))
    assert met.endswith("and the edit’s interval doesn’t lie above it: a causal role is not shown.")
    assert "causal for the picture" not in met
    assert "nothing is said of causes" in effect_sentence(_made(edit=EDIT, none=NONE))
    few = effect_sentence(_made(edit=(0.4, -np.inf, np.inf), none=NONE, shuffled=(0.1, -np.inf, np.inf), **ALL))
    assert few.endswith("gains +0.10 (no interval). With so few prompts nothing is shown of causes.")


def test_the_easy_control_alone_shows_no_cause_and_what_was_not_run_is_named():
    easy = effect_sentence(_made(edit=EDIT, none=NONE, **{"random-0": (0.0, -0.1, 0.1)}))
    assert easy.endswith(
        "and shuffled, the control that is hardest to beat, was not run: a causal role is not shown. "
        "Not run, and so not excluded: wrong-region, other-target and worst-module."
    )
    own = effect_sentence(_made(edit=EDIT, none=NONE, my_random=(0.1, 0.0, 0.2)))
    assert "; the nearest control, my_random, gains " in own
    assert own.endswith("Not run, and so not excluded: random, wrong-region, other-target and worst-module.")
    hard = effect_sentence(_made(edit=EDIT, none=NONE, shuffled=SHUFFLED))
    assert hard.endswith(f"{CAUSAL} Not run, and so not excluded: random, wrong-region, other-target and worst-module.")
    assert effect_sentence(_made(edit=EDIT, none=NONE)).endswith(
        "Not run, and so not excluded: shuffled, random, wrong-region, other-target and worst-module."
    )


def test_an_edit_that_does_no_better_than_none_is_not_causal():
    worse = _made(edit=(-0.1, -0.15, -0.05), none=NONE, shuffled=(-0.3, -0.5, -0.2), **{"random-0": (-0.3, -0.5, -0.2)})
    said = effect_sentence(worse)
    assert "and the edit’s own interval doesn’t lie above 0: a causal role is not shown." in said
    assert CAUSAL not in said


def test_without_intervals_the_nearest_control_is_the_one_that_gains_most():
    few = {name: (gain, -np.inf, np.inf) for name, gain in (("random-0", 0.0), ("shuffled", 0.3), ("random-1", 0.1))}
    frame = _made(edit=(0.4, -np.inf, np.inf), none=NONE, **few)
    assert nearest_null(frame) == "shuffled"
    assert "; the nearest control, shuffled, gains +0.30 (no interval). With so few" in effect_sentence(frame)


def test_a_control_that_could_not_be_judged_is_named():
    nothing = (np.nan, np.nan, np.nan)
    one = _made(edit=EDIT, none=NONE, shuffled=SHUFFLED, **ALL | {"random-0": nothing})
    assert nearest_null(one) == "shuffled"
    assert effect_sentence(one).endswith("and random-0 could not be judged: a causal role is not shown.")
    both = _made(edit=EDIT, none=NONE, shuffled=nothing, **{"random-0": nothing})
    assert nearest_null(both) == ""
    assert "in Dice over no edit, and shuffled and random-0 could not be judged: a" in effect_sentence(both)
    own = effect_sentence(_made(edit=nothing, none=NONE, shuffled=SHUFFLED, **ALL))
    assert own == "mask: the edit’s gain could not be judged, and nothing is said of causes."


def _counted(samples: int, prompts: int, total: int, **more: object) -> str:
    made = _made(edit=EDIT, none=NONE, shuffled=SHUFFLED, **ALL)
    made = made.assign(samples=samples, prompts=prompts, mean=0.98)
    made.loc["edit", "mean"] = 1.03
    made.attrs |= {"samples": total, "edit": "conditional, strength 2, in 9 modules at step 0"}
    made.attrs |= {"judged": "judged by tiny-mask, to whose labels the probe was fitted", **more}
    return effect_sentence(made)


def test_a_sentence_says_of_how_many_pictures_it_is_and_who_judged_them():
    assert _counted(24, 12, 24).endswith(
        f"gains +0.10 (95 % interval +0.00 to +0.20). {CAUSAL} Dice is 0.98 without the edit and 1.03 with it "
        "(conditional, strength 2, in 9 modules at step 0), on 24 pictures of 12 prompts, judged by tiny-mask, "
        "to whose labels the probe was fitted."
    )
    few = _counted(9, 9, 9)
    assert few.count("Student’s 98 % interval") == 2
    assert "95 %" not in few
    assert "on 3 pictures of 3 prompts, too few for an interval, judged by" in _counted(3, 3, 3)


@pytest.mark.parametrize(("compared", "causal"), [(18, True), (17, False)])
def test_where_more_than_a_tenth_of_the_pictures_fell_out_nothing_is_said_of_causes(compared, causal):
    said = _counted(compared, 17, 20)
    assert f"on those {compared} of 20 pictures that can be compared, of 17 prompts, judged by" in said
    assert (CAUSAL in said) is causal
    assert (f"and {20 - compared} of 20 pictures fell out: a causal role is not shown." in said) is not causal


def test_of_a_metric_that_falls_it_is_said_that_it_falls(falling):
    source, made = falling
    found = ldmscene.effect(made, source)
    none, edit = (f"{found.loc[name, 'rmse']['mean']:.2f}" for name in ("none", "edit"))
    said = effect_sentence(found)
    assert "the edit’s gain over no edit, by how much RMSE falls, is " in said
    assert "; no control that must not work was run, so that nothing is said of causes." in said
    assert (
        f" RMSE is {none} without the edit and {edit} with it (conditional, strength 1, in 1 module at step 0), "
        in said
    )
    assert "judged by tiny-depth, to whose labels the probe was fitted." in said
    code, out, err = call("effect", made.root, source.root)
    assert code == 0, err
    assert "gains and leads in RMSE are by how much it falls" in " ".join(out.split())


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
    with pytest.raises(
        UnknownNameError, match=r"no target with labels in .* named 'mask'; label the edited store first$"
    ):
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
    assert " (no interval) in Dice over no edit; no control that must not work was run" in shown.sentence
    assert not np.isinf(shown.effects).any(axis=None)
    assert np.isnan(shown.gains["gain_low"]).all()
    assert shown.effects.attrs["metric"] == "dice"


def test_an_edit_of_modules_that_a_grid_lacks_is_refused(store, grid, edited):
    other = grid.sel(module=[name for name in grid["module"].values if name not in edited.config["edit"]["modules"]])
    with pytest.raises(InputError, match="the grid has no module that the edit of mask changes"):
        shown_edits(store, other, [edited])
