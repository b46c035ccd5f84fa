"""A store from a stranger: what it says is refused in one sentence, and nothing outside it is touched."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ldmscene.errors import CorruptError, InputError, LdmsceneError, StoreError
from ldmscene.intervention.controls import control_place
from ldmscene.store import ActivationStore, ArraySpec, arrays, layout, manifests, tables
from ldmscene.store.cache import Cache
from ldmscene.store.check import find_faults, repair
from ldmscene.store.layout import LEDGER, MANIFEST, PROBES, ROOT, TERMS, ZARR, Key
from ldmscene.store.ledger import SCHEMA, Ledger
from ldmscene.store.locations import location
from ldmscene.store.metadata import declare, read_store
from ldmscene.store.seal import seal
from ldmscene.store.shards import crc32c
from tests.store import forger, worlds
from tests.test_cli import call

ACTIVATION = layout.activation_path(worlds.MODULE)
pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another store and a diary, and the foreign store beside them."""
    found = tmp_path_factory.mktemp("users") / "home"
    worlds.make(found / "other", 2)
    worlds.make(found / "stores" / "foreign", 3)
    (found / "diary").write_text("private")
    return found


@pytest.fixture
def root(home: Path, tmp_path: Path) -> Path:
    """A store among other things of its user."""
    return shutil.copytree(home, tmp_path / "home") / "stores" / "foreign"


def _use(root: Path) -> None:
    """Each way to look at a store or to mend it; LdmsceneError is the one answer that is allowed beside a value."""
    uses: list[Callable[[], object]] = [
        lambda: ActivationStore(root)._repr_html_(),
        lambda: ActivationStore(root).activations(worlds.MODULE).values,
        lambda: ActivationStore(root).images().values,
        lambda: find_faults(root),
        lambda: declare(root, [ArraySpec(layout.label_path("new"), ("Y", "X"), (8, 8), "float32")]),
        lambda: repair(root, progress=False),
        lambda: worlds.prepare(root, 4),
    ]
    for use in uses:
        with suppress(LdmsceneError):
            use()


# --- paths ---


@pytest.mark.parametrize(
    "path",
    ["{home}/stolen", "../../stolen", f"{ZARR}/../../../stolen", f"{ZARR}/labels/../../stolen/zarr.json", "stolen",
     f"{ZARR}/activations/../x/activation/zarr.json", f"{ZARR}/image/c.0.0.0.0", "ledger/x.parquet",
     f"{ZARR}//zarr.json",
     f"{ZARR}/labels/a\nb/zarr.json", "statistics/moments/x.safetensors", "probes/grid-x.nc", ""],
)  # fmt: skip
def test_no_document_lies_elsewhere(root, path):
    home = root.parents[1]
    forger.publish(root, {path.format(home=home): b"stolen"})
    with pytest.raises(CorruptError, match="expected paths of documents that a store has"):
        ActivationStore(root)
    _use(root)
    assert not list(home.rglob("stolen*"))


@pytest.mark.parametrize("what", ["../../../other/activations.zarr/image", "/etc", "image/../../..", "a\x1b[2Jb", ""])
def test_no_row_of_the_ledger_leads_elsewhere(root, what):
    other = root.parents[1] / "other"
    before = forger.tree_hash(other)
    forger.relist(root, lambda row: row.update(what=what))
    with pytest.raises(CorruptError, match="expected the path of an array"):
        ActivationStore(root)
    (fault,) = find_faults(root)
    assert fault.what.startswith(f"{LEDGER}/")
    _use(root)
    assert forger.tree_hash(other) == before
    assert find_faults(root) == []


@pytest.mark.parametrize("path", ["", "images", "labels/", "labels/a/b", "labels/..", "previews/other", "image/", "é"])
def test_only_known_shapes_are_keys(path):
    assert not layout.is_document("manifest/\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0663.parquet")
    with pytest.raises(InputError, match="expected the path of an array"):
        Key(path)


def test_a_key_knows_its_parts():
    assert (ACTIVATION.kind, ACTIVATION.module, ACTIVATION.target) == ("activations", worlds.MODULE, "")
    both = layout.intermediate_path("noisy", "depth")
    assert (both, both.kind, both.source, both.target) == ("intermediate/noisy/depth", "intermediate", "noisy", "depth")


