"""Labels that were made elsewhere: arrays and files, by sample_id; and what of them is refused."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from PIL import Image

import ldmscene
from ldmscene.errors import InputError, ShapeError
from ldmscene.labelers import from_files
from tests.conftest import files
from tests.test_cli import call

SIZE = (64, 64)


def _maps(store, seed=0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {sample_id: rng.normal(size=SIZE) for sample_id in store.manifest.frame["sample_id"]}


def _array(maps: dict[str, np.ndarray], name="sample_id") -> xr.DataArray:
    coords = {name: ("sample", list(maps)) if name == "sample_id" else list(maps)}
    return xr.DataArray(np.stack(list(maps.values())), dims=("sample", "Y", "X"), coords=coords)


@pytest.mark.parametrize("form", [lambda m: m, _array, lambda m: _array(m, "sample"), lambda m: _array(m)[::-1]])
def test_arrays_meet_their_samples_by_id_whatever_their_order(two, form):
    maps = _maps(two)
    ldmscene.label(two, "own", form(maps))
    for sample_id, expected in maps.items():
        np.testing.assert_array_equal(two.labels("own").sel(sample=sample_id), expected.astype(np.float32))
    assert two.labels("own").attrs == {"labeler": "array", "kind": "continuous"}


def _write(folder, maps, suffix):
    folder.mkdir()
    for sample_id, array in maps.items():
        path = folder / f"{sample_id}{suffix}"
        np.save(path, array) if suffix == ".npy" else Image.fromarray(array).save(path)
    return folder


@pytest.mark.parametrize(
    ("suffix", "dtype", "scheme", "kind"),
    [
        (".npy", np.float64, "files", "continuous"),
        (".tif", np.float32, "files", "continuous"),
        (".png", np.uint16, "files", "continuous"),
        (".png", np.uint8, "masks", "binary"),
        (".png", np.uint8, "classes", "classes"),
        (".npy", np.bool_, "masks", "binary"),
    ],
)
def test_files_of_a_folder_are_labels_by_their_name(two, tmp_path, suffix, dtype, scheme, kind):
    maps = {s: (m * 3).astype(dtype) for s, m in _maps(two).items()}
    folder = _write(tmp_path / "made", maps, suffix)
    (folder / "notes.txt").write_text("not a label")
    ldmscene.label(two, "own", f"{scheme}:{folder}")
    for sample_id, expected in maps.items():
        np.testing.assert_array_equal(two.labels("own").sel(sample=sample_id), expected.astype(np.float32))
    assert two.labels("own").attrs["kind"] == kind


def test_a_mapping_of_paths_and_a_threshold(two, tmp_path):
    maps = {s: np.full(SIZE, 200, np.uint8) for s in _maps(two)}
    folder = _write(tmp_path / "made", maps, ".png")
    ldmscene.label(two, "own", from_files({s: folder / f"{s}.png" for s in maps}, "binary", threshold=127))
    assert two.labels("own").attrs == {"labeler": "files", "kind": "binary", "threshold": 127.0}


def test_given_labels_come_split_by_split_and_the_same_ones_again_change_nothing(two):
    maps = _maps(two)
    by_split = dict(zip(two.manifest.frame["split"], maps, strict=True))
    ldmscene.label(two, "own", {by_split["train"]: maps[by_split["train"]]}, split="train")
    ldmscene.label(two, "own", maps)
    before = files(two.root)
    ldmscene.label(two, "own", maps)
    assert files(two.root) == before
    with pytest.raises(InputError, match="has another label 'own' already"):
        ldmscene.label(two, "own", _maps(two, seed=1))
    assert files(two.root) == before


def _changed(maps, **changes):
    return {**maps, **changes}


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda m, first: _changed(m, **{first: m[first][::2]}), ShapeError, r"has shape \(32, 64\), its picture asks"),
        (lambda m, first: _changed(m, **{first: np.stack([m[first]] * 3, -1)}), ShapeError, r"\(64, 64, 3\)"),
        (lambda m, first: _changed(m, stranger=m[first]), InputError, "1 labels are of samples that the store doesn't"),
        (lambda m, first: {k: v for k, v in m.items() if k != first}, InputError, "1 samples are without a label"),
        (lambda m, first: {}, InputError, "there are none"),
        (lambda m, first: _changed(m, **{first: m[first] > 0}), InputError, "a scale, a mask or classes"),
        (lambda m, first: _changed(m, **{first: m[first] / 0}), InputError, "infinity"),
        (lambda m, first: _changed(m, **{first: np.full(SIZE, "x")}), InputError, "expected numbers"),
        (lambda m, first: np.stack(list(m.values())), InputError, "doesn't say whose labels they are"),
        (lambda m, first: _array(m).drop_vars("sample_id"), InputError, "doesn't say whose labels they are"),
        (lambda m, first: xr.concat([_array(m), _array(m)], "sample"), InputError, "two of them are of the same"),
        (lambda m, first: 7, InputError, "expected a name, a callable or labels, got int"),
        (lambda m, first: "files:nowhere", InputError, "no folder at nowhere"),
        (lambda m, first: "files:", InputError, "name a folder"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_labels_that_do_not_fit_are_refused_in_one_sentence_and_leave_no_trace(small, spoil, error, message):
    before = files(small.root)
    maps = _maps(small)
    with pytest.raises(error, match=message) as refused:
        ldmscene.label(small, "own", spoil(maps, next(iter(maps))))
    assert "\n" not in str(refused.value)
    assert files(small.root) == before


def test_files_that_are_no_labels_are_refused(small, tmp_path):
    maps = _maps(small)
    before = files(small.root)
    folder = _write(tmp_path / "made", maps, ".npy")
    first = folder / f"{next(iter(maps))}.npy"
    np.save(first, np.array([{"code": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="can't be read: Object arrays"):
        ldmscene.label(small, "own", f"files:{folder}")
    first.write_bytes(b"nonsense")
    with pytest.raises(InputError, match="can't be read"):
        ldmscene.label(small, "own", f"files:{folder}")
    Image.new("L", SIZE).save(first.with_suffix(".png"))
    with pytest.raises(InputError, match="are of the same sample"):
        ldmscene.label(small, "own", f"files:{folder}")
    with pytest.raises(InputError, match=r"no file in .* ends in"):
        ldmscene.label(small, "own", f"files:{_write(tmp_path / 'empty', {}, '.npy')}")
    with pytest.raises(InputError, match=r"no \.npy, \.png, \.tif, \.tiff file at"):
        from_files({"a": tmp_path / "a.jpg"})
    assert files(small.root) == before


def test_the_command_line_takes_files_and_what_they_mean(two, tmp_path):
    maps = {s: np.where(m > 0, 200, 0).astype(np.uint8) for s, m in _maps(two).items()}
    folder = _write(tmp_path / "made", maps, ".png")
    code, _, err = call("label", two.root, "own", f"files:{folder}", "--kind", "binary", "--threshold", 100)
    assert code == 0, err
    assert "targets own" in err
    assert ldmscene.open(two.root).labels("own").attrs == {"labeler": "files", "kind": "binary", "threshold": 100.0}
    code, _, err = call("label", two.root, "other", "masks:nowhere")
    assert code == 2
    assert "no folder at nowhere" in err
