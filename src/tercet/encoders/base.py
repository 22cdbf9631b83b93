"""The seam between text and numbers: text in, embeddings of NumPy values out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

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
