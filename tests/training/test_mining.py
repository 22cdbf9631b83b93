from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from tercet.training.data import Example
from tercet.training.mining import mine

EXAMPLES = [Example("q1", "right 1"), Example("q1", "right 2"), Example("q2", "other")]
RANKINGS = {"q1": ["Right  2", "near", "RIGHT 1", "far", "near", "farther"], "q2": ["other", "near", "far", "right 1"]}


def search(queries: Sequence[str]) -> list[list[str]]:
    return [RANKINGS[query] for query in queries]


class Judge:
    """Scores from a table; what is not in it is 0."""

    def __init__(self, table: dict[tuple[str, str], float]) -> None:
        self.table = table

    def score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        return np.array([self.table.get(pair, 0.0) for pair in pairs], np.float32)


def test_the_best_documents_that_are_no_answer_become_negatives() -> None:
    mined = mine(EXAMPLES, search, negatives=2)

    assert [example.negatives for example in mined.examples] == [("near", "far"), ("near", "far"), ("near", "far")]
    assert all(example.scores == () for example in mined.examples)
    assert mined.short == ()


def test_what_the_teacher_scores_like_the_positive_is_dropped() -> None:
    first = {("q1", "right 1"): 10, ("q1", "right 2"): 10, ("q1", "near"): 9.6, ("q1", "far"): 9.4}
    second = {("q2", "other"): -1, ("q2", "near"): -1.04, ("q2", "far"): -1.06, ("q2", "right 1"): -5}
    judge = Judge(first | second)
    mined = mine(EXAMPLES, search, negatives=2, teacher=judge)

    assert [example.negatives for example in mined.examples] == [("far", "farther")] * 2 + [("far", "right 1")]
    assert mined.examples[0].scores == pytest.approx((10, 9.4, 0))
    assert mined.dropped == 3


def test_a_query_with_too_few_candidates_is_named() -> None:
    mined = mine(EXAMPLES, search, negatives=3, skip=1)

    assert [example.query for example in mined.examples] == ["q1", "q1", "q2"]
    assert mine(EXAMPLES, search, negatives=4).short == ("q1", "q1", "q2")


def test_some_negatives_may_be_drawn_at_random() -> None:
    examples = [Example(f"q{n}", f"p{n}") for n in range(40)]
    mined = mine(examples, lambda queries: [["h1", "h2", "h3"]] * len(queries), negatives=4, random_share=0.5)

    for example in mined.examples:
        assert example.negatives[:2] == ("h1", "h2")
        assert len(set(example.negatives)) == 4
        assert example.positive not in example.negatives
    again = mine(examples, lambda queries: [["h1", "h2", "h3"]] * len(queries), negatives=4, random_share=0.5)
    assert again == mined


def test_a_search_that_leaves_out_queries_is_an_error() -> None:
    with pytest.raises(ValueError, match="answered 0 of 3 queries"):
        mine(EXAMPLES, lambda queries: [])
    with pytest.raises(ValueError, match="negatives must be at least 1"):
        mine(EXAMPLES, search, negatives=0)
