"""Nodes in, nodes out: a `HybridIndex` behind LlamaIndex's vector store interface."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NoReturn, SupportsFloat, TypeAlias, cast

import numpy as np
from fsspec import AbstractFileSystem
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)
from numpy.typing import NDArray

from llama_index.retrievers.tercet.events import StageEvents
from llama_index.retrievers.tercet.filters import AnyFilters, Where, where_of
from llama_index.retrievers.tercet.given import open_index
from llama_index.retrievers.tercet.nodes import SOURCE_ID, document_of, node_of
from llama_index.retrievers.tercet.plans import plan_for
from llama_index.vector_stores.tercet.diversity import most_diverse
from tercet import FRAMEWORK_KEY, Document, Hit, HybridIndex, SearchPlan
from tercet.encoders.base import EncoderSpec
from tercet.filters import ID

dispatcher = get_dispatcher(__name__)

Vector: TypeAlias = NDArray[np.float32]
Part: TypeAlias = tuple[list[Document], list[Vector] | None]

DEFAULT, SPARSE, HYBRID, MMR = (
    VectorStoreQueryMode.DEFAULT,
    VectorStoreQueryMode.SPARSE,
    VectorStoreQueryMode.HYBRID,
    VectorStoreQueryMode.MMR,
)

_EVERYTHING: Final = {"or": [{FRAMEWORK_KEY: {"exists": True}}, {FRAMEWORK_KEY: {"exists": False}}]}


class TercetVectorStore(BasePydanticVectorStore):
    """A `HybridIndex` as vector store: for VectorStoreIndex, IngestionPipeline, and whatever else takes one.

    Every node gets a sparse vector and a multi-vector by the index's encoder. A node that brings an embedding keeps it
    as its dense vector; without one, the encoder makes that, too.

    Query modes:
        DEFAULT  dense vectors alone; a node's similarity is the cosine
        SPARSE   SPLADE alone; the similarity is the dot product, nodes without a shared term are not returned
        HYBRID   all of tercet: both, and late interaction over what they find, by the index's plan. `alpha` divides the
                 weight of dense (1) and sparse (0); late interaction keeps its own
        MMR      dense, each next node unlike those before; `mmr_threshold` from 0 (most diverse) to 1 (most similar)

    Another mode raises, and so does an argument that tercet does not know: a filter that is dropped is a leak.

    Example:
        ```python
        from llama_index.core import VectorStoreIndex
        from llama_index.embeddings.tercet import TercetEmbedding
        from llama_index.vector_stores.tercet import TercetVectorStore
        from tercet import HybridIndex

        index = HybridIndex.in_memory()
        embed_model = TercetEmbedding(index.encoder)
        vector_index = VectorStoreIndex.from_vector_store(TercetVectorStore(index), embed_model=embed_model)
        ```
    """

    stores_text: bool = True
    is_embedding_query: bool = True

    _index: HybridIndex = PrivateAttr()
    _spec: EncoderSpec = PrivateAttr()

    def __init__(self, index: HybridIndex, *, is_embedding_query: bool = True) -> None:
        """Serve an index that is open already; for one tenant, its view (`index.for_tenant("acme")`).

        is_embedding_query: False spares the embed model a pass over each query. The index then makes the dense vector
            itself, which is right where it also made those of the nodes
        """
        super().__init__(stores_text=True, is_embedding_query=is_embedding_query)
        self._index = open_index(index)
        self._spec = index.encoder.spec

    @classmethod
    def class_name(cls) -> str:
        return "TercetVectorStore"

    @property
    def client(self) -> HybridIndex:
        return self._index

    # --- nodes in ---

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Write nodes, replacing those of the same id; returns their ids. Of equal ids in one call the last one counts.

        Raises:
            InvalidDocument: a node has no text, its id is no str, or its metadata are not JSON; nothing is written.
            ValueError: an embedding is not of this index's size; nothing is written.
        """
        _refuse("add", kwargs)
        ids, parts = self._prepared(nodes)
        for documents, dense in parts:
            self._index.add(documents, dense=dense, on_error="raise", progress=False)
        return ids

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        _refuse("async_add", kwargs)
        ids, parts = await asyncio.to_thread(self._prepared, nodes)
        for documents, dense in parts:
            await self._index.aadd(documents, dense=dense, on_error="raise", progress=False)
        return ids

    def _prepared(self, nodes: Iterable[BaseNode]) -> tuple[list[str], list[Part]]:
        """All ids, and the checked documents: those with an embedding, and those without."""
        ids: list[str] = []
        by_id: dict[str, tuple[Document, Vector | None]] = {}
        for node in nodes:
            document = document_of(node)
            ids.append(document.id)
            by_id[document.id] = document, self._embedding_of(node)
        bare = [document for document, dense in by_id.values() if dense is None]
        rich = [(document, dense) for document, dense in by_id.values() if dense is not None]
        parts: list[Part] = []
        if rich:
            parts.append(([document for document, _ in rich], [dense for _, dense in rich]))
        if bare:
            parts.append((bare, None))
        return ids, parts

    def _embedding_of(self, node: BaseNode) -> Vector | None:
        if node.embedding is None:
            return None
        dim = self._spec.dense_dim
        dense = np.asarray(node.embedding, np.float32)
        if dense.shape != (dim,):
            raise ValueError(
                f"the embedding of node {node.node_id!r} has {dense.size} numbers, the dense vectors of this index "
                f"have {dim}; use TercetEmbedding(index.encoder) as embed model, or open the index with "
                f"encoder=encoder_with(your_embed_model), both from llama_index.embeddings.tercet"
            )
        if not (np.isfinite(dense).all() and dense.any()):
            raise ValueError(f"the embedding of node {node.node_id!r} is zero or not finite; embed the node again")
        return dense

    # --- nodes read and removed ---

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **kwargs: Any
    ) -> list[BaseNode]:
        """Nodes by id, in the order asked for, or by filter, or both; all of them where neither is given.

        Ids that are not stored are passed over.
        """
        _refuse("get_nodes", kwargs)
        if node_ids is None:
            return [node_of(document) for document in self._index.scroll(self._where(filters))]
        if filters is None:
            return [node_of(document) for document in self._index.get(_ids(node_ids))]
        places = {id_: place for place, id_ in enumerate(_ids(node_ids))}
        found = self._index.scroll(self._where(filters, list(places))) if places else []
        return [node_of(document) for document in sorted(found, key=lambda document: places[document.id])]

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **kwargs: Any
    ) -> list[BaseNode]:
        _refuse("aget_nodes", kwargs)
        if node_ids is None or filters is not None:
            return await asyncio.to_thread(self.get_nodes, node_ids, filters)
        return [node_of(document) for document in await self._index.aget(_ids(node_ids))]

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Remove all nodes of a document. A node that was cut from none is its own document."""
        _refuse("delete", delete_kwargs)
        self._index.delete(where=_cut_from([ref_doc_id]))

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        _refuse("adelete", delete_kwargs)
        await self._index.adelete(where=_cut_from([ref_doc_id]))

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """Remove nodes by id, by filter, or those of the ids that pass the filter. Unknown ids are passed over.

        Raises:
            ValueError: neither is given: removing everything is `clear`.
        """
        _refuse("delete_nodes", delete_kwargs)
        if node_ids is None and filters is None:
            raise ValueError("delete_nodes takes node_ids, filters or both; to remove everything, call clear()")
        if filters is None:
            self._index.delete(_ids(node_ids or []))
        elif node_ids is None or _ids(node_ids):
            self._index.delete(where=self._where(filters, node_ids))

    async def adelete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        await asyncio.to_thread(self.delete_nodes, node_ids, filters, **delete_kwargs)

    def clear(self) -> None:
        """Remove every node of the index; of a tenant's view, theirs."""
        self._index.delete(where=_EVERYTHING)

    async def aclear(self) -> None:
        await self._index.adelete(where=_EVERYTHING)

    def persist(self, persist_path: str, fs: AbstractFileSystem | None = None) -> None:
        """The index keeps itself; this only makes what was written survive a loss of power."""
        self._index.flush()

    # --- a question in, nodes out ---

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """The nodes that answer a query, best first, with their ids and similarities.

        mmr_threshold, mmr_prefetch_k: of mode MMR, as LlamaIndex passes them (`vector_store_kwargs`); the second is the
            number of nodes that the diverse ones are chosen from

        Raises:
            ValueError: the mode is another one, the query lacks the text or vector that its mode needs, or a number in
                it is out of range.
            InvalidFilter: the filters are empty or cannot be read.
            TypeError: an argument that is not known here.
        """
        asked = self._asked(query, **kwargs)
        where = self._scope(query)
        if asked.mode is MMR:
            dense = self._encoded(asked)
            candidates = self._index.nearest(dense, k=asked.plan.prefetch_k, where=where)
            hits = asked.chosen(dense, candidates, self._index.dense_vectors([hit.id for hit in candidates]))
        elif asked.text is None:
            hits = self._index.nearest(cast(Vector, asked.dense), k=asked.plan.k, where=where)
        else:
            hits = self._index.search(
                asked.text, plan=asked.plan, where=where, dense=asked.dense, observer=self._observer(asked)
            )
        return _result(hits)

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        asked = self._asked(query, **kwargs)
        # To translate a filter may mean to read the index.
        where = self._scope(query) if query.filters is None else await asyncio.to_thread(self._scope, query)
        if asked.mode is MMR:
            dense = await asyncio.to_thread(self._encoded, asked)
            candidates = await self._index.anearest(dense, k=asked.plan.prefetch_k, where=where)
            hits = asked.chosen(dense, candidates, await self._index.adense_vectors([hit.id for hit in candidates]))
        elif asked.text is None:
            hits = await self._index.anearest(cast(Vector, asked.dense), k=asked.plan.k, where=where)
        else:
            hits = await self._index.asearch(
                asked.text, plan=asked.plan, where=where, dense=asked.dense, observer=self._observer(asked)
            )
        return _result(hits)

    def _asked(
        self,
        query: VectorStoreQuery,
        *,
        mmr_threshold: float | None = None,
        mmr_prefetch_k: int | None = None,
        **unknown: Any,
    ) -> _Asked:
        """The query checked: everything that can be wrong with it shows here."""
        _refuse("query", unknown)
        unused = {"embedding_field": query.embedding_field, "output_fields": query.output_fields}
        if given := [name for name, value in unused.items() if value is not None]:
            raise ValueError(f"{' and '.join(given)} mean nothing to tercet, whose nodes are whole; leave them out")
        mode = VectorStoreQueryMode(query.mode)
        if mode not in (DEFAULT, SPARSE, HYBRID, MMR):
            raise ValueError(f"tercet answers the modes default, sparse, hybrid and mmr, got {mode.value!r}")
        if query.alpha is not None and mode is not HYBRID:
            raise ValueError(f"alpha divides dense and sparse in mode hybrid, the mode is {mode.value!r}; leave it out")
        if (mmr_threshold is not None or mmr_prefetch_k is not None) and mode is not MMR:
            raise ValueError(f"mmr_threshold and mmr_prefetch_k belong to mode mmr, the mode is {mode.value!r}")

        text = query.query_str if query.query_str and query.query_str.strip() else None
        dense = None if query.query_embedding is None else np.asarray(query.query_embedding, np.float32)
        if text is None and mode in (SPARSE, HYBRID):
            raise ValueError(f"mode {mode.value} searches by the query's words, and query_str is empty; give it")
        if text is None and dense is None:
            raise ValueError("the query has neither a query_str nor a query_embedding; give it one of them")
        k = query.similarity_top_k
        match VectorStoreQueryMode(mode):
            case VectorStoreQueryMode.SPARSE:
                k = k if query.sparse_top_k is None else query.sparse_top_k
                return _Asked(mode, text, None, plan_for(k, _alone("sparse")))
            case VectorStoreQueryMode.HYBRID:
                pool = max(k, query.sparse_top_k or 1)
                k = k if query.hybrid_top_k is None else query.hybrid_top_k
                return _Asked(mode, text, dense, plan_for(k, _divided(self._index.plan, query.alpha), at_least=pool))
            case VectorStoreQueryMode.MMR:
                threshold = mmr_threshold if mmr_threshold is not None else query.mmr_threshold
                plan = plan_for(k, _alone("dense"), at_least=_prefetch(k, mmr_prefetch_k))
                return _Asked(mode, text, dense, plan, 0.5 if threshold is None else _unit("mmr_threshold", threshold))
            case _:
                # With a vector at hand the text is not needed, nor the model to encode it.
                return _Asked(mode, text if dense is None else None, dense, plan_for(k, _alone("dense")))

    def _scope(self, query: VectorStoreQuery) -> Where | None:
        """The query's filters, documents and nodes; empty lists of ids are LlamaIndex's way to say "any"."""
        where = self._where(query.filters, query.node_ids or None)
        if not query.doc_ids:
            return where
        cut = _cut_from(query.doc_ids)
        return cut if where is None else {"and": [where, cut]}

    def _where(self, filters: AnyFilters | None, node_ids: Sequence[str] | None = None) -> Where | None:
        parts = [] if filters is None else [where_of(filters, self._index)]
        if node_ids is not None:
            parts.append({ID: {"in": _ids(node_ids)}})
        return {"and": parts} if parts else None

    def _encoded(self, asked: _Asked) -> Vector:
        if asked.dense is not None:
            return asked.dense
        return self._index.encoder.encode_query(cast(str, asked.text)).dense

    def _observer(self, asked: _Asked) -> StageEvents:
        return StageEvents(
            dispatcher,
            self,
            query=cast(str, asked.text),
            model_name=self._spec.name,
            k=asked.plan.k,
        )

    def __getstate__(self) -> NoReturn:
        raise TypeError("a TercetVectorStore holds an open index, which no other process can use; open it there")


