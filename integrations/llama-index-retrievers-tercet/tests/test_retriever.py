"""The retriever: the index's own hits as explained nodes, filters and tenants, query transforms, query engines."""

import inspect
import json
from typing import Any

import numpy as np
import pytest
from llama_index.core import QueryBundle
from llama_index.core.indices.query.query_transform import HyDEQueryTransform
from llama_index.core.llms import MockLLM
from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.query_engine import RetrieverQueryEngine, TransformQueryEngine
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.schema import IndexNode, NodeWithScore, TextNode
from llama_index.core.vector_stores.types import FilterOperator, MetadataFilter, MetadataFilters

from llama_index.retrievers.tercet import ExplainedNode, TercetRetriever
from llama_index.vector_stores.tercet import TercetVectorStore
from tercet import Document, HybridIndex, SearchPlan
from tercet.encoders.base import Encoder

DOCUMENTS = [
    Document("Rotate the signing keys every 90 days.", "keys", {"lang": "en", "tenant": "acme"}),
    Document("Lost keys are reported to the security desk.", "lost", {"lang": "en", "tenant": "other"}),
    Document("The cafeteria serves soup at noon.", "soup", {"lang": "en"}),
    Document("Les clés sont renouvelées tous les 90 jours.", "clés", {"lang": "fr", "tenant": "acme"}),
]


@pytest.fixture
def filled(index: HybridIndex) -> HybridIndex:
    index.add(DOCUMENTS, progress=False)
    return index


def ids(nodes: list[NodeWithScore]) -> list[str]:
    return [found.node_id for found in nodes]


async def test_nodes_are_the_index_s_hits_in_its_order(filled: HybridIndex) -> None:
    hits = filled.search("when are keys rotated?", k=3)
    retriever = TercetRetriever(filled, similarity_top_k=3)

    for nodes in (retriever.retrieve("when are keys rotated?"), await retriever.aretrieve("when are keys rotated?")):
        assert ids(nodes) == [hit.id for hit in hits]
        assert [found.score for found in nodes] == [hit.score for hit in hits]
        assert [found.text for found in nodes] == [hit.text for hit in hits]
        assert [found.metadata for found in nodes] == [hit.metadata for hit in hits]


def test_a_node_says_why_it_is_there_and_its_metadata_do_not(filled: HybridIndex) -> None:
    [hit] = filled.search("rotate keys", k=1)
    [found] = TercetRetriever(filled, similarity_top_k=1).retrieve("rotate keys")

    assert isinstance(found, ExplainedNode)
    assert {name: (stage.rank, stage.score) for name, stage in found.stages.items()} == {
        stage.stage: (stage.rank, stage.score) for stage in hit.stages
    }
    assert found.terms == {match.term: match.contribution for match in hit.why}
    assert sum(found.terms.values()) == pytest.approx(found.stages["sparse"].score, rel=1e-3)
    assert found.reason == hit.reason
    assert found.metadata == {"lang": "en", "tenant": "acme"}
    written = json.loads(found.model_dump_json())["stages"]
    assert {name: stage["score"] for name, stage in written.items()} == {s.stage: s.score for s in hit.stages}


def test_the_number_of_nodes_is_the_plan_s_where_none_is_given(filled: HybridIndex) -> None:
    plan = SearchPlan(k=2, stages=("sparse",))

    assert TercetRetriever(filled).similarity_top_k == 10
    assert TercetRetriever(filled, plan=plan).similarity_top_k == 2
    assert len(TercetRetriever(filled, plan=plan, similarity_top_k=1).retrieve("keys")) == 1
    assert TercetRetriever(filled, similarity_top_k=500).similarity_top_k == 500


def test_a_threshold_of_the_plan_drops_nodes(filled: HybridIndex) -> None:
    plan = SearchPlan(stages=("dense",), threshold=0.3)
    nodes = TercetRetriever(filled, plan=plan).retrieve("when are keys rotated?")

    assert nodes
    assert all((found.score or 0) >= 0.3 for found in nodes)
    assert len(nodes) < len(DOCUMENTS)


