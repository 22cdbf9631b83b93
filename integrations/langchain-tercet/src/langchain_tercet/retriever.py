"""A query in, LangChain documents out, each with its score and trace: the retriever for chains and agents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Self

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document as LangChainDocument
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever, LangSmithRetrieverParams
from pydantic import BeforeValidator, ConfigDict, InstanceOf, field_validator
from tercet import Document, Explanation, HybridIndex, SearchPlan

from langchain_tercet.documents import found, from_documents, from_texts
from langchain_tercet.embeddings import avector_for, embeddings_of, encoder_for
from langchain_tercet.filters import AnyFilter, both, to_where
from langchain_tercet.tracing import async_steps, steps


def read_plan(plan: object) -> SearchPlan | None:
    """A plan, also as JSON: so it comes through config["configurable"] or a settings file."""
    if plan is None or isinstance(plan, SearchPlan):
        return plan
    if isinstance(plan, Mapping):
        return SearchPlan(**plan)
    raise TypeError(f"a plan is a tercet.SearchPlan or a dict of its fields, got {type(plan).__name__}")


class TercetRetriever(BaseRetriever):
    """Retriever over a tercet index: dense, SPLADE and late interaction, fused.

    Setup:
        Install `langchain-tercet`. No download, server or key is needed.

        ```bash
        pip install -U langchain-tercet
        ```

    Key init args:
        index: HybridIndex
            The opened index. Copies of the retriever, such as `configurable_fields` makes, share it.
        k: int | None
            Documents returned; the plan's number (10) where it is not given.
        where: dict | models.Filter | Comparison | Operation | None
            A filter on metadata, see `langchain_tercet.filters`.
        plan: SearchPlan | dict | None
            How to search: pool sizes, weights, stages, thresholds. The index's own where it is not given.
        tenant: str | None
            Whose documents are seen: those whose metadata hold this name under `tenant_key`.
        require_tenant: bool
            Refuse to search without a tenant, for a retriever whose tenant comes with each request.
        with_score, with_trace: bool
            Add `relevance_score` and `relevance_trace` to each document's metadata.

    `k`, `plan`, `where` and `tenant` can also be given to a single call. `k` and `plan` then take the place of the
    retriever's. `where` and `tenant` only ever narrow what the retriever may see: both filters hold, and another
    tenant than the retriever's is an error. A name that is not known raises.

    Instantiate:
        ```python
        from langchain_tercet import TercetRetriever
        from tercet import HybridIndex

        retriever = TercetRetriever(index=HybridIndex.open("./kb"), k=4)
        ```

    Usage:
        ```python
        retriever.invoke("how often do we rotate keys?")
        retriever.invoke("how often do we rotate keys?", k=2, where={"lang": "en"})
        ```

    Use within a chain:
        ```python
        chain = {"context": retriever | format_docs, "question": RunnablePassthrough()} | prompt | llm
        ```

    Raises:
        ValueError: an empty query, k below 1, a filter that cannot be read (InvalidFilter), no or another tenant.
        TypeError: an unknown name in a call.
    """

    index: HybridIndex
    k: int | None = None
    where: Annotated[dict[str, Any] | None, BeforeValidator(to_where)] = None
    plan: Annotated[InstanceOf[SearchPlan] | None, BeforeValidator(read_plan)] = None
    tenant: str | None = None
    tenant_key: str = "tenant"
    require_tenant: bool = False
    with_score: bool = True
    with_trace: bool = True

    # BaseRetriever lets unknown names pass. A misspelt `where` would then be a search without a filter.
    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    @field_validator("k", mode="before")
    @classmethod
    def _whole_k(cls, k: object) -> object:
        if k is not None and (not isinstance(k, int) or isinstance(k, bool) or k < 1):
            raise ValueError(f"k must be a whole number of at least 1, got {k!r}")
        return k

    @classmethod
    def from_texts(
        cls,
        texts: Iterable[str],
        metadatas: Iterable[Mapping[str, Any] | None] | None = None,
        *,
        ids: Iterable[str | None] | None = None,
        embedding: Embeddings | None = None,
        index: HybridIndex | None = None,
        **fields: Any,
    ) -> Self:
        """A retriever over these texts, which are added to `index`, or to a new one in memory.

        embedding: makes the dense vectors of the new index
        fields: of the retriever; with a tenant, the texts are theirs
        """
        return cls._filled(from_texts(texts, metadatas, ids), embedding, index, fields)

    @classmethod
    def from_documents(
        cls,
        documents: Iterable[LangChainDocument],
        *,
        embedding: Embeddings | None = None,
        index: HybridIndex | None = None,
        **fields: Any,
    ) -> Self:
        """A retriever over these documents; see `from_texts`."""
        return cls._filled(from_documents(documents, None), embedding, index, fields)

    @classmethod
    def _filled(
        cls,
        documents: Iterable[Document],
        embedding: Embeddings | None,
        index: HybridIndex | None,
        fields: Mapping[str, Any],
    ) -> Self:
        if index is not None and embedding is not None:
            raise ValueError("an index has its encoder already; give embedding or index, or open the index with both")
        retriever = cls(index=index or HybridIndex.in_memory(encoder=encoder_for(embedding)), **fields)
        retriever._view(None).add(documents, on_error="raise", progress=False)
        return retriever

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        where: AnyFilter | None = None,
        plan: SearchPlan | Mapping[str, Any] | None = None,
        tenant: str | None = None,
        **unknown: Any,
    ) -> list[LangChainDocument]:
        _refuse(unknown)
        asked = self._asked(k, where, plan)
        hits = self._view(tenant).search(query, **asked, observer=steps(run_manager))
        return [found(hit, with_score=self.with_score, with_trace=self.with_trace) for hit in hits]

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        k: int | None = None,
        where: AnyFilter | None = None,
        plan: SearchPlan | Mapping[str, Any] | None = None,
        tenant: str | None = None,
        **unknown: Any,
    ) -> list[LangChainDocument]:
        _refuse(unknown)
        asked = self._asked(k, where, plan)
        view = self._view(tenant)
        async with async_steps(run_manager) as observer:
            dense = await avector_for(view, query, asked["plan"])
            hits = await view.asearch(query, **asked, dense=dense, observer=observer)
        return [found(hit, with_score=self.with_score, with_trace=self.with_trace) for hit in hits]

    def explain(self, query: str, document: LangChainDocument | str, **asked: Any) -> Explanation:
        """Why a document has its score: the parts that it is the sum of, as text, `to_dict()` or `to_html()`.

        document: one that `invoke(query)` returned, or the id of any that the retriever may see
        asked: k, where, plan and tenant, where the call had them

        Raises:
            ValueError: as a call, or there is no such document.
            TypeError: as a call, or the encoder does not tell its tokens.
        """
        view, options = self._explaining(**asked)
        return view.explain(query, _id_of(document), **options)

    async def aexplain(self, query: str, document: LangChainDocument | str, **asked: Any) -> Explanation:
        """`explain` without blocking the event loop."""
        view, options = self._explaining(**asked)
        dense = await avector_for(view, query, options["plan"])
        return await view.aexplain(query, _id_of(document), **options, dense=dense)

    def _explaining(
        self,
        k: int | None = None,
        where: AnyFilter | None = None,
        plan: SearchPlan | Mapping[str, Any] | None = None,
        tenant: str | None = None,
        **unknown: Any,
    ) -> tuple[HybridIndex, dict[str, Any]]:
        _refuse(unknown)
        return self._view(tenant), self._asked(k, where, plan)

    def _asked(
        self, k: int | None, where: AnyFilter | None, plan: SearchPlan | Mapping[str, Any] | None
    ) -> dict[str, Any]:
        # A plan that is given to a call brings its own k.
        return {
            "k": self.k if k is None and plan is None else k,
            "where": both(self.where, to_where(where)),
            "plan": self.plan if plan is None else read_plan(plan),
        }

    def _view(self, tenant: str | None) -> HybridIndex:
        if self.tenant is not None and tenant is not None and tenant != self.tenant:
            raise ValueError(
                f"this retriever sees the documents of {self.tenant_key} {self.tenant!r} alone, the call asks for "
                f"{tenant!r}; make a retriever for each, or name the tenant in calls only"
            )
        tenant = self.tenant if tenant is None else tenant
        if tenant is None:
            if self.require_tenant:
                raise ValueError(
                    'this retriever needs a tenant; give it in the call, invoke(query, tenant="…"), or through '
                    'configurable_fields in config["configurable"]'
                )
            return self.index
        return self.index.for_tenant(tenant, key=self.tenant_key)

    def _get_ls_params(self, **kwargs: Any) -> LangSmithRetrieverParams:
        return LangSmithRetrieverParams(
            **super()._get_ls_params(**kwargs),
            ls_vector_store_provider="tercet",
            ls_embedding_provider=type(embeddings_of(self.index)).__name__,
            ls_embedding_model=self.index.encoder.spec.name,
        )


def _id_of(document: LangChainDocument | str) -> str:
    found_id = document.id if isinstance(document, LangChainDocument) else document
    if found_id is None:
        raise ValueError(
            "this document has no id, so it did not come from a retriever; give the id that it is kept under"
        )
    return found_id


def _refuse(unknown: Mapping[str, Any]) -> None:
    # "verbose" is LangChain's own, read before a retriever is asked.
    if names := sorted(set(unknown) - {"verbose"}):
        hint = "; its filter is called where" if "filter" in names else ""
        raise TypeError(f"a call of TercetRetriever takes k, plan, tenant and where, got {', '.join(names)}{hint}")
