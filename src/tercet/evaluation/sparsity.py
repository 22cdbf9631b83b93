"""An index in, the shape of its vectors out: how sparse, how much expansion, how many bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tercet.encoders.base import Explainable, explainable, without_dense
from tercet.index import HybridIndex
from tercet.types import LATE, SPARSE

#: What the engine keeps of each number: dense float32, sparse a 32-bit index and a float16, late float16.
DENSE_BYTES, SPARSE_BYTES, LATE_BYTES = 4, 6, 2


@dataclass(frozen=True, slots=True)
class Spread:
    """Of a count over many texts."""

    mean: float
    p50: float
    p95: float
    most: int

    @classmethod
    def of(cls, counts: Sequence[int]) -> Spread:
        values = np.array(counts if len(counts) else [0])
        p50, p95 = np.percentile(values, [50, 95])
        return cls(float(values.mean()), float(p50), float(p95), int(values.max()))


@dataclass(frozen=True, slots=True)
class Posting:
    """A vocabulary term with the documents that have it: how long its list in an inverted index is.

    share: of all documents
    """

    term: str
    documents: int
    share: float


@dataclass(frozen=True, slots=True)
class SparsityReport:
    """How the documents of an index, and some queries, look as vectors.

    document_terms, query_terms: non-zero weights
    non_zero: the share of the vocabulary that a document has, `document_terms.mean / vocabulary_size`
    used_terms: vocabulary terms that any document has
    flops: Σ over terms of the share of queries that have it times the share of documents: the multiplications that one
        query costs with one document on average (Paria et al., 2020, as SPLADE reports it)
    longest_postings: the terms that most documents have
    document_expansion, query_expansion: the share of non-zero terms that are not among the text's own tokens; None
        where the encoder does not tell its tokens
    document_expansion_weight: the same as a share of the summed weights
    document_tokens: rows of the multi-vectors
    dense_bytes, sparse_bytes, late_bytes: a passage's, as the engine keeps them: dense float32, sparse 32 bits and
        float16 for each term, late float16
    disk_bytes: a passage's, all told: vectors, texts, metadata, and the engine's own, which has a size of its own that
        weighs on a small index; None where there is no directory
    """

    documents: int
    queries: int
    vocabulary_size: int
    document_terms: Spread
    query_terms: Spread
    non_zero: float
    used_terms: int
    flops: float
    longest_postings: tuple[Posting, ...]
    document_expansion: float | None
    document_expansion_weight: float | None
    query_expansion: float | None
    document_tokens: Spread
    dense_bytes: float
    sparse_bytes: float
    late_bytes: float
    disk_bytes: float | None

    @property
    def vector_bytes(self) -> float:
        return self.dense_bytes + self.sparse_bytes + self.late_bytes


def sparsity_report(index: HybridIndex, queries: Iterable[str], *, longest: int = 10) -> SparsityReport:
    """Read every stored vector once, encode the queries once, and count.

    queries: texts
    longest: how many posting lists to name

    Raises:
        ValueError: there is no document.
    """
    encoder = without_dense(index.encoder)
    try:
        tokens: Explainable | None = explainable(encoder)
    except TypeError:
        tokens = None
    postings: Counter[int] = Counter()
    terms: list[int] = []
    rows: list[int] = []
    expanded, weight, expanded_weight = 0, 0.0, 0.0
    for document, _, sparse, late in index.scroll_vectors([SPARSE, LATE]):
        weights = sparse or {}
        postings.update(weights.keys())
        terms.append(len(weights))
        rows.append(0 if late is None else len(late))
        if tokens is not None:
            own = {token.token_id for token in tokens.document_tokens(document.text).sparse}
            expansion = [value for term, value in weights.items() if term not in own]
            expanded += len(expansion)
            expanded_weight += sum(expansion)
            weight += sum(weights.values())
    if not terms:
        raise ValueError("the index is empty; add documents first")
    asked: Counter[int] = Counter()
    query_terms: list[int] = []
    query_expanded = 0
    texts = list(queries)
    for text, embedding in zip(texts, encoder.encode_queries(texts) if texts else [], strict=True):
        indices = embedding.sparse.indices.tolist()
        asked.update(indices)
        query_terms.append(len(indices))
        if tokens is not None:
            own = {token.token_id for token in tokens.query_tokens(text).sparse}
            query_expanded += sum(term not in own for term in indices)
    document_terms = Spread.of(terms)
    flops = sum(count * postings[term] for term, count in asked.items()) / (max(1, len(texts)) * len(terms))
    most = sorted(postings.items(), key=lambda item: (-item[1], item[0]))[:longest]
    names = encoder.terms([term for term, _ in most])
    disk = index.info().get("disk bytes")
    spec = encoder.spec
    return SparsityReport(
        documents=len(terms),
        queries=len(texts),
        vocabulary_size=spec.vocabulary_size,
        document_terms=document_terms,
        query_terms=Spread.of(query_terms),
        non_zero=document_terms.mean / spec.vocabulary_size,
        used_terms=len(postings),
        flops=flops,
        longest_postings=tuple(
            Posting(name, count, count / len(terms)) for name, (_, count) in zip(names, most, strict=True)
        ),
        document_expansion=None if tokens is None else expanded / max(1, sum(terms)),
        document_expansion_weight=None if tokens is None else expanded_weight / (weight or 1.0),
        query_expansion=None if tokens is None else query_expanded / max(1, sum(query_terms)),
        document_tokens=Spread.of(rows),
        dense_bytes=float(DENSE_BYTES * index.encoder.spec.dense_dim),
        sparse_bytes=SPARSE_BYTES * document_terms.mean,
        late_bytes=LATE_BYTES * spec.late_dim * float(np.mean(rows)),
        disk_bytes=disk / len(terms) if isinstance(disk, int) else None,
    )
