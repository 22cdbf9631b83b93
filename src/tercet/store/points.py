"""Embeddings in, rankings out, by way of searches and points: what both Qdrant engines are asked alike.

How each of them is asked stands in `tercet.store.edge` and `tercet.store.qdrant`.
"""

from __future__ import annotations

import json
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from tercet.encoders.base import EncoderSpec
from tercet.filters import Filter
from tercet.storage import StorageOptions
from tercet.store.checks import check_embedding, check_multi_vector
from tercet.store.conditions import Dialect, translate
from tercet.store.layouts import Layout
from tercet.store.payload import (
    CONTENT_HASH,
    DATES,
    DOCUMENT_ID,
    JSON_BYTES_PER_NUMBER,
    MAX_RANGE_INDEXES,
    range_fields,
    split_by_bytes,
)
from tercet.store.readers import run_at_once
from tercet.store.ties import cut_by_id
from tercet.types import DENSE, LATE, SPARSE, Embedding, MultiVector, Ranking, Record, SparseVector, Stored, ranked

#: Edge holds the interpreter lock for as long as it answers a request, and a server has others to answer.
SEARCHES_PER_REQUEST = 32

EngineFilter = TypeVar("EngineFilter")
_Asked = TypeVar("_Asked", contravariant=True)


class StoredPoint(Protocol):
    """What an engine gives back."""

    @property
    def id(self) -> object: ...
    @property
    def payload(self) -> Mapping[str, Any] | None: ...
    @property
    def vector(self) -> object: ...


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """The question for the points nearest to a vector.

    vector: dense (dim,), of late interaction (n_tokens, dim), or sparse
    among: the keys of the only candidates; None for all points
    """

    stage: str
    vector: NDArray[np.float32] | SparseVector
    limit: int
    among: Sequence[str] | None = None

    @property
    def request_bytes(self) -> int:
        numbers = 2 * self.vector.indices.size if isinstance(self.vector, SparseVector) else self.vector.size
        return JSON_BYTES_PER_NUMBER * numbers + 40 * len(self.among or ()) + 512


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """A record as an engine writes it.

    request_bytes: about how many it takes as JSON, rather too many than too few
    """

    id: str
    embedding: Embedding
    payload: dict[str, Any]
    request_bytes: int

    @classmethod
    def of(cls, record: Record, fingerprint: str, layout: Layout) -> Point:
        embedding, payload = record.embedding, layout.payload_of(record, fingerprint)
        numbers = embedding.dense.size + 2 * embedding.sparse.indices.size + embedding.multi_vector.vectors.size
        # Escaped to ASCII, with a space after each comma: no client writes JSON any longer.
        request_bytes = JSON_BYTES_PER_NUMBER * numbers + len(json.dumps(payload)) + 512
        return cls(layout.point_id(record.document.id), embedding, payload, request_bytes)


class Engine(Protocol[_Asked]):
    """What is asked of an engine, to be awaited: a blocking one answers on the spot."""

    async def search(self, searches: Sequence[Search], condition: _Asked | None) -> list[Ranking]:
        """Ask all in one request; the condition holds where a search names no candidates."""
        ...

    async def points(
        self, keys: Sequence[str], *, payload: bool | list[str], vectors: list[str] | None = None
    ) -> Sequence[StoredPoint]:
        """The points that are stored under these keys, each once."""
        ...


