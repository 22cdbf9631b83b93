from __future__ import annotations

import json
import xml.etree.ElementTree
from pathlib import Path

import pytest

from tercet import HybridIndex
from tercet.evaluation import Evaluation, JudgedCollection, evaluate, read_run
from tercet.evaluation.report import save_evaluation, save_runs, to_dict, to_json, to_markdown


@pytest.fixture
def evaluation(index: HybridIndex, collection: JudgedCollection) -> Evaluation:
    return evaluate(index, collection, timed_queries=2)


def test_markdown_has_a_row_for_each_system(evaluation: Evaluation) -> None:
    lines = to_markdown(evaluation).splitlines()

    assert lines[0] == "# small"
    header = next(line for line in lines if "nDCG@10" in line)
    assert header == ("|  | nDCG@10 | RR@10 | R@100 | AP | P@10 | ± BM25 | p | p50 ms | p95 ms | bytes a passage |")
    table = lines[lines.index(header) :]
    assert [line.split(" | ")[0] for line in table[2:8]] == [f"| {system.name}" for system in evaluation.systems]
    assert {line.count("|") for line in table[:8]} == {header.count("|")}


def test_markdown_without_times_and_vectors_has_fewer_columns(index: HybridIndex, collection: JudgedCollection) -> None:
    text = to_markdown(evaluate(index, collection, timed_queries=0, sparsity=False, measures=["P@1"]))

    assert "|  | P@1 | ± BM25 | p |" in text
    assert "## Vectors" not in text


def test_json_is_the_whole_report(evaluation: Evaluation) -> None:
    value = json.loads(to_json(evaluation, by_query=True))

    final = value["systems"]["final"]
    assert final["scores"] == dict(evaluation["final"].scores.mean)
    assert final["by_query"]["nDCG@10"].keys() == {"q1", "q2", "q3"}
    assert final["difference"]["test"] == "t-test"
    assert value["plan"]["stages"] == ["dense", "sparse", "late"]
    assert value["sparsity"]["documents"] == 5
    assert "by_query" not in to_dict(evaluation)["systems"]["final"]


def test_a_plot_is_an_svg_that_is_the_same_every_time(evaluation: Evaluation, tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        save_evaluation(evaluation, tmp_path / name)

    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    texts = {element.text for element in xml.etree.ElementTree.parse(tmp_path / "a.svg").iter()}
    assert {"final", "BM25", "small, 3 queries"} <= texts


def test_the_ending_says_what_is_written(evaluation: Evaluation, tmp_path: Path) -> None:
    for name in ("a.png", "a.md", "a.json"):
        save_evaluation(evaluation, tmp_path / name)

    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "a.md").read_text() == to_markdown(evaluation)
    with pytest.raises(ValueError, match=r"got 'a\.html'"):
        save_evaluation(evaluation, tmp_path / "a.html")
    with pytest.raises(ValueError, match="there is no folder"):
        save_evaluation(evaluation, tmp_path / "none" / "a.md")


def test_runs_are_written_under_the_names_of_their_rows(evaluation: Evaluation, tmp_path: Path) -> None:
    paths = save_runs(evaluation, tmp_path / "runs")

    assert [path.name for path in paths[3:]] == ["fused-dense-+-sparse.trec", "late-on-the-pool.trec", "final.trec"]
    ids = {query: [scored.id for scored in ranking] for query, ranking in read_run(paths[-1]).items()}
    assert ids == {
        query: [scored.id for scored in ranking] for query, ranking in evaluation["final"].run.items() if ranking
    }
