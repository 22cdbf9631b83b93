"""What is tercet's own about its vector store: modes, weights, errors before anything is written, tenants, restarts."""

import copy
import json
import pickle
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contract import opened
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode
from numpy.typing import NDArray

from llama_index.embeddings.tercet import TercetEmbedding
from llama_index.vector_stores.tercet import TercetVectorStore
from llama_index.vector_stores.tercet.diversity import most_diverse
from tercet import Document, HybridIndex, SearchPlan
from tercet.encoders.base import Encoder

TEXTS = {
    "keys": "Rotate the signing keys every 90 days.",
    "lost": "Lost keys are reported to the security desk.",
    "soup": "The cafeteria serves soup at noon.",
    "bike": "Bicycles are parked in the yard.",
}
MODE = VectorStoreQueryMode


@pytest.fixture
def store(memory_index: HybridIndex) -> TercetVectorStore:
    store = TercetVectorStore(memory_index)
    store.add([TextNode(id_=id_, text=text, metadata={"length": len(text)}) for id_, text in TEXTS.items()])
    return store


def ask(store: TercetVectorStore, text: str | None, mode: VectorStoreQueryMode, k: int = 4, **fields: Any) -> list[str]:
    return store.query(VectorStoreQuery(query_str=text, similarity_top_k=k, mode=mode, **fields)).ids or []


# --- modes ---


def test_hybrid_is_the_index_s_own_search(store: TercetVectorStore) -> None:
    result = store.query(VectorStoreQuery(query_str="report lost keys", similarity_top_k=3, mode=MODE.HYBRID))
    hits = store.client.search("report lost keys", k=3)

    assert result.ids == [hit.id for hit in hits]
    assert result.similarities == [hit.score for hit in hits]


@pytest.mark.parametrize(("alpha", "mode"), [(0, MODE.SPARSE), (0.0, MODE.SPARSE), (1, MODE.DEFAULT)])
def test_without_late_interaction_alpha_s_ends_are_the_two_halves(
    encoder: Encoder, alpha: float, mode: VectorStoreQueryMode
) -> None:
    index = HybridIndex.in_memory(encoder=encoder, plan=SearchPlan(stages=("dense", "sparse")))
    store = TercetVectorStore(index)
    store.add([TextNode(id_=id_, text=text) for id_, text in TEXTS.items()])

    assert ask(store, "report lost keys", MODE.HYBRID, alpha=alpha) == ask(store, "report lost keys", mode)


def test_alpha_divides_the_weights_and_leaves_late_interaction_its_own(encoder: Encoder) -> None:
    plan = SearchPlan(weights={"dense": 3.0, "sparse": 1.0, "late": 2.0})
    store = TercetVectorStore(HybridIndex.in_memory(encoder=encoder, plan=plan))
    store.add([TextNode(id_=id_, text=text) for id_, text in TEXTS.items()])
    query = VectorStoreQuery(query_str="report lost keys", similarity_top_k=4, mode=MODE.HYBRID, alpha=0.25)

    by_hand = replace(plan, k=4, weights={"dense": 1.0, "sparse": 3.0, "late": 2.0})
    hits = store.client.search("report lost keys", plan=by_hand)
    assert store.query(query).similarities == pytest.approx([hit.score for hit in hits])


def test_default_without_a_vector_lets_the_index_encode_the_query(store: TercetVectorStore) -> None:
    dense = store.client.encoder.encode_query("soup for lunch").dense

    by_text = store.query(VectorStoreQuery(query_str="soup for lunch", similarity_top_k=4))
    by_vector = store.query(VectorStoreQuery(query_embedding=dense.tolist(), similarity_top_k=4))

    assert by_text.ids == by_vector.ids
    assert by_text.similarities == pytest.approx(by_vector.similarities)


def test_sparse_returns_only_nodes_with_a_shared_term(store: TercetVectorStore, encoder: Encoder) -> None:
    query = encoder.encode_query("bicycles").sparse
    [*documents] = encoder.encode_documents(TEXTS.values())
    dots = {id_: query.dot(document.sparse) for id_, document in zip(TEXTS, documents, strict=True)}

    result = store.query(VectorStoreQuery(query_str="bicycles", similarity_top_k=4, mode=MODE.SPARSE))

    expected = sorted((id_ for id_ in dots if dots[id_] > 0), key=lambda id_: -dots[id_])
    assert result.ids == expected
    assert result.similarities == pytest.approx([dots[id_] for id_ in expected], rel=1e-5)
    assert 0 < len(expected) < 4


