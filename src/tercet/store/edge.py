"""Records in, rankings out, in one directory: Qdrant Edge, the server's engine inside this process.

    kb/
      tercet.json     the manifest: format, engine, the encoder that fills the index
      shard/          Qdrant Edge's own files

The engine is quick and, treated right, safe. What it does not forgive is stopped before it: a value that does not fit
(`tercet.store.checks`), a disk that fills up (it kills the process), a fork (it hangs), a second owner.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import qdrant_edge as edge

from tercet.encoders.base import EncoderSpec
from tercet.errors import CollectionMismatch, StoreError
from tercet.filters import Filter
from tercet.storage import StorageOptions
from tercet.store import edge_repair
from tercet.store.checks import check_records, check_same_encoder, check_same_storage
from tercet.store.conditions import Dialect, translate
from tercet.store.directory import check_free_space, disk_bytes, free_space, make_writable
from tercet.store.edge_shard import (
    EnginePanic,
    index_terms,
    optimize_in_child,
    repair_advice,
    shard_config,
    translated,
)
from tercet.store.layouts import TERCET
from tercet.store.manifest import MANIFEST, Manifest, read_manifest, temporary_manifest, write_manifest
from tercet.store.payload import ENCODER, payload_field, split_by_bytes
from tercet.store.points import Point, PointStore, Search, vectors_of
from tercet.store.readers import ThreadReader
from tercet.types import DENSE, Document, Ranking, Record, Scored, SparseVector

#: Three times as many as asked for are scored anew with whole vectors: twice found all, and three times cost no more.
RESCORED = edge.SearchParams(quantization=edge.QuantizationSearchParams(rescore=True, oversampling=3.0))
FLUSH_EVERY = 2_000  # documents; a flush costs about as much as writing a few hundred


class EdgeStore(PointStore[edge.Filter]):
    """Implements `tercet.store.base.Store` in a directory, which one process at a time can have open.

    Safe to call from several threads: calls wait for each other, as the engine holds the interpreter lock while it
    works. It does not survive a fork; start worker processes by "spawn".
    """

    def __init__(
        self,
        path: Path,
        spec: EncoderSpec,
        shard: edge.EdgeShard,
        *,
        hnsw: bool,
        storage: StorageOptions,
        free_space: Callable[[Path], int],
    ) -> None:
        """For `open`, which is the way to get one."""
        super().__init__(spec, TERCET, DIALECT, storage)
        self._path = path
        self._shard: edge.EdgeShard | None = shard
        self._hnsw = hnsw
        self._free_space = free_space
        self._lock = threading.RLock()
        self._owner = os.getpid()
        self._unflushed = 0
        self._damage: str | None = None
        self._indexed = set(shard.info().payload_schema)

    @classmethod
    def open(
        cls,
        path: str | Path,
        spec: EncoderSpec,
        *,
        create: bool = True,
        hnsw: bool | None = None,
        storage: StorageOptions | None = None,
        free_space: Callable[[Path], int] = free_space,
    ) -> EdgeStore:
        """Open the index at `path`, or make it where there is none and `create` says so.

        Args:
            path: a directory of its own
            spec: of the encoder in use, which must be the one that filled the index
            create: make an index where there is none
            hnsw: search dense vectors by a graph instead of exactly, which pays beyond about 200,000 documents; takes
                effect with the next `compact`. None keeps what the index has, exact for a new one
            storage: how token vectors are kept. None is what the index has, `StorageOptions()` for a new one
            free_space: tells how many bytes the disk has left

        Raises:
            CollectionMismatch: the directory holds something else, vectors of another encoder, or token vectors that
                are kept otherwise.
            StoreLocked: it is open already. StoreReadOnly: it cannot be written. StoreFull: too little disk is left.
            StoreError: there is no index and none is to be made, or the engine cannot open it (see `repair`).
        """
        path = Path(path).expanduser().absolute()
        manifest = read_manifest(path)
        if manifest is None and not create:
            raise StoreError(f"there is no index at {path}; check the path, or make one by adding documents")
        if manifest is not None:
            check_same_encoder(f"the index at {path}", manifest.encoder, spec)
            storage = check_same_storage(f"the index at {path}", manifest.storage, storage)
        storage = storage or StorageOptions()
        make_writable(path, probe=temporary_manifest(path))
        if not (path / "shard").is_dir():
            _check_no_shard_is_missing(path, manifest)
            check_free_space(path, free_space(path), needed=0)
        elif manifest is None:
            with translated(path):
                _check_unclaimed(path, spec, storage)

        stored_hnsw = manifest.hnsw if manifest else False
        wanted_hnsw = stored_hnsw if hnsw is None else hnsw
        shard: edge.EdgeShard | None = None
        try:
            with translated(path):
                config = shard_config(spec, hnsw=wanted_hnsw, storage=storage)
                there = (path / "shard").exists()
                make = edge.EdgeShard.load if there else edge.EdgeShard.create
                shard = make(str(path / "shard"), config)
                index_terms(shard)
            # The shard is locked from here on: no other process writes a manifest now, but one may have before.
            if manifest is None and (theirs := read_manifest(path)):
                check_same_encoder(f"the index at {path}", theirs.encoder, spec)
                check_same_storage(f"the index at {path}", theirs.storage, storage)
            if manifest is None or wanted_hnsw != stored_hnsw:
                write_manifest(path, Manifest(spec, wanted_hnsw, storage))
            return cls(path, spec, shard, hnsw=wanted_hnsw, storage=storage, free_space=free_space)
        except BaseException:
            if shard is not None:
                shard.close()
            raise

    @staticmethod
    def repair(path: str | Path) -> Path | None:
        """Make an index open again whose write-ahead log cannot be replayed: copy what can be read to a new shard.

        What the log held and no flush had written is lost: at most the documents that were added since the last
        `flush`, `close` or 2,000 documents. Add them again; those that are there are skipped. Takes as long as writing
        all documents once, and up to three times their disk. One that was interrupted is finished by the next.

        Returns:
            Where the damaged shard lies now, or None if the index opens and there is nothing to repair.
        """
        return edge_repair.repair(Path(path).expanduser().absolute())

    def upsert(self, records: Sequence[Record]) -> None:
        records = list(map(self._storage.kept, records))
        check_records(records, self._spec)
        points = (Point.of(record, self._fingerprint, self._layout) for record in records)
        with self._undamaged_shard() as shard:
            for batch in split_by_bytes(points, self.max_request_bytes):
                # Written to the log, to a segment, and once more when segments are rebuilt.
                needed = 3 * sum(point.request_bytes for point in batch)
                check_free_space(self._path, self._free_space(self._path), needed=needed)
                written = [
                    edge.Point(point.id, vectors_of(point.embedding, TERCET, _sparse), point.payload) for point in batch
                ]
                with self._guarded():
                    shard.update(edge.UpdateOperation.upsert_points(written))
                    for field, of_dates in self._fields_to_index(point.payload for point in batch):
                        schema = edge.PayloadSchemaType.Datetime if of_dates else edge.PayloadSchemaType.Float
                        shard.update(edge.UpdateOperation.create_field_index(field, schema))
                        self._indexed.add(field)
                self._unflushed += len(batch)
                if self._unflushed >= FLUSH_EVERY:
                    self.flush()

    def _search(self, searches: Sequence[Search], condition: edge.Filter | None) -> list[Ranking]:
        requests = [
            edge.QueryRequest(
                limit=search.limit,
                params=RESCORED if search.stage == DENSE else None,
                query=edge.Query.Nearest(_query_vector(search.vector), using=search.stage),
                filter=condition
                if search.among is None
                else edge.Filter(must=[edge.HasIdCondition(set(search.among))]),
            )
            for search in searches
        ]
        with self._open_shard() as shard:
            with self._guarded():
                answers = shard.query_batch(edge.QueryBatchRequest(requests))
        return [[Scored(str(point.id), point.score) for point in points] for points in answers]

    def delete(self, ids: Sequence[str]) -> int:
        with self._undamaged_shard() as shard:
            there = [point.id for point in self._points(list(map(self.key, ids)), payload=False)]
            if there:
                with self._guarded():
                    shard.update(edge.UpdateOperation.delete_points(there))
            return len(there)

    def delete_where(self, where: Filter) -> int:
        condition = translate(where, DIALECT)
        with self._undamaged_shard() as shard:
            matching = self.count(where)
            with self._guarded():
                shard.update(edge.UpdateOperation.delete_points_by_filter(condition))
            return matching

    def count(self, where: Filter | None = None) -> int:
        # Not info().points_count, which counts some points twice after an unclean stop.
        condition = self._condition(where)
        with self._open_shard() as shard, self._guarded():
            return shard.count(edge.CountRequest(exact=True, filter=condition))

    def scroll(self, where: Filter | None = None, *, batch_size: int = 256) -> Iterator[Document]:
        condition = self._condition(where)
        offset: Any = None
        while True:
            # The lock is held for a page, not for as long as the caller takes to read it.
            with self._open_shard() as shard, self._guarded():
                points, offset = shard.scroll(
                    edge.ScrollRequest(
                        offset=offset, limit=batch_size, filter=condition, with_payload=True, with_vector=False
                    )
                )
            yield from (self._layout.document_of(point.payload, point.id) for point in points)
            if offset is None:
                return

    def flush(self) -> None:
        with self._open_shard() as shard, self._guarded():
            shard.flush()
            self._unflushed = 0

    def compact(self) -> None:
        """Rebuild the engine's segments in a child process, for which the index is closed and then opened again.

        Other threads go on; those that ask this store wait. Takes as much disk again while it works.
        """
        with self._undamaged_shard():
            shard = self._path / "shard"
            check_free_space(self._path, self._free_space(self._path), needed=disk_bytes(shard))
            try:
                self.close()
                optimize_in_child(shard)
            finally:
                with translated(self._path):
                    self._shard = edge.EdgeShard.load(str(shard))

    def describe(self) -> Mapping[str, object]:
        return {
            "engine": f"qdrant-edge {version('qdrant-edge-py')}",
            "path": str(self._path),
            "documents": self.count(),
            "encoder": self._spec.name,
            "dense index": "hnsw" if self._hnsw else "scan",
            "token vectors": str(self._storage),
            "disk bytes": disk_bytes(self._path),
        }

    def reader(self) -> ThreadReader:
        return ThreadReader(self)

    async def aclose(self) -> None:
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        # A forked child must not touch what its parent has open.
        if os.getpid() != self._owner:
            return
        with self._lock:
            if self._shard is not None:
                shard, self._shard = self._shard, None
                with translated(self._path):
                    try:
                        shard.flush()
                    finally:
                        shard.close()

    def __repr__(self) -> str:
        return f"EdgeStore({str(self._path)!r}, encoder={self._spec.name!r})"

    def _points(
        self, keys: Sequence[str], *, payload: bool | list[str], vectors: list[str] | None = None
    ) -> list[edge.Record]:
        with self._open_shard() as shard, self._guarded():
            return shard.retrieve(list(dict.fromkeys(keys)), payload, vectors or False)

    @contextmanager
    def _open_shard(self) -> Iterator[edge.EdgeShard]:
        # Before the lock: a thread of the parent may have held it when the child was made.
        if os.getpid() != self._owner:
            raise StoreError(
                f"{self._path} was opened before this process was forked, in which the engine would hang; open the "
                f"index in the child, or start it with multiprocessing.get_context('spawn')"
            )
        with self._lock:
            if self._shard is None:
                raise StoreError(f"{self._path} is closed; open it again")
            yield self._shard

    @contextmanager
    def _undamaged_shard(self) -> Iterator[edge.EdgeShard]:
        """For what changes the index: after a panic only reading goes on."""
        with self._open_shard() as shard:
            if self._damage is not None:
                raise StoreError(
                    f"{self._path} takes no more changes since the engine failed ({self._damage}); "
                    f"close it, {repair_advice(self._path)} and open it again"
                )
            yield shard

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Turn the engine's failures into ours, and remember a panic."""
        try:
            with translated(self._path):
                yield
        except EnginePanic as panic:
            self._damage = str(panic.__cause__)
            # The operation that failed stands in the log and fails again when the index is opened, even after a clean
            # close. With all that was acknowledged flushed, a repair, which drops the log, then loses nothing.
            if self._shard is not None:
                with translated(self._path):
                    self._shard.flush()
            raise


