"""Rules against numpy's least norms, scikit-learn's fits, the paper's own matrices and the published loop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import pinvh, sqrtm
from sklearn.linear_model import LinearRegression, LogisticRegression
from torch import nn

from ldmscene.edits import cell_values, edited
from ldmscene.edits.change import rounded
from ldmscene.errors import InputError, ShapeError, UnknownNameError
from tests.edits.worlds import World, edit_of, make_world, readout_of, worlds

CLOSED = ("conditional", "minimum-norm")


def _apply(world: World, rule: object, **options: object) -> torch.Tensor:
    donor = options.pop("donor", None)
    return edited(edit_of(world, rule=rule, **options), "m", 0, world.x, world.maps, donor)


def _read(world: World, x: torch.Tensor) -> np.ndarray:
    return x.double().numpy() @ world.readout.coef + world.readout.intercept


def _wanted(world: World) -> np.ndarray:
    maps = world.maps
    return cell_values(maps.wanted, world.x.shape[1:3], binary=maps.binary, margin=maps.margin)


def _changes(world: World, rule: str) -> tuple[np.ndarray, np.ndarray]:
    """The change of each cell [n, channel], and what it does to the reading [n]."""
    change = (_apply(world, rule).double() - world.x.double()).numpy().reshape(-1, world.x.shape[-1])
    return change, change @ world.readout.coef


@given(worlds(), st.sampled_from(CLOSED))
def test_the_probe_reads_what_was_wanted(world, rule):
    after = _apply(world, rule)
    assert after.dtype == torch.float32
    np.testing.assert_allclose(_read(world, after), _wanted(world), atol=1e-5, rtol=0)


@given(st.integers(0, 2**32 - 1), st.sampled_from([torch.float32, torch.float16]))
def test_rounding_to_the_models_precision_leaves_the_reading(seed, dtype):
    """Weights whose parts cancel, as ridges of like channels have them: rounding alone moves the reading far."""
    rng = np.random.default_rng(seed)
    exact, coef = torch.from_numpy(rng.normal(size=(50, 48))), torch.from_numpy(rng.normal(size=48) * 100)
    found = rounded(exact, dtype, coef)
    assert found.dtype == dtype
    lost = ((found.double() - exact) @ coef).abs()
    plain = ((exact.to(dtype).double() - exact) @ coef).abs()
    assert lost.max() < plain.max() / 4
    assert ((found != exact.to(dtype)).sum(-1) <= 1).all()
    step = torch.finfo(dtype).eps
    assert ((found.double() - exact).norm(dim=-1) / exact.norm(dim=-1)).max() < 20 * step


@given(worlds(), st.sampled_from(CLOSED), st.floats(-2, 3))
def test_strength_is_the_share_of_the_way(world, rule, strength):
    before, after = _read(world, world.x), _read(world, _apply(world, rule, strength=strength))
    np.testing.assert_allclose(after, before + strength * (_wanted(world) - before), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("rule", [*CLOSED, "adam", "erase"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_strength_zero_returns_the_very_bytes(rule, dtype):
    world = make_world()
    world = replace(world, x=world.x.to(dtype))
    world.x[0, 0, 0, 0] = torch.nan
    after = _apply(world, rule, strength=0.0)
    assert after.view(torch.uint8).equal(world.x.view(torch.uint8))


@given(worlds())
def test_minimum_norm_is_numpys_least_norm_solution(world):
    change, moved = _changes(world, "minimum-norm")
    least = np.linalg.lstsq(world.readout.coef[None], moved[None], rcond=None)[0].T
    np.testing.assert_allclose(change, least, atol=2e-5 * max(1, np.abs(least).max()))


@given(worlds())
def test_conditional_is_numpys_least_norm_solution_in_whitened_features(world):
    change, moved = _changes(world, "conditional")
    root = np.real(sqrtm(world.readout.covariance))
    least = (root @ np.linalg.lstsq((root @ world.readout.coef)[None], moved[None], rcond=None)[0]).T
    np.testing.assert_allclose(change, least, atol=2e-4 * max(1, np.abs(least).max()))


@given(worlds(), st.integers(0, 2**32 - 1))
def test_no_other_edit_with_the_same_reading_is_smaller(world, seed):
    w, precision = world.readout.coef, pinvh(world.readout.covariance)
    sideways = np.random.default_rng(seed).normal(size=w.shape)
    sideways -= w * (w @ sideways) / (w @ w)
    for rule, metric in (("minimum-norm", np.eye(len(w))), ("conditional", precision)):
        change, _ = _changes(world, rule)
        own, other = (np.einsum("nc,cd,nd->n", d, metric, d) for d in (change, change + sideways))
        assert (own <= other * (1 + 1e-6) + 1e-9).all()


def test_the_pattern_is_what_features_regress_to_on_the_reading():
    X = np.random.default_rng(0).normal(size=(500, 6)) @ np.random.default_rng(1).normal(size=(6, 6))
    readout = readout_of(X, X[:, 0], np.arange(1.0, 7.0))
    regressed = LinearRegression().fit((X @ readout.coef)[:, None], X).coef_[:, 0]
    np.testing.assert_allclose(readout.pattern, regressed, rtol=1e-9)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 20), st.booleans())
def test_erase_leaves_nothing_for_scikit_learn_to_find(seed, channels, binary):
    rng = np.random.default_rng(seed)
    world = make_world(seed, channels, binary=binary)
    X = world.x.numpy().astype(np.float64).reshape(-1, channels)
    z = X @ rng.normal(size=channels)
    z += 0.3 * z.std() * rng.normal(size=len(X))
    z = (z > np.median(z)).astype(float) if binary else z
    # In float64: where erasing leaves nothing of a channel, scikit-learn would fit what rounding to float32 leaves.
    world = replace(world, x=world.x.double(), readout=readout_of(X, z, rng.normal(size=channels)))
    after = _apply(world, "erase").numpy().reshape(X.shape)
    scale = X.std(0)
    assert LinearRegression().fit(X / scale, z).score(X / scale, z) > 0.1
    assert LinearRegression().fit(after / scale, z).score(after / scale, z) < 1e-6
    if binary:
        chance = LogisticRegression(C=1.0).fit(after / scale, z).predict_proba(after / scale)[:, 1]
        np.testing.assert_allclose(chance, z.mean(), atol=1e-4)


def test_erase_is_the_papers_projection():
    world = make_world(3)
    readout = world.readout
    white = np.linalg.inv(np.real(sqrtm(readout.covariance)))
    u = white @ readout.cross / np.linalg.norm(white @ readout.cross)
    x = world.x.double().numpy()
    projected = x - (x - readout.mean) @ (np.linalg.inv(white) @ np.outer(u, u) @ white).T
    np.testing.assert_allclose(_apply(world, "erase").numpy(), projected, atol=1e-5)


@pytest.mark.parametrize("binary", [True, False])
def test_adam_is_the_published_loop_for_each_sample(binary):
    """One picture at a time; two outputs without bias and cross entropy for masks, one and Huber for depth."""
    world = make_world(5, binary=binary)
    world = replace(world, readout=replace(world.readout, intercept=0.0))
    w = torch.from_numpy(world.readout.coef).float()
    wanted = torch.from_numpy(world.maps.wanted).float()
    huber, expected = nn.HuberLoss(), []
    for one, label in zip(world.x, wanted, strict=True):
        moved = nn.Parameter(one.clone())
        optimizer = torch.optim.Adam([moved], lr=5e-3)
        for _ in range(128):
            out = (torch.stack([-w, w]) / 2 if binary else w[None]) @ moved.flatten(0, 1).T
            pixels = nn.Upsample(size=label.shape, mode="nearest")(out.reshape(1, -1, *one.shape[:2]))
            loss = nn.CrossEntropyLoss()(pixels, label[None].long()) if binary else huber(pixels[:, 0], label[None])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        expected.append(moved.detach())
    with torch.inference_mode():
        after = _apply(world, "adam")
    torch.testing.assert_close(after, torch.stack(expected), atol=1e-4, rtol=1e-4)


def test_adam_moves_the_reading_toward_what_is_wanted():
    world = make_world(6)
    wanted = _wanted(world)
    before, after = (np.abs(_read(world, x) - wanted).mean() for x in (world.x, _apply(world, "adam")))
    assert after < before


def test_donor_takes_anothers_activations_in_the_region():
    world = make_world(7)
    other = torch.randn_like(world.x)
    after = _apply(world, "donor", donor=other)
    cells = world.maps.wanted.reshape(3, 4, 2, 6, 2).mean((2, 4)) >= 0.5
    cells |= world.maps.own.reshape(3, 4, 2, 6, 2).mean((2, 4)) >= 0.5
    np.testing.assert_array_equal(after.numpy(), np.where(cells[..., None], other.numpy(), world.x.numpy()))
    with pytest.raises(InputError, match="needs the activations of another trajectory"):
        _apply(world, "donor")


def test_nan_leaves_cells_alone():
    world = make_world(8)
    world.maps.wanted[:, :4] = np.nan
    for rule in (*CLOSED, "adam"):
        after = _apply(world, rule)
        assert after[:, :2].equal(world.x[:, :2])
        assert not after[:, 2:].equal(world.x[:, 2:])


@pytest.mark.parametrize("binary", [True, False])
def test_only_cells_whose_reading_is_wrong_change(binary):
    world = make_world(9, binary=binary, margin=0.5)
    after = _apply(world, "conditional", only_where="wrong")
    reading, wanted = _read(world, world.x), _wanted(world)
    wrong = (reading > 0) != (wanted > 0) if binary else np.abs(reading - wanted) > 0.5
    assert 0 < wrong.sum() < wrong.size
    np.testing.assert_array_equal((after != world.x).any(-1).numpy(), wrong)


def test_a_rule_may_be_any_function():
    world = make_world(10)
    torch.testing.assert_close(_apply(world, lambda x, goal, readout: x + 1), (world.x.double() + 1).float())


def test_a_rule_that_returns_another_shape_is_refused():
    with pytest.raises(ShapeError, match=r"expected an activation of shape \(3, 4, 6, 7\) for m, got \(3, 4, 6, 6\)"):
        _apply(make_world(), lambda x, goal, readout: x[..., 1:])


def test_an_unknown_rule_is_named_with_the_nearest():
    with pytest.raises(UnknownNameError, match="no rule named 'conditonal'; nearest: conditional"):
        edit_of(make_world(), rule="conditonal")


@given(st.integers(0, 2**32 - 1))
def test_cells_read_as_the_pixels_over_them(seed):
    rng = np.random.default_rng(seed)
    mask = (rng.random((2, 8, 12)) < 0.5).astype(float)
    mask[rng.random(mask.shape) < 0.3] = np.nan
    tiles = mask.reshape(2, 4, 2, 6, 2).swapaxes(2, 3).reshape(2, 4, 6, 4)
    known = ~np.isnan(tiles)
    share = np.where(known, tiles, 0).sum(-1) / np.maximum(known.sum(-1), 1)
    expected = np.where(known.any(-1), np.where(share >= 0.5, 3.0, -3.0), np.nan)
    np.testing.assert_array_equal(cell_values(mask, (4, 6), binary=True, margin=3.0), expected)
