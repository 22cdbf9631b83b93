"""Records in, rankings out, on a Qdrant server: for indexes that outgrow one machine or have several readers.

The encoder's spec lies in the collection's metadata, which servers keep since 1.16. An older server drops it; there the
fingerprint that every point carries tells whose vectors these are. That is enough: an empty collection cannot be mixed,
and a filled one is told by any of its points.
"""

from __future__ import annotations

import itertools
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from typing import ParamSpec, TypeVar
from urllib.parse import urlsplit

import grpc  # type: ignore[import-untyped]
import httpx
import numpy as np
from qdrant_client import QdrantClient, models
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from tercet.encoders.base import EncoderSpec
from tercet.errors import CollectionMismatch, StoreError, StoreUnavailable
from tercet.filters import Filter
from tercet.store.checks import check_embedding, check_multi_vector, check_records, check_same_encoder
from tercet.store.conditions import Dialect, translate
from tercet.store.payload import (
    CONTENT_HASH,
    DATES,
    DOCUMENT_ID,
    ENCODER,
    MAX_RANGE_INDEXES,
    TERMS,
    document_of,
    payload_field,
    payload_of,
    point_id,
    range_fields,
    split_by_bytes,
)
from tercet.store.ties import cut_by_id
from tercet.types import (
    DENSE,
    LATE,
    SPARSE,
    Document,
    Embedding,
    MultiVector,
    Ranking,
    Record,
    Scored,
    SparseVector,
    ranked,
)

FORMAT = 1
#: A server takes 32 MB a request. Half of it leaves room for what the estimate misses.
MAX_REQUEST_BYTES = 16_000_000
#: Multi-vectors, the query API and half-precision sparse indexes.
OLDEST_VERSION = (1, 12)
METADATA_SINCE = (1, 16)

_PAUSES_SECONDS = (0.1, 0.4, 1.6)  # between four attempts
_IDS_PER_REQUEST = 1_000
_TRANSIENT_STATUS = frozenset({429, 502, 503, 504})
_TRANSIENT_GRPC = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}
)

_logger = logging.getLogger(__name__)
Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


