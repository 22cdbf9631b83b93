"""The steps of a query as they happen, told to whoever listens: a tracer, a framework's callbacks, a stopwatch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

ENCODE, PREFETCH, FUSE, RERANK = "encode", "prefetch", "fuse", "rerank"
"""The steps, in their order. Only a plan in which late interaction takes part has the last."""


class Observer(Protocol):
    """Hears of each step, in order and on the thread that asks (for `asearch`, the event loop's).

    All values are JSON: what a step was asked, and the first documents of each ranking that it made.
    """

    def started(self, step: str, inputs: Mapping[str, Any]) -> None: ...

    def finished(self, step: str, outputs: Mapping[str, Any]) -> None: ...

    def failed(self, step: str, error: BaseException) -> None: ...


@contextmanager
def observed(observer: Observer | None, step: str, inputs: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Tell of a step; its body fills in the outputs."""
    outputs: dict[str, Any] = {}
    if observer is None:
        yield outputs
        return
    observer.started(step, inputs)
    try:
        yield outputs
    except BaseException as error:
        observer.failed(step, error)
        raise
    observer.finished(step, outputs)
