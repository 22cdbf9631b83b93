"""The index: documents in, hits out. One screen for the way of a query, one for the way of a document."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

from tercet.encoders.base import Encoder
from tercet.errors import InvalidDocument, StageMissing
from tercet.filters import Filter, parse_filter
from tercet.fusion import reciprocal_rank_fusion
from tercet.plan import SearchPlan
from tercet.progress import Progress
from tercet.store.base import Store
from tercet.types import (
    FUSED,
    LATE,
    AddReport,
    Document,
    Embedding,
    Failure,
    Hit,
    Ranking,
    Record,
    SparseVector,
    StageScore,
    TermMatch,
)

logger = logging.getLogger(__name__)

#: What `add` takes for one document: its text, a Document, or a mapping {"text": …, "id": …, "metadata": {…}}.
Addable: TypeAlias = str | Document | Mapping[str, Any]
Where: TypeAlias = Mapping[str, Any]
Trace: TypeAlias = dict[str, Ranking]

FINAL = "final"
#: Documents that are looked up, encoded and written together. What one such step wrote is acknowledged.
ADD_BATCH = 256
#: Shared terms that a hit names.
WHY_TERMS = 10


class HybridIndex:
    """A searchable collection of documents in three representations.

    Open one with `HybridIndex.open(path)`, `HybridIndex.open(url=…)` or `HybridIndex.in_memory()`. Searching from
    several threads is safe; adding from several threads is safe, too, but no faster.
    """

    def __init__(self, store: Store, encoder: Encoder, *, plan: SearchPlan | None = None) -> None:
        self.store = store
        self.encoder = encoder
        self.plan = plan or SearchPlan()

    @classmethod
    def open(
        cls,
        path: str | Path | None = None,
        *,
        url: str | None = None,
        collection: str = "tercet",
        api_key: str | None = None,
        encoder: Encoder | None = None,
        plan: SearchPlan | None = None,
        create: bool = True,
    ) -> Self:
        """Open a directory (embedded Qdrant Edge) or a collection on a Qdrant server, and make it where it is missing.

        encoder: the shipped tercet-mini where none is given
        create: False raises StoreError for an index that is not there

        Raises:
            CollectionMismatch: it was filled by another encoder.
            StoreLocked: another process has the directory open.
            StoreUnavailable: the server does not answer.
        """
        store: Store
        if path is not None and url is None:
            from tercet.store.edge import EdgeStore

            encoder = encoder or _default_encoder()
            store = EdgeStore.open(path, encoder.spec, create=create)
        elif url is not None and path is None:
            from tercet.store.qdrant import QdrantStore

            encoder = encoder or _default_encoder()
            store = QdrantStore.open(url, collection, encoder.spec, api_key=api_key, create=create)
        else:
            raise ValueError("open takes a path (embedded) or a url (server), one of them; in_memory() needs neither")
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
                    _stages_of(scored.id, trace),
                    self._shared_terms(embedding.sparse, vectors[scored.id]),
                )
                for scored in final
                # A document that was deleted between ranking and reading is gone, not an error.
                if scored.id in documents and scored.id in vectors
            ]
            for embedding, trace, final in zip(embeddings, traces, finals, strict=True)
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
        condition = None if where is None else parse_filter(where)
        embeddings = self.encoder.encode_queries(list(queries))
        traces = self.store.prefetch(embeddings, plan.prefetches, limit=plan.prefetch_k, where=condition)
        for trace in traces:
            rankings = {stage: trace[stage] for stage in plan.prefetches}
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
        chosen = plan or self.plan
        if k is None or k == chosen.k:
            return chosen
        # A larger k needs a larger pool; a plan that was given by hand says no instead of growing in secret.
        return replace(chosen, k=k) if plan is not None or k <= chosen.rerank_k else SearchPlan.for_k(k)

    def _shared_terms(self, query: SparseVector, document: SparseVector) -> tuple[TermMatch, ...]:
        weights = dict(zip(document.indices.tolist(), document.values.tolist(), strict=True))
        shared = [
            (index, weight, weights[index])
            for index, weight in zip(query.indices.tolist(), query.values.tolist(), strict=True)
            if index in weights
        ]
        shared.sort(key=lambda match: (-match[1] * match[2], match[0]))
        terms = self.encoder.terms([index for index, _, _ in shared[:WHY_TERMS]])
        return tuple(
            TermMatch(term, query_weight, document_weight)
            for term, (_, query_weight, document_weight) in zip(terms, shared[:WHY_TERMS], strict=True)
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
        tally = _Tally()
        with Progress("indexing", total=_length(documents), show=progress) as bar:
            numbered = enumerate(documents)
            while batch := list(itertools.islice(numbered, ADD_BATCH)):
                self._add_batch(_valid(batch, tally, on_error), tally)
                bar.advance(len(batch), note=tally.note())
        self.store.flush()
        return tally.report()

    def _add_batch(self, documents: Mapping[str, Document], tally: _Tally) -> None:
        stored = self.store.content_hashes(list(documents))
        hashes = {document.id: document.content_hash() for document in documents.values()}
        changed = [document for document in documents.values() if stored.get(document.id) != hashes[document.id]]
        tally.skipped += [id_ for id_ in documents if stored.get(id_) == hashes[id_]]
        embeddings = self.encoder.encode_documents(document.text for document in changed)
        records = [
            Record(document, embedding, hashes[document.id])
            for document, embedding in zip(changed, embeddings, strict=True)
        ]
        self.store.upsert(records)
        for record in records:
            (tally.updated if record.document.id in stored else tally.added).append(record.document.id)
            if record.embedding.truncated:
                tally.truncated.append(record.document.id)

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
        """Model, engine, place and sizes."""
        return {**self.store.describe(), "model": self.encoder.spec.name, "documents": self.store.count()}

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
    if LATE not in plan.stages:
        return trace[FUSED]
    if plan.mode == "cascade":
        return trace[LATE]
    rankings = {stage: trace[stage] for stage in plan.stages}
    return reciprocal_rank_fusion(rankings, rank_constant=plan.rank_constant, weights=plan.weights)


def _cut(trace: Trace, plan: SearchPlan) -> Ranking:
    """The final order's first k that reach the plan's threshold."""
    final, threshold = trace[FINAL], plan.threshold
    if isinstance(threshold, Mapping):
        for stage, least in threshold.items():
            if stage not in trace:
                raise StageMissing(f"the threshold asks for {stage!r}, which this plan leaves out; add it to stages")
            passed = {scored.id for scored in trace[stage] if scored.score >= least}
            final = [scored for scored in final if scored.id in passed]
    elif threshold is not None:
        final = [scored for scored in final if scored.score >= threshold]
    return final[: plan.k]


def _stages_of(id_: str, trace: Trace) -> tuple[StageScore, ...]:
    return tuple(
        StageScore(stage, rank, scored.score)
        for stage, ranking in trace.items()
        if stage != FINAL
        for rank, scored in enumerate(ranking, start=1)
        if scored.id == id_
    )


class _Tally:
    """What an `add` has done so far."""

    def __init__(self) -> None:
        self.added: list[str] = []
        self.updated: list[str] = []
        self.skipped: list[str] = []
        self.truncated: list[str] = []
        self.failed: list[Failure] = []

    def note(self) -> str:
        return f"{len(self.failed):,} failed" if self.failed else ""

    def report(self) -> AddReport:
        # An id that came twice, in different batches, is named once.
        added, updated = dict.fromkeys(self.added), dict.fromkeys(self.updated)
        return AddReport(
            added=tuple(added),
            updated=tuple(id_ for id_ in updated if id_ not in added),
            skipped=tuple(id_ for id_ in dict.fromkeys(self.skipped) if id_ not in added and id_ not in updated),
            failed=tuple(self.failed),
            truncated=tuple(dict.fromkeys(self.truncated)),
        )


def _valid(
    batch: Sequence[tuple[int, Addable]], tally: _Tally, on_error: Literal["skip", "raise"]
) -> dict[str, Document]:
    """The documents of a batch by id, the last of each; what cannot be indexed goes to the tally or is raised."""
    documents: dict[str, Document] = {}
    for position, addable in batch:
        try:
            document = _document(addable)
        except InvalidDocument as error:
            if on_error == "raise":
                raise InvalidDocument(f"document at position {position}: {error}") from error
            id_ = addable.get("id") if isinstance(addable, Mapping) else None
            tally.failed.append(Failure(position, id_ if isinstance(id_, str) else None, str(error)))
            logger.warning("document at position %d is left out: %s", position, error)
        else:
            documents[document.id] = document
    return documents


def _document(addable: object) -> Document:
    match addable:
        case Document():
            return addable
        case str():
            return Document(addable)
        case Mapping():
            if unknown := set(addable) - {"text", "id", "metadata"}:
                raise InvalidDocument(
                    f"a document has text, id and metadata, got also {', '.join(sorted(map(repr, unknown)))}; "
                    f"put other entries under metadata"
                )
            if "text" not in addable:
                raise InvalidDocument("a document needs an entry 'text'")
            id_, metadata = addable.get("id"), addable.get("metadata")
            return Document(addable["text"], "" if id_ is None else id_, {} if metadata is None else metadata)
        case _:
            raise InvalidDocument(f"a document is a str, a Document or a dict, got {type(addable).__name__}")


def _condition(where: Where | None) -> Filter | None:
    return None if where is None else parse_filter(where)


def _length(documents: Iterable[Addable]) -> int | None:
    return len(documents) if isinstance(documents, Sequence) else None


def _default_encoder() -> Encoder:
    from tercet.encoders.mini import MiniEncoder

    return MiniEncoder()
