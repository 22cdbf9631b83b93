"""Ten documents whose order is known by hand, and the gate at which each falls."""

import pytest

from tercet import Document, HybridIndex, SearchPlan
from tests.toys import ToyEncoder

SPARSE_ALONE = SearchPlan(k=2, prefetch_k=3, stages=("sparse",))


@pytest.fixture
def index() -> HybridIndex:
    """The more often "heart" stands in a text, the higher it is ranked by terms: h5 first, h1 last, cat nowhere."""
    index = HybridIndex.in_memory(encoder=ToyEncoder())
    index.add([Document("heart " * n, f"h{n}", {"n": n, "lang": "en"}) for n in range(1, 6)])
    index.add([Document("oxygen cat", "cat", {"lang": "de"})])
    return index


def test_a_hit_fell_nowhere(index: HybridIndex) -> None:
    answer = index.why_not("heart", "h5", plan=SPARSE_ALONE)

    assert answer.found
    assert answer.fell_at is None


def test_a_document_behind_the_last_hit_says_by_how_much(index: HybridIndex) -> None:
    gate = index.why_not("heart", "h3", plan=SPARSE_ALONE).fell_at

    scores = {hit.id: hit.score for hit in index.search("heart", plan=SearchPlan(stages=("sparse",)))}
    assert gate is not None
    assert gate.name == "k"
    assert gate.says == "rank 3 of 3, of which 2 are returned"
    assert gate.missing == pytest.approx(scores["h4"] - scores["h3"])


def test_a_document_behind_the_prefetch_says_what_it_would_have_needed(index: HybridIndex) -> None:
    gate = index.why_not("heart", "h1", plan=SPARSE_ALONE).fell_at

    scores = {hit.id: hit.score for hit in index.search("heart", plan=SearchPlan(stages=("sparse",)))}
    assert gate is not None
    assert (gate.name, gate.score, gate.needed) == ("prefetch", pytest.approx(1), pytest.approx(scores["h3"]))


def test_a_document_without_a_shared_term_says_so(index: HybridIndex) -> None:
    gate = index.why_not("heart", "cat", plan=SearchPlan(stages=("sparse",))).fell_at

    assert gate is not None
    assert (gate.name, gate.says) == ("prefetch", "sparse: no shared term")


def test_a_filter_names_the_condition_that_fails_and_ends_the_way(index: HybridIndex) -> None:
    answer = index.why_not("heart", "h1", where={"lang": "en", "n": {"gte": 2}})

    assert [gate.name for gate in answer.gates] == ["filter"]
    assert answer.gates[0].says == "its metadata do not match {'n': {'gte': 2}}"


def test_a_document_outside_of_the_pool_says_where_late_interaction_would_have_put_it(index: HybridIndex) -> None:
    plan = SearchPlan(k=1, prefetch_k=6, rerank_k=1, mode="cascade")
    first = index.rankings(["oxygen cat heart"], plan=plan)[0]["fused"][0].id
    other = "h1" if first == "cat" else "cat"
    gate = index.why_not("oxygen cat heart", other, plan=plan).fell_at

    assert gate is not None
    assert gate.name == "pool"
    assert "of which 1 are reranked; late interaction would have put it at rank" in gate.says


@pytest.mark.parametrize(("threshold", "needed"), [(1.5, 1.5), ({"sparse": 1.2}, 1.2)])
def test_a_threshold_is_a_gate(index: HybridIndex, threshold: float, needed: float) -> None:
    plan = SearchPlan(stages=("sparse",), threshold=threshold)
    gate = index.why_not("heart", "h1", plan=plan).fell_at

    assert gate is not None
    assert (gate.name, gate.needed, gate.score) == ("threshold", needed, pytest.approx(1))


def test_a_stage_of_weight_0_finds_nothing_by_itself(index: HybridIndex) -> None:
    plan = SearchPlan(k=1, prefetch_k=1, weights={"sparse": 0}, stages=("dense", "sparse"))
    by_terms = index.rankings(["heart heart cat"], plan=plan)[0]["sparse"][0].id
    answer = index.why_not("heart heart cat", by_terms, plan=plan)

    assert answer.found == (by_terms in {hit.id for hit in index.search("heart heart cat", plan=plan)})
    assert "weight 0 and finds nothing by itself" in answer.gates[0].says


def test_found_is_what_search_says_for_every_document_and_plan(index: HybridIndex) -> None:
    plans = [
        SearchPlan(k=2, prefetch_k=3, rerank_k=2, fusion=fusion, mode=mode, threshold=threshold)
        for fusion in ("rrf", "min_max")
        for mode in ("fused", "cascade")
        for threshold in (None, 0.05, {"late": 0.9})
    ]
    for plan in plans:
        hits = {hit.id for hit in index.search("heart oxygen", plan=plan)}
        assert {id_ for id_ in ("h1", "h2", "h3", "h4", "h5", "cat")
                if index.why_not("heart oxygen", id_, plan=plan).found} == hits  # fmt: skip
