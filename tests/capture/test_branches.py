"""Branches are told apart by arithmetic, whatever their order."""

from __future__ import annotations

import pytest
import torch

from ldmscene.capture.branches import fitting_orders, split
from ldmscene.errors import LdmsceneError

SCALE = 4.0


def _parts(n: int = 2):
    draw = torch.Generator().manual_seed(0)
    uncond = torch.randn(n, 4, 8, 8, generator=draw)
    return {
        "uncond": uncond,
        "cond": uncond + 0.01 * torch.randn(uncond.shape, generator=draw),
        "perturbed": uncond + 0.02 * torch.randn(uncond.shape, generator=draw),
    }


def _order(parts, guided, scale):
    """The only order that fits; None where several do."""
    best, *others = fitting_orders(parts, guided, scale)
    return None if others else best


def _guided(parts):
    return parts["uncond"] + SCALE * (parts["cond"] - parts["uncond"])


@pytest.mark.parametrize("order", [("uncond", "cond"), ("cond", "uncond")])
@pytest.mark.parametrize("change", ["as it is", "negated", "rescaled for each sample", "float16"])
def test_two_parts(order, change):
    parts = _parts()
    guided = _guided(parts)
    if change == "negated":
        guided = -guided
    if change == "rescaled for each sample":
        guided = guided * torch.tensor([0.6, 0.9]).view(2, 1, 1, 1)
    if change == "float16":
        parts, guided = {k: p.half() for k, p in parts.items()}, guided.half()
    assert _order([parts[role] for role in order], guided, SCALE) == order


@pytest.mark.parametrize(
    "order", [("uncond", "cond", "perturbed"), ("uncond", "perturbed", "cond"), ("perturbed", "cond", "uncond")]
)
def test_three_parts(order):
    parts = _parts()
    guided = _guided(parts) + 2.5 * (parts["cond"] - parts["perturbed"])
    assert _order([parts[role] for role in order], guided, SCALE) == order


def test_perturbed_attention_without_classifier_free_guidance_has_no_unconditional_part():
    parts = _parts()
    guided = parts["cond"] + 2.5 * (parts["cond"] - parts["perturbed"])
    assert _order([parts["cond"], parts["perturbed"]], guided, 1.0) == ("cond", "perturbed")
    assert _order([parts["perturbed"], parts["cond"]], guided, 1.0) == ("perturbed", "cond")


def test_equal_parts_cannot_be_told_and_it_is_said():
    same = _parts()["cond"]
    assert _order([same, same.clone()], same, SCALE) is None


@pytest.mark.parametrize("wrong", [2.0, 9.0])
def test_another_guidance_is_refused(wrong):
    parts = _parts()
    far = {**parts, "cond": parts["uncond"].flip(0)}
    guided = far["uncond"] + wrong * (far["cond"] - far["uncond"])
    with pytest.raises(LdmsceneError, match="can't be told apart"):
        _order([far["uncond"], far["cond"]], guided, SCALE)


def test_more_parts_than_are_known_are_refused():
    parts = list(_parts().values())
    with pytest.raises(LdmsceneError, match="computed 4 results"):
        _order([*parts, parts[0]], parts[0], SCALE)


def test_calls_and_batches_are_split_alike():
    batch = torch.arange(6)[:, None]
    assert [part.flatten().tolist() for part in split([batch, batch[:2]], 2)] == [[0, 1], [2, 3], [4, 5], [0, 1]]
    with pytest.raises(LdmsceneError, match="batch of 6 for 4 samples"):
        split([batch], 4)
