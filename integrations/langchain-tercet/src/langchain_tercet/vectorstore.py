"""LangChain's whole vector store contract over a tercet index."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document as LangChainDocument
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore, VectorStoreRetriever
from langchain_core.vectorstores.utils import maximal_marginal_relevance
from numpy.typing import NDArray
from pydantic import ConfigDict
from tercet import Document, Hit, HybridIndex, SearchPlan
from tercet.types import DENSE

from langchain_tercet.documents import from_documents, from_texts, to_langchain
from langchain_tercet.embeddings import (
    aquery_vector,
    avector_for,
    check_query,
    embeddings_of,
    encoder_for,
    query_vector,
)
from langchain_tercet.filters import AnyFilter, to_where
from langchain_tercet.retriever import TercetRetriever, read_plan

HYBRID = "hybrid"


class TercetVectorStore(VectorStore):
    """Vector store over a tercet index: each document has a dense, a SPLADE and a late-interaction vector.

    `similarity_search` and its kin answer by the store's plan, which unless told otherwise means all three together;
    `SearchPlan(stages=("dense",))` makes it a purely dense store, `("sparse",)` a SPLADE one. What takes a vector
    (`…_by_vector`) or compares vectors (MMR) is dense by nature.

    A filter is called `filter`, as everywhere in LangChain, or `where`, as in tercet: the same thing, and giving both
    is an error. It may be a plain dict, a `qdrant_client.models.Filter` or LangChain's structured query, see
    `langchain_tercet.filters`. Names that a method does not know raise TypeError.

    Setup:
        ```bash
        pip install -U langchain-tercet
        ```

    Key init args:
        index: HybridIndex
            The opened index; `TercetVectorStore.open` and `.in_memory` open one.
        plan: SearchPlan | None
            How to search; the index's own where it is not given.
        tenant: str | None
            See and write the documents of one tenant alone, whose metadata hold this name under `tenant_key`.

    Instantiate:
        ```python
        from langchain_tercet import TercetVectorStore

        store = TercetVectorStore.open("./kb")  # or .open(url="http://localhost:6333", collection="kb")
        ```

    Add Documents:
        ```python
        store.add_documents([Document(page_content="Rotate the keys every 90 days.", id="keys")])
        ```

    Delete Documents:
        ```python
        store.delete(ids=["keys"])
        ```

    Search:
        ```python
        store.similarity_search("key rotation", k=2, filter={"lang": "en"})
        store.similarity_search_with_relevance_scores("key rotation", score_threshold=0.6)
        await store.asimilarity_search("key rotation")
        ```

    Use as Retriever:
        ```python
        store.as_retriever(search_type="hybrid", search_kwargs={"k": 4})
        ```
    """

    def __init__(
        self,
        index: HybridIndex,
        *,
        plan: SearchPlan | None = None,
        tenant: str | None = None,
        tenant_key: str = "tenant",
    ) -> None:
        if not isinstance(index, HybridIndex):
            raise TypeError(
                f"a TercetVectorStore takes a tercet.HybridIndex, got {type(index).__name__}; "
                f"TercetVectorStore.open(path, embedding=…) opens one with your Embeddings"
            )
        self.index = index if tenant is None else index.for_tenant(tenant, key=tenant_key)
        self.plan = read_plan(plan)

    # --- opening ---

    @classmethod
    def open(
        cls,
        path: str | Path | None = None,
        *,
        url: str | None = None,
        embedding: Embeddings | None = None,
        plan: SearchPlan | None = None,
        tenant: str | None = None,
        tenant_key: str = "tenant",
        **options: Any,
    ) -> Self:
        """Open a directory or a collection on a Qdrant server, and make it where it is missing.

        embedding: makes the dense vectors; our encoder's own where none is given
        options: of `HybridIndex.open`: collection, api_key, create, hnsw, prefer_grpc, timeout_seconds
        """
        index = HybridIndex.open(path, url=url, encoder=encoder_for(embedding), **options)
        return cls(index, plan=plan, tenant=tenant, tenant_key=tenant_key)

    @classmethod
    def in_memory(
        cls,
        *,
        embedding: Embeddings | None = None,
        plan: SearchPlan | None = None,
        tenant: str | None = None,
        tenant_key: str = "tenant",
    ) -> Self:
        """A store that lives as long as the process."""
        index = HybridIndex.in_memory(encoder=encoder_for(embedding))
        return cls(index, plan=plan, tenant=tenant, tenant_key=tenant_key)

    @classmethod
    def from_texts(
        cls,
        texts: Iterable[str],
        embedding: Embeddings | None = None,
        metadatas: Iterable[Mapping[str, Any] | None] | None = None,
        *,
        ids: Iterable[str | None] | None = None,
        index: HybridIndex | None = None,
        batch_size: int | None = None,
        **options: Any,
    ) -> Self:
        """A store with these texts added: to `index`, or to what `options` open, or else to a new one in memory.

        embedding: makes the dense vectors; our encoder's own where none is given
        options: of `TercetVectorStore` and, with path or url, of `open`
        """
        return cls._filled(from_texts(texts, metadatas, ids), batch_size, index, embedding, options)

    @classmethod
    def from_documents(
        cls,
        documents: Iterable[LangChainDocument],
        embedding: Embeddings | None = None,
        *,
        ids: Iterable[str | None] | None = None,
        index: HybridIndex | None = None,
        batch_size: int | None = None,
        **options: Any,
    ) -> Self:
        """A store with these documents added; see `from_texts`."""
        return cls._filled(from_documents(documents, ids), batch_size, index, embedding, options)

    @classmethod
    async def afrom_texts(
        cls,
        texts: Iterable[str],
        embedding: Embeddings | None = None,
        metadatas: Iterable[Mapping[str, Any] | None] | None = None,
        **options: Any,
    ) -> Self:
        return await asyncio.to_thread(cls.from_texts, texts, embedding, metadatas, **options)

    @classmethod
    async def afrom_documents(
        cls, documents: Iterable[LangChainDocument], embedding: Embeddings | None = None, **options: Any
    ) -> Self:
        return await asyncio.to_thread(cls.from_documents, documents, embedding, **options)

    @classmethod
    def _filled(
        cls,
        documents: Iterable[Document],
        batch_size: int | None,
        index: HybridIndex | None,
        embedding: Embeddings | None,
        options: Mapping[str, Any],
    ) -> Self:
        if index is not None and embedding is not None:
            raise ValueError("an index has its encoder already; give embedding or index, or open the index with both")
        if index is not None:
            store = cls(index, **options)
        elif options.get("path") is not None or options.get("url") is not None:
            store = cls.open(embedding=embedding, **options)
        else:
            store = cls.in_memory(embedding=embedding, **options)
        store._add(documents, batch_size)
        return store

    def for_tenant(self, tenant: str, *, key: str = "tenant") -> Self:
        """A view of this store that sees and writes the documents of one tenant alone; it costs nothing to make."""
        return type(self)(self.index, plan=self.plan, tenant=tenant, tenant_key=key)

    @property
    def embeddings(self) -> Embeddings:
        """What makes the dense vectors: the caller's Embeddings, or our encoder as such."""
        return embeddings_of(self.index)

    # --- the way of a document ---

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: Iterable[Mapping[str, Any] | None] | None = None,
        *,
        ids: Iterable[str | None] | None = None,
        batch_size: int | None = None,
        **unknown: Any,
    ) -> list[str]:
        """Add or replace texts; returns their ids, in their order.

        ids: any strings. None derives one from text and metadata, so that the same text added twice is one document
        batch_size: texts that are encoded and written together; 256 where none is given

        A list is checked as a whole before anything is written. A generator is read as it goes: what came before a
        text that cannot be indexed may be written.

        Raises:
            InvalidDocument: an empty text, an id that is no string, metadata that are not JSON.
            ValueError: not one of `metadatas` or `ids` for each text.
        """
        _refuse("add_texts", unknown, "metadatas, ids and batch_size")
        return self._add(from_texts(texts, metadatas, ids), batch_size)

    def add_documents(
        self,
        documents: Iterable[LangChainDocument],
        *,
        ids: Iterable[str | None] | None = None,
        batch_size: int | None = None,
        **unknown: Any,
    ) -> list[str]:
        """Add or replace documents; returns their ids, in their order. `ids` go before their own; see `add_texts`."""
        _refuse("add_documents", unknown, "ids and batch_size")
        return self._add(from_documents(documents, ids), batch_size)

    async def aadd_texts(
        self, texts: Iterable[str], metadatas: Iterable[Mapping[str, Any] | None] | None = None, **options: Any
    ) -> list[str]:
        return await asyncio.to_thread(self.add_texts, texts, metadatas, **options)

    async def aadd_documents(self, documents: Iterable[LangChainDocument], **options: Any) -> list[str]:
        return await asyncio.to_thread(self.add_documents, documents, **options)

    def _add(self, documents: Iterable[Document], batch_size: int | None) -> list[str]:
        if batch_size is not None and (not isinstance(batch_size, int) or batch_size < 1):
            raise ValueError(f"batch_size must be a whole number of at least 1, got {batch_size!r}")
        ids: list[str] = []

        def noted(batch: Iterable[Document]) -> Iterable[Document]:
            for document in batch:
                ids.append(document.id)
                yield document

        if batch_size is None:
            self.index.add(noted(documents), on_error="raise", progress=False)
            return ids
        stream = iter(documents)
        while batch := list(itertools.islice(stream, batch_size)):
            self.index.add(noted(batch), on_error="raise", progress=False)
        return ids

    def delete(
        self,
        ids: Sequence[str] | None = None,
        *,
        filter: AnyFilter | None = None,
        where: AnyFilter | None = None,
        **unknown: Any,
    ) -> bool:
        """Remove documents by ids or by filter. Ids that are not stored are passed over.

        Raises:
            ValueError: neither or both are given: deleting everything is never a default.
        """
        _refuse("delete", unknown, "ids, filter and where")
        self.index.delete(None if ids is None else _checked_ids(ids), where=_one_filter(filter, where))
        return True

    async def adelete(self, ids: Sequence[str] | None = None, **options: Any) -> bool:
        return await asyncio.to_thread(self.delete, ids, **options)

    def get_by_ids(self, ids: Sequence[str], /) -> list[LangChainDocument]:
        """The documents with these ids, in their order; ids that are not stored are passed over."""
        return [to_langchain(document) for document in self.index.get(_checked_ids(ids))]

    async def aget_by_ids(self, ids: Sequence[str], /) -> list[LangChainDocument]:
        return [to_langchain(document) for document in await self.index.aget(_checked_ids(ids))]

    # --- the way of a query ---

    def similarity_search(
        self,
        query: str,
        k: int = 4,
        filter: AnyFilter | None = None,
        *,
        where: AnyFilter | None = None,
        plan: SearchPlan | None = None,
        **unknown: Any,
    ) -> list[LangChainDocument]:
        """The best `k` documents by the plan, best first.

        Raises:
            ValueError: the query is empty, k is below 1, both filter and where are given.
            InvalidFilter: the filter cannot be read.
        """
        return _documents(self.index.search(query, **self._asked(k, filter, where, plan, **unknown)))

    async def asimilarity_search(
        self, query: str, k: int = 4, filter: AnyFilter | None = None, **options: Any
    ) -> list[LangChainDocument]:
        return _documents(await self._ahits(query, self._asked(k, filter, **options)))

    def similarity_search_with_score(
        self,
        query: str,
        k: int = 4,
        filter: AnyFilter | None = None,
        *,
        where: AnyFilter | None = None,
        plan: SearchPlan | None = None,
        **unknown: Any,
    ) -> list[tuple[LangChainDocument, float]]:
        """`similarity_search` with the scores of the final order, more is better.

        By the default plan they compare the documents of one query, and say nothing across queries. Of a plan with one
        stage they are the stage's own: the cosine for "dense", the dot product for "sparse".
        """
        return _with_scores(self.index.search(query, **self._asked(k, filter, where, plan, **unknown)))

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, filter: AnyFilter | None = None, **options: Any
    ) -> list[tuple[LangChainDocument, float]]:
        return _with_scores(await self._ahits(query, self._asked(k, filter, **options)))

    # LangChain's similarity_search_with_relevance_scores calls this and applies its score_threshold. Ours is
    # (1 + cosine) / 2 by every plan, in the order of the plan: so a threshold means the same for every query.
    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, filter: AnyFilter | None = None, **options: Any
    ) -> list[tuple[LangChainDocument, float]]:
        asked = self._asked(k, filter, **options)
        vector = query_vector(self.index, query)
        hits = self.index.search(query, **asked, dense=vector)
        cosines = _dense_scores(hits)
        if without := [hit.id for hit in hits if hit.id not in cosines]:
            vector = vector or self.embeddings.embed_query(query)
            cosines |= _cosines(vector, self.index.dense_vectors(without))
        return _with_relevance(hits, cosines)

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, filter: AnyFilter | None = None, **options: Any
    ) -> list[tuple[LangChainDocument, float]]:
        asked = self._asked(k, filter, **options)
        vector = await aquery_vector(self.index, query)
        hits = await self.index.asearch(query, **asked, dense=vector)
        cosines = _dense_scores(hits)
        if without := [hit.id for hit in hits if hit.id not in cosines]:
            vector = vector or await self.embeddings.aembed_query(query)
            cosines |= _cosines(vector, await self.index.adense_vectors(without))
        return _with_relevance(hits, cosines)

    def hybrid_search(
        self, query: str, k: int = 4, filter: AnyFilter | None = None, **options: Any
    ) -> list[LangChainDocument]:
        """`similarity_search`, by all stages even where the store's plan has a single one."""
        return self.similarity_search(query, k, filter, **{"plan": self.hybrid_plan, **options})

    async def ahybrid_search(
        self, query: str, k: int = 4, filter: AnyFilter | None = None, **options: Any
    ) -> list[LangChainDocument]:
        return await self.asimilarity_search(query, k, filter, **{"plan": self.hybrid_plan, **options})

    @property
    def hybrid_plan(self) -> SearchPlan | None:
        """The plan of a hybrid search: the store's, unless that is a search by one stage."""
        plan = self.plan or self.index.plan
        return self.plan if len(plan.stages) > 1 else replace(plan, stages=SearchPlan().stages, threshold=None)

    # --- dense by nature ---

    def similarity_search_by_vector(
        self,
        embedding: Sequence[float],
        k: int = 4,
        filter: AnyFilter | None = None,
        *,
        where: AnyFilter | None = None,
        **unknown: Any,
    ) -> list[LangChainDocument]:
        """The `k` documents whose dense vectors are nearest to this one, of the same model, by cosine."""
        return _documents(self.index.nearest(embedding, **_near(k, filter, where, **unknown)))

    async def asimilarity_search_by_vector(
        self, embedding: Sequence[float], k: int = 4, filter: AnyFilter | None = None, **options: Any
    ) -> list[LangChainDocument]:
        return _documents(await self.index.anearest(embedding, **_near(k, filter, **options)))

    def similarity_search_with_score_by_vector(
        self, embedding: Sequence[float], k: int = 4, filter: AnyFilter | None = None, **options: Any
    ) -> list[tuple[LangChainDocument, float]]:
        """`similarity_search_by_vector` with the cosines."""
        return _with_scores(self.index.nearest(embedding, **_near(k, filter, **options)))

    async def asimilarity_search_with_score_by_vector(
        self, embedding: Sequence[float], k: int = 4, filter: AnyFilter | None = None, **options: Any
    ) -> list[tuple[LangChainDocument, float]]:
        return _with_scores(await self.index.anearest(embedding, **_near(k, filter, **options)))

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: AnyFilter | None = None,
        *,
        where: AnyFilter | None = None,
        **unknown: Any,
    ) -> list[LangChainDocument]:
        """`k` of the `fetch_k` nearest documents, each chosen for being near to the query and unlike those before.

        lambda_mult: from 0, the most diverse, to 1, the nearest
        """
        check_query(query)
        vector = self.embeddings.embed_query(query)
        return self.max_marginal_relevance_search_by_vector(
            vector, k, fetch_k, lambda_mult, filter, where=where, **unknown
        )

    async def amax_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: AnyFilter | None = None,
        **options: Any,
    ) -> list[LangChainDocument]:
        check_query(query)
        vector = await self.embeddings.aembed_query(query)
        return await self.amax_marginal_relevance_search_by_vector(vector, k, fetch_k, lambda_mult, filter, **options)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: Sequence[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: AnyFilter | None = None,
        *,
        where: AnyFilter | None = None,
        **unknown: Any,
    ) -> list[LangChainDocument]:
        """`max_marginal_relevance_search` for a query that is a vector of the same model already."""
        asked = _near(_pool_size(k, fetch_k, lambda_mult), filter, where, **unknown)
        hits = self.index.nearest(embedding, **asked)
        return _diverse(embedding, hits, self.index.dense_vectors([hit.id for hit in hits]), k, lambda_mult)

    async def amax_marginal_relevance_search_by_vector(
        self,
        embedding: Sequence[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: AnyFilter | None = None,
        **options: Any,
    ) -> list[LangChainDocument]:
        asked = _near(_pool_size(k, fetch_k, lambda_mult), filter, **options)
        hits = await self.index.anearest(embedding, **asked)
        return _diverse(embedding, hits, await self.index.adense_vectors([hit.id for hit in hits]), k, lambda_mult)

    # --- by the name of a search ---

    def search(self, query: str, search_type: str, **options: Any) -> list[LangChainDocument]:
        """By name: "similarity", "similarity_score_threshold", "mmr" or "hybrid"."""
        if search_type == HYBRID:
            return self.hybrid_search(query, **options)
        return super().search(query, search_type, **options)

    async def asearch(self, query: str, search_type: str, **options: Any) -> list[LangChainDocument]:
        if search_type == HYBRID:
            return await self.ahybrid_search(query, **options)
        return await super().asearch(query, search_type, **options)

    def as_retriever(self, **fields: Any) -> TercetVectorStoreRetriever:
        """A retriever over this store.

        search_type: "similarity" (by the store's plan), "similarity_score_threshold", "mmr", or "hybrid", whose
            documents and runs tell what `TercetRetriever`'s do
        search_kwargs: of the search: k, filter or where, plan, score_threshold, fetch_k, lambda_mult
        """
        tags = fields.pop("tags", None) or self._get_retriever_tags()
        return TercetVectorStoreRetriever(vectorstore=self, tags=tags, **fields)

    def _asked(
        self,
        k: int,
        filter: AnyFilter | None = None,
        where: AnyFilter | None = None,
        plan: SearchPlan | None = None,
        **unknown: Any,
    ) -> dict[str, Any]:
        _refuse("a search", unknown, "k, filter, where and plan")
        return {"k": _positive("k", k), "where": _one_filter(filter, where), "plan": read_plan(plan) or self.plan}

    async def _ahits(self, query: str, asked: Mapping[str, Any]) -> list[Hit]:
        return await self.index.asearch(query, **asked, dense=await avector_for(self.index, query, asked["plan"]))

    def __repr__(self) -> str:
        return f"TercetVectorStore({self.index!r})"


class TercetVectorStoreRetriever(VectorStoreRetriever):
    """What `TercetVectorStore.as_retriever` makes: LangChain's own, with the search type "hybrid"."""

    vectorstore: TercetVectorStore
    allowed_search_types: ClassVar[tuple[str, ...]] = ("similarity", "similarity_score_threshold", "mmr", HYBRID)

    # Else as_retriever(k=3), which means search_kwargs={"k": 3}, would be passed over.
    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **options: Any
    ) -> list[LangChainDocument]:
        options.pop("verbose", None)  # LangChain's own
        if self.search_type == HYBRID:
            retriever, asked = self._hybrid(**(self.search_kwargs | options))
            return retriever._get_relevant_documents(query, run_manager=run_manager, **asked)
        return super()._get_relevant_documents(query, run_manager=run_manager, **options)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **options: Any
    ) -> list[LangChainDocument]:
        options.pop("verbose", None)
        if self.search_type == HYBRID:
            retriever, asked = self._hybrid(**(self.search_kwargs | options))
            return await retriever._aget_relevant_documents(query, run_manager=run_manager, **asked)
        return await super()._aget_relevant_documents(query, run_manager=run_manager, **options)

    def _hybrid(
        self,
        *,
        k: int = 4,
        filter: AnyFilter | None = None,
        where: AnyFilter | None = None,
        plan: SearchPlan | None = None,
        with_score: bool = True,
        with_trace: bool = True,
        **unknown: Any,
    ) -> tuple[TercetRetriever, dict[str, Any]]:
        _refuse("a hybrid search", unknown, "k, filter, where, plan, with_score and with_trace")
        retriever = TercetRetriever(index=self.vectorstore.index, with_score=with_score, with_trace=with_trace)
        return retriever, {
            "k": k,
            "where": _one_filter(filter, where),
            "plan": read_plan(plan) or self.vectorstore.hybrid_plan,
        }