@pytest.mark.parametrize(
    "filters",
    [
        {"lang": "fr"},
        MetadataFilters(filters=[MetadataFilter(key="lang", value="fr")]),
        MetadataFilters(
            filters=[MetadataFilter(key="lang", value="R", operator=FilterOperator.TEXT_MATCH_INSENSITIVE)]
        ),
        MetadataFilters(filters=[MetadataFilter(key="$id", value=["clés", "nobody"], operator=FilterOperator.IN)]),
    ],
    ids=["plain", "equal", "text", "id"],
)
async def test_filters_hold(filled: HybridIndex, filters: Any) -> None:
    retriever = TercetRetriever(filled, filters=filters)

    assert ids(retriever.retrieve("keys")) == ["clés"]
    assert ids(await retriever.aretrieve("keys")) == ["clés"]


def test_a_tenant_sees_their_own_and_filters_narrow_that(filled: HybridIndex) -> None:
    assert set(ids(TercetRetriever(filled, tenant="acme").retrieve("keys"))) == {"keys", "clés"}
    assert ids(TercetRetriever(filled, tenant="acme", filters={"lang": "fr"}).retrieve("keys")) == ["clés"]
    either = {"or": [{"tenant": "other"}, {"lang": "en"}]}
    assert ids(TercetRetriever(filled, tenant="acme", filters=either).retrieve("keys")) == ["keys"]
    assert ids(TercetRetriever(filled, tenant="fr", tenant_key="lang").retrieve("keys")) == ["clés"]
    assert TercetRetriever(filled, tenant="nobody").retrieve("keys") == []


def test_making_a_retriever_loads_and_opens_nothing(filled: HybridIndex) -> None:
    retriever = TercetRetriever(filled, tenant="acme")

    assert retriever.index.store is filled.store
    assert retriever.index.encoder is filled.encoder


# --- the dense vector made elsewhere ---


class Listening(HybridIndex):
    """Keeps the dense vector of the last question."""

    def search(self, query: str, **options: Any) -> Any:  # type: ignore[override]
        self.asked, self.dense = query, options["dense"]
        return super().search(query, **options)


@pytest.fixture
def listening(memory_index: HybridIndex) -> Listening:
    index = Listening(memory_index.store, memory_index.encoder)
    index.add(DOCUMENTS, progress=False)
    return index


async def test_awaited_texts_to_embed_are_used_as_well(filled: HybridIndex) -> None:
    bundle = QueryBundle("lunch?", custom_embedding_strs=["Lost keys are reported.", "The security desk."])
    retriever = TercetRetriever(filled, plan=SearchPlan(k=2, stages=("dense",)))

    assert ids(await retriever.aretrieve(bundle)) == ids(retriever.retrieve(bundle))
    assert ids(await retriever.aretrieve(bundle))[0] == "lost"


def test_the_mean_of_texts_to_embed_is_the_dense_vector(listening: Listening, encoder: Encoder) -> None:
    bundle = QueryBundle("lunch?", custom_embedding_strs=["Soup is served.", "Lunch is at noon."])
    TercetRetriever(listening).retrieve(bundle)

    both = [encoder.encode_query(text).dense for text in bundle.embedding_strs]
    assert listening.asked == "lunch?"
    np.testing.assert_allclose(listening.dense, (both[0] + both[1]) / 2, rtol=1e-5)


@pytest.mark.parametrize("use", [True, False])
def test_a_bundle_s_embedding_is_used_only_where_that_is_asked_for(listening: Listening, use: bool) -> None:
    vector = [1.0, *[0.0] * 383]
    TercetRetriever(listening, use_bundle_embedding=use).retrieve(QueryBundle("lunch?", embedding=vector))

    assert (listening.dense is not None) == use
    if use:
        assert listening.dense.tolist() == vector


def test_hyde_runs_over_it(filled: HybridIndex) -> None:
    engine = RetrieverQueryEngine.from_args(TercetRetriever(filled, similarity_top_k=1), llm=MockLLM())
    response = TransformQueryEngine(engine, HyDEQueryTransform(llm=MockLLM())).query("when are keys rotated?")

    assert ids(response.source_nodes) == ["keys"]


# --- in LlamaIndex's company ---


async def test_a_query_engine_answers_from_its_nodes(filled: HybridIndex) -> None:
    engine = RetrieverQueryEngine.from_args(TercetRetriever(filled, similarity_top_k=2), llm=MockLLM())

    for response in (engine.query("when are keys rotated?"), await engine.aquery("when are keys rotated?")):
        assert "Rotate the signing keys every 90 days." in str(response)
        assert "cafeteria" not in str(response)
        assert isinstance(response.source_nodes[0], ExplainedNode)