# --- links and devices ---


PLACES = [
    f"{LEDGER}/metadata-000001.json", MANIFEST, ROOT, f"{ZARR}/image/c.1.0.0.0", "statistics/README",
    f"{PROBES}/grid-0123456789abcdef.nc", f"{LEDGER}/0-0-00000000.parquet", "statistics/moments/x.safetensors",
    f"{ZARR}/image/.partial-0",
]  # fmt: skip


@pytest.mark.parametrize(
    "kind", ["link to a file", "hard link", "link to a device", "fifo", "dangling", "huge", "folder"]
)
@pytest.mark.parametrize("where", PLACES)
def test_what_is_no_file_is_never_read_nor_written_to(root, where, kind):
    path, diary = root / where, root.parents[1] / "diary"
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "hard link":
        os.link(diary, path)
    elif kind == "huge":
        path.touch()
        os.truncate(path, 2**42)
    else:
        path.symlink_to({"link to a file": diary, "link to a device": "/dev/zero"}.get(kind, root.parents[1] / "new"))
    _use(root)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Cache.beside(root)
    assert diary.read_text() == "private"
    assert not (root.parents[1] / "new").exists()


@pytest.mark.parametrize("folder", [LEDGER, ZARR, f"{ZARR}/image", "statistics", PROBES, f"{ZARR}/labels"])
def test_no_link_to_a_folder_is_followed(root, folder):
    """Neither to what is of the same form, nor to an empty folder."""
    outside = root.parents[1] / "outside"
    if (root / folder).exists():
        shutil.move(root / folder, outside)
    outside.mkdir(exist_ok=True)
    (root / folder).symlink_to(outside)
    before = forger.tree_hash(outside)
    _use(root)
    with pytest.raises(StoreError, match="link"):
        location(root).write(f"{folder}/x", b"")
    with pytest.raises(StoreError, match="link"):
        location(root).names(folder)
    assert forger.tree_hash(outside) == before


def test_no_control_lies_elsewhere(root):
    outside = root.parents[1] / "outside"
    outside.mkdir()
    (root / "controls").mkdir()
    (root / "controls" / "none").symlink_to(outside)
    with pytest.raises(StoreError, match="link"):
        control_place(root, "none")
    shutil.rmtree(root / "controls")
    (root / "controls").symlink_to(outside)
    with pytest.raises(StoreError, match="link"):
        control_place(root, "none")


def test_a_file_that_is_swapped_for_a_pipe_once_it_was_looked_at(root, monkeypatch):
    key, real = f"{ZARR}/image/c.0.0.0.0", os.open

    def swapped(name, *how, **where):
        if name == "c.0.0.0.0":
            (root / key).unlink()
            os.mkfifo(root / key)
        return real(name, *how, **where)

    monkeypatch.setattr(os, "open", swapped)
    with pytest.raises(CorruptError, match="a link or a device"):
        location(root).read(key)


def test_names_that_differ_in_case_alone_share_no_store(root):
    """On many disks of Macs they are one folder."""
    declare(root, [ArraySpec(layout.label_path("depth"), ("Y", "X"), (8, 8), "float32")])
    with pytest.raises(StoreError, match="labels/Depth differs from labels/depth in case alone"):
        declare(root, [ArraySpec(layout.label_path("Depth"), ("Y", "X"), (8, 8), "float32")])


def test_the_root_itself_may_be_a_link(root):
    link = root.parent / "link"
    link.symlink_to(root)
    assert ActivationStore(link).samples["complete"].all()


# --- bombs ---


def _zeros(length: int) -> dict:
    return {"shape": [length], "data_type": "float64", "node_type": "array", "zarr_format": 3}


def test_more_timesteps_than_there_are(root):
    forger.change(root, f"{ZARR}/timestep/zarr.json", lambda d: d.update(shape=[10**12]))
    with pytest.raises(CorruptError, match="a whole number from 1 to 10000, got 1000000000000"):
        ActivationStore(root)
    forger.publish(root, {f"{ZARR}/timestep/zarr.json": _zeros(9999)})
    with pytest.raises(CorruptError, match="expected 3 steps"):
        ActivationStore(root)


