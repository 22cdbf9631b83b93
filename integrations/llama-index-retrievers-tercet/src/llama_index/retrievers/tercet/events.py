"""The steps of a tercet query in, LlamaIndex's spans and events out.

encode → Embedding events, prefetch and fuse → Retrieval events, rerank → ReRank events, each in a span of its own below
the caller's, so that a tracer shows what the single stages found. An event's `tags["tercet"]` name the step, what it
was asked and the rankings it made; its nodes have ids and scores, and no text: that is read for the final hits alone.
"""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Iterable, Mapping
from contextvars import Token
from typing import Any, NamedTuple

from llama_index.core.instrumentation import Dispatcher
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent, EmbeddingStartEvent
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.instrumentation.events.retrieval import RetrievalEndEvent, RetrievalStartEvent
from llama_index.core.instrumentation.events.span import SpanDropEvent
from llama_index.core.instrumentation.span import active_span_id
from llama_index.core.schema import NodeWithScore, TextNode


class _Span(NamedTuple):
    id: str
    bound_args: inspect.BoundArguments
    token: Token[str | None]


class StageEvents:
    """A `tercet.observing.Observer` for one query.

    owner: shown as the instance that the spans belong to
    k: the hits that were asked for, a reranking event's `top_n`
    """

    def __init__(self, dispatcher: Dispatcher, owner: object, *, query: str, model_name: str, k: int) -> None:
        self._dispatcher = dispatcher
        self._owner = owner
        self._query = query
        self._model_name = model_name
        self._k = k
        self._pool: list[NodeWithScore] = []
        self._spans: list[_Span] = []

    def started(self, step: str, inputs: Mapping[str, Any]) -> None:
        self._enter(step, inputs)
        self._fire(self._start_event(step), step, inputs)

    def finished(self, step: str, outputs: Mapping[str, Any]) -> None:
        nodes = _nodes(outputs.get("rankings", ()))
        if step == "fuse":
            self._pool = nodes
        self._fire(self._end_event(step, nodes), step, outputs)
        span = self._leave()
        self._dispatcher.span_exit(span.id, span.bound_args, instance=self._owner, result=dict(outputs))

    def failed(self, step: str, error: BaseException) -> None:
        self._dispatcher.event(SpanDropEvent(err_str=str(error)))
        span = self._leave()
        self._dispatcher.span_drop(span.id, span.bound_args, instance=self._owner, err=error)

    def _start_event(self, step: str) -> BaseEvent:
        if step == "encode":
            return EmbeddingStartEvent(model_dict={"model_name": self._model_name})
        if step == "rerank":
            return ReRankStartEvent(
                query=self._query, nodes=self._pool, top_n=self._k, model_name=f"{self._model_name}, late interaction"
            )
        return RetrievalStartEvent(str_or_query_bundle=self._query)

    def _end_event(self, step: str, nodes: list[NodeWithScore]) -> BaseEvent:
        if step == "encode":
            return EmbeddingEndEvent(chunks=[self._query], embeddings=[])
        if step == "rerank":
            return ReRankEndEvent(nodes=nodes)
        return RetrievalEndEvent(str_or_query_bundle=self._query, nodes=nodes)

    def _fire(self, event: BaseEvent, step: str, values: Mapping[str, Any]) -> None:
        event.tags = {"tercet": {"step": step, **values}}
        self._dispatcher.event(event)

    def _enter(self, step: str, inputs: Mapping[str, Any]) -> None:
        span_id = f"{type(self._owner).__name__}.{step}-{uuid.uuid4()}"
        parent_id = active_span_id.get()
        bound_args = inspect.signature(lambda **inputs: None).bind(**inputs)
        self._spans.append(_Span(span_id, bound_args, active_span_id.set(span_id)))
        self._dispatcher.span_enter(span_id, bound_args, instance=self._owner, parent_id=parent_id, tags={})

    def _leave(self) -> _Span:
        span = self._spans.pop()
        active_span_id.reset(span.token)
        return span


def _nodes(rankings: Iterable[Mapping[str, Any]]) -> list[NodeWithScore]:
    return [
        NodeWithScore(node=TextNode(id_=id_, metadata={"stage": stage, "rank": rank}), score=score)
        for by_stage in rankings
        for stage, ranking in by_stage.items()
        for rank, (id_, score) in enumerate(ranking, start=1)
    ]
