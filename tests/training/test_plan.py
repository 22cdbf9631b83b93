import dataclasses
from typing import Any

import pytest

from tercet.training.plan import TrainingPlan


def test_a_plan_survives_json() -> None:
    plan = TrainingPlan(heads=("late",), steps=7, negatives=2, margin_mse=0.5, scales={"late": 2.0})

    assert TrainingPlan.from_json(plan.to_json()) == plan
    assert plan.scales == {"dense": 1.0, "sparse": 1.0, "late": 2.0}


def test_a_plan_is_keyword_only_and_frozen() -> None:
    positional: Any = TrainingPlan
    with pytest.raises(TypeError):
        positional(("late",))
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainingPlan().steps = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": ()}, "heads is empty; name at least one of dense, sparse, late"),
        ({"heads": ("lexical",)}, "heads does not know 'lexical'; choose from 'dense', 'sparse', 'late'"),
        ({"heads": ("dense", "late")}, "the dense head has no weights of its own"),
        ({"steps": 0}, "steps must be a whole number of at least 1, got 0"),
        ({"batch_size": 2.5}, "batch_size must be a whole number of at least 1, got 2.5"),
        ({"unfrozen_layers": -1}, "unfrozen_layers must be a whole number of at least 0, got -1"),
        ({"learning_rate": 0}, "learning_rate must be a finite number above 0, got 0"),
        ({"contrast": float("nan")}, "contrast must be a finite number of at least 0, got nan"),
        ({"contrast": 0, "self_distillation": 0}, "every loss has weight 0"),
        ({"margin_mse": 1.0}, "margin_mse compare a positive with its own negatives; set negatives"),
        ({"batch_size": 1}, "a batch of one query has no negatives at all"),
        ({"heads": ("late",), "queries": "inference-free"}, "is about the sparse head"),
        ({"pooling": "mean"}, "pooling does not know 'mean'; choose from 'max', 'sum'"),
        ({"scales": {"late": 0}}, r"scales\['late'\] must be a finite number above 0"),
        ({"teacher_weights": {"bm25": 1}}, "teacher_weights does not know 'bm25'"),
        ({"target_query_terms": 0}, "target_query_terms must be a whole number of at least 1"),
    ],
)
def test_a_plan_that_cannot_work_says_why(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingPlan(**changes)


def test_an_unknown_entry_of_a_file_is_named() -> None:
    with pytest.raises(ValueError, match="unknown entries: learning_rat"):
        TrainingPlan.from_json('{"learning_rat": 1}')
    with pytest.raises(ValueError, match="expected an object"):
        TrainingPlan.from_json("[1]")
