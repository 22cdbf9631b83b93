"""The values that move through tercet: documents in, embeddings between, hits out. Frozen, checked when made."""

from __future__ import annotations

import hashlib
import json
import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tercet.errors import InvalidDocument

Metadata: TypeAlias = Mapping[str, Any]
"""JSON values under string keys: None, bool, int, finite float, str, and lists and dicts of them."""

DENSE, SPARSE, FUSED, LATE = "dense", "sparse", "fused", "late"
"""The stages of a query, in the order in which it passes them. The first two search the whole index."""

FRAMEWORK_KEY = "__framework__"
"""Metadata under this key belong to an integration: stored and filterable like others, shown by no other one."""

#: A document is a passage. One megabyte of text is no passage, and would not fit in a server's request beside others.
MAX_TEXT_BYTES = 1 << 20
#: As JSON. What is larger than the largest text is no description of one.
MAX_METADATA_BYTES = 1 << 20
#: Levels of dicts and lists, the metadata itself being the first. Qdrant Edge's log cannot be read again from 122 on.
MAX_METADATA_DEPTH = 64

_to_json = json.JSONEncoder(sort_keys=True, ensure_ascii=False).encode
_DOCUMENT_NAMESPACE = uuid.UUID("6f1c9a52-4d0e-5a7b-9c43-7465726365f4")


@dataclass(frozen=True, slots=True, eq=True)
class Document:
    """The unit that is indexed and returned: a passage of text with its id and metadata.

    Without an id, one is derived from text and metadata, so the same document added twice is one document. The metadata
    are copied, in plain dicts and lists: what the caller later does to theirs changes no document.

    Raises:
        InvalidDocument: empty text, text that is no valid Unicode or above 1 MiB, metadata that are not JSON, above
            1 MiB or nested more than 64 deep.
    """

    text: str
    id: str = ""
    metadata: Metadata = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.id, str):
            raise InvalidDocument(f"the id of a document must be a str, got {type(self.id).__name__}")
        _check_string(self.id, "id", self.id)
        _check_string(self.text, "text", self.id)
        if not self.text.strip():
            raise InvalidDocument(f"document {self.id!r} has an empty text; leave it out or give it one")
        size = len(self.text.encode())
        if size > MAX_TEXT_BYTES:
            raise InvalidDocument(
                f"document {self.id!r} has {size:,} bytes of text, at most {MAX_TEXT_BYTES:,} are indexed as one "
                f"document; split it into passages (tercet.reading.split_text does)"
            )
        if not isinstance(self.metadata, Mapping):
            raise InvalidDocument(f"metadata of {self.id!r} must be a dict, got {type(self.metadata).__name__}")
        object.__setattr__(self, "metadata", _checked_copy(self.metadata, self.id, path="", depth=1))
        size = len(_to_json(self.metadata).encode())
        if size > MAX_METADATA_BYTES:
            raise InvalidDocument(
                f"document {self.id!r} has {size:,} bytes of metadata, at most {MAX_METADATA_BYTES:,} are kept; "
                f"keep what is large elsewhere, and its address in the metadata"
            )
        if not self.id:
            # Metadata is part of the identity: the same sentence in two tenants' files is two documents.
            object.__setattr__(self, "id", str(uuid.uuid5(_DOCUMENT_NAMESPACE, self.canonical())))

    def __hash__(self) -> int:
        return hash(self.id)  # equal documents have equal ids, and a dict has no hash

    @classmethod
    def unchecked(cls, text: str, id: str, metadata: dict[str, Any]) -> Document:
        """A document that was checked when it was stored, and is nobody else's: half a millisecond for ten of them."""
        document = object.__new__(cls)
        for name, value in (("text", text), ("id", id), ("metadata", metadata)):
            object.__setattr__(document, name, value)
        return document

    @property
    def public_metadata(self) -> dict[str, Any]:
        """The metadata without what a framework keeps for itself under `FRAMEWORK_KEY`."""
        return {key: value for key, value in self.metadata.items() if key != FRAMEWORK_KEY}

    def canonical(self) -> str:
        """Text and metadata as one JSON string that is equal exactly when they are."""
        return _to_json([self.text, self.metadata])

    def content_hash(self) -> str:
        """128 bits over text and metadata, as hex: equal hashes mean that there is nothing to write again."""
        return hashlib.blake2b(self.canonical().encode(), digest_size=16).hexdigest()


