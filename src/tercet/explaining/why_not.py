"""A document that was expected in, the gates on its way to the hits out: where it fell, and by how much."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tercet.explaining.explanation import Explanation
from tercet.explaining.inquiry import StagePart
from tercet.filters import filterable, matches, parse_filter
from tercet.types import FUSED, LATE, SPARSE, Document


@dataclass(frozen=True, slots=True)
class Gate:
    """One test that a document has to pass.

    name: "filter", "prefetch", "pool", "threshold" or "k"
    score, needed: what it has and what the last one that passed has, where the gate goes by score
    """

    name: str
    passed: bool
    says: str
    score: float | None = None
    needed: float | None = None

    @property
    def missing(self) -> float:
        """By how much it failed; 0 where it passed or where no score decides."""
        if self.passed or self.score is None or self.needed is None:
            return 0.0
        return self.needed - self.score


@dataclass(frozen=True, eq=False)
class WhyNot:
    """Why a document is not among the hits.

    gates: in the order in which a query passes them
    explanation: of the score it has, or would have in each stage
    """

    gates: tuple[Gate, ...]
    explanation: Explanation = field(repr=False)

    @property
    def fell_at(self) -> Gate | None:
        """The first gate that it did not pass; None for a document that is among the hits."""
        return None if self.found else next(gate for gate in self.gates if not gate.passed)

    @property
    def found(self) -> bool:
        """It is among the hits. A gate may lie behind it: what the pool left out can come by dense and sparse alone."""
        return self.gates[-1].passed

    def to_dict(self, *, ask_model: bool = False) -> dict[str, Any]:
        """Everything as JSON values; `ask_model` as of `Explanation.to_dict`."""
        from tercet.explaining.as_dict import why_not_to_dict

        return why_not_to_dict(self, ask_model=ask_model)

    def __str__(self) -> str:
        from tercet.explaining.terminal import as_text

        return as_text(self)


def why_not(explanation: Explanation, where: Mapping[str, Any] | None) -> WhyNot:
    """Walk a document through the gates of the plan; `where` is the filter as its reader wrote it."""
    return WhyNot(tuple(_gates(explanation, where)), explanation)


def _gates(explanation: Explanation, where: Mapping[str, Any] | None) -> Iterator[Gate]:
    if where is not None:
        yield (gate := _filter_gate(explanation.document, where))
        if not gate.passed:  # nothing behind the filter has seen it
            return
    yield _prefetch_gate(explanation)
    if LATE in explanation.inquiry.plan.stages:
        yield _pool_gate(explanation)
    if (threshold := explanation.inquiry.plan.threshold) is not None:
        yield _threshold_gate(explanation, threshold)
    yield _k_gate(explanation)


def _filter_gate(document: Document, where: Mapping[str, Any]) -> Gate:
    values = filterable(document.id, document.metadata)

    def passes(condition: Mapping[str, Any]) -> bool:
        return matches(parse_filter(condition), values)

    if passes(where):
        return Gate("filter", True, "its metadata match")
    failing = ", ".join(f"{key!r}: {value!r}" for key, value in where.items() if not passes({key: value}))
    return Gate("filter", False, f"its metadata do not match {{{failing}}}")


def _prefetch_gate(explanation: Explanation) -> Gate:
    """Dense or sparse has to find it; one that has the weight 0 finds nothing by itself."""
    plan = explanation.inquiry.plan
    parts = [explanation.stage(stage) for stage in plan.prefetches]
    finding = [part for part in parts if part.rank is not None and (plan.weights[part.stage] > 0 or len(parts) == 1)]
    says = "; ".join(_prefetch_line(part, plan.prefetch_k, plan.weights[part.stage]) for part in parts)
    if finding:
        return Gate("prefetch", True, says)
    nearest = min((part for part in parts if part.ranked), key=lambda part: _relative_gap(part), default=parts[0])
    return Gate("prefetch", False, says, nearest.computed, nearest.worst)


def _prefetch_line(part: StagePart, limit: int, weight: float) -> str:
    if part.rank is not None:
        note = ", which has the weight 0 and finds nothing by itself" if weight == 0 else ""
        return f"{part.stage} found it at rank {part.rank}{note}"
    if part.stage == SPARSE and part.computed <= 0:
        return "sparse: no shared term"
    if part.ranked < limit:
        return f"{part.stage} ranked {part.ranked} documents, all that match, and not this one"
    return f"{part.stage}: {part.computed:.4f}, the last of {part.ranked} has {part.worst:.4f}"


def _relative_gap(part: StagePart) -> float:
    return (part.worst - part.computed) / (abs(part.worst) or 1.0)


def _pool_gate(explanation: Explanation) -> Gate:
    """Late interaction scores the first `rerank_k` of the fused prefetches."""
    inquiry, late = explanation.inquiry, explanation.stage(LATE)
    if late.rank is not None:
        return Gate("pool", True, f"late interaction put it at rank {late.rank} of {late.ranked}")
    place = 1 + sum(scored.score > late.computed for scored in inquiry.trace[LATE])
    would = f"late interaction would have put it at rank {place} of {late.ranked + 1}"
    pool = inquiry.trace[FUSED][: inquiry.plan.rerank_k]
    if explanation.key not in inquiry.places[FUSED]:
        return Gate("pool", False, f"it is not in the pool; {would}")
    rank, score = inquiry.places[FUSED][explanation.key]
    says = f"rank {rank} of the pool, of which {len(pool)} are reranked; {would}"
    return Gate("pool", False, says, score, pool[-1].score)


def _threshold_gate(explanation: Explanation, threshold: float | Mapping[str, float]) -> Gate:
    if not isinstance(threshold, Mapping):
        passed = explanation.rank is not None and explanation.score >= threshold
        return Gate("threshold", passed, "of the final score", explanation.score, threshold)
    for stage, least in threshold.items():
        part = explanation.stage(stage)
        if part.score is None:
            return Gate("threshold", False, f"{stage} did not find it", part.computed, least)
        if part.score < least:
            return Gate("threshold", False, f"of {stage}", part.score, least)
    return Gate("threshold", True, "of " + ", ".join(threshold))


def _k_gate(explanation: Explanation) -> Gate:
    inquiry = explanation.inquiry
    k, final = inquiry.plan.k, inquiry.passing
    rank = next((rank for rank, scored in enumerate(final, start=1) if scored.id == explanation.key), None)
    if rank is None:
        return Gate("k", False, f"it is not among the {len(final)} documents that were ranked")
    says = f"rank {rank} of {len(final)}, of which {min(k, len(final))} are returned"
    return Gate("k", rank <= k, says, explanation.score, final[:k][-1].score)
