import math
from typing import Any

import pytest
import torch
from sentence_transformers.sparse_encoder.losses import FlopsLoss

from tercet.errors import TrainingCollapsed
from tercet.training.regularizers import (
    CollapseGuard,
    DocumentShare,
    LambdaController,
    df_flops,
    flops,
    frequency_weight,
    l1,
    quadratic_warm_up,
)

VECTORS = torch.tensor([[2.0, 0.0, 1.0], [0.0, 0.0, 3.0]])


def test_flops_and_l1_by_hand() -> None:
    assert flops(VECTORS).item() == 1.0**2 + 0 + 2.0**2
    assert l1(VECTORS).item() == (3 + 3) / 2


def test_flops_is_that_of_sentence_transformers() -> None:
    torch.manual_seed(0)
    vectors = torch.relu(torch.randn(8, 50))
    no_model: Any = None
    theirs = FlopsLoss(no_model).compute_loss_from_embeddings(vectors)

    assert flops(vectors).item() == pytest.approx(theirs.item(), abs=1e-5)


def test_df_flops_spares_rare_terms_and_is_flops_where_all_documents_share_a_term() -> None:
    shares = torch.tensor([0.0, 0.01, 0.1, 0.3, 1.0])
    weights = frequency_weight(shares, alpha=0.1, beta=10.0)

    assert weights[2].item() == pytest.approx(0.5)
    assert weights[4].item() == 1.0
    assert weights[0].item() == 0.0
    # by the formula: 1 / (1 + (.3^log_.1(2) − 1)^10)
    by_hand = 1 / (1 + (0.3 ** (math.log(2) / math.log(0.1)) - 1) ** 10)
    assert weights[3].item() == pytest.approx(by_hand, rel=1e-4)
    assert df_flops(VECTORS, torch.ones(3)).item() == flops(VECTORS).item()
    assert df_flops(VECTORS, torch.zeros(3)).item() == 0.0


def test_document_shares_are_those_of_the_batches_from_the_first_one_on() -> None:
    shares = DocumentShare(3, memory=0.9)

    assert shares.update(VECTORS).tolist() == pytest.approx([0.5, 0, 1])
    for _ in range(100):
        estimate = shares.update(torch.ones(2, 3))
    assert estimate.tolist() == pytest.approx([1, 1, 1], abs=1e-3)


def test_the_warm_up_is_quadratic() -> None:
    assert [quadratic_warm_up(step, 4) for step in (0, 1, 2, 4, 9)] == [0, 1 / 16, 1 / 4, 1, 1]
    assert quadratic_warm_up(0, 0) == 1


@pytest.mark.parametrize("target", [20, 120, 600])
def test_lambda_finds_the_weight_that_gives_the_target(target: int) -> None:
    """A plant whose terms follow λ with a lag, as a head's do: terms → 2000 / (1 + 500 λ)."""
    controller, terms = LambdaController(target=target, rate=0.05, damping=0.5), 2000.0
    for _ in range(600):
        weight = controller.update(terms)
        terms += 0.05 * (2000 / (1 + 500 * weight) - terms)

    assert terms == pytest.approx(target, rel=0.15)


def test_without_a_target_lambda_stays() -> None:
    controller = LambdaController(target=None, value=0.03)

    assert controller.update(10_000) == controller.update(0) == 0.03


def test_a_controller_survives_being_saved() -> None:
    controller = LambdaController(target=100)
    controller.update(300)

    assert LambdaController.restored(controller.state()) == controller


def test_dead_vectors_stop_the_run_and_the_message_says_what_to_change() -> None:
    guard = CollapseGuard(side="document", most_terms=50, patience=3)
    dead = torch.zeros(4, 100)
    guard.check(dead, 1, weight=0.5)
    guard.check(torch.ones(4, 100)[:, :50], 2, weight=0.5)  # alive again: counted from the start
    guard.check(dead, 3, weight=0.5)
    guard.check(dead, 4, weight=0.5)

    with pytest.raises(TrainingCollapsed, match=r"document vectors died: 0\.0 terms .* step 5, 4 of 4 .* Raise tar"):
        guard.check(dead, 5, weight=0.5)


def test_dense_vectors_stop_the_run_but_not_at_its_start() -> None:
    guard = CollapseGuard(side="query", most_terms=50, patience=2, grace=10)
    for step in range(10):
        guard.check(torch.ones(4, 100), step, weight=0.01)
    guard.check(torch.ones(4, 100), 10, weight=0.01)

    with pytest.raises(TrainingCollapsed, match=r"query vectors went dense: 100 terms .* at most 50 .* Lower targ"):
        guard.check(torch.ones(4, 100), 11, weight=0.01)
