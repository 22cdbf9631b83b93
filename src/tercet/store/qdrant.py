"""Records in, rankings out, on a Qdrant server: for indexes that outgrow one machine or have several readers.

The encoder's spec lies in the collection's metadata, which servers keep since 1.16. An older server drops it; there the
fingerprint that every point carries tells whose vectors these are. That is enough: an empty collection cannot be mixed,
and a filled one is told by any of its points.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import math
import re
import textwrap
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import grpc  # type: ignore[import-untyped]
import httpx
from qdrant_client import AsyncQdrantClient, QdrantClient, models
from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from tercet.encoders.base import EncoderSpec
from tercet.errors import CollectionMismatch, StoreError, StoreUnavailable
from tercet.filters import Filter
from tercet.storage import LateBits, StorageOptions, merge_tokens_of
from tercet.store.base import Reader
from tercet.store.checks import check_records, check_same_encoder, check_same_storage
from tercet.store.conditions import Dialect, translate
from tercet.store.layouts import TERCET, Layout
from tercet.store.manifest import encoder_of, self_description, storage_of
from tercet.store.payload import (
    ENCODER,
    TERMS,
    payload_field,
    split_by_bytes,
)
from tercet.store.points import Point, PointStore, Search, vectors_of
from tercet.store.readers import ThreadReader, run_at_once
from tercet.types import DENSE, LATE, SPARSE, Document, Ranking, Record, Scored, SparseVector

#: Multi-vectors, the query API and half-precision sparse indexes.
OLDEST_VERSION = (1, 12)

#: Servers, and clients, that know TurboQuant codes as what is stored, by bits.
_BITS_SINCE = {4: (1, 19), 8: (1, 20)}

_PAUSES_SECONDS = (0.1, 0.4, 1.6)  # between four attempts
_LONGEST_PAUSE_SECONDS = 30  # whatever the server asks for
_IDS_PER_REQUEST = 1_000
_TRANSIENT_STATUS = frozenset({429, 502, 503, 504})
_TRANSIENT_GRPC = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}
)

_logger = logging.getLogger(__name__)
Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


class QdrantStore(PointStore[models.Filter]):
    """Implements `tercet.store.base.Store` over qdrant-client, REST or gRPC. Safe to call from several threads.

    Requests that fail for a passing reason are repeated, which is harmless: each of them, written twice, leaves what
    written once it would have left.
    """

    def __init__(
        self,
        client: QdrantClient,
        collection: str,
        spec: EncoderSpec,
        layout: Layout,
        *,
        place: str,
        version: str,
        storage: StorageOptions | None = None,
    ) -> None:
        """For `open`, which is the way to get one."""
        super().__init__(spec, layout, DIALECT, storage or StorageOptions())
        self._asked_storage = storage
        self._client = client
        self._collection = collection
        self._place = place
        self._version = version
        self._owns_client = False
        # Its connections belong to the loop on which they were made.
        self._async_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncQdrantClient] = WeakKeyDictionary()
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
        storage: StorageOptions | None = None,
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
            storage: how token vectors are kept. None is what the collection has, `StorageOptions()` for a new one

        Raises:
            CollectionMismatch: the collection holds something else, vectors of another encoder, or token vectors that
                are kept otherwise.
            StoreUnavailable: the server does not answer.
            StoreError: there is no such collection and none is to be made, or the server refuses.
            ValueError: the URL is none.
        """
        client, place = connect(server, api_key=api_key, prefer_grpc=prefer_grpc, timeout_seconds=timeout_seconds)
        store = cls(client, collection, spec, TERCET, place=place, version="", storage=storage)
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
                    f"there is no collection {collection!r} at {place}; check the name, or make one by adding documents"
                )
            if TERMS not in store._indexed:  # also where its maker was killed before
                store._create_index(TERMS, models.PayloadSchemaType.KEYWORD)
        except BaseException:
            store.close()
            raise
        return store

    def upsert(self, records: Sequence[Record]) -> None:
        records = list(map(self._storage.kept, records))
        check_records(records, self._spec)
        points = (Point.of(record, self._fingerprint, self._layout) for record in records)
        for batch in split_by_bytes(points, self.max_request_bytes):
            written = [
                models.PointStruct(id=point.id, vector=self._vectors(point), payload=point.payload) for point in batch
            ]
            self._ask(self._client.upsert, self._collection, written, wait=True)
            for field, of_dates in self._fields_to_index(point.payload for point in batch):
                kind = models.PayloadSchemaType
                self._create_index(field, kind.DATETIME if of_dates else kind.FLOAT)

    def _vectors(self, point: Point) -> dict[str, Any]:
        return vectors_of(point.embedding, self._layout, _sparse)

    def _search(self, searches: Sequence[Search], condition: models.Filter | None) -> list[Ranking]:
        requests = _query_requests(searches, condition, self._layout)
        answers = self._ask(self._client.query_batch_points, self._collection, requests)
        return _rankings(answers)

    def delete(self, ids: Sequence[str]) -> int:
        there = [point.id for point in self._points(list(map(self.key, ids)), payload=False)]
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
        condition = self._condition(where)
        return self._ask(self._client.count, self._collection, condition, exact=True).count

    def scroll(self, where: Filter | None = None, *, batch_size: int = 256) -> Iterator[Document]:
        condition = self._condition(where)
        offset = None
        while True:
            points, offset = self._ask(
                self._client.scroll, self._collection, condition, limit=batch_size, offset=offset, with_payload=True
            )
            yield from (self._layout.document_of(point.payload, point.id) for point in points)
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
            "token vectors": str(self._storage),
        }

    def reader(self) -> Reader:
        """Over an asynchronous client for each event loop; over the client's local mode, which has none, in threads."""
        if _is_local(self._client):
            return ThreadReader(self)
        loop = asyncio.get_running_loop()
        if loop not in self._async_clients:
            self._async_clients[loop] = AsyncQdrantClient(**self._client.init_options)
        return self._questions(_AsyncEngine(self, self._async_clients[loop]))

    def close(self) -> None:
        if self._owns_client:
            self._client.close()

    async def aclose(self) -> None:
        if client := self._async_clients.pop(asyncio.get_running_loop(), None):
            await client.close()
        await asyncio.to_thread(self.close)

    def __repr__(self) -> str:
        return f"QdrantStore({self._place!r}, {self._collection!r}, encoder={self._spec.name!r})"

    def _ask(self, request: Callable[Arguments, Answer], *args: Arguments.args, **options: Arguments.kwargs) -> Answer:
        """Send a request, again if it fails for a passing reason; failures come out as ours."""

        async def attempt() -> Answer:
            with self._turn:
                return request(*args, **options)

        async def pause(seconds: float) -> None:
            time.sleep(seconds)

        return run_at_once(self._insist(attempt, pause))

    async def _insist(
        self, attempt: Callable[[], Awaitable[Answer]], pause: Callable[[float], Awaitable[None]]
    ) -> Answer:
        pauses = iter(_PAUSES_SECONDS)
        while True:
            try:
                return await attempt()
            except (
                ResponseHandlingException,
                UnexpectedResponse,
                QdrantException,  # told to come later
                grpc.RpcError,
                ValueError,  # of the client's local mode
                RuntimeError,  # of a client that is closed
            ) as error:
                if not _is_transient(error):
                    raise StoreError(
                        f"{self._place} refused a request on {self._collection!r}: {_reason(error)}{_advice(error)}"
                    ) from error
                next_pause = next(pauses, None)
                if next_pause is None:
                    raise StoreUnavailable(
                        f"{self._place} does not answer ({_reason(error)}); "
                        f"check that the server runs and can be reached, then try again"
                    ) from error
                wait = min(max(next_pause, getattr(error, "retry_after_s", 0)), _LONGEST_PAUSE_SECONDS)
                _logger.info("%s: %s, next attempt in %.1f s", self._place, _reason(error), wait)
                await pause(wait)

    def _points(
        self, keys: Sequence[str], *, payload: bool | list[str], vectors: list[str] | None = None
    ) -> list[models.Record]:
        return [
            point
            for batch in _batched(list(dict.fromkeys(keys)))
            for point in self._ask(
                self._client.retrieve, self._collection, batch, with_payload=payload, with_vectors=vectors or False
            )
        ]

    def _check_version(self) -> None:
        if version_numbers(self._version) < OLDEST_VERSION:
            oldest = ".".join(map(str, OLDEST_VERSION))
            raise StoreError(f"{self._place} runs Qdrant {self._version}, tercet needs {oldest} or newer; update it")

    def _late_datatype(self) -> str:
        """The engine's name for the bits of a token vector's numbers; raises StoreError where it is too old."""
        bits = self._storage.late_bits
        if bits == 16:
            return "float16"
        since = _BITS_SINCE[bits]
        name = f"turbo{bits}"
        oldest = ".".join(map(str, since))
        if version_numbers(self._version) < since:
            raise StoreError(
                f"{self._place} runs Qdrant {self._version}, which cannot keep vectors with {bits} bits a number "
                f"({oldest} can); update it, or leave late_bits at 16"
            )
        if name not in {datatype.value for datatype in models.Datatype}:
            raise StoreError(f"late_bits={bits} needs qdrant-client {oldest} or newer; pip install -U qdrant-client")
        return name

    def _create_collection(self) -> None:
        datatype = models.Datatype(self._late_datatype())
        try:
            self._ask(
                self._client.create_collection,
                self._collection,
                vectors_config={
                    DENSE: models.VectorParams(size=self._spec.dense_dim, distance=models.Distance.COSINE),
                    LATE: models.VectorParams(
                        size=self._spec.late_dim,
                        distance=models.Distance.DOT,
                        datatype=datatype,
                        multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
                        # Only ever scores given ids: a graph over all tokens would take hours and serve nobody.
                        hnsw_config=models.HnswConfigDiff(m=0),
                        on_disk=True,
                    ),
                },
                sparse_vectors_config={
                    SPARSE: models.SparseVectorParams(index=models.SparseIndexParams(datatype=models.Datatype.FLOAT16))
                },
                metadata={"tercet": self_description(self._spec, self._storage)},
            )
        except StoreError:
            # Another process may have been quicker; then what it made is what counts.
            if not self._ask(self._client.collection_exists, self._collection):
                raise
            self._check_collection()

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
        if described := (config.metadata or {}).get("tercet"):
            check_same_encoder(where, encoder_of(described, where), self._spec)
            self._storage = check_same_storage(where, storage_of(described, where), self._asked_storage)
            return
        points, _ = self._ask(self._client.scroll, self._collection, limit=1, with_payload=[ENCODER])
        self._adopt_storage(where, vectors[LATE].datatype, points)
        for point in points:
            fingerprint = payload_field(point.payload, ENCODER)
            if fingerprint != self._fingerprint:
                raise CollectionMismatch(
                    f"{where} was filled by an encoder with fingerprint {fingerprint}, but {self._spec.name!r} has "
                    f"{self._fingerprint}; use the encoder that filled it, or index the documents again"
                )

    def _adopt_storage(self, where: str, datatype: models.Datatype | None, filled: Sequence[models.Record]) -> None:
        """Keep token vectors as a collection does that has no description: its bits, and what a filled point says."""
        bits: LateBits = {"turbo8": 8, "turbo4": 4}.get(str(getattr(datatype, "value", datatype)), 16)  # type: ignore[assignment]
        factor = self._storage.merge_tokens
        for point in filled:
            factor = merge_tokens_of(payload_field(point.payload, ENCODER))
        stored = StorageOptions(merge_tokens=factor, late_bits=bits)
        self._storage = check_same_storage(where, stored, self._asked_storage)