def _grow(path: str, axis: int, length: int) -> Callable[[Path], None]:
    def edit(found: dict) -> None:
        found["shape"][axis] = length
        found["chunk_grid"]["configuration"]["chunk_shape"][axis] = length if axis else 1
        inner = found["codecs"][0]["configuration"]["chunk_shape"]
        inner[axis] = 1 if inner[axis] == 1 else length

    return lambda root: forger.change(root, path, edit)


@pytest.mark.parametrize(
    "edit",
    [_grow(forger.ARRAY, 1, 10**9), _grow(forger.ARRAY, 1, 4), _grow(forger.IMAGE, 1, 2**31 - 1),
     _grow(forger.IMAGE, 2, 2**31 - 1), _grow(forger.IMAGE, 0, 10**9), _grow(forger.IMAGE, 1, 0),
     _grow(forger.ARRAY, 5, 2**40)],
)  # fmt: skip
def test_shapes_that_nobody_has(root, edit):
    edit(root)
    with pytest.raises(CorruptError, match="expected"):
        ActivationStore(root)
    _use(root)


def test_many_rows_in_few_bytes(root):
    columns = {"sample_id": ["a"] * 10**6, "what": ["image"] * 10**6}
    zeros = np.zeros(10**6)
    table = pa.table([pa.array(columns.get(f.name, zeros)).cast(f.type) for f in SCHEMA], schema=SCHEMA)
    forger.write_ledger(root, table)
    with pytest.raises(CorruptError, match=r"rows in \d+ bytes"):
        ActivationStore(root)
    _use(root)
    assert find_faults(root) == []


@pytest.mark.parametrize("codec", ["zstd", "gzip", "brotli"])
def test_codecs_that_spread_without_bound(root, codec):
    forger.write_ledger(root, pa.Table.from_pylist(forger.rows(root), schema=SCHEMA), compression=codec)
    with pytest.raises(CorruptError, match=f"UNCOMPRESSED or SNAPPY, got '{codec.upper()}'"):
        ActivationStore(root)
    _use(root)


READ = """
import sys
import pyarrow as pa
from ldmscene.device import peak_memory
from ldmscene.errors import CorruptError
from ldmscene.store import tables
data, schema = open(sys.argv[1], "rb").read(), pa.schema([("text", pa.string())])
before = peak_memory()
try:
    tables.read(data, schema, "bomb")
except CorruptError as error:
    print(error)
print(peak_memory() - before)
"""


@pytest.mark.parametrize("field", ["uncompressed size", "values"])
def test_a_page_that_claims_to_be_huge(field, tmp_path):
    """2 GiB in a dictionary's page of half a kilobyte; read by a process that never held more before."""
    sink = pa.BufferOutputStream()
    texts = pa.table({"text": [f"text {i % 50}" for i in range(1000)]})
    pa.parquet.write_table(texts, sink)
    data = sink.getvalue().to_pybytes()
    assert tables.read(data, texts.schema, "plain").num_rows == 1000
    page = pa.parquet.ParquetFile(pa.BufferReader(data)).metadata.row_group(0).column(0).dictionary_page_offset
    (tmp_path / "bomb").write_bytes(_claiming(data, page, field))
    done = subprocess.run([sys.executable, "-c", READ, str(tmp_path / "bomb")], capture_output=True, text=True)
    said, grown = done.stdout.splitlines()
    assert re.search("bomb can't be read .*(expected size|end of stream)", said)
    assert int(grown) < 2**26


def _claiming(data: bytes, page: int, field: str) -> bytes:
    """A file whose first page's header names the largest number there is; headers are Thrift's compact protocol."""
    sizes = re.compile(rb"\x15[\x80-\xff]*[\0-\x7f]\x15([\x80-\xff]*[\0-\x7f])\x15[\x80-\xff]*[\0-\x7f]\x4c\x15")
    header = sizes.match(data, page)
    assert header is not None
    begin, end = header.span(1) if field == "uncompressed size" else (header.end(), header.end() + 1)
    return data[:begin] + b"\xfe\xff\xff\xff\x0f" + data[end:]


