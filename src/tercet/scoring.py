"""Vectors in, scores out: late interaction, exactly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tercet.types import MultiVector


def maxsim(query: MultiVector, documents: Sequence[MultiVector]) -> list[float]:
    """Σ over query tokens of the best document token, for each document (Khattab & Zaharia, 2020)."""
    if not documents:
        return []
    packed = np.concatenate([document.vectors for document in documents])
    lengths = [len(document.vectors) for document in documents]
    # One product for all documents; no document is empty, so that each run of columns has a maximum.
    similarities = query.vectors @ packed.T
    best = np.maximum.reduceat(similarities, np.cumsum([0, *lengths[:-1]]), axis=1)
    scores: list[float] = best.sum(axis=0, dtype=np.float64).tolist()
    return scores
