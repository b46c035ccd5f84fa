"""Steps that can't be told by themselves are told by those that can, and else by the family's custom."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ldmscene.capture.families import Family
from ldmscene.capture.sinks import Arrays
from ldmscene.capture.sorting import Sorter, Step
from ldmscene.errors import LdmsceneError

SCALE, SAMPLES = 4.0, 2
UNCLEAR, CLEAR, EQUAL = 1e-7, 0.1, 0.0
COND_FIRST, UNCOND_FIRST = ("cond", "uncond"), ("uncond", "cond")


def _step(number: int, order: tuple[str, ...], apart: float) -> tuple[Step, torch.Tensor]:
    """Branches that are so far apart, their guidance in rounded arithmetic, and outputs that name their branch."""
    draw = torch.Generator().manual_seed(number)
    uncond, noise, rounding = torch.randn(3, SAMPLES, 4, 8, 8, generator=draw)
    parts = {"uncond": uncond, "cond": uncond + apart * noise}
    guided = uncond + SCALE * (parts["cond"] - uncond) + 1e-6 * rounding * (apart > 0)
    outputs = [torch.full((SAMPLES, 1), 10.0 * number + (branch == "cond")) for branch in order]
    raw = torch.cat([parts[branch] for branch in order])
    return Step(number, raw=[raw], outputs={"module": [torch.cat(outputs)]}), guided


def _sorter(arrays: list[np.ndarray], family: Family, foretold: tuple[str, ...] = ()) -> Sorter:
    sink = Arrays({"module": arrays}, UNCOND_FIRST)
    return Sorter(sink, ["module"], UNCOND_FIRST, SCALE, family, foretold)


def _sorted(steps: list[tuple[tuple[str, ...], float]], family: Family) -> np.ndarray:
    arrays = [np.full((len(steps), 2, 1), np.nan, np.float32) for _ in range(SAMPLES)]
    sorter = _sorter(arrays, family)
    for number, (order, apart) in enumerate(steps):
        step, guided = _step(number, order, apart)
        sorter.add(step, guided, guided)
    sorter.finish()
    np.testing.assert_array_equal(arrays[0], arrays[1])
    return arrays[0][..., 0]


RIGHT = np.array([[0, 1], [10, 11], [20, 21]], np.float32)


@pytest.mark.parametrize("order", [COND_FIRST, UNCOND_FIRST])
@pytest.mark.parametrize("family", [Family("any"), Family("any", cond_first=True)], ids=["uncond first", "cond first"])
@pytest.mark.parametrize("clear", [0, 1, 2])
def test_one_clear_step_tells_all(order, family, clear):
    steps = [(order, CLEAR if number == clear else UNCLEAR) for number in range(3)]
    np.testing.assert_array_equal(_sorted(steps, family), RIGHT)


@pytest.mark.parametrize("apart", [UNCLEAR, EQUAL])
@pytest.mark.parametrize(
    ("order", "family"),
    [(UNCOND_FIRST, Family("any")), (COND_FIRST, Family("any", cond_first=True))],
    ids=["uncond", "cond"],
)
def test_where_no_step_is_clear_the_familys_custom_holds(order, family, apart):
    np.testing.assert_array_equal(_sorted([(order, apart)] * 3, family), RIGHT)


def test_steps_of_equal_parts_are_not_held():
    arrays = [np.full((1, 2, 1), np.nan, np.float32) for _ in range(SAMPLES)]
    sorter = _sorter(arrays, Family("any"))
    step, guided = _step(0, UNCOND_FIRST, EQUAL)
    sorter.add(step, guided, guided)
    assert np.isfinite(arrays[0]).all()


@pytest.mark.parametrize("lost", [np.nan, np.inf])
@pytest.mark.parametrize("family", [Family("any"), Family("any", cond_first=True)], ids=["uncond first", "cond first"])
def test_steps_that_are_not_finite_have_the_familys_order_and_are_not_held(lost, family):
    order = COND_FIRST if family.cond_first else UNCOND_FIRST
    arrays = [np.full((1, 2, 1), np.nan, np.float32) for _ in range(SAMPLES)]
    sorter = _sorter(arrays, family)
    step, guided = _step(0, order, CLEAR)
    sorter.add(Step(0, raw=[step.raw[0] + lost], outputs=step.outputs), guided, guided)
    np.testing.assert_array_equal(arrays[0][..., 0], RIGHT[:1])


def test_a_sample_that_is_not_finite_hides_no_order():
    arrays = [np.full((1, 2, 1), np.nan, np.float32) for _ in range(SAMPLES)]
    step, guided = _step(0, COND_FIRST, CLEAR)
    step.raw[0][SAMPLES], guided[0] = np.inf, np.nan
    _sorter(arrays, Family("any")).add(step, guided, guided)
    np.testing.assert_array_equal(arrays[0][..., 0], RIGHT[:1])


def test_an_order_that_changes_is_refused():
    with pytest.raises(LdmsceneError, match="order changed within a run"):
        _sorted([(COND_FIRST, CLEAR), (UNCOND_FIRST, CLEAR)], Family("any"))


@pytest.mark.parametrize(
    ("order", "apart"), [(UNCOND_FIRST, CLEAR), (COND_FIRST[:1], CLEAR)], ids=["another order", "fewer parts"]
)
def test_a_step_that_is_not_as_it_was_foretold_is_refused(order, apart):
    sorter = _sorter([np.empty((1, 2, 1), np.float32)] * SAMPLES, Family("any"), COND_FIRST)
    step, guided = _step(0, order, apart)
    with pytest.raises(LdmsceneError, match=r"order changed within a run|where the rehearsal had cond, uncond"):
        sorter.add(step, guided if len(order) > 1 else step.raw[0], guided)


@pytest.mark.parametrize("apart", [UNCLEAR, EQUAL])
def test_a_foretold_order_tells_steps_that_arithmetic_cannot(apart):
    arrays = [np.full((1, 2, 1), np.nan, np.float32) for _ in range(SAMPLES)]
    sorter = _sorter(arrays, Family("any"), COND_FIRST)
    step, guided = _step(0, COND_FIRST, apart)
    sorter.add(step, guided, guided)
    np.testing.assert_array_equal(arrays[0][..., 0], RIGHT[:1])
