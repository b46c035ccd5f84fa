"""What a page asks for is checked field by field."""

from __future__ import annotations

import numpy as np
import pytest

from ldmscene.painting.asked import Asked, FieldError
from tests.painting.conftest import SIZE, words


def test_what_is_right_is_taken(offer):
    asked = Asked.of(words(steps=[2, 0], modules=["b", "a"]), offer)
    assert (asked.prompt, asked.seed) == ("a red cube", 7)
    assert asked.change is not None
    assert (asked.change.steps, asked.change.modules, asked.change.strength) == ((0, 2), ("a", "b"), 1.5)
    assert asked.change.levels.shape == SIZE
    assert (asked.change.levels[:2] == 254).all()
    assert Asked.of({"prompt": "x", "seed": "9223372036854775807"}, offer).change is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("target", "shading"), ("target", ["mask"]), ("target", None), ("rule", "donor"), ("rule", "__import__"),
        ("strength", float("nan")), ("strength", "1"), ("strength", True), ("strength", 1e9), ("strength", None),
        ("modules", []), ("modules", "a"), ("modules", ["a", "c"]), ("modules", [["a"]]), ("modules", [{}]),
        ("steps", [3]), ("steps", ["0"]), ("steps", [True]), ("steps", [0.5]), ("steps", None),
        ("wanted", None), ("wanted", "c-0"), ("wanted", "1c-73"), ("wanted", 5),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(offer, field, value):
    with pytest.raises(FieldError) as error:
        Asked.of(words(**{field: value}), offer)
    assert error.value.field == field


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", ""), ("prompt", " \n"), ("prompt", None), ("prompt", "x" * 2001), ("prompt", ["x"]),
        ("seed", "-1"), ("seed", "1.5"), ("seed", ""), ("seed", "9223372036854775808"), ("seed", "٣"), ("seed", None),
        ("change", []), ("change", "mask"),
        ("labelers", "yes"),
    ],
)  # fmt: skip
def test_a_picture_that_cannot_be_drawn_is_named(offer, field, value):
    with pytest.raises(FieldError) as error:
        Asked.of({**words(), field: value}, offer)
    assert error.value.field == {"labelers": "page"}.get(field, field)


@pytest.mark.parametrize("body", [None, [], "draw", 3, np.pi])
def test_anything_but_an_object_is_refused(offer, body):
    with pytest.raises(FieldError):
        Asked.of(body, offer)


def test_a_prompt_that_is_no_text_becomes_one(offer):
    assert Asked.of({"prompt": "a\ud800b", "seed": "1"}, offer).prompt == "a?b"
