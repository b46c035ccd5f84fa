"""Probes of the decoder's modules: at their own steps, equal to scikit-learn's, and never in the denoiser's place."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge

import ldmscene
from ldmscene import capture
from ldmscene.errors import InputError
from ldmscene.intervention.choosing import choose_modules
from tests.conftest import make_manifest

TEXT, DENOISER = "text_encoder.encoder.layers.0", "up_blocks.2.attentions.0"
DECODER = ["vae.decoder.up_blocks.0.resnets.1", "vae.decoder.up_blocks.1.resnets.1"]
STEPS, LAST = 3, 2
ASKED = {"modules": ["mid_block", DENOISER, TEXT, *DECODER], "steps": STEPS, "batch_size": 10}


@pytest.fixture(scope="module")
def store(tiny, manifest, tmp_path_factory):
    made = ldmscene.extract(tiny, manifest, tmp_path_factory.mktemp("parts") / "store", **ASKED)
    for target in ("depth", "mask"):
        ldmscene.label(made, target, f"tiny-{target}")
    return made


@pytest.fixture(scope="module")
def grid(store):
    return ldmscene.evaluate(store, cv=3)


def test_the_decoder_has_rows_at_its_own_step_alone(store, grid):
    assert grid["module"].values.tolist() == [name for name in store.modules if name != TEXT]  # which has no map
    assert grid["block"].sel(module=DECODER).values.tolist() == ["vae", "vae"]
    for name, dims in (
        ("probe", ("metric", "sample")),
        ("explained", ("sample",)),
        ("cv_score", ()),
        ("coef", ("channel",)),
    ):
        there = grid[name].sel(target="depth", module=DECODER).notnull().any(dims)
        assert there.transpose("module", "step").values.tolist() == [[False, False, True]] * 2, name
    table = grid.to_dataframe().reset_index()
    assert set(table["step"][table["module"].isin(DECODER)]) == {LAST}
    assert set(table["step"][table["module"] == "mid_block"]) == {0, 1, 2}


def test_its_probe_is_scikit_learns_on_upsampled_features(store, grid):
    module, target = DECODER[1], "depth"
    X = store.activations(module, LAST, "train").values.astype(np.float64)
    y = store.labels(target, "train").values
    scale = y.shape[1] // X.shape[1]
    rows = X.repeat(scale, 1).repeat(scale, 2).reshape(-1, X.shape[-1])
    fit = grid.sel(target=target, module=module, step=LAST)
    theirs = Ridge(alpha=float(fit["alpha"]), solver="cholesky").fit(rows, y.reshape(-1).astype(np.float64))
    np.testing.assert_allclose(fit["coef"].values[: X.shape[-1]], theirs.coef_, rtol=1e-3, atol=1e-6)
    test = store.activations(module, LAST, "test").values.astype(np.float64)
    truth = store.labels(target, "test").values
    said = (test @ theirs.coef_ + theirs.intercept_).repeat(scale, 1).repeat(scale, 2)
    rmse = np.sqrt(((said - truth) ** 2).mean((1, 2)))
    np.testing.assert_allclose(fit["probe"].sel(metric="rmse").values, rmse, rtol=1e-4)


def test_it_never_speaks_for_a_target_beside_the_denoiser(store, grid):
    alone = ldmscene.evaluate(store, modules=["mid_block", DENOISER], cv=3)
    found, theirs = ldmscene.emergence(grid), ldmscene.emergence(alone)
    assert found["sentence"].tolist() == theirs["sentence"].tolist()
    assert (found["module"] == theirs["module"]).all()
    # It would win: it sees the picture itself.
    assert grid["gain_cv"].sel(target="mask", step=LAST).argmax("module") >= 2


def test_alone_it_speaks_of_the_only_step_that_was_looked_at(store):
    grid = ldmscene.evaluate(store, "mask", DECODER, cv=3)
    assert grid["step"].values.tolist() == [LAST]
    (said,) = ldmscene.emergence(grid)["sentence"]
    assert "readable beyond position at step 2, the only one that was looked at, with a gain of" in said
    assert "from step" not in said


def test_beyond_position_and_latent_the_decoder_has_less_left_at_its_own_step(store, grid):
    found = ldmscene.evaluate(store, "mask", ["mid_block", *DECODER], beyond=["position", "latent"], cv=3)
    there = found["explained"].sel(target="mask", module=DECODER).notnull().all("sample")
    assert there.transpose("module", "step").values.tolist() == [[False, False, True]] * 2
    left, plain = (one["left"].sel(target="mask", module=DECODER, step=LAST).sum("sample") for one in (found, grid))
    assert (left < plain).all()


def test_what_the_latent_leaves_is_scikit_learns_on_its_upsampled_channels(store):
    found = ldmscene.evaluate(store, "mask", DECODER, beyond="latent", cv=3)
    fit = LinearRegression().fit(_latents(store, "train"), _mask(store, "train"))
    held = _mask(store, "test").reshape(found.sizes["sample"], -1)
    theirs = ((fit.predict(_latents(store, "test")).reshape(held.shape) - held) ** 2).sum(1)
    for module in DECODER:
        ours = found["left"].sel(target="mask", module=module, step=LAST)
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def _latents(store, split: str) -> np.ndarray:
    """x_t (pixel, channel), repeated up to the labels."""
    x = np.moveaxis(store.latents(LAST, split).values, 1, -1)
    lift = store.labels("mask", split).shape[1] // x.shape[1]
    return x.repeat(lift, 1).repeat(lift, 2).reshape(-1, x.shape[-1])


def _mask(store, split: str) -> np.ndarray:
    return store.labels("mask", split).values.reshape(-1) > 0.5


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"modules": TEXT}, f"{TEXT} has no \\(y, x\\) grid"),
        ({"modules": DECODER, "steps": 0}, "no step 0 in these modules; its steps are 2 alone"),
        ({"modules": ["mid_block", DECODER[0]], "steps": [0, 1]}, f"steps: {DECODER[0]} runs at step 2 alone"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_in_one_sentence(store, asked, message):
    with pytest.raises(InputError, match=message) as caught:
        ldmscene.evaluate(store, "mask", cv=3, **asked)
    assert "\n" not in str(caught.value)


def test_of_all_modules_those_that_run_at_a_step_are_evaluated(store):
    assert ldmscene.evaluate(store, "mask", steps=[0], cv=3)["module"].values.tolist() == ["mid_block", DENOISER]


def test_edits_and_transfers_of_the_decoder_are_refused(store, grid):
    assert set(choose_modules(grid, "mask", ["best:2"], [0, 1])) == {"mid_block", grid["module"].values[1]}
    with pytest.raises(InputError, match="isn't in the denoiser, whose modules edits change"):
        choose_modules(grid, "mask", DECODER[0], [0, 1])
    with pytest.raises(InputError, match="best:1 to best:2"):
        choose_modules(grid, "mask", "best:3", [0, 1])
    with pytest.raises(InputError, match="the grid has none of the denoiser"):
        choose_modules(grid.sel(module=DECODER), "mask", "best:1", [2])
    with pytest.raises(InputError, match="doesn't run at step 0 of this grid"):
        ldmscene.transfer(store, grid, "mask", module=DECODER[0])


def test_figures_and_report_show_it_where_it_has_values(store, grid, tmp_path):
    axes = ldmscene.plot.heatmap(grid, "mask")
    shown = axes.collections[0].get_array().reshape(-1, STEPS)
    assert np.ma.getmaskarray(shown).tolist() == [[False] * 3] * 2 + [[True, True, False]] * 2
    page = ldmscene.write_report(store, grid, tmp_path / "report", samples=1, progress=False)
    text = page.read_text() if page.is_file() else (page / "index.html").read_text()
    assert "no score" in text


@pytest.mark.slow
def test_statistics_and_a_control_give_the_same_rows(tiny, store, grid, tmp_path):
    modules = ["mid_block", *DECODER]
    labelers = {target: f"tiny-{target}" for target in ("depth", "mask")}
    asked = ASKED | {"modules": modules}
    kept = ldmscene.extract(tiny, store.manifest, tmp_path / "s", keep="statistics", labelers=labelers, **asked)
    cv = 5  # of statistics
    found, plain = (ldmscene.evaluate(one, modules=modules, cv=cv) for one in (kept, store))
    np.testing.assert_allclose(found["probe"].values, plain["probe"].values, rtol=1e-3, atol=1e-4)
    control = ldmscene.extract(tiny, store.manifest, tmp_path / "c", control=store, **asked)
    whole = ldmscene.extract(capture.permute_weights(tiny), store.manifest, tmp_path / "w", **asked)
    ours, theirs = (ldmscene.evaluate(store, modules=modules, cv=cv, permuted=one) for one in (control, whole))
    np.testing.assert_allclose(ours["permuted"].values, theirs["permuted"].values, rtol=1e-3, atol=1e-4)
    assert ours["permuted"].sel(module=DECODER, step=LAST).notnull().any()
    with pytest.raises(InputError, match=f"{TEXT} has no .y, x. grid to probe"):
        ldmscene.extract(tiny, make_manifest(6, 2), tmp_path / "t", keep="statistics", labelers=labelers, **ASKED)
    assert not (tmp_path / "t").exists()


@pytest.mark.slow
def test_at_every_step_the_decoder_has_all_rows_and_a_control_follows(tiny, manifest, tmp_path):
    asked = {"modules": ["mid_block", DECODER[0]], "steps": 2, "batch_size": 10}
    store = ldmscene.extract(tiny, manifest, tmp_path / "s", previews=True, **asked)
    ldmscene.label(store, "mask", "tiny-mask")
    control = ldmscene.extract(tiny, manifest, tmp_path / "c", control=store, **asked)
    grid = ldmscene.evaluate(store, permuted=control)
    assert grid["probe"].sel(metric="dice").notnull().all()
    assert ldmscene.emergence(grid)["module"].tolist() == ["mid_block"]
    once = ldmscene.extract(capture.permute_weights(tiny), manifest, tmp_path / "o", **asked)
    with pytest.raises(InputError, match=r"at steps \[1\] rather than \[0, 1\]"):
        ldmscene.evaluate(store, permuted=once)