def _check_string(value: object, what: str, document_id: str) -> None:
    if not isinstance(value, str):
        raise InvalidDocument(f"{what} of document {document_id!r} must be a str, got {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidDocument(
            f"{what} of document {document_id!r} has a lone surrogate at character {error.start}, which no UTF-8 text "
            f"can hold; read the source with its right encoding, or with errors='replace'"
        ) from None


def _checked_copy(value: object, document_id: str, *, path: str, depth: int) -> Any:  # noqa: ANN401 any JSON value
    """The JSON value in plain dicts and lists; raises InvalidDocument for what is none, or is nested too deeply."""
    match value:
        case None | bool():
            return value
        case str():
            _check_string(value, f"metadata {path!r}", document_id)
            return value
        case int():
            if not -(2**63) <= value < 2**63:  # the value stays out of the message: it may be too long to be written
                raise InvalidDocument(
                    f"metadata {path!r} of document {document_id!r} is a whole number that does not fit in 64 bits; "
                    f"use a str or a float"
                )
            return value
        case float():
            if not math.isfinite(value):
                raise InvalidDocument(
                    f"metadata {path!r} of document {document_id!r} is {value}, which JSON cannot hold; use None"
                )
            return value
        case list() | tuple() | Mapping() if depth > MAX_METADATA_DEPTH:
            raise InvalidDocument(
                f"metadata of document {document_id!r} are nested more than {MAX_METADATA_DEPTH} deep (or hold "
                f"themselves) at {path[:60]!r}; flatten them, or keep that part as a JSON string"
            )
        case list() | tuple():
            return [
                _checked_copy(item, document_id, path=f"{path}[{position}]", depth=depth + 1)
                for position, item in enumerate(value)
            ]
        case Mapping():
            copy = {}
            for key, item in value.items():
                _check_string(key, "a metadata key", document_id)
                copy[key] = _checked_copy(item, document_id, path=f"{path}.{key}" if path else key, depth=depth + 1)
            return copy
        case _:
            raise InvalidDocument(
                f"metadata {path!r} of document {document_id!r} is a {type(value).__name__}, which JSON cannot hold; "
                f"use str, int, float, bool, None, list or dict (a date as value.isoformat())"
            )


@dataclass(frozen=True, slots=True, eq=False)
class SparseVector:
    """A text as a few weighted vocabulary terms.

    indices: (n_terms,) vocabulary ids, strictly increasing
    values: (n_terms,) weights, all positive and finite
    """

    indices: NDArray[np.int64]
    values: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.indices.ndim != 1 or self.indices.shape != self.values.shape:
            raise ValueError(
                f"a sparse vector has one value per index, got shapes {self.indices.shape} and {self.values.shape}"
            )
        if len(self.indices) and (self.indices[0] < 0 or not (np.diff(self.indices) > 0).all()):
            raise ValueError("the indices of a sparse vector must be non-negative and strictly increasing")
        if not (np.isfinite(self.values).all() and (self.values > 0).all()):
            raise ValueError("the values of a sparse vector must be finite and positive")

    def dot(self, other: SparseVector) -> float:
        """Σ over shared terms of the product of both weights."""
        _, mine, theirs = np.intersect1d(self.indices, other.indices, assume_unique=True, return_indices=True)
        return float(self.values[mine] @ other.values[theirs])


