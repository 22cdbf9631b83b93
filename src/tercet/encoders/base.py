"""The seam between text and numbers: text in, embeddings of NumPy values out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from tercet.types import Embedding


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSpec:
    """What an index must know of the encoder that filled it.

    name: of the model, for people
    fingerprint: changes whenever the same text would get other vectors (weights, prompts, limits, pooling)
    """

    name: str
    fingerprint: str
    dense_dim: int
    late_dim: int
    vocabulary_size: int

    def to_dict(self) -> Mapping[str, str | int]:
        return {field: getattr(self, field) for field in self.__slots__}


class Encoder(Protocol):
    """Makes the three representations of a text. Queries and documents may differ in prompt and limits."""

    @property
    def spec(self) -> EncoderSpec: ...

    def encode_query(self, query: str) -> Embedding:
        """Raises ValueError for an empty query."""
        ...

    def encode_queries(self, queries: Sequence[str]) -> list[Embedding]:
        """The same embeddings as `encode_query` gives one by one."""
        ...

    def encode_documents(self, documents: Iterable[str]) -> Iterator[Embedding]:
        """Lazily, in the order of the input, however long it is."""
        ...

    def terms(self, indices: Iterable[int]) -> list[str]:
        """The vocabulary's strings for indices of a sparse vector."""
        ...


class Token(NamedTuple):
    """A token of a text, as an encoder reads it.

    text: as the vocabulary spells it, "##ction"
    token_id: its index in the vocabulary
    start, end: the characters of the text that it stands for, end exclusive
    word: which word of the text it is a piece of, counted from 0; -1 for one that the encoder added ([CLS], a prompt's,
        a query expansion's [MASK]), which stands for no characters
    """

    text: str
    token_id: int
    start: int
    end: int
    word: int

    @property
    def special(self) -> bool:
        return self.word < 0


class TextTokens(NamedTuple):
    """What the heads read of one text.

    sparse: the tokens over which the sparse head takes its maximum
    late: one for each row of the multi-vector, in their order
    """

    sparse: tuple[Token, ...]
    late: tuple[Token, ...]


class MaskedWord(NamedTuple):
    """What a model expects at the place of a word that it was not shown.

    word: as the text has it
    probability: of the word itself, None where it is no single term of the vocabulary
    guesses: the likeliest terms with their probabilities, best first
    """

    word: str
    probability: float | None
    guesses: list[tuple[str, float]]


@runtime_checkable
class Explainable(Protocol):
    """An encoder that tells where its numbers come from. Tokens are told quickly; origins cost a pass of the model."""

    def query_tokens(self, query: str) -> TextTokens: ...

    def document_tokens(self, document: str) -> TextTokens: ...

    def query_origins(self, query: str) -> Mapping[int, int]:
        """For each term of the sparse vector which token made it: vocabulary index → position in `TextTokens.sparse`.

        That is the arg-max of the max pooling. A term whose token cannot be told is absent.
        """
        ...

    def document_origins(self, document: str) -> Mapping[int, int]:
        """`query_origins` of a document's sparse vector."""
        ...


def explainable(encoder: Encoder) -> Explainable:
    """The encoder, or the one that makes its sparse vectors and multi-vectors.

    Raises:
        TypeError: it does not tell its tokens.
    """
    if isinstance(encoder, DenseApart):
        return explainable(encoder.others)
    if isinstance(encoder, Explainable):
        return encoder
    raise TypeError(
        f"{encoder!r} does not tell which tokens its vectors come from; give it the four methods of "
        f"tercet.encoders.base.Explainable"
    )


@runtime_checkable
class DenseApart(Protocol):
    """An encoder whose dense vectors are made apart, perhaps for money, and need not be made where they are given."""

    @property
    def others(self) -> Encoder:
        """The encoder of the sparse vector and the multi-vector; its dense vector is not used."""
        ...


def unit_rows(vectors: Any, dim: int) -> NDArray[np.float32]:  # noqa: ANN401 checked here
    """Vectors from elsewhere as (n, dim) rows of length 1.

    Raises:
        ValueError: another shape, numbers that are not finite, a vector of length 0.
    """
    try:
        rows = np.asarray(vectors, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"dense vectors must be (n, {dim}) numbers: {error}") from error
    rows = rows.reshape(0, dim) if rows.size == 0 else rows
    if rows.ndim != 2 or rows.shape[1] != dim:
        raise ValueError(f"dense vectors must be (n, {dim}), got shape {rows.shape}; is it another model's?")
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if bad := np.flatnonzero(~(np.isfinite(lengths[:, 0]) & (lengths[:, 0] > 0))).tolist():
        raise ValueError(f"the dense vector at position {bad[0]} has no direction: it is zero or not finite")
    unit: NDArray[np.float32] = (rows / lengths).astype(np.float32)
    return unit


def without_dense(encoder: Encoder) -> Encoder:
    """What encodes where dense vectors are given: nobody is to pay for an embedding that is not used."""
    return encoder.others if isinstance(encoder, DenseApart) else encoder


def given_rows(dense: Any, count: int, dim: int) -> NDArray[np.float32] | None:  # noqa: ANN401 see unit_rows
    """Dense vectors from elsewhere, one for each of `count` texts, as `unit_rows`; None where none are given.

    Raises:
        ValueError: another number of vectors, or see `unit_rows`.
    """
    if dense is None:
        return None
    rows = unit_rows(dense, dim)
    if len(rows) != count:
        raise ValueError(f"got {len(rows)} dense vectors for {count} texts; give one for each, in their order")
    return rows
