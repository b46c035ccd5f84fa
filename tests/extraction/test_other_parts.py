"""Modules of other parts than the denoiser, in one store with its modules: stored, read, extended, refused."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
import xarray as xr

import ldmscene
from ldmscene.capture import pictures
from ldmscene.errors import CorruptError, InputError, StoreError
from ldmscene.store import layout
from tests.conftest import files, make_manifest
from tests.store import forger

TEXT, DENOISER = "text_encoder.encoder.layers.0", "mid_block"
DECODER = ["vae.decoder.mid_block", "vae.decoder.up_blocks.1.resnets.1"]
STEPS = 3


@pytest.fixture(scope="module")
def store(tiny, tmp_path_factory):
    """Two samples, both branches."""
    root = tmp_path_factory.mktemp("parts") / "store"
    return ldmscene.extract(
        tiny, make_manifest(1, 1), root, [*DECODER, DENOISER, TEXT], steps=STEPS, branch="both", dtype="float32",
        batch_size=2,
    )  # fmt: skip


def _independent(tiny, store, names):
    """What the first sample's modules return in a call of diffusers alone: (call, …)."""
    heard = {name: [] for name in names}
    parts = {name: getattr(tiny, name.split(".")[0]).get_submodule(name.partition(".")[2]) for name in names}
    handles = [
        part.register_forward_hook(
            lambda _m, _a, out, name=name: heard[name].append((out[0] if isinstance(out, tuple) else out).detach())
        )
        for name, part in parts.items()
    ]
    sample = store.manifest.frame.iloc[0]
    tiny(
        [sample["prompt"]], negative_prompt=[""], num_inference_steps=STEPS, guidance_scale=7.5,
        generator=[torch.Generator().manual_seed(int(sample["seed"]))], output_type="np",
    )  # fmt: skip
    for handle in handles:
        handle.remove()
    return heard


def test_a_store_holds_each_module_at_its_own_step_and_both_texts_by_branch(tiny, store):
    assert store.modules == [TEXT, DENOISER, *DECODER]  # as they run
    assert [store.steps_of(name) for name in store.modules] == [[0], [0, 1, 2], [2], [2]]
    theirs = _independent(tiny, store, [TEXT])
    for branch, text in zip(("cond", "uncond"), theirs[TEXT], strict=True):
        found = store.activations(TEXT, branch=branch)
        assert found.dims == ("sample", "step", "token", "channel")
        assert found["step"].values.tolist() == [0]
        np.testing.assert_array_equal(found.values[0, 0], text[0].numpy())
    for name in DECODER:
        found = store.activations(name)
        assert found.dims == ("sample", "step", "y", "x", "channel")
        assert found["step"].values.tolist() == [STEPS - 1]
        assert store.activations(name, -1, "train").dims == ("sample", "y", "x", "channel")
    assert ldmscene.verify(store) == []


def test_a_batch_of_one_is_bit_for_bit_what_diffusers_alone_shows(tiny, store, tmp_path):
    alone = ldmscene.extract(
        tiny, store.manifest.only(store.manifest.frame["sample_id"].tolist()[:1]), tmp_path / "s", [*DECODER, TEXT],
        steps=STEPS, dtype="float32",
    )  # fmt: skip
    theirs = _independent(tiny, store, [TEXT, *DECODER])
    np.testing.assert_array_equal(alone.activations(TEXT).values[0, 0], theirs[TEXT][0][0].numpy())
    for name in DECODER:
        np.testing.assert_array_equal(alone.activations(name).values[0, 0], theirs[name][0][0].permute(1, 2, 0).numpy())


