"""What explanations cost beyond the search they explain: 100 documents of the standard library's docstrings.

python benchmarks/explain.py    fills an index in a temporary directory, asks it, writes results/explain.json
"""

from __future__ import annotations

import os

os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")

import statistics
import tempfile
import time
from collections.abc import Callable

import machine

from tercet import HybridIndex
from tercet.demo import QUESTIONS
from tercet.reading import read_standard_library

#: Some hundred docstrings: enough for 100 candidates of each stage.
MODULES = "collections difflib functools itertools json os pathlib queue re shutil string subprocess threading".split()
EXPLAINED = 100
ROUNDS = 7


def milliseconds(call: Callable[[], object]) -> tuple[float, float]:
    """On the clock, and of the processor: a busy machine lengthens the first."""
    started, worked = time.perf_counter(), time.process_time()
    call()
    return 1000 * (time.perf_counter() - started), 1000 * (time.process_time() - worked)


def beyond(taken: dict[str, list[tuple[float, float]]], clock: int) -> dict[str, float]:
    """Medians of one of the two clocks, in milliseconds."""
    figures = {name: statistics.median(pair[clock] for pair in pairs) for name, pairs in taken.items()}
    figures["scores beyond the search"] = figures["scores"] - figures["search"]
    figures["all beyond the search"] = figures["scores beyond the search"] + figures["terms and tokens"]
    return {name: round(value, 2) for name, value in figures.items()}


def main() -> None:
    with tempfile.TemporaryDirectory() as place, HybridIndex.open(place) as index:
        index.add(read_standard_library(MODULES), progress=False)
        taken: dict[str, list[tuple[float, float]]] = {}
        residuals: dict[str, float] = {}

        def time_it(name: str, call: Callable[[], object]) -> None:
            taken.setdefault(name, []).append(milliseconds(call))

        for question in QUESTIONS:
            ids = [hit.id for hit in index.search(question, k=EXPLAINED)]
            index.explain_many(
                question, ids, k=EXPLAINED
            )  # what is paid once: the engine's files, the tokenizer's cache
            for _ in range(ROUNDS):
                explanations = index.explain_many(question, ids, k=EXPLAINED)
                time_it("search", lambda: index.search(question, k=EXPLAINED))  # noqa: B023 called at once
                time_it("scores", lambda: index.explain_many(question, ids, k=EXPLAINED))  # noqa: B023
                time_it("terms and tokens", lambda: [(each.terms, each.matches) for each in explanations])  # noqa: B023
            first = explanations[0]
            time_it("origins of one document", lambda: first.origins)  # noqa: B023
            time_it("sentences of one document", lambda: first.sentences)  # noqa: B023
            time_it("page of one document", first.to_html)
            for each in explanations:
                for part in each.stages:
                    residuals[part.stage] = max(residuals.get(part.stage, 0.0), abs(part.residual))
        tokens = sum(len(each.tokens.late) for each in explanations) / len(explanations)
        wall, processor = beyond(taken, 0), beyond(taken, 1)
        print(f"{index.count():,} documents; {EXPLAINED} explained, of {tokens:.0f} tokens each; ms (of the processor)")
        for name in wall:
            print(f"{name:28} {wall[name]:7.1f} ({processor[name]:.1f})")
        print("largest residual: " + ", ".join(f"{stage} {value:.1e}" for stage, value in residuals.items()))
        machine.write(
            "explain",
            {
                "documents": index.count(),
                "explained": EXPLAINED,
                "tokens a document": round(tokens, 1),
                "milliseconds, median": wall,
                "milliseconds of the processor, median": processor,
                "largest residual": residuals,
            },
        )


if __name__ == "__main__":
    main()
