"""Fixtures around the real embedded model; nothing here is mocked."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # tests run side by side, and threads of one would only disturb the other
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import pytest
import torch
from hypothesis import settings

import ldmscene
from ldmscene import capture, testbed
from ldmscene.manifest import Manifest, read_manifest
from ldmscene.store import objects
from ldmscene.testbed.prompts import random_prompts

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
settings.register_profile("any machine", deadline=None)  # how long an example takes depends on what else runs
settings.load_profile("any machine")
STEPS = 4
ONE_WORKER = "tests/intervention"  # whose files share edited stores, which take long to make
SLOW = 1200  # seconds after which a slow test counts as hanging, on cores that may be shared


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `--dist loadgroup` tests of one file share a worker; slow tests have more time."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW))
        file = item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(ONE_WORKER if file.startswith(f"{ONE_WORKER}/") else file))


@pytest.fixture(scope="session")
def tiny():
    """The embedded pipeline, loaded once. Tests must give it back as it was."""
    return capture.load_pipeline(testbed.MODELS["tiny-scenes"], "cpu")


def make_manifest(train: int, test: int) -> Manifest:
    prompts = random_prompts(train + test, seed=7)
    pairs = [(prompt, 100 + i) for i, prompt in enumerate(prompts)]
    return read_manifest(pairs).with_splits(["train"] * train + ["test"] * test)


@pytest.fixture(scope="session")
def manifest() -> Manifest:
    """Twenty samples: fourteen to train on, six held out."""
    return make_manifest(14, 6)


@pytest.fixture(scope="session")
def store(tiny, manifest, tmp_path_factory) -> ldmscene.ActivationStore:
    """A complete, labelled store of the manifest at four steps. Read only."""
    root = tmp_path_factory.mktemp("session") / "store"
    made = ldmscene.extract(tiny, manifest, root, steps=STEPS, batch_size=10, previews="test")
    for name in testbed.LABELERS:
        target = name.removeprefix("tiny-")
        ldmscene.label(made, target, name)
        for source in ("noisy", "predicted"):
            ldmscene.label(made, target, name, on=source, split="test")
    return made


@pytest.fixture
def two(tiny, tmp_path) -> ldmscene.ActivationStore:
    """A small store of two samples and one module that a test may break."""
    return ldmscene.extract(tiny, make_manifest(1, 1), tmp_path / "two", [FIRST], steps=2, batch_size=2)


@pytest.fixture
def ranges(monkeypatch) -> list[int]:
    """Lengths of all ranges that are read from shards."""
    preadv, lengths = os.preadv, []
    monkeypatch.setattr(os, "preadv", lambda *a: lengths.append(sum(map(len, a[1]))) or preadv(*a))
    return lengths


FIRST = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0"
LAST = "up_blocks.3.attentions.2.transformer_blocks.0.attn1.to_out.0"


@contextmanager
def overflowing(pipeline, seeds: set[int]) -> Iterator[None]:
    """The last module's output is too large for float16 in samples of these seeds."""
    batch: list[int] = []
    arguments = capture.Plan.arguments

    def watched(plan, prompts, chosen, *pictures):
        batch[:] = chosen
        return arguments(plan, prompts, chosen, *pictures)

    def inflate(_module, _args, output):
        for i, seed in enumerate(batch):
            if seed in seeds:
                output[len(batch) + i] *= 1e6  # behind the unconditional half
        return output

    handle = dict(pipeline.unet.named_modules())[LAST].register_forward_hook(inflate)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(capture.Plan, "arguments", watched)
        try:
            yield
        finally:
            handle.remove()


def files(root: Path) -> dict[str, bytes]:
    """Every file below a folder, by its relative path."""
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def bare_copy(store: ldmscene.ActivationStore, root: Path) -> ldmscene.ActivationStore:
    """The same store elsewhere, without what was computed from it."""
    return ldmscene.open(shutil.copytree(store.root, root, ignore=shutil.ignore_patterns("statistics", "probes")))


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The URL of a bucket on a server of this session's own; credentials and endpoint lie in the environment."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in server_environment(f"http://{host}:{port}").items():
            patch.setenv(name, value)
        patch.setattr(objects, "RETRY", {"max_retries": 1, "retry_timeout": timedelta(seconds=2)})
        boto3.client("s3").create_bucket(Bucket="bucket")
        yield "s3://bucket"
    server.stop()


def server_environment(endpoint: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "secret-of-somebody",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