@dataclass(frozen=True, slots=True)
class _Asked:
    """A query that can be answered: one of text and dense is there, in modes SPARSE and HYBRID the text.

    dense: (dim,)
    """

    mode: VectorStoreQueryMode
    text: str | None
    dense: Vector | None
    plan: SearchPlan
    mmr_threshold: float = 0.5

    def chosen(self, dense: Vector, candidates: Sequence[Hit], vectors: Mapping[str, Vector]) -> list[Hit]:
        """The candidates that MMR chooses; one that was deleted meanwhile has no vector and is gone."""
        candidates = [hit for hit in candidates if hit.id in vectors]
        rows = np.array([vectors[hit.id] for hit in candidates], np.float32).reshape(len(candidates), len(dense))
        order = most_diverse(dense, rows, k=self.plan.k, threshold=self.mmr_threshold)
        return [candidates[position] for position in order]


def _alone(stage: str) -> SearchPlan:
    return SearchPlan(stages=(stage,))


def _divided(plan: SearchPlan, alpha: float | None) -> SearchPlan:
    """The plan with the weight of dense and sparse divided anew; what late interaction weighs stays."""
    if alpha is None:
        return plan
    share = _unit("alpha", alpha)
    whole = plan.weights["dense"] + plan.weights["sparse"]
    return replace(plan, weights={**plan.weights, "dense": share * whole, "sparse": (1 - share) * whole})


