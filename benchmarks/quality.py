"""How well does each stage rank? Every collection below DATA/eval in, nDCG@10 and Recall@100 by stage out.

    python benchmarks/quality.py DATA [NAME,NAME]

The names choose the collections that are measured at f32, too; without them, all are.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import bm25s
import ir_measures
import machine
import numpy as np
import Stemmer
from ir_measures import R, nDCG
from numpy.typing import NDArray

from tercet import Document, HybridIndex, SearchPlan
from tercet.encoders.mini import MiniEncoder
from tercet.fusion import min_max_fusion, reciprocal_rank_fusion
from tercet.types import Embedding, Ranking, ranked

MEASURES = (nDCG @ 10, R @ 100)
DEPTH = 100


def read_lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def full_text(row: dict[str, str]) -> str:
    """Title before text, as BEIR does, unless the text begins with it (Cranfield)."""
    title, text = row.get("title", "").strip(), row["text"].strip()
    return text if text.startswith(title) else f"{title}. {text}"


def bm25_run(documents: list[Document], queries: dict[str, str]) -> dict[str, Ranking]:
    stemmer = Stemmer.Stemmer("english")
    retriever = bm25s.BM25()  # the library's own settings
    retriever.index(
        bm25s.tokenize([document.text for document in documents], stemmer=stemmer, show_progress=False),
        show_progress=False,
    )
    tokens = bm25s.tokenize(list(queries.values()), stemmer=stemmer, show_progress=False)
    found, scores = retriever.retrieve(tokens, k=min(DEPTH, len(documents)), show_progress=False)
    return {
        query: ranked([(documents[int(at)].id, float(score)) for at, score in zip(*row, strict=True)])
        for query, row in zip(queries, zip(found, scores, strict=True), strict=True)
    }


class Remembering(MiniEncoder):
    """Keeps the multi-vectors of the documents that it encodes, for `late_alone`."""

    def encode_documents(self, documents: Iterable[str]) -> Iterator[Embedding]:
        for embedding in super().encode_documents(documents):
            self.multi_vectors.append(embedding.multi_vector.vectors)
            yield embedding

    multi_vectors: list[NDArray[np.float32]]


def late_alone(encoder: Remembering, queries: dict[str, str], ids: list[str]) -> dict[str, Ranking]:
    """MaxSim over the whole collection: what the late head would find without a first stage."""
    starts = np.cumsum([0, *(len(rows) for rows in encoder.multi_vectors[:-1])])
    tokens = np.concatenate(encoder.multi_vectors).T
    run = {}
    for query, text in queries.items():
        best = np.maximum.reduceat(encoder.encode_query(text).multi_vector.vectors @ tokens, starts, axis=1)
        run[query] = ranked(list(zip(ids, best.sum(axis=0).tolist(), strict=True)), DEPTH)
    return run


def measure(run: dict[str, Ranking], qrels: list[ir_measures.Qrel]) -> dict[str, float]:
    # trec_eval breaks ties by its own rule; scores by rank keep the order that was returned.
    scored = [
        ir_measures.ScoredDoc(query, scored.id, float(-rank))
        for query, ranking in run.items()
        for rank, scored in enumerate(ranking)
    ]
    values = ir_measures.calc_aggregate(MEASURES, qrels, scored)
    return {str(measure): round(values[measure], 4) for measure in MEASURES}


def evaluate(folder: Path, encoder: Remembering) -> dict[str, object]:
    rows = read_lines(folder / "corpus.jsonl")
    documents = [Document(full_text(row), row["_id"]) for row in rows if full_text(row)]
    queries = {row["_id"]: row["text"] for row in read_lines(folder / "queries.jsonl")}
    judgements = [line.split("\t") for line in (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]]
    qrels = [ir_measures.Qrel(query, document, int(float(grade))) for query, document, grade in judgements]
    judged = {qrel.query_id for qrel in qrels}
    queries = {query: text for query, text in queries.items() if query in judged}

    index = HybridIndex.in_memory(encoder=encoder)
    encoder.multi_vectors = []
    started = time.perf_counter()
    report = index.add(documents, progress=True)
    seconds = time.perf_counter() - started
    traces = dict(zip(queries, index.rankings(list(queries.values())), strict=True))
    runs = {stage: {query: trace[stage][:DEPTH] for query, trace in traces.items()} for stage in ("dense", "sparse")}
    runs["late alone"] = late_alone(encoder, queries, [document.id for document in documents])
    for stage, name in (("fused", "fused (dense + sparse)"), ("late", "late on the pool"), ("final", "final")):
        runs[name] = {query: trace[stage][:DEPTH] for query, trace in traces.items()}
    runs["final by ranks instead"] = joined(traces, "rrf", 2)
    runs["BM25"] = bm25_run(documents, queries)
    stages = {name: measure(run, qrels) for name, run in runs.items()}
    best = max(stages[name]["nDCG@10"] for name in ("dense", "sparse", "late alone"))
    return {
        "documents": len(documents),
        "left out": len(rows) - len(documents) + len(report.failed),
        "truncated": len(report.truncated),
        "queries": len(queries),
        "indexing seconds": round(seconds, 1),
        "stages": stages,
        # How the default was chosen: nDCG@10 of each way to join the three rankings.
        "final orders": {
            f"{fusion}, late {weight}": measure(joined(traces, fusion, weight), qrels)["nDCG@10"]
            for fusion in ("min_max", "rrf")
            for weight in (1, 1.5, 2, 2.5, 3, 4)
        },
        "final minus best single head": round(stages["final"]["nDCG@10"] - best, 4),
    }


def joined(traces: Mapping[str, Mapping[str, Ranking]], fusion: str, late: float) -> dict[str, Ranking]:
    """The three rankings of each query joined in one way, late interaction with this weight."""
    join = {"min_max": min_max_fusion, "rrf": reciprocal_rank_fusion}[fusion]
    weights = {"dense": 1, "sparse": 1, "late": late}
    return {
        query: join({stage: trace[stage] for stage in weights}, weights=weights)[:DEPTH]
        for query, trace in traces.items()
    }


def main() -> None:
    data = Path(sys.argv[1])
    folders = sorted(path for path in (data / "eval").iterdir() if (path / "qrels.tsv").exists())
    exact = sys.argv[2].split(",") if len(sys.argv) > 2 else [folder.name for folder in folders]
    results: dict[str, object] = {}
    for precision, chosen in (("int8", folders), ("f32", [folder for folder in folders if folder.name in exact])):
        encoder = Remembering(precision=precision)
        for folder in chosen:
            results[f"{folder.name} {precision}"] = result = evaluate(folder, encoder)
            print(folder.name, precision, json.dumps(result, indent=1), flush=True)
    machine.write("quality", {"model": encoder.config.name, "plan": str(SearchPlan()), "collections": results})


if __name__ == "__main__":
    main()
