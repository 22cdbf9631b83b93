"""Records in, exact rankings out, in NumPy: for tests, for small collections, and the oracle of the other stores."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tercet.encoders.base import EncoderSpec
from tercet.filters import Filter, filterable, matches
from tercet.scoring import maxsim
from tercet.storage import StorageOptions
from tercet.store.checks import check_embedding, check_multi_vector, check_records
from tercet.store.payload import point_id
from tercet.store.readers import ThreadReader
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
    Stored,
    ranked,
)


class MemoryStore:
    """Implements `tercet.store.base.Store` for as long as the process lives. Safe to call from several threads."""

    def __init__(self, spec: EncoderSpec, *, storage: StorageOptions | None = None) -> None:
        """Raises ValueError for `late_bits` other than 16: here nothing is rounded."""
        self._spec = spec
        self._storage = storage or StorageOptions()
        if self._storage.late_bits != 16:
            raise ValueError(
                f"late_bits={self._storage.late_bits} belongs to an engine; memory rounds nothing, leave it at 16"
            )
        self._records: dict[str, Record] = {}  # by key
        self._columns: _Columns | None = None  # made by the first prefetch after a write
        self._lock = threading.RLock()

    @property
    def spec(self) -> EncoderSpec:
        return self._spec

    @property
    def storage(self) -> StorageOptions:
        return self._storage

    def upsert(self, records: Sequence[Record]) -> None:
        records = list(map(self._storage.kept, records))
        check_records(records, self._spec)
        with self._lock:
            for record in records:
                # Made anew, a document copies its metadata: what the caller later does to theirs must not reach the
                # store, as an engine would not see it.
                self._records[self.key(record.document.id)] = replace(record, document=replace(record.document))
            self._columns = None

    def prefetch(
        self, queries: Sequence[Embedding], stages: Sequence[str], *, limit: int, where: Filter | None = None
    ) -> list[dict[str, Ranking]]:
        for query in queries:
            check_embedding(query, self._spec)
        with self._lock:
            if self._columns is None:
                self._columns = _Columns.of(self._records, self._spec)
            columns = self._columns
            passing = np.array([_passes(self._records[key].document, where) for key in columns.keys], dtype=bool)
        return [
            {
                stage: columns.best(columns.dense_scores(query), passing, limit)
                if stage == DENSE
                else columns.best(scores := columns.sparse_scores(query.sparse), passing & (scores > 0), limit)
                for stage in stages
            }
            for query in queries
        ]

    def rerank(self, queries: Sequence[tuple[MultiVector, Sequence[str]]]) -> list[Ranking]:
        for multi_vector, _ in queries:
            check_multi_vector(multi_vector, self._spec)
        with self._lock:
            candidates = [
                {key: self._records[key].embedding.multi_vector for key in keys if key in self._records}
                for _, keys in queries
            ]
        return [
            ranked(list(zip(documents, maxsim(query, list(documents.values())), strict=True)))
            for (query, _), documents in zip(queries, candidates, strict=True)
        ]

    def key(self, document_id: str) -> str:
        return point_id(document_id)  # as the engines: equal scores are then in the same order everywhere

    def read(self, keys: Sequence[str], *, vectors: Sequence[str] = ()) -> dict[str, Stored]:
        return {
            key: Stored(
                record.document,
                record.embedding.dense / np.linalg.norm(record.embedding.dense) if DENSE in vectors else None,
                _weights(record.embedding.sparse) if SPARSE in vectors else None,
                record.embedding.multi_vector.vectors if LATE in vectors else None,
            )
            for key, record in self._found(keys)
        }

    def document_ids(self, keys: Sequence[str]) -> dict[str, str]:
        return {key: record.document.id for key, record in self._found(keys)}

    def content_hashes(self, ids: Sequence[str]) -> dict[str, str]:
        return {record.document.id: record.content_hash for _, record in self._found(list(map(self.key, ids)))}

    def delete(self, ids: Sequence[str]) -> int:
        with self._lock:
            self._columns = None
            return sum(self._records.pop(self.key(id), None) is not None for id in ids)

    def delete_where(self, where: Filter) -> int:
        with self._lock:
            return self.delete([document.id for document in self.scroll(where)])

    def count(self, where: Filter | None = None) -> int:
        return sum(1 for _ in self.scroll(where))

    def scroll(self, where: Filter | None = None, *, batch_size: int = 256) -> Iterator[Document]:
        with self._lock:
            documents = [record.document for record in self._records.values()]
        return (
            document
            for document in documents
            if where is None or matches(where, filterable(document.id, document.metadata))
        )

    def flush(self) -> None:
        """Nothing to do: memory has no disk."""

    def compact(self) -> None:
        """Nothing to do: what is deleted is gone."""

    def describe(self) -> Mapping[str, object]:
        return {
            "engine": "memory",
            "documents": self.count(),
            "encoder": self._spec.name,
            "token vectors": str(self._storage),
        }

    def reader(self) -> ThreadReader:
        return ThreadReader(self)

    async def aclose(self) -> None:
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Nothing to do: the records go with the object."""

    def _found(self, keys: Sequence[str]) -> list[tuple[str, Record]]:
        with self._lock:
            return [(key, self._records[key]) for key in keys if key in self._records]


