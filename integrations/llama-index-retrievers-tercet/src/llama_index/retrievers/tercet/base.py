"""A question in, scored and explained nodes out: tercet's whole way of a query as a LlamaIndex retriever."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks import CallbackManager
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.schema import BaseNode, IndexNode, NodeWithScore, QueryBundle, QueryType
from numpy.typing import NDArray

from llama_index.retrievers.tercet.events import StageEvents
from llama_index.retrievers.tercet.filters import AnyFilters, Where, check_filters, where_of
from llama_index.retrievers.tercet.given import open_index
from llama_index.retrievers.tercet.nodes import explained
from llama_index.retrievers.tercet.plans import plan_for
from tercet import Explanation, HybridIndex, SearchPlan

dispatcher = get_dispatcher(__name__)


class TercetRetriever(BaseRetriever):
    """Dense, SPLADE and late interaction over one `HybridIndex`, fused by rank, every node with the reason it is there.

    It is a light record over the index, which holds model and store: make one for each request where filters or tenants
    differ, it costs nothing. Nodes come back as `ExplainedNode`: with the rank and score of each stage, and the shared
    terms.

    The index encodes the query itself, so no embed model, key or `Settings` is asked for. Where a query transform
    (HyDE) gives texts to embed in place of the query, their mean is the dense vector; words and tokens are still the
    query's.

    Example:
        ```python
        from llama_index.retrievers.tercet import TercetRetriever
        from tercet import HybridIndex

        index = HybridIndex.in_memory()
        index.add(["Rotate the signing keys every 90 days.", "The cafeteria opens at noon."])
        retriever = TercetRetriever(index, similarity_top_k=1)
        print(retriever.retrieve("how often do keys change?")[0].text)
        ```
    """

    def __init__(
        self,
        index: HybridIndex,
        *,
        similarity_top_k: int | None = None,
        filters: AnyFilters | None = None,
        tenant: str | None = None,
        tenant_key: str = "tenant",
        plan: SearchPlan | None = None,
        use_bundle_embedding: bool = False,
        callback_manager: CallbackManager | None = None,
        object_map: dict[str, Any] | None = None,
        objects: list[IndexNode] | None = None,
        verbose: bool = False,
    ) -> None:
        """Look at an index that is open already.

        similarity_top_k: nodes returned; the plan's `k` where it is not given
        filters: LlamaIndex's MetadataFilters, or tercet's plain dict
        tenant: see only documents whose metadata have this under `tenant_key`
        plan: how to search; the index's own where none is given
        use_bundle_embedding: take `QueryBundle.embedding` as the query's dense vector. Not by default: other retrievers
            that share a bundle leave their own model's vector in it

        Raises:
            ValueError: similarity_top_k is below 1, or the tenant is empty.
            InvalidFilter: the filters are empty or cannot be read.
        """
        if filters is not None:
            check_filters(filters)
        super().__init__(callback_manager=callback_manager, object_map=object_map, objects=objects, verbose=verbose)
        self._index = open_index(index) if tenant is None else open_index(index).for_tenant(tenant, key=tenant_key)
        self._plan = plan_for(similarity_top_k, plan or self._index.plan)
        self._model_name = self._index.encoder.spec.name
        self._filters = filters
        self._use_bundle_embedding = use_bundle_embedding

    @property
    def index(self) -> HybridIndex:
        """What is searched; with a tenant, their view."""
        return self._index

    @property
    def similarity_top_k(self) -> int:
        return self._plan.k

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        hits = self._index.search(
            query_bundle.query_str,
            where=self._where(),
            plan=self._plan,
            dense=self._dense(query_bundle),
            observer=self._observer(query_bundle),
        )
        return [explained(hit) for hit in hits]

    @dispatcher.span
    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        hits = await self._index.asearch(
            query_bundle.query_str,
            where=await self._awhere(),
            plan=self._plan,
            dense=await self._adense(query_bundle),
            observer=self._observer(query_bundle),
        )
        return [explained(hit) for hit in hits]

    def explain(self, query: QueryType, node: NodeWithScore | BaseNode | str) -> Explanation:
        """Why a node has its score: the parts that it is the sum of, as text, `to_dict()` or `to_html()`.

        node: one that `retrieve(query)` returned, or the id of any that this retriever sees

        Raises:
            ValueError: the query is empty, or there is no such node.
            TypeError: the encoder does not tell its tokens.
        """
        bundle = QueryBundle(query) if isinstance(query, str) else query
        return self._index.explain(
            bundle.query_str, _id_of(node), where=self._where(), plan=self._plan, dense=self._dense(bundle)
        )

    async def aexplain(self, query: QueryType, node: NodeWithScore | BaseNode | str) -> Explanation:
        """`explain` without blocking the event loop."""
        bundle = QueryBundle(query) if isinstance(query, str) else query
        return await self._index.aexplain(
            bundle.query_str,
            _id_of(node),
            where=await self._awhere(),
            plan=self._plan,
            dense=await self._adense(bundle),
        )

    def _where(self) -> Where | None:
        return None if self._filters is None else where_of(self._filters, self._index)

    async def _awhere(self) -> Where | None:
        return None if self._filters is None else await asyncio.to_thread(self._where)

    def _dense(self, query_bundle: QueryBundle) -> NDArray[Any] | None:
        """(dim,) the query's dense vector where it is not that of the query's own text."""
        if self._use_bundle_embedding and query_bundle.embedding is not None:
            return np.asarray(query_bundle.embedding)
        if not query_bundle.custom_embedding_strs:
            return None
        embeddings = self._index.encoder.encode_queries(query_bundle.custom_embedding_strs)
        mean: NDArray[np.float32] = np.mean([embedding.dense for embedding in embeddings], axis=0)
        return mean

    async def _adense(self, query_bundle: QueryBundle) -> NDArray[Any] | None:
        if not query_bundle.custom_embedding_strs:  # nothing to encode: no thread to wait for
            return self._dense(query_bundle)
        return await asyncio.to_thread(self._dense, query_bundle)

    def _observer(self, query_bundle: QueryBundle) -> StageEvents:
        return StageEvents(
            dispatcher,
            self,
            query=query_bundle.query_str,
            model_name=self._model_name,
            k=self._plan.k,
        )


def _id_of(node: NodeWithScore | BaseNode | str) -> str:
    return node if isinstance(node, str) else node.node_id
