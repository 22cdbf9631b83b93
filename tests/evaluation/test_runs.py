from __future__ import annotations

from pathlib import Path

import ir_measures
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.errors import UnreadableFile
from tercet.evaluation.measures import score
from tercet.evaluation.runs import check_runs_belong, fuse_runs, read_run, trimmed, write_run
from tercet.types import Scored, ranked


def test_a_run_file_is_read_best_first(tmp_path: Path) -> None:
    (tmp_path / "a.trec").write_text("q1 Q0 a 1 0.5 x\nq1 Q0 b 2 0.75 x\n\nq2\tQ0\ta\t1\t-1e-3\tx\n")

    assert read_run(tmp_path / "a.trec") == {"q1": [("b", 0.75), ("a", 0.5)], "q2": [("a", -0.001)]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a.trec: is empty"),
        ("q1 Q0 a 1 0.5\n", "a.trec:1: has 5 columns"),
        ("q1 Q0 a 1 high x\n", "a.trec:1: the score must be a finite number, got 'high'"),
        ("q1 Q0 a 1 nan x\n", "a.trec:1: the score must be a finite number"),
        ("q1 Q0 a 1 2 x\nq2 Q0 a 1 2 x\nq1 Q0 a 2 1 x\n", "a.trec:3: document 'a' stands for query 'q1' on line 1"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.trec").write_text(text)

    with pytest.raises(UnreadableFile, match=r"a\.trec") as raised:
        read_run(tmp_path / "a.trec")
    assert message in str(raised.value)


def test_a_missing_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"none.trec: cannot be read: No such file"):
        read_run(tmp_path / "none.trec")


SCORES = st.dictionaries(
    st.sampled_from("abcdefgh"), st.sampled_from([0.0, -1.5, 0.1, 0.1 + 1e-12, 1e-30, 3e38]), min_size=1
)


@given(st.dictionaries(st.sampled_from(["1", "2", "3"]), SCORES, min_size=1))
def test_a_written_run_keeps_its_order_whoever_reads_it(
    tmp_path_factory: pytest.TempPathFactory, scores: dict[str, dict[str, float]]
) -> None:
    run = {query: ranked(documents) for query, documents in scores.items()}
    path = tmp_path_factory.mktemp("runs") / "a.trec"
    write_run(run, path)

    qrels = {query: {id: ord(id) % 3 for id in "abcdefgh"} for query in run}
    ids = {query: [scored.id for scored in ranking] for query, ranking in run.items()}
    assert {query: [scored.id for scored in ranking] for query, ranking in read_run(path).items()} == ids
    measures = [ir_measures.nDCG @ 10, ir_measures.RR @ 10, ir_measures.AP]
    reference = ir_measures.calc_aggregate(measures, qrels, list(ir_measures.read_trec_run(str(path))))
    mean = score(run, qrels, ["nDCG@10", "RR@10", "AP"]).mean
    assert mean == pytest.approx({str(measure): value for measure, value in reference.items()})


def test_an_id_with_a_blank_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot hold 'my doc'"):
        write_run({"q1": [Scored("my doc", 1.0)]}, tmp_path / "a.trec")
    assert not (tmp_path / "a.trec").exists()


def test_imported_runs_are_fused_by_stretched_scores() -> None:
    bm25 = {"q1": [Scored("a", 12.0), Scored("b", 8.0), Scored("c", 4.0)]}
    splade = {"q1": [Scored("b", 1.0), Scored("a", 0.8), Scored("d", 0.6)], "q2": [Scored("a", 1.0)]}

    fused = fuse_runs({"bm25": bm25, "splade": splade}, weights={"splade": 3.0})

    # a: (1 · 1 + 3 · .5) / 4, b: (1 · .5 + 3 · 1) / 4, and the last of each ranking counts 0.
    assert [scored.id for scored in fused["q1"]] == ["b", "a", "c", "d"]
    assert [scored.score for scored in fused["q1"]] == pytest.approx([0.875, 0.625, 0.0, 0.0])
    assert [scored.id for scored in fused["q2"]] == ["a"]


def test_imported_runs_are_fused_by_rank() -> None:
    fused = fuse_runs(
        {"a": {"q": [Scored("x", 9), Scored("y", 8)]}, "b": {"q": [Scored("y", 1)]}}, fusion="rrf", rank_constant=1
    )

    assert fused["q"] == [("y", pytest.approx(1 / 3 + 1 / 2)), ("x", pytest.approx(1 / 2))]


def test_a_weight_for_no_run_is_refused() -> None:
    with pytest.raises(ValueError, match=r"weights name \['c'\], the runs are 'a', 'b'"):
        fuse_runs({"a": {}, "b": {}}, weights={"c": 1.0})


def test_a_query_is_not_its_own_answer_and_the_next_document_moves_up() -> None:
    rankings = [("a", [Scored("a", 3), Scored("b", 2), Scored("c", 1)])]

    assert trimmed(rankings, 2, drop_self_matches=True) == {"a": [("b", 2), ("c", 1)]}
    assert trimmed(rankings, 2, drop_self_matches=False) == {"a": [("a", 3), ("b", 2)]}


def test_a_run_of_another_collection_is_refused() -> None:
    with pytest.raises(UnreadableFile, match=r"bm25: answers none of the 1 judged queries of small \(its first is 'x'"):
        check_runs_belong({"bm25": {"x": []}}, ["q1"], "small")
