"""A document's token vectors in, fewer of them out: those most alike become one, their mean.

Token pooling (Clavié et al., 2024): hierarchical clustering by Ward's criterion, cut where a half or a third of the
rows is left. A query's tokens stay as they are, and MaxSim neither knows nor cares how many tokens a row stands for.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tercet.types import MultiVector

#: Tokens that may come into one group: of a longer document each stretch of so many is merged by itself, for time and
#: memory grow with the square.
TOGETHER = 1024


def merge_tokens(multi_vector: MultiVector, factor: int) -> MultiVector:
    """Keep one row for every `factor` tokens, at least one; each row is the mean of its group at length 1.

    Rows stand in the order of their groups' first tokens.
    """
    vectors = multi_vector.vectors
    groups = token_groups(vectors, factor)
    if len(groups) == len(vectors):
        return multi_vector
    means = np.array([vectors[group].mean(axis=0) for group in groups])
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    # Opposite tokens have no mean direction; the first of them then speaks for the group.
    firsts = vectors[[group[0] for group in groups]]
    return MultiVector(np.where(lengths > 1e-4, means / np.maximum(lengths, 1e-4), firsts).astype(np.float32))


def token_groups(vectors: NDArray[np.float32], factor: int) -> list[list[int]]:
    """The positions of the tokens, of (n_tokens, dim), that become one row."""
    groups: list[list[int]] = []
    for start in range(0, len(vectors), TOGETHER):
        groups += [[start + token for token in group] for group in _ward(vectors[start : start + TOGETHER], factor)]
    return groups


def _ward(vectors: NDArray[np.float32], factor: int) -> list[list[int]]:
    """Ward's clustering of (n_tokens, dim), cut where n_tokens // factor groups are left.

    The same groups as SciPy's `linkage(vectors, "ward")`, without SciPy: in each round all pairs that are each other's
    nearest are joined, which for Ward's criterion gives the joins of the one-by-one algorithm (they are "reducible"),
    in other order. About two milliseconds for a passage (benchmarks/storage.py).
    """
    n_tokens = len(vectors)
    wanted = n_tokens - max(1, n_tokens // factor)
    joins = _lowest_joins(vectors, wanted)
    leader = list(range(n_tokens))
    # Lowest first; a join's two sides are named by their first tokens, which an earlier join may have put elsewhere.
    for _, first, second in joins:
        leader[_leader_of(leader, second)] = _leader_of(leader, first)
    groups: dict[int, list[int]] = {}
    for token in range(n_tokens):
        groups.setdefault(_leader_of(leader, token), []).append(token)
    return list(groups.values())


def _lowest_joins(vectors: NDArray[np.float32], wanted: int) -> list[tuple[float, int, int]]:
    """The `wanted` lowest joins of the tree: (height, first token of one side, first token of the other)."""
    means = vectors.astype(np.float64)
    sizes = np.ones(len(means))
    firsts = np.arange(len(means))
    joins: list[tuple[float, int, int]] = []
    while len(firsts) > 1:
        # How much the squared distances to the mean grow by a join: |A||B| / (|A| + |B|) · ‖mean A − mean B‖².
        squares = np.einsum("nd,nd->n", means, means)
        heights = squares[:, None] + squares[None, :] - 2 * means @ means.T
        heights *= sizes[:, None] * sizes[None, :] / (sizes[:, None] + sizes[None, :])
        np.fill_diagonal(heights, np.inf)
        nearest = heights.argmin(axis=1)
        height = heights[np.arange(len(nearest)), nearest]
        joins.sort()
        # Joins never get lower from here on, so those below the lowest of now are the lowest of all.
        if len(joins) >= wanted and (not wanted or joins[wanted - 1][0] <= height.min()):
            break
        here = np.arange(len(nearest))
        one = np.flatnonzero((nearest[nearest] == here) & (here < nearest))
        other = nearest[one]
        joins += zip(height[one].tolist(), firsts[one].tolist(), firsts[other].tolist(), strict=True)
        total = sizes[one] + sizes[other]
        means[one] = (means[one] * sizes[one, None] + means[other] * sizes[other, None]) / total[:, None]
        sizes[one] = total
        firsts[one] = np.minimum(firsts[one], firsts[other])
        kept = np.ones(len(nearest), np.bool_)
        kept[other] = False
        means, sizes, firsts = means[kept], sizes[kept], firsts[kept]
    return sorted(joins)[:wanted]


def _leader_of(leader: list[int], token: int) -> int:
    while leader[token] != token:
        token = leader[token]
    return token
