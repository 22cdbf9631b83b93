"""TercetRetriever: what it takes, what it refuses, what it tells."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.runnables import ConfigurableField, RunnablePassthrough
from pydantic import ValidationError
from qdrant_client import models
from tercet import HybridIndex, SearchPlan
from tercet.encoders.mini import MiniEncoder
from tercet.errors import InvalidDocument, InvalidFilter

from langchain_tercet import TercetRetriever, TercetVectorStore

from .conftest import DOCUMENTS

QUERY = "how often must keys be changed?"


@pytest.fixture
def filled(index: HybridIndex) -> HybridIndex:
    TercetVectorStore(index).add_documents(DOCUMENTS)
    return index


@pytest.fixture
def retriever(filled: HybridIndex) -> TercetRetriever:
    return TercetRetriever(index=filled, k=3)


def ids(documents: list[Document]) -> list[str | None]:
    return [document.id for document in documents]


async def asked(retriever: TercetRetriever, *arguments: Any, **options: Any) -> list[Document]:
    """The answer, which must be the same when it is awaited."""
    documents = retriever.invoke(*arguments, **options)
    assert await retriever.ainvoke(*arguments, **options) == documents
    return documents


async def test_it_answers_as_the_index_does(retriever: TercetRetriever, filled: HybridIndex) -> None:
    hits = filled.search(QUERY, k=3)

    documents = await asked(retriever, QUERY)

    assert ids(documents) == [hit.id for hit in hits]
    assert [document.page_content for document in documents] == [hit.text for hit in hits]
    assert documents[0].id == "keys"


async def test_a_call_gives_k_where_and_plan(retriever: TercetRetriever) -> None:
    assert len(await asked(retriever, QUERY, k=1)) == 1
    assert ids(await asked(retriever, QUERY, where={"lang": "fr"})) == ["clés"]
    sparse_alone = SearchPlan(k=2, stages=("sparse",))
    assert set(ids(await asked(retriever, "cat", plan=sparse_alone))) == {"cat", "dog"}
    assert set((await asked(retriever, "cat", plan=sparse_alone))[0].metadata["relevance_trace"]["stages"]) == {
        "sparse",
        "fused",
    }


async def test_the_constructor_gives_k_where_and_plan(filled: HybridIndex) -> None:
    retriever = TercetRetriever(index=filled, where={"lang": "en"}, plan=SearchPlan(k=2, stages=("dense",)))

    assert ids(await asked(retriever, "a cat on a mat"))[0] == "cat"
    assert len(await asked(retriever, QUERY)) == 2
    assert len(await asked(retriever, QUERY, k=3)) == 3
    assert len(await asked(TercetRetriever(index=filled), QUERY)) == 5  # the plan's ten, of five
    assert len(await asked(TercetRetriever(index=filled, k=1), QUERY, plan=SearchPlan(k=4))) == 4


async def test_filters_of_the_constructor_and_of_a_call_both_hold(filled: HybridIndex) -> None:
    english = TercetRetriever(index=filled, where={"lang": "en"})

    assert set(ids(await asked(english, QUERY, where={"year": {"gte": 2025}}))) == {"keys"}
    assert await asked(english, QUERY, where={"lang": "fr"}) == []


async def test_a_filter_may_be_qdrants(filled: HybridIndex) -> None:
    french = models.Filter(must=[models.FieldCondition(key="metadata.lang", match=models.MatchValue(value="fr"))])

    assert ids(await asked(TercetRetriever(index=filled), QUERY, where=french)) == ["clés"]
    assert ids(await asked(TercetRetriever(index=filled, where=french), QUERY)) == ["clés"]


async def test_a_plan_may_be_json(filled: HybridIndex) -> None:
    plan = SearchPlan(k=2, weights={"sparse": 3.0}, threshold={"dense": -1.0})
    as_json = json.loads(json.dumps(asdict(plan)))

    assert TercetRetriever(index=filled, plan=as_json).plan == plan
    assert len(await asked(TercetRetriever(index=filled), QUERY, plan=as_json)) == 2


@pytest.mark.parametrize("name", ["filter", "top_k", "were", "search_kwargs"])
async def test_an_unknown_name_in_a_call_raises(retriever: TercetRetriever, name: str) -> None:
    with pytest.raises(TypeError, match=f"takes k, plan, tenant and where, got {name}"):
        retriever.invoke(QUERY, **{name: 1})
    with pytest.raises(TypeError, match=f"got {name}"):
        await retriever.ainvoke(QUERY, **{name: 1})


def test_an_unknown_name_in_the_constructor_raises(filled: HybridIndex) -> None:
    with pytest.raises(ValidationError, match="filter"):
        TercetRetriever(index=filled, filter={"lang": "en"})


@pytest.mark.parametrize(
    ("query", "options", "error", "told"),
    [
        ("", {}, ValueError, "the query is empty"),
        ("  \n", {}, ValueError, "the query is empty"),
        (7, {}, TypeError, "a query is a str, got int"),
        (QUERY, {"k": 0}, ValueError, "k must be a whole number of at least 1, got 0"),
        (QUERY, {"k": 1.5}, ValueError, "k must be a whole number"),
        (QUERY, {"where": {}}, InvalidFilter, "the filter is empty"),
        (QUERY, {"where": models.Filter()}, InvalidFilter, "the Filter is empty"),
        (QUERY, {"where": {"year": {"above": 3}}}, InvalidFilter, "unknown operator 'above'"),
        (QUERY, {"where": "lang == en"}, InvalidFilter, "a filter is a dict"),
        (QUERY, {"tenant": ""}, ValueError, "a tenant is a name"),
    ],
)
async def test_bad_input_is_a_clear_error(
    retriever: TercetRetriever, query: Any, options: dict[str, Any], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        retriever.invoke(query, **options)
    with pytest.raises(error, match=told):
        await retriever.ainvoke(query, **options)


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ({"k": 0}, "k must be a whole number of at least 1, got 0"),
        ({"k": True}, "k must be a whole number"),
        ({"where": {}}, "the filter is empty"),
        ({"plan": "hybrid"}, "SearchPlan"),
        ({"plan": {"k": 3, "prefetch": 7}}, "prefetch"),
        ({"index": "./kb"}, "HybridIndex"),
    ],
)
def test_bad_fields_are_refused_when_the_retriever_is_made(
    filled: HybridIndex, field: dict[str, Any], told: str
) -> None:
    with pytest.raises((ValidationError, TypeError), match=told):
        TercetRetriever(**{"index": filled, **field})


def test_score_and_trace_are_the_hits_own(retriever: TercetRetriever, filled: HybridIndex) -> None:
    hit = filled.search(QUERY, k=3)[0]

    metadata = retriever.invoke(QUERY)[0].metadata

    assert metadata["lang"] == "en"
    assert metadata["relevance_score"] == hit.score
    stages = metadata["relevance_trace"]["stages"]
    assert stages == {place.stage: {"rank": place.rank, "score": place.score} for place in hit.stages}
    assert list(stages) == ["dense", "sparse", "fused", "late"]
    assert list(metadata["relevance_trace"]["terms"])[:2] == [match.term for match in hit.why[:2]]


def test_the_terms_of_a_trace_add_up_to_the_sparse_score(filled: HybridIndex) -> None:
    [document] = TercetRetriever(index=filled, k=1).invoke("cat")

    trace = document.metadata["relevance_trace"]

    assert len(trace["terms"]) < 10  # so none is left out
    assert sum(trace["terms"].values()) == pytest.approx(trace["stages"]["sparse"]["score"], rel=1e-5)


def test_metadata_are_json(retriever: TercetRetriever) -> None:
    for document in retriever.invoke(QUERY):
        assert json.loads(json.dumps(document.metadata)) == document.metadata
        assert type(document.metadata["relevance_score"]) is float


@pytest.mark.parametrize("with_score", [True, False])
@pytest.mark.parametrize("with_trace", [True, False])
async def test_score_and_trace_can_be_switched_off(filled: HybridIndex, with_score: bool, with_trace: bool) -> None:
    retriever = TercetRetriever(index=filled, k=1, with_score=with_score, with_trace=with_trace)

    [document] = await asked(retriever, QUERY)

    assert ("relevance_score" in document.metadata) is with_score
    assert ("relevance_trace" in document.metadata) is with_trace
    assert {"lang", "year"} <= set(document.metadata)


def test_what_a_caller_does_to_a_document_reaches_no_store(retriever: TercetRetriever) -> None:
    first = retriever.invoke("pets", where={"tags": "fun"})[0]
    first.metadata["tags"].append("changed")
    first.metadata["lang"] = "changed"

    again = retriever.invoke("pets", where={"tags": "fun"})[0]

    assert (again.metadata["tags"], again.metadata["lang"]) == (["pets", "fun"], "en")


# --- tenants ---


@pytest.fixture
def of_two_tenants(index: HybridIndex) -> HybridIndex:
    for tenant in ("acme", "globex"):
        store = TercetVectorStore(index, tenant=tenant)
        store.add_texts([f"{tenant} rotates keys every 90 days.", f"{tenant} has a cat."], ids=["keys", "cat"])
    return index


def told_by(documents: list[Document]) -> set[str]:
    return {document.page_content.split()[0] for document in documents}


async def test_a_tenant_sees_its_own_documents_alone(of_two_tenants: HybridIndex) -> None:
    acme = TercetRetriever(index=of_two_tenants, tenant="acme")

    assert told_by(await asked(acme, QUERY)) == {"acme"}
    assert ids(await asked(acme, QUERY, k=1)) == ["keys"]
    everyone = TercetRetriever(index=of_two_tenants)
    assert told_by(await asked(everyone, QUERY)) == {"acme", "globex"}
    assert told_by(await asked(everyone, QUERY, tenant="globex")) == {"globex"}
    assert await asked(everyone, QUERY, tenant="nobody") == []


async def test_no_filter_of_a_call_leaves_the_tenant(of_two_tenants: HybridIndex) -> None:
    acme = TercetRetriever(index=of_two_tenants, tenant="acme")

    assert await asked(acme, QUERY, where={"tenant": "globex"}) == []
    assert told_by(await asked(acme, QUERY, where={"or": [{"tenant": "globex"}, {"tenant": "acme"}]})) == {"acme"}


async def test_a_call_cannot_change_the_tenant(of_two_tenants: HybridIndex) -> None:
    acme = TercetRetriever(index=of_two_tenants, tenant="acme")

    with pytest.raises(ValueError, match="sees the documents of tenant 'acme' alone, the call asks for 'globex'"):
        acme.invoke(QUERY, tenant="globex")
    assert told_by(await asked(acme, QUERY, tenant="acme")) == {"acme"}


async def test_a_tenant_can_be_required(of_two_tenants: HybridIndex) -> None:
    retriever = TercetRetriever(index=of_two_tenants, require_tenant=True)

    with pytest.raises(ValueError, match="needs a tenant"):
        retriever.invoke(QUERY)
    with pytest.raises(ValueError, match="needs a tenant"):
        await retriever.ainvoke(QUERY)
    assert told_by(await asked(retriever, QUERY, tenant="acme")) == {"acme"}


def test_the_key_of_tenants_can_be_named(memory: HybridIndex) -> None:
    texts = ["ours", "theirs"]
    TercetVectorStore(memory).add_texts(texts, [{"customer": "acme"}, {"customer": "globex"}])

    retriever = TercetRetriever(index=memory, tenant="acme", tenant_key="customer")

    assert [document.page_content for document in retriever.invoke("whose?")] == ["ours"]


# --- configurable fields ---


async def test_configurable_fields_share_the_loaded_model(
    of_two_tenants: HybridIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(MiniEncoder, "__init__", refuse)
    retriever = TercetRetriever(index=of_two_tenants, require_tenant=True).configurable_fields(
        k=ConfigurableField(id="k"),
        where=ConfigurableField(id="where"),
        plan=ConfigurableField(id="plan"),
        tenant=ConfigurableField(id="user"),
    )

    for tenant in ("acme", "globex"):
        config: Any = {"configurable": {"user": tenant, "k": 1, "plan": {"stages": ("sparse",)}}}
        [document] = retriever.invoke("cat", config)
        assert document.page_content == f"{tenant} has a cat."
        assert await retriever.ainvoke("cat", config) == [document]
    with pytest.raises(ValueError, match="needs a tenant"):
        retriever.invoke("cat")
    nowhere: Any = {"configurable": {"user": "acme", "where": {"tenant": "globex"}}}
    assert retriever.invoke("cat", nowhere) == []


def test_a_configured_copy_has_the_same_index(retriever: TercetRetriever, filled: HybridIndex) -> None:
    configurable = retriever.configurable_fields(k=ConfigurableField(id="k"))

    prepared, _ = configurable.prepare({"configurable": {"k": 1}})

    assert isinstance(prepared, TercetRetriever)
    assert prepared.k == 1
    assert prepared.index is filled


# --- made from texts and documents ---


async def test_from_texts(encoder: MiniEncoder, index: HybridIndex) -> None:
    retriever = TercetRetriever.from_texts(
        ["keys rotate", "cats sleep"], [{"n": 1}, None], ids=["a", None], index=index, k=1
    )

    [document] = await asked(retriever, "feline")

    assert document.page_content == "cats sleep"
    assert document.id
    assert ids(await asked(retriever, "keys")) == ["a"]
    assert retriever.index is index


def test_from_documents_takes_any_iterable(memory: HybridIndex) -> None:
    retriever = TercetRetriever.from_documents(iter(DOCUMENTS), index=memory, k=1)

    assert ids(retriever.invoke(QUERY)) == ["keys"]
    assert memory.count() == len(DOCUMENTS)


def test_from_texts_needs_no_index() -> None:
    first = TercetRetriever.from_texts(["keys rotate"])
    second = TercetRetriever.from_texts(["cats sleep"])

    assert [document.page_content for document in first.invoke("anything")] == ["keys rotate"]
    assert first.index.encoder is second.index.encoder  # one model is loaded, not two


def test_texts_of_a_tenant_are_theirs(memory: HybridIndex) -> None:
    TercetRetriever.from_texts(["ours"], index=memory, tenant="acme")

    assert memory.count({"tenant": "acme"}) == 1


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        ({"texts": ["good", " "]}, InvalidDocument, "position 1: .*empty text"),
        ({"texts": ["good", 3]}, InvalidDocument, "position 1: .*must be a str, got int"),
        ({"texts": ["good"], "ids": [7]}, InvalidDocument, "the id of a document must be a str, got int"),
        ({"texts": ["good", "bad"], "metadatas": [{}, {"at": {1, 2}}]}, InvalidDocument, "is a set, which JSON cannot"),
        ({"texts": ["good"], "metadatas": [{}, {}]}, ValueError, "got 2 metadatas for 1 documents"),
        ({"texts": ["good"], "ids": []}, ValueError, "got 0 ids for 1 documents"),
        ({"texts": "good"}, TypeError, "got one str"),
        ({"texts": ["good"], "ids": "a"}, TypeError, "ids takes a list, got one str"),
    ],
)
def test_bad_texts_are_refused_before_any_is_written(
    index: HybridIndex, arguments: dict[str, Any], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        TercetRetriever.from_texts(**arguments, index=index)
    assert index.count() == 0


# --- in the framework ---


def test_langsmith_is_told_what_searches(retriever: TercetRetriever, encoder: MiniEncoder) -> None:
    assert retriever._get_ls_params() == {
        "ls_retriever_name": "tercet",
        "ls_vector_store_provider": "tercet",
        "ls_embedding_provider": "TercetEmbeddings",
        "ls_embedding_model": encoder.spec.name,
    }


async def test_it_stands_in_a_chain(retriever: TercetRetriever) -> None:
    def joined(documents: list[Document]) -> str:
        return "; ".join(document.page_content for document in documents)

    chain = {"context": retriever.bind(k=1) | joined, "question": RunnablePassthrough()} | RunnablePassthrough()

    answer = chain.invoke(QUERY)

    assert answer == {"context": "Rotate the signing keys every 90 days.", "question": QUERY}
    assert await chain.ainvoke(QUERY) == answer
    assert [len(found) for found in retriever.batch([QUERY, "cat"], k=2)] == [2, 2]


async def test_a_found_document_is_explained_as_it_was_found(retriever: TercetRetriever, filled: HybridIndex) -> None:
    asked_with: dict[str, Any] = {"where": {"lang": "en"}, "plan": {"k": 2, "stages": ("dense", "sparse")}}
    documents = retriever.invoke(QUERY, **asked_with)

    for rank, document in enumerate(documents, start=1):
        why = retriever.explain(QUERY, document, **asked_with)
        assert (why.id, why.rank, why.score) == (document.id, rank, document.metadata["relevance_score"])
        assert sum(part.contribution for part in why.stages) == pytest.approx(why.score, abs=1e-9)
        awaited = await retriever.aexplain(QUERY, document, **asked_with)
        assert json.dumps(awaited.to_dict()) == json.dumps(why.to_dict())


def test_only_what_the_retriever_may_see_is_explained(filled: HybridIndex) -> None:
    filled.add({"id": "acme-keys", "text": "The keys of Acme.", "metadata": {"tenant": "acme"}})
    retriever = TercetRetriever(index=filled, tenant="acme")

    assert retriever.explain("keys", "acme-keys").rank == 1
    with pytest.raises(ValueError, match="there is no document 'keys'"):
        retriever.explain("keys", "keys")
    with pytest.raises(TypeError, match="its filter is called where"):
        retriever.explain("keys", "acme-keys", filter={"lang": "en"})
    with pytest.raises(ValueError, match="this document has no id"):
        retriever.explain("keys", Document(page_content="The keys of Acme."))
