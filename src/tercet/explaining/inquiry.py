"""A query with everything that was ranked for it in, what each stage gave to a document's final score out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tercet.encoders.base import Encoder, Explainable, TextTokens, explainable
from tercet.plan import SearchPlan
from tercet.query import FINAL, Trace, passing
from tercet.types import DENSE, FUSED, LATE, SPARSE, Embedding, Ranking, Stored


@dataclass(frozen=True, slots=True)
class StagePart:
    """What one stage says of a document, and what it gives to the final score.

    rank, score: where the stage put it, from 1, and the engine's score; None where the stage did not rank it
    computed: the same score as a sum over the stored vectors, ranked or not
    weight: in the final order; 0 for a stage that does not join it
    contribution: to the final score; those of all stages sum to it
    best, worst: the first and the last score of the stage's ranking
    ranked: how many documents the stage ranked
    """

    stage: str
    rank: int | None
    score: float | None
    computed: float
    weight: float
    contribution: float
    best: float
    worst: float
    ranked: int

    @property
    def residual(self) -> float:
        """What the engine's score has beyond the sum: the engine's rounding, and the order in which it adds."""
        return 0.0 if self.score is None else self.score - self.computed


@dataclass(frozen=True, eq=False)
class Inquiry:
    """One query as it was answered.

    trace: every stage's ranking of the store's keys, with "fused" and "final"
    dense_given: the query's dense vector was made elsewhere, so `encoder` makes none that is comparable
    merge_tokens: for how many tokens of a document a stored row stands, on average
    """

    query: str
    plan: SearchPlan
    embedding: Embedding
    trace: Trace
    encoder: Encoder
    dense_given: bool = False
    merge_tokens: int = 1

    @cached_property
    def teller(self) -> Explainable:
        return explainable(self.encoder)

    @cached_property
    def tokens(self) -> TextTokens:
        return self.teller.query_tokens(self.query)

    @cached_property
    def origins(self) -> Mapping[int, int]:
        """`Explainable.query_origins`; one pass of the model."""
        return self.teller.query_origins(self.query)

    @cached_property
    def weights(self) -> dict[int, float]:
        """The query's sparse vector by vocabulary index."""
        sparse = self.embedding.sparse
        return dict(zip(sparse.indices.tolist(), sparse.values.tolist(), strict=True))

    @cached_property
    def dense(self) -> NDArray[np.float32]:
        """(dim,) the query's dense vector at length 1, as stored ones are."""
        dense = self.embedding.dense
        unit: NDArray[np.float32] = dense / np.linalg.norm(dense)
        return unit

    @cached_property
    def places(self) -> dict[str, dict[str, tuple[int, float]]]:
        """For each stage the rank, from 1, and the score of each key."""
        return {
            stage: {scored.id: (rank, scored.score) for rank, scored in enumerate(ranking, start=1)}
            for stage, ranking in self.trace.items()
        }

    @cached_property
    def joined(self) -> dict[str, float]:
        """The stages whose rankings the final order joins, with the share that each of them has in it."""
        plan = self.plan
        if len(plan.stages) == 1:
            return {plan.stages[0]: 1.0}
        if plan.mode == "cascade":
            return {LATE: 1.0}
        weights = {stage: plan.weights[stage] for stage in plan.stages if plan.weights[stage] > 0}
        mass = sum(weights.values()) if plan.fusion == "min_max" else 1.0
        return {stage: weight / mass for stage, weight in weights.items()}

    @cached_property
    def passing(self) -> Ranking:
        """The final order without what the plan's threshold drops; its first k are the hits."""
        return passing(self.trace, self.plan)

    @property
    def takes_scores(self) -> bool:
        """The final score is a stage's own: there was nothing to join."""
        return len(self.plan.stages) == 1 or self.plan.mode == "cascade"

    def final(self, key: str) -> tuple[int | None, float]:
        """Rank and score in the final order; a document that is not in it has none, and the score 0."""
        return self.places[FINAL].get(key, (None, 0.0))

    def stages(self, key: str, stored: Stored, grid: NDArray[np.float32]) -> tuple[StagePart, ...]:
        """What every stage of the plan says of a document, in the order in which a query passes them.

        grid: `similarities` of the document
        """
        order = [stage for stage in (DENSE, SPARSE, FUSED, LATE) if stage in self.trace]
        if len(self.plan.prefetches) == 1:
            order.remove(FUSED)  # one ranking fused is that ranking
        return tuple(self._stage(stage, key, stored, grid) for stage in order)

    @property
    def importance(self) -> NDArray[np.float32]:
        """(n_query_tokens,): what each row's maximum counts."""
        late = self.embedding.multi_vector
        return np.ones(len(late.vectors), np.float32) if late.importance is None else late.importance

    def similarities(self, stored: Stored) -> NDArray[np.float32]:
        """(n_query_tokens, n_doc_tokens): what late interaction takes the row-wise maximum of."""
        query = self.embedding.multi_vector.vectors
        grid: NDArray[np.float32] = query @ (query[:0] if stored.late is None else stored.late).T
        return grid

    def _computed(self, stage: str, key: str, stored: Stored, grid: NDArray[np.float32]) -> float:
        """A stage's score from the stored vectors: cosine, Σ shared terms, Σ query tokens, or for "fused" Σ ranks."""
        match stage:
            case "dense":
                return 0.0 if stored.dense is None else float(self.dense @ stored.dense)
            case "sparse":
                weights = stored.sparse or {}
                return sum(weight * weights[index] for index, weight in self.weights.items() if index in weights)
            case "late":
                return float((grid.max(axis=1) * self.importance).sum(dtype=np.float64)) if grid.size else 0.0
            case _:
                return sum(self._reciprocal_rank(stage, key) for stage in self.plan.prefetches)

    def _stage(self, stage: str, key: str, stored: Stored, grid: NDArray[np.float32]) -> StagePart:
        ranking = self.trace[stage]
        rank, score = self.places[stage].get(key, (None, None))
        return StagePart(
            stage=stage,
            rank=rank,
            score=score,
            computed=self._computed(stage, key, stored, grid),
            weight=self.joined.get(stage, 0.0),
            contribution=self._contribution(stage, key, ranking),
            best=ranking[0].score if ranking else 0.0,
            worst=ranking[-1].score if ranking else 0.0,
            ranked=len(ranking),
        )

    def _contribution(self, stage: str, key: str, ranking: Ranking) -> float:
        rank, score = self.places[stage].get(key, (None, 0.0))
        if stage not in self.joined or rank is None:
            return 0.0
        if self.takes_scores:
            return score
        if self.plan.fusion == "rrf":
            return self._reciprocal_rank(stage, key)
        best, worst = ranking[0].score, ranking[-1].score
        return self.joined[stage] * ((score - worst) / (best - worst) if best > worst else 1.0)

    def _reciprocal_rank(self, stage: str, key: str) -> float:
        rank, _ = self.places[stage].get(key, (None, 0.0))
        return 0.0 if rank is None else self.plan.weights[stage] / (self.plan.rank_constant + rank)
