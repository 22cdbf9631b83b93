"""The seam between values and an engine: records in, rankings per vector out. What every store can do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from tercet.encoders.base import EncoderSpec
from tercet.errors import InvalidDocument
from tercet.filters import Filter
from tercet.storage import StorageOptions
from tercet.types import Document, Embedding, MultiVector, Ranking, Record, Stored


class Store(Protocol):
    """Keeps records and ranks them. Nothing here fuses: that is `tercet.fusion`, the same for every engine.

    Rankings name documents by the store's own keys: what stands behind a key is read for the few that are returned, not
    for the hundreds that are ranked. Every method may raise `StoreError`. Unknown ids and keys are passed over. However
    many queries or records come at once, the engine gets them in requests that it bears. A store is opened for one
    `EncoderSpec` and refuses, when it is opened, a place that another encoder filled (`CollectionMismatch`).
    """

    @property
    def spec(self) -> EncoderSpec:
        """Of the encoder that it was opened for."""
        ...

    @property
    def storage(self) -> StorageOptions:
        """How it keeps token vectors."""
        ...

    def upsert(self, records: Sequence[Record]) -> None:
        """Write records, replacing those of the same id. What returned is acknowledged: it survives a kill."""
        ...

    def prefetch(
        self, queries: Sequence[Embedding], stages: Sequence[str], *, limit: int, where: Filter | None = None
    ) -> list[dict[str, Ranking]]:
        """For each query one ranking per stage ("dense" by cosine, "sparse" by dot product), best first, ties by key.

        The filter holds inside each stage: `limit` documents that match, not the matching ones among `limit`.
        A sparse score of 0 is no match and is left out.
        """
        ...

    def rerank(self, queries: Sequence[tuple[MultiVector, Sequence[str]]]) -> list[Ranking]:
        """Order each query's candidates, all of them, by MaxSim: Σ over query tokens of the best document token."""
        ...

    def key(self, document_id: str) -> str:
        """The key under which a document of this id is, or would be, kept. Asks nobody."""
        ...

    def read(self, keys: Sequence[str], *, vectors: Sequence[str] = ()) -> dict[str, Stored]:
        """What is stored under these keys, with the vectors that `vectors` names ("dense", "sparse", "late")."""
        ...

    def document_ids(self, keys: Sequence[str]) -> dict[str, str]:
        """The ids of the documents under these keys."""
        ...

    def content_hashes(self, ids: Sequence[str]) -> dict[str, str]:
        """The `Record.content_hash` of the ids that are stored."""
        ...

    def delete(self, ids: Sequence[str]) -> int:
        """Remove these documents; returns how many there were."""
        ...

    def delete_where(self, where: Filter) -> int:
        """Remove the documents that match; returns how many there were."""
        ...

    def count(self, where: Filter | None = None) -> int: ...

    def scroll(self, where: Filter | None = None, *, batch_size: int = 256) -> Iterator[Document]:
        """Every document that matches, in no promised order. Documents written meanwhile may or may not appear."""
        ...

    def flush(self) -> None:
        """Make everything acknowledged survive a loss of power, too."""
        ...

    def compact(self) -> None:
        """Reclaim space and rebuild the engine's segments; may take long."""
        ...

    def describe(self) -> Mapping[str, object]:
        """What `tercet info` shows: engine, place, sizes. Never a secret."""
        ...

    def reader(self) -> Reader:
        """The same answers for an event loop, which none of its methods blocks."""
        ...

    def close(self) -> None:
        """Flush and let go; a second call does nothing."""
        ...

    async def aclose(self) -> None:
        """`close`, and let go of what a reader opened on this event loop."""
        ...


class Unfilled(NamedTuple):
    """A document of another program's collection, or why it cannot be read, under its key."""

    key: str
    found: Stored | InvalidDocument


@runtime_checkable
class Fillable(Protocol):
    """A store over another program's collection, whose documents lack two of the three vectors until `fill`."""

    def pending(self) -> int:
        """How many documents lack vectors. While there are any, what needs those vectors is refused."""
        ...

    def sample(self, count: int) -> list[Stored]:
        """Some documents with their dense vectors."""
        ...

    def unfilled(self) -> Iterator[list[Unfilled]]:
        """The documents that lack vectors, a batch at a time."""
        ...

    def pass_over(self, key: str) -> None:
        """Lack vectors for good: a document that cannot be encoded is found by its dense vector alone."""
        ...

    def fill(self, records: Sequence[Record]) -> None:
        """Write sparse vectors and multi-vectors beside what is stored; dense vectors, ids and payload stay."""
        ...


class Reader(Protocol):
    """The questions of a query, as `Store` answers them, to be awaited."""

    async def prefetch(
        self, queries: Sequence[Embedding], stages: Sequence[str], *, limit: int, where: Filter | None = None
    ) -> list[dict[str, Ranking]]: ...

    async def rerank(self, queries: Sequence[tuple[MultiVector, Sequence[str]]]) -> list[Ranking]: ...

    async def read(self, keys: Sequence[str], *, vectors: Sequence[str] = ()) -> dict[str, Stored]: ...

    async def document_ids(self, keys: Sequence[str]) -> dict[str, str]: ...