def test_much_text_in_few_bytes(root):
    found = worlds.plan(3).table
    long = pa.array(["x" * 10**6] * 1000)
    ids = pa.array([f"{i:x}{os.urandom(8).hex()}" for i in range(1000)])
    numbers = pa.array(range(1000), pa.int64())
    table = pa.table([ids, numbers, long, numbers, pa.array(["train"] * 1000)], names=found.column_names[:5])
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(table, sink)
    forger.publish(root, {MANIFEST: sink.getvalue().to_pybytes()})
    with pytest.raises(CorruptError, match="characters in"):
        ActivationStore(root)


def test_a_publication_that_does_not_follow(root):
    (root / LEDGER / "metadata-999999.json").write_bytes(seal(b"{}"))
    with pytest.raises(CorruptError, match=r"metadata-000002\.json and metadata-000002\.copy are both"):
        ActivationStore(root)
    _use(root)


def test_empty_publications(root):
    for number in range(2, 20_002):
        (root / LEDGER / f"metadata-{number:06d}.json").write_bytes(seal(b"{}"))
    with pytest.raises(CorruptError, match=r"metadata-019456\.json: expected documents, got 'none'"):
        ActivationStore(root)
    _use(root)


def test_holes_are_read_one_at_a_time(root):
    """Sixteen files of 256 MiB that cost nothing to send."""
    for number in range(2, 18):
        path = root / LEDGER / f"metadata-{number:06d}.json"
        path.touch()
        os.truncate(path, 2**28)
    tracemalloc.start()
    try:
        with pytest.raises(CorruptError, match=r"metadata-000002\.json and metadata-000002\.copy are both"):
            ActivationStore(root)
        assert tracemalloc.get_traced_memory()[1] < 2**29 + 2**26
    finally:
        tracemalloc.stop()


def test_more_parts_of_a_manifest_than_extensions_leave(root):
    forger.publish(root, {f"manifest/{row:09d}.parquet": b"x" for row in range(3, 1028)})
    with pytest.raises(CorruptError, match="at most 1024 parts of a manifest, got 1025"):
        ActivationStore(root)
    _use(root)


# --- what is sealed and wrong ---


def read_root(root: Path) -> bytes:
    now = read_store(root)
    assert now is not None
    return now.documents[ROOT]


def _labels(root: Path, **attributes: object) -> dict:
    """The document of labels, made from that of the pictures."""
    spec = ArraySpec(layout.label_path("x"), ("Y", "X"), (8, 8), "float32", attributes=attributes)
    return json.loads(arrays.write(spec, 3))


NESTED: object = {"deep": []}
for _ in range(200):
    NESTED = [NESTED]
