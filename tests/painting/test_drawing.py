"""Pictures that a page shows are those of a run, and what it says of them is what others compute."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.metrics import f1_score

import ldmscene
from ldmscene import capture, testbed
from ldmscene.painting import Studio, runs
from ldmscene.painting.asked import Asked
from ldmscene.painting.drawing import draw
from ldmscene.painting.jobs import Cancelled
from ldmscene.painting.judges import Judges, wanted_map
from ldmscene.painting.offer import Offer, Paintable
from ldmscene.painting.readings import Reader, probes_of
from ldmscene.painting.script import script_of
from ldmscene.painting.telling import Teller
from tests.conftest import STEPS


@pytest.fixture
def studio(studio_on_store) -> Studio:
    return studio_on_store


@pytest.fixture(scope="module")
def sample(store):
    return store.manifest.frame.query("split == 'test'").iloc[0]


def _asked(studio: Studio, sample, **change) -> Asked:
    levels = np.zeros(studio.offer.size, np.uint8)
    levels[20:44, 30:54] = runs.TOP
    known = {
        "target": "mask", "wanted": runs.encode(levels), "rule": "conditional", "strength": 2, "steps": [0, 1],
        "modules": list(studio.offer.modules[:3]),
    }  # fmt: skip
    words = {"prompt": sample.prompt, "seed": str(sample.seed), "change": {**known, **change}}
    return Asked.of(words, studio.offer)


def _told(studio: Studio, asked: Asked) -> list[dict]:
    events: list[dict] = []
    studio.draw(asked, lambda event, **words: events.append({"event": event, **words}))
    json.dumps(events)  # all of it can be sent
    return events


def test_without_a_change_the_picture_and_its_label_are_the_stores(studio, store, sample, grid):
    own = studio._own(replace(_asked(studio, sample), change=None), _silent(studio))
    difference = np.abs(own.picture.astype(int) - store.images(samples=[sample.sample_id]).values[0])
    assert difference.max() <= 1  # the store's was drawn in a batch
    mask = store.labels("mask", samples=[sample.sample_id]).values[0] > 0.5
    assert (own.labels["mask"] != mask).mean() < 0.002


def _silent(studio: Studio):
    return Teller(studio.offer, None, studio._probes, STEPS, lambda event, **words: None)


def test_what_is_read_live_is_what_the_grids_probes_read_in_the_store(studio, store, grid, sample):
    reader = Reader(probes_of(grid, studio.offer), "cond")
    for one in studio.offer.targets:
        for step in range(STEPS):
            x = store.activations(one.best, step=step).sel(sample=sample.sample_id).values
            reader.take(one.best, step, "cond", _tensor(x))
            here = grid.sel(target=one.name, module=one.best, step=step)
            expected = x.astype(np.float64) @ here["coef"].values[: x.shape[-1]] + float(here["intercept"])
            expected = expit(expected) if one.kind == "binary" else expected
            np.testing.assert_allclose(reader.maps[one.name], expected, rtol=1e-5)


def _tensor(x: np.ndarray):
    return torch.from_numpy(np.ascontiguousarray(x))[None]


def test_each_run_is_told_step_by_step_and_the_edited_one_is_what_editing_draws(studio, store, grid, sample, tiny):
    asked = _asked(studio, sample)
    events = _told(studio, asked)
    assert asked.change is not None
    told = [(event["event"], event.get("run"), event.get("step")) for event in events]
    first = [("step", "own", STEPS - 1), ("picture", "own", None)]
    later = [
        (kind, run, step)
        for run in ("edit", "random")
        for kind, step in [*(("step", s) for s in range(STEPS)), ("picture", None)]
    ]
    assert told[-13:] == [*first, *later, ("edit", None, None)]
    changed = [event["changed"] for event in events if event.get("run") == "edit" and event["event"] == "step"]
    assert changed[0] == changed[1] != []
    assert changed[2] == changed[3] == []
    theirs = _edited_picture(store, grid, asked, tiny)
    label = testbed.LABELERS["tiny-mask"](theirs[None])["mask"][0] > 0.5
    edited = next(event for event in events if event.get("run") == "edit" and event["event"] == "picture")
    wanted = wanted_map(asked.change, studio.offer)
    assert edited["score"] == pytest.approx(f1_score(wanted.ravel() > 0, label.ravel()), abs=0.01)
    read = runs.decode(edited["masks"]["mask"], studio.offer.size) > 0
    assert (read != label).mean() < 0.005
    assert edited["size"] > 0


def _edited_picture(store, grid, asked: Asked, tiny) -> np.ndarray:
    """The script that the page offers to save, run by hand."""
    change = asked.change
    assert change is not None
    wanted = np.zeros((64, 64))
    wanted[20:44, 30:54] = 1
    edit = ldmscene.Edit.of(
        grid, "mask", wanted=wanted, modules=list(change.modules), steps=change.steps, strength=change.strength
    )
    with (
        capture.with_scheduler(tiny, store.config["scheduler"]["class"]),
        ldmscene.editing(tiny, edit, prompt=asked.prompt, seed=asked.seed),
    ):
        tiny.set_progress_bar_config(disable=True)
        generator = torch.Generator("cpu").manual_seed(asked.seed)
        picture = tiny(asked.prompt, generator=generator, num_inference_steps=STEPS, guidance_scale=7.5).images[0]
    return np.array(picture)


def test_a_random_edit_is_of_the_same_size(studio, sample):
    """At the first position alone, where both change the same activation."""
    asked = _asked(studio, sample, steps=[0], modules=list(studio.offer.modules[:1]))
    pictures = {e["run"]: e for e in _told(studio, asked) if e["event"] == "picture"}
    assert pictures["random"]["size"] == pytest.approx(pictures["edit"]["size"], rel=1e-4)
    assert pictures["random"]["picture"] != pictures["edit"]["picture"]


def test_strength_zero_is_the_own_picture(studio, sample):
    pictures = {e["run"]: e for e in _told(studio, _asked(studio, sample, strength=0)) if e["event"] == "picture"}
    assert pictures["edit"]["picture"] == pictures["own"]["picture"]
    assert pictures["edit"]["score"] == pictures["own"]["score"]


def test_depth_is_painted_by_value_and_judged_where_it_is_painted(studio, sample):
    levels = np.full(studio.offer.size, runs.UNPAINTED, np.uint8)
    levels[:8] = 200
    asked = _asked(studio, sample, target="depth", wanted=runs.encode(levels))
    pictures = {e["run"]: e for e in _told(studio, asked) if e["event"] == "picture"}
    own = studio._own(asked, _silent(studio)).labels["depth"][:8]
    depth = studio.offer.target("depth")
    wanted = depth.low + 200 / 254 * (depth.high - depth.low)
    assert pictures["own"]["score"] == pytest.approx(float(np.sqrt(((own - wanted) ** 2).mean())), rel=1e-3)


def test_it_stops_at_the_step_at_which_it_is_told_to_and_gives_the_model_back(studio, sample, tiny):
    def hooks():
        return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in tiny.unet.modules())

    before, scheduler, steps = hooks(), tiny.scheduler, []

    def tell(event, **words):
        steps.append(words.get("step"))
        if event == "step" and words["step"] == 1:
            raise Cancelled

    with pytest.raises(Cancelled):
        studio.draw(replace(_asked(studio, sample), seed=5), tell)
    assert steps == [0, 1]
    assert hooks() == before
    assert tiny.scheduler is scheduler


def test_the_python_of_an_edit_says_the_same_and_holds_hostile_words_in_quotes(studio, store, sample):
    hostile = "'''\"\"\"\n{prompt}</script>\u202e;import os"
    asked = replace(_asked(studio, sample), prompt=hostile)
    assert asked.change is not None
    found = script_of(store, asked, asked.change, studio.offer, "f")
    code, names = found["python"], {}
    assert code.isascii()
    compile(code, "drawn.py", "exec")
    start, end = code.index("nan = "), code.index("edit = ")
    exec("import numpy as np\n" + code[start:end], names)
    np.testing.assert_array_equal(names["wanted"], wanted_map(asked.change, studio.offer))
    exec(next(line for line in code.splitlines() if line.startswith("prompt, seed")), names)
    assert names["prompt"] == hostile
    assert runs.decode(found["edit"]["wanted"], (64, 64)).sum() == 24 * 24 * runs.TOP


def test_labels_of_classes_are_read_once_and_each_class_is_a_mask(monkeypatch):
    asked: list[str] = []

    def labeler(images: np.ndarray) -> np.ndarray:
        asked.append("read")
        return images[..., 0].astype(np.float32)

    monkeypatch.setattr("ldmscene.intervention.judging.resolve", lambda name, _: asked.append(name) or labeler)
    classes = tuple(Paintable(f"segments={value}", "binary", 0, 1, "a") for value in (0, 2))
    offer = Offer((*classes, Paintable("mask", "binary", 0, 1, "a")), ("a",), (0,), ("conditional",), (4, 6))
    meanings = {
        "segments": {"labeler": "own", "kind": "classes", "void": 9},
        "mask": {"labeler": "other", "threshold": 1},
    }
    judges = Judges.of(offer, meanings, None)
    picture = np.random.default_rng(0).choice([0, 1, 2, 9], (4, 6, 3)).astype(np.uint8)
    found = judges(picture).labels
    assert asked == ["own", "other", "read", "read"]
    value = picture[..., 0]
    for name, mask in {"segments=0": value == 0, "segments=2": value == 2}.items():
        np.testing.assert_array_equal(found[name], np.where(value == 9, np.nan, mask))
    np.testing.assert_array_equal(found["mask"], value > 1)


@pytest.mark.parametrize("stopped", [False, True])
def test_a_run_that_is_shown_is_as_if_it_were_not_until_it_ends(tiny, monkeypatch, stopped):
    """In between, the denoiser would be moved away and lose what it caches from step to step."""
    plan = capture.make_plan(
        tiny, modules="mid_block", steps=2, guidance_scale=3.0, negative_prompt="", height=None, width=None,
        branch="cond", dtype="float32",
    )  # fmt: skip
    told, free = [], tiny.maybe_free_model_hooks
    monkeypatch.setattr(tiny, "maybe_free_model_hooks", lambda: told.append("freed") or free())

    def show(shown):
        told.append(shown.step)
        if stopped:
            raise Cancelled

    with pytest.raises(Cancelled) if stopped else nullcontext():
        draw(plan, "a red cube", 3, probes={}, branch="cond", show=show)
    assert told[: told.index("freed")] == ([0] if stopped else [0, 1])
