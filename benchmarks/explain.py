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


def milliseconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - started)


def medians(by_name: dict[str, list[float]]) -> dict[str, float]:
    return {name: round(statistics.median(values), 2) for name, values in by_name.items()}


def main() -> None:
    with tempfile.TemporaryDirectory() as place, HybridIndex.open(place) as index:
        index.add(read_standard_library(MODULES), progress=False)
        taken: dict[str, list[float]] = {}
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
        figures = medians(taken)
        beyond = figures["scores"] - figures["search"]
        whole = beyond + figures["terms and tokens"]
        tokens = sum(len(each.tokens.late) for each in explanations) / len(explanations)
        print(f"{index.count():,} documents; {EXPLAINED} explained, of {tokens:.0f} tokens each")
        print(f"search                       {figures['search']:6.1f} ms")
        print(f"+ scores as sums             {beyond:6.1f} ms")
        print(f"+ shared terms and tokens    {figures['terms and tokens']:6.1f} ms")
        print(f"= beyond the search          {whole:6.1f} ms for {EXPLAINED} documents")
        for name in ("origins", "sentences", "page"):
            print(f"{name} of one document: {figures[f'{name} of one document']:.1f} ms, when asked for")
        print("largest residual: " + ", ".join(f"{stage} {value:.1e}" for stage, value in residuals.items()))
        machine.write(
            "explain",
            {
                "documents": index.count(),
                "explained": EXPLAINED,
                "tokens a document": round(tokens, 1),
                "milliseconds, median": {
                    **figures,
                    "scores beyond the search": round(beyond, 2),
                    "all beyond the search": round(whole, 2),
                },
                "largest residual": residuals,
            },
        )


if __name__ == "__main__":
    main()