def test_a_cutoff_uses_its_scores(filled: HybridIndex) -> None:
    nodes = TercetRetriever(filled, plan=SearchPlan(stages=("dense",))).retrieve("when are keys rotated?")
    cutoff = (nodes[0].score or 0) - 1e-6

    assert ids(SimilarityPostprocessor(similarity_cutoff=cutoff).postprocess_nodes(nodes)) == ["keys"]


def test_it_fuses_with_other_retrievers(filled: HybridIndex) -> None:
    by_words = TercetRetriever(filled, plan=SearchPlan(stages=("sparse",)))
    fusion = QueryFusionRetriever(
        [TercetRetriever(filled), by_words],
        llm=MockLLM(),
        num_queries=1,
        similarity_top_k=4,
        mode="reciprocal_rerank",
        use_async=False,
    )

    assert sorted(ids(fusion.retrieve("rotate keys"))) == sorted(document.id for document in DOCUMENTS)


def test_index_nodes_lead_to_their_objects(memory_index: HybridIndex) -> None:
    target = TextNode(id_="target", text="The table itself.")
    TercetVectorStore(memory_index).add([IndexNode(id_="pointer", text="A summary of the table.", index_id="table")])
    retriever = TercetRetriever(memory_index, object_map={"table": target})

    assert ids(retriever.retrieve("table summary")) == ["target"]


# --- bad input ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"similarity_top_k": 0}, "at least 1"),
        ({"similarity_top_k": -3}, "at least 1"),
        ({"similarity_top_k": True}, "whole number"),
        ({"similarity_top_k": "3"}, "whole number"),
        ({"filters": {}}, "empty"),
        ({"filters": MetadataFilters(filters=[])}, "empty"),
        ({"filters": {"lang": {"like": "e"}}}, "like"),
        ({"tenant": ""}, "tenant"),
        ({"filters": "lang=en"}, "str"),
    ],
    ids=str,
)
def test_what_can_never_work_is_refused_when_it_is_made(
    memory_index: HybridIndex, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        TercetRetriever(memory_index, **options)


@pytest.mark.parametrize("kind", [TercetRetriever, TercetVectorStore])
def test_what_is_no_index_is_refused(encoder: Encoder, kind: Any) -> None:
    with pytest.raises(TypeError, match=r"HybridIndex is needed, got a MiniEncoder"):
        kind(encoder)


def test_an_unknown_option_is_refused(memory_index: HybridIndex) -> None:
    with pytest.raises(TypeError, match="filter"):
        TercetRetriever(memory_index, filter={"lang": "en"})  # type: ignore[call-arg]


@pytest.mark.parametrize("query", ["", "  ", "\ud800"])
async def test_a_query_without_words_is_refused(filled: HybridIndex, query: str) -> None:
    with pytest.raises(ValueError, match="query"):
        TercetRetriever(filled).retrieve(query)
    with pytest.raises(ValueError, match="query"):
        await TercetRetriever(filled).aretrieve(query)


def test_the_asynchronous_way_is_its_own() -> None:
    assert inspect.iscoroutinefunction(TercetRetriever._aretrieve)
    assert "_retrieve(" not in inspect.getsource(TercetRetriever._aretrieve).split("def _aretrieve(")[1]


async def test_a_found_node_is_explained_as_it_was_found(filled: HybridIndex) -> None:
    filters = MetadataFilters(filters=[MetadataFilter(key="lang", value="en")])
    retriever = TercetRetriever(filled, similarity_top_k=2, filters=filters, plan=SearchPlan(fusion="rrf"))
    bundle = QueryBundle("when are keys rotated?", custom_embedding_strs=["Keys are rotated every 90 days."])

    for query in ("when are keys rotated?", bundle):
        for rank, found in enumerate(retriever.retrieve(query), start=1):
            why = retriever.explain(query, found)
            assert (why.id, why.rank, why.score) == (found.node_id, rank, found.score)
            assert sum(part.contribution for part in why.stages) == pytest.approx(found.score, abs=1e-9)
            assert why.to_dict() == (await retriever.aexplain(query, found.node_id)).to_dict()
            assert why.to_dict() == retriever.explain(query, found.node).to_dict()


def test_only_what_the_retriever_sees_is_explained(filled: HybridIndex) -> None:
    with pytest.raises(ValueError, match="there is no document 'lost'"):
        TercetRetriever(filled, tenant="acme").explain("keys", "lost")