def test_the_numbers_of_a_hybrid_query_count_hits_and_candidates(store: TercetVectorStore) -> None:
    assert len(ask(store, "keys", MODE.HYBRID, k=1, hybrid_top_k=3)) == 3
    assert len(ask(store, "keys", MODE.HYBRID, k=3, hybrid_top_k=1)) == 1
    assert len(ask(store, "rotate keys", MODE.SPARSE, k=4, sparse_top_k=1)) == 1


def test_a_pool_smaller_than_k_grows(encoder: Encoder) -> None:
    index = HybridIndex.in_memory(encoder=encoder, plan=SearchPlan(k=1, prefetch_k=1, rerank_k=1))
    store = TercetVectorStore(index)
    store.add([TextNode(id_=id_, text=text) for id_, text in TEXTS.items()])

    assert len(ask(store, "keys", MODE.HYBRID, k=4)) == 4


def test_the_vector_of_a_hybrid_query_replaces_the_encoder_s(store: TercetVectorStore, encoder: Encoder) -> None:
    soup = encoder.encode_query("soup for lunch").dense.tolist()
    plain = VectorStoreQuery(query_str="bicycles", similarity_top_k=4, mode=MODE.HYBRID, alpha=1.0)
    given = VectorStoreQuery(query_str="bicycles", query_embedding=soup, similarity_top_k=4, mode=MODE.HYBRID, alpha=1)

    assert store.query(plain).similarities != store.query(given).similarities


# --- diversity ---


def best_by_definition(query: NDArray[Any], rows: NDArray[Any], k: int, threshold: float) -> list[int]:
    chosen: list[int] = [int(np.argmax(rows @ query))]
    while len(chosen) < min(k, len(rows)):
        left = [number for number in range(len(rows)) if number not in chosen]
        values = [threshold * rows[c] @ query - (1 - threshold) * max(rows[c] @ rows[d] for d in chosen) for c in left]
        chosen.append(left[int(np.argmax(values))])
    return chosen


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 1.0])
def test_diversity_is_maximal_marginal_relevance(threshold: float) -> None:
    random = np.random.default_rng(7)
    rows = random.standard_normal((30, 5)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    query = rows[3] + rows[4]
    query /= np.linalg.norm(query)

    assert most_diverse(query, rows, k=8, threshold=threshold) == best_by_definition(query, rows, 8, threshold)


def test_of_threshold_0_comes_the_least_alike_and_of_1_the_nearest() -> None:
    rows = np.array([[1, 0], [1, 0], [0.8, 0.6], [0, 1]], np.float32)
    query = np.array([3, 0.3], np.float32)

    assert most_diverse(query, rows, k=2, threshold=0) == [0, 3]
    assert most_diverse(query, rows, k=2, threshold=1) == [0, 1]
    assert most_diverse(query, rows[:0], k=2, threshold=0.5) == []


def test_mmr_takes_its_threshold_from_the_query_too(store: TercetVectorStore) -> None:
    store.add([TextNode(id_="keys again", text=TEXTS["keys"])])

    assert set(ask(store, "rotate keys", MODE.MMR, k=2, mmr_threshold=1.0)) == {"keys", "keys again"}
    assert set(ask(store, "rotate keys", MODE.MMR, k=2, mmr_threshold=0.0)) != {"keys", "keys again"}


# --- bad input: an error, and nothing is written ---


def vectors(dim: int, count: int = 1) -> list[float]:
    return [1.0] * dim * count


BAD_NODES = {
    "metadata that are no JSON": (TextNode(id_="bad", text="x", metadata={"when": {1, 2}}), "when"),
    "a date": (TextNode(id_="bad", text="x", metadata={"made": np.datetime64("2024-01-01")}), "made"),
    "not a number": (TextNode(id_="bad", text="x", metadata={"score": float("nan")}), "score"),
    "no text": (TextNode(id_="bad", text="  "), "empty text"),
    "an id that is no str": (TextNode(text="x").model_copy(update={"id_": 7}), "id"),
    "our own key": (TextNode(id_="bad", text="x", metadata={"__framework__": 1}), "__framework__"),
    "a short vector": (TextNode(id_="bad", text="x", embedding=vectors(3)), "384"),
    "a long vector": (TextNode(id_="bad", text="x", embedding=vectors(1536)), "1536"),
    "a zero vector": (TextNode(id_="bad", text="x", embedding=[0.0] * 384), "zero"),
    "an infinite vector": (TextNode(id_="bad", text="x", embedding=[float("inf")] * 384), "finite"),
    "relationships that are no JSON": (
        TextNode(
            id_="bad",
            text="x",
            relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id="a", metadata={"made": object()})},
        ),
        "as JSON",
    ),
}


