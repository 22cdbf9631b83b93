"""The steps of a query in LangChain's traces, by real handlers, blocking and awaited."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID

import pytest
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler
from tercet import HybridIndex, SearchPlan
from tercet.encoders.mini import MiniEncoder

from langchain_tercet import EmbeddingsEncoder, TercetRetriever, TercetVectorStore

from .conftest import DOCUMENTS

QUERY = "how often must keys be changed?"
STEPS = ["encode", "prefetch", "fuse", "rerank"]


class Log:
    """What a handler heard, in order."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, Any]] = []
        self.names: dict[UUID, str] = {}
        self.parents: dict[str, str | None] = {}
        self.tags: dict[str, list[str]] = {}
        self.metadata: dict[str, dict[str, Any]] = {}

    def start(self, kind: str, run_id: UUID, told: Any, kwargs: dict[str, Any]) -> None:
        parent_run_id = kwargs["parent_run_id"]
        name = kwargs["name"]
        self.names[run_id] = name
        self.parents[name] = None if parent_run_id is None else self.names[parent_run_id]
        self.tags[name] = kwargs["tags"]
        self.metadata[name] = kwargs["metadata"]
        self.events.append((f"{kind} start", name, told))

    def end(self, kind: str, run_id: UUID, told: Any) -> None:
        self.events.append((f"{kind} end", self.names[run_id], told))

    def order(self) -> list[tuple[str, str]]:
        return [(event, name) for event, name, _ in self.events]


class Listener(BaseCallbackHandler):
    raise_error = True  # else LangChain logs what a handler raises, and goes on

    def __init__(self) -> None:
        self.log = Log()

    def on_retriever_start(self, serialized: Any, query: str, *, run_id: UUID, **kw: Any) -> None:
        self.log.start("retriever", run_id, query, kw)

    def on_retriever_end(self, documents: Any, *, run_id: UUID, **kw: Any) -> None:
        self.log.end("retriever", run_id, len(documents))

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **kw: Any) -> None:
        self.log.end("retriever failed", run_id, str(error))

    def on_chain_start(self, serialized: Any, inputs: Any, *, run_id: UUID, **kw: Any) -> None:
        self.log.start("step", run_id, inputs, kw)

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kw: Any) -> None:
        self.log.end("step", run_id, outputs)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kw: Any) -> None:
        self.log.end("step failed", run_id, str(error))


class AsyncListener(AsyncCallbackHandler):
    """Hears on the loop that asked; told of by another loop, it could not touch what belongs to this one."""

    raise_error = True

    def __init__(self) -> None:
        self.log = Log()
        self.loop = asyncio.get_running_loop()

    async def _here(self) -> None:
        assert asyncio.get_running_loop() is self.loop
        await asyncio.sleep(0.001)

    async def on_retriever_start(self, serialized: Any, query: str, *, run_id: UUID, **kw: Any) -> None:
        await self._here()
        self.log.start("retriever", run_id, query, kw)

    async def on_retriever_end(self, documents: Any, *, run_id: UUID, **kw: Any) -> None:
        self.log.end("retriever", run_id, len(documents))

    async def on_retriever_error(self, error: BaseException, *, run_id: UUID, **kw: Any) -> None:
        self.log.end("retriever failed", run_id, str(error))

    async def on_chain_start(self, serialized: Any, inputs: Any, *, run_id: UUID, **kw: Any) -> None:
        await self._here()
        self.log.start("step", run_id, inputs, kw)

    async def on_chain_end(self, outputs: Any, *, run_id: UUID, **kw: Any) -> None:
        await self._here()
        self.log.end("step", run_id, outputs)

    async def on_chain_error(self, error: BaseException, *, run_id: UUID, **kw: Any) -> None:
        self.log.end("step failed", run_id, str(error))


@pytest.fixture
def filled(index: HybridIndex) -> HybridIndex:
    TercetVectorStore(index).add_documents(DOCUMENTS)
    return index


def expected_order(steps: list[str], retriever: str = "TercetRetriever") -> list[tuple[str, str]]:
    within = [(f"step {event}", step) for step in steps for event in ("start", "end")]
    return [("retriever start", retriever), *within, ("retriever end", retriever)]


async def heard(retriever: Any, query: str = QUERY, **options: Any) -> list[Log]:
    """By a blocking handler of a blocking call, a blocking and an asynchronous one of an awaited call."""
    first, second, third = Listener(), Listener(), AsyncListener()
    retriever.invoke(query, {"callbacks": [first]}, **options)
    await retriever.ainvoke(query, {"callbacks": [second, third]}, **options)
    return [first.log, second.log, third.log]


