"""How well each head ranks queries that it never learnt from: a model and examples in, nDCG@10 by head out."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor

from tercet.models.states import TokenStates
from tercet.training.data import Example
from tercet.training.model import SideName, ThreeHeads, Views
from tercet.training.plan import Head

#: Texts that are encoded at once.
BATCH = 64
#: Queries that MaxSim compares at once with all documents.
QUERIES_AT_ONCE = 8


class HeldOut:
    """Queries with the documents that they are ranked against: their own positives and negatives, and distractors."""

    def __init__(
        self,
        model: ThreeHeads,
        examples: Sequence[Example],
        training: Sequence[Example],
        *,
        distractors: int,
        max_query_tokens: int,
        max_document_tokens: int,
        seed: int,
    ) -> None:
        self.queries = sorted({example.query for example in examples})
        own = {text for example in examples for text in (example.positive, *example.negatives)}
        others = sorted({example.positive for example in training} - own)
        own |= set(random.Random(f"distractors {seed}").sample(others, min(distractors, len(others))))
        documents = sorted(own)
        row, column = {text: n for n, text in enumerate(self.queries)}, {text: n for n, text in enumerate(documents)}
        self.relevant = torch.zeros(len(row), len(column), dtype=torch.bool)
        for example in examples:
            self.relevant[row[example.query], column[example.positive]] = True
        self._model = model
        self._queries = model.read(self.queries, side="query", max_tokens=max_query_tokens)
        self._documents = model.read(documents, side="document", max_tokens=max_document_tokens)

    @torch.inference_mode()
    def ndcg(self, heads: Sequence[Head]) -> dict[Head, float]:
        """nDCG@10 of each head alone."""
        queries = self._views(self._queries, "query", heads)
        documents = Views.joined(self._views(self._documents, "document", heads))
        scores = [part.scores(documents) for part in queries]
        return {head: ndcg_at_10(torch.cat([part[head] for part in scores]).cpu(), self.relevant) for head in scores[0]}

    def _views(self, read: TokenStates, side: SideName, heads: Sequence[Head]) -> list[Views]:
        size = QUERIES_AT_ONCE if side == "query" else BATCH
        return [
            self._model(self._model.batch(read, range(start, min(start + size, len(read)))), side=side, heads=heads)
            for start in range(0, len(read), size)
        ]


def ndcg_at_10(scores: Tensor, relevant: Tensor) -> float:
    """Mean over queries of Σ 1 / log2(1 + rank) over relevant documents in the first ten, divided by the best possible.

    Here and not from a library, so that a training step asks for no package beyond torch; a test compares it with
    trec_eval. Equal scores count as the worst order: a head that gives every document 0 has found nothing.

    scores: (n_queries, n_docs); relevant: (n_queries, n_docs) bool, at least one in each row
    """
    discounts = 1 / torch.log2(torch.arange(2.0, 12.0))
    total = 0.0
    for row, wanted in zip(scores, relevant, strict=True):
        # Irrelevant ones first, then a stable sort by score: among equals they stay first.
        order = torch.cat([(~wanted).nonzero().squeeze(1), wanted.nonzero().squeeze(1)])
        ranked = order[row[order].sort(descending=True, stable=True).indices[:10]]
        gain = float((wanted[ranked] * discounts[: len(ranked)]).sum())
        total += gain / float(discounts[: int(wanted.sum())].sum())
    return total / len(scores)
