from typing import Any

import pytest
import torch
from sentence_transformers.sparse_encoder.modules import SpladePooling

from tercet.models.heads import MaxOverTokens, SparseHead
from tercet.training.pooling import (
    InferenceFreeQueries,
    max_over_padded,
    max_pooling,
    sparse_vectors,
    sum_pooling,
)
from tercet.training.scores import late_scores, maxsim, padded

LENGTHS = [4, 2, 5]


@pytest.mark.parametrize(("strategy", "ours"), [("max", max_pooling), ("sum", sum_pooling)])
def test_pooling_is_that_of_sentence_transformers(strategy: Any, ours: Any) -> None:
    torch.manual_seed(0)
    logits = torch.randn(sum(LENGTHS), 30)
    rows, mask = padded(logits, LENGTHS)
    theirs = SpladePooling(strategy)({"token_embeddings": rows.clone(), "attention_mask": mask.long()})

    assert torch.allclose(ours(logits, LENGTHS), theirs["sentence_embedding"], atol=1e-5)


def test_pooling_by_hand() -> None:
    logits = torch.tensor([[1.0, -2.0], [3.0, -1.0]])

    assert torch.allclose(max_pooling(logits, [2]), torch.tensor([[4.0, 1.0]]).log())
    assert torch.allclose(sum_pooling(logits, [2]), torch.tensor([[8.0, 1.0]]).log())


def test_inference_free_queries_weigh_each_word_once_and_start_as_the_table() -> None:
    queries = InferenceFreeQueries(torch.tensor([0.0, 2.0, 0.5, 7.0]))
    vectors = queries(torch.tensor([1, 1, 3, 2]), [3, 1])

    assert torch.allclose(vectors, torch.tensor([[0, 2.0, 0, 7.0], [0, 0, 0.5, 0]]), atol=1e-4)
    vectors.sum().backward()
    assert queries.table.grad is not None
    assert queries.table.grad[0] == 0 < queries.table.grad[1]


def test_maxsim_is_that_of_sentence_transformers() -> None:
    from sentence_transformers.multi_vector_encoder.scoring import colbert_scores

    torch.manual_seed(0)
    queries, documents = torch.randn(sum(LENGTHS), 8), torch.randn(11, 8)
    q, q_mask = padded(queries, LENGTHS)
    d, d_mask = padded(documents, [7, 1, 3])
    theirs = colbert_scores(q, d[:, None], queries_mask=q_mask, documents_mask=d_mask[:, None])

    assert torch.allclose(maxsim(q, q_mask, d, d_mask), theirs, atol=1e-5)
    assert torch.allclose(late_scores(queries, LENGTHS, documents, [7, 1, 3]), theirs, atol=1e-5)


def test_maxsim_by_hand() -> None:
    queries = torch.tensor([[1.0, 0.0], [0.0, -1.0]])
    documents = torch.tensor([[0.6, 0.8], [1.0, 0.0]])

    # the query's second token has nothing but −.8 in the first document: padding must not win with 0
    assert torch.allclose(late_scores(queries, [2], documents, [1, 1]), torch.tensor([[0.6 - 0.8, 1.0]]), atol=1e-6)


@pytest.mark.parametrize("lengths", [[4, 2, 5], [1, 9, 1]])
def test_what_a_gpu_computes_is_what_the_tiles_compute(lengths: list[int]) -> None:
    torch.manual_seed(0)
    projected, decoder = torch.randn(11, 6).requires_grad_(), torch.randn(30, 6).requires_grad_()
    bonus = torch.rand(11).requires_grad_()
    ids = torch.randint(0, 30, (11,))
    ours = max_over_padded(projected, decoder, bonus, ids, lengths)
    tiles = MaxOverTokens.apply(projected, decoder, bonus, ids, tuple(lengths))
    direction = torch.randn_like(ours)

    assert torch.allclose(ours, tiles, atol=1e-5)
    inputs = (projected, decoder, bonus)
    for got, want in zip(
        torch.autograd.grad((ours * direction).sum(), inputs),
        torch.autograd.grad((tiles * direction).sum(), inputs),
        strict=True,
    ):
        assert torch.allclose(got, want, atol=1e-4)


def test_sum_pooling_of_our_head_has_the_words_own_bonus() -> None:
    torch.manual_seed(0)
    head = SparseHead(8, 12, 4)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    states, ids = torch.randn(5, 8), torch.tensor([3, 3, 0, 11, 7])
    projected, bonus = head.token_terms(states, ids, [2, 3])
    logits = projected @ head.decoder.T + torch.nn.functional.one_hot(ids, 12) * bonus[:, None] + head.bias

    ours = sparse_vectors(head, states, ids, [2, 3], pooling="sum")
    assert torch.allclose(ours, sum_pooling(logits, [2, 3]), atol=1e-5)
