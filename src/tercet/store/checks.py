"""What an engine must never see is stopped here, before anything of a batch is written.

That the parts of a value fit each other is checked where the value is made (`tercet.types`). Here it is compared with
the index: an engine reports such a clash late or, Edge with a sparse vector, by a panic that its log then repeats.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tercet.encoders.base import EncoderSpec
from tercet.errors import CollectionMismatch, InvalidDocument
from tercet.storage import StorageOptions
from tercet.types import Embedding, MultiVector, Record

#: A Qdrant server refuses larger multi-vectors. Edge takes them, but such an index could never move to a server.
MAX_MULTI_VECTOR_NUMBERS = 1_048_575

_HALF_PRECISION_MAX = float(np.finfo(np.float16).max)


def check_records(records: Iterable[Record], spec: EncoderSpec) -> None:
    """Raises CollectionMismatch or InvalidDocument if an engine of this index could not hold one of them."""
    for record in records:
        embedding = record.embedding
        check_embedding(embedding, spec)
        if embedding.multi_vector.vectors.size > MAX_MULTI_VECTOR_NUMBERS:
            rows, dim = embedding.multi_vector.vectors.shape
            raise InvalidDocument(
                f"document {record.document.id!r} has a multi-vector of {rows:,} × {dim} numbers, at most "
                f"{MAX_MULTI_VECTOR_NUMBERS:,} can be stored; split it into passages"
            )
        if embedding.sparse.values.size and float(embedding.sparse.values.max()) > _HALF_PRECISION_MAX:
            raise InvalidDocument(
                f"document {record.document.id!r} has a sparse weight of {float(embedding.sparse.values.max()):g}, "
                f"sparse vectors are indexed in half precision, up to {_HALF_PRECISION_MAX:g}; scale the weights"
            )


def check_embedding(embedding: Embedding, spec: EncoderSpec) -> None:
    """Raises CollectionMismatch if these vectors cannot come from the encoder of the index."""
    _check_size("dense vectors", len(embedding.dense), spec.dense_dim, spec)
    check_multi_vector(embedding.multi_vector, spec)
    indices = embedding.sparse.indices
    if len(indices) and indices[-1] >= spec.vocabulary_size:
        raise CollectionMismatch(
            f"a sparse vector names term {indices[-1]}, but the index is for {spec.name!r}, whose vocabulary has "
            f"{spec.vocabulary_size} terms; use the encoder that filled the index"
        )


def check_multi_vector(multi_vector: MultiVector, spec: EncoderSpec) -> None:
    """Raises CollectionMismatch if its rows have another size than those of the index."""
    _check_size("multi-vectors", multi_vector.vectors.shape[1], spec.late_dim, spec)


def check_same_encoder(place: str, stored: EncoderSpec, given: EncoderSpec) -> None:
    """Raises CollectionMismatch if `place` was filled by another encoder. The name is for people and may differ."""
    if any(
        getattr(stored, field) != getattr(given, field)
        for field in ("fingerprint", "dense_dim", "late_dim", "vocabulary_size")
    ):
        raise CollectionMismatch(
            f"{place} was filled by {_described(stored)}, but the encoder in use is {_described(given)}; "
            f"open it with the encoder that filled it, or index the documents again in another place"
        )


def check_same_storage(place: str, stored: StorageOptions, given: StorageOptions | None) -> StorageOptions:
    """What `place` was made with; raises CollectionMismatch if something else is asked for."""
    if given is not None and given != stored:
        raise CollectionMismatch(
            f"{place} keeps {stored}, but {given} is asked for; open it without storage=…, or index the documents "
            f"again in another place"
        )
    return stored


def _described(spec: EncoderSpec) -> str:
    return (
        f"{spec.name!r} (fingerprint {spec.fingerprint}, dense {spec.dense_dim}, late {spec.late_dim}, "
        f"vocabulary {spec.vocabulary_size})"
    )


def _check_size(what: str, found: int, expected: int, spec: EncoderSpec) -> None:
    if found != expected:
        raise CollectionMismatch(
            f"the index stores {what} of size {expected} ({spec.name!r}), but got size {found}; "
            f"use the encoder that filled the index"
        )
