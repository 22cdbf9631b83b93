from typing import Any

import pytest
import torch
from sentence_transformers.sparse_encoder.modules import SpladePooling

from tercet.training.pooling import InferenceFreeQueries, max_pooling, sum_pooling
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
