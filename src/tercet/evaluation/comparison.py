"""Two runs in, the queries on which they differ most out: where a change helped and where it hurt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Generic, TypeVar

from tercet.evaluation.measures import measure_names, score
from tercet.evaluation.runs import check_runs_belong
from tercet.evaluation.significance import Difference, Test, paired_difference
from tercet.types import Ranking

#: What an explanation is, whoever makes it.
Explanation = TypeVar("Explanation")


@dataclass(frozen=True, slots=True)
class Moved:
    """A judged document that both runs put in different places; a rank of None is "not found"."""

    id: str
    grade: int
    rank_a: int | None
    rank_b: int | None


@dataclass(frozen=True, slots=True)
class QueryChange(Generic[Explanation]):
    """One query: both figures, and the judged documents that moved, the one that matters most first.

    text: empty where no texts were given
    explanation: of the first document that moved; None where there is none, or nothing explains it
    """

    query: str
    text: str
    a: float
    b: float
    moved: tuple[Moved, ...]
    explanation: Explanation | None = None

    @property
    def difference(self) -> float:
        return self.b - self.a


@dataclass(frozen=True, slots=True)
class Comparison(Generic[Explanation]):
    """Run b beside run a.

    difference: b minus a, with its p-value; None for a single query
    won, lost: the queries on which b gained and lost most, most first
    unanswered: judged queries that one of the runs does not answer; they count 0 there
    """

    measure: str
    queries: int
    mean_a: float
    mean_b: float
    difference: Difference | None
    won: tuple[QueryChange[Explanation], ...]
    lost: tuple[QueryChange[Explanation], ...]
    unanswered: int


def compare(
    run_a: Mapping[str, Ranking],
    run_b: Mapping[str, Ranking],
    qrels: Mapping[str, Mapping[str, int]],
    *,
    measure: str = "nDCG@10",
    most: int = 5,
    texts: Mapping[str, str] | None = None,
    explain: Callable[[str, str], Explanation | None] | None = None,
    test: Test = "t-test",
) -> Comparison[Explanation]:
    """Compare run b with run a, query by query.

    measure: ir-measures' name
    most: how many won and lost queries to show
    texts: of the queries, by id
    explain: called with a shown query's text and the id of its first moved document, as `HybridIndex.explain` is

    Raises:
        ValueError: an unknown measure.
        UnreadableFile: a run answers none of the judged queries.
    """
    [measure] = measure_names([measure])
    check_runs_belong({"the first run": run_a, "the second run": run_b}, qrels, "the judgements")
    a = score(run_a, qrels, [measure])
    b = score(run_b, qrels, [measure])
    by_a, by_b = a.by_query[measure], b.by_query[measure]
    order = sorted(qrels, key=lambda query: (by_a[query] - by_b[query], query))

    def shown(query: str) -> QueryChange[Explanation]:
        moved = moved_documents(run_a.get(query, []), run_b.get(query, []), qrels[query], by_b[query] >= by_a[query])
        text = (texts or {}).get(query, "")
        explanation = explain(text, moved[0].id) if explain is not None and moved and text else None
        return QueryChange(query, text, by_a[query], by_b[query], moved, explanation)

    return Comparison(
        measure=measure,
        queries=len(qrels),
        mean_a=a.mean[measure],
        mean_b=b.mean[measure],
        difference=paired_difference(by_b, by_a, test=test) if len(qrels) > 1 else None,
        won=tuple(shown(query) for query in order[:most] if by_b[query] > by_a[query]),
        lost=tuple(shown(query) for query in order[::-1][:most] if by_b[query] < by_a[query]),
        unanswered=sum(query not in run_a or query not in run_b for query in qrels),
    )


def comparison_to_dict(comparison: Comparison[Any]) -> dict[str, Any]:
    """As JSON values; an explanation by its own `to_dict`."""

    def change_to_dict(change: QueryChange[Any]) -> dict[str, Any]:
        explanation = change.explanation
        return {
            "query": change.query,
            "text": change.text,
            "a": change.a,
            "b": change.b,
            "difference": change.difference,
            "moved": [asdict(moved) for moved in change.moved],
            "explanation": None if explanation is None else explanation.to_dict(),
        }

    return {
        "measure": comparison.measure,
        "queries": comparison.queries,
        "mean_a": comparison.mean_a,
        "mean_b": comparison.mean_b,
        "difference": None if comparison.difference is None else asdict(comparison.difference),
        "unanswered": comparison.unanswered,
        "won": [change_to_dict(change) for change in comparison.won],
        "lost": [change_to_dict(change) for change in comparison.lost],
    }


def moved_documents(a: Ranking, b: Ranking, grades: Mapping[str, int], gained: bool) -> tuple[Moved, ...]:
    """The relevant documents whose rank changed, by how much of grade / rank they gained (or, not gained, lost).

    Where no relevant document moved so, irrelevant ones count: they pushed others.
    """
    ranks_a = {scored.id: rank for rank, scored in enumerate(a, start=1)}
    ranks_b = {scored.id: rank for rank, scored in enumerate(b, start=1)}

    def change(id: str) -> float:
        def credit(rank: int | None) -> float:
            return 0.0 if rank is None else 1 / rank

        return (credit(ranks_b.get(id)) - credit(ranks_a.get(id))) * (1 if gained else -1)

    relevant = {id: grade * change(id) for id, grade in grades.items() if grade > 0}
    weights = {id: weight for id, weight in relevant.items() if weight > 0} or {
        id: -change(id) for id in ranks_a | ranks_b if grades.get(id, 0) <= 0 and change(id) < 0
    }
    order = sorted(weights, key=lambda id: (-weights[id], id))
    return tuple(Moved(id, grades.get(id, 0), ranks_a.get(id), ranks_b.get(id)) for id in order)
