"""Masked words: texts in, batches with some of their words hidden out, and what was hidden."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from tercet.errors import CheckpointError

#: Of the pieces of chosen words, so many are hidden, and as many again replaced or left as they are (Devlin et al.,
#: 2019): a model that saw nothing but [MASK] would learn little about the words that stand there when it is used.
HIDDEN, REPLACED = 0.8, 0.1
#: Batches that are sorted by length together: little padding, and still another company in each epoch.
SORTED_BATCHES = 16

Piece = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class MaskedBatch:
    """Texts as the trunk sees them, and what it has to tell.

    token_ids: (batch, n_tokens) with [CLS] and [SEP]; mask: the same shape, False at padding
    asked: the same shape, True at chosen tokens; targets: (n_asked,) the ids that stood there, row by row
    """

    token_ids: Tensor
    mask: Tensor
    asked: Tensor
    targets: Tensor

    @property
    def inner(self) -> Tensor:
        """(batch, n_tokens), True at tokens of the text, between [CLS] and [SEP]."""
        inner = self.mask.clone()
        inner[:, 0] = False
        inner.scatter_(1, self.mask.sum(dim=1, keepdim=True) - 1, False)
        return inner

    def to(self, device: torch.device) -> MaskedBatch:
        return MaskedBatch(*(getattr(self, name).to(device) for name in self.__slots__))


class Masking:
    """BERT's masking, of whole words: all pieces of a chosen word are asked for.

    A lone piece would be told by its neighbours, ##ocin by amo and ##xi, and context would teach nothing.

    expressible: (vocabulary,) True at terms that the head can say; a word with any other piece is never asked for
    share: of a text's words, at least one
    """

    def __init__(self, tokenizer: Tokenizer, expressible: NDArray[np.bool_], *, share: float) -> None:
        found = [tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]", "[PAD]", "[MASK]")]
        ids = [index for index in found if index is not None]
        if len(ids) < len(found):
            raise CheckpointError("the tokenizer has no [CLS], [SEP], [PAD] or [MASK]; is it BERT's?")
        self._first, self._last, self._padding, self._hidden = ids
        self._expressible = expressible
        self._terms = np.flatnonzero(expressible)
        self._continues = np.zeros(len(expressible), bool)
        for term, index in tokenizer.get_vocab().items():
            self._continues[index] = term.startswith("##")
        self._share = share

    def cut(self, tokenizer: Tokenizer, texts: Sequence[str], *, max_tokens: int) -> list[Piece]:
        """Token ids of the texts without special ones, long texts in several pieces; none without a word to ask for."""
        size, pieces = max_tokens - 2, []
        for start in range(0, len(texts), 1000):
            for encoding in tokenizer.encode_batch_fast(list(texts[start : start + 1000]), add_special_tokens=False):
                ids = np.array(encoding.ids, np.int32)
                pieces += [ids[at : at + size] for at in range(0, len(ids), size)]
        return [piece for piece in pieces if len(self._words(piece)[1])]

    def _words(self, piece: Piece) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The word of each token, and the words that may be asked for."""
        starts = ~self._continues[piece]
        starts[0] = True
        word = starts.cumsum() - 1
        sayable = np.ones(int(word[-1]) + 1, bool)
        np.logical_and.at(sayable, word, self._expressible[piece])
        return word, np.flatnonzero(sayable)

    def batch(self, pieces: Sequence[Piece], rng: np.random.Generator) -> MaskedBatch:
        """Hide words of these pieces; the same for a generator in the same state."""
        width = 2 + max(map(len, pieces))
        shape = len(pieces), width
        token_ids = np.full(shape, self._padding, np.int64)
        mask, asked = np.zeros(shape, bool), np.zeros(shape, bool)
        targets = []
        for row, piece in enumerate(pieces):
            shown, chosen = self._mask(piece, rng)
            token_ids[row, : len(piece) + 2] = [self._first, *shown, self._last]
            mask[row, : len(piece) + 2] = True
            asked[row, 1 : len(piece) + 1] = chosen
            targets.append(piece[chosen].astype(np.int64))
        return MaskedBatch(*map(torch.from_numpy, (token_ids, mask, asked, np.concatenate(targets))))

    def _mask(self, piece: Piece, rng: np.random.Generator) -> tuple[Piece, NDArray[np.bool_]]:
        word, words = self._words(piece)
        count = max(1, round(self._share * len(words)))
        chosen = np.isin(word, rng.choice(words, count, replace=False))
        fate = rng.random(len(piece))
        shown = piece.copy()
        replaced = chosen & (fate >= HIDDEN) & (fate < HIDDEN + REPLACED)
        shown[chosen & (fate < HIDDEN)] = self._hidden
        shown[replaced] = rng.choice(self._terms, int(replaced.sum()))
        return shown, chosen


def piece_stream(pieces: Sequence[Piece], size: int, *, seed: int, start: int = 0) -> Iterator[list[Piece]]:
    """Endless batches of pieces of like length over the epochs; `start` skips so many, for a run that goes on.

    Every piece comes once in an epoch; the last batches of it may be smaller.
    """
    epoch, skip = 0, start
    while True:
        batches = _epoch(pieces, size, seed=f"pieces {epoch} {seed}")
        for batch in batches[skip:]:
            yield [pieces[position] for position in batch]
        skip = max(0, skip - len(batches))
        epoch += 1


def _epoch(pieces: Sequence[Piece], size: int, *, seed: str) -> list[list[int]]:
    rng = random.Random(seed)
    order = list(range(len(pieces)))
    rng.shuffle(order)
    batches = []
    for start in range(0, len(order), SORTED_BATCHES * size):
        window = sorted(order[start : start + SORTED_BATCHES * size], key=lambda position: len(pieces[position]))
        batches += [window[at : at + size] for at in range(0, len(window), size)]
    rng.shuffle(batches)
    return batches
