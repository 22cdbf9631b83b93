"""Embeddings in, rankings out, by way of searches and points: what both Qdrant engines are asked alike.

How each of them is asked stands in `tercet.store.edge` and `tercet.store.qdrant`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from tercet.encoders.base import EncoderSpec
from tercet.filters import Filter
from tercet.store.checks import check_embedding, check_multi_vector
from tercet.store.conditions import Dialect, translate
from tercet.store.payload import (
    CONTENT_HASH,
    DATES,
    DOCUMENT_ID,
    JSON_BYTES_PER_NUMBER,
    MAX_RANGE_INDEXES,
    document_of,
    payload_field,
    point_id,
    range_fields,
    split_by_bytes,
)
from tercet.store.ties import cut_by_id
from tercet.types import DENSE, LATE, SPARSE, Document, Embedding, MultiVector, Ranking, SparseVector, ranked

#: Edge holds the interpreter lock for as long as it answers a request, and a server has others to answer.
SEARCHES_PER_REQUEST = 32

EngineFilter = TypeVar("EngineFilter")


class StoredPoint(Protocol):
    """What an engine gives back."""

    @property
    def payload(self) -> Mapping[str, Any] | None: ...
    @property
    def vector(self) -> object: ...


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """The question for the points nearest to a vector.

    vector: dense (dim,), of late interaction (n_tokens, dim), or sparse
    among: the only candidates, as {point id: document id}; None for all points
    """

    stage: str
    vector: NDArray[np.float32] | SparseVector
    limit: int
    among: Mapping[str, str] | None = None

    @property
    def request_bytes(self) -> int:
        numbers = 2 * self.vector.indices.size if isinstance(self.vector, SparseVector) else self.vector.size
        return JSON_BYTES_PER_NUMBER * numbers + 40 * len(self.among or ()) + 512


class PointStore(ABC, Generic[EngineFilter]):
    """The methods of `tercet.store.base.Store` that only rest on searching points and reading them."""

    #: A server takes 32 MB a request. Half of it leaves room for what the estimate misses.
    max_request_bytes = 16_000_000

    def __init__(self, spec: EncoderSpec, dialect: Dialect[EngineFilter]) -> None:
        self._spec = spec
        self._dialect = dialect
        self._indexed: set[str] = set()  # fields of the payload

    @property
    def spec(self) -> EncoderSpec:
        return self._spec

    @abstractmethod
    def _search(self, searches: Sequence[Search], condition: EngineFilter | None) -> list[Ranking]:
        """Ask all in one request; the condition holds where a search names no candidates."""

    @abstractmethod
    def _points(
        self, ids: Sequence[str], *, payload: bool | list[str], vectors: list[str] | None = None
    ) -> Sequence[StoredPoint]:
        """The points that are stored of these documents, each once."""

    def prefetch(
        self, queries: Sequence[Embedding], stages: Sequence[str], *, limit: int, where: Filter | None = None
    ) -> list[dict[str, Ranking]]:
        for query in queries:
            check_embedding(query, self._spec)
        condition = self._condition(where)
        # A text without a term finds nothing by terms, and is not asked for.
        asked = [
            (number, stage)
            for number, query in enumerate(queries)
            for stage in stages
            if stage == DENSE or len(query.sparse.indices)
        ]
        searches = (
            Search(stage, queries[number].dense if stage == DENSE else queries[number].sparse, limit + 1)
            for number, stage in asked
        )
        rankings = [
            ranking for batch in self._requests(searches) for ranking in self._search_cut_by_id(batch, condition, limit)
        ]
        found: list[dict[str, Ranking]] = [{stage: [] for stage in stages} for _ in queries]
        for (number, stage), ranking in zip(asked, rankings, strict=True):
            found[number][stage] = ranking
        return found

    def rerank(self, queries: Sequence[tuple[MultiVector, Sequence[str]]]) -> list[Ranking]:
        for multi_vector, _ in queries:
            check_multi_vector(multi_vector, self._spec)
        searches = (
            Search(LATE, multi_vector.vectors, max(1, len(ids)), {point_id(id): id for id in ids})
            for multi_vector, ids in queries
        )
        return [ranked(ranking) for batch in self._requests(searches) for ranking in self._search(batch, None)]

    def retrieve(self, ids: Sequence[str]) -> dict[str, Document]:
        documents = (document_of(point.payload) for point in self._points(ids, payload=True))
        return {document.id: document for document in documents}

    def content_hashes(self, ids: Sequence[str]) -> dict[str, str]:
        points = self._points(ids, payload=[DOCUMENT_ID, CONTENT_HASH])
        return {payload_field(p.payload, DOCUMENT_ID): payload_field(p.payload, CONTENT_HASH) for p in points}

    def sparse_vectors(self, ids: Sequence[str]) -> dict[str, SparseVector]:
        points = self._points(ids, payload=[DOCUMENT_ID], vectors=[SPARSE])
        return {payload_field(p.payload, DOCUMENT_ID): _sparse_of(p.vector) for p in points}

    def _condition(self, where: Filter | None) -> EngineFilter | None:
        return None if where is None else translate(where, self._dialect)

    def _requests(self, searches: Iterable[Search]) -> Iterable[list[Search]]:
        return split_by_bytes(searches, self.max_request_bytes, SEARCHES_PER_REQUEST)

    def _search_cut_by_id(
        self, searches: Sequence[Search], condition: EngineFilter | None, limit: int
    ) -> list[Ranking]:
        def ask(position: int, wider: int) -> Ranking:
            return self._search([replace(searches[position], limit=wider)], condition)[0]

        return cut_by_id(self._search(searches, condition), limit, ask)

    def _fields_to_index(self, payloads: Iterable[Mapping[str, Any]]) -> list[tuple[str, bool]]:
        """The range fields that have no index yet and get one, each with whether it holds dates."""
        room = max(0, MAX_RANGE_INDEXES + 1 - len(self._indexed))  # one is that of the terms
        return [(field, field.startswith(DATES)) for field in sorted(range_fields(payloads) - self._indexed)[:room]]


def vectors_of(embedding: Embedding, sparse: Callable[[SparseVector], Any]) -> dict[str, Any]:
    """What an engine takes as a point's vectors; `sparse` makes its kind of sparse vector."""
    # Lists, not arrays: Edge's binding reads them 2.5 times as fast.
    vectors = {DENSE: embedding.dense.tolist(), LATE: embedding.multi_vector.vectors.tolist()}
    return {**vectors, SPARSE: sparse(embedding.sparse)} if len(embedding.sparse.indices) else vectors


def _sparse_of(vectors: object) -> SparseVector:
    stored: Any = vectors.get(SPARSE) if isinstance(vectors, Mapping) else None
    if stored is None:  # a text without a term
        return SparseVector(np.empty(0, np.int64), np.empty(0, np.float32))
    order = np.argsort(stored.indices)  # which a server need not keep
    return SparseVector(np.array(stored.indices, np.int64)[order], np.array(stored.values, np.float32)[order])
