"""Rankings in, one ranking out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from tercet.types import Ranking, ranked


def reciprocal_rank_fusion(
    rankings: Mapping[str, Ranking], *, rank_constant: int = 60, weights: Mapping[str, float] | None = None
) -> Ranking:
    """Join rankings by position alone: score(d) = Σ weight / (rank_constant + rank(d)), ranks from 1.

    Only ranks are compared, so the rankings need no common score scale (Cormack et al., 2009, with their constant of
    60). A ranking without a weight counts 1. Equal scores are ordered by id.
    """
    totals: defaultdict[str, float] = defaultdict(float)
    for name, ranking in rankings.items():
        weight = 1.0 if weights is None else weights.get(name, 1.0)
        for rank, scored in enumerate(ranking, start=1):
            totals[scored.id] += weight / (rank_constant + rank)
    return ranked(totals)


def min_max_fusion(rankings: Mapping[str, Ranking], *, weights: Mapping[str, float] | None = None) -> Ranking:
    """Join rankings by score: each is stretched to [0, 1], then the weighted mean is taken; absent counts 0.

    Keeps how far apart two scores are, which ranks forget (Bruch et al., 2023: convex combination).
    """
    totals: defaultdict[str, float] = defaultdict(float)
    mass = sum(1.0 if weights is None else weights.get(name, 1.0) for name in rankings)
    for name, ranking in rankings.items():
        if not ranking:
            continue
        weight = (1.0 if weights is None else weights.get(name, 1.0)) / mass
        best, worst = ranking[0].score, ranking[-1].score
        for scored in ranking:
            # One document, or all alike: each is as good as the best.
            share = (scored.score - worst) / (best - worst) if best > worst else 1.0
            totals[scored.id] += weight * share
    return ranked(totals)