class _AsyncEngine:
    """Implements `tercet.store.points.Engine` by the asynchronous client."""

    def __init__(self, store: QdrantStore, client: AsyncQdrantClient) -> None:
        self._store = store
        self._client = client

    async def search(self, searches: Sequence[Search], condition: models.Filter | None) -> list[Ranking]:
        requests = _query_requests(searches, condition, self._store._layout)
        answers = await self._ask(self._client.query_batch_points, self._store._collection, requests)
        return _rankings(answers)

    async def points(
        self, keys: Sequence[str], *, payload: bool | list[str], vectors: list[str] | None = None
    ) -> list[models.Record]:
        points: list[models.Record] = []
        for batch in _batched(list(dict.fromkeys(keys))):
            points += await self._ask(
                self._client.retrieve,
                self._store._collection,
                batch,
                with_payload=payload,
                with_vectors=vectors or False,
            )
        return points

    async def _ask(
        self, request: Callable[Arguments, Awaitable[Answer]], *args: Arguments.args, **options: Arguments.kwargs
    ) -> Answer:
        return await self._store._insist(lambda: request(*args, **options), asyncio.sleep)


def _query_requests(
    searches: Sequence[Search], condition: models.Filter | None, layout: Layout
) -> list[models.QueryRequest]:
    return [
        models.QueryRequest(
            query=_query_vector(search.vector),
            using=layout.vectors[search.stage],
            limit=search.limit,
            filter=condition if search.among is None else _only(search.among),
            with_payload=False,
        )
        for search in searches
    ]


