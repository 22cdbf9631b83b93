import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from tercet.merging import merge_tokens, token_groups
from tercet.types import MultiVector


def text_like(n_tokens: int, *, dim: int = 96, seed: int = 0) -> NDArray[np.float32]:
    """Unit rows that crowd around a few directions, as the tokens of one text do."""
    random = np.random.default_rng(seed)
    topics = 1.5 * random.standard_normal((max(1, n_tokens // 5), dim))
    rows = random.standard_normal((n_tokens, dim)) + topics[random.integers(0, len(topics), n_tokens)]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@given(n_tokens=st.integers(2, 90), factor=st.integers(2, 4), seed=st.integers(0, 10_000))
def test_groups_are_those_of_scipys_ward(n_tokens: int, factor: int, seed: int) -> None:
    vectors = text_like(n_tokens, seed=seed)
    labels = fcluster(linkage(vectors.astype(np.float64), "ward"), max(1, n_tokens // factor), "maxclust")
    expected = {frozenset(np.flatnonzero(labels == label).tolist()) for label in set(labels.tolist())}

    assert {frozenset(group) for group in token_groups(vectors, factor)} == expected


@pytest.mark.parametrize(("n_tokens", "factor", "rows"), [(1, 2, 1), (2, 3, 1), (9, 2, 4), (9, 3, 3), (9, 1, 9)])
def test_one_row_for_every_so_many_tokens(n_tokens: int, factor: int, rows: int) -> None:
    assert len(merge_tokens(MultiVector(text_like(n_tokens)), factor).vectors) == rows


def test_a_row_is_the_mean_of_its_group_at_length_one() -> None:
    vectors = text_like(12)
    rows = merge_tokens(MultiVector(vectors), 3).vectors

    for row, group in zip(rows, token_groups(vectors, 3), strict=True):
        mean = vectors[group].mean(axis=0)
        assert row == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)


def test_rows_stand_in_the_order_of_their_first_tokens() -> None:
    firsts = [group[0] for group in token_groups(text_like(40), 2)]

    assert firsts == sorted(firsts)
    assert all(group == sorted(group) for group in token_groups(text_like(40), 2))


def test_equal_tokens_become_one_row_that_is_them() -> None:
    vectors = np.repeat(np.eye(3, 8, dtype=np.float32), 2, axis=0)

    assert np.array_equal(merge_tokens(MultiVector(vectors), 2).vectors, np.eye(3, 8, dtype=np.float32))


def test_opposite_tokens_keep_the_first() -> None:
    vectors = np.array([[0, 1.0], [0, -1.0]], np.float32)

    assert np.array_equal(merge_tokens(MultiVector(vectors), 2).vectors, vectors[:1])


def test_a_passage_takes_milliseconds() -> None:
    vectors = MultiVector(text_like(137))
    fastest = min(_seconds(vectors) for _ in range(20))

    assert fastest < 0.01  # about two; the rest is for a busy machine


def _seconds(vectors: MultiVector) -> float:
    started = time.perf_counter()
    merge_tokens(vectors, 2)
    return time.perf_counter() - started
