"""Real passages, end to end: DATA and a count in; indexing, size, latency of each stage, memory, cold start out.

`python benchmarks/end_to_end.py DATA 50000 [PLACE]`: with a PLACE the index is made there and stays, with the figures
of its making beside it, and a second run asks it again without the twenty minutes of encoding.
"""

from __future__ import annotations

import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import machine
import psutil

from tercet import Document, HybridIndex, SearchPlan
from tercet.reading import split_text

SOURCES = ("python-docs", "postgresql-docs", "debian-packages")
QUERIES = 200

COLD = """
import sys, time
started = time.perf_counter()
import tercet
imported = time.perf_counter()
index = tercet.HybridIndex.open(sys.argv[1], create=False)
opened = time.perf_counter()
index.search("how do I list installed packages")
print(imported - started, opened - imported, time.perf_counter() - opened)
"""


def passages(data: Path) -> Iterator[Document]:
    for source in SOURCES:
        with (data / "text" / f"{source}.jsonl").open(encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                for number, passage in enumerate(split_text(row["text"])):
                    text = passage.text if passage.text.startswith(row["title"]) else f"{row['title']}. {passage.text}"
                    yield Document(text, f"{source}/{row['_id']}/{number}", {"source": source, "title": row["title"]})


def latencies(index: HybridIndex, queries: list[str]) -> dict[str, dict[str, float]]:
    """p50 and p95 of each stage, asked one query at a time."""
    plan = SearchPlan()
    times: defaultdict[str, list[float]] = defaultdict(list)

    def timed(stage: str, action: Callable[..., object], *arguments: object, **options: object) -> None:
        started = time.perf_counter()
        action(*arguments, **options)
        times[stage].append(1000 * (time.perf_counter() - started))

    for query in queries:
        # First of all the whole, so that no stage before it has warmed the documents it finds.
        timed("whole", index.search, query)
        timed("encode", index.encoder.encode_query, query)
        embedding = index.encoder.encode_query(query)
        for stage in plan.prefetches:
            timed(stage, index.store.prefetch, [embedding], [stage], limit=plan.prefetch_k)
        pool = [index.store.key(scored.id) for scored in index.rankings([query])[0]["fused"][: plan.rerank_k]]
        timed("rerank 100", index.store.rerank, [(embedding.multi_vector, pool)])
        timed("whole, filtered", index.search, query, where={"source": "python-docs"})
    return {
        name: {"p50": round(statistics.median(values), 2), "p95": round(statistics.quantiles(values, n=20)[-1], 2)}
        for name, values in times.items()
    }


def disk_bytes(folder: Path) -> int:
    # Blocks and not sizes: the engine's files have holes.
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def cold_start(place: Path) -> dict[str, float]:
    runs = [
        [float(word) for word in subprocess.check_output([sys.executable, "-c", COLD, str(place)], text=True).split()]
        for _ in range(5)
    ]
    imported, opened, searched = (statistics.median(column) for column in zip(*runs, strict=True))
    return {
        "import tercet": round(imported, 3),
        "open": round(opened, 3),
        "first search": round(searched, 3),
        "open and first search": round(opened + searched, 3),
    }


def make(place: Path, documents: list[Document]) -> dict[str, object]:
    with HybridIndex.open(place) as index:
        started = time.perf_counter()
        report = index.add(documents, progress=True)
        seconds = time.perf_counter() - started
        return {
            "passages": len(documents),
            "report": str(report),
            "documents per second": round(len(documents) / seconds, 1),
            "encoder threads": getattr(index.encoder, "threads", None),
            "bytes a passage": round(disk_bytes(place) / len(documents)),
        }


def asked(place: Path, queries: list[str]) -> dict[str, object]:
    """The index as it was made, and a compacted copy of it."""
    figures: dict[str, object] = {"cold start seconds": cold_start(place)}
    with HybridIndex.open(place) as index:
        index.search("warm up")
        figures["milliseconds as indexed"] = latencies(index, queries)
        figures["resident megabytes"] = round(psutil.Process().memory_info().rss / 1e6)
    copy = place.with_name(f"{place.name}-compacted")
    shutil.copytree(place, copy)
    with HybridIndex.open(copy) as index:
        started = time.perf_counter()
        index.compact()
        figures["compact seconds"] = round(time.perf_counter() - started, 1)
        figures["bytes a passage, compacted"] = round(disk_bytes(copy) / index.count())
        index.search("warm up")
        figures["milliseconds compacted"] = latencies(index, queries)
    shutil.rmtree(copy)
    return figures


def main() -> None:
    data, count = Path(sys.argv[1]), int(sys.argv[2])
    everything = list(passages(data))
    random.Random(0).shuffle(everything)
    chosen, rest = everything[:count], everything[count:]
    # Real words that nobody wrote for these passages: the titles of passages that were left out.
    queries = [document.metadata["title"].split(": ")[-1] for document in rest[:QUERIES]]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(sys.argv[3]) if len(sys.argv) > 3 else Path(folder) / "kb"
        made = place.with_name(f"{place.name}-made.json")
        if not made.exists():
            made.write_text(json.dumps(make(place, chosen)), encoding="utf-8")
        figures = {**json.loads(made.read_text(encoding="utf-8")), **asked(place, queries)}
    print(json.dumps(figures, indent=1))
    machine.write(f"end_to_end_{count}", figures)


if __name__ == "__main__":
    main()
