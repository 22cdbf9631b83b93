"""The heads in torch: token states of the trunk in, one representation each out.

All tensors are *packed*: the tokens of a batch stand end to end, without padding, and `lengths` says how many belong to
each text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tercet.checkpoint import USUAL_LENGTH, SparseForm
from tercet.models.trunk import SideTrunk, counts_in_text

#: Tokens and vocabulary rows of one tile of logits: 512 × 1024 f32 numbers are 2 MB, which stays in the cache.
TILE_TOKENS, TILE_TERMS = 512, 1024
OWN_FORM = SparseForm()


def dense_head(states: Tensor, lengths: Sequence[int]) -> Tensor:
    """Mean over a text's tokens, then length 1, as sentence-transformers does for all-MiniLM.

    states: (n_tokens, hidden)
    returns: (batch, hidden)
    """
    return F.normalize(torch.stack([part.mean(dim=0) for part in states.split(list(lengths))]), dim=-1)


class SparseHead(nn.Module):
    """SPLADE's vocabulary head (Formal et al., 2021) with a low-rank decoder and a lexical bonus.

    z = LayerNorm(GELU(T h) + h), p = P z, logits = D p + b with D: (vocabulary, rank). Rank 128 costs a third of the
    full decoder. What low rank loses is sharpness on the exact word; the bonus gives it back: a token adds
    softplus(u·z + e[token]) to the logit of its own vocabulary entry, so each word that stands in the text has a
    weight of its own, and only expansions go through the bottleneck.

    weights = log1p(relu(max over tokens)). The bias is added after the max; the log, too, since both are monotone.

    With a side network p = P z + s, where s is what that network says of the token; with term frequency the bonus is
    softplus(u·z + e[token]) + softplus(v·z + c) · log(how often the word stands in the text).

    `form` leaves parts out, as far as BERT's own head for masked words, of which other SPLADE models are made.
    """

    def __init__(self, hidden: int, vocabulary_size: int, rank: int, form: SparseForm = OWN_FORM) -> None:
        """rank: of the decoder; `hidden` where the form has no projection."""
        super().__init__()
        self.form = form
        self.transform = nn.Linear(hidden, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.project: nn.Module = nn.Linear(hidden, rank, bias=False) if form.projected else nn.Identity()
        self.decoder = nn.Parameter(torch.zeros(vocabulary_size, rank))
        self.bias = nn.Parameter(torch.full((vocabulary_size,), -6.0))
        self.bonus: nn.Linear
        self.term_bonus: nn.Parameter
        if form.bonus:
            self.bonus = nn.Linear(hidden, 1)
            self.term_bonus = nn.Parameter(torch.zeros(vocabulary_size))
        self.frequency = nn.Linear(hidden, 1) if form.term_frequency else None
        self.side = SideTrunk(form.side, vocabulary_size) if form.side else None

    @property
    def rank(self) -> int:
        """What the decoder multiplies: so many numbers for each token and each term."""
        return self.decoder.shape[1]

    @torch.no_grad()
    def start_from(self, word_embeddings: Tensor, inverse_document_frequency: Tensor) -> None:
        """Tie the start to the trunk: identity transform, the best rank-r decoder of its centred unit word embeddings.

        Before any training this already ranks, because the states of all-MiniLM still map onto their own words.

        word_embeddings: (vocabulary, hidden)
        inverse_document_frequency: (vocabulary,) in [0, 1]
        """
        if not (isinstance(self.project, nn.Linear) and self.form.bonus):
            raise ValueError("a head of another form starts from its own weights, not from the word embeddings")
        nn.init.eye_(self.transform.weight)
        nn.init.zeros_(self.transform.bias)
        nn.init.zeros_(self.bonus.weight)
        nn.init.zeros_(self.bonus.bias)
        centred = F.normalize(word_embeddings.float() - word_embeddings.float().mean(dim=0), dim=-1)
        _, _, directions = torch.linalg.svd(centred, full_matrices=False)
        self.project.weight.copy_(directions[: self.rank])
        self.decoder.copy_(centred @ directions[: self.rank].T)
        self.term_bonus.copy_(4.0 * inverse_document_frequency)

    def forward(self, states: Tensor, token_ids: Tensor, lengths: Sequence[int]) -> Tensor:
        """Weigh the vocabulary for each text. Where the form has no specials they must have been left out.

        states: (n_tokens, hidden); token_ids: (n_tokens,)
        returns: (batch, vocabulary), non-negative
        """
        projected, bonus = self.token_terms(states, token_ids, lengths)
        if self.form.pooling == "max":
            pooled = MaxOverTokens.apply(projected, self.decoder, bonus, token_ids, tuple(lengths))
            return self.even(self.weigh(pooled + self.bias))
        # One text's logits at a time: a sum needs the logarithm of each.
        sums, start = [], 0
        for length in lengths:
            tokens = slice(start, start + length)
            start += length
            logits = projected[tokens] @ self.decoder.T + self.bias
            logits = logits.scatter_add(1, token_ids[tokens, None], bonus[tokens, None])
            sums.append(self.weigh(logits).sum(dim=0))
        return self.even(torch.stack(sums))

    def even(self, vectors: Tensor) -> Tensor:
        """Make long texts comparable with short ones, as far as the form wants it: (batch, vocabulary)."""
        power = self.form.length_normalization
        if not power:
            return vectors
        # An empty vector has no direction that a gradient could take.
        lengths = vectors.square().sum(dim=1, keepdim=True).clamp_min(1e-12).sqrt()
        return vectors * (USUAL_LENGTH / lengths) ** power

    def weigh(self, logits: Tensor) -> Tensor:
        """From logits to weights: log1p(relu(x)), or its log1p once more."""
        weights = torch.relu(logits)
        for _ in range(self.form.logarithms):
            weights = torch.log1p(weights)
        return weights

    def token_terms(self, states: Tensor, token_ids: Tensor, lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
        """What a token says: its point in the decoder's space (n_tokens, rank) and the bonus of its own word."""
        hidden = F.gelu(self.transform(states))
        hidden = self.norm(hidden + states if self.form.residual else hidden)
        projected = self.project(hidden)
        if self.side is not None:
            projected = projected + self.side(token_ids, lengths)
        if not self.form.bonus:
            return projected, hidden.new_zeros(len(hidden))
        # Softplus keeps the bonus positive: then a token's own logit with bonus always wins over the one without.
        bonus = F.softplus(self.bonus(hidden).squeeze(-1) + self.term_bonus[token_ids])
        if self.frequency is not None:
            gain = F.softplus(self.frequency(hidden).squeeze(-1))
            bonus = bonus + gain * counts_in_text(token_ids, lengths).log()
        return projected, bonus


