"""Each loss by hand on a few numbers, and equal to sentence-transformers' own on the same scores."""

import math
from typing import Any

import pytest
import torch
from sentence_transformers.multi_vector_encoder.losses import (
    MultiVectorDistillKLDivLoss,
    MultiVectorMarginMSELoss,
    MultiVectorMultipleNegativesRankingLoss,
)
from sentence_transformers.sentence_transformer.losses import TripletLoss
from sentence_transformers.sparse_encoder.losses import (
    SparseDistillKLDivLoss,
    SparseMarginMSELoss,
    SparseMultipleNegativesRankingLoss,
)
from torch import Tensor

from tercet.training.losses import info_nce, kl_divergence, margin_mse, margin_ranking

NO_MODEL: Any = torch.nn.Identity()


def test_info_nce_of_four_scores() -> None:
    scores = torch.tensor([[2.0, 1.0], [0.0, 3.0]])

    assert info_nce(scores).item() == pytest.approx((math.log(1 + math.exp(-1)) + math.log(1 + math.exp(-3))) / 2)


def test_info_nce_finds_its_positive_where_it_is_told_and_leaves_out_what_is_masked() -> None:
    scores = torch.tensor([[1.0, 2.0, 9.0, 0.5]])
    mask = torch.tensor([[True, True, False, True]])
    expected = math.log(math.exp(1 - 2) + 1 + math.exp(0.5 - 2))

    assert info_nce(scores, torch.tensor([1]), mask=mask).item() == pytest.approx(expected)


def test_info_nce_needs_a_document_for_each_query() -> None:
    with pytest.raises(ValueError, match="3 queries need at least as many documents, got 2"):
        info_nce(torch.zeros(3, 2))


def test_margin_ranking_of_four_scores() -> None:
    # 1 − 3 + 2.5 = .5, 1 − 3 + 1 < 0, 1 − 3 + 4 = 2
    assert margin_ranking(torch.tensor([[3.0, 2.5, 1.0, 4.0]]), margin=1.0).item() == pytest.approx(2.5 / 3)


def test_margin_mse_of_four_scores() -> None:
    scores, teacher = torch.tensor([[3.0, 1.0], [2.0, 2.0]]), torch.tensor([[9.0, 8.0], [5.0, 2.0]])

    # gaps 2 and 0, the teacher's 1 and 3
    assert margin_mse(scores, teacher).item() == pytest.approx((1 + 9) / 2)


def test_kl_divergence_of_four_scores() -> None:
    scores, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[math.log(3.0), 0.0]])

    # the teacher is ¾ : ¼ sure, the student ½ : ½
    assert kl_divergence(scores, teacher).item() == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))


def test_kl_divergence_without_a_document_is_that_of_the_others() -> None:
    torch.manual_seed(0)
    scores, teacher = torch.randn(3, 5), torch.randn(3, 5)
    mask = torch.tensor([True, True, False, True, True]).expand(3, 5)

    assert torch.allclose(
        kl_divergence(scores, teacher, mask=mask), kl_divergence(scores[:, mask[0]], teacher[:, mask[0]]), atol=1e-6
    )


@pytest.mark.parametrize("loss", [lambda scores: margin_ranking(scores, margin=1), lambda s: margin_mse(s, s)])
def test_a_list_without_a_negative_is_an_error(loss: Any) -> None:
    with pytest.raises(ValueError, match="at least one negative"):
        loss(torch.zeros(2, 1))


def test_a_teacher_of_other_documents_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"the teacher scored \(2, 4\) documents, the student \(2, 3\)"):
        kl_divergence(torch.zeros(2, 3), torch.zeros(2, 4))


# --- sentence-transformers 6 on the same vectors ---

BATCH, NEGATIVES, DIM = 4, 3, 8


@pytest.fixture
def vectors() -> tuple[Tensor, list[Tensor], Tensor]:
    """queries (batch, dim), then positives and each column of negatives; a teacher's scores (batch, 1 + n_negatives)"""
    torch.manual_seed(0)
    columns = [torch.randn(BATCH, DIM) for _ in range(1 + NEGATIVES)]
    return torch.randn(BATCH, DIM), columns, torch.randn(BATCH, 1 + NEGATIVES)


