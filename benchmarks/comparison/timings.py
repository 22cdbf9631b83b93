"""Seconds, milliseconds and bytes of the five stores over the same 2,000 passages, in one run.

All vectors are made before anything is timed (but for the event loop's row), so the model is in none of the figures.
Embedded stores all: tercet in Qdrant Edge, the others in qdrant-client's local mode, which is how both integrations
run without a server.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from comparison.contestants import CONTESTANTS, Contestant, LlamaIndex, LlamaIndexQdrant
from comparison.corpus import QUERIES, Passage, RememberingEncoder, passages

COUNT = 2_000
ROUNDS = 10
IMPORT = "import time; started = time.perf_counter(); import {}; print(time.perf_counter() - started)"

Figures = dict[str, dict[str, float]]


def run() -> Figures:
    """{what, with its unit: {column: figure}}"""
    encoder = RememberingEncoder()
    given = passages(COUNT)
    for start in range(0, COUNT, 250):
        list(encoder.encode_documents(passage.text for passage in given[start : start + 250]))
        print(f"encoded {start + 250}", flush=True)
    return {**imports(), **engines(encoder, given), "longest gap of the event loop, ms": loop_gaps(encoder, given)}


def imports() -> Figures:
    """The median of five new processes."""
    seconds = {
        kind.column: statistics.median(
            float(subprocess.check_output([sys.executable, "-c", IMPORT.format(kind.module)])) for _ in range(5)
        )
        for kind in CONTESTANTS
    }
    return {"import, s": seconds}


def engines(encoder: RememberingEncoder, given: list[Passage]) -> Figures:
    """Adding, asking, and what lies on disk, in one directory for each store."""
    figures: defaultdict[str, dict[str, float]] = defaultdict(dict)
    with tempfile.TemporaryDirectory() as folder:
        stores = {kind.column: (kind(encoder), Path(folder) / kind.__name__) for kind in CONTESTANTS}
        for column, (store, place) in stores.items():
            store.open(place)
            started = time.perf_counter()
            store.add(given)
            figures["documents added per second"][column] = COUNT / (time.perf_counter() - started)
        times: dict[tuple[str, str], list[float]] = defaultdict(list)
        for _ in range(ROUNDS):  # in turn, so that a slow moment meets all
            for column, (store, _) in stores.items():
                for query in QUERIES:
                    times["query, ms", column].append(_milliseconds(store, query, None))
                    times["query with a filter, ms", column].append(_milliseconds(store, query, {"module": "argparse"}))
        for (name, column), values in times.items():
            figures[name][column] = statistics.median(values)
        for column, (store, place) in stores.items():
            store.close()
            # Blocks and not sizes: the engine's files have holes.
            used = sum(path.stat().st_blocks * 512 for path in place.rglob("*") if path.is_file())
            figures["bytes on disk per document"][column] = used / COUNT
    return dict(figures)


def _milliseconds(store: Contestant, query: str, where: dict[str, str] | None) -> float:
    started = time.perf_counter()
    store.search(query, 10, where)
    return 1000 * (time.perf_counter() - started)


def loop_gaps(encoder: RememberingEncoder, given: list[Passage]) -> dict[str, float]:
    """Eight searches at once, in memory, their queries encoded meanwhile: the longest wait of a ticker."""
    return {kind.column: asyncio.run(_longest_gap(kind(encoder), given)) for kind in CONTESTANTS}


async def _longest_gap(store: Contestant, given: list[Passage]) -> float:
    """In milliseconds; the median of five goes."""
    store.open()
    store.add(given)
    if isinstance(store, LlamaIndexQdrant):
        await store.aadd(given)
    await store.asearch("warm up", 10)
    longest = [await _one_gap(store) for _ in range(5)]
    store.close()
    return statistics.median(longest)


async def _one_gap(store: Contestant) -> float:
    gaps: list[float] = []

    async def tick() -> None:
        while True:
            started = time.perf_counter()
            await asyncio.sleep(0.001)
            gaps.append(1000 * (time.perf_counter() - started))

    # A LlamaIndex store is handed the query's dense vector, so that is made before.
    questions = [store.question(query, 10) if isinstance(store, LlamaIndex) else query for query in QUERIES[:8]]
    store.encoder.forget_queries()
    ticker = asyncio.create_task(tick())
    await asyncio.sleep(0.05)
    gaps.clear()
    await asyncio.gather(*(store.answer(question) for question in questions))
    await asyncio.sleep(0.01)
    ticker.cancel()
    return max(gaps)
