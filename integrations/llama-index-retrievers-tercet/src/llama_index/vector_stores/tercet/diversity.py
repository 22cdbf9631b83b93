"""Candidates in, a choice of them out of which each next one is near the query and unlike those before."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def most_diverse(query: NDArray[np.float32], candidates: NDArray[np.float32], *, k: int, threshold: float) -> list[int]:
    """Maximal marginal relevance (Carbonell & Goldstein, 1998): positions of the chosen candidates, in their order.

    Each step takes the candidate with the greatest threshold · cos(query, c) − (1 − threshold) · max cos(chosen, c);
    the first is the nearest, and of equals the one that comes first.

    query: (dim,)
    candidates: (n, dim) of length 1
    threshold: 1 is by likeness to the query alone, 0 by unlikeness to the chosen alone
    """
    relevance = candidates @ (query / np.linalg.norm(query))
    chosen: list[int] = []
    left = np.ones(len(candidates), bool)
    overlap = np.full(len(candidates), -np.inf, np.float32)
    while left.any() and len(chosen) < k:
        value = threshold * relevance - (1 - threshold) * overlap if chosen else relevance
        best = int(np.argmax(np.where(left, value, -np.inf)))
        chosen.append(best)
        left[best] = False
        overlap = np.maximum(overlap, candidates @ candidates[best])
    return chosen
