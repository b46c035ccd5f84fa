from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldmscene.errors import ManifestError
from ldmscene.manifest import Manifest, read_manifest, read_published
from ldmscene.testbed.prompts import demo_manifest

PUBLISHED = Path(__file__).parents[2] / "shared" / "data"  # optional: the files belong to the public repository
DEMO = Path(__file__).parents[1] / "manifests" / "demo.csv"

prompts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=40)
pairs = st.lists(st.tuples(prompts, st.integers(0, 2**63 - 1)), min_size=1, max_size=20, unique=True)


@given(pairs)
def test_pairs_become_samples_in_order_with_one_split_for_each_prompt(rows):
    frame = read_manifest(rows).frame
    assert list(zip(frame["prompt"], frame["seed"], strict=True)) == rows
    told = frame[frame["prompt"].str.strip() != ""]  # samples without a prompt share nothing
    assert (told.groupby("prompt")["split"].nunique() == 1).all()
    assert frame["sample_id"].is_unique


@given(prompts.map(str.strip).filter(bool), st.integers(1, 3))
def test_prompts_that_differ_in_capitals_and_spaces_are_one_group_in_one_split(prompt, spaces):
    spelled = dict.fromkeys([prompt, prompt.replace(" ", " " * spaces), f" {prompt}\n", prompt.lower()])
    made = read_manifest([(text, 1) for text in spelled])
    assert len(set(made.groups)) == 1
    assert made.frame["split"].nunique() == 1


def test_other_words_are_other_groups():
    assert len(set(read_manifest([("a red cube", 1), ("a redcube", 1), ("a red cube, lit", 1)]).groups)) == 3