def own_lists(queries: Tensor, columns: list[Tensor]) -> Tensor:
    return torch.stack([(queries * column).sum(dim=1) for column in columns], dim=1)


def test_info_nce_is_multiple_negatives_ranking(vectors: tuple[Tensor, list[Tensor], Tensor]) -> None:
    queries, columns, _ = vectors
    theirs = SparseMultipleNegativesRankingLoss(NO_MODEL).compute_loss_from_embeddings([queries, *columns], None)

    assert info_nce(queries @ torch.cat(columns).T).item() == pytest.approx(theirs.item(), abs=1e-5)


def test_margin_mse_is_theirs(vectors: tuple[Tensor, list[Tensor], Tensor]) -> None:
    queries, columns, teacher = vectors
    theirs = SparseMarginMSELoss(NO_MODEL).compute_loss_from_embeddings([queries, *columns], teacher)

    assert margin_mse(own_lists(queries, columns), teacher).item() == pytest.approx(theirs.item(), abs=1e-5)


@pytest.mark.parametrize(("temperature", "teacher_temperature"), [(1.0, None), (2.0, None), (2.0, 3.0)])
def test_kl_divergence_is_theirs(
    vectors: tuple[Tensor, list[Tensor], Tensor], temperature: float, teacher_temperature: float | None
) -> None:
    queries, columns, teacher = vectors
    loss = SparseDistillKLDivLoss(NO_MODEL, temperature=temperature, teacher_temperature=teacher_temperature)
    ours = kl_divergence(
        own_lists(queries, columns), teacher, temperature=temperature, teacher_temperature=teacher_temperature
    )

    assert ours.item() == pytest.approx(
        loss.compute_loss_from_embeddings([queries, *columns], teacher).item(), abs=1e-5
    )


def test_margin_ranking_is_the_triplet_loss(vectors: tuple[Tensor, list[Tensor], Tensor]) -> None:
    queries, columns, _ = vectors
    loss = TripletLoss(NO_MODEL, distance_metric=lambda a, b: -(a * b).sum(dim=1), triplet_margin=2.0)
    theirs = loss.compute_loss_from_embeddings([queries, columns[0], columns[1]], None)

    assert margin_ranking(own_lists(queries, columns[:2]), margin=2.0).item() == pytest.approx(theirs.item(), abs=1e-5)


class TokenTable(torch.nn.Module):
    """What their multi-vector losses ask a model for: here the features are the token embeddings already."""

    def forward(self, features: dict[str, Any], task: str | None = None) -> dict[str, Any]:
        return features


def test_late_losses_are_theirs_on_the_same_token_vectors() -> None:
    from tercet.training.scores import maxsim

    torch.manual_seed(1)
    tokens = torch.nn.functional.normalize(torch.randn(3, BATCH, 5, DIM), dim=-1)
    masks = torch.ones(3, BATCH, 5, dtype=torch.bool)
    masks[:, :, 4] = torch.rand(3, BATCH) > 0.5
    features = [{"token_embeddings": t, "attention_mask": m} for t, m in zip(tokens, masks, strict=True)]
    teacher = torch.randn(BATCH, 2)
    model: Any = TokenTable()

    documents, document_masks = tokens[1:].flatten(0, 1), masks[1:].flatten(0, 1)
    scores = maxsim(tokens[0], masks[0], documents, document_masks)
    lists = torch.stack([scores[:, :BATCH].diagonal(), scores[:, BATCH:].diagonal()], dim=1)

    theirs = MultiVectorMultipleNegativesRankingLoss(model)(features)
    assert info_nce(scores).item() == pytest.approx(theirs.item(), abs=1e-5)
    theirs = MultiVectorMarginMSELoss(model)(features, teacher)
    assert margin_mse(lists, teacher).item() == pytest.approx(theirs.item(), abs=1e-5)
    theirs = MultiVectorDistillKLDivLoss(model)(features, teacher)
    assert kl_divergence(lists, teacher).item() == pytest.approx(theirs.item(), abs=1e-5)