def _rankings(answers: Sequence[models.QueryResponse]) -> list[Ranking]:
    return [[Scored(str(point.id), point.score) for point in answer.points] for answer in answers]


def connect(
    server: str | QdrantClient, *, api_key: str | None, prefer_grpc: bool, timeout_seconds: float
) -> tuple[QdrantClient, str]:
    """A client, and where it asks, for people: never with a secret. Raises ValueError for what is no address."""
    if isinstance(server, QdrantClient):
        return server, "the given client"
    place = _without_secrets(server)
    try:
        client = QdrantClient(
            url=server,
            api_key=api_key,
            prefer_grpc=prefer_grpc,
            timeout=math.ceil(timeout_seconds),
            check_compatibility=False,  # asked once, when a store is opened, and not in a thread that warns
        )
    except ValueError:
        # Not from the cause, which quotes a part of the address: a password, perhaps.
        raise ValueError(f"{place!r} is no address of a Qdrant server; write it like http://localhost:6333") from None
    return client, place


def _is_local(client: QdrantClient) -> bool:
    return client.init_options.get("location") == ":memory:" or client.init_options.get("path") is not None


def _is_transient(error: Exception) -> bool:
    match error:
        case ResponseHandlingException():
            return isinstance(error.source, httpx.TransportError)
        case UnexpectedResponse():
            return error.status_code in _TRANSIENT_STATUS
        case QdrantException():
            return True
        case grpc.RpcError():
            return getattr(error, "code", lambda: None)() in _TRANSIENT_GRPC
        case _:
            return False