def _check_no_shard_is_missing(path: Path, manifest: Manifest | None) -> None:
    if edge_repair.unfinished_repair(path):
        raise StoreError(f"a repair of {path} was interrupted; {repair_advice(path)}, which finishes it")
    if manifest is not None:
        raise StoreError(
            f"{path} has a manifest but no shard, which holds the documents; "
            f"put it back, or delete {path / MANIFEST} to start with an empty index"
        )


def _check_unclaimed(path: Path, spec: EncoderSpec, storage: StorageOptions) -> None:
    """A shard without a manifest is what an interrupted `open` left, or has lost its manifest: its points tell."""
    shard = edge.EdgeShard.load(str(path / "shard"))
    try:
        points, _ = shard.scroll(edge.ScrollRequest(limit=1, with_payload=True, with_vector=False))
    finally:
        shard.close()
    for point in points:
        expected = storage.fingerprint(spec.fingerprint)
        if (fingerprint := payload_field(point.payload, ENCODER)) != expected:
            raise CollectionMismatch(
                f"the index at {path} lost its {MANIFEST} and was filled by an encoder with fingerprint {fingerprint}, "
                f"but {spec.name!r} has {expected}; use the encoder, and the merge_tokens, that filled it, or another "
                f"directory"
            )


def _only(point_ids: Iterable[str]) -> edge.Filter:
    return edge.Filter(must=[edge.HasIdCondition(set(point_ids))])


def _query_vector(vector: Any) -> Any:  # noqa: ANN401 the binding's stub knows fewer kinds than the binding
    return _sparse(vector) if isinstance(vector, SparseVector) else vector.tolist()


def _sparse(vector: SparseVector) -> edge.SparseVector:
    return edge.SparseVector(vector.indices.tolist(), vector.values.tolist())


DIALECT: Dialect[edge.Filter] = Dialect(
    join=edge.Filter,
    any_of=lambda key, values: edge.FieldCondition(key, match=edge.MatchAny(values)),
    numbers_within=lambda key, bounds: edge.FieldCondition(key, range=edge.RangeFloat(**bounds)),
    dates_within=lambda key, bounds: edge.FieldCondition(key, range=edge.RangeDateTime(**bounds)),
)