def test_what_is_not_there_is_refused_in_one_sentence(store):
    for read, message in (
        (lambda: store.activations(DECODER[0], 0), "no step 0 in vae.decoder.mid_block; its steps are 2 alone"),
        (lambda: store.activations(DECODER[0], branch="cond"), "vae.decoder.mid_block runs once for both branches"),
        (lambda: store.activations(TEXT, slice(1, 3), branch="cond"), "expected at least one of 0 alone, got none"),
        (lambda: store.torch_dataset([TEXT, DECODER[0]]), "share no step; make a dataset of each"),
        (lambda: store.torch_dataset(DECODER[0], branch="cond"), "runs once for both branches"),
    ):
        with pytest.raises(InputError, match=message):
            read()


def test_other_readers_see_axes_that_a_module_has_alone(store):
    with pytest.warns(RuntimeWarning, match="consolidated"):
        tree = xr.open_datatree(store.root / "activations.zarr", engine="zarr")
    found = tree[f"activations/{DECODER[0]}/activation"]
    assert found.dims == ("sample", "y", "x", "channel")
    assert found.attrs["step"] == STEPS - 1
    np.testing.assert_array_equal(found.values, store.activations(DECODER[0]).values[:, 0])
    own = xr.open_datatree(store.root, engine="ldmscene")[f"activations/{DECODER[0]}"]
    assert (int(own["step"]), float(own["timestep"])) == (STEPS - 1, store.timesteps[-1])


def test_rows_of_all_parts_are_served_with_where_they_come_from(store):
    fine, coarse = DECODER[1], DECODER[0]
    rows = store.torch_dataset([coarse, fine], split=None, batch=512)
    maps = {name: store.activations(name).values[:, 0] for name in DECODER}
    count = 0
    for batch in rows:
        at = {key: value.numpy() for key, value in batch["provenance"].items()}
        assert set(at["step"]) == {STEPS - 1}
        assert set(at["branch"]) == {-1}
        np.testing.assert_array_equal(batch["x"][fine].numpy(), maps[fine][at["sample"], at["y"], at["x"]])
        scale = maps[fine].shape[1] // maps[coarse].shape[1]
        wanted = maps[coarse][at["sample"], at["y"] // scale, at["x"] // scale]
        np.testing.assert_array_equal(batch["x"][coarse].numpy(), wanted)
        count += len(at["y"])
    assert count == maps[fine][..., 0].size
    mixed = next(iter(store.torch_dataset([DENOISER, coarse], split=None, normalize="standard")))
    assert set(mixed["provenance"]["step"].tolist()) == {STEPS - 1}
    assert set(mixed["provenance"]["branch"].tolist()) == {0, 1}
    texts = next(iter(store.torch_dataset(TEXT, split=None)))
    assert set(texts["provenance"]["step"].tolist()) == {0}


def test_with_previews_of_all_samples_the_decoder_has_every_step(tiny, store, tmp_path):
    asked = {"modules": [DECODER[0], DENOISER], "steps": STEPS, "dtype": "float32"}
    each = ldmscene.extract(tiny, store.manifest, tmp_path / "each", previews=True, **asked)
    assert each.steps_of(DECODER[0]) == each.steps
    found = each.activations(DECODER[0], samples=each.manifest.frame["sample_id"][0]).values[0]
    final = ldmscene.extract(tiny, store.manifest, tmp_path / "once", **asked).activations(DECODER[0]).values[0, 0]
    np.testing.assert_array_equal(found[-1], final)
    assert len({step.tobytes() for step in found}) == STEPS
    with pytest.raises(StoreError, match="holds every step, not its last step alone; ask for previews of all samples"):
        ldmscene.extract(tiny, store.manifest, each.root, **asked)


def test_what_the_decoder_draws_for_its_modules_are_the_previews(tiny, store, tmp_path, monkeypatch):
    """Pictures as large as they are decoded alone, such as Stable Diffusion's, are decoded once."""
    monkeypatch.setattr(pictures, "_PIXELS", 1)
    decode, sizes = tiny.vae.decode, []
    monkeypatch.setattr(tiny.vae, "decode", lambda z, **how: sizes.append(tuple(z.shape)) or decode(z, **how))
    asked = {"steps": STEPS, "dtype": "float32", "previews": True, "batch_size": 2}
    each = ldmscene.extract(tiny, store.manifest, tmp_path / "each", [DECODER[0]], **asked)
    assert sizes.count((1, 4, 16, 16)) == 2 * (2 * STEPS + 1)  # x_t, x_0 and the picture of two samples
    plain = ldmscene.extract(tiny, store.manifest, tmp_path / "plain", [DENOISER], **asked)
    for source in ("noisy", "predicted"):
        np.testing.assert_array_equal(each.previews(source).values, plain.previews(source).values)
    assert not np.array_equal(each.previews("predicted")[:, 0], each.previews("predicted")[:, -1])


def test_a_store_is_extended_by_other_parts_and_what_it_held_stays(tiny, store, tmp_path):
    asked = {"steps": STEPS, "branch": "both", "dtype": "float32", "batch_size": 2}
    begun = ldmscene.extract(tiny, store.manifest, tmp_path / "s", [DENOISER], **asked)
    before = {path: data for path, data in files(begun.root).items() if "/c." in path}
    told = ldmscene.extract(tiny, store.manifest, begun.root, [*DECODER, TEXT], dry_run=True, **asked)
    assert (told["samples"], told["modules"]) == (2, 3)
    extended = ldmscene.extract(tiny, store.manifest, begun.root, [*DECODER, TEXT], **asked)
    after = {path: data for path, data in files(begun.root).items() if "/c." in path}
    assert {path: after[path] for path in before} == before
    assert told["bytes"] == sum(len(data) for path, data in after.items() if path not in before)
    assert extended.modules == store.modules
    for name in [TEXT, *DECODER]:
        branch = {"branch": "cond"} if name == TEXT else {}
        np.testing.assert_array_equal(
            extended.activations(name, **branch).values, store.activations(name, **branch).values
        )


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("vae.decoder.up_block.*", r"no module of vae named 'vae.decoder.up_block.\*'; nearest: vae.decoder.up_blocks"),
        ("text_encoder.encoder.layer.0", "nearest: text_encoder.encoder.layers.0"),
        ("vae.encoder.conv_in", "vae.encoder.conv_in is never called while a picture is decoded"),
    ],
)
def test_nothing_is_written_where_a_module_is_refused(tiny, tmp_path, module, message):
    with pytest.raises(InputError, match=message) as caught:
        ldmscene.extract(tiny, make_manifest(1, 1), tmp_path / "s", module, steps=2)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "s").exists()


