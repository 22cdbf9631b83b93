"""The index: documents in, hits out. One screen for the way of a query, one for the way of a document."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

from tercet.encoders.base import Encoder
from tercet.errors import CollectionMismatch, InvalidDocument, StoreError
from tercet.filters import Filter, parse_filter
from tercet.fusion import min_max_fusion, reciprocal_rank_fusion
from tercet.intake import Addable, Numbered, Tally, read_batches
from tercet.plan import SearchPlan
from tercet.progress import Progress
from tercet.store.base import Store
from tercet.types import (
    FUSED,
    LATE,
    AddReport,
    Document,
    Embedding,
    Hit,
    Ranking,
    Record,
    SparseVector,
    StageScore,
    TermMatch,
)

logger = logging.getLogger(__name__)

Where: TypeAlias = Mapping[str, Any]
Trace: TypeAlias = dict[str, Ranking]

FINAL = "final"


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
    ) -> Self:
        """Open a directory (embedded Qdrant Edge) or a collection on a Qdrant server, and make it where it is missing.

        collection, api_key, prefer_grpc, timeout_seconds: of the server; the collection is "tercet" where none is given
        hnsw: of a directory; search dense vectors by a graph, which pays beyond about 200,000 documents
        encoder: the shipped tercet-mini where none is given
        create: False raises StoreError for an index that is not there

        Raises:
            CollectionMismatch: it was filled by another encoder.
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
            store = EdgeStore.open(path, encoder.spec, create=create, hnsw=hnsw)
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
            )
        return cls(store, encoder, plan=plan)

    @classmethod
    def in_memory(cls, *, encoder: Encoder | None = None, plan: SearchPlan | None = None) -> Self:
        """An exact index that lives as long as the process: for tests, notebooks and small collections."""
        from tercet.store.memory import MemoryStore

        encoder = encoder or _default_encoder()
        return cls(MemoryStore(encoder.spec), encoder, plan=plan)

    # --- the way of a query ---

    def search(
        self, query: str, *, k: int | None = None, where: Where | None = None, plan: SearchPlan | None = None
    ) -> list[Hit]:
        """The best `k` documents for a query, best first.

        where: a filter on metadata, see `tercet.filters`
        plan: how to search; `k` goes before the plan's

        Raises:
            ValueError: the query is empty, or k is below 1.
            InvalidFilter: the filter cannot be read.
        """
        return self.search_many([query], k=k, where=where, plan=plan)[0]

    def search_many(
        self,
        queries: Sequence[str],
        *,
        k: int | None = None,
        where: Where | None = None,
        plan: SearchPlan | None = None,
    ) -> list[list[Hit]]:
        """`search` for many queries: encoded side by side, asked in one batch, with the same hits as one by one."""
        plan = self._plan(k, plan)
        embeddings, traces = self._answer(queries, plan, where)
        finals = [_cut(trace, plan) for trace in traces]
        ids = list({scored.id for final in finals for scored in final})
        documents = self.store.retrieve(ids)
        vectors = self.store.sparse_vectors(ids)
        return [
            [
                Hit(
                    documents[scored.id],
                    scored.score,
                    stages[scored.id],
                    self._shared_terms(embedding.sparse, vectors[scored.id]),
                )
                for scored in final
                # A document that was deleted between ranking and reading is gone, not an error.
                if scored.id in documents and scored.id in vectors
            ]
            for embedding, stages, final in zip(embeddings, map(_stages_by_id, traces, finals), finals, strict=True)
        ]

    async def asearch(
        self, query: str, *, k: int | None = None, where: Where | None = None, plan: SearchPlan | None = None
    ) -> list[Hit]:
        """`search` in a thread of its own, so the event loop goes on."""
        return await asyncio.to_thread(self.search, query, k=k, where=where, plan=plan)

    def rankings(
        self, queries: Sequence[str], *, plan: SearchPlan | None = None, where: Where | None = None
    ) -> list[Trace]:
        """Every stage's whole ranking for each query, by stage, with "fused" (the pool) and "final": for evaluation."""
        return self._answer(queries, self._plan(None, plan), where)[1]

    def _answer(
        self, queries: Sequence[str], plan: SearchPlan, where: Where | None
    ) -> tuple[list[Embedding], list[Trace]]:
        """Encode, prefetch, fuse, rerank, order: the whole way from text to rankings."""
        condition = _condition(where)
        embeddings = self.encoder.encode_queries(_checked_queries(queries))
        traces = self.store.prefetch(embeddings, plan.prefetches, limit=plan.prefetch_k, where=condition)
        for trace in traces:
            rankings = {stage: trace[stage] for stage in plan.prefetches if plan.weights[stage] > 0}
            trace[FUSED] = reciprocal_rank_fusion(rankings, rank_constant=plan.rank_constant, weights=plan.weights)
        if LATE in plan.stages:
            pools = [[scored.id for scored in trace[FUSED][: plan.rerank_k]] for trace in traces]
            candidates = [(embedding.multi_vector, pool) for embedding, pool in zip(embeddings, pools, strict=True)]
            for trace, ranking in zip(traces, self.store.rerank(candidates), strict=True):
                trace[LATE] = ranking
        for trace in traces:
            trace[FINAL] = _final_order(trace, plan)
        return embeddings, traces

    def _plan(self, k: int | None, plan: SearchPlan | None) -> SearchPlan:
        if k is None:
            return plan or self.plan
        if plan is not None:
            return replace(plan, k=k)  # which says no to a k above the pool: a plan given by hand never grows in secret
        # The index's own plan grows with k. What is no number at all is for the plan to refuse.
        least = int(k) if isinstance(k, Integral) else 1
        plan = self.plan
        return replace(plan, k=k, prefetch_k=max(plan.prefetch_k, least), rerank_k=max(plan.rerank_k, least))

    def _shared_terms(self, query: SparseVector, document: SparseVector) -> tuple[TermMatch, ...]:
        weights = dict(zip(document.indices.tolist(), document.values.tolist(), strict=True))
        shared = [
            (index, weight, weights[index])
            for index, weight in zip(query.indices.tolist(), query.values.tolist(), strict=True)
            if index in weights
        ]
        shared.sort(key=lambda match: (-match[1] * match[2], match[0]))
        terms = self.encoder.terms([index for index, _, _ in shared])
        return tuple(
            TermMatch(term, query_weight, document_weight)
            for term, (_, query_weight, document_weight) in zip(terms, shared, strict=True)
        )

    # --- the way of a document ---

    def add(
        self,
        documents: Addable | Iterable[Addable],
        *,
        on_error: Literal["skip", "raise"] = "skip",
        progress: bool | None = None,
    ) -> AddReport:
        """Index documents from any iterable, which is read as it goes and never held whole.

        A document that is stored as it is costs no encoding, so an interrupted `add` is finished by calling it again.
        One whose text or metadata changed is replaced. Of documents with the same id in one call, the last one counts.

        on_error: "skip" counts and names documents that cannot be indexed, "raise" stops at the first, before its
            batch is written
        progress: a bar on standard error; None shows one where standard error is a terminal

        Raises:
            InvalidDocument: with on_error="raise".
            StoreError: the engine refused; what earlier batches wrote stays and is whole.
        """
        if on_error not in ("skip", "raise"):
            raise ValueError(f"on_error must be 'skip' or 'raise', got {on_error!r}")
        if isinstance(documents, str | Document | Mapping):
            documents = [documents]
        tally = Tally(on_error)
        with Progress("indexing", total=_length(documents), show=progress) as bar:
            try:
                for read, batch in read_batches(documents, tally):
                    self._add_batch(batch, tally)
                    bar.advance(read, note=tally.note())
            except StoreError:
                raise  # the engine has said no: asking it to flush would hide why
            except BaseException:
                self.store.flush()
                raise
        self.store.flush()
        return tally.report()

    def _add_batch(self, batch: Mapping[str, Numbered], tally: Tally) -> None:
        stored = self.store.content_hashes(list(batch))
        hashes = {id_: numbered.document.content_hash() for id_, numbered in batch.items()}
        changed = [numbered.document for id_, numbered in batch.items() if stored.get(id_) != hashes[id_]]
        tally.skipped += [id_ for id_ in batch if stored.get(id_) == hashes[id_]]
        embeddings = self.encoder.encode_documents(document.text for document in changed)
        records = [
            Record(document, embedding, hashes[document.id])
            for document, embedding in zip(changed, embeddings, strict=True)
        ]
        for record in self._write(records, batch, tally):
            (tally.updated if record.document.id in stored else tally.added).append(record.document.id)
            if record.embedding.truncated:
                tally.truncated.append(record.document.id)

    def _write(self, records: list[Record], batch: Mapping[str, Numbered], tally: Tally) -> list[Record]:
        """Write records together, or one by one where the engine cannot hold one of them; returns what was written."""
        if not records:
            return []
        try:
            self.store.upsert(records)
        except InvalidDocument as error:
            if len(records) > 1 and tally.on_error == "skip":
                return [written for record in records for written in self._write([record], batch, tally)]
            tally.fail(batch[records[0].document.id].position, records[0].document.id, error)
            return []
        return records

    # --- the rest ---

    def get(self, ids: Sequence[str]) -> list[Document]:
        """The documents with these ids, in the order asked for; ids that are not stored are passed over."""
        wanted = [ids] if isinstance(ids, str) else list(ids)
        found = self.store.retrieve(wanted)
        return [found[id_] for id_ in wanted if id_ in found]

    def delete(self, ids: Iterable[str] | None = None, *, where: Where | None = None) -> int:
        """Remove documents by id or by filter; returns how many there were.

        Raises:
            ValueError: neither or both are given: deleting everything is never a default.
        """
        if (ids is None) == (where is None):
            raise ValueError(
                "delete takes either ids or where; to remove everything, delete the directory or collection"
            )
        if where is not None:
            removed = self.store.delete_where(parse_filter(where))
        else:
            removed = self.store.delete([ids] if isinstance(ids, str) else list(ids or ()))
        self.store.flush()
        return removed

    def count(self, where: Where | None = None) -> int:
        return self.store.count(_condition(where))

    def scroll(self, where: Where | None = None) -> Iterator[Document]:
        """Every document, or those that match, in no promised order."""
        return self.store.scroll(_condition(where))

    def info(self) -> Mapping[str, object]:
        """Engine, place, encoder and sizes."""
        return self.store.describe()

    def flush(self) -> None:
        """Make everything acknowledged survive a loss of power."""
        self.store.flush()

    def compact(self) -> None:
        """Reclaim the space of replaced and deleted documents; takes seconds to minutes."""
        self.store.compact()

    def close(self) -> None:
        """Flush and let go of the directory or connection."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"HybridIndex({self.store!r}, {self.encoder!r})"


def _final_order(trace: Trace, plan: SearchPlan) -> Ranking:
    if LATE not in plan.stages and plan.fusion == "rrf":
        return trace[FUSED]
    if plan.mode == "cascade":
        return trace[LATE]
    # A stage of weight 0 brings no documents of its own, under either formula.
    rankings = {stage: trace[stage] for stage in plan.stages if plan.weights[stage] > 0}
    if plan.fusion == "min_max":
        return min_max_fusion(rankings, weights=plan.weights)
    return reciprocal_rank_fusion(rankings, rank_constant=plan.rank_constant, weights=plan.weights)


def _cut(trace: Trace, plan: SearchPlan) -> Ranking:
    """The final order's first k that reach the plan's threshold."""
    final, threshold = trace[FINAL], plan.threshold
    if isinstance(threshold, Mapping):
        for stage, least in threshold.items():
            passed = {scored.id for scored in trace[stage] if scored.score >= least}
            final = [scored for scored in final if scored.id in passed]
    elif threshold is not None:
        final = [scored for scored in final if scored.score >= threshold]
    return final[: plan.k]


def _stages_by_id(trace: Trace, final: Ranking) -> dict[str, tuple[StageScore, ...]]:
    """The place of each final document in each stage that found it, in the order of the stages."""
    places: dict[str, list[StageScore]] = {scored.id: [] for scored in final}
    for stage, ranking in trace.items():
        if stage != FINAL:
            for rank, scored in enumerate(ranking, start=1):
                if scored.id in places:
                    places[scored.id].append(StageScore(stage, rank, scored.score))
    return {id_: tuple(stages) for id_, stages in places.items()}


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


def _condition(where: Where | None) -> Filter | None:
    return None if where is None else parse_filter(where)


def _length(documents: Iterable[Addable]) -> int | None:
    return len(documents) if isinstance(documents, Sequence) else None


def _default_encoder() -> Encoder:
    from tercet.encoders.mini import MiniEncoder

    return MiniEncoder()