class Questions(Generic[EngineFilter]):
    """The questions of a query over an engine: implements `tercet.store.base.Reader`."""

    def __init__(
        self,
        engine: Engine[EngineFilter],
        spec: EncoderSpec,
        layout: Layout,
        dialect: Dialect[EngineFilter],
        max_request_bytes: int,
        check: Callable[[Sequence[str], Filter | None], None],
    ) -> None:
        """check: raises StoreError for stages, or a filter, that cannot be answered yet."""
        self._engine = engine
        self._check = check
        self._layout = layout
        self._spec = spec
        self._dialect = dialect
        self._max_request_bytes = max_request_bytes

    async def prefetch(
        self, queries: Sequence[Embedding], stages: Sequence[str], *, limit: int, where: Filter | None = None
    ) -> list[dict[str, Ranking]]:
        self._check(stages, where)
        for query in queries:
            check_embedding(query, self._spec)
        condition = None if where is None else translate(where, self._dialect)
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
        rankings: list[Ranking] = []
        for batch in self._requests(searches):
            rankings += await self._search_cut_by_id(batch, condition, limit)
        found: list[dict[str, Ranking]] = [{stage: [] for stage in stages} for _ in queries]
        for (number, stage), ranking in zip(asked, rankings, strict=True):
            found[number][stage] = ranking
        return found

    async def rerank(self, queries: Sequence[tuple[MultiVector, Sequence[str]]]) -> list[Ranking]:
        self._check([LATE], None)
        for multi_vector, _ in queries:
            check_multi_vector(multi_vector, self._spec)
        searches = (Search(LATE, multi_vector.weighted, max(1, len(keys)), keys) for multi_vector, keys in queries)
        return [
            ranked(ranking) for batch in self._requests(searches) for ranking in await self._engine.search(batch, None)
        ]

    async def read(self, keys: Sequence[str], *, vectors: Sequence[str] = ()) -> dict[str, Stored]:
        names = [self._layout.vectors[stage] for stage in vectors]
        points = await self._engine.points(keys, payload=True, vectors=names)
        return {str(point.id): stored_of(point, vectors, self._layout) for point in points}

    async def document_ids(self, keys: Sequence[str]) -> dict[str, str]:
        points = await self._engine.points(keys, payload=[DOCUMENT_ID])
        return {str(point.id): self._layout.document_id(point.payload, point.id) for point in points}

    def _requests(self, searches: Iterable[Search]) -> Iterable[list[Search]]:
        return split_by_bytes(searches, self._max_request_bytes, SEARCHES_PER_REQUEST)

    async def _search_cut_by_id(
        self, searches: Sequence[Search], condition: EngineFilter | None, limit: int
    ) -> list[Ranking]:
        async def ask(position: int, wider: int) -> Ranking:
            return (await self._engine.search([replace(searches[position], limit=wider)], condition))[0]

        return await cut_by_id(await self._engine.search(searches, condition), limit, ask)


class PointStore(ABC, Generic[EngineFilter]):
    """The methods of `tercet.store.base.Store` that only rest on searching points and reading them."""

    #: A server takes 32 MB a request. Half of it leaves room for what the estimate misses.
    max_request_bytes = 16_000_000

    def __init__(
        self, spec: EncoderSpec, layout: Layout, dialect: Dialect[EngineFilter], storage: StorageOptions
    ) -> None:
        self._spec = spec
        self._storage = storage
        self._layout = layout
        self._dialect = dialect
        self._indexed: set[str] = set()  # fields of the payload

    @property
    def spec(self) -> EncoderSpec:
        return self._spec

    @property
    def storage(self) -> StorageOptions:
        return self._storage

    @property
    def _fingerprint(self) -> str:
        """Of the vectors of every point."""
        return self._storage.fingerprint(self._spec.fingerprint)

    @abstractmethod
    def _search(self, searches: Sequence[Search], condition: EngineFilter | None) -> list[Ranking]:
        """`Engine.search`, blocking."""

    @abstractmethod
    def _points(
        self, keys: Sequence[str], *, payload: bool | list[str], vectors: list[str] | None = None
    ) -> Sequence[StoredPoint]:
        """`Engine.points`, blocking."""

    def prefetch(
        self, queries: Sequence[Embedding], stages: Sequence[str], *, limit: int, where: Filter | None = None
    ) -> list[dict[str, Ranking]]:
        return run_at_once(self._questions().prefetch(queries, stages, limit=limit, where=where))

    def rerank(self, queries: Sequence[tuple[MultiVector, Sequence[str]]]) -> list[Ranking]:
        return run_at_once(self._questions().rerank(queries))

    def key(self, document_id: str) -> str:
        return self._layout.point_id(document_id)

    def read(self, keys: Sequence[str], *, vectors: Sequence[str] = ()) -> dict[str, Stored]:
        return run_at_once(self._questions().read(keys, vectors=vectors))

    def document_ids(self, keys: Sequence[str]) -> dict[str, str]:
        return run_at_once(self._questions().document_ids(keys))

    def content_hashes(self, ids: Sequence[str]) -> dict[str, str]:
        points = self._points(list(map(self.key, ids)), payload=[DOCUMENT_ID, CONTENT_HASH])
        return {self._layout.document_id(p.payload, p.id): self._layout.content_hash(p.payload) for p in points}

    def _questions(self, engine: Engine[EngineFilter] | None = None) -> Questions[EngineFilter]:
        """To `engine`, or blocking to this store."""
        return Questions(
            engine or _Blocking(self),
            self._spec,
            self._layout,
            self._dialect,
            self.max_request_bytes,
            self._check_answerable,
        )

    def _check_answerable(self, stages: Sequence[str], where: Filter | None) -> None:
        """Every document of a store that wrote them all has everything."""

    def _condition(self, where: Filter | None) -> EngineFilter | None:
        return None if where is None else translate(where, self._dialect)

    def _fields_to_index(self, payloads: Iterable[Mapping[str, Any]]) -> list[tuple[str, bool]]:
        """The range fields that have no index yet and get one, each with whether it holds dates."""
        room = max(0, MAX_RANGE_INDEXES + 1 - len(self._indexed))  # one is that of the terms
        return [(field, field.startswith(DATES)) for field in sorted(range_fields(payloads) - self._indexed)[:room]]


