from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import ir_measures
import pytest

from tercet import HybridIndex, SearchPlan
from tercet.errors import UnreadableFile
from tercet.evaluation import JudgedCollection, evaluate, fuse_runs
from tercet.evaluation.experiment import ablated_plans
from tercet.types import Document, Scored
from tests.toys import ToyEncoder

STAGES = ["BM25", "dense", "sparse", "fused (dense + sparse)", "late on the pool", "final"]


def test_one_pass_gives_every_stage_as_the_index_ranks_it(index: HybridIndex, collection: JudgedCollection) -> None:
    evaluation = evaluate(index, collection)

    assert [system.name for system in evaluation.systems] == STAGES
    traces = index.rankings(list(collection.queries.values()))
    for stage, name in (("dense", "dense"), ("late", "late on the pool"), ("final", "final")):
        assert list(evaluation[name].run.values()) == [trace[stage] for trace in traces]
    hits = index.search(collection.queries["q1"], k=5, plan=SearchPlan(k=5))
    assert [scored.id for scored in evaluation["final"].run["q1"]] == [hit.id for hit in hits]


def test_figures_are_those_of_ir_measures(index: HybridIndex, collection: JudgedCollection) -> None:
    final = evaluate(index, collection, measures=["nDCG@10", "MAP"])["final"]

    run = {query: {scored.id: scored.score for scored in ranking} for query, ranking in final.run.items()}
    reference = ir_measures.calc_aggregate([ir_measures.nDCG @ 10, ir_measures.AP], dict(collection.qrels), run)
    assert final.scores.mean == pytest.approx({str(measure): value for measure, value in reference.items()})


def test_rows_are_compared_with_the_baseline_on_the_first_measure(
    index: HybridIndex, collection: JudgedCollection
) -> None:
    evaluation = evaluate(index, collection, measures=["P@1", "AP"], baseline="dense")

    assert evaluation["dense"].difference is None
    difference = evaluation["final"].difference
    assert difference is not None
    means = evaluation["final"].scores.mean, evaluation["dense"].scores.mean
    assert difference.mean == pytest.approx(means[0]["P@1"] - means[1]["P@1"])


def test_latency_and_bytes_stand_beside_the_figures(index: HybridIndex, collection: JudgedCollection) -> None:
    evaluation = evaluate(index, collection, timed_queries=2)

    latency = evaluation["final"].latency
    assert latency is not None
    assert latency.queries == 2
    assert 0 < latency.p50 <= latency.p95
    sizes = {system.name: system.bytes_per_passage for system in evaluation.systems}
    assert sizes["BM25"] is None
    assert sizes["dense"] == 4 * 16
    assert sizes["final"] == sizes["late on the pool"] > sizes["fused (dense + sparse)"] > sizes["dense"]  # type: ignore[operator]
    untimed = evaluate(index, collection, timed_queries=0, sparsity=False)
    assert {system.latency for system in untimed.systems} == {None}
    assert {system.bytes_per_passage for system in untimed.systems} == {None}


def test_the_ceiling_is_the_pool_in_its_best_order(toy_encoder: ToyEncoder) -> None:
    documents = [Document("red", "a"), Document("red red blue", "b"), Document("blue", "c"), Document("green", "d")]
    collection = JudgedCollection("few", {"q": "red"}, {"q": {"b": 2, "a": 1, "d": 1}}, tuple(documents))
    index = HybridIndex.in_memory(encoder=toy_encoder)
    index.add(documents)
    plan = SearchPlan(k=2, prefetch_k=2, rerank_k=2)

    ceiling = evaluate(index, collection, plan=plan, measures=["P@1", "nDCG@10"]).ceiling

    assert ceiling.pool == 2
    assert ceiling.recall == pytest.approx(2 / 3)  # a and b are found, d is not
    assert ceiling.scores.mean["P@1"] == 1


def test_ablations_leave_one_stage_out_or_join_otherwise(index: HybridIndex, collection: JudgedCollection) -> None:
    evaluation = evaluate(index, collection, ablations=True)

    names = ["final without dense", "final without sparse", "final without late", "final by ranks instead"]
    assert [system.name for system in evaluation.systems] == [*STAGES, *names]
    [trace] = index.rankings([collection.queries["q2"]], plan=SearchPlan(stages=("sparse", "late")))
    assert evaluation["final without dense"].run["q2"] == trace["final"]


def test_every_plan_has_ablations_that_can_be_asked() -> None:
    assert ablated_plans(SearchPlan(stages=("sparse",))) == {}
    assert list(ablated_plans(SearchPlan(stages=("dense", "late"), fusion="rrf"))) == [
        "final without late",
        "final by scores instead",
    ]
    cascade = ablated_plans(SearchPlan(mode="cascade"))
    assert cascade["final without late"].mode == "fused"
    assert list(cascade) == ["final without dense", "final without sparse", "final without late"]
    assert ablated_plans(SearchPlan(threshold={"dense": 0.5}))["final without dense"].threshold is None


