"""Edited stores: stores like any other, equal to an independent loop, and refused in one sentence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import ldmscene
from ldmscene.edits import cell_values
from ldmscene.errors import NonfiniteError
from ldmscene.intervention.controls import controls_of
from ldmscene.store.reader import ShardArray
from tests.conftest import LAST, bare_copy, files, overflowing

STEPS = 4


def _intervene(store, edit, root, tiny, **options):
    return ldmscene.intervene(
        store, edit, root, model=tiny, **{"batch_size": 6, "controls": (), "progress": False, **options}
    )


def test_readouts_are_the_grids_probes_and_the_moments_of_its_features(store, grid, edit):
    module, step = edit.positions[-1]
    readout = edit.readouts[module, step]
    train = store.activations(module, step=step, split="train").values.astype(np.float64)
    X = train.reshape(-1, train.shape[-1])
    np.testing.assert_allclose(readout.covariance, np.cov(X.T, bias=True), rtol=1e-4, atol=1e-5)
    mask = (store.labels("mask", split="train").values > 0.5).astype(float)
    side = train.shape[1]
    share = mask.reshape(len(mask), side, 64 // side, side, 64 // side).mean((2, 4)).ravel()
    np.testing.assert_allclose(readout.cross, (X - X.mean(0)).T @ share / len(X), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(readout.coef, grid["coef"].sel(target="mask", module=module, step=step)[: X.shape[1]])
    assert set(readout.rivals) == {"depth", "shuffled"}


@pytest.mark.parametrize(("targets", "known"), [(["mask", "depth"], "position"), (["depth"], ["position", "mask"])])
def test_readouts_read_no_activation_that_an_evaluation_read(store, tmp_path, monkeypatch, targets, known):
    copy = bare_copy(store, tmp_path / "copy")
    grid = ldmscene.evaluate(copy, targets, LAST, 3, beyond=known, progress=False)
    read, paths = ShardArray.read, []
    monkeypatch.setattr(ShardArray, "read", lambda array, *what: paths.append(array.path) or read(array, *what))
    edit = ldmscene.Edit.of(grid, "depth", wanted="swap", modules=LAST, steps=3)
    assert [path for path in paths if path.startswith("activations/")] == []
    coef = grid["coef"].sel(target="depth", module=LAST, step=3)
    np.testing.assert_array_equal(edit.readouts[LAST, 3].coef, coef)


def test_strength_zero_is_no_edit_to_the_byte(store, edit, tiny, tmp_path):
    none = _intervene(store, replace(edit, strength=0.0), tmp_path / "none", tiny, modules=LAST)
    ids = none.manifest.frame["sample_id"].tolist()
    again = ldmscene.extract(tiny, store.manifest.only(ids), tmp_path / "again", LAST, steps=STEPS, batch_size=6)
    np.testing.assert_array_equal(none.images(), again.images())
    np.testing.assert_array_equal(none.latents(), again.latents())
    np.testing.assert_array_equal(none.activations(LAST), again.activations(LAST))


def test_pictures_are_those_of_a_plain_loop_with_hooks_of_its_own(store, edit, tiny, tmp_path):
    """The edit's arithmetic in numpy, hooked into diffusers' own call, in batches of one."""
    edited = _intervene(store, edit, tmp_path / "edited", tiny, batch_size=1)
    for row in edited.manifest.frame.itertuples():
        own = store.labels("mask", samples=[row.sample_id]).values[0] > 0.5
        columns = np.flatnonzero(own.any(0))
        wanted = np.roll(own, min(16, 63 - columns.max()), 1) if len(columns) else own
        ours = edited.latents(samples=[row.sample_id]).values[0]
        np.testing.assert_allclose(ours, _plain(tiny, edit, row.prompt, row.seed, wanted), atol=2e-4)


def _plain(pipeline, edit, prompt: str, seed: int, wanted: np.ndarray) -> np.ndarray:
    calls, handles, seen = dict.fromkeys(edit.modules, 0), [], []

    def hook(module):
        def change(_module, _args, output):
            step, calls[module] = calls[module], calls[module] + 1
            if step not in edit.steps:
                return None
            readout, side = edit.readouts[module, step], int(output.shape[1] ** 0.5)
            share = wanted.reshape(side, 64 // side, side, 64 // side).mean((1, 3)).ravel()
            x = output[1].double().numpy()
            sigma, w = readout.covariance.astype(np.float64), readout.coef.astype(np.float64)
            short = np.where(share >= 0.5, edit.margin, -edit.margin) - (x @ w + readout.intercept)
            new = output.clone()
            new[1] = torch.from_numpy(x + edit.strength * np.outer(short, sigma @ w / (w @ sigma @ w)))
            return new

        return change

    parts = dict(pipeline.unet.named_modules())
    handles = [parts[module].register_forward_hook(hook(module)) for module in edit.modules]
    handles.append(pipeline.unet.register_forward_pre_hook(lambda _m, args: seen.append(args[0][0].numpy().copy())))
    own = pipeline.scheduler.scale_model_input
    latents = []
    pipeline.scheduler.scale_model_input = lambda x, t: latents.append(x[:1].numpy().copy()) or own(x, t)
    try:
        pipeline.set_progress_bar_config(disable=True)
        pipeline(
            prompt, generator=torch.Generator("cpu").manual_seed(seed), num_inference_steps=STEPS, guidance_scale=7.5,
            output_type="latent",
        )  # fmt: skip
    finally:
        del pipeline.scheduler.scale_model_input
        for handle in handles:
            handle.remove()
    return np.concatenate(latents)


def test_the_probe_reads_what_was_wanted_in_the_run_itself(store, edit, tiny, tmp_path):
    once = replace(edit, strength=1.0, modules=edit.modules[-1:], steps=(1,))
    edited = _intervene(store, once, tmp_path / "edited", tiny, modules=once.modules, dtype="float32")
    readout = once.readouts[once.modules[0], 1]
    X = edited.activations(once.modules[0], step=1).values
    wanted = cell_values(edited.info("wanted/mask").read(range(len(X)), {}), X.shape[1:3], binary=True, margin=6.0)
    np.testing.assert_allclose(X @ readout.coef.astype(np.float64) + readout.intercept, wanted, atol=1e-5, rtol=0)


def test_an_edited_store_is_resumed_to_the_same_bytes(store, edit, tiny, tmp_path, monkeypatch):
    whole = _intervene(store, edit, tmp_path / "whole", tiny, batch_size=2, controls=["random:1"])
    stopped, root = 0, tmp_path / "stopped"
    from ldmscene import capture

    run = capture.run

    def fails(*args, **kwargs):
        nonlocal stopped
        stopped += 1
        if stopped == 3:
            raise KeyboardInterrupt
        return run(*args, **kwargs)

    monkeypatch.setattr(capture, "run", fails)
    with pytest.raises(KeyboardInterrupt):
        _intervene(store, edit, root, tiny, batch_size=2, controls=["random:1"])
    _intervene(store, edit, root, tiny, batch_size=2, controls=["random:1"])
    ours, theirs = ({name: data for name, data in files(one).items() if "/c." in name} for one in (whole.root, root))
    assert ours == theirs
    assert any(name.startswith("controls/random-0/") for name in ours)
    monkeypatch.setattr(capture, "run", lambda *a, **k: pytest.fail("a finished store runs no model"))
    _intervene(store, edit, root, tiny, batch_size=2, controls=["random:1"])


def test_several_writers_fill_one_store(store, edit, tiny, tmp_path):
    root, controls = tmp_path / "shared", ["random:1"]
    for part in ("1/2", "2/2"):
        _intervene(store, edit, root, tiny, batch_size=2, controls=controls, part=part)
    whole = _intervene(store, edit, tmp_path / "whole", tiny, batch_size=2, controls=controls)
    ours, theirs = ({name: data for name, data in files(one).items() if "/c." in name} for one in (root, whole.root))
    assert ours == theirs
    assert len(ldmscene.open(root / "controls" / "random-0").samples.query("complete")) == 6


@pytest.mark.parametrize("known", [32, 0])
def test_pixels_where_nothing_is_wanted_are_stored_as_such(store, edit, tiny, tmp_path, known):
    wanted = np.full((64, 64), np.nan, np.float32)
    wanted[:, :known] = 1
    made = _intervene(store, replace(edit, wanted=wanted), tmp_path / "half", tiny, samples=2)
    np.testing.assert_array_equal(made.info("wanted/mask").read([0, 1], {}), [wanted, wanted])
    assert np.isnan(made.info("edit/reading").read([0, 1], {})).all() == (known == 0)


def test_some_samples_alone(store, edit, tiny, tmp_path):
    ids = store.manifest.frame.query("split == 'test'")["sample_id"].tolist()
    for name, samples, expected in (("first", 2, ids[:2]), ("named", [ids[4]], [ids[4]])):
        made = _intervene(store, edit, tmp_path / name, tiny, samples=samples)
        assert made.manifest.frame["sample_id"].tolist() == expected


def test_maps_of_an_array_are_of_the_samples_in_the_order_in_which_these_are_asked_for(store, edit, tiny, tmp_path):
    ids, maps = (
        store.manifest.frame.query("split == 'test'")["sample_id"].tolist()[:2],
        np.zeros((2, 64, 64), np.float32),
    )
    maps[0, :, :20], maps[1, :, 40:] = 1, 1
    made = _intervene(store, replace(edit, wanted=maps), tmp_path / "edited", tiny, samples=ids[::-1])
    assert made.manifest.frame["sample_id"].tolist() == ids
    np.testing.assert_array_equal(made.info("wanted/mask").read([0, 1], {}), maps[::-1])


def test_what_overflows_is_named_once_all_controls_are_done(store, edit, tiny, tmp_path):
    bad, fine = store.manifest.frame.query("split == 'test'")["sample_id"].iloc[:2].tolist()
    seed = store.manifest.frame.set_index("sample_id")["seed"]
    options = {"modules": LAST, "controls": ("none", "random:1"), "samples": [bad, fine], "batch_size": 1}
    for _ in range(2):
        with overflowing(tiny, {int(seed[bad])}), pytest.raises(NonfiniteError) as caught:
            _intervene(store, edit, tmp_path / "s", tiny, **options)
        said = str(caught.value)
        assert said.startswith("values of 1 samples are infinite or NaN; these were not stored, all others were")
        lines = [line for line in said.splitlines() if line.startswith(f"  {bad}: {LAST}, step 0: ")]
        assert [line.partition(", under the control ")[2] for line in lines] == ["", "none", "random-0"]
        assert said.endswith("use dtype='float32' and another folder, or leave these out of intervene's samples=")
        made = ldmscene.open(tmp_path / "s")
        assert list(controls_of(made)) == ["none", "random-0"]
        for one in (made, *controls_of(made).values()):
            assert one.complete("image") == {fine}


def test_an_edit_of_which_nothing_can_be_stored_leaves_no_store_and_a_control_does_not_stop_others(
    store, edit, tiny, tmp_path
):
    one = store.manifest.frame.query("split == 'test'").iloc[0]
    options = {"modules": LAST, "samples": [one["sample_id"]]}
    with overflowing(tiny, {int(one["seed"])}), pytest.raises(NonfiniteError, match="dtype='float32'"):
        _intervene(store, edit, tmp_path / "s", tiny, controls=("none",), **options)
    assert not (tmp_path / "s").exists()
    _intervene(store, edit, tmp_path / "s", tiny, **options)
    with overflowing(tiny, {int(one["seed"])}), pytest.raises(NonfiniteError) as caught:
        _intervene(store, edit, tmp_path / "s", tiny, controls=("none", "random:1"), **options)
    assert [name in str(caught.value) for name in ("control none", "control random-0")] == [True, True]
    assert controls_of(ldmscene.open(tmp_path / "s")) == {}
