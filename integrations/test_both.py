"""One collection, both frameworks: what one wrote the other reads whole, and both give the same hits.

Run from this folder with both distributions installed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
from langchain_core.documents import Document as LangChainDocument
from langchain_core.vectorstores.utils import maximal_marginal_relevance
from langchain_tercet import TercetReranker
from langchain_tercet import TercetRetriever as LangChainRetriever
from langchain_tercet import TercetVectorStore as LangChainStore
from llama_index.core.schema import NodeRelationship, NodeWithScore, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode
from llama_index.postprocessor.tercet import TercetRerank
from llama_index.retrievers.tercet import TercetRetriever as LlamaIndexRetriever
from llama_index.vector_stores.tercet import TercetVectorStore as LlamaIndexStore
from tercet import FRAMEWORK_KEY, HybridIndex, SearchPlan

from contract import EVERY_KIND, KEYS, ODD_IDS, THREE, opened

PASSAGES = [
    "Rotate the signing keys every 90 days, and whenever somebody leaves the team.",
    "Lost keys are reported to the security desk before noon.",
    "The cafeteria serves soup at noon; keys to the kitchen hang at the door.",
    "Bicycles are parked in the yard behind the kitchen.",
    "The security desk is open day and night.",
    "Teams meet every ninety days to look back.",
]
QUERIES = ["when are keys rotated?", "soup", "who do I tell that my keys are lost?", "ninety days", "bike parking"]


@pytest.fixture(params=["memory", "embedded"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[HybridIndex]:
    with opened(request.param, tmp_path) as index:
        yield index


def langchain_documents() -> list[LangChainDocument]:
    documents = [LangChainDocument(d.text, id=d.id, metadata=dict(d.metadata)) for d in THREE]
    documents += [LangChainDocument(f"Passage number {n}.", id=id_) for n, id_ in enumerate(ODD_IDS)]
    return [*documents, LangChainDocument("Everything there is.", id="every", metadata=EVERY_KIND)]


def nodes_with_everything() -> list[TextNode]:
    related = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="handbook", metadata={"file": "a.txt"})}
    nodes = [TextNode(id_=d.id, text=d.text, metadata=dict(d.metadata), relationships=related) for d in THREE]
    nodes += [TextNode(id_=id_, text=f"Passage number {n}.", relationships=related) for n, id_ in enumerate(ODD_IDS)]
    every = TextNode(
        id_="every",
        text="Everything there is.",
        metadata=dict(EVERY_KIND),
        excluded_llm_metadata_keys=["flag"],
        start_char_idx=3,
        text_template="{content}",
    )
    return [*nodes, every]


def test_what_langchain_wrote_llama_index_reads_whole(index: HybridIndex) -> None:
    documents = langchain_documents()
    LangChainStore(index).add_documents(documents)

    nodes = LlamaIndexStore(index).get_nodes([str(document.id) for document in documents])

    assert [type(node) for node in nodes] == [TextNode] * len(documents)
    assert [node.node_id for node in nodes] == [document.id for document in documents]
    assert [node.get_content() for node in nodes] == [document.page_content for document in documents]
    assert [node.metadata for node in nodes] == [document.metadata for document in documents]


def test_what_llama_index_wrote_langchain_reads_whole_and_clean(index: HybridIndex) -> None:
    nodes = nodes_with_everything()
    LlamaIndexStore(index).add(nodes)

    documents = LangChainStore(index).get_by_ids([node.node_id for node in nodes])

    assert [document.id for document in documents] == [node.node_id for node in nodes]
    assert [document.page_content for document in documents] == [node.text for node in nodes]
    assert [document.metadata for document in documents] == [node.metadata for node in nodes]
    found = LangChainRetriever(index=index, k=20).invoke("passage")
    assert [document.id for document in found if FRAMEWORK_KEY in document.metadata] == []


def test_each_finds_filters_and_deletes_what_the_other_wrote(index: HybridIndex) -> None:
    LangChainStore(index).add_documents(langchain_documents()[:3])
    LlamaIndexStore(index).add([TextNode(id_="soup", text="Soup at noon.", metadata={"lang": "en", "year": 2027})])

    where = {"lang": "en", "year": {"gte": 2026}}
    by_langchain = LangChainRetriever(index=index, where=where).invoke("keys or soup")
    by_llama_index = LlamaIndexRetriever(index, filters=where).retrieve("keys or soup")
    assert {document.id for document in by_langchain} == {found.node_id for found in by_llama_index} == {"keys", "soup"}

    LangChainStore(index).delete(["soup"])
    LlamaIndexStore(index).delete_nodes(["keys"])
    assert sorted(document.id for document in index.scroll()) == ["cafe", "clés"]


def test_the_same_plain_document_of_both_is_stored_once(index: HybridIndex) -> None:
    LangChainStore(index).add_documents([LangChainDocument(KEYS.text, id="keys", metadata=dict(KEYS.metadata))])
    LlamaIndexStore(index).add([TextNode(id_="keys", text=KEYS.text, metadata=dict(KEYS.metadata))])

    assert [document for document in index.scroll()] == [KEYS]
    report = index.add([KEYS], progress=False)
    assert report.skipped == ("keys",)


def test_writing_to_what_came_back_changes_no_store(index: HybridIndex) -> None:
    index.add([KEYS], progress=False)
    LangChainStore(index).get_by_ids(["keys"])[0].metadata["tags"].append("new")
    LangChainRetriever(index=index, k=1).invoke("keys")[0].metadata["tags"].append("new")
    LlamaIndexStore(index).get_nodes(["keys"])[0].metadata["tags"].append("new")
    LlamaIndexRetriever(index, similarity_top_k=1).retrieve("keys")[0].metadata["tags"].append("new")

    assert index.get(["keys"]) == [KEYS]


def test_a_tenant_is_the_same_to_both(index: HybridIndex) -> None:
    LangChainStore(index, tenant="acme").add_texts(["Our door code."], ids=["door"])
    LlamaIndexStore(index.for_tenant("other")).add([TextNode(id_="door", text="Their door code.")])

    assert [found.text for found in LlamaIndexRetriever(index, tenant="acme").retrieve("code")] == ["Our door code."]
    theirs = LangChainRetriever(index=index, tenant="other").invoke("code")
    assert [(document.id, document.page_content) for document in theirs] == [("door", "Their door code.")]


@pytest.mark.parametrize("writer", ["langchain", "llama-index"])
@pytest.mark.parametrize(
    "plan", [SearchPlan(k=4), SearchPlan(k=4, stages=("sparse",)), SearchPlan(k=4, mode="cascade")]
)
async def test_both_give_the_same_hits_with_the_same_scores(index: HybridIndex, writer: str, plan: SearchPlan) -> None:
    ids = [f"p{number}" for number in range(len(PASSAGES))]
    if writer == "langchain":
        LangChainStore(index).add_texts(PASSAGES, ids=ids)
    else:
        LlamaIndexStore(index).add([TextNode(id_=id_, text=text) for id_, text in zip(ids, PASSAGES, strict=True)])
    langchain = LangChainRetriever(index=index, plan=plan)
    llama_index = LlamaIndexRetriever(index, plan=plan)

    for query in QUERIES:
        hits = [(hit.id, hit.score) for hit in index.search(query, plan=plan)]
        for documents in (langchain.invoke(query), await langchain.ainvoke(query)):
            assert [(document.id, document.metadata["relevance_score"]) for document in documents] == hits
        for nodes in (llama_index.retrieve(query), await llama_index.aretrieve(query)):
            assert [(found.node_id, found.score) for found in nodes] == hits


def test_both_tell_the_same_of_a_hit(index: HybridIndex) -> None:
    index.add(PASSAGES, progress=False)
    [document] = LangChainRetriever(index=index, k=1).invoke(QUERIES[2])
    [found] = LlamaIndexRetriever(index, similarity_top_k=1).retrieve(QUERIES[2])

    trace: dict[str, Any] = document.metadata["relevance_trace"]
    assert {name: stage.model_dump() for name, stage in found.stages.items()} == trace["stages"]  # type: ignore[attr-defined]
    assert dict(list(found.terms.items())[:10]) == trace["terms"]  # type: ignore[attr-defined]


def test_both_rerank_alike(index: HybridIndex) -> None:
    documents = [LangChainDocument(text, id=str(number)) for number, text in enumerate(PASSAGES)]
    nodes = [NodeWithScore(node=TextNode(text=text, id_=str(number))) for number, text in enumerate(PASSAGES)]

    by_langchain = TercetReranker(encoder=index.encoder, top_n=3).compress_documents(documents, QUERIES[0])
    by_llama_index = TercetRerank(index.encoder, top_n=3).postprocess_nodes(nodes, query_str=QUERIES[0])

    assert [document.id for document in by_langchain] == [found.node_id for found in by_llama_index]


@pytest.mark.parametrize("threshold", [0.0, 0.4, 1.0])
def test_both_choose_the_same_diverse_documents(index: HybridIndex, threshold: float) -> None:
    ids = [f"p{number}" for number in range(len(PASSAGES))]
    LangChainStore(index).add_texts(PASSAGES, ids=ids)
    query = VectorStoreQuery(
        query_str=QUERIES[0], similarity_top_k=4, mode=VectorStoreQueryMode.MMR, mmr_threshold=threshold
    )

    by_langchain = LangChainStore(index).max_marginal_relevance_search(QUERIES[0], k=4, lambda_mult=threshold)
    by_llama_index = LlamaIndexStore(index).query(query).ids
    vectors = index.dense_vectors(ids)
    chosen = maximal_marginal_relevance(
        index.encoder.encode_query(QUERIES[0]).dense, np.array([vectors[id_] for id_ in ids]), threshold, 4
    )

    assert by_llama_index == [document.id for document in by_langchain] == [ids[position] for position in chosen]
