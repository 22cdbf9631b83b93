"""Five stores behind one interface, each used as its own documentation shows. Each is imported when it is opened."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from comparison.corpus import Passage, RememberingEncoder

Where: TypeAlias = Mapping[str, str]  # metadata that must be equal
Native: TypeAlias = Any  # an object of a framework, or an option of it


@dataclass(frozen=True, slots=True)
class Found:
    """A search's result as the framework's user sees it.

    id: as the framework tells it, None where it does not
    raw: the framework's own object, and what came beside it
    """

    id: str | None
    text: str
    metadata: Mapping[str, Any]
    score: float | None = None
    raw: object = field(default=None, compare=False, repr=False)

    @property
    def known_id(self) -> str:
        """langchain-qdrant tells it among the metadata."""
        return str(self.id or self.metadata.get("_id"))


class Contestant(ABC):
    """One integration in one mode. `open` comes first; the store is then in `native`."""

    column: ClassVar[str]
    package: ClassVar[str]
    module: ClassVar[str]  # what a user imports
    framework: ClassVar[str]
    weights_note: ClassVar[str] = ""

    def __init__(self, encoder: RememberingEncoder) -> None:
        self.encoder = encoder
        self.native: Any = None

    @abstractmethod
    def open(self, place: Path | None = None) -> None:
        """Embedded in a directory, or in memory."""

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    def add(self, passages: Sequence[Passage]) -> list[str]: ...

    @abstractmethod
    def get(self, ids: Sequence[str]) -> list[Found]: ...

    @abstractmethod
    def delete(self, ids: Sequence[str]) -> object: ...

    @abstractmethod
    def delete_nothing_named(self) -> object:
        """The deletion that is given neither ids nor a filter."""

    @abstractmethod
    def search(self, query: str, k: int, where: Where | None = None, **native: Native) -> list[Found]:
        """By the mode's usual call; `native` are options of it."""

    @abstractmethod
    async def asearch(self, query: str, k: int, **native: Native) -> list[Found]: ...

    @abstractmethod
    async def answer(self, question: Native) -> object:
        """The first ten for a text; in LlamaIndex, for a `question` with its vector."""

    @abstractmethod
    def search_plain(self, query: str, k: int, where: Mapping[str, Any]) -> list[Found]:
        """With a filter that is a plain dict."""

    @abstractmethod
    def search_qdrant(self, query: str, k: int, filter: Native) -> list[Found]:
        """With a `qdrant_client.models.Filter` on the key "module"."""

    @abstractmethod
    def search_misspelt(self, query: str, k: int) -> list[Found]:
        """With a filter whose name is misspelt: "filtre"."""

    @abstractmethod
    def search_empty_filter(self, query: str, k: int) -> list[Found]: ...

    @abstractmethod
    def ranked_by(self, query: str, k: int, *, dense: float) -> list[Found]:
        """Hybrid with this share of dense, the rest for sparse; NotImplementedError where there is no such option."""

    @abstractmethod
    def wide(self, query: str, k: int) -> list[Found]:
        """The first k of a pool of 50, where the documentation has an option for the pool; else a usual search."""

    @abstractmethod
    def diverse(self, query: str, k: int, *, lambda_mult: float) -> list[Found]:
        """MMR by the framework's own number: 0 is most diverse, 1 is nearest."""

    @abstractmethod
    def relevances(self, query: str, k: int) -> list[float]: ...

    def explained(self, query: str, k: int) -> list[Native]:
        """The framework's objects with all that is told about them."""
        return [found.raw for found in self.search(query, k)]

    @abstractmethod
    def on_server(self, url: str, api_key: str) -> object:
        """The native object over a server."""

    @abstractmethod
    def written_down(self, native: Native) -> list[str]:
        """What the framework prints or saves of an object."""


