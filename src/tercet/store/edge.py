"""Records in, rankings out, in one directory: Qdrant Edge, the server's engine inside this process.

    kb/
      tercet.json     the manifest: format, engine, the encoder that fills the index
      shard/          Qdrant Edge's own files

The engine is quick and, treated right, safe. What it does not forgive is stopped here: a value that does not fit
(`tercet.store.checks`), a disk that fills up (it kills the process), a fork (it hangs), a second owner.
"""

from __future__ import annotations

import errno
import itertools
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

import numpy as np
import qdrant_edge as edge

from tercet.encoders.base import EncoderSpec
from tercet.errors import CollectionMismatch, StoreError, StoreFull, StoreLocked, StoreReadOnly
from tercet.filters import Filter
from tercet.store import _optimize
from tercet.store.checks import check_embedding, check_multi_vector, check_records, check_same_encoder
from tercet.store.conditions import Dialect, translate
from tercet.store.payload import (
    CONTENT_HASH,
    DATES,
    DOCUMENT_ID,
    MAX_RANGE_INDEXES,
    TERMS,
    document_of,
    payload_field,
    payload_of,
    point_id,
    range_fields,
    request_bytes,
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

MANIFEST = "tercet.json"
FORMAT = 1
FLUSH_EVERY = 2_000  # documents; a flush costs about as much as writing a few hundred

_MAX_BATCH_BYTES = 16_000_000
#: The engine maps its files ahead of use and dies of SIGBUS where the disk cannot follow.
_FREE_SPACE_RESERVE = 256 << 20

_PointId: TypeAlias = UUID | int | str

_logger = logging.getLogger(__name__)


def free_space(path: Path) -> int:
    """Bytes that can be written to the disk of `path`."""
    return shutil.disk_usage(path).free


class EdgeStore:
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
        free_space: Callable[[Path], int],
    ) -> None:
        """For `open` and `repair`, which are the ways to get one."""
        self._path = path
        self._spec = spec
        self._shard: edge.EdgeShard | None = shard
        self._hnsw = hnsw
        self._free_space = free_space
        self._lock = threading.RLock()
        self._owner = os.getpid()
        self._unflushed = 0
        self._damage: str | None = None
        self._indexed = set(shard.info().payload_schema)
        # Reading ids out of 200 payloads takes three times as long as the search. They never change, so each is read
        # once: some 200 bytes for a document that has ever been found.
        self._document_ids: dict[_PointId, str] = {}

    @classmethod
    def open(
        cls,
        path: str | Path,
        spec: EncoderSpec,
        *,
        create: bool = True,
        hnsw: bool | None = None,
        free_space: Callable[[Path], int] = free_space,
    ) -> EdgeStore:
        """Open the index at `path`, or make it where there is none and `create` says so.

        Args:
            path: a directory of its own
            spec: of the encoder in use, which must be the one that filled the index
            create: make an index where there is none
            hnsw: search dense vectors by a graph instead of exactly, which pays beyond about 200,000 documents; takes
                effect with the next `compact`. None keeps what the index has, exact for a new one
            free_space: tells how many bytes the disk has left

        Raises:
            CollectionMismatch: the directory holds something else, or vectors of another encoder.
            StoreLocked: it is open already. StoreReadOnly: it cannot be written. StoreFull: too little disk is left.
            StoreError: there is no index and none is to be made, or the engine cannot open it (see `repair`).
        """
        path = Path(path).expanduser().absolute()
        manifest = _read_manifest(path)
        if manifest is None and not create:
            raise StoreError(f"there is no index at {path}; check the path, or pass create=True to make one")
        if manifest is not None:
            check_same_encoder(f"the index at {path}", manifest.encoder, spec)
        stored_hnsw = manifest.hnsw if manifest else False
        wanted_hnsw = stored_hnsw if hnsw is None else hnsw

        _make_writable(path)
        if manifest is not None and not (path / "shard").is_dir():
            raise StoreError(
                f"{path} has a manifest but no shard, which holds the documents; "
                f"put it back, or delete {path / MANIFEST} to start with an empty index"
            )
        with _translated(path):
            if (path / "shard").exists():
                shard = edge.EdgeShard.load(str(path / "shard"), _config(spec, wanted_hnsw))
            else:
                _check_free_space(path, free_space(path), 0)
                shard = edge.EdgeShard.create(str(path / "shard"), _config(spec, wanted_hnsw))
                shard.update(edge.UpdateOperation.create_field_index(TERMS, edge.PayloadSchemaType.Keyword))
        # The shard is locked from here on, so that no other process writes another manifest meanwhile.
        if manifest is None or wanted_hnsw != stored_hnsw:
            _write_manifest(path, _Manifest(spec, wanted_hnsw))
        return cls(path, spec, shard, hnsw=wanted_hnsw, free_space=free_space)

    @staticmethod
    def repair(path: str | Path) -> Path | None:
        """Make an index open again whose write-ahead log cannot be replayed: copy what can be read to a new shard.

        What the log held and no flush had written is lost: at most the documents that were added since the last
        `flush`, `close` or 2,000 documents. Add them again; those that are there are skipped. Takes as long as writing
        all documents once, and as much disk again.

        Returns:
            Where the damaged shard lies now, or None if the index opens and there is nothing to repair.
        """
        path = Path(path).expanduser().absolute()
        manifest = _read_manifest(path)
        if manifest is None:
            raise StoreError(f"there is no index at {path} that could be repaired")
        try:
            with _translated(path):
                edge.EdgeShard.load(str(path / "shard")).close()
            return None
        except (StoreLocked, StoreReadOnly):
            raise
        except StoreError:
            _check_free_space(path, free_space(path), _disk_bytes(path))
            with _translated(path):
                return _rebuild(path, manifest)

    def upsert(self, records: Sequence[Record]) -> None:
        check_records(records, self._spec)
        with self._open_shard() as shard:
            if self._damage is not None:
                raise StoreError(
                    f"{self._path} takes no more writes since the engine failed ({self._damage}); "
                    f"close it, run EdgeStore.repair({str(self._path)!r}) and open it again"
                )
            for batch in split_by_bytes(records, _MAX_BATCH_BYTES):
                _check_free_space(self._path, self._free_space(self._path), sum(map(request_bytes, batch)))
                payloads = [payload_of(record, self._spec.fingerprint) for record in batch]
                points = [
                    edge.Point(point_id(record.document.id), _vectors(record.embedding), payload)
                    for record, payload in zip(batch, payloads, strict=True)
                ]
                with self._guarded():
                    shard.update(edge.UpdateOperation.upsert_points(points))
                    for field in sorted(range_fields(payloads) - self._indexed)[: self._free_indexes()]:
                        kind = edge.PayloadSchemaType
                        schema = kind.Datetime if field.startswith(DATES) else kind.Float
                        shard.update(edge.UpdateOperation.create_field_index(field, schema))
                        self._indexed.add(field)
                self._unflushed += len(batch)
                if self._unflushed >= FLUSH_EVERY:
                    self.flush()

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

        def request(position: int, wider: int) -> edge.QueryRequest:
            number, stage = asked[position]
            vector = _sparse(queries[number].sparse) if stage == SPARSE else queries[number].dense.tolist()
            return edge.QueryRequest(limit=wider, query=edge.Query.Nearest(vector, using=stage), filter=condition)

        def ask(requests: list[edge.QueryRequest]) -> list[Ranking]:
            with self._open_shard() as shard:
                with self._guarded():
                    answers = shard.query_batch(edge.QueryBatchRequest(requests))
                names = self._names({point.id for points in answers for point in points})
            return [[Scored(names[point.id], point.score) for point in points] for points in answers]

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
                edge.QueryRequest(
                    limit=max(1, len(by_point)),
                    query=edge.Query.Nearest(multi_vector.vectors.tolist(), using=LATE),
                    filter=edge.Filter(must=[edge.HasIdCondition(set(by_point))]),
                )
            )
        with self._open_shard() as shard, self._guarded():
            answers = shard.query_batch(edge.QueryBatchRequest(requests))
        return [
            ranked([(by_point[str(point.id)], point.score) for point in points])
            for points, by_point in zip(answers, documents_by_point, strict=True)
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
        with self._open_shard() as shard:
            there = [point.id for point in self._points(ids, payload=False)]
            if there:
                with self._guarded():
                    shard.update(edge.UpdateOperation.delete_points(there))
            return len(there)

    def delete_where(self, where: Filter) -> int:
        condition = translate(where, DIALECT)
        with self._open_shard() as shard:
            matching = self.count(where)
            with self._guarded():
                shard.update(edge.UpdateOperation.delete_points_by_filter(condition))
            return matching

    def count(self, where: Filter | None = None) -> int:
        # Not info().points_count, which counts some points twice after an unclean stop.
        condition = None if where is None else translate(where, DIALECT)
        with self._open_shard() as shard, self._guarded():
            return shard.count(edge.CountRequest(exact=True, filter=condition))

    def scroll(self, where: Filter | None = None, *, batch_size: int = 256) -> Iterator[Document]:
        condition = None if where is None else translate(where, DIALECT)
        offset: Any = None
        while True:
            # The lock is held for a page, not for as long as the caller takes to read it.
            with self._open_shard() as shard, self._guarded():
                points, offset = shard.scroll(
                    edge.ScrollRequest(
                        offset=offset, limit=batch_size, filter=condition, with_payload=True, with_vector=False
                    )
                )
            yield from (document_of(point.payload) for point in points)
            if offset is None:
                return

    def flush(self) -> None:
        with self._open_shard() as shard, self._guarded():
            shard.flush()
            self._unflushed = 0

    def compact(self) -> None:
        """Rebuild the engine's segments in a child process, for which the index is closed and then opened again.

        In this process the engine would hold the interpreter lock throughout, 6 seconds for 50,000 documents and a
        minute with HNSW. Other threads go on; those that ask this store wait.
        """
        with self._open_shard():
            self.close()
            try:
                # A script by its path, not multiprocessing: that would import the caller's main module once more.
                subprocess.run(
                    [sys.executable, "-P", _optimize.__file__, str(self._path / "shard")],
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                    check=True,
                    capture_output=True,
                    text=True,
                )
            except subprocess.CalledProcessError as error:
                last_line = (error.stderr or "").strip().splitlines()[-1:] or [f"exit status {error.returncode}"]
                raise StoreError(f"{self._path} could not be compacted: {last_line[0]}") from error
            finally:
                with _translated(self._path):
                    self._shard = edge.EdgeShard.load(str(self._path / "shard"))
                self._damage = None

    def describe(self) -> Mapping[str, object]:
        return {
            "engine": f"qdrant-edge {version('qdrant-edge-py')}",
            "path": str(self._path),
            "documents": self.count(),
            "encoder": self._spec.name,
            "dense index": "hnsw" if self._hnsw else "exact",
            "disk bytes": _disk_bytes(self._path),
        }

    def close(self) -> None:
        # A forked child must not touch what its parent has open.
        if os.getpid() != self._owner:
            return
        with self._lock:
            if self._shard is not None:
                shard, self._shard = self._shard, None
                with self._guarded():
                    shard.flush()
                    shard.close()

    def __repr__(self) -> str:
        return f"EdgeStore({str(self._path)!r}, encoder={self._spec.name!r})"

    def _free_indexes(self) -> int:
        return max(0, MAX_RANGE_INDEXES + 1 - len(self._indexed))  # one is that of the terms

    def _names(self, point_ids: Iterable[_PointId]) -> Mapping[_PointId, str]:
        if unread := [id for id in point_ids if id not in self._document_ids]:
            with self._open_shard() as shard, self._guarded():
                points = shard.retrieve(unread, [DOCUMENT_ID], False)
            self._document_ids.update((point.id, payload_field(point.payload, DOCUMENT_ID)) for point in points)
        return self._document_ids

    def _points(
        self, ids: Sequence[str], *, payload: bool | list[str], vectors: list[str] | None = None
    ) -> list[edge.Record]:
        points = list(dict.fromkeys(map(point_id, ids)))
        with self._open_shard() as shard, self._guarded():
            return shard.retrieve(list(points), payload, vectors or False)

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
    def _guarded(self) -> Iterator[None]:
        """Turn the engine's failures into ours; after a panic only reading goes on."""
        try:
            with _translated(self._path):
                yield
        except _Panic as panic:
            self._damage = str(panic.__cause__)
            # The operation that failed stands in the log and fails again when the index is opened, even after a clean
            # close. With all that was acknowledged flushed, a repair, which drops the log, then loses nothing.
            if self._shard is not None:
                with _translated(self._path):
                    self._shard.flush()
            raise


class _Panic(StoreError):
    """A panic of the engine's Rust code, which arrives as a BaseException."""


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        raise _os_error(path, error) from error
    except Exception as error:
        # The binding raises plain Exceptions that differ in their text alone.
        message = str(error)
        if "WouldBlock" in message:
            raise StoreLocked(
                f"{path} is already open, in another process or by another store object in this one; close that one "
                f"first. One process at a time can have an index open, for more of them use a Qdrant server"
            ) from error
        for text, code in (
            ("Read-only file system", errno.EROFS),
            ("Permission denied", errno.EACCES),
            ("No space left", errno.ENOSPC),
        ):
            if text in message:
                raise _os_error(path, OSError(code, message)) from error
        raise StoreError(
            f"the engine refused {path}: {message}; if the index does not open any more, "
            f"run EdgeStore.repair({str(path)!r})"
        ) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # pyo3 gives the class no importable name
            raise
        raise _Panic(
            f"the engine failed on {path}: {error}; "
            f"close the index, run EdgeStore.repair({str(path)!r}) and open it again"
        ) from error


def _os_error(path: Path, error: OSError) -> StoreError:
    match error.errno:
        case errno.EROFS | errno.EACCES | errno.EPERM:
            return StoreReadOnly(
                f"{path} cannot be written ({error.strerror}); the engine writes even to read, "
                f"so copy the index to a place that can be"
            )
        case errno.ENOSPC | errno.EDQUOT:
            return StoreFull(f"the disk of {path} is full; free some space and add the documents again")
        case _:
            return StoreError(f"{path} cannot be used: {error}")


def _check_free_space(path: Path, free: int, batch_bytes: int) -> None:
    # A batch is written to the log, to a segment, and once more when segments are rebuilt.
    needed = _FREE_SPACE_RESERVE + 3 * batch_bytes
    if free < needed:
        raise StoreFull(
            f"the disk of {path} has {free / 2**20:,.0f} MiB left, writing safely takes {needed / 2**20:,.0f} MiB; "
            f"free some space, what was written is safe"
        )


def _disk_bytes(path: Path) -> int:
    """What the files really take: the engine's are sparse, their lengths tell several times as much."""
    files = (file.stat() for file in path.rglob("*") if file.is_file())
    return sum(getattr(file, "st_blocks", file.st_size // 512) * 512 for file in files)


@dataclass(frozen=True, slots=True)
class _Manifest:
    """What tercet.json says."""

    encoder: EncoderSpec
    hnsw: bool


def _read_manifest(path: Path) -> _Manifest | None:
    """None where a new index can be made: there is nothing, or only what an interrupted `open` left."""
    file = path / MANIFEST
    try:
        if not file.exists():
            # The shard is made before the manifest, and documents are written after it.
            others = sorted(name for name in os.listdir(path) if name != "shard" and not name.startswith(MANIFEST))
            if others:
                raise CollectionMismatch(
                    f"{path} is not a tercet index: it has no {MANIFEST}, but {', '.join(others[:3])}; "
                    f"give the index a directory of its own"
                )
            return None
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise CollectionMismatch(
                f"the index at {path} has format {content['format']}, this version of tercet reads format {FORMAT}; "
                f"use the version that made it, or index the documents again"
            )
        return _Manifest(EncoderSpec(**content["encoder"]), content["hnsw"])
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise CollectionMismatch(f"{path} is not a tercet index but a file; give the index a directory") from None
    except OSError as error:
        raise _os_error(path, error) from error
    except (ValueError, KeyError, TypeError) as error:
        raise CollectionMismatch(
            f"{file} is not the manifest of a tercet index ({error}); give the index a directory of its own"
        ) from error


def _write_manifest(path: Path, manifest: _Manifest) -> None:
    """Written whole or not at all, also if the power fails."""
    content = {
        "format": FORMAT,
        "engine": f"qdrant-edge {version('qdrant-edge-py')}",
        "encoder": asdict(manifest.encoder),
        "hnsw": manifest.hnsw,
    }
    temporary = path / f"{MANIFEST}.{os.getpid()}.tmp"
    with _translated(path):
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(content, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path / MANIFEST)
        _sync_directory(path)


def _sync_directory(path: Path) -> None:
    if os.name == "nt":  # where a directory cannot be opened
        return
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _make_writable(path: Path) -> None:
    """Make the directory and try to write: permission bits do not tell of read-only mounts, nor bind for root."""
    with _translated(path):
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f"{MANIFEST}.{os.getpid()}.tmp"
        probe.touch()
        probe.unlink()


def _config(spec: EncoderSpec, hnsw: bool) -> edge.EdgeConfig:
    # m=0 builds no graph: late interaction only ever scores given ids, and exact dense search is faster than the rest
    # of a query up to about 200,000 documents. The stub calls the other two optional, the binding does not.
    none = edge.HnswIndexConfig(m=0, ef_construct=4, full_scan_threshold=10)
    graph = edge.HnswIndexConfig(m=16, ef_construct=128, full_scan_threshold=10_000)
    half = edge.VectorStorageDatatype.Float16
    return edge.EdgeConfig(
        vectors={
            DENSE: edge.EdgeVectorParams(spec.dense_dim, edge.Distance.Cosine, hnsw_config=graph if hnsw else none),
            LATE: edge.EdgeVectorParams(
                spec.late_dim,
                edge.Distance.Dot,
                multivector_config=edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim),
                datatype=half,
                hnsw_config=none,
                memory=edge.Memory.Cold,
            ),
        },
        sparse_vectors={SPARSE: edge.EdgeSparseVectorParams(datatype=half)},
    )


def _rebuild(path: Path, manifest: _Manifest) -> Path:
    # Moving the log aside makes the shard open, but is not enough: an update that panicked leaves its bad vector in a
    # free slot of the storage, and the next new document that takes the slot panics on it. Only a copy is clean.
    shard, copy = path / "shard", path / "shard-copy"
    if (shard / "wal").exists():
        (shard / "wal").rename(
            next(name for n in itertools.count(1) if not (name := shard / f"wal-aside-{n}").exists())
        )
    shutil.rmtree(copy, ignore_errors=True)  # of a repair that was interrupted
    source = edge.EdgeShard.load(str(shard))
    target = edge.EdgeShard.create(str(copy), _config(manifest.encoder, manifest.hnsw))
    for field, index in source.info().payload_schema.items():
        target.update(edge.UpdateOperation.create_field_index(field, index.data_type))
    offset: Any = None
    while True:
        page = edge.ScrollRequest(offset=offset, limit=64, with_payload=True, with_vector=True)
        points, offset = source.scroll(page)
        target.update(
            edge.UpdateOperation.upsert_points(
                [edge.Point(point.id, point.vector or {}, point.payload) for point in points]
            )
        )
        if offset is None:
            break
    count = target.count(edge.CountRequest(exact=True))
    target.flush()
    target.close()
    source.close()
    aside = next(name for n in itertools.count(1) if not (name := path / f"shard-aside-{n}").exists())
    shard.rename(aside)
    copy.rename(shard)
    _sync_directory(path)
    _logger.warning("copied %d documents of %s to a new shard, the damaged one is %s", count, path, aside)
    return aside


def _vectors(embedding: Embedding) -> dict[str, Any]:
    # Lists, not arrays: the binding reads them 2.5 times as fast.
    vectors: dict[str, Any] = {DENSE: embedding.dense.tolist(), LATE: embedding.multi_vector.vectors.tolist()}
    if len(embedding.sparse.indices):
        vectors[SPARSE] = _sparse(embedding.sparse)
    return vectors


def _sparse(vector: SparseVector) -> edge.SparseVector:
    return edge.SparseVector(vector.indices.tolist(), vector.values.tolist())


def _sparse_vector(vectors: object) -> SparseVector:
    stored = vectors.get(SPARSE) if isinstance(vectors, Mapping) else None
    if stored is None:  # a text without a term
        return SparseVector(np.empty(0, np.int64), np.empty(0, np.float32))
    return SparseVector(np.array(stored.indices, np.int64), np.array(stored.values, np.float32))


DIALECT: Dialect[edge.Filter] = Dialect(
    join=edge.Filter,
    any_of=lambda key, values: edge.FieldCondition(key, match=edge.MatchAny(values)),
    numbers_within=lambda key, bounds: edge.FieldCondition(key, range=edge.RangeFloat(**bounds)),
    dates_within=lambda key, bounds: edge.FieldCondition(key, range=edge.RangeDateTime(**bounds)),
)
