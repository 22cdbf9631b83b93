"""A store and the questions of a query in, awaitable answers out: the seam between code that blocks and an event loop.

The way of a query is written once, with `await`. A blocking caller runs it over `BlockingReader`, whose methods never
wait, an event loop over the store's own `reader()`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ParamSpec, TypeVar

from tercet.filters import Filter
from tercet.processors import in_thread
from tercet.store.base import Store
from tercet.types import Embedding, MultiVector, Ranking, Stored

Arguments = ParamSpec("Arguments")
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
    """Implements `tercet.store.base.Reader` by `in_thread`: for an engine in this process."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def prefetch(
        self, queries: Sequence[Embedding], stages: Sequence[str], *, limit: int, where: Filter | None = None
    ) -> list[dict[str, Ranking]]:
        return await in_thread(self._store.prefetch, queries, stages, limit=limit, where=where)

    async def rerank(self, queries: Sequence[tuple[MultiVector, Sequence[str]]]) -> list[Ranking]:
        return await in_thread(self._store.rerank, queries)

    async def read(self, keys: Sequence[str], *, vectors: Sequence[str] = ()) -> dict[str, Stored]:
        return await in_thread(self._store.read, keys, vectors=vectors)

    async def document_ids(self, keys: Sequence[str]) -> dict[str, str]:
        return await in_thread(self._store.document_ids, keys)


async def at_once(function: Callable[Arguments, Answer], *args: Arguments.args, **options: Arguments.kwargs) -> Answer:
    """A blocking call on the spot, for `run_at_once`."""
    return function(*args, **options)


def run_at_once(coroutine: Coroutine[Any, Any, Answer]) -> Answer:
    """The result of a coroutine that awaits nothing that waits; needs no event loop and can run beside one."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: Answer = stop.value
        return result
    coroutine.close()
    raise RuntimeError("a coroutine that was to run at once waited for something")