class LangChain(Contestant):
    framework = "LangChain"

    def add(self, passages: Sequence[Passage]) -> list[str]:
        from langchain_core.documents import Document

        documents = [Document(page_content=p.text, metadata=dict(p.metadata)) for p in passages]
        return list(self.native.add_documents(documents, ids=[p.id for p in passages]))

    def get(self, ids: Sequence[str]) -> list[Found]:
        return [_langchain(document) for document in self.native.get_by_ids(list(ids))]

    def delete(self, ids: Sequence[str]) -> object:
        return self.native.delete(list(ids))

    def delete_nothing_named(self) -> object:
        return self.native.delete()

    def search(self, query: str, k: int, where: Where | None = None, **native: Native) -> list[Found]:
        options = native if where is None else {"filter": self.filter(where), **native}
        return [_langchain(d, s) for d, s in self.native.similarity_search_with_score(query, k=k, **options)]

    async def asearch(self, query: str, k: int, **native: Native) -> list[Found]:
        return [_langchain(document) for document in await self.native.asimilarity_search(query, k=k, **native)]

    async def answer(self, question: Native) -> object:
        return await self.asearch(question, 10)

    def filter(self, where: Where) -> Native:
        from qdrant_client import models

        return models.Filter(
            must=[
                models.FieldCondition(key=f"metadata.{key}", match=models.MatchValue(value=value))
                for key, value in where.items()
            ]
        )

    def search_plain(self, query: str, k: int, where: Mapping[str, Any]) -> list[Found]:
        return [_langchain(document) for document in self.native.similarity_search(query, k=k, filter=dict(where))]

    def search_qdrant(self, query: str, k: int, filter: Native) -> list[Found]:
        return [_langchain(document) for document in self.native.similarity_search(query, k=k, filter=filter)]

    def search_misspelt(self, query: str, k: int) -> list[Found]:
        retriever = self.native.as_retriever(search_kwargs={"k": k})
        return [_langchain(document) for document in retriever.invoke(query, filtre={"module": "json"})]

    def search_empty_filter(self, query: str, k: int) -> list[Found]:
        return self.search(query, k, {})

    def diverse(self, query: str, k: int, *, lambda_mult: float) -> list[Found]:
        found = self.native.max_marginal_relevance_search(query, k=k, fetch_k=20, lambda_mult=lambda_mult)
        return [_langchain(document) for document in found]

    def relevances(self, query: str, k: int) -> list[float]:
        return [score for _, score in self.native.similarity_search_with_relevance_scores(query, k=k)]

    def written_down(self, native: Native) -> list[str]:
        from langchain_core.load import dumps

        retriever = native.as_retriever()
        return [repr(native), str(native), repr(retriever), dumps(retriever)]


class LangChainTercet(LangChain):
    column = "langchain-tercet"
    package = "langchain-tercet"
    module = "langchain_tercet"

    def open(self, place: Path | None = None) -> None:
        from langchain_tercet import TercetVectorStore

        from tercet import HybridIndex

        self._index = (
            HybridIndex.in_memory(encoder=self.encoder)
            if place is None
            else HybridIndex.open(place, encoder=self.encoder)
        )
        self.native = TercetVectorStore(self._index)

    def close(self) -> None:
        self._index.close()

    def filter(self, where: Where) -> Native:
        return dict(where)

    def explained(self, query: str, k: int) -> list[Native]:
        from langchain_tercet import TercetRetriever

        return TercetRetriever(index=self._index, k=k).invoke(query)

    def ranked_by(self, query: str, k: int, *, dense: float) -> list[Found]:
        from tercet import SearchPlan

        weights = {"dense": dense, "sparse": 1 - dense}
        return self.search(query, k, plan=SearchPlan(k=k, stages=("dense", "sparse"), weights=weights))

    def wide(self, query: str, k: int) -> list[Found]:
        return self.search(query, k)  # the pool is 100 unless told otherwise

    def on_server(self, url: str, api_key: str) -> object:
        from langchain_tercet import TercetVectorStore

        from tercet import HybridIndex

        return TercetVectorStore(HybridIndex.open(url=url, api_key=api_key, collection="compare", encoder=self.encoder))


class LangChainQdrantDense(LangChain):
    column = "langchain-qdrant, dense"
    package = "langchain-qdrant"
    module = "langchain_qdrant"
    mode = "dense"

    def open(self, place: Path | None = None) -> None:
        from langchain_qdrant import QdrantVectorStore
        from qdrant_client import QdrantClient, models

        self._client = QdrantClient(":memory:") if place is None else QdrantClient(path=str(place))
        if not self._client.collection_exists("compare"):
            self._client.create_collection(
                "compare",
                vectors_config=models.VectorParams(size=self.encoder.spec.dense_dim, distance=models.Distance.COSINE),
                sparse_vectors_config={"langchain-sparse": models.SparseVectorParams()} if self.hybrid else None,
            )
        self.native = QdrantVectorStore(client=self._client, collection_name="compare", **self._heads())

    @property
    def hybrid(self) -> bool:
        return self.mode == "hybrid"

    def _heads(self) -> dict[str, Any]:
        from langchain_qdrant import RetrievalMode

        from comparison.heads import dense_head, sparse_head

        heads: dict[str, Any] = {"embedding": dense_head(self.encoder), "retrieval_mode": RetrievalMode(self.mode)}
        return {**heads, "sparse_embedding": sparse_head(self.encoder)} if self.hybrid else heads

    def close(self) -> None:
        self._client.close()

    def ranked_by(self, query: str, k: int, *, dense: float) -> list[Found]:
        raise NotImplementedError("dense alone")

    def wide(self, query: str, k: int) -> list[Found]:
        return self.search(query, k)

    def on_server(self, url: str, api_key: str) -> object:
        from langchain_qdrant import QdrantVectorStore
        from qdrant_client import QdrantClient

        client = QdrantClient(url=url, api_key=api_key, check_compatibility=False)
        unchecked = {"validate_embeddings": False, "validate_collection_config": False}
        return QdrantVectorStore(client=client, collection_name="compare", **self._heads(), **unchecked)