SPOILT: dict[str, Callable[[Path], None]] = {
    "no format": lambda root: forger.change(root, ROOT, lambda d: d["attributes"].pop("format")),
    "format as text": lambda root: forger.change_attributes(root, format="2"),
    "format 0": lambda root: forger.change_attributes(root, format=0),
    "format as truth": lambda root: forger.change_attributes(root, format=True),
    "no attributes": lambda root: forger.publish(root, {ROOT: {}}),
    "attributes as list": lambda root: forger.publish(root, {ROOT: {"attributes": []}}),
    "root is no JSON": lambda root: forger.publish(root, {ROOT: b"\xff{"}),
    "root is nested": lambda root: forger.change_attributes(root, config={"branches": ["cond"], "x": NESTED}),
    "a number beyond all floats": lambda root: forger.publish(
        root, {f"{ZARR}/labels/x/zarr.json": _labels(root, kind="binary", threshold=10**400)}
    ),
    "a member twice": lambda root: forger.publish(root, {ROOT: b'{"attributes": 1, ' + read_root(root)[1:]}),
    "root has half a character": lambda root: forger.change_attributes(root, model="\ud800"),
    "fingerprint": lambda root: forger.change_attributes(root, fingerprint="\x1b]0;owned\x07"),
    "no branches": lambda root: forger.change_attributes(root, config={}),
    "other branches": lambda root: forger.change_attributes(root, config={"branches": ["cond", "other"]}),
    "two branches": lambda root: forger.change_attributes(root, config={"branches": ["cond", "uncond"]}),
    "modules as text": lambda root: forger.change_attributes(root, modules="abc"),
    "modules outside": lambda root: forger.change_attributes(root, modules=["../../x"]),
    "segments": lambda root: forger.change_attributes(root, segments=[3, 1]),
    "segments beyond": lambda root: forger.change_attributes(root, segments=[10**9]),
    "made_with": lambda root: forger.change_attributes(root, made_with=[1]),
    "details": lambda root: forger.change_attributes(root, details={"a": 1}),
    "compression": lambda root: forger.change_attributes(root, compression="zip"),
    "manifest": lambda root: forger.publish(root, {MANIFEST: b"PAR1PAR1"}),
    "manifest of fewer": lambda root: forger.publish(root, manifests.write(worlds.plan(2))),
    "terms": lambda root: forger.publish(root, {TERMS: {"targets": ["../x"], "cv": 2}}),
    "terms of one fold": lambda root: forger.publish(root, {TERMS: {"targets": ["depth"], "cv": 1}}),
    "terms of many folds": lambda root: forger.publish(root, {TERMS: {"targets": ["depth"], "cv": 10**12}}),
    "dimension names null": lambda root: forger.change(root, forger.ARRAY, lambda d: d.update(dimension_names=None)),
    "a name is null": lambda root: forger.change(
        root, forger.ARRAY, lambda d: d["dimension_names"].append(None)
    ),
    "codec": lambda root: forger.change(root, forger.ARRAY, lambda d: d.update(codecs=[{"name": "zstd"}])),
    "inner codec": lambda root: forger.change(
        root, forger.ARRAY, lambda d: d["codecs"][0]["configuration"]["codecs"].insert(0, {"name": "pickle"})
    ),
    "dtype": lambda root: forger.change(root, forger.ARRAY, lambda d: d.update(data_type="string")),
    "object dtype": lambda root: forger.change(root, forger.ARRAY, lambda d: d.update(data_type={"name": "object"})),
    "no shape": lambda root: forger.change(root, forger.ARRAY, lambda d: d.update(shape=[])),
    "a group": lambda root: forger.publish(root, {forger.ARRAY: {"zarr_format": 3, "node_type": "group"}}),
    "an image of floats": lambda root: forger.change(root, forger.IMAGE, lambda d: d.update(data_type="float16")),
    "publication is a list": lambda root: forger.publish_raw(root, "[]", 2),
    "publication holds numbers": lambda root: forger.publish_raw(root, f'{{"{MANIFEST}": 1}}', 2),
    "publication is no base64": lambda root: forger.publish_raw(root, f'{{"{MANIFEST}": "?"}}', 2),
    "publication is deep": lambda root: forger.publish_raw(root, "[" * 100_000, 2),
    "publication is a long number": lambda root: forger.publish_raw(root, '{"a": ' + "9" * 10_000 + "}", 2),
}  # fmt: skip


@pytest.mark.parametrize("how", SPOILT)
def test_what_is_sealed_and_wrong_is_refused_in_one_sentence(root, how):
    SPOILT[how](root)
    with pytest.raises(CorruptError, match=r"expected|can't be read") as caught:
        ActivationStore(root)
    assert str(caught.value).count("\n") == 0
    assert len(str(caught.value)) < 600
    assert "metadata-*.json" in {fault.what.rpartition("/")[2] for fault in find_faults(root)}
    _use(root)


@pytest.mark.parametrize("without", [ROOT, MANIFEST, f"{ZARR}/timestep/zarr.json"])
def test_documents_that_every_store_has(root, tmp_path, without):
    now = read_store(root)
    bare = tmp_path / "bare"
    (bare / LEDGER).mkdir(parents=True)
    forger.publish(bare, {path: data for path, data in now.documents.items() if path != without})
    with pytest.raises(CorruptError, match=f"expected a document {without}"):
        ActivationStore(bare)
    _use(bare)


@pytest.mark.parametrize(
    ("column", "value"),
    [("bytes", -5), ("bytes", 2**62), ("nonfinite", -1), ("written", float("nan")), ("written", -1.0),
     ("written", 1e300), ("sample_id", "../x"), ("sample_id", "\x1b[31m"), ("sample_id", "x" * 1000)],
)  # fmt: skip
def test_rows_out_of_range_are_found_and_cost_no_sample(root, column, value):
    forger.relist(root, lambda row: row.update({column: value}))
    with pytest.raises(CorruptError, match=f"{column}: expected"):
        ActivationStore(root)
    assert [fault.what.partition("/")[0] for fault in find_faults(root)] == [LEDGER]
    repair(root, progress=False)
    assert ActivationStore(root).samples["complete"].all()