class _Blocking(Generic[EngineFilter]):
    """Implements `Engine` by a store's blocking methods."""

    def __init__(self, store: PointStore[EngineFilter]) -> None:
        self._store = store

    async def search(self, searches: Sequence[Search], condition: EngineFilter | None) -> list[Ranking]:
        return self._store._search(searches, condition)

    async def points(
        self, keys: Sequence[str], *, payload: bool | list[str], vectors: list[str] | None = None
    ) -> Sequence[StoredPoint]:
        return self._store._points(keys, payload=payload, vectors=vectors)


def stored_of(point: StoredPoint, vectors: Sequence[str], layout: Layout) -> Stored:
    """A point as it was read, with the vectors that were asked for."""
    # A collection's unnamed vector may come without its name, which is "".
    vector = point.vector  # Edge makes its lists anew each time it is asked
    found: Any = vector if isinstance(vector, Mapping) else {"": vector}
    late = found.get(layout.vectors[LATE]) if LATE in vectors else None  # an attached collection may lack it
    return Stored(
        layout.document_of(point.payload, point.id),
        np.array(found[layout.vectors[DENSE]], np.float32) if DENSE in vectors else None,
        _weights(found.get(layout.vectors[SPARSE])) if SPARSE in vectors else None,
        None if late is None else at_length_one(_matrix(late)),
    )


def _matrix(rows: Sequence[Sequence[float]]) -> NDArray[np.float32]:
    """Rows as an engine gives them. np.array, which looks at every number to find a type, takes three times as long."""
    pack = struct.Struct(f"{len(rows[0])}f").pack
    # Of a bytearray the array can be written to, as one of np.array's can.
    return np.frombuffer(bytearray().join(pack(*row) for row in rows), np.float32).reshape(len(rows), -1)


def at_length_one(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Token vectors (n_rows, dim) as the engine scores them.

    From four bits it gives rows back that are up to a tenth too long or too short, and scores them as what was written:
    so made, they are also rounded to the same bits when they are written again.
    """
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: NDArray[np.float32] = rows if np.abs(lengths - 1).max() < 2e-3 else rows / np.maximum(lengths, 1e-12)
    return unit


def vectors_of(embedding: Embedding, layout: Layout, sparse: Callable[[SparseVector], Any]) -> dict[str, Any]:
    """What an engine takes as a point's vectors, by their names; `sparse` makes its kind of sparse vector."""
    # Lists, not arrays: Edge's binding reads them 2.5 times as fast.
    vectors = {DENSE: embedding.dense.tolist(), LATE: embedding.multi_vector.vectors.tolist()}
    if len(embedding.sparse.indices):
        vectors[SPARSE] = sparse(embedding.sparse)
    return {layout.vectors[stage]: vector for stage, vector in vectors.items()}


def _weights(sparse: Any) -> dict[int, float]:  # noqa: ANN401 each engine has its own class
    """Of a stored sparse vector; a text without a term has none."""
    return {} if sparse is None else dict(zip(sparse.indices, sparse.values, strict=True))
