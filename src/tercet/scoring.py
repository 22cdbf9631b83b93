"""Vectors in, scores out: late interaction, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tercet.types import MultiVector, SparseVector


def maxsim(query: MultiVector, documents: Sequence[MultiVector]) -> list[float]:
    """Σ over query tokens of the best document token, for each document (Khattab & Zaharia, 2020)."""
    if not documents:
        return []
    packed = np.concatenate([document.vectors for document in documents])
    lengths = [len(document.vectors) for document in documents]
    # One product for all documents; no document is empty, so that each run of columns has a maximum.
    similarities = query.weighted @ packed.T
    best = np.maximum.reduceat(similarities, np.cumsum([0, *lengths[:-1]]), axis=1)
    scores: list[float] = best.sum(axis=0, dtype=np.float64).tolist()
    return scores


def importance(token_ids: NDArray[Any], sparse: SparseVector, strength: float) -> NDArray[np.float32]:
    """What each row of a query's multi-vector counts, from what its own word weighs in the sparse vector.

    MaxSim counts "of" like "penicillin"; the sparse head of the same pass knows better: 1 + strength · weight, divided
    by the mean. Documents are not touched.

    token_ids: (n_rows,); an id that is no term of the vector weighs 0
    returns: (n_rows,)
    """
    weights = dict(zip(sparse.indices.tolist(), sparse.values.tolist(), strict=True))
    grown = 1 + strength * np.array([weights.get(token, 0.0) for token in token_ids.tolist()], np.float32)
    relative: NDArray[np.float32] = grown / grown.mean()
    return relative