def test_tiles_and_supplied_pictures_are_refused(tiny, tmp_path):
    tiny.vae.enable_tiling()
    try:
        with pytest.raises(InputError, match="vae decodes in tiles"):
            ldmscene.extract(tiny, make_manifest(1, 1), tmp_path / "s", DECODER[0], steps=2)
    finally:
        tiny.vae.disable_tiling()
    supplied = np.zeros((2, 64, 64, 3), np.uint8)
    with pytest.raises(InputError, match=r"vae.decoder.mid_block: pictures are supplied, so that vae draws none"):
        ldmscene.extract_images(tiny, supplied, tmp_path / "s", DECODER[0], timesteps=[300], seeds=[1, 2])
    assert not (tmp_path / "s").exists()


def _spoil(**changed):
    return lambda found: found["attributes"].update(changed)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda found: found["attributes"].pop("step"), _spoil(step=STEPS), _spoil(step=-1), _spoil(step="2"),
        _spoil(step=True), lambda found: found.update(dimension_names=["sample", "y", "step", "channel"]),
    ],
)  # fmt: skip
def test_documents_of_modules_at_one_step_are_checked(store, tmp_path, spoil):
    root = shutil.copytree(store.root, tmp_path / "s")
    forger.change(root, f"{layout.ZARR}/activations/{DECODER[0]}/activation/zarr.json", spoil)
    with pytest.raises(CorruptError, match="expected"):
        ldmscene.open(root)
