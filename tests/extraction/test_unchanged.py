"""A store takes no samples of a model that answers otherwise than when it was begun."""

from __future__ import annotations

import copy
from importlib.metadata import version

import pytest
import torch

import ldmscene
from ldmscene.capture.canary import PICTURE
from ldmscene.errors import FingerprintError, InputError
from ldmscene.extraction import unchanged
from tests.capture.pipelines import build
from tests.conftest import FIRST, files, make_manifest

OPTIONS = {"modules": [FIRST], "steps": 4, "batch_size": 2, "progress": False}


@pytest.fixture
def changeable(tiny):
    return tiny.__class__(**copy.deepcopy(tiny.components))


@pytest.fixture
def begun(changeable, tmp_path):
    """A store of two samples."""
    ldmscene.extract(changeable, make_manifest(2, 0), tmp_path / "s", **OPTIONS)
    return tmp_path / "s"


def test_a_model_with_a_hook_is_refused_with_where_and_what_and_nothing_is_written(begun, changeable):
    handle = changeable.unet.mid_block.register_forward_hook(lambda _module, _args, output: output * 1.1)
    before = files(begun)
    with pytest.raises(
        FingerprintError, match=r"mid_block, step 0, call 1 differs .*a forward hook of unet\.mid_block"
    ):
        ldmscene.extract(changeable, make_manifest(4, 0), begun, **OPTIONS)
    assert files(begun) == before
    handle.remove()
    assert len(ldmscene.extract(changeable, make_manifest(4, 0), begun, **OPTIONS).samples) == 4


def test_autocast_around_the_call_is_refused(begun, changeable):
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(FingerprintError, match=r"autocast to torch\.bfloat16"):
        ldmscene.extract(changeable, make_manifest(4, 0), begun, **OPTIONS)


def test_a_finished_store_asks_no_model(begun, changeable, monkeypatch):
    def called(*_args, **_kwargs):
        raise AssertionError("the model was asked")

    monkeypatch.setattr(unchanged, "canary", called)
    ldmscene.extract(changeable, make_manifest(2, 0), begun, **OPTIONS)


def test_a_seed_that_does_not_fix_the_trajectory_is_refused_before_a_store_is_made(tmp_path):
    from diffusers import FlowMatchEulerDiscreteScheduler

    pipeline = build("flux")
    noisy = FlowMatchEulerDiscreteScheduler.from_config(pipeline.scheduler.config, stochastic_sampling=True)
    with pytest.raises(InputError, match=r"a seed doesn't fix .*FlowMatchEulerDiscreteScheduler"):
        ldmscene.extract(
            pipeline, [("a cube", 1)], tmp_path / "s", steps=4, scheduler=noisy, height=32, width=32, progress=False
        )
    assert not (tmp_path / "s").exists()


def test_a_store_notes_what_its_model_answered(begun):
    store = ldmscene.open(begun)
    assert set(store.canary) == {"device", "answers"}
    assert list(store.canary["answers"])[-1] == PICTURE
    assert store.canary["device"] == f"cpu, torch {version('torch')}"
