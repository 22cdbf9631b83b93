"""A caller's own dense model (OpenAI's, Cohere's, any function from text to vector) beside our sparse and late head."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from tercet.encoders.base import Encoder, EncoderSpec, unit_rows
from tercet.types import Embedding

#: Documents that are embedded in one call.
WINDOW = 64


class OwnDense:
    """Dense vectors by two functions, sparse vectors and multi-vectors by another encoder.

    encoder: makes the sparse vector and the multi-vector
    embed_query: query → (dim,)
    embed_documents: texts → (n, dim), in their order
    name: of the dense model. An index takes no vectors of a model of another name, so name the version, too
    dim: size of the dense vectors; asked of `embed_query` once where it is not given

    Vectors are stretched to length 1. Safe to share between threads where both functions are.

    Raises:
        ValueError: a vector has another size, is not finite or has length 0; not one vector came for each text.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        embed_query: Callable[[str], ArrayLike],
        embed_documents: Callable[[list[str]], Sequence[ArrayLike]],
        name: str,
        dim: int | None = None,
    ) -> None:
        if not name.strip():
            raise ValueError("name the dense model, like 'openai/text-embedding-3-small': the index keeps the name")
        self._others = encoder
        self._embed_query = embed_query
        self._embed_documents = embed_documents
        self._name = name
        size = dim if dim is not None else np.asarray(embed_query("size"), np.float32).size
        inner = encoder.spec
        self._spec = replace(
            inner,
            name=f"{name} + {inner.name}",
            fingerprint=hashlib.sha256(f"{name}\n{size}\n{inner.fingerprint}".encode()).hexdigest()[:32],
            dense_dim=size,
        )

    @property
    def spec(self) -> EncoderSpec:
        return self._spec

    @property
    def others(self) -> Encoder:
        return self._others

    def encode_query(self, query: str) -> Embedding:
        embedding = self._others.encode_query(query)
        return replace(embedding, dense=unit_rows([self._embed_query(query)], self._spec.dense_dim)[0])

    def encode_queries(self, queries: Sequence[str]) -> list[Embedding]:
        return [self.encode_query(query) for query in queries]

    def encode_documents(self, documents: Iterable[str]) -> Iterator[Embedding]:
        stream = iter(documents)
        while texts := list(itertools.islice(stream, WINDOW)):
            vectors = unit_rows(self._embed_documents(texts), self._spec.dense_dim)
            if len(vectors) != len(texts):
                raise ValueError(
                    f"{self._name} gave {len(vectors)} vectors for {len(texts)} texts; "
                    f"embed_documents must give one for each, in their order"
                )
            for embedding, dense in zip(self._others.encode_documents(texts), vectors, strict=True):
                yield replace(embedding, dense=dense)

    def terms(self, indices: Iterable[int]) -> list[str]:
        return self._others.terms(indices)

    def __repr__(self) -> str:
        return f"OwnDense({self._name!r}, {self._others!r})"
