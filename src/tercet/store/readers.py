"""A store and the questions of a query in, awaitable answers out: the seam between code that blocks and an event loop.

The way of a query is written once, with `await`. A blocking caller runs it over `BlockingReader`, whose methods never
wait, an event loop over the store's own `reader()`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from tercet.filters import Filter
from tercet.store.base import Store
from tercet.types import Embedding, MultiVector, Ranking, Stored

Answer = TypeVar("Answer")


class BlockingReader:
    """Implements `tercet.store.base.Reader` by answering on the spot: for `run_at_once`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def prefetch(
        self, queries: Sequence[Embedding], stages: Sequence[str], *, limit: int, where: Filter | None = None
    ) -> list[dict[str, Ranking]]:
        return self._store.prefetch(queries, stages, limit=limit, where=where)

    async def rerank(self, queries: Sequence[tuple[MultiVector, Sequence[str]]]) -> list[Ranking]:
        return self._store.rerank(queries)

    async def read(self, keys: Sequence[str], *, vectors: Sequence[str] = ()) -> dict[str, Stored]:
        return self._store.read(keys, vectors=vectors)

    async def document_ids(self, keys: Sequence[str]) -> dict[str, str]:
        return self._store.document_ids(keys)


class ThreadReader:
    """Implements `tercet.store.base.Reader` in the loop's threads: for an engine in this process."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def prefetch(
        self, queries: Sequence[Embedding], stages: Sequence[str], *, limit: int, where: Filter | None = None
    ) -> list[dict[str, Ranking]]:
        return await asyncio.to_thread(self._store.prefetch, queries, stages, limit=limit, where=where)

    async def rerank(self, queries: Sequence[tuple[MultiVector, Sequence[str]]]) -> list[Ranking]:
        return await asyncio.to_thread(self._store.rerank, queries)

    async def read(self, keys: Sequence[str], *, vectors: Sequence[str] = ()) -> dict[str, Stored]:
        return await asyncio.to_thread(self._store.read, keys, vectors=vectors)

    async def document_ids(self, keys: Sequence[str]) -> dict[str, str]:
        return await asyncio.to_thread(self._store.document_ids, keys)


def run_at_once(coroutine: Coroutine[Any, Any, Answer]) -> Answer:
    """The result of a coroutine that awaits nothing that waits; needs no event loop and can run beside one."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: Answer = stop.value
        return result
    coroutine.close()
    raise RuntimeError("a coroutine that was to run at once waited for something")
