import math

import pytest
import torch

from tercet.training.data import Example
from tercet.training.model import Views
from tercet.training.objective import Candidates, Objective
from tercet.training.plan import TrainingPlan

CPU = torch.device("cpu")


def test_columns_are_positives_then_each_querys_negatives() -> None:
    examples = [
        Example("a", "A", ("n1", "n2", "n3"), (9.0, 1.0, 2.0, 3.0)),
        Example("b", "B", ("m1", "m2", "m3"), (8.0, 4.0, 5.0, 6.0)),
    ]
    candidates = Candidates.of(examples, [[2, 0], [1, 2]], {"a": frozenset("A"), "b": frozenset("B")}, device=CPU)

    assert candidates.own.tolist() == [[0, 2, 3], [1, 4, 5]]
    assert candidates.teacher is not None
    assert candidates.teacher.tolist() == [[9, 3, 1], [8, 5, 6]]
    assert candidates.mask.all()


def test_another_answer_of_the_same_query_is_no_negative() -> None:
    examples = [Example("a", "A1"), Example("b", "B"), Example("a", "A2"), Example("c", "B")]
    answers = {"a": frozenset(["A1", "A2"]), "b": frozenset("B"), "c": frozenset("B")}
    candidates = Candidates.of(examples, [[], [], [], []], answers, device=CPU)

    assert candidates.mask.int().tolist() == [[1, 1, 0, 1], [1, 1, 1, 0], [0, 1, 1, 1], [1, 0, 1, 1]]
    assert candidates.teacher is None


def test_the_loss_is_the_sum_of_its_parts_by_hand() -> None:
    plan = TrainingPlan(
        heads=("sparse",),
        contrast=2.0,
        self_distillation=0.0,
        target_query_terms=None,
        target_document_terms=None,
        query_lambda=0.5,
        document_lambda=0.25,
        warm_up_steps=2,
    )
    objective = Objective(plan, 2)
    queries = Views(sparse=torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    documents = Views(sparse=torch.tensor([[2.0, 0.0], [0.0, 2.0]]))
    examples = [Example("a", "A"), Example("b", "B")]
    candidates = Candidates.of(examples, [[], []], {"a": frozenset("A"), "b": frozenset("B")}, device=CPU)

    loss, parts = objective.loss(queries, documents, candidates, step=1)

    contrast, warm = 2 * math.log(1 + math.exp(-2)), 1 / 4
    assert parts == pytest.approx(
        {
            "sparse_contrast": contrast,
            "query_regularizer": warm * 0.5 * (0.5**2 + 0.5**2),
            "document_regularizer": warm * 0.25 * (1 + 1),
        }
    )
    assert loss.item() == pytest.approx(sum(parts.values()))


def test_heads_that_only_teach_get_no_gradient() -> None:
    plan = TrainingPlan(heads=("late",), contrast=0.0, self_distillation=1.0)
    objective = Objective(plan, 4)
    torch.manual_seed(0)
    dense, rows = torch.randn(2, 3).requires_grad_(), torch.randn(4, 3).requires_grad_()
    queries = Views(dense=dense, sparse=torch.rand(2, 4), late=rows, late_lengths=(1, 3))
    documents = Views(dense=torch.randn(2, 3), sparse=torch.rand(2, 4), late=torch.randn(5, 3), late_lengths=(2, 3))
    examples = [Example("a", "A"), Example("b", "B")]
    candidates = Candidates.of(examples, [[], []], {"a": frozenset("A"), "b": frozenset("B")}, device=CPU)

    assert objective.needed == ("dense", "sparse", "late")
    loss, _ = objective.loss(queries, documents, candidates, step=0)
    loss.backward()
    assert dense.grad is None
    assert rows.grad is not None
    assert rows.grad.abs().sum() > 0
