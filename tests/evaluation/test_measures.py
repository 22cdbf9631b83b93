from __future__ import annotations

from pathlib import Path

import ir_measures
import numpy as np
import pytest

from tercet.evaluation.judgements import read_qrels
from tercet.evaluation.measures import DEFAULT_MEASURES, measure_names, score
from tercet.evaluation.runs import read_run
from tercet.types import Scored

QRELS = {"q1": {"a": 2, "b": 1, "c": 0}, "q2": {"d": 1}}


def test_figures_equal_those_of_ir_measures_on_the_same_files(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    run_lines, qrel_lines = [], []
    for query in range(30):
        for document in random.permutation(200)[:150]:
            run_lines.append(f"q{query} Q0 d{document} 0 {random.integers(1000) / 7} x\n")
        for document in random.permutation(200)[:20]:
            qrel_lines.append(f"q{query} 0 d{document} {random.integers(-1, 4)}\n")
    (tmp_path / "run").write_text("".join(run_lines))
    (tmp_path / "qrels").write_text("".join(qrel_lines))
    # RR@10 is left out: its provider inside ir-measures breaks ties otherwise than trec_eval does.
    names = ["nDCG@10", "R@100", "AP", "P@10", "P@1", "RR", "nDCG", "Rprec"]

    ours = score(read_run(tmp_path / "run"), read_qrels(tmp_path / "qrels"), names)

    reference = ir_measures.calc(
        [ir_measures.parse_trec_measure(name)[0] for name in ["ndcg_cut_10", "recall_100", "map", "P_10", "P_1"]]
        + [ir_measures.RR, ir_measures.nDCG, ir_measures.Rprec],
        list(ir_measures.read_trec_qrels(str(tmp_path / "qrels"))),
        list(ir_measures.read_trec_run(str(tmp_path / "run"))),
    )
    assert ours.mean == pytest.approx({str(measure): value for measure, value in reference.aggregated.items()})
    for metric in reference.per_query:
        assert ours.by_query[str(metric.measure)][metric.query_id] == pytest.approx(metric.value)


def test_the_order_is_measured_even_where_scores_are_equal() -> None:
    assert score({"q2": [Scored("d", 1.0), Scored("x", 1.0)]}, {"q2": {"d": 1}}, ["P@1"]).mean == {"P@1": 1.0}
    assert score({"q2": [Scored("x", 1.0), Scored("d", 1.0)]}, {"q2": {"d": 1}}, ["P@1"]).mean == {"P@1": 0.0}


def test_a_query_that_is_not_answered_counts_0_and_one_that_is_not_judged_does_not_count() -> None:
    run = {"q1": [Scored("a", 1.0)], "unjudged": [Scored("a", 1.0)]}

    scores = score(run, QRELS, ["P@1"])

    assert scores.mean == {"P@1": 0.5}
    assert scores.by_query == {"P@1": {"q1": 1.0, "q2": 0.0}}
    assert score({}, QRELS, ["P@1", "RR@10"]).mean == {"P@1": 0.0, "RR@10": 0.0}
    assert score({"q1": []}, QRELS, ["nDCG@10"]).mean == {"nDCG@10": 0.0}


def test_measures_have_one_name() -> None:
    assert measure_names(["MRR@10", "RR@10", "MAP", "Recall@100"]) == ("RR@10", "AP", "R@100")
    assert measure_names(DEFAULT_MEASURES) == DEFAULT_MEASURES


@pytest.mark.parametrize("name", ["nDGC@10", "P", "", "nDCG@", "nDCG@0", "calc", "define", "SetR@5", "alpha_nDCG@10"])
def test_a_measure_that_is_none_or_cannot_be_computed_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"measure|cut"):
        measure_names([name])


def test_no_measure_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one measure"):
        measure_names([])
