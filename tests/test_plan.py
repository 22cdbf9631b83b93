from typing import Any

import pytest

from tercet.plan import SearchPlan


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k must be a whole number of at least 1, got 0"),
        ({"k": True}, "k must be"),
        ({"k": 2.5}, "k must be"),
        ({"prefetch_k": -1}, "prefetch_k"),
        ({"rank_constant": -1}, "rank_constant"),
        ({"stages": ("late",)}, "add one of them"),
        ({"stages": ("dense", "bm25")}, "bm25"),
        ({"weights": {"fused": 1}}, "fused"),
        ({"weights": {"dense": -1}}, "not negative"),
        ({"weights": {"dense": float("nan")}}, "finite"),
        ({"weights": {"dense": 0, "sparse": 0}}, "nothing to rank"),
        ({"mode": "cascade", "stages": ("dense",)}, "add 'late'"),
        ({"mode": "vote"}, "'fused' or 'cascade'"),
        ({"k": 101}, "pool of 100"),
        ({"threshold": {"dens": 0.3}}, "dens"),
    ],
)
def test_a_plan_that_cannot_work_says_why(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SearchPlan(**options)


def test_a_plan_for_many_hits_has_a_pool_for_them() -> None:
    plan = SearchPlan.for_k(300)

    assert plan.k == 300
    assert plan.rerank_k >= 300
