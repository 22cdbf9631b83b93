"""A first look without files of one's own: the standard library's docstrings, indexed and asked in plain words."""

from __future__ import annotations

import time
from collections.abc import Collection

from rich.console import Console
from rich.text import Text

from tercet.display import plain, show_hits, show_report
from tercet.index import HybridIndex
from tercet.reading import read_standard_library

#: Asked in words that the answers mostly do not use.
QUESTIONS = (
    "find words that are spelled almost the same",
    "run a shell command and capture its output",
    "keep only the most recently used results of a function",
    "compare two files and show the differences",
    "stop a thread after some time",
)


def run_demo(index: HybridIndex, console: Console, *, modules: Collection[str] | None = None, k: int = 3) -> None:
    """Index the docstrings, ask five questions, show the hits with their stages and terms, tell how long it took.

    Raises:
        ValueError: no module of these names has a docstring.
    """
    console.print(Text("Indexing the docstrings of Python's standard library; a second run only looks for changes.\n"))
    started = time.perf_counter()
    report = index.add(read_standard_library(modules))
    indexing_seconds = time.perf_counter() - started
    if not (report.added or report.updated or report.skipped):
        raise ValueError(f"no documented modules among {', '.join(modules or ())}; name some as json or urllib.request")
    show_report(console, report)

    index.search(QUESTIONS[0])  # the first query also pays for opening the engine's files
    search_seconds = 0.0
    for question in QUESTIONS:
        console.rule(plain(question, "bold"), align="left")
        started = time.perf_counter()
        hits = index.search(question, k=k)
        search_seconds += time.perf_counter() - started
        show_hits(console, hits[:1], explain=True)
        for rank, hit in enumerate(hits[1:], start=2):
            console.print(Text.assemble((f"{rank}. ", "bold"), plain(hit.id, "cyan"), "  ", plain(hit.reason, "dim")))
        console.print()
    written = len(report.added) + len(report.updated)
    per_question = 1000 * search_seconds / len(QUESTIONS)
    console.print(
        Text(
            f"{index.count():,} documents, {written:,} of them indexed in {indexing_seconds:.1f} s. "
            f"A question took {per_question:.0f} ms: one model pass, three rankings, no network."
        )
    )
