"""Every pipeline that can be built small works, or is refused with one sentence."""

from __future__ import annotations

import pytest

from tests.capture.sweep import BEGIN, END, PAGE, built, donors, kinds, outcome, row


@pytest.fixture(scope="module")
def small():
    return donors()


@pytest.mark.slow
@pytest.mark.timeout(1800)  # two classes draw a megapixel whatever they are asked for
@pytest.mark.filterwarnings("ignore")
def test_every_class_that_can_be_built_works_or_says_in_one_sentence_why_not(small):
    page = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    captured, _, refused = page.partition("| class |")
    works, strange = 0, []
    for kind in kinds():
        pipeline = built(kind, small)
        if pipeline is None:
            continue
        try:
            found = outcome(pipeline)
        except Exception as error:
            strange.append(f"{kind.__name__}: {type(error).__name__}: {str(error)[:200]}")
            continue
        works += found.refused is None
        table = captured if found.refused is None else refused.splitlines()
        assert row(found) in table, f"{found} isn't in {PAGE.name}; run python -m tests.capture.sweep"
    assert strange == []
    assert works > 25
