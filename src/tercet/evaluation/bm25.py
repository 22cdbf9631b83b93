"""Documents and queries in, a BM25 run out: the baseline that every learned retriever must answer to."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from tercet.errors import MissingExtra
from tercet.evaluation.runs import Run
from tercet.types import Document, ranked


def bm25_run(
    documents: Sequence[Document],
    queries: Mapping[str, str],
    *,
    depth: int = 100,
    language: str = "english",
    seconds: list[float] | None = None,
) -> Run:
    """BM25 by bm25s with the library's own settings: Lucene's variant, k1 = 1.5, b = 0.75, its English stop words.

    language: of Snowball's stemmer
    seconds: gets the time of each query, tokenizing included

    Raises:
        ValueError: there is no document, or no stemmer for the language.
        MissingExtra: bm25s or PyStemmer is not installed.
    """
    try:
        import bm25s
        import Stemmer
    except ImportError as error:
        raise MissingExtra("BM25", "evaluation") from error
    if not documents:
        raise ValueError("BM25 needs the documents; give a collection that has them")
    try:
        stemmer = Stemmer.Stemmer(language)
    except KeyError:
        languages = ", ".join(Stemmer.algorithms())
        raise ValueError(f"there is no stemmer for {language!r}; there are {languages}") from None
    retriever = bm25s.BM25()
    retriever.index(
        bm25s.tokenize([document.text for document in documents], stemmer=stemmer, show_progress=False),
        show_progress=False,
    )
    run: Run = {}
    for query, text in queries.items():
        started = time.perf_counter()
        # Token strings, not ids: a query's own vocabulary would number its words anew.
        tokens = bm25s.tokenize([text], stemmer=stemmer, show_progress=False, return_ids=False)
        found, scores = retriever.retrieve(tokens, k=min(depth, len(documents)), show_progress=False)
        if seconds is not None:
            seconds.append(time.perf_counter() - started)
        # What shares no word with the query scores 0 and fills the ranking up; it was not found.
        pairs = zip(found[0].tolist(), scores[0].tolist(), strict=True)
        run[query] = ranked([(documents[at].id, score) for at, score in pairs if score > 0])
    return run
