"""Learning tests: the loss falls, and queries that were never seen rank better than before."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from tercet.models.heads import LateHead, SparseHead
from tercet.models.states import TokenStates
from tercet.models.teacher import TopTerms
from tercet.training.distill import (
    DistillationPlan,
    PairIndex,
    Side,
    batches,
    train_sparse_head,
    without_specials,
)

VOCABULARY, HIDDEN, SYNONYMS = 60, 16, 12


def side(texts: list[list[int]], table: np.ndarray, terms: list[list[int]]) -> Side:
    """Texts of word ids between two special tokens; each word's state is its row of the table."""
    rows = [[0, *text, 1] for text in texts]
    ids = np.concatenate(rows).astype(np.int32)
    offsets = np.cumsum([0, *(len(row) for row in rows)])
    indices = np.array([(row * 4)[:4] for row in terms], np.int32)
    return Side(
        TokenStates(table[ids].astype(np.float16), ids, offsets), TopTerms(indices, np.ones_like(indices, np.float16))
    )


def toy_task() -> tuple[Side, Side, list[PairIndex]]:
    """A query says word w, its document says w's synonym w + SYNONYMS: only expansion can find it."""
    rng, random_table = random.Random(0), np.random.default_rng(0)
    table = random_table.standard_normal((VOCABULARY, HIDDEN)).astype(np.float32)
    for word in range(2, 2 + SYNONYMS):
        table[word + SYNONYMS] = table[word] + 0.5 * random_table.standard_normal(HIDDEN)
    queries, documents = [], []
    for _ in range(240):
        words = rng.sample(range(2, 2 + SYNONYMS), 2)
        queries.append(words)
        documents.append([word + SYNONYMS for word in words] + rng.sample(range(30, VOCABULARY), 2))
    both = [[*query, *(word + SYNONYMS for word in query)] for query in queries]
    pairs = [PairIndex(position, position, "toy") for position in range(len(queries))]
    return side(queries, table, both), side(documents, table, both), pairs


def first_hits(head: SparseHead, queries: Side, documents: Side, pairs: list[PairIndex]) -> float:
    """How often an unseen query's own document is the best of the unseen ones."""
    with torch.inference_mode():
        asked = head(*without_specials(*queries.batch([pair.query for pair in pairs])))
        held = head(*without_specials(*documents.batch([pair.document for pair in pairs])))
    scores = asked @ held.T
    return float((scores.diagonal() >= scores.amax(dim=1) - 1e-6).float().mean()) if scores.amax() > 0 else 0.0


def test_a_head_learns_to_expand() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    queries, documents, pairs = toy_task()
    head, late = SparseHead(HIDDEN, VOCABULARY, 8), LateHead(HIDDEN, 8)
    head.start_from(torch.randn(VOCABULARY, HIDDEN), torch.ones(VOCABULARY))
    torch.nn.init.constant_(head.bias, -1.0)  # in 16 dimensions no logit reaches the usual 6
    late.start_from(torch.from_numpy(documents.states.states.astype(np.float32)))
    unseen = pairs[200:]
    before = first_hits(head, queries, documents, unseen)

    plan = DistillationPlan(
        steps=60,
        batch_size=16,
        learning_rate=1e-2,
        projection_learning_rate=1e-2,
        decoder_learning_rate=1e-2,
        imitation=(0.3, 0.1),
        target_document_terms=10,
    )
    train_sparse_head(head, late, queries, documents, pairs[:200], plan)

    assert first_hits(head, queries, documents, unseen) > before + 0.2


def test_batches_have_no_document_twice_and_stay_in_a_source_half_of_the_time() -> None:
    pairs = [PairIndex(n, n // 2, "ab"[n % 4 < 2]) for n in range(200)]
    states = TokenStates(np.zeros((300, 1), np.float16), np.zeros(300, np.int32), np.arange(0, 301, 3))
    drawn = [batch for batch, _ in zip(batches(pairs, states, 10, seed=0), range(40), strict=False)]

    assert all(len({pair.document for pair in batch}) == 10 for batch in drawn)
    assert 8 < sum(len({pair.source for pair in batch}) == 1 for batch in drawn) < 32


def test_too_few_documents_for_a_batch_are_an_error() -> None:
    states = TokenStates(np.zeros((6, 1), np.float16), np.zeros(6, np.int32), np.arange(0, 7, 3))

    with pytest.raises(ValueError, match="at least 20 documents, got 2"):
        next(batches([PairIndex(n, n % 2, "a") for n in range(50)], states, 10, seed=0))


def test_states_survive_a_file(tmp_path: Path) -> None:
    queries = toy_task()[0].states
    queries.save(tmp_path / "states")
    loaded = TokenStates.load(tmp_path / "states")

    assert len(loaded) == len(queries) == 240
    assert np.array_equal(loaded.states[loaded.rows(7)], queries.states[queries.rows(7)])
