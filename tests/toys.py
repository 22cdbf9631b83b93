"""A deterministic encoder without a model: words in, hashed vectors out. Quick, offline, right about shared words."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tercet.encoders.base import EncoderSpec, TextTokens, Token
from tercet.types import Embedding, MultiVector, SparseVector

VOCABULARY_SIZE = 1000
DENSE_DIM = 16
LATE_DIM = 8


def unit_rows(rows: NDArray[np.float64]) -> NDArray[np.float32]:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


_random = np.random.default_rng(0)
DENSE_TABLE = unit_rows(_random.standard_normal((VOCABULARY_SIZE, DENSE_DIM)))
LATE_TABLE = unit_rows(_random.standard_normal((VOCABULARY_SIZE, LATE_DIM)))


def word_id(word: str) -> int:
    """The same in every process, which `hash` is not. 0 is kept for texts without a word."""
    return 1 + int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest()) % (VOCABULARY_SIZE - 1)


class ToyEncoder:
    """Implements `tercet.encoders.base.Encoder`: one seeded unit vector per word, their sum as the dense vector.

    `encoded` lists every document text that was encoded, for tests that count the work.
    """

    def __init__(self, *, max_document_tokens: int = 256, fingerprint: str = "toy-1") -> None:
        self._max_document_tokens = max_document_tokens
        self._spec = EncoderSpec(
            name="toy",
            fingerprint=fingerprint,
            dense_dim=DENSE_DIM,
            late_dim=LATE_DIM,
            vocabulary_size=VOCABULARY_SIZE,
        )
        self._word_of: dict[int, str] = {}
        self.encoded: list[str] = []

    @property
    def spec(self) -> EncoderSpec:
        return self._spec

    def encode_query(self, query: str) -> Embedding:
        if not query.strip():
            raise ValueError("the query is empty; write at least one word")
        return self._encode(query)

    def encode_queries(self, queries: Sequence[str]) -> list[Embedding]:
        return [self.encode_query(query) for query in queries]

    def encode_documents(self, documents: Iterable[str]) -> Iterator[Embedding]:
        for document in documents:
            self.encoded.append(document)
            yield self._encode(document)

    def terms(self, indices: Iterable[int]) -> list[str]:
        return [self._word_of.get(int(index), f"#{index}") for index in indices]

    def query_tokens(self, query: str) -> TextTokens:
        return self.document_tokens(query)

    def document_tokens(self, document: str) -> TextTokens:
        found = list(re.finditer(r"\w+", document))[: self._max_document_tokens]
        tokens = tuple(
            Token(match[0].lower(), word_id(match[0].lower()), *match.span(), number)
            for number, match in enumerate(found)
        )
        return TextTokens(tokens, tokens or (Token("[NONE]", 0, 0, 0, -1),))

    def query_origins(self, query: str) -> Mapping[int, int]:
        return self.document_origins(query)

    def document_origins(self, document: str) -> Mapping[int, int]:
        tokens = self.document_tokens(document).sparse
        return {token.token_id: position for position, token in reversed(list(enumerate(tokens)))}

    def _encode(self, text: str) -> Embedding:
        all_words = _words(text)
        words = all_words[: self._max_document_tokens]
        ids = [word_id(word) for word in words]
        for index, word in zip(ids, words, strict=True):
            self._word_of.setdefault(index, word)
        frequencies = sorted(Counter(ids).items())
        rows = ids or [0]
        return Embedding(
            dense=unit_rows(DENSE_TABLE[rows].sum(axis=0).astype(np.float64)),
            sparse=SparseVector(
                np.array([index for index, _ in frequencies], dtype=np.int64),
                np.array([1 + np.log(count) for _, count in frequencies], dtype=np.float32),
            ),
            multi_vector=MultiVector(LATE_TABLE[rows]),
            truncated=len(words) < len(all_words),
        )


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
