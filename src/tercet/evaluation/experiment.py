"""An index and a judged collection in, one table out: every stage measured on the same queries.

One pass over the queries gives the rankings of all stages; nothing is searched twice for being measured. Latency is
taken afterwards, one query at a time, as a user waits for it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tercet.evaluation.bm25 import bm25_run
from tercet.evaluation.judgements import JudgedCollection
from tercet.evaluation.measures import DEFAULT_MEASURES, Scores, measure_names, score
from tercet.evaluation.runs import Run, check_runs_belong, fuse_runs, trimmed
from tercet.evaluation.significance import Difference, Test, paired_difference
from tercet.evaluation.sparsity import SparsityReport, sparsity_report
from tercet.index import HybridIndex
from tercet.plan import SearchPlan
from tercet.progress import Progress
from tercet.query import Trace
from tercet.types import DENSE, FUSED, LATE, SPARSE, Ranking, ranked

BM25, FINAL = "BM25", "final"
ROW_NAMES = {FUSED: "fused (dense + sparse)", LATE: "late on the pool"}

_QUERIES_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Latency:
    """Of one query, asked alone, in milliseconds."""

    p50: float
    p95: float
    queries: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Latency:
        p50, p95 = np.percentile(np.array(seconds) * 1000, [50, 95])
        return cls(float(p50), float(p95), len(seconds))


@dataclass(frozen=True, slots=True)
class System:
    """One row: a stage, an ablation or a run from elsewhere.

    difference: to the baseline on the first measure; None for the baseline itself
    latency: None where nothing was timed, as for a run from a file
    bytes_per_passage: of the vectors that it needs; None for what has none
    """

    name: str
    run: Run
    scores: Scores
    difference: Difference | None = None
    latency: Latency | None = None
    bytes_per_passage: float | None = None


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What reranking could reach at best: the pool of candidates, in the best order that judgements allow.

    recall: the share of relevant documents that are in the pool at all
    scores: of the pool, ordered by grade
    """

    pool: int
    recall: float
    scores: Scores


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The whole table, with what it was made from. See `tercet.evaluation.report` for Markdown, JSON and a plot."""

    collection: str
    queries: int
    documents: int
    encoder: str
    engine: str
    plan: SearchPlan
    measures: tuple[str, ...]
    baseline: str
    systems: tuple[System, ...]
    ceiling: Ceiling
    traces: Mapping[str, Trace]
    sparsity: SparsityReport | None = None
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> System:
        """Raises KeyError, with the names that there are."""
        for system in self.systems:
            if system.name == name:
                return system
        raise KeyError(f"{name!r} is not among {', '.join(system.name for system in self.systems)}")


def evaluate(
    index: HybridIndex,
    collection: JudgedCollection,
    *,
    plan: SearchPlan | None = None,
    measures: Sequence[str] = DEFAULT_MEASURES,
    baseline: str = BM25,
    runs: Mapping[str, Mapping[str, Ranking]] | None = None,
    fuse_with: Sequence[str] = (),
    bm25: bool = True,
    ablations: bool = False,
    sparsity: bool = True,
    drop_self_matches: bool = False,
    timed_queries: int = 50,
    test: Test = "t-test",
    depth: int = 100,
    progress: bool | None = None,
) -> Evaluation:
    """Measure every stage of an index that holds the collection's documents.

    plan: how to search; the index's own where none is given
    measures: ir-measures' names; the first is the one that systems are compared by
    baseline: the name of the row that the others are compared with
    runs: from elsewhere, by name: each becomes a row
    fuse_with: names of those runs, or "BM25": a row more for each, the final order fused with it by scores
    bm25: measure BM25, over the collection's documents, or else the index's
    ablations: rows for the final order without each stage, and joined in the other way; each is another pass
    sparsity: read every stored vector for the sparsity report and the bytes a passage
    drop_self_matches: a document whose id is the query's is no answer (ArguAna, Quora)
    timed_queries: how many queries are timed, each in every stage; 0 for none
    depth: of every ranking that is measured

    Raises:
        ValueError: no relevant document is in the index, a name stands for two rows, an unknown baseline or measure.
        UnreadableFile: one of `runs` answers none of the queries.
    """
    plan = plan or index.plan
    measures = measure_names(measures)
    runs = dict(runs or {})
    check_runs_belong(runs, collection.qrels, collection.name)
    notes = [*collection.notes, *_not_indexed(index, collection)]
    queries = dict(collection.queries)
    seconds: dict[str, list[float]] = {}

    def cut(rankings: Iterable[tuple[str, Ranking]]) -> Run:
        return trimmed(rankings, depth, drop_self_matches=drop_self_matches)

    def passed(traces: Mapping[str, Trace], stage: str) -> Run:
        return cut((query, trace[stage]) for query, trace in traces.items())

    found: dict[str, Run] = {}
    if bm25:
        documents = collection.documents or tuple(index.scroll())
        found[BM25] = cut(bm25_run(documents, queries, depth=depth + 1, seconds=seconds.setdefault(BM25, [])).items())
    traces = _traces(index, queries, plan, "searching", progress)
    plans = _stage_plans(plan)
    for stage in plans:
        found[ROW_NAMES.get(stage, stage)] = passed(traces, stage)
    if ablations:
        for name, ablated in ablated_plans(plan).items():
            found[name] = passed(_traces(index, queries, ablated, name, progress), FINAL)
    others = {BM25: found[BM25], **runs} if bm25 else runs
    for name in fuse_with:
        if name not in others:
            raise ValueError(f"there is no run {name!r} to fuse with, there are: {', '.join(others) or 'none'}")
        found[f"{FINAL} + {name}"] = cut(fuse_runs({FINAL: found[FINAL], name: others[name]}).items())
    for name, run in runs.items():
        if name in found:
            raise ValueError(f"a run is named {name!r}, as one of the stages is; give it another name")
        found[name] = cut(run.items())
    for stage, alone in plans.items() if timed_queries else ():
        seconds[ROW_NAMES.get(stage, stage)] = _timed(index, list(queries.values())[:timed_queries], alone)

    report = sparsity_report(index, queries.values()) if sparsity else None
    scores = {name: score(run, collection.qrels, measures) for name, run in found.items()}
    if baseline not in scores:
        raise ValueError(f"the baseline {baseline!r} is not among {', '.join(scores)}")
    main = measures[0]
    return Evaluation(
        collection=collection.name,
        queries=len(queries),
        documents=index.count(),
        encoder=index.encoder.spec.name,
        engine=str(index.info().get("engine", "")),
        plan=plan,
        measures=measures,
        baseline=baseline,
        systems=tuple(
            System(
                name,
                run,
                scores[name],
                None
                if name == baseline or len(collection.qrels) < 2
                else paired_difference(scores[name].by_query[main], scores[baseline].by_query[main], test=test),
                Latency.of(seconds[name]) if seconds.get(name) and timed_queries else None,
                _bytes_needed(name, plan, report),
            )
            for name, run in found.items()
        ),
        ceiling=_ceiling(traces, collection, plan, measures, drop_self_matches),
        traces=traces,
        sparsity=report,
        notes=tuple(notes),
    )


def ablated_plans(plan: SearchPlan) -> dict[str, SearchPlan]:
    """By name: the plan without each of its stages, and with the final order joined in the other way.

    They are for `HybridIndex.rankings`, which gives whole rankings whatever k is: the smaller pools may not have the
    plan's k.
    """
    plans: dict[str, SearchPlan] = {}
    for stage in plan.stages if len(plan.stages) > 1 else ():
        rest = tuple(other for other in plan.stages if other != stage)
        # Something must be left that finds documents, and what has no weight is missing already.
        if plan.weights[stage] and any(plan.weights[other] for other in rest if other != LATE):
            mode = plan.mode if LATE in rest else "fused"
            plans[f"final without {stage}"] = replace(plan, k=1, stages=rest, mode=mode, threshold=None)
    if len(plan.stages) > 1 and plan.mode == "fused":
        if plan.fusion == "min_max":
            plans["final by ranks instead"] = replace(plan, fusion="rrf", threshold=None)
        else:
            plans["final by scores instead"] = replace(plan, fusion="min_max", threshold=None)
    return plans


def _stage_plans(plan: SearchPlan) -> dict[str, SearchPlan]:
    """By stage of a trace, the plan that stops there: what its latency is measured with."""
    least = SearchPlan(
        k=plan.k,
        prefetch_k=max(plan.k, plan.prefetch_k),
        rerank_k=max(plan.k, plan.rerank_k),
        rank_constant=plan.rank_constant,
    )
    plans = {stage: replace(least, stages=(stage,)) for stage in plan.prefetches}
    if len(plan.prefetches) == 2:
        plans[FUSED] = replace(least, stages=plan.prefetches, fusion="rrf")
    if LATE in plan.stages:
        plans[LATE] = replace(plan, mode="cascade")
    return {**plans, FINAL: plan}


def _traces(
    index: HybridIndex, queries: Mapping[str, str], plan: SearchPlan, task: str, progress: bool | None
) -> dict[str, Trace]:
    names, texts = list(queries), list(queries.values())
    traces: list[Trace] = []
    with Progress(task, total=len(texts), show=progress, unit="queries") as bar:
        for start in range(0, len(texts), _QUERIES_AT_ONCE):
            batch = texts[start : start + _QUERIES_AT_ONCE]
            traces += index.rankings(batch, plan=plan)
            bar.advance(len(batch))
    return dict(zip(names, traces, strict=True))


def _timed(index: HybridIndex, queries: Sequence[str], plan: SearchPlan) -> list[float]:
    index.search(queries[0], plan=plan)  # the first one also pays for what is read into memory
    seconds = []
    for query in queries:
        started = time.perf_counter()
        index.search(query, plan=plan)
        seconds.append(time.perf_counter() - started)
    return seconds


def _bytes_needed(name: str, plan: SearchPlan, report: SparsityReport | None) -> float | None:
    if report is None:
        return None
    each = {DENSE: report.dense_bytes, SPARSE: report.sparse_bytes, LATE: report.late_bytes}
    if name in each:
        return each[name]
    if name == ROW_NAMES[FUSED]:
        return each[DENSE] + each[SPARSE]
    # Late interaction on the pool needs what found the pool, too.
    needing = {FINAL: plan, ROW_NAMES[LATE]: plan, **ablated_plans(plan)}
    return sum(each[stage] for stage in needing[name].stages) if name in needing else None


def _not_indexed(index: HybridIndex, collection: JudgedCollection) -> list[str]:
    """A note on relevant documents that the index does not hold, and which no system can find."""
    relevant = list(
        dict.fromkeys(id for grades in collection.qrels.values() for id, grade in grades.items() if grade > 0)
    )
    there: set[str] = set()
    for start in range(0, len(relevant), 1000):
        there |= {document.id for document in index.get(relevant[start : start + 1000])}
    missing = [id for id in relevant if id not in there]
    if not missing:
        return []
    judged_at = collection.places.get(missing[0])
    first = f"the first is {missing[0]!r}" + (f", judged at {judged_at}" if judged_at else "")
    if len(missing) == len(relevant):
        raise ValueError(
            f"none of the {len(relevant):,} relevant documents of {collection.name} is in the index ({first}); "
            f"index the same documents, under the same ids"
        )
    return [
        f"{len(missing):,} of {len(relevant):,} relevant documents are not in the index and count as not found "
        f"({first})"
    ]


def _ceiling(
    traces: Mapping[str, Trace],
    collection: JudgedCollection,
    plan: SearchPlan,
    measures: Sequence[str],
    drop_self_matches: bool,
) -> Ceiling:
    size = plan.rerank_k if LATE in plan.stages else 2 * plan.prefetch_k
    pools = trimmed(
        ((query, trace[FUSED][:size]) for query, trace in traces.items()), size, drop_self_matches=drop_self_matches
    )
    best = {
        query: ranked({scored.id: float(collection.qrels[query].get(scored.id, 0)) for scored in pool})
        for query, pool in pools.items()
    }
    scores = score(best, collection.qrels, [*measures, "SetR"])
    return Ceiling(size, scores.mean["SetR"], scores)
