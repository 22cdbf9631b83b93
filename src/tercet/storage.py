"""How an index keeps token vectors, as a value: what is given up of them for size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

from tercet.merging import merge_tokens
from tercet.types import Record

LateBits: TypeAlias = Literal[16, 8, 4]

#: Between an encoder's fingerprint and the factor, in what every stored document says of its vectors.
_MERGED = "+merged-"


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageOptions:
    """Chosen when an index is made, and kept: an index tells its own when it is opened again.

    merge_tokens: a document keeps one row for every so many tokens, the mean of those that are most alike; 1 keeps all.
        Queries keep all of theirs.
    late_bits: of each number of a row. 16 is half precision; 8 and 4 are TurboQuant codes, rotated and then rounded,
        without a copy in higher precision beside them, so that they save disk as well as memory

    docs/storage.md has what each of them costs and saves.

    Raises:
        ValueError: one of them is none of these.
    """

    merge_tokens: int = 1
    late_bits: LateBits = 16

    def __post_init__(self) -> None:
        factor = self.merge_tokens
        if not isinstance(factor, int) or isinstance(factor, bool) or factor < 1:
            raise ValueError(f"merge_tokens must be a whole number of at least 1, got {factor!r}")
        if self.late_bits not in get_args(LateBits):
            raise ValueError(f"late_bits must be 16, 8 or 4, got {self.late_bits!r}")

    def kept(self, record: Record) -> Record:
        """The record as an index with these options keeps it."""
        if self.merge_tokens == 1:
            return record
        rows = merge_tokens(record.embedding.multi_vector, self.merge_tokens)
        return replace(record, embedding=replace(record.embedding, multi_vector=rows))

    def fingerprint(self, encoder: str) -> str:
        """Of an encoder's vectors once they are kept so. Bits are the engine's to tell."""
        return encoder if self.merge_tokens == 1 else f"{encoder}{_MERGED}{self.merge_tokens}"

    def to_dict(self) -> Mapping[str, int]:
        return {field: getattr(self, field) for field in self.__slots__}

    def __str__(self) -> str:
        rows = "a row for each token" if self.merge_tokens == 1 else f"a row for every {self.merge_tokens} tokens"
        return f"{rows}, {self.late_bits} bits a number"


def merge_tokens_of(fingerprint: str) -> int:
    """What `StorageOptions.fingerprint` says of merging."""
    _, _, factor = fingerprint.partition(_MERGED)
    return int(factor) if factor.isdigit() else 1
