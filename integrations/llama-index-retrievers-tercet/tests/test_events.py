"""What a tracer sees: LlamaIndex's own events, and below them a span with events for each step of the query."""

import asyncio
import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from llama_index.core.bridge.pydantic import Field
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent, EmbeddingStartEvent
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.instrumentation.events.retrieval import RetrievalEndEvent, RetrievalStartEvent
from llama_index.core.instrumentation.events.span import SpanDropEvent
from llama_index.core.instrumentation.span import SimpleSpan
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from llama_index.core.schema import NodeWithScore, TextNode

from llama_index.postprocessor.tercet import TercetRerank
from llama_index.retrievers.tercet import TercetRetriever
from tercet import HybridIndex, SearchPlan
from tercet.encoders.base import Encoder

TEXTS = ["Rotate the signing keys every 90 days.", "Lost keys are reported.", "The cafeteria serves soup at noon."]


class Spans(SimpleSpanHandler):
    """Keeps spans in the order in which they opened."""

    opened: list[SimpleSpan] = Field(default_factory=list)

    def new_span(self, id_: str, bound_args: inspect.BoundArguments, **kwargs: Any) -> SimpleSpan | None:
        span = super().new_span(id_, bound_args, **kwargs)
        if span is not None:
            self.opened.append(span)
        return span


@pytest.fixture
def spans() -> Iterator[Spans]:
    dispatcher, handler = get_dispatcher(), Spans()
    dispatcher.add_span_handler(handler)
    yield handler
    dispatcher.span_handlers.remove(handler)


@pytest.fixture
def filled(memory_index: HybridIndex) -> HybridIndex:
    memory_index.add(TEXTS, progress=False)
    return memory_index


async def ask(index: HybridIndex, how: str, **options: Any) -> list[NodeWithScore]:
    retriever = TercetRetriever(index, similarity_top_k=2, **options)
    return await retriever.aretrieve("rotate keys") if how == "awaited" else retriever.retrieve("rotate keys")


@pytest.mark.parametrize("how", ["blocking", "awaited"])
async def test_each_step_tells_when_it_starts_and_what_it_found(filled: HybridIndex, recorder: Any, how: str) -> None:
    nodes = await ask(filled, how)

    told = [(type(event), event.tags.get("tercet", {}).get("step")) for event in recorder.events]
    assert told == [
        (RetrievalStartEvent, None),
        (EmbeddingStartEvent, "encode"),
        (EmbeddingEndEvent, "encode"),
        (RetrievalStartEvent, "prefetch"),
        (RetrievalEndEvent, "prefetch"),
        (RetrievalStartEvent, "fuse"),
        (RetrievalEndEvent, "fuse"),
        (ReRankStartEvent, "rerank"),
        (ReRankEndEvent, "rerank"),
        (RetrievalEndEvent, None),
    ]
    assert recorder.events[-1].nodes == nodes


@pytest.mark.parametrize("how", ["blocking", "awaited"])
async def test_the_events_agree_with_the_index_s_rankings(filled: HybridIndex, recorder: Any, how: str) -> None:
    await ask(filled, how)
    [rankings] = filled.rankings(["rotate keys"])

    prefetched, fused = (event for event in recorder.of(RetrievalEndEvent) if event.tags)
    [reranked] = recorder.of(ReRankEndEvent)
    by_stage = {
        stage: [(node.node_id, node.score) for node in prefetched.nodes if node.metadata["stage"] == stage]
        for stage in ("dense", "sparse")
    }
    assert by_stage == {stage: [tuple(scored) for scored in rankings[stage]] for stage in ("dense", "sparse")}
    assert [node.node_id for node in fused.nodes] == [scored.id for scored in rankings["fused"]]
    assert [(node.node_id, node.score) for node in reranked.nodes] == [tuple(scored) for scored in rankings["late"]]
    assert [node.metadata["rank"] for node in reranked.nodes] == [1, 2, 3]
    [start] = recorder.of(ReRankStartEvent)
    assert (start.query, start.top_n) == ("rotate keys", 2)
    assert {node.node_id for node in start.nodes} == {scored.id for scored in rankings["fused"]}


