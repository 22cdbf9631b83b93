"""From a text's tokens to one sparse vector: logits or token ids in, (batch, vocabulary) weights out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from tercet.models.heads import SparseHead

Pooling = Literal["max", "sum"]


def sparse_vectors(
    head: SparseHead, states: Tensor, token_ids: Tensor, lengths: Sequence[int], *, pooling: Pooling
) -> Tensor:
    """Weigh the vocabulary for each text with our head: (batch, vocabulary).

    On a processor, "max" goes through the head's tiles. On a GPU all logits at once are quicker than many small
    products, and gradient caching bounds how many texts they are for.
    """
    if pooling == "max" and not states.is_cuda:
        # The tiles are written for f32, whatever the trunk computed in.
        with torch.autocast("cpu", enabled=False):
            vectors: Tensor = head(states.float(), token_ids, lengths)
        return vectors
    projected, bonus = head.token_terms(states, token_ids, lengths)
    if pooling == "max":
        return head.even(head.weigh(max_over_padded(projected, head.decoder, bonus, token_ids, lengths) + head.bias))
    logits = projected @ head.decoder.T
    own = torch.arange(len(token_ids), device=token_ids.device), token_ids
    logits = logits.index_put(own, bonus.to(logits.dtype), accumulate=True).float()
    weights = torch.split(head.weigh(logits + head.bias), list(lengths))
    return head.even(torch.stack([part.sum(dim=0) for part in weights]))


def max_over_padded(
    projected: Tensor, decoder: Tensor, bonus: Tensor, token_ids: Tensor, lengths: Sequence[int]
) -> Tensor:
    """What `tercet.models.heads.MaxOverTokens` computes, with all logits at once: (batch, vocabulary)."""
    device = projected.device
    sizes = torch.tensor(lengths, device=device)
    starts = sizes.cumsum(0) - sizes
    # Padding repeats the text's last token: it cannot change a maximum, so nothing needs to be masked.
    position = torch.arange(max(lengths), device=device)[None, :].minimum(sizes[:, None] - 1)
    pooled = (projected[starts[:, None] + position] @ decoder.T).amax(dim=1).float()
    own = (projected * decoder[token_ids]).sum(dim=-1).float() + bonus.float()
    texts = torch.repeat_interleave(torch.arange(len(lengths), device=device), sizes)
    # The bonus is positive: where a token's own word stands with it, the one without never wins.
    flat = pooled.flatten().scatter_reduce(0, texts * len(decoder) + token_ids, own, reduce="amax")
    return flat.view_as(pooled)


def max_pooling(logits: Tensor, lengths: Sequence[int]) -> Tensor:
    """SPLADE v2 (Formal et al., 2021b): max over tokens of log1p(relu(logit)).

    log1p and relu are monotone, so they come after the max: one number a term instead of one a token and term.
    `tercet.models.heads.MaxOverTokens` does the same without ever holding all logits.

    logits: (n_tokens of all texts, vocabulary); lengths: tokens of each text
    returns: (batch, vocabulary)
    """
    return torch.log1p(torch.relu(torch.stack([part.amax(dim=0) for part in torch.split(logits, list(lengths))])))


def sum_pooling(logits: Tensor, lengths: Sequence[int]) -> Tensor:
    """SPLADE v1 (Formal et al., 2021a): sum over tokens of log1p(relu(logit)); a word said twice counts twice.

    Shapes as in `max_pooling`.
    """
    weights = torch.log1p(torch.relu(logits))
    return torch.stack([part.sum(dim=0) for part in torch.split(weights, list(lengths))])


class InferenceFreeQueries(nn.Module):
    """Queries without a model: each word of the query weighs what a table says (SPLADE-doc; Geng et al., 2024).

    The table starts as the inverse document frequency and may be learnt. Then only documents are expanded and a query
    costs a look-up. A word counts once, however often the query says it.
    """

    def __init__(self, inverse_document_frequency: Tensor, *, learned: bool = True) -> None:
        """inverse_document_frequency: (vocabulary,), non-negative."""
        super().__init__()
        # Learnt as what softplus makes of it: a weight can become small, never negative.
        start = inverse_document_frequency.clamp(min=1e-4)
        self.table = nn.Parameter(start + torch.log(-torch.expm1(-start)), requires_grad=learned)

    @property
    def weights(self) -> Tensor:
        """(vocabulary,), positive."""
        return nn.functional.softplus(self.table)

    def forward(self, token_ids: Tensor, lengths: Sequence[int]) -> Tensor:
        """token_ids: (n_tokens of all texts,) without special tokens; returns: (batch, vocabulary)."""
        texts = torch.repeat_interleave(
            torch.arange(len(lengths), device=token_ids.device), torch.tensor(lengths, device=token_ids.device)
        )
        said = torch.zeros(len(lengths), len(self.table), device=token_ids.device)
        said[texts, token_ids] = 1.0
        return said * self.weights
