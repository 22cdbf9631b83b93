"""The way of a query: text in, hits out. Written once, for callers that block and for event loops.

encode ─► prefetch (dense, sparse) ─► fuse ─► rerank (late interaction) ─► final order ─► hits, each with its trace
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from tercet.encoders.base import Encoder
from tercet.filters import Filter
from tercet.fusion import min_max_fusion, reciprocal_rank_fusion
from tercet.observing import ENCODE, FUSE, PREFETCH, RERANK, Observer, observed
from tercet.plan import SearchPlan
from tercet.store.base import Reader
from tercet.types import (
    FUSED,
    LATE,
    SPARSE,
    Embedding,
    Hit,
    Ranking,
    SparseVector,
    StageScore,
    TermMatch,
)

Trace: TypeAlias = dict[str, Ranking]
Embed: TypeAlias = Callable[[], Awaitable[list[Embedding]]]

FINAL = "final"

#: Documents of each ranking that an observer is told.
_TOLD = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked: one or several queries, all in the same way."""

    queries: Sequence[str]
    plan: SearchPlan
    where: Filter | None = None
    observer: Observer | None = None


async def rank(question: Question, embed: Embed, reader: Reader) -> tuple[list[Embedding], list[Trace]]:
    """Every stage's whole ranking of keys for each query, by stage, with "fused" (the pool) and "final"."""
    plan, observer = question.plan, question.observer
    with observed(observer, ENCODE, {"queries": list(question.queries)}):
        embeddings = await embed()

    with observed(observer, PREFETCH, {"stages": list(plan.prefetches), "limit": plan.prefetch_k}) as told:
        traces = await reader.prefetch(embeddings, plan.prefetches, limit=plan.prefetch_k, where=question.where)
        told["rankings"] = await _first(traces, plan.prefetches, observer, reader)

    with observed(observer, FUSE, {"rank_constant": plan.rank_constant, "weights": dict(plan.weights)}) as told:
        for trace in traces:
            trace[FUSED] = reciprocal_rank_fusion(
                _with_weight(trace, plan.prefetches, plan), rank_constant=plan.rank_constant, weights=plan.weights
            )
        told["rankings"] = await _first(traces, [FUSED], observer, reader)

    if LATE in plan.stages:
        pools = [[scored.id for scored in trace[FUSED][: plan.rerank_k]] for trace in traces]
        with observed(observer, RERANK, {"candidates": [len(pool) for pool in pools]}) as told:
            candidates = [(embedding.multi_vector, pool) for embedding, pool in zip(embeddings, pools, strict=True)]
            for trace, ranking in zip(traces, await reader.rerank(candidates), strict=True):
                trace[LATE] = ranking
            told["rankings"] = await _first(traces, [LATE], observer, reader)

    for trace in traces:
        trace[FINAL] = _final_order(trace, plan)
    return embeddings, traces


async def answer(question: Question, embed: Embed, reader: Reader, encoder: Encoder) -> list[list[Hit]]:
    """The best documents for each query, best first."""
    embeddings, traces = await rank(question, embed, reader)
    finals = [passing(trace, question.plan)[: question.plan.k] for trace in traces]
    stored = await reader.read(list({scored.id for final in finals for scored in final}), vectors=[SPARSE])
    return [
        [
            Hit(
                stored[scored.id].document,
                scored.score,
                stages[scored.id],
                _shared_terms(embedding.sparse, stored[scored.id].sparse, encoder),
            )
            for scored in final
            if scored.id in stored  # a document that was deleted between ranking and reading is gone, not an error
        ]
        for embedding, stages, final in zip(embeddings, map(_stages_by_id, traces, finals), finals, strict=True)
    ]


def _final_order(trace: Trace, plan: SearchPlan) -> Ranking:
    if len(plan.stages) == 1:
        return trace[plan.stages[0]]  # with its own scores: there is nothing to join
    if plan.mode == "cascade":
        return trace[LATE]
    if LATE not in plan.stages and plan.fusion == "rrf":
        return trace[FUSED]
    rankings = _with_weight(trace, plan.stages, plan)
    if plan.fusion == "min_max":
        return min_max_fusion(rankings, weights=plan.weights)
    return reciprocal_rank_fusion(rankings, rank_constant=plan.rank_constant, weights=plan.weights)


def _with_weight(trace: Trace, stages: Iterable[str], plan: SearchPlan) -> dict[str, Ranking]:
    """The rankings to join: a stage of weight 0 brings no documents of its own."""
    return {stage: trace[stage] for stage in stages if plan.weights[stage] > 0}


def passing(trace: Trace, plan: SearchPlan) -> Ranking:
    """The documents of the final order that reach the plan's threshold."""
    final, threshold = trace[FINAL], plan.threshold
    if isinstance(threshold, Mapping):
        for stage, least in threshold.items():
            passed = {scored.id for scored in trace[stage] if scored.score >= least}
            final = [scored for scored in final if scored.id in passed]
    elif threshold is not None:
        final = [scored for scored in final if scored.score >= threshold]
    return final


def _stages_by_id(trace: Trace, final: Ranking) -> dict[str, tuple[StageScore, ...]]:
    """The place of each final document in each stage that found it, in the order of the stages."""
    places: dict[str, list[StageScore]] = {scored.id: [] for scored in final}
    for stage, ranking in trace.items():
        if stage != FINAL:
            for rank, scored in enumerate(ranking, start=1):
                if scored.id in places:
                    places[scored.id].append(StageScore(stage, rank, scored.score))
    return {id_: tuple(stages) for id_, stages in places.items()}


def _shared_terms(query: SparseVector, document: Mapping[int, float] | None, encoder: Encoder) -> tuple[TermMatch, ...]:
    weights = document or {}
    shared = [
        (index, weight, weights[index])
        for index, weight in zip(query.indices.tolist(), query.values.tolist(), strict=True)
        if index in weights
    ]
    shared.sort(key=lambda match: (-match[1] * match[2], match[0]))
    terms = encoder.terms([index for index, _, _ in shared])
    return tuple(
        TermMatch(term, query_weight, document_weight)
        for term, (_, query_weight, document_weight) in zip(terms, shared, strict=True)
    )


async def _first(
    traces: Sequence[Trace], stages: Sequence[str], observer: Observer | None, reader: Reader
) -> list[dict[str, Any]]:
    """For an observer: the first documents of some stages, for each query, as [id, score]."""
    if observer is None:
        return []
    first = [{stage: trace[stage][:_TOLD] for stage in stages} for trace in traces]
    ids = await reader.document_ids(list({key for each in first for ranking in each.values() for key, _ in ranking}))
    return [
        {stage: [[ids[key], score] for key, score in ranking if key in ids] for stage, ranking in each.items()}
        for each in first
    ]
