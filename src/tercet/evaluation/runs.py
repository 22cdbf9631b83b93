"""Runs: for each query the ranking that a system gave. TREC run files in and out, fused, without self-matches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from tercet.errors import UnreadableFile
from tercet.evaluation.lines import Line, numbered_lines
from tercet.fusion import min_max_fusion, reciprocal_rank_fusion
from tercet.types import Ranking, Scored

Run: TypeAlias = dict[str, Ranking]
"""By query id, best first. The order is what is measured; scores only matter where runs are fused."""

FUSIONS = {"min_max": min_max_fusion, "rrf": reciprocal_rank_fusion}


def read_run(path: str | Path) -> Run:
    """A TREC run file: query, "Q0", document, rank, score, tag, separated by blanks; .gz is read as well.

    The order is trec_eval's: by score as float32, equal scores by document id backwards; the rank column is not read.
    So a file measures here as it measures there.

    Raises:
        UnreadableFile: no file, nothing in it, or a line that is none, with its number.
    """
    scores: dict[str, dict[str, float]] = {}
    first_line: dict[tuple[str, str], int] = {}
    for line in numbered_lines(path):
        query, document, score = _entry(line)
        if (before := first_line.setdefault((query, document), line.number)) != line.number:
            raise line.error(f"document {document!r} stands for query {query!r} on line {before} already; keep one")
        scores.setdefault(query, {})[document] = score
    return {query: _in_trec_order(documents) for query, documents in scores.items()}


def write_run(run: Mapping[str, Ranking], path: str | Path, *, tag: str = "tercet") -> None:
    """Write a TREC run file that every tool reads in this order.

    trec_eval sorts by score as float32 and breaks ties its own way, so a score that is not below the one before it is
    lowered to the next smaller float32.

    Raises:
        ValueError: an id or the tag holds a blank, which the format cannot quote.
    """
    for name in (tag, *run, *(scored.id for ranking in run.values() for scored in ranking)):
        if not name or name.split() != [name]:
            raise ValueError(f"a TREC run separates by blanks and cannot hold {name!r}; use ids without blanks")
    lines = []
    for query, ranking in run.items():
        above = np.float32(np.inf)
        for rank, scored in enumerate(ranking, start=1):
            above = min(np.float32(scored.score), np.nextafter(above, np.float32(-np.inf)))
            lines.append(f"{query} Q0 {scored.id} {rank} {float(above)!r} {tag}\n")
    Path(path).write_text("".join(lines), encoding="utf-8")


def fuse_runs(
    runs: Mapping[str, Mapping[str, Ranking]],
    *,
    fusion: Literal["min_max", "rrf"] = "min_max",
    weights: Mapping[str, float] | None = None,
    rank_constant: int = 60,
) -> Run:
    """One run from several, by name, query by query: by stretched scores or by rank (see `tercet.fusion`).

    weights: by name, 1 where none is given
    rank_constant: of "rrf"

    Raises:
        ValueError: another fusion, or a weight for a run that is not there.
    """
    if fusion not in FUSIONS:
        raise ValueError(f"fusion must be one of {', '.join(FUSIONS)}, got {fusion!r}")
    if unknown := set(weights or ()) - set(runs):
        raise ValueError(f"weights name {sorted(unknown)}, the runs are {', '.join(map(repr, runs))}")
    queries = dict.fromkeys(query for run in runs.values() for query in run)
    fused: Run = {}
    for query in queries:
        rankings = {name: run.get(query, []) for name, run in runs.items()}
        if fusion == "rrf":
            fused[query] = reciprocal_rank_fusion(rankings, rank_constant=rank_constant, weights=weights)
        else:
            fused[query] = min_max_fusion(rankings, weights=weights)
    return fused


def trimmed(rankings: Iterable[tuple[str, Ranking]], depth: int, *, drop_self_matches: bool) -> Run:
    """The first `depth` of each query's ranking, where asked for without the document whose id is the query's.

    Collections whose queries are documents themselves (ArguAna, Quora) judge no document against itself.
    """
    return {
        query: [scored for scored in ranking[: depth + 1] if not (drop_self_matches and scored.id == query)][:depth]
        for query, ranking in rankings
    }


def _entry(line: Line) -> tuple[str, str, float]:
    columns = line.text.split()
    if len(columns) != 6:
        raise line.error(
            f"has {len(columns)} columns, a line of a TREC run has 6: query, Q0, document, rank, score, tag"
        )
    query, _, document, _, score, _ = columns
    try:
        number = float(score)
    except ValueError:
        number = float("nan")
    if not np.isfinite(number):
        raise line.error(f"the score must be a finite number, got {score!r}")
    return query, document, number


def _in_trec_order(scores: Mapping[str, float]) -> Ranking:
    order = sorted(scores, key=lambda id: (np.float32(scores[id]), id.encode()), reverse=True)
    return [Scored(id, scores[id]) for id in order]


def check_runs_belong(runs: Mapping[str, Mapping[str, Ranking]], queries: Iterable[str], whose: str) -> None:
    """Raises UnreadableFile for a run that answers none of these queries: it is another collection's."""
    known = set(queries)
    for name, run in runs.items():
        if not known & set(run):
            example = next(iter(run), None)
            raise UnreadableFile(
                f"{name}: answers none of the {len(known):,} judged queries of {whose} (its first is {example!r}, one "
                f"of theirs {min(known, default=None)!r}); is it another collection's run?"
            )