class LangChainQdrantHybrid(LangChainQdrantDense):
    column = "langchain-qdrant, hybrid"
    mode = "hybrid"
    # `hybrid_fusion` is said to be RRF or DBSF, but passes on whatever the client takes.
    weights_note = " (undocumented)"

    def ranked_by(self, query: str, k: int, *, dense: float) -> list[Found]:
        from qdrant_client import models

        fusion = models.RrfQuery(rrf=models.Rrf(weights=[dense, 1 - dense]))
        return self.search(query, k, hybrid_fusion=fusion)


class LlamaIndex(Contestant):
    framework = "LlamaIndex"

    def add(self, passages: Sequence[Passage]) -> list[str]:
        return list(self.native.add(self.nodes(passages)))

    def nodes(self, passages: Sequence[Passage]) -> list[Any]:
        from llama_index.core.schema import TextNode

        vectors = self.encoder.encode_documents(passage.text for passage in passages)
        return [
            TextNode(
                id_=p.id,
                text=p.text,
                metadata=dict(p.metadata),
                embedding=vector.dense.tolist(),
                excluded_embed_metadata_keys=list(p.metadata),  # so that all stores encode the same text
            )
            for p, vector in zip(passages, vectors, strict=True)
        ]

    def get(self, ids: Sequence[str]) -> list[Found]:
        return [_llama_index(node) for node in self.native.get_nodes(list(ids))]

    def delete(self, ids: Sequence[str]) -> object:
        return self.native.delete_nodes(list(ids))

    def delete_nothing_named(self) -> object:
        return self.native.delete_nodes()

    def question(self, query: str, k: int, *, mode: str = "hybrid", **fields: Native) -> Native:
        from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

        return VectorStoreQuery(
            query_embedding=self.encoder.encode_query(query).dense.tolist(),
            query_str=query,
            similarity_top_k=k,
            mode=VectorStoreQueryMode(mode),
            **fields,
        )

    def search(self, query: str, k: int, where: Where | None = None, **native: Native) -> list[Found]:
        fields = native if where is None else {"filters": self.filters(where), **native}
        return _answer(self.native.query(self.question(query, k, **fields)))

    async def asearch(self, query: str, k: int, **native: Native) -> list[Found]:
        return _answer(await self.native.aquery(self.question(query, k, **native)))

    async def answer(self, question: Native) -> object:
        return await self.native.aquery(question)

    def filters(self, where: Where) -> Native:
        from llama_index.core.vector_stores import MetadataFilter, MetadataFilters

        return MetadataFilters(filters=[MetadataFilter(key=key, value=value) for key, value in where.items()])

    def search_plain(self, query: str, k: int, where: Mapping[str, Any]) -> list[Found]:
        # The framework's own plain dict.
        from llama_index.core.vector_stores import MetadataFilters

        return _answer(self.native.query(self.question(query, k, filters=MetadataFilters.from_dict(dict(where)))))

    def search_qdrant(self, query: str, k: int, filter: Native) -> list[Found]:
        return _answer(self.native.query(self.question(query, k), qdrant_filters=filter))

    def search_misspelt(self, query: str, k: int) -> list[Found]:
        return _answer(self.native.query(self.question(query, k), filtre=self.filters({"module": "json"})))

    def search_empty_filter(self, query: str, k: int) -> list[Found]:
        return self.search(query, k, {})

    def ranked_by(self, query: str, k: int, *, dense: float) -> list[Found]:
        return self.search(query, k, alpha=dense)

    async def aranked_by(self, query: str, k: int, *, dense: float) -> list[Found]:
        return await self.asearch(query, k, alpha=dense)

    def wide(self, query: str, k: int) -> list[Found]:
        return _answer(self.native.query(self.question(query, 50, sparse_top_k=50, hybrid_top_k=k)))

    def diverse(self, query: str, k: int, *, lambda_mult: float) -> list[Found]:
        return _answer(self.native.query(self.question(query, k, mode="mmr", mmr_threshold=lambda_mult)))

    def relevances(self, query: str, k: int) -> list[float]:
        return [float(found.score or 0) for found in self.search(query, k)]

    def written_down(self, native: Native) -> list[str]:
        return [repr(native), str(native), str(native.to_dict()), native.to_json()]