class QdrantStore:
    """Implements `tercet.store.base.Store` over qdrant-client, REST or gRPC. Safe to call from several threads.

    Requests that fail for a passing reason are repeated, which is harmless: each of them, written twice, leaves what
    written once it would have left.
    """

    def __init__(self, client: QdrantClient, collection: str, spec: EncoderSpec, *, place: str, version: str) -> None:
        """For `open`, which is the way to get one."""
        self._client = client
        self._collection = collection
        self._spec = spec
        self._place = place
        self._version = version
        self._owns_client = False
        self._indexed = {TERMS}
        # The client is safe among threads, its local mode is not.
        self._turn: AbstractContextManager[object] = threading.RLock() if _is_local(client) else nullcontext()

    @classmethod
    def open(
        cls,
        server: str | QdrantClient,
        collection: str,
        spec: EncoderSpec,
        *,
        api_key: str | None = None,
        prefer_grpc: bool = False,
        timeout_seconds: float = 60,
        create: bool = True,
    ) -> QdrantStore:
        """Open the collection, or make it where there is none and `create` says so.

        Args:
            server: a URL like "http://localhost:6333", or a client that is then yours to close
            collection: its name; a collection of its own, not shared with other programs
            spec: of the encoder in use, which must be the one that filled the collection
            api_key: sent to the server, shown nowhere
            prefer_grpc: over port 6334, which takes half the bytes; errors are the same
            timeout_seconds: of one request
            create: make the collection where there is none

        Raises:
            CollectionMismatch: the collection holds something else, or vectors of another encoder.
            StoreUnavailable: the server does not answer.
            StoreError: there is no such collection and none is to be made, or the server refuses.
        """
        if isinstance(server, QdrantClient):
            client, place = server, "the given client"
        else:
            client = QdrantClient(
                url=server,
                api_key=api_key,
                prefer_grpc=prefer_grpc,
                timeout=math.ceil(timeout_seconds),
                check_compatibility=False,  # asked below, once, and not in a thread that warns
            )
            place = _without_secrets(server)
        store = cls(client, collection, spec, place=place, version="")
        store._owns_client = client is not server
        try:
            store._version = store._ask(lambda: client.info().version)
            store._check_version()
            if store._ask(lambda: client.collection_exists(collection)):
                store._check_collection()
            elif create:
                store._create_collection()
            else:
                raise StoreError(
                    f"there is no collection {collection!r} at {place}; check the name, or pass create=True to make one"
                )
        except StoreError:
            store.close()
            raise
        return store

    def upsert(self, records: Sequence[Record]) -> None:
        check_records(records, self._spec)
        for batch in split_by_bytes(records, MAX_REQUEST_BYTES):
            payloads = [payload_of(record, self._spec.fingerprint) for record in batch]
            points = [
                models.PointStruct(id=point_id(record.document.id), vector=_vectors(record.embedding), payload=payload)
                for record, payload in zip(batch, payloads, strict=True)
            ]
            self._ask(self._client.upsert, self._collection, points, wait=True)
            room = max(0, MAX_RANGE_INDEXES + 1 - len(self._indexed))  # one is that of the terms
            for field in sorted(range_fields(payloads) - self._indexed)[:room]:
                kind = models.PayloadSchemaType
                self._create_index(field, kind.DATETIME if field.startswith(DATES) else kind.FLOAT)

    def prefetch(
        self, queries: Sequence[Embedding], stages: Sequence[str], *, limit: int, where: Filter | None = None
    ) -> list[dict[str, Ranking]]:
        for query in queries:
            check_embedding(query, self._spec)
        condition = None if where is None else translate(where, DIALECT)
        # A text without a term finds nothing by terms, and is not asked for.
        asked = [
            (position, stage)
            for position, query in enumerate(queries)
            for stage in stages
            if stage == DENSE or len(query.sparse.indices)
        ]

        def request(position: int, wider: int) -> models.QueryRequest:
            number, stage = asked[position]
            query = queries[number]
            return models.QueryRequest(
                query=_sparse(query.sparse) if stage == SPARSE else query.dense.tolist(),
                using=stage,
                limit=wider,
                filter=condition,
                with_payload=models.PayloadSelectorInclude(include=[DOCUMENT_ID]),
            )

        def ask(requests: list[models.QueryRequest]) -> list[Ranking]:
            return [
                [Scored(payload_field(point.payload, DOCUMENT_ID), point.score) for point in points]
                for points in self._query(requests)
            ]

        first = ask([request(position, limit + 1) for position in range(len(asked))])
        rankings = cut_by_id(first, limit, lambda position, wider: ask([request(position, wider)])[0])
        found: list[dict[str, Ranking]] = [{stage: [] for stage in stages} for _ in queries]
        for (number, stage), ranking in zip(asked, rankings, strict=True):
            found[number][stage] = ranking
        return found

    def rerank(self, queries: Sequence[tuple[MultiVector, Sequence[str]]]) -> list[Ranking]:
        requests, documents_by_point = [], []
        for multi_vector, ids in queries:
            check_multi_vector(multi_vector, self._spec)
            by_point = {point_id(id): id for id in ids}
            documents_by_point.append(by_point)
            requests.append(
                models.QueryRequest(
                    query=multi_vector.vectors.tolist(),
                    using=LATE,
                    limit=max(1, len(by_point)),
                    filter=models.Filter(must=[models.HasIdCondition(has_id=list(by_point))]),
                )
            )
        return [
            ranked([(by_point[str(point.id)], point.score) for point in points])
            for points, by_point in zip(self._query(requests), documents_by_point, strict=True)
        ]

    def retrieve(self, ids: Sequence[str]) -> dict[str, Document]:
        documents = (document_of(point.payload) for point in self._points(ids, payload=True))
        return {document.id: document for document in documents}

    def content_hashes(self, ids: Sequence[str]) -> dict[str, str]:
        points = self._points(ids, payload=[DOCUMENT_ID, CONTENT_HASH])
        return {payload_field(p.payload, DOCUMENT_ID): payload_field(p.payload, CONTENT_HASH) for p in points}

    def sparse_vectors(self, ids: Sequence[str]) -> dict[str, SparseVector]:
        points = self._points(ids, payload=[DOCUMENT_ID], vectors=[SPARSE])
        return {payload_field(p.payload, DOCUMENT_ID): _sparse_vector(p.vector) for p in points}

    def delete(self, ids: Sequence[str]) -> int:
        there = [point.id for point in self._points(ids, payload=False)]
        for batch in _batched(there):
            self._ask(self._client.delete, self._collection, models.PointIdsList(points=batch), wait=True)
        return len(there)

    def delete_where(self, where: Filter) -> int:
        """Counted before: documents that come to match in between are deleted, and not counted."""
        matching = self.count(where)
        selector = models.FilterSelector(filter=translate(where, DIALECT))
        self._ask(self._client.delete, self._collection, selector, wait=True)
        return matching

    def count(self, where: Filter | None = None) -> int:
        condition = None if where is None else translate(where, DIALECT)
        return self._ask(self._client.count, self._collection, condition, exact=True).count

    def scroll(self, where: Filter | None = None, *, batch_size: int = 256) -> Iterator[Document]:
        condition = None if where is None else translate(where, DIALECT)
        offset = None
        while True:
            points, offset = self._ask(
                self._client.scroll, self._collection, condition, limit=batch_size, offset=offset, with_payload=True
            )
            yield from (document_of(point.payload) for point in points)
            if offset is None:
                return

    def flush(self) -> None:
        """Nothing to do: the server answers an upsert when it is in its log."""

    def compact(self) -> None:
        """Nothing to do: the server's optimizers work by themselves."""

    def describe(self) -> Mapping[str, object]:
        return {
            "engine": f"qdrant {self._version}",
            "server": self._place,
            "collection": self._collection,
            "documents": self.count(),
            "encoder": self._spec.name,
        }

    def close(self) -> None:
        if self._owns_client:
            self._client.close()

    def __repr__(self) -> str:
        return f"QdrantStore({self._place!r}, {self._collection!r}, encoder={self._spec.name!r})"

    def _ask(self, request: Callable[Arguments, Answer], *args: Arguments.args, **options: Arguments.kwargs) -> Answer:
        """Send a request, again if it fails for a passing reason; failures come out as ours."""
        pauses = iter(_PAUSES_SECONDS)
        while True:
            try:
                with self._turn:
                    return request(*args, **options)
            except (
                ResponseHandlingException,
                UnexpectedResponse,
                ResourceExhaustedResponse,
                grpc.RpcError,
                ValueError,  # of the client's local mode
                RuntimeError,  # of a client that is closed
            ) as error:
                if not _is_transient(error):
                    raise StoreError(
                        f"{self._place} refused a request on {self._collection!r}: {_reason(error)}"
                    ) from error
                pause = next(pauses, None)
                if pause is None:
                    raise StoreUnavailable(
                        f"{self._place} does not answer ({_reason(error)}); "
                        f"check that the server runs and can be reached, then try again"
                    ) from error
                wait = max(pause, getattr(error, "retry_after_s", 0))
                _logger.info("%s: %s, next attempt in %.1f s", self._place, _reason(error), wait)
                time.sleep(wait)

    def _query(self, requests: list[models.QueryRequest]) -> list[list[models.ScoredPoint]]:
        if not requests:
            return []
        answers = self._ask(self._client.query_batch_points, self._collection, requests)
        return [answer.points for answer in answers]

    def _points(
        self, ids: Sequence[str], *, payload: bool | list[str], vectors: list[str] | None = None
    ) -> list[models.Record]:
        return [
            point
            for batch in _batched(list(dict.fromkeys(map(point_id, ids))))
            for point in self._ask(
                self._client.retrieve, self._collection, batch, with_payload=payload, with_vectors=vectors or False
            )
        ]

    def _check_version(self) -> None:
        if _version_numbers(self._version) < OLDEST_VERSION:
            oldest = ".".join(map(str, OLDEST_VERSION))
            raise StoreError(f"{self._place} runs Qdrant {self._version}, tercet needs {oldest} or newer; update it")

    def _create_collection(self) -> None:
        try:
            self._ask(
                self._client.create_collection,
                self._collection,
                vectors_config={
                    DENSE: models.VectorParams(size=self._spec.dense_dim, distance=models.Distance.COSINE),
                    LATE: models.VectorParams(
                        size=self._spec.late_dim,
                        distance=models.Distance.DOT,
                        datatype=models.Datatype.FLOAT16,
                        multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
                        # Only ever scores given ids: a graph over all tokens would take hours and serve nobody.
                        hnsw_config=models.HnswConfigDiff(m=0),
                        on_disk=True,
                    ),
                },
                sparse_vectors_config={
                    SPARSE: models.SparseVectorParams(index=models.SparseIndexParams(datatype=models.Datatype.FLOAT16))
                },
                metadata={"tercet": {"format": FORMAT, "encoder": asdict(self._spec)}},
            )
        except StoreError:
            # Another process may have been quicker; then what it made is what counts.
            if not self._ask(self._client.collection_exists, self._collection):
                raise
            self._check_collection()
        self._create_index(TERMS, models.PayloadSchemaType.KEYWORD)

    def _create_index(self, field: str, schema: models.PayloadSchemaType) -> None:
        if not _is_local(self._client):  # which has no payload indexes, and warns
            self._ask(self._client.create_payload_index, self._collection, field, schema, wait=True)
        self._indexed.add(field)

    def _check_collection(self) -> None:
        where = f"the collection {self._collection!r} at {self._place}"
        info = self._ask(self._client.get_collection, self._collection)
        config = info.config
        self._indexed |= set(info.payload_schema)
        vectors = config.params.vectors
        sparse = config.params.sparse_vectors or {}
        if not isinstance(vectors, dict) or not {DENSE, LATE} <= set(vectors) or SPARSE not in sparse:
            raise CollectionMismatch(
                f"{where} is not a tercet index: it lacks the vectors {DENSE}, {SPARSE} and {LATE}; use another name"
            )
        for name, size in ((DENSE, self._spec.dense_dim), (LATE, self._spec.late_dim)):
            if vectors[name].size != size:
                raise CollectionMismatch(
                    f"{where} stores {name} vectors of size {vectors[name].size}, but {self._spec.name!r} makes size "
                    f"{size}; use another collection, or index the documents again"
                )
        if stored := (config.metadata or {}).get("tercet"):
            check_same_encoder(where, EncoderSpec(**stored["encoder"]), self._spec)
            return
        points, _ = self._ask(self._client.scroll, self._collection, limit=1, with_payload=[ENCODER])
        for point in points:
            fingerprint = payload_field(point.payload, ENCODER)
            if fingerprint != self._spec.fingerprint:
                raise CollectionMismatch(
                    f"{where} was filled by an encoder with fingerprint {fingerprint}, but {self._spec.name!r} has "
                    f"{self._spec.fingerprint}; use the encoder that filled it, or index the documents again"
                )


