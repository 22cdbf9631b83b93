"""The index: documents in, hits out. The ways of both are written in `tercet.adding` and `tercet.query`."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tercet.adding import Writer
from tercet.encoders.base import DenseApart, Encoder, EncoderSpec, given_rows, unit_rows, without_dense
from tercet.errors import CollectionMismatch, StoreError
from tercet.explaining.asking import SearchOptions, explained
from tercet.explaining.comparison import Comparison
from tercet.explaining.explanation import Explanation
from tercet.explaining.why_not import WhyNot, why_not
from tercet.filters import Filter, parse_filter
from tercet.intake import Addable
from tercet.joining import check_dense_model, fill_in
from tercet.observing import Observer
from tercet.plan import SearchPlan
from tercet.processors import in_thread
from tercet.query import Embed, Question, Trace, answer, rank
from tercet.scope import EVERYTHING, Scope, Tenant
from tercet.storage import StorageOptions
from tercet.store.base import Fillable, Reader, Store
from tercet.store.readers import BlockingReader, at_once, run_at_once
from tercet.types import (
    DENSE,
    LATE,
    SPARSE,
    AddReport,
    Document,
    Embedding,
    Hit,
    MultiVector,
    Scored,
    SparseVector,
    Stored,
)

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

logger = logging.getLogger(__name__)

Where: TypeAlias = Mapping[str, Any]
Call: TypeAlias = Callable[..., Awaitable[list[Embedding]]]


class HybridIndex:
    """A searchable collection of documents in three representations.

    Open one with `HybridIndex.open(path)`, `HybridIndex.open(url=…)` or `HybridIndex.in_memory()`. Searching from
    several threads is safe; adding from several threads is safe, too, but no faster.
    """

    def __init__(self, store: Store, encoder: Encoder, *, plan: SearchPlan | None = None) -> None:
        """For a store that was opened by hand; see `open` and `in_memory`.

        Raises:
            CollectionMismatch: the store was opened for another encoder.
        """
        if store.spec != encoder.spec:
            raise CollectionMismatch(
                f"the store was opened for {store.spec.name!r}, the encoder is {encoder.spec.name!r} and makes other "
                f"vectors; open the store with encoder.spec"
            )
        self.store = store
        self.encoder = encoder
        self.plan = plan or SearchPlan()
        self._scope: Scope = EVERYTHING

    @classmethod
    def open(
        cls,
        path: str | Path | None = None,
        *,
        url: str | None = None,
        collection: str | None = None,
        api_key: str | None = None,
        encoder: Encoder | None = None,
        plan: SearchPlan | None = None,
        create: bool = True,
        hnsw: bool | None = None,
        prefer_grpc: bool | None = None,
        timeout_seconds: int | None = None,
        storage: StorageOptions | None = None,
    ) -> Self:
        """Open a directory (embedded Qdrant Edge) or a collection on a Qdrant server, and make it where it is missing.

        collection, api_key, prefer_grpc, timeout_seconds: of the server; the collection is "tercet" where none is given
        hnsw: of a directory; search dense vectors by a graph, which pays beyond about 200,000 documents
        encoder: the shipped tercet-mini where none is given
        create: False raises StoreError for an index that is not there
        storage: how token vectors are kept, from merging them to 4 bits a number, see `StorageOptions`; chosen when the
            index is made. None is what the index has

        Raises:
            CollectionMismatch: it was filled by another encoder, or keeps token vectors otherwise.
            StoreLocked: another process has the directory open.
            StoreUnavailable: the server does not answer.
        """
        if (path is None) == (url is None):
            raise ValueError("open takes a path (embedded) or a url (server), one of them; in_memory() needs neither")
        store: Store
        if path is not None:
            of_a_server = {
                "collection": collection,
                "api_key": api_key,
                "prefer_grpc": prefer_grpc,
                "timeout_seconds": timeout_seconds,
            }
            if given := [name for name, value in of_a_server.items() if value is not None]:
                raise ValueError(f"{', '.join(given)} belong to a server; give url instead of path")
            if "://" in str(path) or str(path) == ":memory:":
                raise ValueError(f"{str(path)!r} is no directory; a server is opened by url=…, memory by in_memory()")
            from tercet.store.edge import EdgeStore

            encoder = encoder or _default_encoder()
            store = EdgeStore.open(path, encoder.spec, create=create, hnsw=hnsw, storage=storage)
        else:
            if hnsw is not None:
                raise ValueError("hnsw belongs to a directory; a server's collection is tuned on the server")
            from tercet.store.qdrant import QdrantStore

            encoder = encoder or _default_encoder()
            store = QdrantStore.open(
                str(url),
                collection or "tercet",
                encoder.spec,
                api_key=api_key,
                create=create,
                prefer_grpc=bool(prefer_grpc),
                timeout_seconds=timeout_seconds or 60,
                storage=storage,
            )
        return cls(store, encoder, plan=plan)

    @classmethod
    def in_memory(
        cls, *, encoder: Encoder | None = None, plan: SearchPlan | None = None, storage: StorageOptions | None = None
    ) -> Self:
        """An exact index that lives as long as the process: for tests, notebooks and small collections."""
        from tercet.store.memory import MemoryStore

        encoder = encoder or _default_encoder()
        return cls(MemoryStore(encoder.spec, storage=storage), encoder, plan=plan)

    @classmethod
    def attach(
        cls,
        server: str | QdrantClient,
        collection: str,
        *,
        layout: Literal["langchain", "llama-index"],
        encoder: Encoder | None = None,
        dense_vector: str | None = None,
        api_key: str | None = None,
        plan: SearchPlan | None = None,
        prefer_grpc: bool = False,
        timeout_seconds: int = 60,
        storage: StorageOptions | None = None,
    ) -> Self:
        """Open a collection that langchain-qdrant or llama-index-vector-stores-qdrant filled, where it stands.

        Its dense vectors, ids and payload stay as they are. Until `backfill` has given its documents the other two
        vectors, only dense search works; what needs the others says so.

        server: a URL, or a QdrantClient
        layout: which of the two programs filled it
        encoder: one whose dense vectors are those that are stored: tercet-mini's own equal all-MiniLM-L6-v2's, for
            another model wrap it in `tercet.encoders.own_dense.OwnDense`
        dense_vector: the name of the dense vector, where the collection has several; "" is the unnamed one
        storage: how the token vectors that `backfill` adds are kept, see `open`

        Raises:
            CollectionMismatch: the stored dense vectors are not this encoder's, by size or by what they say.
            StoreError: there is no such collection, or the server is too old to add vectors to one (before 1.18).
        """
        from tercet.store.qdrant_joined import JoinedStore

        encoder = encoder or _default_encoder()
        store = JoinedStore.attach(
            server,
            collection,
            encoder.spec,
            layout=layout,
            dense_vector=dense_vector,
            api_key=api_key,
            prefer_grpc=prefer_grpc,
            timeout_seconds=timeout_seconds,
            storage=storage,
        )
        try:
            check_dense_model(encoder, store.sample(3), repr(store))
        except BaseException:
            store.close()
            raise
        return cls(store, encoder, plan=plan)

    # --- the way of a query: see tercet.query ---

    def search(
        self,
        query: str,
        *,
        k: int | None = None,
        where: Where | None = None,
        plan: SearchPlan | None = None,
        dense: ArrayLike | None = None,
        observer: Observer | None = None,
    ) -> list[Hit]:
        """The best `k` documents for a query, best first.

        where: a filter on metadata, see `tercet.filters`
        plan: how to search; `k` goes before the plan's
        dense: (dim,) the query's dense vector where it was made elsewhere; the encoder's is then not used
        observer: hears of each step, see `tercet.observing`

        Raises:
            ValueError: the query is empty, k is below 1, or the dense vector is none of this index.
            InvalidFilter: the filter cannot be read.
        """
        vectors = None if dense is None else [dense]
        return self.search_many([query], k=k, where=where, plan=plan, dense=vectors, observer=observer)[0]

    def search_many(
        self,
        queries: Sequence[str],
        *,
        k: int | None = None,
        where: Where | None = None,
        plan: SearchPlan | None = None,
        dense: Sequence[ArrayLike] | None = None,
        observer: Observer | None = None,
    ) -> list[list[Hit]]:
        """`search` for many queries: encoded side by side, asked in one batch, with the same hits as one by one.

        dense: (n_queries, dim)
        """
        question = self._question(queries, k, where, plan, observer)
        embed = self._embed(question, dense, at_once)
        return self._shown(run_at_once(answer(question, embed, BlockingReader(self.store), self.encoder)))

    async def asearch(
        self,
        query: str,
        *,
        k: int | None = None,
        where: Where | None = None,
        plan: SearchPlan | None = None,
        dense: ArrayLike | None = None,
        observer: Observer | None = None,
    ) -> list[Hit]:
        """`search` without blocking the event loop: model and embedded engine work in threads, a server is awaited."""
        vectors = None if dense is None else [dense]
        return (await self.asearch_many([query], k=k, where=where, plan=plan, dense=vectors, observer=observer))[0]

    async def asearch_many(
        self,
        queries: Sequence[str],
        *,
        k: int | None = None,
        where: Where | None = None,
        plan: SearchPlan | None = None,
        dense: Sequence[ArrayLike] | None = None,
        observer: Observer | None = None,
    ) -> list[list[Hit]]:
        """`search_many` without blocking the event loop."""
        question = self._question(queries, k, where, plan, observer)
        embed = self._embed(question, dense, in_thread)
        return self._shown(await answer(question, embed, self.store.reader(), self.encoder))

    def nearest(self, vector: ArrayLike, *, k: int | None = None, where: Where | None = None) -> list[Hit]:
        """The `k` documents whose dense vectors have the greatest cosine with this one, which is each hit's score.

        vector: (dim,) made by the dense model of this index

        Raises:
            ValueError: the vector has another size or no direction.
        """
        question, embed = self._nearest(vector, k, where)
        return self._shown(run_at_once(answer(question, embed, BlockingReader(self.store), self.encoder)))[0]

    async def anearest(self, vector: ArrayLike, *, k: int | None = None, where: Where | None = None) -> list[Hit]:
        """`nearest` without blocking the event loop."""
        question, embed = self._nearest(vector, k, where)
        return self._shown(await answer(question, embed, self.store.reader(), self.encoder))[0]

    def rankings(
        self, queries: Sequence[str], *, plan: SearchPlan | None = None, where: Where | None = None
    ) -> list[Trace]:
        """Every stage's whole ranking for each query, by stage, with "fused" (the pool) and "final": for evaluation."""
        question = self._question(queries, None, where, plan, None)
        embed = self._embed(question, None, at_once)
        _, traces = run_at_once(rank(question, embed, BlockingReader(self.store)))
        ids = self.store.document_ids(
            list({key for trace in traces for ranking in trace.values() for key, _ in ranking})
        )
        return [
            {
                stage: [Scored(self._scope.shown_id(ids[key]), score) for key, score in ranking if key in ids]
                for stage, ranking in trace.items()
            }
            for trace in traces
        ]

    # --- why: see tercet.explaining ---

    def explain(self, query: str, id: str, **options: Unpack[SearchOptions]) -> Explanation:
        """Why a document has its score: the parts of what `search`, asked with the same options, gives it.

        options: k, where, plan and dense, as of `search`

        Raises:
            ValueError: as `search`, or no document of this id is stored.
            TypeError: the encoder does not tell its tokens, see `tercet.encoders.base.Explainable`.
        """
        return self.explain_many(query, [id], **options)[0]

    def explain_many(self, query: str, ids: Sequence[str], **options: Unpack[SearchOptions]) -> list[Explanation]:
        """`explain` for several documents, for which the query is asked once; in the order of the ids."""
        return run_at_once(self._explained(query, _ids(ids), at_once, BlockingReader(self.store), **options))

    def why_not(self, query: str, id: str, **options: Unpack[SearchOptions]) -> WhyNot:
        """Why a document is not among the hits of `search`: at which gate it fell, and by how much.

        Options and errors are those of `explain`.
        """
        return why_not(self.explain(query, id, **options), options.get("where"))

    def compare(self, query: str, first: str, second: str, **options: Unpack[SearchOptions]) -> Comparison:
        """What puts one of two documents above the other: stages, terms and tokens side by side.

        Options and errors are those of `explain`.
        """
        return Comparison(*self.explain_many(query, [first, second], **options))

    async def aexplain(self, query: str, id: str, **options: Unpack[SearchOptions]) -> Explanation:
        """`explain` without blocking the event loop.

        What it says is worked out when it is asked: `to_dict` and `to_html`, which ask the model, belong in a thread.
        """
        return (await self.aexplain_many(query, [id], **options))[0]

    async def aexplain_many(
        self, query: str, ids: Sequence[str], **options: Unpack[SearchOptions]
    ) -> list[Explanation]:
        """`explain_many` without blocking the event loop, see `aexplain`."""
        return await self._explained(query, _ids(ids), in_thread, self.store.reader(), **options)

    async def awhy_not(self, query: str, id: str, **options: Unpack[SearchOptions]) -> WhyNot:
        """`why_not` without blocking the event loop, see `aexplain`."""
        return why_not(await self.aexplain(query, id, **options), options.get("where"))

    async def acompare(self, query: str, first: str, second: str, **options: Unpack[SearchOptions]) -> Comparison:
        """`compare` without blocking the event loop, see `aexplain`."""
        return Comparison(*await self.aexplain_many(query, [first, second], **options))

    async def _explained(
        self,
        query: str,
        ids: Sequence[str],
        call: Call,
        reader: Reader,
        *,
        k: int | None = None,
        where: Where | None = None,
        plan: SearchPlan | None = None,
        dense: ArrayLike | None = None,
    ) -> list[Explanation]:
        question = self._question([query], k, where, plan, None)
        embed = self._embed(question, None if dense is None else [dense], call)
        keys = [(id_, self._keys(self._scope.stored_ids(id_))) for id_ in ids]
        return await explained(
            question,
            embed,
            reader,
            self.encoder,
            keys,
            self._scope,
            dense_given=dense is not None,
            merge_tokens=self.store.storage.merge_tokens,
        )

    def _question(
        self,
        queries: Sequence[str],
        k: int | None,
        where: Where | None,
        plan: SearchPlan | None,
        observer: Observer | None,
    ) -> Question:
        return Question(
            queries=_checked_queries(queries),
            plan=self._plan(k, plan),
            where=self._condition(where),
            observer=observer,
        )

    def _nearest(self, vector: ArrayLike, k: int | None, where: Where | None) -> tuple[Question, Embed]:
        k = self.plan.k if k is None else k
        plan = SearchPlan(k=k, prefetch_k=k, stages=(DENSE,))
        embedding = _dense_alone(unit_rows([vector], self.encoder.spec.dense_dim)[0], self.encoder.spec)

        async def embed() -> list[Embedding]:
            return [embedding]

        return Question(queries=[""], plan=plan, where=self._condition(where)), embed

    def _embed(self, question: Question, dense: Sequence[ArrayLike] | None, call: Call) -> Embed:
        """The step from queries to embeddings; `call` runs it on the spot or off the event loop."""
        given = self._given(question, dense)
        return lambda: call(self._embeddings, question.queries, given)

    def _given(self, question: Question, dense: Sequence[ArrayLike] | None) -> NDArray[np.float32] | None:
        """The queries' dense vectors that need not be made."""
        count, dim = len(question.queries), self.encoder.spec.dense_dim
        if dense is None and DENSE not in question.plan.stages and isinstance(self.encoder, DenseApart):
            # Nobody will look at them, and nobody is to pay for them.
            return np.eye(1, dim, dtype=np.float32).repeat(count, axis=0)
        return given_rows(dense, count, dim)

    def _embeddings(self, queries: Sequence[str], dense: NDArray[np.float32] | None) -> list[Embedding]:
        if dense is None:
            return self.encoder.encode_queries(queries)
        embeddings = without_dense(self.encoder).encode_queries(queries)
        return [replace(embedding, dense=vector) for embedding, vector in zip(embeddings, dense, strict=True)]

    def _shown(self, answers: list[list[Hit]]) -> list[list[Hit]]:
        if self._scope is EVERYTHING:
            return answers
        return [[replace(hit, document=self._scope.shown(hit.document)) for hit in hits] for hits in answers]

    def _condition(self, where: Where | None) -> Filter | None:
        return self._scope.condition(None if where is None else parse_filter(where))

    def _plan(self, k: int | None, plan: SearchPlan | None) -> SearchPlan:
        if k is None:
            return plan or self.plan
        if plan is not None:
            return replace(plan, k=k)  # which says no to a k above the pool: a plan given by hand never grows in secret
        # The index's own plan grows with k. What is no number at all is for the plan to refuse.
        least = int(k) if isinstance(k, Integral) else 1
        plan = self.plan
        return replace(plan, k=k, prefetch_k=max(plan.prefetch_k, least), rerank_k=max(plan.rerank_k, least))

    # --- the way of a document ---

    def add(
        self,
        documents: Addable | Iterable[Addable],
        *,
        dense: Sequence[ArrayLike] | NDArray[Any] | None = None,
        on_error: Literal["skip", "raise"] = "skip",
        progress: bool | None = None,
    ) -> AddReport:
        """Index documents from any iterable, which is read as it goes and never held whole.

        A document that is stored as it is costs no encoding, so an interrupted `add` is finished by calling it again.
        One whose text or metadata changed is replaced. Of documents with the same id in one call, the last one counts.

        dense: (n, dim) the documents' dense vectors, in their order, where they were made elsewhere; the encoder's are
            then not used, and documents from an iterator are read whole first
        on_error: "skip" counts and names documents that cannot be indexed, "raise" stops at the first, before its
            batch is written
        progress: a bar on standard error; None shows one where standard error is a terminal

        Raises:
            InvalidDocument: with on_error="raise".
            ValueError: not one dense vector of the right size for each document; nothing is written.
            StoreError: the engine refused; what earlier batches wrote stays and is whole.
        """
        writer = Writer(self.store, self.encoder, self._scope)
        return writer.add(documents, dense=dense, on_error=on_error, progress=progress)

    def backfill(self, *, progress: bool | None = None) -> AddReport:
        """Give an attached collection's documents the sparse vector and the multi-vector that they lack, in place.

        Dense vectors are not made and not touched. What is filled in is acknowledged batch by batch: one that was
        interrupted is finished by the next. Documents without a text are counted and named in the report's `failed`.

        Raises:
            StoreError: this index is not an attached collection, or the server refused.
        """
        if not isinstance(self.store, Fillable):
            raise StoreError(f"{self!r} made its own documents, which lack nothing; backfill is for HybridIndex.attach")
        return fill_in(self.store, self.encoder, progress=progress)

    async def aadd(
        self,
        documents: Addable | Iterable[Addable],
        *,
        dense: Sequence[ArrayLike] | NDArray[Any] | None = None,
        on_error: Literal["skip", "raise"] = "skip",
        progress: bool | None = None,
    ) -> AddReport:
        """`add` in a thread of its own: nearly all of its time the model works."""
        return await asyncio.to_thread(self.add, documents, dense=dense, on_error=on_error, progress=progress)

    # --- the rest ---

    def get(self, ids: Sequence[str]) -> list[Document]:
        """The documents with these ids, in the order asked for; ids that are not stored are passed over."""
        wanted = _ids(ids)
        return self._owned(wanted, self.store.read(self._keys(self._stored_ids(wanted))))

    async def aget(self, ids: Sequence[str]) -> list[Document]:
        """`get` without blocking the event loop."""
        wanted = _ids(ids)
        return self._owned(wanted, await self.store.reader().read(self._keys(self._stored_ids(wanted))))

    def dense_vectors(self, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """The stored dense vectors, (dim,) of length 1, by id; ids that are not stored are passed over."""
        return self._dense_of(self.store.read(self._keys(self._stored_ids(_ids(ids))), vectors=[DENSE]))

    async def adense_vectors(self, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """`dense_vectors` without blocking the event loop."""
        keys = self._keys(self._stored_ids(_ids(ids)))
        return self._dense_of(await self.store.reader().read(keys, vectors=[DENSE]))

    def delete(self, ids: Iterable[str] | None = None, *, where: Where | None = None) -> int:
        """Remove documents by id or by filter; returns how many there were.

        Raises:
            ValueError: neither or both are given: deleting everything is never a default.
        """
        if (ids is None) == (where is None):
            raise ValueError(
                "delete takes either ids or where; to remove everything, delete the directory or collection"
            )
        if where is not None and (condition := self._condition(where)):
            removed = self.store.delete_where(condition)
        else:
            stored_ids = self._stored_ids(_ids(ids or ()))
            if self._scope is not EVERYTHING:
                stored = (stored.document for stored in self.store.read(self._keys(stored_ids)).values())
                stored_ids = [document.id for document in stored if self._scope.owns(document)]
            removed = self.store.delete(stored_ids)
        self.store.flush()
        return removed

    async def adelete(self, ids: Iterable[str] | None = None, *, where: Where | None = None) -> int:
        """`delete` in a thread of its own."""
        return await asyncio.to_thread(self.delete, ids, where=where)

    def count(self, where: Where | None = None) -> int:
        return self.store.count(self._condition(where))

    def scroll(self, where: Where | None = None) -> Iterator[Document]:
        """Every document, or those that match, in no promised order."""
        documents = self.store.scroll(self._condition(where))
        return documents if self._scope is EVERYTHING else map(self._scope.shown, documents)

    def scroll_vectors(
        self, stages: Sequence[str] = (DENSE, SPARSE, LATE), *, where: Where | None = None
    ) -> Iterator[Stored]:
        """`scroll` with the stored vectors of these stages: for reports and exports."""
        documents = self.store.scroll(self._condition(where))
        while batch := list(itertools.islice(documents, 256)):
            for stored in self.store.read(self._keys(document.id for document in batch), vectors=stages).values():
                yield stored._replace(document=self._scope.shown(stored.document))

    def for_tenant(self, tenant: str, *, key: str = "tenant") -> HybridIndex:
        """A view of this index for one tenant: it finds, counts, reads and deletes their documents alone.

        What is added through it gets `tenant` under `key` in its metadata, and the same id in two tenants is two
        documents. A view costs nothing to make, shares store and encoder, and closing it closes nothing.

        Raises:
            ValueError: the name is empty, or this is a tenant's view already.
        """
        if self._scope is not EVERYTHING:
            raise ValueError(f"{self!r} is a tenant's view already; make the other one from the whole index")
        view = HybridIndex(self.store, self.encoder, plan=self.plan)
        view._scope = Tenant(tenant, key)
        return view

    def _stored_ids(self, ids: Iterable[str]) -> list[str]:
        return [stored for id_ in ids for stored in self._scope.stored_ids(id_)]

    def _keys(self, stored_ids: Iterable[str]) -> list[str]:
        return list(map(self.store.key, stored_ids))

    def _dense_of(self, stored: Mapping[str, Stored]) -> dict[str, NDArray[np.float32]]:
        return {
            self._scope.shown_id(found.document.id): found.dense
            for found in stored.values()
            if found.dense is not None and self._scope.owns(found.document)
        }

    def _owned(self, wanted: Iterable[str], stored: Mapping[str, Stored]) -> list[Document]:
        documents: list[Document] = []
        for id_ in wanted:
            kept = (stored[key].document for key in self._keys(self._scope.stored_ids(id_)) if key in stored)
            documents += [self._scope.shown(document) for document in kept if self._scope.owns(document)][:1]
        return documents

    def info(self) -> Mapping[str, object]:
        """Engine, place, encoder and sizes; of a tenant's view its own number of documents."""
        described = self.store.describe()
        return described if self._scope is EVERYTHING else {**described, "documents": self.count()}

    def flush(self) -> None:
        """Make everything acknowledged survive a loss of power."""
        self.store.flush()

    def compact(self) -> None:
        """Reclaim the space of replaced and deleted documents; takes seconds to minutes."""
        self.store.compact()

    def close(self) -> None:
        """Flush and let go of the directory or connection; of a tenant's view nothing."""
        if self._scope is EVERYTHING:
            self.store.close()

    async def aclose(self) -> None:
        """`close`, and let go of what `asearch` opened on this event loop."""
        if self._scope is EVERYTHING:
            await self.store.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        view = "" if self._scope is EVERYTHING else f", {self._scope!r}"
        return f"HybridIndex({self.store!r}, {self.encoder!r}{view})"


def _checked_queries(queries: Sequence[str]) -> list[str]:
    if isinstance(queries, str):
        raise TypeError("search_many and rankings take a list of queries, got one str; use search, or put it in a list")
    for query in queries:
        if not isinstance(query, str):
            raise TypeError(f"a query is a str, got {type(query).__name__}")
        if not query.strip():
            raise ValueError("the query is empty; ask for at least one word")
        try:
            query.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"the query has a lone surrogate at character {error.start}, which is no valid text; read it with its "
                f"right encoding"
            ) from None
    return list(queries)


def _ids(ids: Iterable[str]) -> list[str]:
    return [ids] if isinstance(ids, str) else list(ids)


def _dense_alone(dense: NDArray[np.float32], spec: EncoderSpec) -> Embedding:
    """An embedding of which only the dense vector will be asked for."""
    row = np.zeros((1, spec.late_dim), np.float32)
    row[0, 0] = 1
    return Embedding(dense, SparseVector(np.empty(0, np.int64), np.empty(0, np.float32)), MultiVector(row))


def _default_encoder() -> Encoder:
    from tercet.encoders.mini import MiniEncoder

    return MiniEncoder()
