"""How well does each stage rank? Every collection below DATA/eval in, its figures by stage out.

    python benchmarks/quality.py DATA [NAME,NAME] [--only NAME,NAME]

The names choose the collections that are measured at f32, too; without them, all are. `--only` leaves out the others
and writes no results, but the reports in quality/ are written.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import machine
import numpy as np
from numpy.typing import NDArray

from tercet import HybridIndex, SearchPlan
from tercet.encoders.mini import MiniEncoder
from tercet.evaluation import Evaluation, Run, evaluate, fuse_runs, read_collection, score
from tercet.evaluation.lines import numbered_lines
from tercet.evaluation.report import save_evaluation
from tercet.types import Embedding, Ranking, ranked

REPORTS = Path(__file__).parent / "quality"
DEPTH = 100
STAGES = ("dense", "sparse", "late")


class Remembering(MiniEncoder):
    """Keeps the multi-vectors of the documents that it encodes, for `late_alone`."""

    def encode_documents(self, documents: Iterable[str]) -> Iterator[Embedding]:
        for embedding in super().encode_documents(documents):
            self.multi_vectors.append(embedding.multi_vector.vectors)
            yield embedding

    multi_vectors: list[NDArray[np.float32]]


def late_alone(encoder: Remembering, queries: Mapping[str, str], ids: list[str]) -> Run:
    """MaxSim over the whole collection: what the late head would find without a first stage."""
    starts = np.cumsum([0, *(len(rows) for rows in encoder.multi_vectors[:-1])])
    tokens = np.concatenate(encoder.multi_vectors).T
    run = {}
    for query, text in queries.items():
        best = np.maximum.reduceat(encoder.encode_query(text).multi_vector.weighted @ tokens, starts, axis=1)
        run[query] = ranked(list(zip(ids, best.sum(axis=0).tolist(), strict=True)), DEPTH)
    return run


def measure(folder: Path, encoder: Remembering, *, report: bool) -> dict[str, object]:
    collection = read_collection(folder)
    with tempfile.TemporaryDirectory() as place, HybridIndex.open(Path(place) / "index", encoder=encoder) as index:
        encoder.multi_vectors = []
        started = time.perf_counter()
        added = index.add(collection.documents, progress=True)
        seconds = time.perf_counter() - started
        index.compact()
        late = late_alone(encoder, collection.queries, [document.id for document in collection.documents])
        evaluation = evaluate(
            index,
            collection,
            runs={"late alone": late},
            fuse_with=["BM25"],
            ablations=True,
            sparsity=report,
            timed_queries=50 if report else 0,
        )
    if report:
        REPORTS.mkdir(exist_ok=True)
        for ending in ("md", "svg"):
            save_evaluation(replace(evaluation, notes=()), REPORTS / f"{folder.name}.{ending}")
    stages = {
        system.name: {name: round(value, 4) for name, value in system.scores.mean.items()}
        for system in evaluation.systems
    }
    best = max(stages[name]["nDCG@10"] for name in ("dense", "sparse", "late alone"))
    return {
        "documents": len(collection.documents),
        "left out": sum(1 for _ in numbered_lines(folder / "corpus.jsonl")) - len(added.added),
        "truncated": len(added.truncated),
        "queries": len(collection.queries),
        "indexing seconds": round(seconds, 1),
        "stages": stages,
        # How the default was chosen: nDCG@10 of each way to join the three rankings.
        "final orders": {
            f"{fusion}, sparse {sparse}, late {late}": joined(
                evaluation, collection.qrels, fusion, {"sparse": sparse, "late": late}
            )
            for fusion in ("min_max", "rrf")
            for sparse in (1, 2)
            for late in (1, 2, 3, 4)
        },
        "final minus best single head": round(stages["final"]["nDCG@10"] - best, 4),
    }


def joined(
    evaluation: Evaluation, qrels: Mapping[str, Mapping[str, int]], fusion: str, weights: Mapping[str, float]
) -> float:
    """nDCG@10 of the three rankings of each query joined in one way; what `weights` does not name weighs 1."""
    stages: dict[str, dict[str, Ranking]] = {
        stage: {query: trace[stage] for query, trace in evaluation.traces.items()} for stage in STAGES
    }
    run = fuse_runs(stages, fusion=fusion, weights=weights)  # type: ignore[arg-type]
    return round(score(run, qrels, ["nDCG@10"]).mean["nDCG@10"], 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("exact", nargs="?")
    parser.add_argument("--only")
    arguments = parser.parse_args()
    folders = sorted(path for path in (arguments.data / "eval").iterdir() if (path / "qrels.tsv").exists())
    if arguments.only:
        folders = [folder for folder in folders if folder.name in arguments.only.split(",")]
    exact = arguments.exact.split(",") if arguments.exact else [folder.name for folder in folders]
    results: dict[str, object] = {}
    name = ""
    for precision, chosen in (("int8", folders), ("f32", [folder for folder in folders if folder.name in exact])):
        if not chosen:
            continue
        encoder = Remembering(precision=precision)
        name = encoder.config.name
        for folder in chosen:
            result = measure(folder, encoder, report=precision == "int8")
            results[f"{folder.name} {precision}"] = result
            print(folder.name, precision, json.dumps(result, indent=1), flush=True)
    if not arguments.only:
        machine.write("quality", {"model": name, "plan": str(SearchPlan()), "collections": results})


if __name__ == "__main__":
    main()