class LlamaIndexTercet(LlamaIndex):
    column = "llama-index tercet"
    package = "llama-index-retrievers-tercet"
    module = "llama_index.vector_stores.tercet"

    def open(self, place: Path | None = None) -> None:
        from llama_index.vector_stores.tercet import TercetVectorStore

        from tercet import HybridIndex

        self._index = (
            HybridIndex.in_memory(encoder=self.encoder)
            if place is None
            else HybridIndex.open(place, encoder=self.encoder)
        )
        self.native = TercetVectorStore(self._index)

    def close(self) -> None:
        self._index.close()

    def ranked_by(self, query: str, k: int, *, dense: float) -> list[Found]:
        return _answer(self._without_late().query(self.question(query, k, alpha=dense)))

    async def aranked_by(self, query: str, k: int, *, dense: float) -> list[Found]:
        return _answer(await self._without_late().aquery(self.question(query, k, alpha=dense)))

    def _without_late(self) -> Native:
        """Late interaction has a weight of its own, which alpha leaves as it is; the other store has no such stage."""
        from llama_index.vector_stores.tercet import TercetVectorStore

        from tercet import HybridIndex, SearchPlan

        two_stages = SearchPlan(stages=("dense", "sparse"))
        return TercetVectorStore(HybridIndex(self._index.store, self.encoder, plan=two_stages))

    def explained(self, query: str, k: int) -> list[Native]:
        from llama_index.retrievers.tercet import TercetRetriever

        return TercetRetriever(self._index, similarity_top_k=k).retrieve(query)

    def on_server(self, url: str, api_key: str) -> object:
        from llama_index.vector_stores.tercet import TercetVectorStore

        from tercet import HybridIndex

        return TercetVectorStore(HybridIndex.open(url=url, api_key=api_key, collection="compare", encoder=self.encoder))


class LlamaIndexQdrant(LlamaIndex):
    column = "llama-index qdrant, hybrid"
    package = "llama-index-vector-stores-qdrant"
    module = "llama_index.vector_stores.qdrant"

    def open(self, place: Path | None = None) -> None:
        from llama_index.vector_stores.qdrant import QdrantVectorStore
        from qdrant_client import AsyncQdrantClient, QdrantClient

        from comparison.heads import sparse_function

        self._client = QdrantClient(":memory:") if place is None else QdrantClient(path=str(place))
        # In memory the two clients share nothing, as the documentation says: `aadd` fills the other.
        self._aclient = AsyncQdrantClient(":memory:") if place is None else None
        self.native = QdrantVectorStore(
            "compare",
            client=self._client,
            aclient=self._aclient,
            enable_hybrid=True,
            sparse_doc_fn=sparse_function(self.encoder, queries=False),
            sparse_query_fn=sparse_function(self.encoder, queries=True),
        )

    async def aadd(self, passages: Sequence[Passage]) -> list[str]:
        return list(await self.native.async_add(self.nodes(passages)))

    def close(self) -> None:
        self._client.close()

    def on_server(self, url: str, api_key: str) -> object:
        from llama_index.vector_stores.qdrant import QdrantVectorStore

        from comparison.heads import sparse_function

        return QdrantVectorStore(
            "compare",
            url=url,
            api_key=api_key,
            client_kwargs={"check_compatibility": False},
            enable_hybrid=True,
            sparse_doc_fn=sparse_function(self.encoder, queries=False),
            sparse_query_fn=sparse_function(self.encoder, queries=True),
        )


CONTESTANTS: tuple[type[Contestant], ...] = (
    LangChainTercet,
    LangChainQdrantDense,
    LangChainQdrantHybrid,
    LlamaIndexTercet,
    LlamaIndexQdrant,
)


def _langchain(document: Native, score: float | None = None) -> Found:
    return Found(document.id, document.page_content, document.metadata, score, document)


def _llama_index(node: Native, score: float | None = None) -> Found:
    return Found(node.node_id, node.get_content(), node.metadata, score, node)


def _answer(result: Native) -> list[Found]:
    nodes, scores = result.nodes or [], result.similarities or []
    return [_llama_index(node, score) for node, score in zip(nodes, scores, strict=True)]
