"""An index and a query in, what the teaching page shows of them out: every retriever's answer side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tercet.encoders.base import Encoder
from tercet.evaluation.bm25 import bm25_run
from tercet.evaluation.judgements import JudgedCollection
from tercet.evaluation.measures import score
from tercet.explaining.teaching import Inspectable, Walk, inspectable
from tercet.index import HybridIndex
from tercet.plan import SearchPlan
from tercet.query import FINAL

#: Documents of each retriever's ranking.
DEPTH = 10
MEASURE = "nDCG@10"


def walk(
    index: HybridIndex,
    query: str,
    *,
    id: str | None = None,
    contrast: str = "",
    judged: JudgedCollection | None = None,
    guesser: Encoder | None = None,
    plan: SearchPlan | None = None,
    where: Mapping[str, Any] | None = None,
) -> Walk:
    """For `tercet.explaining.teaching.teaching_page`. BM25 reads every document of the index that the filter lets by.

    id: of the document that is taken apart; the best one where none is given
    contrast: a query in which words of this one mean something else
    judged: the queries and judgements of the indexed collection, which every retriever is then measured by
    guesser: guesses hidden words instead of the index's encoder, as a model of `tercet train mlm` does better
    plan, where: of the hybrid search, as of `HybridIndex.search`

    Raises:
        ValueError: nothing is found, or no document of this id is stored.
        TypeError: the encoder cannot be looked into.
        MissingExtra: bm25s is not installed.
    """
    encoder, guessing = inspectable(index.encoder), inspectable(guesser) if guesser else None
    plan = plan or index.plan
    documents = list(index.scroll(where))
    if not documents:
        raise ValueError("no document matches, so there is nothing to find; widen the filter, or add documents")
    # Every retriever answers every judged query, and this one.
    queries = {**(judged.queries if judged else {}), "": query}
    plans = {
        "dense": SearchPlan(stages=("dense",)),
        "sparse (SPLADE)": SearchPlan(stages=("sparse",)),
        "hybrid (tercet)": plan,
    }
    runs = {"BM25": bm25_run(documents, queries, depth=DEPTH)}
    for name, each in plans.items():
        traces = index.rankings(list(queries.values()), plan=each, where=where)
        runs[name] = {query_id: trace[FINAL][:DEPTH] for query_id, trace in zip(queries, traces, strict=True)}
    best = id or runs["hybrid (tercet)"][""][0].id
    judged_as = next((each for each, text in queries.items() if text == query), "")
    return Walk(
        encoder=encoder,
        explanation=index.explain(query, best, plan=plan, where=where),
        contrast=contrast,
        rankings={name: [scored.id for scored in run[""]] for name, run in runs.items()},
        texts={document.id: document.text for document in documents},
        grades=judged.qrels.get(judged_as, {}) if judged else {},
        measured=_measured(runs, judged) if judged else {},
        measure=f"{MEASURE} over the collection's {len(judged.queries)} queries" if judged else "",
        guesser=guessing,
        guessed=_guessed(guessing or encoder, judged.queries.values()) if judged else (0, 0),
    )


def _guessed(encoder: Inspectable, queries: Iterable[str]) -> tuple[int, int]:
    """Of how many words, each hidden in turn, the first guess is right, and of how many that are terms."""
    words = [word for query in queries for word in encoder.masked_word_predictions(query, k=1)]
    asked = [word for word in words if word.probability is not None]
    # The likeliest term is the word itself: as likely as the word, to the last bit.
    return sum(word.guesses[0][1] == word.probability for word in asked), len(asked)


def _measured(runs: Mapping[str, Any], judged: JudgedCollection) -> dict[str, float]:
    scored = {name: score(run, judged.qrels, [MEASURE]) for name, run in runs.items()}
    return {name: scores.mean[MEASURE] for name, scores in scored.items()}