async def test_each_step_is_a_child_run_in_its_order(filled: HybridIndex) -> None:
    for log in await heard(TercetRetriever(index=filled, k=2, tags=["mine"], metadata={"team": "a"})):
        assert log.order() == expected_order(STEPS)
        assert log.parents == {"TercetRetriever": None, **dict.fromkeys(STEPS, "TercetRetriever")}
        assert log.tags["TercetRetriever"] == ["mine"]
        assert log.metadata["TercetRetriever"]["team"] == "a"
        assert log.metadata["TercetRetriever"]["ls_vector_store_provider"] == "tercet"


async def test_a_step_tells_what_it_was_asked_and_found(filled: HybridIndex) -> None:
    [hit, *_] = filled.search(QUERY, k=2)
    [dense] = [place for place in hit.stages if place.stage == "dense"]
    for log in await heard(TercetRetriever(index=filled, k=2)):
        assert json.loads(json.dumps(log.events)) == [list(event) for event in log.events]
        told = {(event, name): values for event, name, values in log.events}
        assert told["step start", "encode"] == {"queries": [QUERY]}
        best = told["step end", "prefetch"]["rankings"][0]["dense"][0]
        assert best == [hit.id, pytest.approx(dense.score)]
        assert told["step end", "rerank"]["rankings"][0]["late"][0][0] == hit.id


async def test_a_plan_without_late_interaction_has_no_such_step(filled: HybridIndex) -> None:
    for log in await heard(TercetRetriever(index=filled, plan=SearchPlan(k=2, stages=("dense", "sparse")))):
        assert log.order() == expected_order(STEPS[:3])


async def test_a_hybrid_retriever_of_a_store_tells_the_same(filled: HybridIndex) -> None:
    retriever = TercetVectorStore(filled).as_retriever(search_type="hybrid")
    for log in await heard(retriever):
        assert log.order() == expected_order(STEPS, "TercetVectorStoreRetriever")


class Broken(DeterministicFakeEmbedding):
    def embed_query(self, text: str) -> list[float]:
        raise ConnectionError("no answer")

    async def aembed_query(self, text: str) -> list[float]:
        return [0.0] * 6


async def test_a_step_that_fails_is_told_as_failed(encoder: MiniEncoder) -> None:
    index = HybridIndex.in_memory(encoder=EmbeddingsEncoder(Broken(size=6), encoder=encoder, dim=6))
    retriever = TercetRetriever(index=index)
    listener = Listener()

    with pytest.raises(ConnectionError):
        retriever.invoke(QUERY, {"callbacks": [listener]})

    assert listener.log.order() == [
        ("retriever start", "TercetRetriever"),
        ("step start", "encode"),
        ("step failed end", "encode"),
        ("retriever failed end", "TercetRetriever"),
    ]


async def test_a_failed_await_leaves_no_task_behind(filled: HybridIndex) -> None:
    listener = AsyncListener()

    with pytest.raises(ValueError, match="k=200"):
        await TercetRetriever(index=filled).ainvoke(
            QUERY, {"callbacks": [listener]}, k=200, plan=SearchPlan(k=2, prefetch_k=5, rerank_k=5)
        )

    assert listener.log.order()[-1] == ("retriever failed end", "TercetRetriever")
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_cancelling_leaves_no_task_behind(filled: HybridIndex) -> None:
    listener = AsyncListener()
    asked = asyncio.create_task(TercetRetriever(index=filled).ainvoke(QUERY, {"callbacks": [listener]}))
    async with asyncio.timeout(10):
        while not any(name == "encode" for _, name in listener.log.order()):
            await asyncio.sleep(0.001)

    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked

    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_many_at_once_are_told_apart(filled: HybridIndex) -> None:
    retriever = TercetRetriever(index=filled, k=1)
    listeners = [AsyncListener() for _ in range(4)]

    await asyncio.gather(*(retriever.ainvoke(f"question {n}", {"callbacks": [one]}) for n, one in enumerate(listeners)))

    for n, listener in enumerate(listeners):
        assert listener.log.order() == expected_order(STEPS)
        assert listener.log.events[1][2] == {"queries": [f"question {n}"]}


async def test_langchains_tracer_collects_the_steps(filled: HybridIndex) -> None:
    retriever = TercetRetriever(index=filled)
    for awaited in (False, True):
        collector = RunCollectorCallbackHandler()
        config: Any = {"callbacks": [collector]}
        if awaited:
            await retriever.ainvoke(QUERY, config)
        else:
            retriever.invoke(QUERY, config)

        [run] = collector.traced_runs
        assert [child.name for child in run.child_runs] == STEPS
        assert all(child.end_time is not None for child in run.child_runs)
        assert [child.start_time for child in run.child_runs] == sorted(child.start_time for child in run.child_runs)


async def test_streamed_events_show_the_steps(filled: HybridIndex) -> None:
    events = [event async for event in TercetRetriever(index=filled).astream_events(QUERY, version="v2")]

    assert [event["name"] for event in events if event["event"] == "on_chain_start"] == STEPS
    assert [event["name"] for event in events if event["event"] == "on_retriever_end"] == ["TercetRetriever"]
