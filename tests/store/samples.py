"""Small seeded records and queries for the tests of the stores."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tercet.encoders.base import EncoderSpec
from tercet.store.payload import point_id
from tercet.types import Document, Embedding, MultiVector, Ranking, Record, SparseVector

_names: dict[str, str] = {}  # by key

SPEC = EncoderSpec(name="tiny", fingerprint="tiny-1", dense_dim=16, late_dim=8, vocabulary_size=500)


def embedding(seed: int, *, n_tokens: int = 6, n_terms: int = 12) -> Embedding:
    random = np.random.default_rng(seed)
    dense = random.standard_normal(SPEC.dense_dim)
    tokens = random.standard_normal((n_tokens, SPEC.late_dim))
    # Half of the vocabulary is never used, so that many texts share terms.
    indices = np.sort(random.choice(SPEC.vocabulary_size // 2, n_terms, replace=False)).astype(np.int64)
    return Embedding(
        dense=(dense / np.linalg.norm(dense)).astype(np.float32),
        sparse=SparseVector(indices, random.uniform(0.1, 3, n_terms).astype(np.float32)),
        multi_vector=MultiVector((tokens / np.linalg.norm(tokens, axis=1, keepdims=True)).astype(np.float32)),
    )


def record(
    id: str, *, metadata: Mapping[str, Any] | None = None, text: str = "", embedding: Embedding | None = None
) -> Record:
    _names[point_id(id)] = id
    document = Document(text or f"text of {id}", id=id, metadata=metadata or {})
    return Record(document, embedding or _of(id), document.content_hash())


def records(count: int) -> list[Record]:
    """Documents 000, 001 … with number, parity as lang, and a flag for every third."""
    return [
        record(f"{n:03}", metadata={"n": n, "lang": "en" if n % 2 else "de", "flag": n % 3 == 0}) for n in range(count)
    ]


def query(seed: int) -> Embedding:
    return embedding(1_000_000 + seed, n_tokens=4, n_terms=20)


def keys(names: Iterable[str]) -> list[str]:
    """Under which every store keeps documents of these ids."""
    return list(map(point_id, names))


def ids(ranking: Ranking) -> list[str]:
    """The ids of the documents in a store's ranking, which names their keys."""
    return [_names.get(scored.id, scored.id) for scored in ranking]


def assert_same_ranking(found: Ranking, expected: Ranking, *, tolerance: float) -> None:
    """The same documents with the same scores, in the same order but for scores that rounding cannot tell apart."""
    expected_scores = dict(zip(ids(expected), (scored.score for scored in expected), strict=True))
    scores: Sequence[float] = [expected_scores[id] for id in ids(found)]
    assert sorted(ids(found)) == sorted(expected_scores)
    np.testing.assert_allclose([scored.score for scored in found], scores, atol=tolerance)
    assert all(earlier >= later - 2 * tolerance for earlier, later in itertools.pairwise(scores))


@functools.cache
def _of(id: str) -> Embedding:
    return embedding(int.from_bytes(id.encode()) % 2**32)
