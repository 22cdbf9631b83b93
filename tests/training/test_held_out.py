import ir_measures
import pytest
import torch

from tercet.training.held_out import ndcg_at_10


def test_ndcg_is_trec_evals() -> None:
    torch.manual_seed(0)
    scores, relevant = torch.randn(12, 40), torch.rand(12, 40) > 0.9
    relevant[:, 3] = True
    qrels = [ir_measures.Qrel(str(q), str(d), int(relevant[q, d])) for q in range(12) for d in range(40)]
    run = [ir_measures.ScoredDoc(str(q), str(d), float(scores[q, d])) for q in range(12) for d in range(40)]

    theirs = ir_measures.calc_aggregate([ir_measures.nDCG @ 10], qrels, run)[ir_measures.nDCG @ 10]
    assert ndcg_at_10(scores, relevant) == pytest.approx(theirs, abs=1e-6)


def test_a_head_that_scores_nothing_has_found_nothing() -> None:
    relevant = torch.zeros(1, 30, dtype=torch.bool)
    relevant[0, 0] = True

    assert ndcg_at_10(torch.zeros(1, 30), relevant) == 0
