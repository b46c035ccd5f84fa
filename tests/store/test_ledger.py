from __future__ import annotations

import pytest

from ldmscene.errors import CorruptError
from ldmscene.store.layout import LEDGER
from ldmscene.store.ledger import Entry, Ledger


def _entry(sample: str, crc: int = 1) -> Entry:
    return Entry(sample, "image", crc, 10, 0)


def test_rows_of_several_writers_come_together(tmp_path):
    first, second = Ledger(tmp_path), Ledger(tmp_path)
    first.append([_entry("a")])
    second.append([_entry("b")])
    first.append([_entry("c")])
    assert set(Ledger(tmp_path).rows()["sample_id"]) == {"a", "b", "c"}


def test_closing_merges_a_writers_own_files_and_loses_nothing(tmp_path):
    first, second = Ledger(tmp_path), Ledger(tmp_path)
    for sample in "abc":
        first.append([_entry(sample)])
    second.append([_entry("d")])
    first.close()
    assert len(list((tmp_path / LEDGER).glob("*.parquet"))) == 2
    assert set(Ledger(tmp_path).rows()["sample_id"]) == set("abcd")


def test_a_row_that_stands_twice_counts_once_and_supersedes_what_its_writer_had_read(tmp_path, monkeypatch):
    with monkeypatch.context() as ahead:
        ahead.setattr("time.time", lambda: 4e9)
        Ledger(tmp_path).append([_entry("a", crc=1)])
    for crc in (2, 3):
        behind = Ledger(tmp_path)
        assert len(behind.rows()) == 1
        behind.append([_entry("a", crc=crc)])
        assert Ledger(tmp_path).rows()["crc32"].tolist() == [crc]


def test_rows_are_taken_away_and_those_that_come_meanwhile_stay(tmp_path, monkeypatch):
    Ledger(tmp_path).append([_entry("a"), _entry("b"), Entry("a", "latents", 1, 10, 0)])
    ledger = Ledger(tmp_path)
    write = ledger.write

    def late(table):
        Ledger(tmp_path).append([_entry("c"), _entry("a", crc=2)])
        return write(table)

    monkeypatch.setattr(ledger, "write", late)
    ledger.remove([("a", "image"), ("b", "latents")])
    rows = Ledger(tmp_path).rows()
    assert set(zip(rows["sample_id"], rows["what"], rows["crc32"], strict=True)) == {
        ("a", "latents", 1), ("b", "image", 1), ("c", "image", 1), ("a", "image", 2)
    }  # fmt: skip


def test_an_empty_folder_has_no_rows(tmp_path):
    assert Ledger(tmp_path).rows().empty


def test_a_damaged_file_is_named(tmp_path):
    Ledger(tmp_path).append([_entry("a")])
    (path,) = (tmp_path / LEDGER).glob("*.parquet")
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(CorruptError, match=path.name):
        Ledger(tmp_path).rows()
