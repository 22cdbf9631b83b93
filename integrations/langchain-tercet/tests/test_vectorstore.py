"""TercetVectorStore beyond the standard tests: filters, scores, MMR, retrievers, generators, Embeddings."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.vectorstores import VectorStore
from langchain_core.vectorstores.utils import maximal_marginal_relevance
from pydantic import ValidationError
from qdrant_client import models
from tercet import HybridIndex, SearchPlan
from tercet.encoders.mini import MiniEncoder
from tercet.errors import CollectionMismatch, InvalidDocument, InvalidFilter

from langchain_tercet import EmbeddingsEncoder, TercetEmbeddings, TercetRetriever, TercetVectorStore

from .conftest import DOCUMENTS

SPARSE = SearchPlan(stages=("sparse",))
QUERY = "how often must keys be changed?"
FRENCH = models.Filter(must=[models.FieldCondition(key="metadata.lang", match=models.MatchValue(value="fr"))])


@pytest.fixture
def store(index: HybridIndex) -> TercetVectorStore:
    store = TercetVectorStore(index)
    store.add_documents(DOCUMENTS)
    return store


@pytest.fixture
def in_memory(memory: HybridIndex) -> TercetVectorStore:
    """The same, for what does not depend on the engine."""
    store = TercetVectorStore(memory)
    store.add_documents(DOCUMENTS)
    return store


async def answered(search: Any, *arguments: Any, **options: Any) -> Any:
    answer = search(*arguments, **options)
    return await answer if inspect.isawaitable(answer) else answer


def ids(documents: list[Document]) -> list[str | None]:
    return [document.id for document in documents]


# --- what is written ---


def test_any_string_is_an_id(index: HybridIndex) -> None:
    store = TercetVectorStore(index)
    given = ["a" * 128, "ключ", "with space/and:colon", "00000000-0000-0000-0000-000000000000", "1"]

    assert store.add_texts([f"text {n}" for n in range(5)], ids=given) == given
    assert ids(store.get_by_ids(given)) == given
    assert ids(store.get_by_ids(["1", "missing", "ключ"])) == ["1", "ключ"]


def test_where_there_is_no_id_one_is_derived(index: HybridIndex) -> None:
    store = TercetVectorStore(index)

    first = store.add_texts(["same", "other", "same"], ids=[None, "mine", None])
    second = store.add_documents([Document(page_content="same"), Document(page_content="new", id="new")])

    assert first[0] == first[2] == second[0]
    assert (first[1], second[1]) == ("mine", "new")
    assert index.count() == 3


def test_ids_of_the_call_go_before_the_documents_own(memory: HybridIndex) -> None:
    documents = [Document(page_content="a", id="own"), Document(page_content="b", id="kept")]

    assert TercetVectorStore(memory).add_documents(documents, ids=["given", None]) == ["given", "kept"]


@pytest.mark.parametrize("batch_size", [None, 1, 4, 100])
async def test_generators_are_read_in_batches(index: HybridIndex, batch_size: int | None) -> None:
    store = TercetVectorStore(index)
    stored_when_read = []

    def texts() -> Iterator[str]:
        for n in range(10):
            stored_when_read.append(index.count())
            yield f"text {n}"

    written = store.add_texts(texts(), (({"n": n}) for n in range(10)), ids=map(str, range(10)), batch_size=batch_size)

    assert written == [str(n) for n in range(10)]
    assert store.get_by_ids(["7"])[0].metadata == {"n": 7}
    if batch_size == 4:
        assert stored_when_read == [0, 0, 0, 0, 4, 4, 4, 4, 8, 8]
    documents = (Document(page_content=f"more {n}", id=f"more {n}") for n in range(3))
    assert await store.aadd_documents(documents, batch_size=batch_size) == ["more 0", "more 1", "more 2"]
    assert index.count() == 13


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (lambda s: s.add_texts(["new", ""]), InvalidDocument, "position 1: .*empty text"),
        (lambda s: s.add_texts(["new", None]), InvalidDocument, "must be a str, got NoneType"),
        (lambda s: s.add_texts(["new"], ids=[7]), InvalidDocument, "id of a document must be a str, got int"),
        (lambda s: s.add_texts(["new"], [{"a": {1}}]), InvalidDocument, "'a' of document '' is a set"),
        (lambda s: s.add_texts(["new"], [{"a": math.nan}]), InvalidDocument, "is nan, which JSON cannot hold"),
        (lambda s: s.add_texts(["new"], [{1: "a"}]), InvalidDocument, "a metadata key .* must be a str, got int"),
        (lambda s: s.add_texts(["new", "newer"], [{}]), ValueError, "got 1 metadatas for 2 documents"),
        (lambda s: s.add_texts(["new", "newer"], ids=["a"]), ValueError, "got 1 ids for 2 documents"),
        (lambda s: s.add_texts("new"), TypeError, "got one str; put it in a list"),
        (lambda s: s.add_texts(["new"], batch_size=0), ValueError, "batch_size must be .* at least 1, got 0"),
        (lambda s: s.add_texts(["new"], metadata=[{}]), TypeError, "takes metadatas, ids and batch_size, got metadata"),
        (lambda s: s.add_documents(["new"]), TypeError, "takes Documents of langchain_core, got str at position 0"),
        (lambda s: s.add_documents(Document(page_content="new")), TypeError, "put it in a list"),
        (lambda s: s.add_documents([Document(page_content="new")], namespace="x"), TypeError, "got namespace"),
        (lambda s: s.delete(), ValueError, "delete takes either ids or where"),
        (lambda s: s.delete(["keys"], filter={"lang": "en"}), ValueError, "delete takes either ids or where"),
        (lambda s: s.delete(filter={}), InvalidFilter, "the filter is empty"),
        (lambda s: s.delete([7]), ValueError, "an id is a str, got int"),
        (lambda s: s.delete(["keys"], namespace="x"), TypeError, "got namespace"),
        (lambda s: s.get_by_ids([7]), ValueError, "an id is a str, got int"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    in_memory: TercetVectorStore, call: Any, error: type[Exception], told: str
) -> None:
    before = sorted(document.id for document in in_memory.index.scroll())

    with pytest.raises(error, match=told):
        call(in_memory)
    assert sorted(document.id for document in in_memory.index.scroll()) == before


async def test_delete_by_ids_and_by_filter(store: TercetVectorStore) -> None:
    assert store.delete(["keys", "missing"]) is True
    assert await store.adelete([]) is True
    assert store.delete(filter=FRENCH) is True
    assert await store.adelete(where={"tags": "fun"}) is True
    assert {document.id for document in store.index.scroll()} == {"backup", "dog"}


async def test_it_shows_no_others_metadata(memory: HybridIndex) -> None:
    memory.add([{"text": "written by another framework", "id": "x", "metadata": {"a": 1, "__framework__": {"b": 2}}}])
    store = TercetVectorStore(memory)

    assert store.get_by_ids(["x"])[0].metadata == {"a": 1}
    assert (await store.asimilarity_search("framework"))[0].metadata == {"a": 1}


# --- searching ---


@pytest.mark.parametrize("named", [{"filter": {"lang": "fr"}}, {"where": {"lang": "fr"}}, {"filter": FRENCH}])
async def test_every_search_takes_a_filter_by_both_names(store: TercetVectorStore, named: dict[str, Any]) -> None:
    vector = store.embeddings.embed_query(QUERY)
    found = [
        store.similarity_search(QUERY, **named),
        await store.asimilarity_search(QUERY, **named),
        [document for document, _ in store.similarity_search_with_score(QUERY, **named)],
        [document for document, _ in await store.asimilarity_search_with_score(QUERY, **named)],
        [document for document, _ in store.similarity_search_with_relevance_scores(QUERY, **named)],
        [document for document, _ in await store.asimilarity_search_with_relevance_scores(QUERY, **named)],
        store.similarity_search_by_vector(vector, **named),
        await store.asimilarity_search_by_vector(vector, **named),
        [document for document, _ in store.similarity_search_with_score_by_vector(vector, **named)],
        [document for document, _ in await store.asimilarity_search_with_score_by_vector(vector, **named)],
        store.max_marginal_relevance_search(QUERY, **named),
        await store.amax_marginal_relevance_search(QUERY, **named),
        store.max_marginal_relevance_search_by_vector(vector, **named),
        await store.amax_marginal_relevance_search_by_vector(vector, **named),
        store.hybrid_search(QUERY, **named),
        await store.ahybrid_search(QUERY, **named),
        store.search(QUERY, "similarity", **named),
        await store.asearch(QUERY, "mmr", **named),
        store.search(QUERY, "hybrid", **named),
        await store.asearch(QUERY, "hybrid", **named),
    ]

    assert [ids(documents) for documents in found] == [["clés"]] * len(found)


SEARCHES = [
    "similarity_search",
    "similarity_search_with_score",
    "similarity_search_with_relevance_scores",
    "similarity_search_by_vector",
    "similarity_search_with_score_by_vector",
    "max_marginal_relevance_search",
    "max_marginal_relevance_search_by_vector",
    "hybrid_search",
]


@pytest.mark.parametrize("name", [*SEARCHES, *(f"a{name}" for name in SEARCHES)])
@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"were": {"lang": "fr"}}, TypeError, "got were"),
        ({"filter": {"lang": "fr"}, "where": {"lang": "fr"}}, ValueError, "two names of one thing"),
        ({"filter": {}}, InvalidFilter, "the filter is empty"),
        ({"k": 0}, ValueError, "k must be a whole number of at least 1, got 0"),
    ],
)
async def test_every_search_refuses_bad_input(
    in_memory: TercetVectorStore, name: str, options: dict[str, Any], error: type[Exception], told: str
) -> None:
    query = in_memory.embeddings.embed_query(QUERY) if "by_vector" in name else QUERY
    with pytest.raises(error, match=told):
        await answered(getattr(in_memory, name), query, **options)


@pytest.mark.parametrize("name", [name for name in SEARCHES if "by_vector" not in name])
async def test_an_empty_query_is_refused(in_memory: TercetVectorStore, name: str) -> None:
    with pytest.raises(ValueError, match="the query is empty"):
        getattr(in_memory, name)(" ")
    with pytest.raises(ValueError, match="the query is empty"):
        await getattr(in_memory, f"a{name}")(" ")


def test_the_whole_contract_is_there_in_both_forms() -> None:
    missing = [
        name
        for name, method in inspect.getmembers(VectorStore, inspect.isfunction)
        if not name.startswith("_") and getattr(TercetVectorStore, name) is method
    ]

    # Theirs call ours: the two by way of `_similarity_search_with_relevance_scores` and its twin.
    assert missing == ["asimilarity_search_with_relevance_scores", "similarity_search_with_relevance_scores"]


async def test_the_plan_decides_what_similarity_means(store: TercetVectorStore) -> None:
    dense = TercetVectorStore(store.index, plan=SearchPlan(stages=("dense",)))
    vector = np.array(store.embeddings.embed_query(QUERY))
    cosine = {d.id: float(vector @ store.embeddings.embed_documents([d.page_content])[0]) for d in DOCUMENTS}

    scored = dense.similarity_search_with_score(QUERY, k=5)

    assert ids([document for document, _ in scored]) == sorted(cosine, key=lambda id_: -cosine[id_])
    assert [score for _, score in scored] == pytest.approx(sorted(cosine.values(), reverse=True), abs=1e-4)
    assert await dense.asimilarity_search_with_score(QUERY, k=5) == scored
    assert scored == store.similarity_search_with_score(QUERY, k=5, plan=SearchPlan(stages=("dense",)))
    sparse = TercetVectorStore(store.index, plan=SPARSE).similarity_search("cat")
    assert ids(sparse) == [hit.id for hit in store.index.search("cat", plan=SPARSE)]
    hits = store.index.search(QUERY, k=5)
    assert [(d.id, s) for d, s in store.similarity_search_with_score(QUERY, k=5)] == [(h.id, h.score) for h in hits]


async def test_a_plan_may_be_json(in_memory: TercetVectorStore) -> None:
    as_json: Any = {"stages": ["sparse"]}

    assert in_memory.similarity_search("cat", plan=as_json) == in_memory.similarity_search("cat", plan=SPARSE)
    retriever = in_memory.as_retriever(search_type="hybrid", search_kwargs={"plan": as_json})
    assert ids(await retriever.ainvoke("cat")) == ids(in_memory.similarity_search("cat", plan=SPARSE))
    with pytest.raises(TypeError, match=r"a plan is a tercet\.SearchPlan"):
        in_memory.similarity_search("cat", plan="hybrid")  # type: ignore[arg-type]


async def test_a_hybrid_search_is_one_whatever_the_plan(in_memory: TercetVectorStore) -> None:
    sparse = TercetVectorStore(in_memory.index, plan=SPARSE)

    assert ids(sparse.hybrid_search(QUERY, k=5)) == ids(in_memory.similarity_search(QUERY, k=5))
    assert await sparse.ahybrid_search(QUERY, k=5) == in_memory.similarity_search(QUERY, k=5)


@pytest.mark.parametrize("stages", [("dense", "sparse", "late"), ("dense",), ("sparse",)])
async def test_relevance_is_half_of_one_plus_the_cosine_by_every_plan(
    in_memory: TercetVectorStore, stages: tuple[str, ...]
) -> None:
    store = TercetVectorStore(in_memory.index, plan=SearchPlan(stages=stages))
    query = "The cat sat on the mat."
    vector = np.array(store.embeddings.embed_query(query))

    scored = store.similarity_search_with_relevance_scores(query, k=5)

    assert ids([document for document, _ in scored]) == ids(store.similarity_search(query, k=5))
    for document, relevance in scored:
        cosine = float(vector @ store.embeddings.embed_documents([document.page_content])[0])
        assert relevance == pytest.approx((1 + cosine) / 2, abs=1e-4)
        assert 0 <= relevance <= 1
    assert await store.asimilarity_search_with_relevance_scores(query, k=5) == scored


async def test_a_threshold_keeps_what_reaches_it(store: TercetVectorStore) -> None:
    scored = dict((d.id, s) for d, s in store.similarity_search_with_relevance_scores(QUERY, k=5))
    threshold = scored["clés"]

    kept = store.similarity_search_with_relevance_scores(QUERY, k=5, score_threshold=threshold)

    assert {document.id for document, _ in kept} == {id_ for id_, score in scored.items() if score >= threshold}
    assert 0 < len(kept) < 5
    assert store.similarity_search_with_relevance_scores(QUERY, k=5, score_threshold=1.0) == []


async def test_by_vector_finds_the_nearest(store: TercetVectorStore) -> None:
    [vector] = store.embeddings.embed_documents(["The cat sat on the mat."])

    [(document, score)] = store.similarity_search_with_score_by_vector(vector, k=1)

    assert (document.id, round(score, 3)) == ("cat", 1.0)
    assert store.similarity_search_by_vector(vector, k=1) == [document]
    with pytest.raises(ValueError, match="384"):
        store.similarity_search_by_vector([1.0, 2.0])


# --- maximal marginal relevance ---


@pytest.mark.parametrize("lambda_mult", [0.0, 0.3, 0.5, 1.0])
async def test_mmr_chooses_as_langchains_own(store: TercetVectorStore, lambda_mult: float) -> None:
    vector = store.embeddings.embed_query(QUERY)
    vectors = store.embeddings.embed_documents([document.page_content for document in DOCUMENTS])
    chosen = maximal_marginal_relevance(np.array(vector), vectors, lambda_mult, k=4)
    expected = [DOCUMENTS[position].id for position in chosen]

    found = store.max_marginal_relevance_search(QUERY, k=4, lambda_mult=lambda_mult)

    assert ids(found) == expected
    assert await store.amax_marginal_relevance_search(QUERY, k=4, lambda_mult=lambda_mult) == found
    assert store.max_marginal_relevance_search_by_vector(vector, k=4, lambda_mult=lambda_mult) == found


def test_mmr_is_most_diverse_at_0_and_nearest_at_1(memory: HybridIndex) -> None:
    store = TercetVectorStore(memory)
    store.add_texts(
        ["rotate the keys", "rotate the keys now", "rotate all the keys", "bananas are yellow"], ids=list("abcd")
    )

    def second(lambda_mult: float) -> str | None:
        return store.max_marginal_relevance_search("rotate the keys", k=2, lambda_mult=lambda_mult)[1].id

    assert second(0.0) == "d"
    assert second(1.0) in ("b", "c")


def test_mmr_chooses_among_the_fetched(store: TercetVectorStore) -> None:
    nearest = store.similarity_search_by_vector(store.embeddings.embed_query(QUERY), k=2)

    found = store.max_marginal_relevance_search(QUERY, k=2, fetch_k=2, lambda_mult=0.0)

    assert set(ids(found)) == set(ids(nearest))
    assert len(store.max_marginal_relevance_search(QUERY, k=5, fetch_k=2)) == 5  # k documents, as asked for


@pytest.mark.parametrize("options", [{"lambda_mult": 1.5}, {"lambda_mult": -0.1}, {"fetch_k": 0}])
def test_mmr_refuses_what_cannot_work(in_memory: TercetVectorStore, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        in_memory.max_marginal_relevance_search(QUERY, **options)


# --- as a retriever ---


async def test_as_retriever_by_similarity(store: TercetVectorStore) -> None:
    retriever = store.as_retriever(search_kwargs={"k": 2, "filter": {"lang": "en"}})

    documents = retriever.invoke(QUERY)

    assert documents == store.similarity_search(QUERY, k=2, filter={"lang": "en"})
    assert await retriever.ainvoke(QUERY) == documents
    assert len(retriever.invoke(QUERY, k=1)) == 1
    assert retriever.tags == ["TercetVectorStore", "TercetEmbeddings"]


async def test_as_retriever_by_threshold(store: TercetVectorStore) -> None:
    retriever = store.as_retriever(search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.6})
    expected = [d for d, score in store.similarity_search_with_relevance_scores(QUERY) if score >= 0.6]

    assert retriever.invoke(QUERY) == expected
    assert await retriever.ainvoke(QUERY) == expected
    assert 0 < len(expected) < 4


async def test_as_retriever_by_mmr(store: TercetVectorStore) -> None:
    retriever = store.as_retriever(search_type="mmr", search_kwargs={"k": 3, "lambda_mult": 0.0, "fetch_k": 5})
    expected = store.max_marginal_relevance_search(QUERY, k=3, lambda_mult=0.0, fetch_k=5)

    assert retriever.invoke(QUERY) == expected
    assert await retriever.ainvoke(QUERY) == expected


async def test_as_retriever_by_hybrid_tells_why(store: TercetVectorStore) -> None:
    sparse = TercetVectorStore(store.index, plan=SPARSE)
    retriever = sparse.as_retriever(search_type="hybrid", search_kwargs={"k": 2, "where": {"lang": "en"}})

    documents = retriever.invoke(QUERY)

    assert ids(documents) == ids(store.similarity_search(QUERY, k=2, filter={"lang": "en"}))
    assert set(documents[0].metadata["relevance_trace"]["stages"]) == {"dense", "sparse", "fused", "late"}
    assert await retriever.ainvoke(QUERY) == documents
    plain = retriever.invoke(QUERY, with_score=False, with_trace=False, k=1)
    assert plain == store.similarity_search(QUERY, k=1)


@pytest.mark.parametrize("search_type", ["similarity", "mmr", "hybrid", "similarity_score_threshold"])
async def test_a_retriever_passes_nothing_over(in_memory: TercetVectorStore, search_type: str) -> None:
    with pytest.raises(ValidationError, match="k"):
        in_memory.as_retriever(k=3)
    with pytest.raises(ValidationError, match="not allowed"):
        in_memory.as_retriever(search_type="magic")
    retriever = in_memory.as_retriever(search_type=search_type, search_kwargs={"top_k": 3, "score_threshold": 0.1})
    with pytest.raises(TypeError, match="top_k"):
        retriever.invoke(QUERY)
    with pytest.raises(TypeError, match="top_k"):
        await retriever.ainvoke(QUERY)


# --- made in one go ---


async def test_from_texts_and_documents(memory: HybridIndex) -> None:
    store = TercetVectorStore.from_texts(["a cat", "a key"], metadatas=[{"n": 1}, {"n": 2}], ids=["1", "2"])

    assert store.get_by_ids(["2"]) == [Document(id="2", page_content="a key", metadata={"n": 2})]
    assert ids(TercetVectorStore.from_documents(DOCUMENTS, index=memory).similarity_search(QUERY, k=1)) == ["keys"]
    assert memory.count() == len(DOCUMENTS)
    awaited = await TercetVectorStore.afrom_texts(["a cat"], None, [{"n": 1}], ids=["1"])
    assert awaited.index.count() == 1
    awaited = await TercetVectorStore.afrom_documents(DOCUMENTS, tenant="acme")
    assert awaited.index.count({"tenant": "acme"}) == len(DOCUMENTS)


def test_from_texts_into_a_directory_that_is_there_still(tmp_path: Path, encoder: MiniEncoder) -> None:
    embedding = TercetEmbeddings(encoder)
    store = TercetVectorStore.from_texts(["a cat"], embedding, ids=["1"], path=tmp_path / "kb")
    store.index.close()

    with TercetVectorStore.open(tmp_path / "kb", embedding=embedding).index as index:
        assert ids(TercetVectorStore(index).similarity_search("feline")) == ["1"]


def test_what_opens_a_store_is_checked(memory: HybridIndex, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"takes a tercet.HybridIndex, got DeterministicFakeEmbedding"):
        TercetVectorStore(DeterministicFakeEmbedding(size=6))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="give embedding or index"):
        TercetVectorStore.from_texts(["a"], DeterministicFakeEmbedding(size=6), index=memory)
    with pytest.raises(TypeError, match="collection_name"):
        TercetVectorStore.from_texts(["a"], path=tmp_path / "kb", collection_name="kb")
    with pytest.raises(TypeError, match="location"):
        TercetVectorStore.from_texts(["a"], location=":memory:")
    with pytest.raises(InvalidDocument, match="empty text"):
        TercetVectorStore.from_texts(["a", ""], path=tmp_path / "kb")
    with pytest.raises(TypeError, match=r"a plan is a tercet\.SearchPlan or a dict of its fields, got str"):
        TercetVectorStore(memory, plan="hybrid")  # type: ignore[arg-type]
    assert not (tmp_path / "kb").exists()
    assert memory.count() == 0


def test_views_of_tenants(index: HybridIndex) -> None:
    store = TercetVectorStore(index)
    acme, globex = store.for_tenant("acme"), TercetVectorStore(index, tenant="globex")
    for view in (acme, globex):
        view.add_texts(["rotate keys", "feed the cat"], ids=["1", "2"])

    acme.delete(["1"])

    assert ids(acme.similarity_search("rotate keys")) == ["2"]
    assert set(ids(globex.similarity_search("rotate keys"))) == {"1", "2"}
    assert globex.get_by_ids(["1"])[0].metadata == {"tenant": "globex"}
    assert index.count() == 3


# --- the caller's Embeddings ---


class Counted(Embeddings):
    """Remembers what was embedded, and how."""

    def __init__(self) -> None:
        self.inner = DeterministicFakeEmbedding(size=16)
        self.calls: list[tuple[str, Any]] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.calls.append(("documents", list(texts)))
        return self.inner.embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        self.calls.append(("query", text))
        return self.inner.embed_query(text)

    async def aembed_query(self, text: str) -> list[float]:
        self.calls.append(("aquery", text))
        return self.inner.embed_query(text)


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
def own(counted: Counted, encoder: MiniEncoder) -> TercetVectorStore:
    store = TercetVectorStore(HybridIndex.in_memory(encoder=EmbeddingsEncoder(counted, encoder=encoder, dim=16)))
    store.add_documents(DOCUMENTS)
    return store


async def test_dense_vectors_are_the_callers_and_the_rest_is_ours(
    own: TercetVectorStore, store: TercetVectorStore, counted: Counted
) -> None:
    given = np.array(counted.inner.embed_query("The cat sat on the mat."))

    assert own.embeddings is counted
    assert own.index.dense_vectors(["cat"])["cat"] == pytest.approx(given / np.linalg.norm(given), abs=1e-6)
    [(document, cosine)] = own.similarity_search_with_score_by_vector(given.tolist(), k=1)
    assert (document.id, cosine) == ("cat", pytest.approx(1.0, abs=1e-5))
    for stages in (("sparse",), ("sparse", "late")):
        plan = SearchPlan(stages=stages)
        expected = store.similarity_search_with_score("cat", plan=plan)
        assert [(d.id, s) for d, s in own.similarity_search_with_score("cat", plan=plan)] == [
            (d.id, pytest.approx(s, abs=1e-3)) for d, s in expected
        ]


def test_what_is_stored_is_not_embedded_again(own: TercetVectorStore, counted: Counted) -> None:
    counted.calls.clear()

    own.add_documents([*DOCUMENTS, Document(page_content="new")])

    assert counted.calls == [("documents", ["new"])]


async def test_a_query_is_embedded_once_and_awaited_where_it_can_be(own: TercetVectorStore, counted: Counted) -> None:
    for search, expected in (
        (own.similarity_search, "query"),
        (own.asimilarity_search, "aquery"),
        (own.max_marginal_relevance_search, "query"),
        (own.amax_marginal_relevance_search, "aquery"),
        (own.as_retriever(search_type="hybrid").ainvoke, "aquery"),
        (TercetVectorStore(own.index, plan=SPARSE).similarity_search_with_relevance_scores, "query"),
        (TercetVectorStore(own.index, plan=SPARSE).asimilarity_search_with_relevance_scores, "aquery"),
    ):
        counted.calls.clear()
        assert await answered(search, QUERY)
        assert counted.calls == [(expected, QUERY)]


async def test_a_model_whose_stage_takes_no_part_is_not_asked(own: TercetVectorStore, counted: Counted) -> None:
    retriever = TercetRetriever(index=own.index, plan=SPARSE)
    found = [hit.id for hit in own.index.search("cat", plan=SPARSE)]
    counted.calls.clear()

    assert found[:1] == ["cat"]
    assert ids(own.similarity_search("cat", plan=SPARSE)) == ids(retriever.invoke("cat")) == found
    assert ids(await own.asimilarity_search("cat", plan=SPARSE)) == ids(await retriever.ainvoke("cat")) == found
    assert counted.calls == []


async def test_nobody_pays_for_an_empty_query(own: TercetVectorStore, counted: Counted) -> None:
    counted.calls.clear()

    for name in ("similarity_search", "similarity_search_with_relevance_scores", "max_marginal_relevance_search"):
        for form in (name, f"a{name}"):
            with pytest.raises(ValueError, match="the query is empty"):
                await answered(getattr(own, form), " ")

    assert counted.calls == []


def test_an_index_refuses_vectors_of_another_model(tmp_path: Path) -> None:
    TercetVectorStore.from_texts(["a"], DeterministicFakeEmbedding(size=6), path=tmp_path / "kb").index.close()

    with pytest.raises(CollectionMismatch, match="DeterministicFakeEmbedding"):
        TercetVectorStore.open(tmp_path / "kb", embedding=DeterministicFakeEmbedding(size=8))
    with pytest.raises(CollectionMismatch):
        TercetVectorStore.open(tmp_path / "kb")