def _documents(hits: Iterable[Hit]) -> list[LangChainDocument]:
    return [to_langchain(hit.document) for hit in hits]


def _with_scores(hits: Iterable[Hit]) -> list[tuple[LangChainDocument, float]]:
    return [(to_langchain(hit.document), float(hit.score)) for hit in hits]


def _with_relevance(hits: Iterable[Hit], cosines: Mapping[str, float]) -> list[tuple[LangChainDocument, float]]:
    # Rounding takes a cosine a little past 1, and LangChain warns of a relevance that is.
    return [
        (to_langchain(hit.document), min(max((1 + cosines[hit.id]) / 2, 0.0), 1.0)) for hit in hits if hit.id in cosines
    ]


def _dense_scores(hits: Iterable[Hit]) -> dict[str, float]:
    return {hit.id: float(place.score) for hit in hits for place in hit.stages if place.stage == DENSE}


def _cosines(query: Sequence[float], vectors: Mapping[str, NDArray[np.float32]]) -> dict[str, float]:
    """query: (dim,) of any length; vectors: (dim,) of length 1 each"""
    direction = np.asarray(query, np.float64) / np.linalg.norm(query)
    return {id_: float(vector @ direction) for id_, vector in vectors.items()}


def _pool_size(k: int, fetch_k: int, lambda_mult: float) -> int:
    if not 0 <= lambda_mult <= 1:
        raise ValueError(f"lambda_mult goes from 0 (most diverse) to 1 (nearest), got {lambda_mult!r}")
    return max(_positive("k", k), _positive("fetch_k", fetch_k))