@given(pairs)
def test_a_manifest_survives_csv(rows):
    import tempfile

    made = read_manifest(rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.csv"
        made.to_csv(path)
        assert read_manifest(path).table.equals(made.table)


@pytest.mark.parametrize(("delimiter", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_another_delimiter_is_named(tmp_path, delimiter, name):
    path = tmp_path / "m.csv"
    for prompt in ("a red cube, close", "a red cube"):  # the first has more columns than the header, read by commas
        pd.DataFrame({"prompt": [prompt], "seed": [1]}).to_csv(path, sep=delimiter, index=False)
        with pytest.raises(ManifestError, match=f"seem to be set apart by {name}"):
            read_manifest(path)
    with pytest.raises(ManifestError, match=f"set apart by {name}; write commas"):
        read_manifest(path)
    assert len(read_manifest(pd.read_csv(path, sep=delimiter))) == 1  # as the message says
    path.write_text("caption\na red cube\n")
    with pytest.raises(ManifestError, match=r"it has caption$"):
        read_manifest(path)


def test_the_embedded_manifest_goes_by_its_name_where_no_file_has_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read_manifest("demo").table.equals(read_manifest(DEMO).table)
    (tmp_path / "demo").write_text("prompt,seed\na red cube,1\n")
    assert len(read_manifest("demo")) == 1


@given(pairs, pairs)
def test_extending_keeps_what_is_there_and_adds_what_is_new(first, second):
    longer = read_manifest(first).extended(read_manifest(second)).frame
    got = list(zip(longer["prompt"], longer["seed"], strict=True))
    assert got == list(dict.fromkeys([*first, *second]))


@pytest.mark.parametrize("offset", range(-2, 3))
def test_line_breaks_in_prompts_survive_where_pyarrows_blocks_meet(tmp_path, offset):
    """pyarrow reads a MiB at once and drops the LF of a CRLF between two (apache/arrow#51368)."""
    opening, block = 'prompt,seed\r\n"', 2**20
    prompts = ["a" * (block - len(opening) + offset - 1) + "\r\nb"]
    prompts.append("c" * (2 * block - len(opening) - len(prompts[0]) - len('",0\r\n"') + offset - 1) + "\r\nd")
    text = opening + '"\r\n"'.join(f'{prompt}",{i}' for i, prompt in enumerate(prompts)).replace('"\r\n"', '\r\n"')
    assert [text[i * block + offset - 1 :][:2] for i in (1, 2)] == ["\r\n", "\r\n"]
    (tmp_path / "m.csv").write_bytes(text.encode())
    assert read_manifest(tmp_path / "m.csv").pairs == list(zip(prompts, (0, 1), strict=True))


def test_the_published_files_keep_line_breaks_between_blocks_of_their_decoded_text(tmp_path):
    opening = ',prompts,seeds,prompt_inds\r\n0,"'
    prompts = ["Â" * ((2**20 - len(opening) - 1 - odd) // 2) + "a" * odd + "\r\nb" for odd in (0, 1)]
    for prompt in prompts:
        (tmp_path / "train.csv").write_bytes(f'{opening}{prompt}",1,1'.encode("latin-1"))
        (tmp_path / "test.csv").write_text(",prompts,seeds,prompt_inds\n0,other,1,2")
        assert read_published(tmp_path / "train.csv", tmp_path / "test.csv").pairs[0] == (prompt, 1)


def test_a_csv_that_is_too_large_to_be_read_at_once_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("ldmscene.manifest.files.MAX_BLOCK", 40)
    (tmp_path / "m.csv").write_text("prompt,seed\na red cube,1\n")
    with pytest.raises(ManifestError, match="Parquet"):
        read_manifest(tmp_path / "m.csv")


def test_a_parquet_file_reads_like_csv(tmp_path, manifest):
    pyarrow.parquet.write_table(manifest.table, tmp_path / "m.parquet")
    assert read_manifest(tmp_path / "m.parquet").table.equals(manifest.table)


def test_the_demo_manifest_is_what_its_code_makes_and_no_prompt_lies_in_both_splits():
    committed = read_manifest(DEMO)
    assert committed.table.equals(demo_manifest().table)
    assert committed.frame["split"].value_counts().to_dict() == {"train": 168, "test": 48, "unseen": 24}
    assert committed.frame.groupby("prompt")["split"].nunique().max() == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prompt,seed\n", "empty"),
        ("", "can't be read"),
        ("prompt\na red cube\n", "lacks the column seed"),
        ("prompt,seed\na red cube,1\na red cube,1\n", "same prompt and seed"),
        ("prompt,seed\na red cube,-1\n", "between 0 and"),
        ("prompt,seed\na red cube,1.5\n", "whole numbers"),
        ("prompt,seed\na red cube,x\n", "whole numbers"),
        ("prompt,seed,prompt_id\na red cube,1,x\n", "prompt_ids must be whole"),
        ("prompt,seed,seed\na red cube,1,2\n", "stands twice"),
        ("class,class,seed\n1,2,3\n", "stands twice"),
        ("prompt,seed,split\na red cube,1,training\n", "split must be one of"),
        ("prompt,seed,split\na red cube,1,train\na red cube,2,test\n", "more than one split"),
        ("prompt,seed,sample_id\na red cube,1,../../etc\n", "letters, digits"),
        ("prompt,seed,sample_id\na red cube,1,a\na red cube,2,a\n", "same sample_id"),
    ],
)
def test_a_bad_manifest_is_refused_with_the_reason(tmp_path, text, message):
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(ManifestError, match=message):
        read_manifest(tmp_path / "m.csv")


@pytest.mark.parametrize("column", ["Split", "SPLIT", " split", "split ", "splits", "spilt", "Splits"])
def test_a_column_that_is_spelled_otherwise_is_refused_and_not_left_out(tmp_path, column):
    """Splits were drawn, where the file or the table said others."""
    table = pd.DataFrame({"prompt": ["a red cube"], "seed": [1], column: ["test"]})
    table.to_csv(tmp_path / "m.csv", index=False)
    table.to_parquet(tmp_path / "m.parquet")
    for source in (table, tmp_path / "m.csv", tmp_path / "m.parquet"):
        with pytest.raises(ManifestError, match=f"no column of a manifest is called {column!r}; rename it to 'split'"):
            read_manifest(source)
    assert len(read_manifest(table.rename(columns={column: "Note"}))) == 1
    beside = table[["prompt", "seed"]].assign(split="test", splits="of mine")  # a note beside the splits
    assert read_manifest(beside).frame["split"].tolist() == ["test"]


@pytest.mark.parametrize(
    "columns", [["split1"], [f"split{n}" for n in range(5)], ["unsplit"], ["resplit"], ["Split_2"]]
)
def test_a_column_of_another_meaning_is_left_out(tmp_path, columns):
    table = pd.DataFrame({"prompt": ["a red cube"], "seed": [1]})
    table.assign(**dict.fromkeys(columns, "test")).to_csv(tmp_path / "m.csv", index=False)
    assert read_manifest(tmp_path / "m.csv").frame.equals(read_manifest(table).frame)


def test_errors_name_the_file_once(tmp_path):
    path = tmp_path / "mine.csv"
    for data, message in (
        (b"prompt\na red cube\n", "mine.csv: the manifest lacks the column seed"),
        (b"prompt,seed\na red cube,1\na red cube,1\n", "mine.csv: sample "),
        (b"prompt,seed\nCaf\xe9 bar,1\n", "mine.csv can't be read as csv: .*; save it as UTF-8$"),
        (
            b"prompt,seed\na red cube, big,1\n",
            "mine.csv can't be read as csv: .*; put prompts that hold a comma between",
        ),
        (b"prompt,seed\na cube,2\na red cube,1,\n", "mine.csv can't be read .*; drop the comma at the end of the row$"),
        (b"prompt,seed\n" + 30 * b"a red " + b"cube,1,\r\n", r"read .* \.\.\.; drop the comma at the end of the row$"),
        (
            b"prompt,seed\n" + 30 * b"a red " + b"cube, big,1\n",
            r"read .* \.\.\.; put prompts that hold a comma between",
        ),
        (b"prompt,seed\na red cube\n", "mine.csv can't be read as csv: .*; expected a table with the columns"),
    ):
        path.write_bytes(data)
        with pytest.raises(ManifestError, match=message) as refused:
            read_manifest(path)
        assert str(refused.value).count("mine.csv") == 1


def test_a_missing_file_is_named():
    with pytest.raises(ManifestError, match=r"no manifest at nowhere\.csv"):
        read_manifest("nowhere.csv")


@given(pairs)
def test_a_table_is_read_as_its_file_is(tmp_path_factory, pairs):
    table = pd.DataFrame(pairs, columns=["prompt", "seed"]).assign(note="of mine")
    path = tmp_path_factory.mktemp("table") / "m.parquet"
    table.to_parquet(path)
    pd.testing.assert_frame_equal(read_manifest(table).frame, read_manifest(path).frame)


def test_a_table_that_is_no_manifest_is_refused():
    with pytest.raises(ManifestError, match="lacks the column seed"):
        read_manifest(pd.DataFrame({"prompt": ["a red cube"]}))
    with pytest.raises(ManifestError, match="can't be read"):
        read_manifest(pd.DataFrame({"prompt": ["a", 1], "seed": [1, 2]}))


@pytest.mark.parametrize(
    "pairs", [["a red cube"], [("a", "1")], [("a", 1.5)], [("a", 2**63)], [("a", -1)], [("\ud800", 1)], [(1, 1)], 5]
)
def test_wrong_pairs_are_refused(pairs):
    with pytest.raises(ManifestError):
        read_manifest(pairs)


def test_a_sample_never_changes_its_split(manifest):
    swapped = manifest.with_splits(["test" if s == "train" else "train" for s in manifest.frame["split"]])
    with pytest.raises(ManifestError, match="is a train sample already"):
        manifest.extended(swapped)


def test_a_manifest_checks_itself_whoever_builds_it(manifest):
    frame = pd.concat([manifest.frame, manifest.frame])
    import pyarrow as pa

    with pytest.raises(ManifestError, match="same prompt and seed"):
        Manifest(pa.Table.from_pandas(frame, preserve_index=False))


HEAD = b"prompts,seeds,prompt_inds\n"
ROWS = {
    b'"Tart, apple",7,11\n': ("Tart, apple", 7, 11),
    b'"""36"""" Cooktop - Black""",8,12\n': ('"36"" Cooktop - Black"', 8, 12),
    b"GE\xc2\xae Washer,9,13\n": ("GEÂ® Washer", 9, 13),  # UTF-8 bytes, read as the published code read them
    b"Caf\xe9 \x96 bar,10,14\n": ("Café \x96 bar", 10, 14),  # bytes that are no UTF-8
    b"'Marvel's Show',11,15\n": ("'Marvel's Show'", 11, 15),
    b"null,12,16\n": ("null", 12, 16),
    b'"two\nlines",13,17\n': ("two\nlines", 13, 17),
}


def _published(folder: Path, train: bytes, test: bytes = HEAD + b"other,1,2\n") -> tuple[Path, Path]:
    for name, data in (("train.csv", train), ("test.csv", test)):
        (folder / name).write_bytes(data)
    return folder / "train.csv", folder / "test.csv"


def test_published_files_are_read_as_they_are(tmp_path):
    frame = read_published(*_published(tmp_path, HEAD + b"".join(ROWS))).frame
    found = list(frame[["prompt", "seed", "prompt_id"]].itertuples(index=False, name=None))
    assert found == [*ROWS.values(), ("other", 1, 2)]
    assert frame["split"].tolist() == ["train"] * len(ROWS) + ["test"]
    assert frame["sample_id"].tolist()[0] == "11-7"


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published files aren't beside the repository")
def test_the_published_samples_are_617_with_the_armchair_among_them():
    paths = (PUBLISHED / f"{split}_split_prompts_seeds.csv" for split in ("train", "test"))
    frame = read_published(*paths).frame
    assert frame["split"].value_counts().to_dict() == {"test": 371, "train": 246}
    armchair = frame[frame["prompt_id"] == 5246271].iloc[0]
    assert (armchair["prompt"], armchair["seed"]) == ("ZIGGY - EASY ARMCHAIR", 64140790)
    assert frame["prompt"].str.contains("Ã|â\x80\x93", regex=True).any()  # ISO-8859-1, as published
    assert frame["prompt"].is_unique


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (b"prompts,seeds\na,1\n", "lacks prompt_inds"),
        (HEAD + b"a,x,1\n", "can't be read as the train split"),
        (HEAD + b"a,1\n", "can't be read as the train split"),
        (HEAD + b"other,5,6\n", "more than one split"),
        (HEAD + b"a,1,6\na,1,6\n", "earlier row"),
        (HEAD + b"a,-1,6\n", "between 0 and"),
    ],
)
def test_a_bad_published_file_is_refused_with_the_reason(tmp_path, train, message):
    with pytest.raises(ManifestError, match=message):
        read_published(*_published(tmp_path, train))
    with pytest.raises(ManifestError, match="expected the train split"):
        read_published(tmp_path / "nowhere.csv", tmp_path / "test.csv")
    (tmp_path / "one.csv").write_bytes(HEAD + b"a,1,6\n")
    with pytest.raises(ManifestError, match="--protocol scenes TRAIN TEST"):
        read_manifest(tmp_path / "one.csv")


def test_groups_join_what_is_spelled_or_read_alike_and_keep_their_names_where_nothing_is_joined():
    plain = read_manifest([("b", 1), ("B", 2), ("c", 3), ("a", 4), ("d", 5)])
    assert plain.with_readings([1, 1, 2, 3, 4]).groups.tolist() == plain.groups.tolist() == ["b", "b", "c", "a", "d"]
    chained = plain.with_readings([1, 2, 2, 3, 1])  # d is read as b, B as c
    assert chained.groups.tolist() == ["b", "b", "b", "a", "b"]


def test_what_is_read_counts_only_where_it_is_known_of_all_samples():
    old, new = read_manifest([("b", 1)]), read_manifest([("a", 1)]).with_readings(["same"])
    assert "read" not in old.extended(new).frame
    assert "read" not in new.extended(old).frame
    assert old.with_readings(["same"]).extended(new).groups.tolist() == ["a", "a"]