@pytest.mark.parametrize(
    "plan",
    [
        SearchPlan(stages=("sparse",)),
        SearchPlan(stages=("dense", "late"), mode="cascade"),
        SearchPlan(weights={"sparse": 0}, k=3, prefetch_k=3),
        SearchPlan(threshold=0.9),
        SearchPlan(stages=("dense", "sparse"), k=150),
    ],
)
def test_any_plan_can_be_measured(index: HybridIndex, collection: JudgedCollection, plan: SearchPlan) -> None:
    evaluation = evaluate(index, collection, plan=plan, ablations=True, timed_queries=1)

    expected = [*plan.prefetches, *(["late on the pool"] if "late" in plan.stages else []), "final"]
    names = [system.name for system in evaluation.systems]
    assert [name for name in names if name in expected] == expected


def test_runs_from_elsewhere_are_rows_and_are_fused_with_the_final_order(
    index: HybridIndex, collection: JudgedCollection
) -> None:
    run = {"q1": [Scored("cat", 3.0), Scored("dog", 1.0)], "q2": [Scored("pear", 2.0)]}

    evaluation = evaluate(index, collection, runs={"theirs": run}, fuse_with=["BM25", "theirs"])

    assert [system.name for system in evaluation.systems] == [*STAGES, "final + BM25", "final + theirs", "theirs"]
    assert evaluation["theirs"].run == run
    assert evaluation["final + theirs"].run == fuse_runs({"final": evaluation["final"].run, "theirs": run})
    assert evaluation["theirs"].latency is None


def test_self_matches_are_dropped_from_every_row(toy_encoder: ToyEncoder) -> None:
    texts = {"a": "red apple", "b": "red pear", "c": "green pear"}
    documents = tuple(Document(text, id) for id, text in texts.items())
    collection = JudgedCollection("self", texts, {"a": {"b": 1}, "b": {"a": 1}, "c": {"b": 1}}, documents)
    index = HybridIndex.in_memory(encoder=toy_encoder)
    index.add(documents)

    evaluation = evaluate(index, collection, drop_self_matches=True, measures=["P@1"], fuse_with=["BM25"], depth=2)

    for system in evaluation.systems:
        assert not any(scored.id == query for query, ranking in system.run.items() for scored in ranking)
    assert len(evaluation["dense"].run["a"]) == 2
    assert evaluation["final"].scores.mean["P@1"] == 1
    assert evaluate(index, collection, measures=["P@1"])["final"].scores.mean["P@1"] == 0
    assert evaluation.ceiling.recall == 1


def test_documents_that_are_not_indexed_are_noted_with_file_and_line(
    index: HybridIndex, collection: JudgedCollection, tmp_path: Path
) -> None:
    index.delete(["keys"])
    qrels = tmp_path / "small" / "qrels.tsv"
    line = 1 + [row.split("\t")[1] for row in qrels.read_text().splitlines()].index("keys")

    [note] = evaluate(index, collection).notes
    expected = "1 of 5 relevant documents are not in the index and count as not found (the first is 'keys'"
    assert note == f"{expected}, judged at {qrels}:{line})"
    [note] = evaluate(index, replace(collection, places={})).notes
    assert note == f"{expected})"


def test_an_index_of_other_documents_is_refused(collection: JudgedCollection, toy_encoder: ToyEncoder) -> None:
    other = HybridIndex.in_memory(encoder=toy_encoder)
    other.add(["something else"])

    with pytest.raises(ValueError, match="none of the 5 relevant documents of small is in the index"):
        evaluate(other, collection)


def test_without_documents_bm25_reads_those_of_the_index(index: HybridIndex, collection: JudgedCollection) -> None:
    alone = replace(collection, documents=())

    assert evaluate(index, alone)["BM25"].run == evaluate(index, collection)["BM25"].run


def test_mistakes_are_named(index: HybridIndex, collection: JudgedCollection) -> None:
    with pytest.raises(ValueError, match="the baseline 'bm25' is not among BM25, dense"):
        evaluate(index, collection, baseline="bm25")
    with pytest.raises(ValueError, match="no run 'theirs' to fuse with, there are: BM25"):
        evaluate(index, collection, fuse_with=["theirs"])
    with pytest.raises(ValueError, match="a run is named 'dense'"):
        evaluate(index, collection, runs={"dense": {"q1": [Scored("a", 1)]}})
    with pytest.raises(UnreadableFile, match="theirs: answers none of the 3 judged queries of small"):
        evaluate(index, collection, runs={"theirs": {"x": [Scored("a", 1)]}})
    with pytest.raises(KeyError, match="'best' is not among"):
        evaluate(index, collection)["best"]