def _reason(error: Exception) -> str:
    """One line: REST's own text is three, gRPC's a page."""
    match error:
        case UnexpectedResponse():
            text = f"{error.status_code} {error.reason_phrase}: {_words(error.content)}"
        case ResponseHandlingException():
            text = str(error.source) or type(error.source).__name__
        case grpc.RpcError():
            text = str(getattr(error, "details", lambda: error)())
        case _:
            text = str(error) or type(error).__name__
    return textwrap.shorten(text, 300, placeholder=" …")


def _words(content: bytes) -> str:
    """The message in the body of an answer, as Qdrant or a proxy before it writes one."""
    text = content.decode(errors="replace")
    try:
        return str(json.loads(text)["status"]["error"])
    except (ValueError, LookupError, TypeError):
        return text


def _advice(error: Exception) -> str:
    denied = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
    status = error.status_code if isinstance(error, UnexpectedResponse) else getattr(error, "code", lambda: None)()
    return (
        "; check the API key (api_key, or QDRANT_API_KEY on the command line)" if status in (401, 403, *denied) else ""
    )


def version_numbers(version: str) -> tuple[int, ...]:
    """(1, 16) of "1.16.3-dev"."""
    return tuple(int(part) for part in itertools.takewhile(str.isdigit, version.split(".")[:2]))


def _without_secrets(url: str) -> str:
    """The URL without what may stand before its host and after its path, also where it is no good URL."""
    scheme, separator, rest = url.rpartition("://")
    return scheme + separator + re.split("[?#]", rest.rpartition("@")[2])[0]


def _batched(ids: Sequence[models.ExtendedPointId]) -> Iterator[list[models.ExtendedPointId]]:
    return (list(ids[start : start + _IDS_PER_REQUEST]) for start in range(0, len(ids), _IDS_PER_REQUEST))


def _only(point_ids: Iterable[str]) -> models.Filter:
    return models.Filter(must=[models.HasIdCondition(has_id=list(point_ids))])


def _query_vector(vector: Any) -> Any:  # noqa: ANN401 the client's type lists each kind twice
    return _sparse(vector) if isinstance(vector, SparseVector) else vector.tolist()


def _sparse(vector: SparseVector) -> models.SparseVector:
    return models.SparseVector(indices=vector.indices.tolist(), values=vector.values.tolist())


DIALECT: Dialect[models.Filter] = Dialect(
    join=models.Filter,
    any_of=lambda key, values: models.FieldCondition(key=key, match=models.MatchAny(any=values)),
    numbers_within=lambda key, bounds: models.FieldCondition(key=key, range=models.Range(**bounds)),
    dates_within=lambda key, bounds: models.FieldCondition(key=key, range=models.DatetimeRange.model_validate(bounds)),
)
