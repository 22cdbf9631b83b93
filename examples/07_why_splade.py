"""Why learned sparse retrieval works: walk one query through the model, and write what happens to a page.

    python examples/07_why_splade.py                                    writes build/why-splade.html
    python examples/07_why_splade.py "blood clot in the lung" page.html

docs/why-splade.html is what it writes for its own query.

Needs tercet[evaluation], for BM25 and the metric. Offline; some seconds.
"""

import sys
from dataclasses import replace
from pathlib import Path

from tercet import HybridIndex, SearchPlan
from tercet.encoders.mini import MiniEncoder
from tercet.evaluation.bm25 import bm25_run
from tercet.evaluation.judgements import read_collection
from tercet.evaluation.measures import score
from tercet.explaining.teaching import Walk, teaching_page

HERE = Path(__file__).parent
#: Our default query, and one in which two of its words mean something else.
QUERY, CONTRAST = "heart attack treatment protocol", "attack on a network protocol"

query = sys.argv[1] if len(sys.argv) > 1 else QUERY
page = Path(sys.argv[2]) if len(sys.argv) > 2 else HERE.parent / "build" / "why-splade.html"

collection = read_collection(HERE / "clinical")
encoder = MiniEncoder()
index = HybridIndex.in_memory(encoder=encoder)
index.add(collection.documents, progress=False)

# Every retriever answers every query of the collection, and this one.
queries = {**collection.queries, "this": query}
plans = {
    "dense": SearchPlan(stages=("dense",)),
    "sparse (SPLADE)": SearchPlan(stages=("sparse",)),
    "hybrid (tercet)": SearchPlan(),
}
runs = {"BM25": bm25_run(collection.documents, queries, depth=10)}
for name, plan in plans.items():
    traces = index.rankings(list(queries.values()), plan=replace(plan, k=10))
    runs[name] = {id_: trace["final"][:10] for id_, trace in zip(queries, traces, strict=True)}

measure = "nDCG@10"
judged_as = next((id_ for id_, text in collection.queries.items() if text == query), "")
best = index.search(query, k=1)[0]
walk = Walk(
    encoder=encoder,
    explanation=index.explain(query, best.id),
    contrast=CONTRAST,
    rankings={name: [scored.id for scored in run["this"]] for name, run in runs.items()},
    texts={document.id: document.text for document in collection.documents},
    grades=collection.qrels.get(judged_as, {}),
    measured={name: score(run, collection.qrels, [measure]).mean[measure] for name, run in runs.items()},
    measure=f"{measure} over the collection's {len(collection.queries)} queries",
)
page.parent.mkdir(parents=True, exist_ok=True)
page.write_text(teaching_page(walk), encoding="utf-8")

for name in runs:
    print(f"{name:16} {measure} {walk.measured[name]:.3f}   {', '.join(walk.rankings[name][:4])}")
print(f"wrote {page}")
