"""A SPLADE and a ColBERT of sentence-transformers, tiny and seeded: their loss and its gradients are ours."""

from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import MultiVectorEncoder, SparseEncoder
from sentence_transformers.multi_vector_encoder.losses import MultiVectorMultipleNegativesRankingLoss
from sentence_transformers.sparse_encoder.losses import SparseMultipleNegativesRankingLoss, SpladeLoss
from torch import Tensor

from tercet.training.model import ThreeHeads
from tercet.training.objective import Candidates, Objective
from tercet.training.plan import TrainingPlan
from tests.models import foreign
from tests.training import toy_task

EXAMPLES = toy_task.examples(8, negatives=2)


def our_loss(model: ThreeHeads, plan: TrainingPlan) -> Tensor:
    model.freeze("all")
    columns = [[example.query for example in EXAMPLES], [example.positive for example in EXAMPLES]]
    columns[1] += [text for example in EXAMPLES for text in example.negatives]
    queries, documents = (
        model(model.batch(model.read(texts, side=side, max_tokens=64), range(len(texts))), side=side, heads=plan.heads)
        for side, texts in zip(("query", "document"), columns, strict=True)
    )
    answers = {example.query: frozenset([example.positive]) for example in EXAMPLES}
    candidates = Candidates.of(EXAMPLES, [(0, 1)] * len(EXAMPLES), answers, device=torch.device("cpu"))
    objective = Objective(plan, model.config.vocabulary_size)
    # After the warm-up: the regularizers with their whole weight.
    return objective.loss(queries, documents, candidates, step=plan.steps)[0]


def their_loss(model: Any, loss: Any) -> Tensor:
    # Where it is not trained, their pooling overwrites what a gradient needs; and chance would make two losses of one.
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    columns = [[example.query for example in EXAMPLES], [example.positive for example in EXAMPLES]]
    columns += [[example.negatives[column] for example in EXAMPLES] for column in (0, 1)]
    features = []
    for task, texts in zip(("query", *["document"] * 3), columns, strict=True):
        prompt = model.prompts.get(task) or ""
        features.append({**model.preprocess([prompt + text for text in texts]), "task": task})
    value = loss(features, None)
    return sum(value.values()) if isinstance(value, dict) else value


def assert_same(ours: Tensor, theirs: Tensor, model: ThreeHeads, their_trunk: Any) -> None:
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)
    torch.autograd.backward([ours, theirs])
    their_parameters = dict(their_trunk.named_parameters())
    compared = 0
    for name, parameter in model.trunk.named_parameters():
        expected = their_parameters[name].grad
        assert parameter.grad is not None
        assert expected is not None
        assert torch.allclose(parameter.grad, expected, rtol=1e-3, atol=1e-5), name
        compared += bool(expected.abs().max() > 1e-3)
    assert compared > 20  # of 37: gradients that are all but zero compare nothing


@pytest.mark.parametrize("pooling", ["max", "sum"])
def test_a_splade_with_flops(tmp_path: Path, pooling: Any) -> None:
    folder = foreign.write_splade(tmp_path / "splade", pooling=pooling)
    model = SparseEncoder(str(folder), device="cpu")
    ranking = SparseMultipleNegativesRankingLoss(model, scale=0.1)
    theirs = their_loss(
        model, SpladeLoss(model, ranking, document_regularizer_weight=0.003, query_regularizer_weight=0.005)
    )
    plan = TrainingPlan(
        heads=("sparse",),
        unfrozen_layers="all",
        negatives=2,
        pooling=pooling,
        self_distillation=0.0,
        scales={"sparse": 0.1},
        target_document_terms=None,
        target_query_terms=None,
        document_lambda=0.003,
        query_lambda=0.005,
    )
    opened = ThreeHeads.open(folder)
    # Their decoder is the word embeddings, which so have two gradients in one; ours begins as a copy.
    opened.sparse.decoder = opened.trunk.embeddings.word_embeddings.weight

    assert_same(our_loss(opened, plan), theirs, opened, model[0].model.bert)


def test_a_colbert(tmp_path: Path) -> None:
    folder = foreign.write_multi_vector(tmp_path / "colbert")
    model = MultiVectorEncoder(str(folder), device="cpu")
    theirs = their_loss(model, MultiVectorMultipleNegativesRankingLoss(model, scale=3.0))
    plan = TrainingPlan(
        heads=("late",), unfrozen_layers="all", negatives=2, self_distillation=0.0, scales={"late": 3.0}
    )
    opened = ThreeHeads.open(folder)

    assert_same(our_loss(opened, plan), theirs, opened, model[0].model)