def _prefetch(k: int, prefetch_k: int | None) -> int:
    if prefetch_k is None:
        return 4 * k if isinstance(k, int) else 1
    if not isinstance(prefetch_k, int) or prefetch_k < 1:
        raise ValueError(f"mmr_prefetch_k must be a whole number of at least 1, got {prefetch_k!r}")
    return prefetch_k


def _unit(name: str, value: SupportsFloat) -> float:
    number = float(value)
    if not 0 <= number <= 1:
        raise ValueError(f"{name} must lie between 0 and 1, got {value!r}")
    return number


def _result(hits: Sequence[Hit]) -> VectorStoreQueryResult:
    return VectorStoreQueryResult(
        nodes=[node_of(hit.document) for hit in hits],
        similarities=[hit.score for hit in hits],
        ids=[hit.id for hit in hits],
    )


def _ids(ids: Sequence[str]) -> list[str]:
    if isinstance(ids, str):
        raise TypeError(f"node ids come in a list, got one str; write [{ids!r}]")
    for id_ in ids:
        if not isinstance(id_, str):
            raise TypeError(f"an id is a str, got {id_!r}, a {type(id_).__name__}")
    return list(ids)


def _cut_from(ref_doc_ids: Sequence[str]) -> Where:
    """The filter for the nodes of these documents; a node that was cut from none is its own document."""
    ids = _ids(ref_doc_ids)
    return {"or": [{SOURCE_ID: {"in": ids}}, {ID: {"in": ids}, SOURCE_ID: {"exists": False}}]}


def _refuse(method: str, kwargs: Mapping[str, Any]) -> None:
    if kwargs:
        raise TypeError(f"{method} knows no argument {', '.join(map(repr, sorted(kwargs)))}; leave it out")
