"""Runs and judgements in, figures out: computed by ir-measures, which is trec_eval behind Python names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tercet.errors import MissingExtra
from tercet.types import Ranking

if TYPE_CHECKING:
    import ir_measures

DEFAULT_MEASURES = ("nDCG@10", "RR@10", "R@100", "AP", "P@10")
"""As ir-measures names them: RR is what others call MRR, R is recall, AP is MAP."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Figures of one run: `mean[measure]` over all judged queries, `by_query[measure][query]`.

    A query that the run does not answer counts 0.
    """

    mean: Mapping[str, float]
    by_query: Mapping[str, Mapping[str, float]]


def score(
    run: Mapping[str, Ranking],
    qrels: Mapping[str, Mapping[str, int]],
    measures: Sequence[str] = DEFAULT_MEASURES,
) -> Scores:
    """Measure a run against judgements.

    measures: ir-measures' names, with @k where there is a cut; "MRR@10" and "MAP" are understood and called RR@10, AP

    Raises:
        ValueError: a measure that ir-measures does not have or cannot compute here.
        MissingExtra: ir-measures is not installed.
    """
    library = _library()
    parsed = [_parsed(measure) for measure in dict.fromkeys(measures)]
    judged = [library.Qrel(query, id, grade) for query, grades in qrels.items() for id, grade in grades.items()]
    # trec_eval orders by score and breaks ties its own way; ranks as scores keep the order that the system gave.
    answers = [
        library.ScoredDoc(query, scored.id, float(-rank))
        for query, ranking in run.items()
        if query in qrels
        for rank, scored in enumerate(ranking)
    ]
    by_query: dict[str, dict[str, float]] = {str(measure): dict.fromkeys(qrels, 0.0) for measure in parsed}
    # One empty answer keeps ir-measures from taking an empty run for an unknown format.
    try:
        for metric in library.iter_calc(parsed, judged, answers) if answers else ():
            by_query[str(metric.measure)][metric.query_id] = float(metric.value)
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{', '.join(map(str, parsed))} cannot be computed: {error}") from error
    mean = {name: sum(values.values()) / max(1, len(values)) for name, values in by_query.items()}
    return Scores(mean, by_query)


def measure_names(measures: Sequence[str]) -> tuple[str, ...]:
    """The same measures as ir-measures calls them, each once: "MRR@10" is "RR@10".

    Raises:
        ValueError: a measure that it does not have, or none at all.
    """
    if not measures:
        raise ValueError(f"name at least one measure, as {', '.join(DEFAULT_MEASURES)}")
    return tuple(dict.fromkeys(str(_parsed(measure)) for measure in measures))


def _parsed(measure: str) -> ir_measures.Measure:
    library = _library()
    # Not the library's own parser: it leans on parts of `ast` that newer Pythons no longer have.
    match = re.fullmatch(r"([A-Za-z]\w*)(?:@([1-9]\d*))?", measure.strip())
    named: Any = getattr(library, match[1], None) if match else None
    if match is None or not isinstance(named, library.measures.Measure):
        raise ValueError(f"there is no measure {measure!r}; write one as {', '.join(DEFAULT_MEASURES)}")
    try:
        found: ir_measures.Measure = named @ int(match[2]) if match[2] else named
        supported = library.DefaultPipeline.supports(found)
    except (AssertionError, KeyError, ValueError, TypeError) as error:
        needed = f"takes no cut @{match[2]}" if match[2] else "needs a cut, as P@10"
        raise ValueError(f"{measure!r} {needed}") from error
    if not supported:
        raise ValueError(f"ir-measures cannot compute {measure!r} with the packages that are installed")
    return found


def _library() -> Any:  # noqa: ANN401 a module
    try:
        import ir_measures
    except ImportError as error:
        raise MissingExtra("measuring", "evaluation") from error
    return ir_measures
