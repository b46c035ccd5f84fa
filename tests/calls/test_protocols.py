"""The published experiment's settings, and that whatever the caller gives overrides them."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import ldmscene
from ldmscene import protocols
from ldmscene.calls.recognition import recognition_sentences
from ldmscene.capture import load_pipeline
from ldmscene.edits import adam
from ldmscene.errors import InputError, UnknownNameError
from ldmscene.intervention.controls import controls_of
from tests.capture.pipelines import build
from tests.conftest import FIRST, LAST, files, make_manifest
from tests.test_cli import call

OWN = {"depth": "tiny-depth", "mask": "tiny-mask", "shading": "", "class": ""}


@pytest.fixture
def published(tmp_path):
    """Prompts of the embedded world in the published form."""
    frame = make_manifest(6, 2).frame
    paths = []
    for split in ("train", "test"):
        part = frame[frame["split"] == split].rename(columns={"prompt": "prompts", "seed": "seeds"})
        part.assign(prompt_inds=part.index)[["prompts", "seeds", "prompt_inds"]].to_csv(
            tmp_path / f"{split}.csv", index=False, encoding="ISO-8859-1"
        )
        paths.append(tmp_path / f"{split}.csv")
    return paths


def test_scenes_has_the_published_settings():
    found = protocols.find("scenes")
    options = found.fill({})
    assert found.model == "CompVis/stable-diffusion-v1-4"
    assert found.labelers == {"depth": "midas", "mask": "tracer", "shading": "intrinsic", "class": "vgg16"}
    listed = ldmscene.list_modules("tiny-scenes", "self-attention")  # SD v1.4's names
    assert options["modules"] == tuple(m["module"] for m in listed)
    named = {k: options[k] for k in ("steps", "guidance_scale", "negative_prompt", "height", "width", "branch")}
    assert list(named.values()) == [15, 7.5, "", 512, 512, "cond"]


def test_scenes_edits_are_the_published_ones_with_the_closed_forms_beside_them():
    """Chen et al. (2023), section 5, and their code: intervention_binary_depth.py, intervention_continuous_depth.py."""
    modules, edits = protocols.find("scenes").options["modules"], protocols.find("scenes").edits
    assert (adam.LEARNING_RATE, adam.ITERATIONS) == (5e-3, 128)
    assert len({one.name for one in edits}) == len(edits) == 20
    for target, names, steps in (("mask", modules[7:], (0, 1, 2, 3, 4)), ("depth", modules, (0, 1, 2))):
        own = [one for one in edits if one.target == target]
        assert {(one.modules, one.steps) for one in own} == {(names, steps)}
        for rule, beside in (("adam", ()), ("conditional", ("rule:minimum-norm",))):
            shifts = [(one.wanted, one.controls) for one in own if one.rule == rule]
            nulls = ("none", "shuffled", "random:1", *beside)
            assert shifts == [(f"jump:90,120:{seed}:cut", nulls) for seed in range(5)]


def test_any_other_run_moves_each_target_and_begins_the_first_later():
    mask, depth, later = protocols.usual_edits(["mask", "depth"], modules=16, steps=15, width=64)
    assert (mask.wanted, mask.modules, mask.steps) == ("shift:0,16", "best:9", (0, 1, 2, 3, 4))
    assert depth == replace(mask, name="depth", target="depth")
    assert (later.target, later.steps, later.controls) == ("mask", tuple(range(15)), ("none", "from:3"))
    (few, _) = protocols.usual_edits(["own"], modules=2, steps=3, width=512)
    assert (few.wanted, few.modules, few.steps) == ("shift:0,128", "best:2", (0, 1, 2))


def test_edits_of_what_a_run_lacks_are_refused_before_anything_is_extracted(tmp_path):
    options = {"store": tmp_path / "s", "report": tmp_path / "r", "model": "tiny-scenes", "protocol": "scenes"}
    options |= {"labelers": OWN, "height": None, "width": None, "interventions": True}
    with pytest.raises(InputError, match=r"the edit of mask needs up_blocks.1.attentions.0.*; add it to modules="):
        ldmscene.run(make_manifest(6, 2), modules=LAST, **options)
    with pytest.raises(InputError, match="the edit of mask needs 5 steps, got 3"):
        ldmscene.run(make_manifest(6, 2), steps=3, **options)
    supplied = {"own": {name: np.zeros((64, 64)) for name in make_manifest(6, 2).frame["sample_id"]}}
    with pytest.raises(InputError, match="supplied labels can't judge them"):
        ldmscene.run(
            make_manifest(6, 2), store=tmp_path / "s", report=tmp_path / "r", labelers=supplied, interventions=True
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_published_edits_go_the_whole_path(published, tmp_path):
    words = ["--model", "tiny-scenes", "--steps", 5, "--height", 64, "--width", 64, "--interventions"]
    words += [word for target, labeler in OWN.items() for word in ("--labeler", f"{target}={labeler}")]
    words += ["--store", tmp_path / "s", "--report", tmp_path / "r", "--batch-size", 8, "--no-control"]
    run = ("run", "--protocol", "scenes", *published, *words)
    estimate = json.loads(call(*run, "--dry-run", "--json")[1])
    assert estimate["runs_of_edits"] == 2 * 2 * (5 * 4 + 5 * 5)  # samples, targets, shifts × variants of each rule
    code, _, err = call(*run, "--json")
    assert code == 0, err
    edits = {one.name: ldmscene.open(tmp_path / "s-edited" / one.name) for one in protocols.find("scenes").edits}
    stores = [found for one in edits.values() for found in (one, *controls_of(one).values())]
    assert sum(len(one.samples) for one in stores) == estimate["runs_of_edits"]
    assert sum(int(one.ledger["bytes"].sum()) for one in stores) == pytest.approx(estimate["bytes_of_edits"], rel=0.05)
    assert edits["mask-adam-0"].config["edit"]["rule"] == "adam"
    assert edits["mask-adam-0"].config["scheduler"]["class"] == "LMSDiscreteScheduler"
    page = (tmp_path / "r" / "interventions.html").read_text()
    assert all(f'id="{name}"' in page for name in edits)
    again = json.loads(call(*run, "--dry-run", "--json")[1])
    assert again["runs_of_edits"] == 0
    # Without the run: another scheduler than the pipeline's own is made again from the store's configuration.
    store = ldmscene.open(tmp_path / "s")
    grid = ldmscene.evaluate(store, ["mask"], modules=LAST, progress=False)
    edit = ldmscene.Edit.of(grid, "mask", wanted="swap", modules="best:1", steps=0)
    alone = ldmscene.intervene(store, edit, tmp_path / "alone", controls=(), model="tiny-scenes", progress=False)
    assert alone.config["scheduler"] == store.config["scheduler"]


def test_scenes_scheduler_is_the_published_one():
    scheduler = protocols.find("scenes").scheduler()
    scheduler.set_timesteps(15)
    np.testing.assert_allclose(scheduler.timesteps, np.linspace(999, 0, 15))
    alphas = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
    sigmas = np.interp(np.linspace(999, 0, 15), np.arange(1000), ((1 - alphas) / alphas) ** 0.5)
    np.testing.assert_allclose(scheduler.sigmas, [*sigmas, 0], rtol=1e-4)
    assert float(scheduler.init_noise_sigma) == pytest.approx(sigmas[0], rel=1e-4)


def test_what_is_said_overrides_the_protocol():
    given = {"depth": "tiny-depth", "shading": "", "class": None}
    found = protocols.find("scenes")
    options = found.fill({"steps": 2, "scheduler": None})
    assert protocols.completed(found.labelers, given) == {"depth": "tiny-depth", "mask": "tracer"}
    assert (options["steps"], options["scheduler"], options["guidance_scale"]) == (2, None, 7.5)
    with pytest.raises(UnknownNameError, match="scenes"):
        ldmscene.run("m.csv", store="s", report="r", protocol="scene")


def test_labels_that_are_arrays_are_labelers_too(tmp_path):
    """They are compared with nothing: an array has no single truth."""
    ids = make_manifest(6, 2).frame["sample_id"].tolist()
    maps = xr.DataArray(np.zeros((8, 64, 64), np.float32), dims=("sample", "Y", "X"), coords={"sample": ids})
    given = {"depth": maps, "mask": "", "shading": "", "class": ""}
    assert list(protocols.completed(protocols.find("scenes").labelers, given)) == ["depth"]
    arguments = {"store": tmp_path / "s", "report": tmp_path / "r", "modules": FIRST, "steps": 1, "control": False}
    found = ldmscene.run(make_manifest(6, 2), labelers={"own": maps}, dry_run=True, **arguments)
    assert found["bytes_of_labels"] == 4 * 64 * 64 * 8


def test_the_published_files_go_the_whole_path(published, tmp_path):
    words = ["--model", "tiny-scenes", "--steps", 2, "--height", 64, "--width", 64, "--modules", LAST]
    words += [word for target, labeler in OWN.items() for word in ("--labeler", f"{target}={labeler}")]
    words += ["--store", tmp_path / "s", "--report", tmp_path / "r", "--batch-size", 8, "--no-control"]
    run = ("run", "--protocol", "scenes", *published, *words)
    before = files(tmp_path)
    code, out, err = call(*run, "--dry-run", "--json")
    assert code == 0, err
    assert files(tmp_path) == before
    estimate = json.loads(out)
    code, out, err = call(*run, "--json")
    assert code == 0, err
    store = ldmscene.open(tmp_path / "s")
    assert store.config["scheduler"]["class"] == "LMSDiscreteScheduler"
    assert (store.config["steps"], store.config["guidance_scale"]) == (2, 7.5)
    assert store.manifest.frame["split"].value_counts().to_dict() == {"train": 6, "test": 2}
    assert set(store.targets) == {"depth", "mask"}
    assert estimate["bytes_of_all"] == pytest.approx(store.ledger["bytes"].sum(), rel=0.01)
    labels = store.ledger["what"].str.match("labels|intermediate")
    assert estimate["bytes_of_labels"] == pytest.approx(store.ledger["bytes"][labels].sum(), rel=0.01)


def test_a_dry_run_needs_no_labeler(tmp_path):
    manifest = make_manifest(6, 2)
    options = {"steps": 2, "modules": FIRST, "height": None, "width": None}
    found = ldmscene.run(
        manifest, store=tmp_path / "s", report="r", model="tiny-scenes", protocol="scenes", dry_run=True, **options
    )
    one = 64 * 64 * 4
    assert found["bytes_of_labels"] == 3 * one * (8 + 2 * 2 * 2)  # the classifier of whole pictures gives no map
    assert found["bytes_of_the_control"] == 3 * found["bytes_of_statistics_of_a_target"] > 0
    assert found["labelers_that_are_not_here_to_be_timed"] == "depth, mask, shading, class"
    assert found["seconds_of_labels"] == 0
    assert found["seconds_of_the_control"] == 8 * found["seconds_per_sample"]  # which has no previews
    assert found["seconds_of_all"] == found["seconds"] + found["seconds_of_the_control"]
    assert not (tmp_path / "s").exists()


def test_what_a_run_would_refuse_at_its_end_is_refused_before_it_begins(tmp_path):
    def two(images):
        return {"light": images[..., 0] / 255, "dark": 1 - images[..., 0] / 255}

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("mine")
    (tmp_path / "file").write_text("mine")
    before, store = files(tmp_path), tmp_path / "store"
    for match, options in (
        ("gives depth, not 'depht'", {"report": tmp_path / "r", "labelers": {"depht": "tiny-depth"}}),
        ("gives light, dark, not 'lite'", {"report": tmp_path / "r", "labelers": {"lite": two}}),
        ("an empty one or an earlier report, got .*mine with index.html", {"report": tmp_path / "mine"}),
        ("got the file", {"report": tmp_path / "file"}),
        ("a folder of its own", {"report": store}),
        ("a folder of its own", {"report": tmp_path / "both", "store": tmp_path / "both" / "store"}),
    ):
        with pytest.raises(InputError, match=match):
            ldmscene.run(make_manifest(6, 2), progress=False, **{"store": store, **options})
        assert files(tmp_path) == before
    with pytest.raises(InputError, match="gives depth, not 'depht'"):
        ldmscene.extract(
            "tiny-scenes",
            make_manifest(6, 2),
            store,
            LAST,
            steps=1,
            keep="statistics",
            labelers={"depht": "tiny-depth"},
        )
    assert not store.exists()


def test_what_cannot_be_run_is_refused_before_the_model_is_loaded(tmp_path):
    arguments = {"store": tmp_path / "s", "report": tmp_path / "r", "model": "nowhere/model"}
    with pytest.raises(InputError, match="8 samples are without a label 'own'"):
        ldmscene.run(make_manifest(6, 2), labelers={"own": {"stranger": np.zeros((64, 64))}}, **arguments)
    with pytest.raises(InputError, match="a run takes no keep="):
        ldmscene.run(make_manifest(6, 2), keep="statistics", **arguments)
    with pytest.raises(InputError, match="at least one that gives maps"):
        ldmscene.run(make_manifest(6, 2), labelers={"class": "vgg16"}, **arguments)
    with pytest.raises(UnknownNameError, match="nearest: tiny-depth"):
        ldmscene.run(make_manifest(6, 2), labelers={"depth": "tiny-dept"}, dry_run=True, **arguments)
    with pytest.raises(InputError, match="mean something else in beyond=; got 'position'"):
        ldmscene.run(make_manifest(6, 2), labelers={"position": "tiny-depth"}, dry_run=True, **arguments)
    assert not list(tmp_path.iterdir())


def test_modules_without_a_grid_are_refused_before_anything_is_extracted(tmp_path):
    text = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
    with pytest.raises(InputError, match=r"attn2.to_k has no \(y, x\) grid to probe"):
        ldmscene.run(make_manifest(6, 2), store=tmp_path / "s", report=tmp_path / "r", modules=[LAST, text], steps=2)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["hunyuan", "lumina"])
def test_a_model_whose_configuration_does_not_tell_its_shapes_is_run_all_the_same(name, tmp_path):
    redness = {"red": lambda images: images[..., 0] / 255}
    options = {"steps": 1, "height": 128, "width": 192, "control": False, "guidance_scale": 4.0, "batch_size": 8}
    grid, _ = ldmscene.run(
        make_manifest(6, 2), store=tmp_path / "s", report=tmp_path / "r", model=build(name), labelers=redness, **options
    )
    assert np.isfinite(grid["probe"].sel(target="red", metric="pearson")).all()


def test_two_manifests_are_a_protocols(published):
    code, _, err = call("run", *published, "--store", "s", "--report", "r")
    assert code == 2
    assert "expected one MANIFEST" in err


def test_a_dry_run_times_every_labeler_on_every_picture_it_will_read(tmp_path):
    shown = []

    def slow(images):
        shown.append(images.shape)
        time.sleep(0.05 * len(images))
        return images[..., 0] / 255

    given = {sample_id: np.zeros((64, 64)) for sample_id in make_manifest(6, 2).frame["sample_id"]}
    found = ldmscene.run(
        make_manifest(6, 2), store=tmp_path / "s", report="r", labelers={"slow": slow, "given": given}, steps=2,
        modules=FIRST, control=False, dry_run=True,
    )  # fmt: skip
    assert {shape[1:] for shape in shown} == {(64, 64, 3)}
    pictures = 8 + 2 * 2 * 2
    assert 0.05 * pictures <= found["seconds_of_labels"] < 0.2 * pictures
    assert found["seconds_of_all"] == found["seconds"] + found["seconds_of_labels"]
    assert found["bytes_of_labels"] == 4 * 64 * 64 * (pictures + 8)  # given labels are of final pictures alone
    assert "labelers_that_are_not_here_to_be_timed" not in found


class Dominant:
    """A classifier of pictures by their dominant colour."""

    def __init__(self):
        self.provenance = {"labeler": "colour", "kind": "classification", "classes": ["red", "green", "blue"]}

    def __call__(self, images):
        sums = images.astype(np.float32).sum((1, 2))
        return sums / sums.sum(-1, keepdims=True)


def test_a_classifier_is_read_on_every_picture_and_gets_no_probe(tmp_path):
    grid, _ = ldmscene.run(
        make_manifest(6, 2),
        store=tmp_path / "s",
        report=tmp_path / "r",
        labelers={"mask": "tiny-mask", "colour": Dominant()},
        modules=LAST,
        steps=2,
        batch_size=8,
        control=False,
    )
    assert grid["target"].values.tolist() == ["mask"]
    frame = ldmscene.recognition(tmp_path / "s", "colour")
    assert len(frame) == 2 * 2 * 2  # test samples, steps, sources
    assert set(frame["named"]) <= {"red", "green", "blue"}
    ldmscene.label(tmp_path / "s", "final", Dominant())  # of which nothing follows
    lines = recognition_sentences(tmp_path / "s")
    assert [line.partition(":")[0] for line in lines] == ["colour on x_t", "colour on predicted x_0"]
    for line, source in zip(lines, ("noisy", "predicted"), strict=True):
        first = frame[frame["recognised"] & (frame["source"] == source)].groupby("sample_id")["step"].min()
        assert f"from step {first.median():g} on" in line if len(first) else "never named" in line
    everywhere = ldmscene.recognition(tmp_path / "s", "colour", top=3)
    assert everywhere["recognised"].all()
    subject = {frame["sample_id"][0]: "blue"}
    assert set(ldmscene.recognition(tmp_path / "s", "colour", subjects=subject)["subject"]) == {"blue"}
    with pytest.raises(UnknownNameError, match="no class named 'bleu'; nearest: blue"):
        ldmscene.recognition(tmp_path / "s", "colour", subjects={frame["sample_id"][0]: "bleu"})
    with pytest.raises(UnknownNameError, match="no sample that was classified"):
        ldmscene.recognition(tmp_path / "s", "colour", subjects={"stranger": "blue"})
    train = ldmscene.open(tmp_path / "s").manifest.frame["sample_id"][0]  # read on its final picture only
    assert ldmscene.recognition(tmp_path / "s", "colour", subjects={train: "blue"}).empty
    with pytest.raises(UnknownNameError, match="nearest: colour"):
        ldmscene.recognition(tmp_path / "s", "color")
    with pytest.raises(InputError, match="expected 1 to 3"):
        ldmscene.recognition(tmp_path / "s", "colour", top=4)


@pytest.mark.parametrize("model", [None, "tiny-scenes", Path("tiny-scenes")])
def test_a_run_draws_with_the_embedded_model_at_its_own_guidance(tmp_path, monkeypatch, model):
    asked = []
    monkeypatch.setattr("ldmscene.calls.running.estimate", lambda options, *_: asked.append(options) or {})
    arguments = {"store": tmp_path / "s", "report": tmp_path / "r", "dry_run": True, "model": model}
    ldmscene.run(make_manifest(6, 2), **arguments)
    ldmscene.run(make_manifest(6, 2), guidance_scale=5.0, **arguments)
    assert [options.guidance_scale for options in asked] == [3.0, 5.0]


def test_a_dry_run_times_the_control_of_a_store_that_is_complete(tmp_path, monkeypatch):
    arguments = {"store": tmp_path / "s", "report": tmp_path / "r", "modules": FIRST, "steps": 1, "batch_size": 8}
    ldmscene.extract(
        "tiny-scenes", make_manifest(6, 2), tmp_path / "s", FIRST, steps=1, batch_size=8, previews="test",
        guidance_scale=3.0,  # a run's own of this model
    )  # fmt: skip
    loaded: list[tuple] = []
    monkeypatch.setattr(
        "ldmscene.capture.model.load_pipeline", lambda *a, **k: loaded.append(a) or load_pipeline(*a, **k)
    )
    found = ldmscene.run(make_manifest(6, 2), labelers={"shading": ""}, dry_run=True, interventions=True, **arguments)
    assert len(loaded) == 1  # for the extraction, the edits and the control alike
    assert (found["samples"], found["seconds_per_sample"]) == (0, 0)
    assert found["seconds_of_the_control"] > 0
    assert found["bytes_of_labels"] == 4 * 64 * 64 * 2 * (8 + 2 * 1 * 2)  # depth and mask
    assert not (tmp_path / "s-permuted").exists()


def test_recognised_is_from_the_step_on_from_which_it_lasts():
    from ldmscene.labeling.recognition import _lasting

    passed = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 0]], dtype=bool)
    expected = np.array([[0, 0, 1, 1], [0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]], dtype=bool)
    np.testing.assert_array_equal(_lasting(passed), expected)