@dataclass(frozen=True, slots=True, eq=False)
class MultiVector:
    """A text as one unit vector per token, for late interaction.

    vectors: (n_tokens, dim), at least one row (so MaxSim never meets an empty document), each of length 1
    importance: (n_tokens,) of a query: what the best similarity of each row counts; None where each counts 1
    """

    vectors: NDArray[np.float32]
    importance: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or 0 in self.vectors.shape:
            raise ValueError(f"a multi-vector is (n_tokens, dim) with at least one row, got {self.vectors.shape}")
        lengths = np.sqrt(np.einsum("nd,nd->n", self.vectors, self.vectors))
        if not (np.abs(lengths - 1) < 1e-2).all():  # NaN and inf fail this comparison, too
            raise ValueError("the rows of a multi-vector must be finite and of length 1")
        if self.importance is not None and not (
            self.importance.shape == lengths.shape
            and (self.importance >= 0).all()
            and np.isfinite(self.importance).all()
        ):
            raise ValueError(f"importance is one finite number of at least 0 for each of {len(lengths)} rows")

    @property
    def weighted(self) -> NDArray[np.float32]:
        """(n_tokens, dim): rows as long as they are important, so that a sum of products is the weighted sum."""
        return self.vectors if self.importance is None else self.vectors * self.importance[:, None]


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """One text in all three representations.

    dense: (dim,) of length 1
    truncated: the text was longer than the encoder reads; its end left no trace
    """

    dense: NDArray[np.float32]
    sparse: SparseVector
    multi_vector: MultiVector
    truncated: bool = False

    def __post_init__(self) -> None:
        if self.dense.ndim != 1 or not abs(float(self.dense @ self.dense) - 1) < 2e-2:
            raise ValueError(f"a dense vector is (dim,), finite and of length 1, got shape {self.dense.shape}")


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """What a store keeps of one document."""

    document: Document
    embedding: Embedding
    content_hash: str


class Stored(NamedTuple):
    """What is read of one document: of its vectors those that were asked for.

    dense: (dim,) of length 1
    sparse: the weight of each vocabulary index
    late: (n_tokens, dim), each row of length 1
    """

    document: Document
    dense: NDArray[np.float32] | None = None
    sparse: Mapping[int, float] | None = None
    late: NDArray[np.float32] | None = None


class Scored(NamedTuple):
    """An id with its score; a `Ranking` is a list of them, best first, equal scores ordered by id.

    id: of a document, or where a store ranks, the key under which it keeps one
    """

    id: str
    score: float


Ranking: TypeAlias = list[Scored]


def ranked(scores: Mapping[str, float] | Sequence[tuple[str, float]], limit: int | None = None) -> Ranking:
    """Order (id, score) pairs best first, ties by id, so that two runs agree."""
    by_id = sorted(scores.items() if isinstance(scores, Mapping) else scores)
    # A stable sort leaves equal scores in the order of their ids; two plain sorts are quicker than one with a key pair.
    by_id.sort(key=itemgetter(1), reverse=True)
    return [Scored(*pair) for pair in by_id[:limit]]


@dataclass(frozen=True, slots=True)
class StageScore:
    """Where one stage put a document: rank from 1, score in the stage's own unit."""

    stage: str
    rank: int
    score: float

    def __str__(self) -> str:
        return f"{self.stage} #{self.rank}"


@dataclass(frozen=True, slots=True)
class TermMatch:
    """A vocabulary term that query and document share; the contributions of all of them sum to the sparse score."""

    term: str
    query_weight: float
    document_weight: float

    @property
    def contribution(self) -> float:
        return self.query_weight * self.document_weight


@dataclass(frozen=True, slots=True)
class Hit:
    """A document that answers the query, with its trace.

    score: of the final order
    stages: where each stage put it; a stage that is absent did not find it
    why: the shared SPLADE terms, strongest first
    """

    document: Document
    score: float
    stages: tuple[StageScore, ...]
    why: tuple[TermMatch, ...] = ()

    @property
    def id(self) -> str:
        return self.document.id

    @property
    def text(self) -> str:
        return self.document.text

    @property
    def metadata(self) -> Metadata:
        return self.document.metadata

    @property
    def reason(self) -> str:
        """One line: the rank in each stage, then the strongest shared terms."""
        ranks = " · ".join(map(str, self.stages))
        terms = ", ".join(match.term for match in self.why[:5])
        return f"{ranks} · terms: {terms}" if terms else ranks


@dataclass(frozen=True, slots=True)
class Failure:
    """A document that was not indexed, and why. `position` counts from 0 in the order of the input."""

    position: int
    id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class AddReport:
    """What `add` did: ids that are new, ids whose document changed, ids that were as stored, and what failed.

    truncated: ids of documents that are longer than the model reads; only their beginning can be found
    """

    added: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    failed: tuple[Failure, ...] = ()
    truncated: tuple[str, ...] = ()

    def __str__(self) -> str:
        counts = (
            ("added", self.added),
            ("updated", self.updated),
            ("unchanged", self.skipped),
            ("failed", self.failed),
        )
        line = ", ".join(f"{len(things):,} {name}" for name, things in counts)
        return f"{line} ({len(self.truncated):,} truncated)" if self.truncated else line
