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


def test_what_numpy_masks_has_no_label(two):
    hidden = np.arange(64) < np.arange(64)[:, None]
    mask = np.where(np.arange(64) < 32, 0, 255).astype(np.uint8) + np.zeros(SIZE, np.uint8)
    maps = {name: np.ma.masked_array(mask, hidden) for name in _maps(two)}
    ldmscene.label(two, "own", maps, kind="binary", split="train")
    np.testing.assert_array_equal(two.labels("own", split="train")[0], np.where(hidden, np.nan, mask / 255))
    ldmscene.label(two, "read", lambda images: np.ma.masked_array(images[..., 0] / 255, [hidden] * len(images)))
    np.testing.assert_array_equal(np.isnan(two.labels("read")[0]), hidden)


def test_maps_whose_axes_are_swapped_are_refused(two):
    with pytest.raises(InputError, match="expected axes sample, Y, X, got sample, X, Y; transpose them"):
        ldmscene.label(two, "own", _array(_maps(two)).transpose("sample", "X", "Y"))


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
    maps = {s: (m > m.mean() if dtype is np.bool_ else m * 3).astype(dtype) for s, m in _maps(two).items()}
    folder = _write(tmp_path / "made", maps, suffix)
    (folder / "notes.txt").write_text("not a label")
    ldmscene.label(two, "own", f"{scheme}:{folder}")
    for sample_id, expected in maps.items():
        expected = expected.astype(np.float32) / np.float32(255 if scheme == "masks" and dtype == np.uint8 else 1)
        np.testing.assert_array_equal(two.labels("own").sel(sample=sample_id), expected)
    assert two.labels("own").attrs["kind"] == kind


def test_a_mapping_of_paths_and_a_threshold(two, tmp_path):
    maps = {s: np.resize(np.array([100, 200, 50], np.uint8), SIZE) for s in _maps(two)}
    folder = _write(tmp_path / "made", maps, ".png")
    ldmscene.label(two, "own", from_files({s: folder / f"{s}.png" for s in maps}, "binary", threshold=127))
    assert two.labels("own").attrs == {"labeler": "files", "kind": "binary", "threshold": 127.0}


def _foreground(store, target="own") -> np.ndarray:
    """As `evaluate` reads a mask whose threshold isn't told."""
    return store.labels(target).values > 0.5


RAMP = np.linspace(0, 1, 64 * 64).reshape(SIZE)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64])
@pytest.mark.parametrize("form", ["files", "arrays", "labeler"])
def test_soft_masks_begin_at_half_of_their_types_range(two, tmp_path, dtype, form):
    soft = np.rint(RAMP * np.iinfo(dtype).max).astype(dtype) if dtype != np.float64 else RAMP
    maps = dict.fromkeys(_maps(two), soft)
    if form == "files":
        suffix = ".npy" if dtype == np.float64 else ".png"
        ldmscene.label(two, "own", f"masks:{_write(tmp_path / 'made', maps, suffix)}")
    elif form == "arrays":
        ldmscene.label(two, "own", maps, kind="binary")
    else:
        ldmscene.label(two, "own", lambda images: np.stack([soft] * len(images)), kind="binary")
    np.testing.assert_array_equal(_foreground(two)[0], RAMP > 0.5)
    assert two.labels("own").values.max() == 1


@pytest.mark.parametrize("top", [1, 200, 255])
def test_hard_masks_are_what_they_were(two, top):
    hard = (np.where(RAMP > 0.3, top, 0)).astype(np.uint8)
    ldmscene.label(two, "own", dict.fromkeys(_maps(two), hard), kind="binary")
    np.testing.assert_array_equal(_foreground(two)[0], RAMP > 0.3)
    ldmscene.label(two, "bare", dict.fromkeys(_maps(two), hard.astype(np.float64)), kind="binary")
    np.testing.assert_array_equal(_foreground(two, "bare"), _foreground(two))


@pytest.mark.parametrize(
    "levels", [[0, 7], [0, 1, 2], [0, 1, 255], [0.0, 1.0, 255.0], [-3.0, 0.0, 3.0], [0.0, 0.5, 1.5]]
)
def test_masks_of_unknown_range_are_refused_until_a_threshold_is_given(two, levels):
    dtype = np.uint8 if isinstance(levels[0], int) else np.float64
    mask = np.resize(levels, SIZE).astype(dtype)
    maps = dict.fromkeys(_maps(two), mask)
    with pytest.raises(InputError, match=r"as a mask, which may mean several things; say .* threshold="):
        ldmscene.label(two, "own", maps, kind="binary")
    ldmscene.label(two, "own", maps, kind="binary", threshold=0.7)
    np.testing.assert_array_equal(two.labels("own").values[0], mask)


@pytest.mark.parametrize("scheme", ["masks", "classes"])
def test_a_void_number_marks_pixels_without_label(two, tmp_path, scheme):
    palette = np.resize([0, 1, 255], SIZE).astype(np.uint8)
    folder = _write(tmp_path / "made", dict.fromkeys(_maps(two), palette), ".png")
    ldmscene.label(two, "own", f"{scheme}:{folder}", void=255)
    expected = np.resize([0, 1, np.nan], SIZE)
    np.testing.assert_array_equal(two.labels("own").values[0], expected)
    assert two.labels("own").attrs["void"] == 255
    code, _, err = call("label", two.root, "again", f"{scheme}:{folder}", "--void", 255)
    assert code == 0, err
    np.testing.assert_array_equal(ldmscene.open(two.root).labels("again").values[0], expected)


def test_a_class_that_looks_like_void_is_pointed_out(two):
    palette = np.resize([0, 1, 255], SIZE).astype(np.uint8)
    with pytest.warns(UserWarning, match="class 255, as pixels without label are often marked; if so, say void=255"):
        ldmscene.label(two, "own", dict.fromkeys(_maps(two), palette), kind="classes")
    ldmscene.label(two, "all", dict.fromkeys(_maps(two), np.arange(64 * 64).reshape(SIZE) % 256), kind="classes")


def test_label_files_are_turned_as_their_exif_says_and_hold_one_number_a_pixel(two, tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6
    first = (RAMP * 200).astype(np.uint8)
    for sample_id in _maps(two):
        Image.fromarray(first).save(tmp_path / f"{sample_id}.png", exif=turned)
    ldmscene.label(two, "own", f"files:{tmp_path}")
    np.testing.assert_array_equal(two.labels("own").values[0], np.rot90(first, -1))
    for path in tmp_path.glob("*.png"):
        Image.new("RGBA", SIZE).save(path)
    with pytest.raises(InputError, match="it holds 1 × RGBA; expected one picture of one number a pixel"):
        ldmscene.label(two, "other", f"masks:{tmp_path}")


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
        (lambda m, first: "files:", InputError, "expected 'files:FOLDER', got 'files:'"),
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
