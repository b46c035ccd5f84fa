"""Samples with values that are no numbers are set aside, named with what to try, and leave no empty store."""

from __future__ import annotations

import copy
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

import ldmscene
from ldmscene.errors import InputError, LdmsceneError, NonfiniteError
from ldmscene.extraction.nonfinite import Nonfinite, find_nonfinite, refuse
from ldmscene.store import Row
from tests.conftest import FIRST, make_manifest

OPTIONS = {"modules": [FIRST], "steps": 2, "batch_size": 2, "progress": False}


@contextmanager
def _blinded(pipeline, blind):
    """The autoencoder's decoder returns NaN for the latents of which `blind` says so."""

    def hide(_module, args, output):
        return torch.where(blind(args[0]), torch.full_like(output, torch.nan), output)

    handle = pipeline.vae.decoder.register_forward_hook(hide)
    try:
        yield
    finally:
        handle.remove()


def test_a_picture_that_the_autoencoder_leaves_nan_is_set_aside_and_named(tiny, tmp_path):
    manifest, seen = make_manifest(2, 0), []
    handle = tiny.vae.decoder.register_forward_hook(lambda _module, args, _output: seen.append(args[0].mean()))
    good = ldmscene.extract(tiny, manifest, tmp_path / "good", **OPTIONS)
    handle.remove()
    first, second = seen[-2:]
    middle = (first + second) / 2

    def of_the_first(latents):
        mean = latents.mean() if latents.shape[-2] == latents.shape[-1] else second  # the canary's stay
        return (mean > middle) == (first > middle)

    with _blinded(tiny, of_the_first), pytest.raises(LdmsceneError) as caught:
        ldmscene.extract(tiny, manifest, tmp_path / "s", **OPTIONS)
    bad, fine = manifest.frame["sample_id"]
    size = int(np.prod(good.images().shape[1:]))
    assert f"{bad}: image: {size} values that the autoencoder computed" in str(caught.value)
    assert "The model itself computes them" in str(caught.value)
    store = ldmscene.open(tmp_path / "s")
    assert store.samples.set_index("sample_id")["complete"].to_dict() == {bad: False, fine: True}
    np.testing.assert_array_equal(store.images().values[0], good.images().values[1])


def test_where_no_sample_is_sound_no_store_stays(tiny, tmp_path):
    everything = torch.tensor(True)
    with _blinded(tiny, lambda _latents: everything):
        with pytest.raises(NonfiniteError, match="values of 3 samples are infinite or NaN") as caught:
            ldmscene.extract(tiny, make_manifest(3, 0), tmp_path / "s", **OPTIONS)
        assert str(caught.value).endswith("allow_nonfinite=True, which extract and extract_images take")
        assert not (tmp_path / "s").exists()
        store = ldmscene.extract(tiny, make_manifest(1, 0), tmp_path / "s", allow_nonfinite=True, **OPTIONS)
    assert store.ledger.query("nonfinite > 0")["what"].tolist() == ["image"]
    assert store.ledger["nonfinite"].sum() == np.prod(store.images().shape[1:])


def test_predicted_noise_where_there_is_no_signal_is_refused_with_the_reason(tiny, tmp_path):
    pipeline = tiny.__class__(**copy.copy(tiny.components))
    zero = DDIMScheduler.from_config(
        tiny.scheduler.config, rescale_betas_zero_snr=True, timestep_spacing="trailing", prediction_type="epsilon"
    )
    with pytest.raises(InputError, match=r"at timestep 999 DDIMScheduler has no signal.*v_prediction") as caught:
        ldmscene.extract(pipeline, make_manifest(1, 0), tmp_path / "s", scheduler=zero, dtype="float32", **OPTIONS)
    assert "float32" not in str(caught.value)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("dtype", "value", "too_large"), [("float16", np.inf, True), ("float16", np.nan, False), ("float32", np.inf, False)]
)
def test_only_what_float16_cannot_hold_is_said_to_be_too_large_for_it(dtype, value, too_large):
    values = np.zeros((3, 2, 2), dtype)
    values[1, 0, 1] = value
    found = find_nonfinite(
        Row("one", 0, {"activations/conv_in/activation": values, "image": np.zeros((2, 2), "uint8")})
    )
    assert found.text == f"one: conv_in, step 1: 1 values in {dtype}"
    assert found.too_large is too_large


@pytest.mark.parametrize(
    ("too_large", "advice"), [(True, "use dtype='float32' and another folder"), (False, "Lower it")]
)
def test_a_caller_says_what_to_try_where_a_wider_store_does_not_help(too_large, advice):
    found = [Nonfinite("one", "one: conv_in", True), Nonfinite("one", "one: conv_out", too_large)]
    with pytest.raises(NonfiniteError, match=rf"(?s)^values of 1 samples .*{advice}, or leave it out$"):
        refuse(found, "float16", anew="another folder", instead="leave it out", computed="Lower it")