@pytest.mark.parametrize(("bad", "found"), BAD_NODES.values(), ids=BAD_NODES)
async def test_a_bad_node_is_refused_before_its_neighbours_are_written(
    memory_index: HybridIndex, bad: TextNode, found: str
) -> None:
    store = TercetVectorStore(memory_index)
    good = [TextNode(id_="good", text="A good one."), TextNode(id_="rich", text="Another.", embedding=vectors(384))]

    with pytest.raises(ValueError, match=found):
        store.add([*good, bad])
    with pytest.raises(ValueError, match=found):
        await store.async_add([*good, bad])
    assert memory_index.count() == 0


def test_a_vector_of_another_model_s_size_names_the_ways_out(memory_index: HybridIndex) -> None:
    with pytest.raises(ValueError, match=r"1536 numbers.* 384; use TercetEmbedding\(index.encoder\).*encoder_with"):
        TercetVectorStore(memory_index).add([TextNode(id_="a", text="x", embedding=vectors(1536))])


@pytest.mark.parametrize("method", ["add", "get_nodes", "delete", "delete_nodes", "query"])
async def test_unknown_arguments_are_named_and_refused(store: TercetVectorStore, method: str) -> None:
    arguments: dict[str, Sequence[Any]] = {
        "add": [[]],
        "get_nodes": [["keys"]],
        "delete": ["keys"],
        "delete_nodes": [["keys"]],
        "query": [VectorStoreQuery(query_str="keys")],
    }
    twin = {"add": "async_add"}.get(method, f"a{method}")

    with pytest.raises(TypeError, match="qdrant_filters"):
        getattr(store, method)(*arguments[method], qdrant_filters={})
    with pytest.raises(TypeError, match="qdrant_filters"):
        await getattr(store, twin)(*arguments[method], qdrant_filters={})
    assert store.client.count() == 4


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"query_str": "keys", "similarity_top_k": 0}, "at least 1"),
        ({"query_str": "keys", "similarity_top_k": 2.5}, "whole number"),
        ({"query_str": "", "similarity_top_k": 1}, "neither"),
        ({"query_str": "  ", "mode": MODE.HYBRID}, "query_str"),
        ({"query_str": "", "mode": MODE.SPARSE}, "query_str"),
        ({"query_str": "keys", "mode": MODE.SPARSE, "sparse_top_k": 0}, "at least 1"),
        ({"query_str": "keys", "mode": MODE.HYBRID, "hybrid_top_k": 0}, "at least 1"),
        ({"query_str": "keys", "mode": MODE.HYBRID, "alpha": 1.5}, "alpha"),
        ({"query_str": "keys", "mode": MODE.HYBRID, "alpha": -0.1}, "alpha"),
        ({"query_str": "keys", "alpha": 0.5}, "alpha"),
        ({"query_str": "keys", "mode": MODE.MMR, "mmr_threshold": 2}, "mmr_threshold"),
        ({"query_embedding": [1.0, 2.0]}, "384"),
        ({"query_str": "keys", "query_embedding": [1.0, 2.0], "mode": MODE.HYBRID}, "384"),
        ({"query_embedding": [1.0, 2.0], "mode": MODE.MMR}, "384"),
        ({"query_str": "keys", "embedding_field": "title"}, "embedding_field"),
    ],
    ids=str,
)
async def test_a_query_that_cannot_be_answered_is_refused(
    store: TercetVectorStore, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        store.query(VectorStoreQuery(**fields))
    with pytest.raises(ValueError, match=message):
        await store.aquery(VectorStoreQuery(**fields))


def test_arguments_of_one_mode_are_refused_in_another(store: TercetVectorStore) -> None:
    with pytest.raises(ValueError, match="mode mmr"):
        store.query(VectorStoreQuery(query_str="keys"), mmr_threshold=0.5)
    with pytest.raises(ValueError, match="mmr_prefetch_k"):
        store.query(VectorStoreQuery(query_str="keys", mode=MODE.MMR), mmr_prefetch_k=0)


@pytest.mark.parametrize("bad", [[7], "keys", [None]], ids=str)
def test_ids_that_are_no_list_of_str_are_refused(store: TercetVectorStore, bad: Any) -> None:
    for method in (store.get_nodes, store.delete_nodes):
        with pytest.raises(TypeError, match=r"str|list"):
            method(bad)
    with pytest.raises(TypeError, match="str"):
        store.delete(7)  # type: ignore[arg-type]
    assert store.client.count() == 4


# --- what others wrote, and who sees what ---


def test_a_document_that_plain_tercet_wrote_is_a_text_node(memory_index: HybridIndex) -> None:
    memory_index.add([Document("Plain words.", "plain", {"lang": "en"})])
    store = TercetVectorStore(memory_index)
    [node] = store.get_nodes()

    assert node.to_dict() == TextNode(id_="plain", text="Plain words.", metadata={"lang": "en"}).to_dict()
    store.delete("plain")
    assert memory_index.count() == 0


def test_a_document_s_metadata_are_clean_for_others(store: TercetVectorStore) -> None:
    [document] = store.client.get(["keys"])

    assert document.public_metadata == {"length": len(TEXTS["keys"])}


def test_unchanged_nodes_are_not_encoded_again(store: TercetVectorStore) -> None:
    again = [TextNode(id_=id_, text=text, metadata={"length": len(text)}) for id_, text in TEXTS.items()]

    report = store.client.add([*map(copy.deepcopy, store.client.scroll())], progress=False)
    assert len(report.skipped) == 4
    assert store.add(again) == list(TEXTS)


def test_of_equal_ids_in_one_call_the_last_one_counts(memory_index: HybridIndex) -> None:
    store = TercetVectorStore(memory_index)
    nodes = [
        TextNode(id_="a", text="First."),
        TextNode(id_="a", text="Second.", embedding=vectors(384)),
        TextNode(id_="a", text="Third."),
    ]

    assert store.add(nodes) == ["a", "a", "a"]
    assert [node.get_content() for node in store.get_nodes()] == ["Third."]


def test_tenants_over_one_index_do_not_meet(memory_index: HybridIndex) -> None:
    acme, other = (TercetVectorStore(memory_index.for_tenant(name)) for name in ("acme", "other"))
    source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="doc")}
    for store in (acme, other):
        store.add([TextNode(id_="same", text="The same id.", relationships=source)])

    acme.delete("doc")
    assert [len(store.get_nodes()) for store in (acme, other)] == [0, 1]
    acme.clear()
    assert memory_index.count() == 1
    assert ask(other, "id", MODE.HYBRID, node_ids=["same"], doc_ids=["doc"]) == ["same"]