@pytest.mark.parametrize("how", ["blocking", "awaited"])
async def test_each_step_is_a_span_below_the_retrieval(
    filled: HybridIndex, spans: Spans, recorder: Any, how: str
) -> None:
    await ask(filled, how)

    names = [span.id_.rsplit("-", 5)[0] for span in spans.opened]
    method = "aretrieve" if how == "awaited" else "retrieve"
    steps = [f"TercetRetriever.{step}" for step in ("encode", "prefetch", "fuse", "rerank")]
    assert names == [f"TercetRetriever.{method}", f"TercetRetriever._{method}", *steps]
    outer, inner, *below = spans.opened
    assert (outer.parent_id, inner.parent_id) == (None, outer.id_)
    assert {span.parent_id for span in below} == {inner.id_}
    assert spans.open_spans == {}
    assert [event.span_id for event in recorder.of(ReRankEndEvent)] == [below[-1].id_]


async def test_questions_side_by_side_keep_their_spans_apart(filled: HybridIndex, spans: Spans) -> None:
    await asyncio.gather(*(ask(filled, "awaited") for _ in range(5)))

    below: dict[str | None, list[str]] = {}
    for span in spans.opened:
        below.setdefault(span.parent_id, []).append(span.id_.rsplit("-", 5)[0])
    steps = [f"TercetRetriever.{step}" for step in ("encode", "prefetch", "fuse", "rerank")]
    assert below.pop(None) == ["TercetRetriever.aretrieve"] * 5
    assert sorted(below.values()) == [["TercetRetriever._aretrieve"]] * 5 + [steps] * 5


async def test_a_step_that_fails_is_told_and_its_span_dropped(
    filled: HybridIndex, spans: Spans, recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("the disk is gone")

    monkeypatch.setattr(type(filled.store), "prefetch", broken)
    for how in ("blocking", "awaited"):
        with pytest.raises(RuntimeError, match="the disk is gone"):
            await ask(filled, how)

    assert {event.err_str for event in recorder.of(SpanDropEvent)} == {"the disk is gone"}
    assert spans.open_spans == {}
    assert not recorder.of(ReRankStartEvent)
    # The failed steps left nothing behind: the next one hangs below its own retrieval.
    monkeypatch.undo()
    spans.opened.clear()
    await ask(filled, "blocking")
    assert spans.opened[0].parent_id is None


async def test_without_late_interaction_nothing_is_reranked(filled: HybridIndex, recorder: Any) -> None:
    await ask(filled, "blocking", plan=SearchPlan(stages=("dense", "sparse")))

    assert recorder.of(ReRankStartEvent) == []
    assert len(recorder.of(RetrievalEndEvent)) == 3


@pytest.mark.parametrize("how", ["blocking", "awaited"])
async def test_the_reranker_tells_what_came_in_and_went_out(encoder: Encoder, recorder: Any, how: str) -> None:
    nodes = [NodeWithScore(node=TextNode(text=text), score=0.5) for text in TEXTS]
    rerank = TercetRerank(encoder, top_n=2)
    if how == "awaited":
        best = await rerank.apostprocess_nodes(nodes, query_str="rotate keys")
    else:
        best = rerank.postprocess_nodes(nodes, query_str="rotate keys")

    [start], [end] = recorder.of(ReRankStartEvent), recorder.of(ReRankEndEvent)
    assert (start.query.query_str, start.top_n, start.model_name) == ("rotate keys", 2, encoder.spec.name)
    assert start.nodes == nodes
    assert end.nodes == best


def test_callback_managers_hear_of_retrieval_and_reranking(filled: HybridIndex) -> None:
    heard = LlamaDebugHandler(print_trace_on_end=False)
    manager = CallbackManager([heard])
    nodes = TercetRetriever(filled, callback_manager=manager).retrieve("rotate keys")
    TercetRerank(filled.encoder, callback_manager=manager).postprocess_nodes(nodes, query_str="rotate keys")

    assert len(heard.get_event_pairs(CBEventType.RETRIEVE)) == 1
    assert len(heard.get_event_pairs(CBEventType.RERANKING)) == 1
