"""The steps of a query in, child runs of LangChain's callbacks out, so that a trace shows where the time went."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManager,
    AsyncCallbackManagerForChainRun,
    AsyncCallbackManagerForRetrieverRun,
    CallbackManager,
    CallbackManagerForChainRun,
    CallbackManagerForRetrieverRun,
)
from tercet.observing import Observer


class Steps:
    """Implements `tercet.observing.Observer`: each step is a chain run below the retriever's."""

    def __init__(self, callbacks: CallbackManager) -> None:
        self._callbacks = callbacks
        self._runs: dict[str, CallbackManagerForChainRun] = {}

    def started(self, step: str, inputs: Mapping[str, Any]) -> None:
        self._runs[step] = self._callbacks.on_chain_start(None, dict(inputs), name=step)

    def finished(self, step: str, outputs: Mapping[str, Any]) -> None:
        self._runs.pop(step).on_chain_end(dict(outputs))

    def failed(self, step: str, error: BaseException) -> None:
        self._runs.pop(step).on_chain_error(error)


class _AsyncSteps:
    """Implements `Observer`, too: it is called on the event loop and may not wait, so another task awaits the handlers.

    A blocking manager would run asynchronous handlers in a loop of its own, and stop this one meanwhile.
    """

    def __init__(self, callbacks: AsyncCallbackManager) -> None:
        self._callbacks = callbacks
        self._events: asyncio.Queue[tuple[str, str, Any] | None] = asyncio.Queue()

    def started(self, step: str, inputs: Mapping[str, Any]) -> None:
        self._events.put_nowait(("started", step, dict(inputs)))

    def finished(self, step: str, outputs: Mapping[str, Any]) -> None:
        self._events.put_nowait(("finished", step, dict(outputs)))

    def failed(self, step: str, error: BaseException) -> None:
        self._events.put_nowait(("failed", step, error))

    def close(self) -> None:
        self._events.put_nowait(None)

    async def tell(self) -> None:
        runs: dict[str, AsyncCallbackManagerForChainRun] = {}
        while event := await self._events.get():
            match event:
                case ("started", step, inputs):
                    runs[step] = await self._callbacks.on_chain_start(None, inputs, name=step)
                case ("finished", step, outputs):
                    await runs.pop(step).on_chain_end(outputs)
                case (_, step, error):
                    await runs.pop(step).on_chain_error(error)


def steps(run: CallbackManagerForRetrieverRun) -> Observer | None:
    """An observer for a search within this run; None where nobody listens, which costs nothing."""
    callbacks = run.get_child()
    return Steps(callbacks) if callbacks.handlers else None


@asynccontextmanager
async def async_steps(run: AsyncCallbackManagerForRetrieverRun) -> AsyncIterator[Observer | None]:
    """`steps` for a search that is awaited; at its end all handlers have been told."""
    callbacks = run.get_child()
    if not callbacks.handlers:
        yield None
        return
    observer = _AsyncSteps(callbacks)
    telling = asyncio.create_task(observer.tell())
    try:
        yield observer
    finally:
        observer.close()
        await telling