class MaxOverTokens(torch.autograd.Function):
    """max over a text's tokens of (decoder · token), the token's own word with its bonus, without all the logits.

    Forward works in tiles. Backward sends a gradient only to the token that won each (text, term), which is what
    torch.max does, and finds that token again for the few terms that have a gradient at all.
    """

    @staticmethod
    def forward(
        ctx: Any, projected: Tensor, decoder: Tensor, bonus: Tensor, token_ids: Tensor, lengths: tuple[int, ...]
    ) -> Tensor:
        pooled = projected.new_empty(len(lengths), len(decoder))
        tiles = _tiles(lengths)
        # One buffer for all tiles: fresh ones of this size come from the system each time, page by page.
        buffer = projected.new_empty(max(stop - start for _, _, start, stop in tiles) * TILE_TERMS)
        for first, last, start, stop in tiles:
            for row in range(0, len(decoder), TILE_TERMS):
                rows = decoder[row : row + TILE_TERMS]
                logits = buffer[: (stop - start) * len(rows)].view(stop - start, len(rows))
                torch.mm(projected[start:stop], rows.T, out=logits)
                for text, part in enumerate(logits.split(list(lengths[first:last])), start=first):
                    torch.amax(part, dim=0, out=pooled[text, row : row + TILE_TERMS])
        own = (projected * decoder[token_ids]).sum(dim=-1) + bonus
        device = projected.device
        sizes = torch.tensor(lengths, device=device)
        texts = torch.repeat_interleave(torch.arange(len(lengths), device=device), sizes)
        pooled.view(-1).scatter_reduce_(0, texts * len(decoder) + token_ids, own, reduce="amax")
        ctx.save_for_backward(projected, decoder, bonus, token_ids)
        ctx.lengths = lengths
        return pooled

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        projected, decoder, bonus, token_ids = ctx.saved_tensors
        (gradient,) = gradients
        to_projected, to_decoder = torch.zeros_like(projected), torch.zeros_like(decoder)
        to_bonus = torch.zeros_like(bonus)
        start = 0
        for text, length in enumerate(ctx.lengths):
            tokens = slice(start, start + length)
            start += length
            terms = gradient[text].nonzero().squeeze(-1)
            weights = gradient[text, terms]
            rows = decoder[terms]
            own = token_ids[tokens, None] == terms[None, :]  # (length, n_terms)
            logits = projected[tokens] @ rows.T + own * bonus[tokens, None]
            winner = logits.argmax(dim=0)
            to_projected[tokens].index_add_(0, winner, weights[:, None] * rows)
            to_decoder.index_add_(0, terms, weights[:, None] * projected[tokens][winner])
            won_by_own = own[winner, torch.arange(len(terms), device=winner.device)]
            to_bonus[tokens].index_add_(0, winner[won_by_own], weights[won_by_own])
        return to_projected, to_decoder, to_bonus, None, None


def _tiles(lengths: Sequence[int]) -> list[tuple[int, int, int, int]]:
    """Group texts up to TILE_TOKENS tokens: (first text, last text + 1, first token, last token + 1)."""
    tiles, first, start, stop = [], 0, 0, 0
    for text, length in enumerate(lengths):
        if stop + length - start > TILE_TOKENS and text > first:
            tiles.append((first, text, start, stop))
            first, start = text, stop
        stop += length
    tiles.append((first, len(lengths), start, stop))
    return tiles


class LateHead(nn.Module):
    """ColBERT's projection (Khattab and Zaharia, 2020): one unit vector per token.

    Begins as the principal components of the trunk's token states, which keep their inner products best.
    """

    def __init__(self, hidden: int, dim: int) -> None:
        super().__init__()
        self.project = nn.Linear(hidden, dim, bias=False)

    @torch.no_grad()
    def start_from(self, states: Tensor) -> None:
        """states: (n_tokens, hidden) of real text; uncentred, as MaxSim compares directions from the origin."""
        unit = F.normalize(states.float(), dim=-1)
        _, vectors = torch.linalg.eigh(unit.T @ unit)
        self.project.weight.copy_(vectors.flip(-1)[:, : self.project.out_features].T)

    def forward(self, states: Tensor) -> Tensor:
        return F.normalize(self.project(states), dim=-1)