def test_nothing_is_written_after_the_last_moment_that_can_be_read(root):
    """Rows that nobody could read would be set aside by `repair`, and labels with them."""
    forger.relist(root, lambda row: row.update(written=1e11))
    store = worlds.prepare(root, 4)
    with pytest.raises(StoreError, match="the year 5138"):
        worlds.fill(store, [3])
    assert ActivationStore(root).samples["complete"].tolist() == [True] * 3 + [False]


def test_rows_of_samples_and_arrays_that_are_not_there(root):
    forger.relist(root, lambda row: row.update(sample_id="nobody"))
    forger.relist(root, lambda row: row.update(what="labels/none"), which=3)
    assert len(ActivationStore(root).ledger) == 7
    assert {fault.why for fault in find_faults(root)} == {
        "is not in the manifest", "is of an array that the store doesn't have",
    }  # fmt: skip
    _use(root)


def test_a_sample_that_counts_as_dropped_without_statistics(root):
    row = forger.relist(root, lambda row: row.update(bytes=0))
    (fault,) = find_faults(root)
    assert (fault.sample_id, fault.why) == (
        row["sample_id"],
        "counts as dropped, and the store keeps no statistics of it",
    )


def _reindexed(data: bytes, index: int, entry: tuple[int, int], counts: int) -> bytes:
    """A shard of which one index entry is another, sealed anew."""
    body = bytearray(data[-16 * counts - 4 : -4])
    body[16 * index : 16 * index + 16] = np.array(entry, "<u8").tobytes()
    return data[: -16 * counts - 4] + body + crc32c(bytes(body)).to_bytes(4, "little")


@pytest.mark.parametrize("compression", ["none", "lossless"])
@pytest.mark.parametrize(
    "entry", [(2**63, 196), (2**64 - 1, 2**64 - 1), (0, 0), (0, 2**40), (600, 196), (3, 196), (0, 197), (196, 196)]
)
def test_bad_offsets_are_found_even_where_the_row_matches(tmp_path, entry, compression):
    root = worlds.make(tmp_path / "s", 2, compression).root
    file = ActivationStore(root).info(ACTIVATION).file(0)
    data = _reindexed(file.read_bytes(), 0, entry, 3)
    file.write_bytes(data)
    which = next(i for i, row in enumerate(forger.rows(root)) if row["what"] == ACTIVATION)
    forger.relist(root, lambda row: row.update(crc32=zlib.crc32(data), bytes=len(data)), which)
    sample_id = forger.rows(root)[which]["sample_id"]
    found = [fault for fault in find_faults(root) if fault.sample_id == sample_id]
    assert [fault.why for fault in found] == ["matches its checksum, and its chunks don't match theirs"]
    with pytest.raises(CorruptError, match="doesn't match its checksum"):
        ActivationStore(root).info(ACTIVATION).read([0], {})


def test_nothing_steers_the_terminal(root):
    forger.change_attributes(root, model="\x1b[2J", ldmscene="\x1b]0;owned\x07")
    code, out, err = call("info", root)
    assert code == 0
    forger.change_attributes(root, fingerprint="\x1b[2J")
    for verb in ("info", "verify", "repair"):
        code, out, err = call(verb, root)
        assert code == 2
        assert "\x1b" not in out + err
        assert "Traceback" not in out + err


def test_more_than_fits_into_memory_is_refused(root, monkeypatch):
    def refuse(*_: object) -> None:
        raise MemoryError

    store = ActivationStore(root)
    monkeypatch.setattr(np, "empty", refuse)
    with pytest.raises(StoreError, match="doesn't fit into memory"):
        store.info(ACTIVATION).read([0], {})


def test_a_ledger_that_holds_something_else(root):
    forger.write_ledger(root, pa.table({"a": [1]}))
    forger.write_ledger(root, SCHEMA.empty_table().append_column("more", pa.array([], pa.int8())))
    with pytest.raises(CorruptError, match="expected one column 'sample_id'"):
        Ledger(root).rows()
    assert len(find_faults(root)) == 1
    repair(root, progress=False)
    assert find_faults(root) == []
