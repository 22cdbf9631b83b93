"""Scores of a batch: what each head made of queries and documents in, a (n_queries, n_docs) matrix of scores out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


def maxsim(queries: Tensor, query_mask: Tensor, documents: Tensor, document_mask: Tensor) -> Tensor:
    """Late interaction: every query token takes its best document token; their sum is the score.

    Khattab and Zaharia (2020), all queries against all documents.

    queries: (n_queries, n_query_tokens, dim), documents: (n_docs, n_doc_tokens, dim)
    query_mask, document_mask: the same without dim, False at padding
    returns: (n_queries, n_docs)
    """
    # One product of two matrices, instead of as many small ones as there are pairs.
    similarities = (queries.flatten(0, 1) @ documents.flatten(0, 1).T).view(
        *queries.shape[:2], *documents.shape[:2]
    )  # (n_queries, n_query_tokens, n_docs, n_doc_tokens)
    # Padding must lose even to a negative similarity, hence -inf and not 0.
    best = similarities.masked_fill(~document_mask, -torch.inf).amax(dim=-1)
    return (best * query_mask[:, :, None]).sum(dim=1)


def padded(rows: Tensor, lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Packed rows (n_tokens of all texts, dim) as (batch, n_tokens, dim) with a mask (batch, n_tokens)."""
    texts = pad_sequence(list(torch.split(rows, list(lengths))), batch_first=True)
    positions = torch.arange(texts.shape[1], device=rows.device)
    return texts, positions[None, :] < torch.tensor(lengths, device=rows.device)[:, None]


def late_scores(
    queries: Tensor, query_lengths: Sequence[int], documents: Tensor, document_lengths: Sequence[int]
) -> Tensor:
    """MaxSim of packed rows, all queries against all documents: (n_queries, n_docs)."""
    return maxsim(*padded(queries, query_lengths), *padded(documents, document_lengths))


def importance(token_ids: Tensor, lengths: Sequence[int], weights: Tensor, strength: float) -> Tensor:
    """`tercet.scoring.importance` for a batch: what each row of the queries' multi-vectors counts.

    token_ids: (n_rows of all texts,); weights: (n_texts, vocabulary), the sparse vectors
    returns: (n_rows, 1)
    """
    device = token_ids.device
    sizes = torch.tensor(lengths, device=device)
    texts = torch.repeat_interleave(torch.arange(len(lengths), device=device), sizes)
    grown = 1 + strength * weights[texts, token_ids]
    means = [part.mean().expand(len(part)) for part in torch.split(grown, list(lengths))]
    return (grown / torch.cat(means))[:, None]