def _passes(document: Document, where: Filter | None) -> bool:
    return where is None or matches(where, filterable(document.id, document.metadata))


def _weights(vector: SparseVector) -> dict[int, float]:
    return dict(zip(vector.indices.tolist(), vector.values.tolist(), strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class _Columns:
    """All vectors side by side, documents in the order of their keys.

    dense: (n_docs, dim) of length 1
    rows, indices, values: (n_stored,) the document, term and weight of every stored sparse weight
    """

    keys: list[str]
    dense: NDArray[np.float32]
    rows: NDArray[np.int64]
    indices: NDArray[np.int64]
    values: NDArray[np.float32]
    vocabulary_size: int

    @classmethod
    def of(cls, records: Mapping[str, Record], spec: EncoderSpec) -> _Columns:
        keys = sorted(records)
        embeddings = [records[key].embedding for key in keys]
        dense = np.array([embedding.dense for embedding in embeddings], dtype=np.float32).reshape(-1, spec.dense_dim)
        sparse = [embedding.sparse for embedding in embeddings]
        return cls(
            keys=keys,
            dense=dense / np.linalg.norm(dense, axis=1, keepdims=True),
            rows=np.repeat(np.arange(len(keys)), [len(vector.indices) for vector in sparse]),
            indices=np.concatenate([np.empty(0, np.int64), *(vector.indices for vector in sparse)]),
            values=np.concatenate([np.empty(0, np.float32), *(vector.values for vector in sparse)]),
            vocabulary_size=spec.vocabulary_size,
        )

    def dense_scores(self, query: Embedding) -> NDArray[np.float32]:
        scores: NDArray[np.float32] = self.dense @ (query.dense / np.linalg.norm(query.dense))
        return scores

    def sparse_scores(self, query: SparseVector) -> NDArray[np.float64]:
        weights = np.zeros(self.vocabulary_size)
        weights[query.indices] = query.values
        scores: NDArray[np.float64] = np.bincount(
            self.rows, weights=weights[self.indices] * self.values, minlength=len(self.keys)
        ).astype(np.float64)
        return scores

    def best(
        self, scores: NDArray[np.float32] | NDArray[np.float64], allowed: NDArray[np.bool_], limit: int
    ) -> Ranking:
        positions = np.flatnonzero(allowed)
        # Positions are in the order of keys, and a stable sort leaves equal scores so.
        order = positions[np.argsort(-scores[positions], kind="stable")[:limit]]
        return [Scored(self.keys[position], float(scores[position])) for position in order]
