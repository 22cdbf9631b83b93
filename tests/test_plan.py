import copy
import json
import pickle
from dataclasses import asdict, replace
from typing import Any

import numpy as np
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
        ({"fusion": "sum"}, "'rrf' or 'min_max'"),
        ({"k": 101}, "pool of 100"),
        ({"k": 100, "prefetch_k": 10}, "pool of 20"),
        ({"k": 11, "prefetch_k": 10, "weights": {"sparse": 0}}, "pool of 10"),
        ({"k": 11, "prefetch_k": 10, "stages": ("dense",)}, "pool of 10"),
        ({"weights": {"dense": "1"}}, r"weights\['dense'\] must be a finite number, got '1'"),
        ({"weights": [("dense", 1)]}, "weights is a dict by stage"),
        ({"threshold": {"dens": 0.3}}, "dens"),
        ({"threshold": "0.5"}, "threshold must be a finite number, got '0.5'"),
        ({"threshold": float("nan")}, "finite number, got nan"),
        ({"threshold": True}, "finite number, got True"),
        ({"threshold": {"dense": "0.3"}}, "finite number, got '0.3'"),
        ({"threshold": {"late": 1}, "stages": ("dense",)}, r"\['late'\], which do not take part; add them to stages"),
    ],
)
def test_a_plan_that_cannot_work_says_why(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SearchPlan(**options)


def test_a_plan_for_many_hits_has_a_pool_for_them() -> None:
    plan = SearchPlan.for_k(300)

    assert plan.k == 300
    assert plan.rerank_k >= 300


@pytest.mark.parametrize(
    "plan", [SearchPlan(), SearchPlan(k=3, stages=("dense", "sparse"), weights={"dense": 2}, threshold={"dense": 0.1})]
)
def test_a_plan_can_be_saved_as_json_copied_and_pickled(plan: SearchPlan) -> None:
    assert SearchPlan(**json.loads(json.dumps(asdict(plan)))) == plan
    assert copy.deepcopy(plan) == plan
    assert pickle.loads(pickle.dumps(plan)) == plan


def test_a_stage_without_a_weight_keeps_its_default() -> None:
    assert SearchPlan(weights={"dense": 3}).weights == {"dense": 3.0, "sparse": 1.0, "late": 3.0}


def test_what_happens_to_the_callers_dicts_changes_no_plan() -> None:
    weights, threshold = {"dense": 3.0}, {"dense": 0.1}
    plan = SearchPlan(weights=weights, threshold=threshold)
    weights["dense"] = threshold["dense"] = 9

    assert (plan.weights["dense"], plan.threshold) == (3.0, {"dense": 0.1})
    assert SearchPlan().weights is not SearchPlan().weights


def test_numbers_of_numpy_are_numbers() -> None:
    plan = replace(SearchPlan(), k=np.int64(3), threshold=np.float32(0.5))

    assert (type(plan.k), plan.k, plan.threshold) == (int, 3, 0.5)
    assert SearchPlan.for_k(np.int64(300)).k == 300
