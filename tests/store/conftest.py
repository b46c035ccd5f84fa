"""A real S3-speaking server on loopback."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from ldmscene.store import layout, objects
from ldmscene.store.ledger import Ledger
from ldmscene.store.places import Place

_NAMES = (f"case-{i}" for i in itertools.count())


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


def contents(root: Place) -> dict[str, bytes]:
    """Every file or object of a store, by its relative name; of the ledger, rows without their time."""
    found = dict(_walk(root, ""))
    return {name: data for name, data in found.items() if not name.startswith(layout.LEDGER)} | {"rows": _rows(root)}


def _walk(folder: Place, prefix: str) -> Iterator[tuple[str, bytes]]:
    for path in folder.iterdir():
        if path.is_file():
            yield prefix + path.name, path.read_bytes()
        else:
            yield from _walk(path, f"{prefix}{path.name}/")


def _rows(root: Place) -> bytes:
    rows = Ledger(root / layout.LEDGER).rows().drop(columns="written").sort_values(["sample_id", "what"])
    return rows.to_csv(index=False).encode()


def server_environment(endpoint: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "secret-of-somebody",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@pytest.fixture(params=["folder", "s3"])
def new_root(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Names an empty place of each kind that a store may lie in."""
    base = str(tmp_path) if request.param == "folder" else request.getfixturevalue("s3")
    return lambda: f"{base}/{next(_NAMES)}"


@pytest.fixture
def root(new_root: Callable[[], str]) -> str:
    return new_root()