def test_an_index_opened_again_answers_without_anything_persisted(tmp_path: Path, encoder: Encoder) -> None:
    with opened("embedded", tmp_path) as index:
        store = TercetVectorStore(index)
        vector_index = VectorStoreIndex(
            [TextNode(id_=id_, text=text) for id_, text in TEXTS.items()],
            storage_context=StorageContext.from_defaults(vector_store=store),
            embed_model=TercetEmbedding(encoder),
        )
        before = vector_index.as_retriever(similarity_top_k=2).retrieve("lost keys")
        store.persist(str(tmp_path / "unused.json"))
    assert not (tmp_path / "unused.json").exists()

    with opened("embedded", tmp_path) as index:
        again = VectorStoreIndex.from_vector_store(TercetVectorStore(index), embed_model=TercetEmbedding(encoder))
        after = again.as_retriever(similarity_top_k=2).retrieve("lost keys")
    assert [(found.node_id, found.score) for found in after] == [(found.node_id, found.score) for found in before]


def test_nothing_of_the_index_is_written_down(store: TercetVectorStore) -> None:
    assert store.to_dict() == {"stores_text": True, "is_embedding_query": True, "class_name": "TercetVectorStore"}
    assert json.loads(store.to_json()) == store.to_dict()
    with pytest.raises(TypeError, match="open it there"):
        pickle.dumps(store)


def test_a_query_without_embedding_asks_no_embed_model(store: TercetVectorStore, encoder: Encoder) -> None:
    class Unasked(TercetEmbedding):
        def _get_query_embedding(self, query: str) -> list[float]:
            raise AssertionError("the index encodes the query itself")

    plain = TercetVectorStore(store.client, is_embedding_query=False)
    index = VectorStoreIndex.from_vector_store(plain, embed_model=Unasked(encoder))

    for mode in ("default", "hybrid", "sparse", "mmr"):
        found = index.as_retriever(similarity_top_k=1, vector_store_query_mode=mode).retrieve("lost keys")
        assert [node.node_id for node in found] == ["lost"]


def test_a_hybrid_query_tells_of_its_reranking(store: TercetVectorStore, recorder: Any) -> None:
    ask(store, "lost keys", MODE.HYBRID, k=2)

    [event] = recorder.of(ReRankEndEvent)
    assert event.nodes[0].node_id == "lost"
    assert all(first.score >= second.score for first, second in combinations(event.nodes, 2))
