"""The way of a document: anything that `add` takes in, records in the store and a report out.

    read and check ─► compare with what is stored ─► encode what changed ─► write ─► flush

A batch that was written is acknowledged: it survives a kill, and a later `add` of the same documents skips it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tercet.encoders.base import Encoder, given_rows, without_dense
from tercet.errors import InvalidDocument, StoreError
from tercet.intake import Addable, Numbered, Tally, read_batches
from tercet.progress import Progress
from tercet.scope import EVERYTHING, Scope
from tercet.store.base import Store
from tercet.types import AddReport, Document, Embedding, Record


@dataclass(frozen=True, slots=True)
class Writer:
    """Adds documents to a store as one scope sees them."""

    store: Store
    encoder: Encoder
    scope: Scope

    def add(
        self,
        documents: Addable | Iterable[Addable],
        *,
        dense: Sequence[ArrayLike] | NDArray[Any] | None,
        on_error: Literal["skip", "raise"],
        progress: bool | None,
    ) -> AddReport:
        """See `HybridIndex.add`."""
        if on_error not in ("skip", "raise"):
            raise ValueError(f"on_error must be 'skip' or 'raise', got {on_error!r}")
        if isinstance(documents, str | Document | Mapping):
            documents = [documents]
        vectors = None
        if dense is not None:
            documents = list(documents)
            vectors = given_rows(dense, len(documents), self.encoder.spec.dense_dim)
        tally = Tally(on_error)
        with Progress("indexing", total=_length(documents), show=progress) as bar:
            try:
                for read, batch in read_batches(documents, tally, self.scope.stored):
                    self._add_batch(batch, vectors, tally)
                    bar.advance(read, note=tally.note())
            except StoreError:
                raise  # the engine has said no: asking it to flush would hide why
            except BaseException:
                self.store.flush()
                raise
        self.store.flush()
        return tally.report(self.scope.shown_id)

    def _add_batch(self, batch: dict[str, Numbered], dense: NDArray[np.float32] | None, tally: Tally) -> None:
        stored = self.store.content_hashes(list(batch))
        hashes = {id_: _hash(numbered, dense) for id_, numbered in batch.items()}
        for id_, error in self._taken([id_ for id_ in stored if stored[id_] != hashes[id_]]).items():
            tally.fail(batch.pop(id_).position, self.scope.shown_id(id_), error)
        changed = [numbered for id_, numbered in batch.items() if stored.get(id_) != hashes[id_]]
        tally.skipped += [id_ for id_ in batch if stored.get(id_) == hashes[id_]]
        records = [
            Record(numbered.document, embedding, hashes[numbered.document.id])
            for numbered, embedding in zip(changed, self._encoded(changed, dense), strict=True)
        ]
        for record in self._write(records, batch, tally):
            (tally.updated if record.document.id in stored else tally.added).append(record.document.id)
            if record.embedding.truncated:
                tally.truncated.append(record.document.id)

    def _encoded(self, batch: Sequence[Numbered], dense: NDArray[np.float32] | None) -> Iterator[Embedding]:
        texts = [numbered.document.text for numbered in batch]
        if dense is None:
            yield from self.encoder.encode_documents(texts)
            return
        for numbered, embedding in zip(batch, without_dense(self.encoder).encode_documents(texts), strict=True):
            yield replace(embedding, dense=dense[numbered.position])

    def _taken(self, ids: Sequence[str]) -> dict[str, InvalidDocument]:
        """Ids that documents outside of this view have already."""
        if self.scope is EVERYTHING or not ids:
            return {}
        kept = (stored.document for stored in self.store.read([self.store.key(id_) for id_ in ids]).values())
        return {
            document.id: InvalidDocument(
                f"the id {document.id!r} belongs to a document that is not in this view; use another id"
            )
            for document in kept
            if not self.scope.owns(document)
        }

    def _write(self, records: list[Record], batch: Mapping[str, Numbered], tally: Tally) -> list[Record]:
        """Write records together, or one by one where the engine cannot hold one of them; returns what was written."""
        if not records:
            return []
        try:
            self.store.upsert(records)
        except InvalidDocument as error:
            if len(records) > 1 and tally.on_error == "skip":
                return [written for record in records for written in self._write([record], batch, tally)]
            id_ = records[0].document.id
            tally.fail(batch[id_].position, self.scope.shown_id(id_), error)
            return []
        return records


def _hash(numbered: Numbered, dense: NDArray[np.float32] | None) -> str:
    """Of what is given for a document: another dense vector for the same text is something to write."""
    if dense is None:
        return numbered.document.content_hash()
    given = numbered.document.canonical().encode() + dense[numbered.position].tobytes()
    return hashlib.blake2b(given, digest_size=16).hexdigest()


def _length(documents: Iterable[Addable]) -> int | None:
    return len(documents) if isinstance(documents, Sequence) else None