def _is_local(client: QdrantClient) -> bool:
    return client.init_options.get("location") == ":memory:" or client.init_options.get("path") is not None


def _is_transient(error: Exception) -> bool:
    match error:
        case ResponseHandlingException():
            return isinstance(error.source, httpx.TransportError)
        case UnexpectedResponse():
            return error.status_code in _TRANSIENT_STATUS
        case ResourceExhaustedResponse():
            return True
        case grpc.RpcError():
            return getattr(error, "code", lambda: None)() in _TRANSIENT_GRPC
        case _:
            return False


def _reason(error: Exception) -> str:
    """One line: gRPC's own text is a page."""
    if isinstance(error, grpc.RpcError):
        return str(getattr(error, "details", lambda: error)())
    return str(getattr(error, "source", error)) or type(error).__name__


def _version_numbers(version: str) -> tuple[int, ...]:
    """(1, 16) of "1.16.3-dev"."""
    return tuple(int(part) for part in itertools.takewhile(str.isdigit, version.split(".")[:2]))


def _without_secrets(url: str) -> str:
    """The URL without what may stand before its host and after its path."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" if host else url


def _batched(ids: Sequence[models.ExtendedPointId]) -> Iterator[list[models.ExtendedPointId]]:
    return (list(ids[start : start + _IDS_PER_REQUEST]) for start in range(0, len(ids), _IDS_PER_REQUEST))


def _vectors(embedding: Embedding) -> dict[str, models.Vector]:
    vectors: dict[str, models.Vector] = {
        DENSE: embedding.dense.tolist(),
        LATE: embedding.multi_vector.vectors.tolist(),
    }
    if len(embedding.sparse.indices):
        vectors[SPARSE] = _sparse(embedding.sparse)
    return vectors


def _sparse(vector: SparseVector) -> models.SparseVector:
    return models.SparseVector(indices=vector.indices.tolist(), values=vector.values.tolist())


def _sparse_vector(vectors: object) -> SparseVector:
    stored = vectors.get(SPARSE) if isinstance(vectors, Mapping) else None
    if stored is None:  # a text without a term
        return SparseVector(np.empty(0, np.int64), np.empty(0, np.float32))
    order = np.argsort(stored.indices)  # which a server need not keep
    return SparseVector(np.array(stored.indices, np.int64)[order], np.array(stored.values, np.float32)[order])


DIALECT: Dialect[models.Filter] = Dialect(
    join=models.Filter,
    any_of=lambda key, values: models.FieldCondition(key=key, match=models.MatchAny(any=values)),
    numbers_within=lambda key, bounds: models.FieldCondition(key=key, range=models.Range(**bounds)),
    dates_within=lambda key, bounds: models.FieldCondition(key=key, range=models.DatetimeRange.model_validate(bounds)),
)