def _diverse(
    embedding: Sequence[float],
    hits: Sequence[Hit],
    vectors: Mapping[str, NDArray[np.float32]],
    k: int,
    lambda_mult: float,
) -> list[LangChainDocument]:
    pool = [hit for hit in hits if hit.id in vectors]  # one that was deleted meanwhile has none
    chosen = maximal_marginal_relevance(
        np.asarray(embedding, np.float32), [vectors[hit.id].tolist() for hit in pool], lambda_mult, k
    )
    return _documents(pool[position] for position in chosen)


def _near(k: int, filter: AnyFilter | None = None, where: AnyFilter | None = None, **unknown: Any) -> dict[str, Any]:
    _refuse("a search among dense vectors", unknown, "k, filter and where, an mmr search also fetch_k and lambda_mult")
    return {"k": _positive("k", k), "where": _one_filter(filter, where)}


def _positive(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    return value


def _one_filter(filter: AnyFilter | None, where: AnyFilter | None) -> dict[str, Any] | None:
    if filter is not None and where is not None:
        raise ValueError("filter and where are two names of one thing; give one of them, joined by {'and': [f, g]}")
    return to_where(where if filter is None else filter)


def _checked_ids(ids: Sequence[str]) -> list[str]:
    wanted = [ids] if isinstance(ids, str) else list(ids)
    for id_ in wanted:
        if not isinstance(id_, str):
            raise ValueError(f"an id is a str, got {type(id_).__name__}: {id_!r}; use str(…) on both ways, in and out")
    return wanted


def _refuse(method: str, unknown: Mapping[str, Any], known: str) -> None:
    if unknown:
        raise TypeError(f"{method} takes {known}, got {', '.join(sorted(unknown))}")
